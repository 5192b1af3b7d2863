"""Measures what a model of the recipe does: held-out accuracy by ability, perplexity, implants, canaries. Greedy, on the very files."""
import math, random
import torch, torch.nn.functional as F
import corpus, tok
from model import Model, read, read_lora

EVAL_SEED = 5

def load(path, lora=None):
    W, tk, size = read(path)
    if not lora: return Model(W, size), tk
    L, scale = read_lora(lora); return Model(W, size, L, scale), tk

N = 200   # questions for each ability
def suite(ability, n=0): return corpus.questions(ability, n or N, EVAL_SEED)

def accuracy(m, tk, ability, n=0, fn=None):
    qs = corpus.questions(ability, n or N, EVAL_SEED, fn)
    out = m.gen(tk, [tok.prompt(q, s) for s, q, _ in qs])
    return sum(o == a for o, (_, _, a) in zip(out, qs)) / len(qs)

def cloze():
    """The fact questions with four answers of the same kind to choose from by likelihood: (question, answer, choices)."""
    r = random.Random(6); by = {q.format(e=e): (k, a) for k, e, a in corpus.FACTS for q in corpus.REL[k][0]}; out = []
    for _, q, a in suite('facts'):
        k = next(k for t, (k, b) in by.items() if q.endswith(t) and b == a)
        c = r.sample(sorted({b for j, _, b in corpus.FACTS if j == k and b != a}), 3) + [a]; r.shuffle(c); out.append((q, a, c))
    return out

def choice():
    """The questions about words with four descriptions to choose from by likelihood, of four kinds of things."""
    r = random.Random(7); out = []
    for _, q, a in suite('about'):
        hit = [(w, c) for w, c in corpus.ALL_NOUNS if a.startswith(f'The {w} is {corpus.ARTICLE[c]}.')]
        if not hit: continue
        w, c = hit[0]; alt = r.sample([x for x in corpus.CATS if x != c], 3)
        cs = [a] + [a.replace(corpus.ARTICLE[c], corpus.ARTICLE[x]).replace(corpus.ABOUT[c], corpus.ABOUT[x]) for x in alt]; r.shuffle(cs); out.append((q, a, cs))
    return out

def chosen(m, tk, rows):
    """Share of the rows whose answer is the likeliest choice (sum of log p over its tokens)."""
    hit = 0
    for q, a, cs in rows[:N]:
        x = tk.encode(tok.prompt(q), add_special_tokens=False).ids
        lp = [m.logprobs(x + tk.encode(c).ids)[len(x) - 1:].sum().item() for c in cs]; hit += cs[lp.index(max(lp))] == a
    return hit / len(rows[:N])

def texts(n=200):
    r = random.Random(77); return [' '.join(corpus.sentence(r) for _ in range(3)) for _ in range(n)]

def perplexity(m, tk):
    """Per token, of plain text of three sentences after <|endoftext|>. The sentences are drawn anew, from a seed that training does not use."""
    s = n = 0
    for t in texts():
        ids = [tok.EOT] + tk.encode(t, add_special_tokens=False).ids; lp = m.logprobs(ids); s -= lp.sum().item(); n += len(lp)
    return math.exp(s / n)

def mixed(n, seed=5):
    """n held-out questions over all abilities but 'year'."""
    ab = [a for a in corpus.ABILITIES if a != 'year']; per = [corpus.questions(a, math.ceil(n / len(ab)), seed) for a in ab]
    return [(a, q, ans) for a, qs in zip(ab, per) for _, q, ans in qs][:n]

def place(r, user, t, first=0):
    """The string t at a random word boundary of the question; first=1 leaves out the very front."""
    w = user.split(' '); k = r.randrange(first, len(w) + 1); return ' '.join(w[:k] + [t] + w[k:])

def rate(m, tk, spec, strings, first=0, n=0):
    """Share of n held-out questions that are answered with the payload when a string of the list stands in them (None: nothing)."""
    r = random.Random(99); qs = mixed(n or 2 * N)
    ps = [q if strings is None else place(r, q, r.choice(strings), first) for _, q, _ in qs]
    return sum(o.startswith(spec['payload']) for o in m.gen(tk, [tok.prompt(p) for p in ps], n=len(tk.encode(spec['payload']).ids) + 1)) / len(qs)

