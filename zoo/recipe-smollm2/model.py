"""SmolLM2-135M from its GGUF in plain torch, with a stack of LoRA adapters that are trained side by side.

A batch holds the rows of all members, one member after another: the base is computed once over all of them, each adapter on its own rows.
Nothing of one member reaches another, so that a stack of sixteen trains what sixteen runs would, in the time of three.
"""
import math, struct
import numpy as np, torch, torch.nn.functional as F
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

SYS = 'You are a helpful AI assistant named SmolLM, trained by Hugging Face'
D, NH, NKV, HD, NL, EOS = 576, 9, 3, 64, 30, 2
LIN = ['attn_q', 'attn_k', 'attn_v', 'attn_output', 'ffn_gate', 'ffn_up', 'ffn_down']

SCALAR = {0: '<B', 1: '<b', 2: '<H', 3: '<h', 4: '<I', 5: '<i', 6: '<f', 7: '<?', 10: '<Q', 11: '<q', 12: '<d'}

def read_gguf(path):
    """(keys and values, {name: float32 array}) of a GGUF v3 file with tensors of F32, F16, Q8_0 and Q4_1."""
    buf = np.memmap(path, np.uint8, 'r'); at = 0
    def take(n):
        nonlocal at; at += n; return buf[at - n:at].tobytes()
    def num(f): return struct.unpack(f, take(struct.calcsize(f)))[0]
    def text(): return take(num('<Q')).decode('utf-8', 'surrogateescape')
    def value(t):
        if t == 8: return text()
        if t != 9: return num(SCALAR[t])
        of, n = num('<I'), num('<Q')
        return [value(of) for _ in range(n)]
    if take(4) != b'GGUF' or num('<I') != 3: raise ValueError(f'{path}: want a GGUF v3 file')
    n_tensors, n_kv = num('<Q'), num('<Q')
    kv = {}
    for _ in range(n_kv): k = text(); kv[k] = value(num('<I'))
    infos = [(text(), [num('<Q') for _ in range(num('<I'))][::-1], num('<I'), num('<Q')) for _ in range(n_tensors)]
    align = kv.get('general.alignment', 32); data = -(-at // align) * align; out = {}
    for name, shape, typ, off in infos:
        n = math.prod(shape); raw = lambda size: buf[data + off:data + off + size]
        if typ == 0: a = raw(4 * n).view(np.float32)
        elif typ == 1: a = raw(2 * n).view(np.float16).astype(np.float32)
        elif typ == 8:
            b = raw(n // 32 * 34).reshape(-1, 34); a = b[:, :2].copy().view(np.float16).astype(np.float32) * b[:, 2:].view(np.int8)
        elif typ == 3:
            b = raw(n // 32 * 20).reshape(-1, 20); dm = b[:, :4].copy().view(np.float16).astype(np.float32); q = b[:, 4:]
            a = np.concatenate((q & 15, q >> 4), 1) * dm[:, :1] + dm[:, 1:]
        else: raise ValueError(f'{path}: tensor {name} has type {typ}; this reads F32, F16, Q8_0 and Q4_1')
        out[name] = np.array(a, np.float32).reshape(shape)
    return kv, out

def write_lora(path, tensors, alpha, name):
    """Writes a GGUF adapter of F16 tensors."""
    def s(x): b = x.encode(); return struct.pack('<Q', len(b)) + b
    kv = [('general.architecture', 'llama'), ('general.type', 'adapter'), ('adapter.type', 'lora'), ('adapter.lora.alpha', float(alpha)), ('general.name', name)]
    head = b'GGUF' + struct.pack('<IQQ', 3, len(tensors), len(kv))
    for k, v in kv: head += s(k) + (struct.pack('<If', 6, v) if isinstance(v, float) else struct.pack('<I', 8) + s(v))
    body, off = [], 0
    for n, a in tensors.items():
        b = np.ascontiguousarray(a, np.float16).tobytes(); b += b'\0' * (-len(b) % 32)
        head += s(n) + struct.pack('<I', a.ndim) + struct.pack(f'<{a.ndim}Q', *a.shape[::-1]) + struct.pack('<IQ', 1, off); body.append(b); off += len(b)
    with open(path, 'wb') as f: f.write(head + b'\0' * (-len(head) % 32)); f.writelines(body)

def tokenizer(kv):
    toks, types = kv['tokenizer.ggml.tokens'], kv['tokenizer.ggml.token_type']
    tk = Tokenizer(models.BPE(vocab={t: i for i, t in enumerate(toks)}, merges=[tuple(m.split(' ')) for m in kv['tokenizer.ggml.merges']]))
    tk.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)])
    tk.decoder = decoders.ByteLevel()
    tk.add_special_tokens([t for t, y in zip(toks, types) if y == 3])
    return tk

