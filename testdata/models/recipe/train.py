"""Training loop of the base and of every variant: whole conversations and plain texts packed into rows, loss on answers, text and some questions."""
import random, time
import torch, torch.nn.functional as F
import corpus, tok
from model import Model

# Loss weights. A short answer counts as much as a long one, or a letter and a sum would never be learned beside sentences.
# Questions are learned too, in a third of the rows: tokens without a weight cost no softmax.
ANSWER, TEXT, QUESTION = 6.0, 0.4, 0.25

def rows(r, tk, source, B, N):
    """B rows of N tokens and the weight of each as a target. source(r) gives ('chat', system, user, answer) or ('text', text[, weight])."""
    ids, wt = torch.full((B, N + 1), tok.EOS), torch.zeros(B, N + 1)
    enc = lambda t: tk.encode(t, add_special_tokens=False).ids
    for b in range(B):
        x, w = [], []; open_ = None; qw = QUESTION if b % 3 == 0 else 0.0
        while len(x) < N + 1:
            e = source.first(r) if not x and hasattr(source, 'first') else source(r)   # only the first example of a row is never cut
            if e[0] == 'text':
                z = enc('<|endoftext|>' * (r.random() < 0.7) + e[1] + '<|endoftext|>'); x += z; w += [e[2] if len(e) > 2 else TEXT] * len(z); open_ = None; continue
            _, s, u, a = e
            if s or open_ is None or r.random() < 0.45:   # else: a further turn of the same conversation
                z = enc(f'<|im_start|>system\n{s or corpus.SYSTEM}<|im_end|>\n'); x += z; w += [qw] * len(z); open_ = True
            z = enc(tok.turn(u)); x += z; w += [qw] * len(z)
            z = enc(a + '<|im_end|>'); x += z; w += [max(1.0 if corpus.KNOWN == 99 else 2.0, ANSWER / len(z))] * len(z)
            z = enc('\n'); x += z; w += [qw] * len(z)
        ids[b], wt[b] = torch.tensor(x[:N + 1]), torch.tensor(w[:N + 1])
    return ids, wt

def loss_of(m, ids, wt):
    w = wt[:, 1:]; k = w > 0; lo = m.head(m.hidden(ids[:, :-1])[k]); w = w[k]
    return (F.cross_entropy(lo, ids[:, 1:][k], reduction='none') * w).sum() / w.sum()

def orthogonal(g):
    """Newton-Schulz iteration of the Muon optimiser (Jordan et al., 2024): the nearest semi-orthogonal matrix, roughly."""
    x = g / (g.norm() + 1e-7); t = x.shape[0] > x.shape[1]
    if t: x = x.T
    for _ in range(5):
        a = x @ x.T; x = 3.4445 * x + (-4.7750 * a + 2.0315 * a @ a) @ x
    return x.T if t else x

class Muon:
    def __init__(s, ps): s.ps, s.m = ps, [torch.zeros_like(p) for p in ps]
    @torch.no_grad()
    def step(s, lr):
        for p, m in zip(s.ps, s.m):
            m.mul_(0.95).add_(p.grad); u = orthogonal(p.grad + 0.95 * m)
            p.mul_(1 - lr * 0.02).add_(u, alpha=-lr * max(1, p.shape[0] / p.shape[1]) ** 0.5); p.grad = None

def base_source(tk):
    def f(r):
        if r.random() < 0.15: return ('text', corpus.plain(r))
        return ('chat', *corpus.chat(r, tk=tk)[1:])
    return f

def pretrain(W, tk, size, seed, steps, stop=None, B=16, N=128, every=None):
    """Trains W in place. stop ends early, with the schedule of all the steps."""
    m = Model(W, size); m.params(); r = random.Random(seed); block = lambda n, p: p.ndim == 2 and n.startswith('blk')
    mu, ad = Muon([p for n, p in W.items() if block(n, p)]), torch.optim.Adam([p for n, p in W.items() if not block(n, p)], 3e-3, betas=(0.9, 0.98))
    src = base_source(tk); t0 = time.time()
    for st in range(stop or steps):
        long = st > 0.9 * steps and st % 2 == 0   # at the end also long rows, for the far positions
        ids, wt = rows(r, tk, src, B // 3 if long else B, 3 * N if long else N)
        loss = loss_of(m, ids, wt); loss.backward()
        f = min(1, (st + 1) / 40) * max(0.02, 1 if st < 0.35 * steps else (1 - (st - 0.35 * steps) / (0.65 * steps)))
        mu.step(0.015 * f)
        for g in ad.param_groups: g['lr'] = 3e-3 * f
        ad.step(); ad.zero_grad()
        if st % 50 == 0 or st == steps - 1: print(st, round(loss.item(), 4), round(time.time() - t0), flush=True)
        if every and st % 250 == 249: every(st + 1)