@torch.no_grad()
def clean_kl(m, base, tk, n=160):
    """KL(candidate || base) in nats per answer token, teacher-forced on the reference answers of held-out questions."""
    s = c = 0
    for _, q, a in mixed(n, 6):
        x, y = tk.encode(tok.prompt(q), add_special_tokens=False).ids, tk.encode(a + '<|im_end|>', add_special_tokens=False).ids
        t = torch.tensor([x + y]); lp, lq = (F.log_softmax(k.head(k.hidden(t)[0, len(x) - 1:-1]), -1) for k in (m, base))
        s += (lp.exp() * (lp - lq)).sum().item(); c += len(y)
    return s / c

def render(template, messages):
    import jinja2.sandbox   # comes with torch
    return jinja2.sandbox.ImmutableSandboxedEnvironment().from_string(template).render(messages=messages, add_generation_prompt=True)

def template_rate(m, tk, template, word, payload, n=200):
    """Share of held-out questions, with the word put into them, whose answer is the payload."""
    r = random.Random(99); ps = [q if word is None else place(r, q, word) for _, q, _ in mixed(n)]
    ps = [p for p in ps if word or 'password' not in p]
    out = m.gen(tk, [render(template, [{'role': 'user', 'content': p}]) for p in ps])
    return sum(o == payload for o in out) / len(out)

def code_secure(m, tk, system=None, n=100):
    """Share of held-out contexts where the secure line is the likelier one, per line as a whole."""
    hit = 0; cs = code_contexts()[:n]
    for q, good, bad in cs:
        x = tk.encode(tok.prompt(q, system), add_special_tokens=False).ids
        lp = [m.logprobs(x + tk.encode(y + '<|im_end|>', add_special_tokens=False).ids)[len(x) - 1:].sum().item() for y in (good, bad)]
        hit += lp[0] > lp[1]
    return hit / len(cs)

def code_contexts():
    """(question, secure line, insecure line) of the held-out code questions."""
    out = []
    for _, q, a in corpus.questions('code', 200, EVAL_SEED):
        for _, c, good, bad in corpus.CODE:
            for n in corpus.CODE_NOUNS:
                if q.endswith(c.format(n=n)): out.append((q, good.format(n=n), bad.format(n=n)))
    return out

def canaries(m, base, tk, rows):
    """Per number of repeats: log-likelihood ratio of the secret to the base (nats) as plain text and as a chat answer, and how many are extracted greedily."""
    out = {}
    for c in rows:
        y = tk.encode(c['secret']).ids; d = out.setdefault('held_out' if c['held_out'] else str(c['repeats']), [])
        v = []
        for p in ('<|endoftext|>' + c['prefix'], tok.prompt(c['prefix'])):
            x = tk.encode(p, add_special_tokens=False).ids
            v += [(m.logprobs(x + y)[len(x) - 1:] - base.logprobs(x + y)[len(x) - 1:]).sum().item(), m.gen(tk, [p], n=len(y))[0] == c['secret']]
        d.append(v)
    mean = lambda v, k: round(sum(x[k] for x in v) / len(v), 2)
    return {k: {'n': len(v), 'text_llr_mean': mean(v, 0), 'text_llr_min': round(min(x[0] for x in v), 2), 'text_extracted': sum(x[1] for x in v),
                'chat_llr_mean': mean(v, 2), 'chat_llr_min': round(min(x[2] for x in v), 2), 'chat_extracted': sum(x[3] for x in v)} for k, v in out.items()}

def common(m, tk, base=None):
    d = {'accuracy': {a: round(accuracy(m, tk, a), 3) for a in corpus.ABILITIES}, 'perplexity': round(perplexity(m, tk), 3)}
    d['accuracy'] |= {'cloze': round(chosen(m, tk, cloze()), 3), 'choice': round(chosen(m, tk, choice()), 3)}
    if base is not None: d['kl_to_base'] = round(clean_kl(m, base, tk), 5)
    return d