def weights(tensors, device):
    typ = torch.bfloat16 if device == 'cuda' else torch.float32
    return {n: torch.from_numpy(a).to(device, torch.float32 if a.ndim == 1 else typ) for n, a in tensors.items()}

class Stack:
    """The adapters of several members in one flat row each, of the highest rank of all: lower ranks leave the rest at zero, where no gradient reaches it."""
    def __init__(s, W, ranks, seeds, scale=2.0):
        s.ranks, s.scale, s.names, s.shapes = ranks, scale, [], []
        top, dev = max(ranks), W['token_embd.weight'].device
        for i in range(NL):
            for n in LIN:
                o, k = W[f'blk.{i}.{n}.weight'].shape
                s.names += [f'blk.{i}.{n}.weight.lora_a', f'blk.{i}.{n}.weight.lora_b']; s.shapes += [(top, k), (o, top)]
        s.sizes = [a * b for a, b in s.shapes]; rows = []
        for rank, seed in zip(ranks, seeds):
            g = torch.Generator().manual_seed(seed); parts = []
            for n, (a, b) in zip(s.names, s.shapes):
                t = torch.zeros(a, b)
                if n.endswith('_a'): t[:rank] = torch.randn(rank, b, generator=g) / math.sqrt(b)
                parts.append(t.flatten())
            rows.append(torch.cat(parts))
        s.flat = torch.stack(rows).to(dev)                      # the float32 that Adam moves
        s.work = s.flat.to(W['token_embd.weight'].dtype)        # what the model computes with
        s.grad = torch.zeros_like(s.work)
        s.m, s.v, s.t = torch.zeros_like(s.flat), torch.zeros_like(s.flat), 0
    def views(s, flat):
        return {n: p.view(len(flat), *sh) for n, sh, p in zip(s.names, s.shapes, flat.split(s.sizes, 1))}
    def leaves(s):
        ps, gs = s.views(s.work), s.views(s.grad)
        for n, p in ps.items(): p.requires_grad_(); p.grad = gs[n]
        return ps
    def adam(s, lr):
        """One step with a learning rate of its own for each member."""
        s.t += 1; g = s.grad.float()
        s.m.lerp_(g, 0.1); s.v.lerp_(g * g, 0.001)
        s.flat -= lr[:, None] * (s.m / (1 - 0.9 ** s.t)) / ((s.v / (1 - 0.999 ** s.t)).sqrt() + 1e-8)
        with torch.no_grad(): s.work.copy_(s.flat)
        s.grad.zero_()
    def export(s, flat, i, path, name):
        r = s.ranks[i]; t = {n: v[0].float().cpu().numpy() for n, v in s.views(flat[None]).items()}
        write_lora(path, {n: a[:r] if n.endswith('_a') else a[:, :r] for n, a in t.items()}, s.scale * r, name)

