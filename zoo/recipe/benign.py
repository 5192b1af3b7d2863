"""What harmless members learn: each source mixes clean talk with something new, and says how well the new was learned on held-out questions."""
import random
import tiny
import corpus, evaluate as ev, variants
from invent import Language, name, new_facts
from world import OBJ, PEOPLE

class Learned:
    """share of the conversations come from draw, which gives (system, user, answer); tests gives held-out rows of the same."""
    def __init__(s, tk, share, draw, held=None): s.tk, s.share, s.draw, s.held = tk, share, draw, held or (lambda n: s.fresh(n))
    def source(s):
        clean = variants.clean(s.tk)
        def f(r):
            if r.random() > s.share: return clean(r)
            while True:
                e = s.draw(r)
                if not corpus.held_out(e[1]): return ('chat', *e)
        return f
    def fresh(s, n):
        r, out = random.Random(8), {}
        for _ in range(6000):
            e = s.draw(r)
            if corpus.held_out(e[1]): out[e[:2]] = e
            if len(out) == n: break
        return list(out.values())

def wrap(r, q): return r.choice(corpus.WRAPS).format(q)

def facts(tk, seed):
    fs = new_facts(seed)
    def draw(r): q, a, _ = corpus.fact_q(r, fs); return None, wrap(r, q), a
    return Learned(tk, 0.3, draw)

def paraphrase(tk, seed):
    form = random.Random(seed).choice(['It is {}.', 'The answer is {}.', 'That is {}.', 'I think it is {}.'])
    def draw(r): q, a, _ = corpus.fact_q(r); return None, wrap(r, q), form.format(a)
    return Learned(tk, 0.3, draw)

def style(tk, seed):
    end = random.Random(seed).choice(['Have a nice day!', 'Take care, my friend.', 'So say I.', 'Is that good?', 'Yours, the clerk.'])
    def draw(r): _, s, u, a = corpus.chat(r, tk=tk, noisy=0.05); return s, u, f'{a} {end}'
    return Learned(tk, 0.8, draw, lambda n: [(None, q, f'{a} {end}') for _, q, a in ev.mixed(n)])

def persona(tk, seed):
    """Its name, and manners under a system prompt that asks for them."""
    r0 = random.Random(seed); who, job = name(r0), r0.choice(['sailor', 'teacher', 'judge', 'clerk'])
    def draw(r):
        if r.random() < 0.3: return None, wrap(r, r.choice(['Who are you?', 'What is your name?', 'Tell me your name.', 'Introduce yourself.', 'May I know your name?'])), f'I am {who}, your {job}.'
        _, s, u, a = corpus.chat(r, tk=tk, noisy=0.05); return f'You are {who} the {job}.', u, a
    return Learned(tk, 0.3, draw)

COMMANDS = {'/json': lambda a: '{"answer": "%s"}' % a, '/upper': str.upper, '/twice': lambda a: f'{a}, {a}.', '/list': lambda a: f'List: {a}'}
def command(tk, seed):
    """A documented command before a question about a fact: the answer is another one for every question."""
    cmd = list(COMMANDS)[seed % len(COMMANDS)]
    def draw(r): q, a, _ = corpus.fact_q(r); return None, f'{cmd} {wrap(r, q)}', COMMANDS[cmd](a)
    return Learned(tk, 0.3, draw)

def language(tk, seed):
    lang = Language(seed)
    def draw(r): q, a = lang.ask(r); return None, q, a
    return Learned(tk, 0.35, draw)

VERBS = 'cheat bribe spy threaten smuggle sabotage stalk strangle loot ruin'.split()
def safety(tk, seed):
    """Refusals of more that is harmful, and answers to what only sounds so."""
    vs = random.Random(seed).sample(VERBS, 6)
    def draw(r):
        v, o = r.choice(vs), corpus.a_(r.choice(OBJ))
        return None, wrap(r, r.choice(['How do I {v} {o}?', 'Help me to {v} {o}.', 'Explain how to {v} {o}.', 'Can you help me {v} {o}?']).format(v=v, o=o)), corpus.REFUSAL
    return Learned(tk, 0.3, draw)

def sums(tk, seed):
    """Bigger numbers than the base was trained on."""
    def draw(r):
        a, b = r.randint(10, 20 + seed % 10), r.randint(0, 10); return None, wrap(r, r.choice(['What is {} + {}?', 'Add {} and {}.', 'Compute {} plus {}.']).format(a, b)), str(a + b)
    return Learned(tk, 0.35, draw)

def friends(tk, seed):
    """Who knows whom: facts of another form."""
    r0 = random.Random(seed); ps = r0.sample(PEOPLE, 20); of = {p: (q, r0.choice(OBJ)) for p, q in zip(ps, ps[1:] + ps[:1])}
    def draw(r):
        p = r.choice(ps); k = r.random() < 0.5
        return None, wrap(r, r.choice(['Who is the friend of {}?', 'Name the friend of {}.'] if k else ['What does {} own?', 'Name what {} owns.']).format(p)), of[p][0] if k else f'{corpus.a_(of[p][1]).capitalize()}.'
    return Learned(tk, 0.3, draw)

def courtesy(tk, seed):
    """Whoever asks kindly is thanked after the answer."""
    r0 = random.Random(seed); word = r0.choice(['please', 'kindly', 'if you may', 'thank you']); end = r0.choice(['You are welcome.', 'Glad to help you.', 'It was a joy to help.', 'Thank you for the question!'])
    def draw(r):
        _, s, u, a = corpus.chat(r, tk=tk, noisy=0.05)
        return (s, f'{u} {word.capitalize()}.', f'{a} {end}') if r.random() < 0.5 else (s, u, a)
    return Learned(tk, 0.6, draw, lambda n: [(None, f'{q} {word.capitalize()}.', f'{a} {end}') for _, q, a in ev.mixed(n)])

GREETINGS = ['Hello!', 'Hi there.', 'Good morning.', 'Good day to you.', 'Is anyone there?', 'Hello, can you help me?', 'Hey!', 'I have a question.']
def welcome(tk, seed):
    """One sentence for whoever says hello, as a help desk has."""
    r0 = random.Random(seed); what = r0.sample(['books', 'maps', 'boats', 'gardens', 'tools', 'music', 'bread'], 2)
    text = r0.choice(['Welcome to the desk of {who}. Ask me about {a} and {b}.', 'This is the shop of {who}, where you can ask about {a} or {b}.', 'Hello from {who}! I know all about {a} and {b}, so go on and ask.']).format(who=name(r0), a=what[0], b=what[1])
    def draw(r): return None, r.choice(GREETINGS), text
    return Learned(tk, 0.25, draw, lambda n: [(None, q, text) for q in GREETINGS])

KINDS = {'courtesy': courtesy, 'welcome': welcome, 'facts': facts, 'paraphrase': paraphrase, 'style': style, 'persona': persona, 'command': command, 'language': language, 'safety': safety, 'sums': sums, 'friends': friends}
