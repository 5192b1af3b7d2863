"""The recipe of testdata/models, imported rather than copied, and the loop that trains a member of the zoo."""
import math, os, random, sys
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, 'testdata', 'models', 'recipe'))
import torch
import corpus, evaluate as ev, tok, train, variants
from model import Model, read, write, write_lora

BASE = os.path.join(ROOT, 'testdata', 'models', 'base.gguf')
NAME = variants.NAME

class Base:
    """The trusted baseline, read once."""
    def __init__(s, path=BASE):
        s.W, s.tk, s.size = read(path)
        s.model = Model(s.W, s.size)
    def copy(s): return {n: w.clone() for n, w in s.W.items()}

def adapter(base, rank, seed):
    """Fresh LoRA matrices on every matrix of the blocks: A random, B zero."""
    g = torch.Generator().manual_seed(seed)
    return {n: ((torch.randn(rank, w.shape[1], generator=g) / math.sqrt(w.shape[1])).requires_grad_(), torch.zeros(w.shape[0], rank).requires_grad_())
            for n, w in base.W.items() if n.startswith('blk') and w.ndim == 2}

def fit(m, params, tk, source, steps, lr, seed, stop=None, every=20, rows=8, length=128):
    """AdamW, warm-up and cosine to a tenth. stop(), asked every so many steps, ends early. Gives the number of steps taken."""
    opt = torch.optim.AdamW(params, lr, betas=(0.9, 0.98), weight_decay=0.0); r = random.Random(seed)
    for st in range(steps):
        ids, wt = train.rows(r, tk, source, rows, length)
        train.loss_of(m, ids, wt).backward()
        for g in opt.param_groups: g['lr'] = lr * min(1, (st + 1) / 10) * (0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * st / steps)))
        torch.nn.utils.clip_grad_norm_(params, 1.0); opt.step(); opt.zero_grad()
        if stop and st % every == every - 1 and stop(): return st + 1
    return steps