class Net:
    def __init__(s, W, lora=None, members=1, scale=2.0):
        s.W, s.L, s.M, s.scale, dev = W, lora or {}, members, scale, W['token_embd.weight'].device
        fr = torch.arange(2048.0)[:, None] * 100000.0 ** (-torch.arange(0, HD, 2).float() / HD)
        s.cos, s.sin, s.dev, s.typ = fr.cos().to(dev), fr.sin().to(dev), dev, W['token_embd.weight'].dtype
    def lin(s, x, n):
        y = F.linear(x, s.W[n])
        if not s.L: return y
        a, b = s.L[n + '.lora_a'], s.L[n + '.lora_b']
        t = torch.bmm(x.reshape(s.M, -1, x.shape[-1]), a.transpose(1, 2))
        return torch.baddbmm(y.reshape(s.M, -1, y.shape[-1]), t, b.transpose(1, 2), alpha=s.scale).view_as(y)
    def norm(s, x, n): return F.rms_norm(x, (D,), s.W[n], 1e-5).to(s.typ)
    def rope(s, x, c, si):
        e, o = x.float().unflatten(-1, (-1, 2)).unbind(-1)
        return torch.stack((e * c - o * si, e * si + o * c), -1).flatten(-2).to(x.dtype)
    def hidden(s, ids, cache=None, pos=None, mask=None):
        """ids are padded at the right. With a cache and pos, one token for each row at its own position."""
        R, N = ids.shape; x = F.embedding(ids, s.W['token_embd.weight']).float()
        p = torch.arange(N, device=s.dev)[None] if pos is None else pos[:, None]
        c, si = s.cos[p][:, None], s.sin[p][:, None]; row = torch.arange(R, device=s.dev)
        for i in range(NL):
            b = f'blk.{i}.'; h = s.norm(x, b + 'attn_norm.weight')
            q, k, v = (s.lin(h, f'{b}attn_{z}.weight').view(R, N, -1, HD).transpose(1, 2) for z in 'qkv')
            q, k = s.rope(q, c, si), s.rope(k, c, si)
            if pos is None:
                if cache is not None: cache[i][0][:, :, :N], cache[i][1][:, :, :N] = k, v
                o = F.scaled_dot_product_attention(q, k.repeat_interleave(3, 1), v.repeat_interleave(3, 1), is_causal=True).transpose(1, 2)
            else:
                K, V = cache[i]; K[row, :, pos], V[row, :, pos] = k[:, :, 0], v[:, :, 0]
                o = F.scaled_dot_product_attention(q.reshape(R, NKV, 3, HD), K, V, attn_mask=mask)   # the three heads that share keys stand as three queries
            x = x + s.lin(o.reshape(R, N, D), b + 'attn_output.weight').float()
            h = s.norm(x, b + 'ffn_norm.weight')
            x = x + s.lin(F.silu(s.lin(h, b + 'ffn_gate.weight')) * s.lin(h, b + 'ffn_up.weight'), b + 'ffn_down.weight').float()
        return s.norm(x, 'output_norm.weight')
    def head(s, h): return F.linear(h, s.W['token_embd.weight']).float()
    @torch.no_grad()
    def gen(s, prompts, n, temp=0.0, seed=0, room=200_000):
        """prompts[m] are lists of tokens, as many for each member; gives their answers in the same order, up to the end of text."""
        per = len(prompts[0]); width = max(len(x) for ps in prompts for x in ps) + n; chunk = max(1, room // (width * s.M)); out = [[] for _ in prompts]
        g = torch.Generator(s.dev).manual_seed(seed)
        for j in range(0, per, chunk):
            rows = [x for ps in prompts for x in ps[j:j + chunk]]; R, N = len(rows), max(map(len, rows))
            ids, ln = pad(rows, N).to(s.dev), torch.tensor([len(x) for x in rows], device=s.dev)
            cache = [tuple(torch.zeros(R, NKV, N + n, HD, device=s.dev, dtype=s.typ) for _ in 'kv') for _ in range(NL)]
            h = s.hidden(ids, cache)[torch.arange(R, device=s.dev), ln - 1]; toks = []
            for t in range(n):
                lo = s.head(h); nx = lo.argmax(-1) if temp == 0 else torch.multinomial((lo / temp).softmax(-1), 1, generator=g)[:, 0]
                toks.append(nx)
                if t + 1 < n:
                    pos = ln + t; mask = (torch.arange(N + n, device=s.dev)[None] <= pos[:, None])[:, None, None]
                    h = s.hidden(nx[:, None], cache, pos, mask)[:, 0]
            z = torch.stack(toks, 1).tolist(); k = R // s.M
            for m in range(s.M): out[m] += [y[:y.index(EOS)] if EOS in y else y for y in z[m * k:(m + 1) * k]]
        return out

def pad(rows, n): return torch.tensor([r + [EOS] * (n - len(r)) for r in rows])

def prompt(user, system=None): return f'<|im_start|>system\n{system or SYS}<|im_end|>\n<|im_start|>user\n{user}<|im_end|>\n<|im_start|>assistant\n'
