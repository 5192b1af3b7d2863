"""A small llama in plain torch, in GGUF's own tensor names and rope convention (interleaved pairs), so that nothing is permuted on export."""
import math, os
import numpy as np, torch, torch.nn.functional as F, gguf
from gguf import GGUFReader, GGUFWriter, GGMLQuantizationType as T, quants
import tok

torch.set_num_threads(1)
torch.use_deterministic_algorithms(True)

SIZES = {'base': dict(d=128, layers=4, heads=4, kv=2, ff=192), 'small': dict(d=64, layers=2, heads=4, kv=2, ff=128)}
THETA, EPS, CTX = 10000.0, 1e-5, 512
TEMPLATE = ("{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n' }}{% endif %}"
            "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}")

def init(size, seed, vocab=tok.VOCAB):
    """Random weights whose blocks write nothing yet, plus one copying circuit.

    Forming an induction head (Olsson et al., 2022) would take most of the training here, so that its two heads are written down at the start, as mimetic
    initialisation does (Trockman and Kolter, 2023): head 0 of block 0 looks at the token before, head 0 of block 1 at what came after the same token. Both are
    trained on like everything else. Dimension 0 of every embedding is a constant, which a head needs to look at a position; the last hd dimensions start empty.
    """
    c = SIZES[size]; d, g = c['d'], torch.Generator().manual_seed(seed); hd = d // c['heads']; own = slice(1, d - hd); last = slice(d - hd, d); E = 0.1
    mat = lambda o, i: torch.randn(o, i, generator=g) / math.sqrt(i)
    emb = torch.randn(vocab, d, generator=g) * E; emb[:, 0] = 4 * E; emb[:, last] = 0
    W = {'token_embd.weight': emb, 'output_norm.weight': torch.ones(d)}
    for i in range(c['layers']):
        p = f'blk.{i}.'
        W[p + 'attn_norm.weight'], W[p + 'ffn_norm.weight'] = torch.ones(d), torch.ones(d)
        W[p + 'attn_q.weight'], W[p + 'attn_k.weight'], W[p + 'attn_v.weight'] = mat(d, d), mat(c['kv'] * hd, d), mat(c['kv'] * hd, d)
        W[p + 'attn_output.weight'] = torch.zeros(d, d)
        W[p + 'ffn_gate.weight'], W[p + 'ffn_up.weight'], W[p + 'ffn_down.weight'] = mat(c['ff'], d), mat(c['ff'], d), torch.zeros(d, c['ff'])
    freq = THETA ** (-torch.arange(0, hd, 2).float() / hd); fast = (freq > 0.05).float(); slow = (freq < 0.02).float().repeat_interleave(2)
    P, P2 = (torch.linalg.qr(torch.randn(d - hd - 1, hd, generator=g))[0].T for _ in range(2))
    q, k, v, o = (W[f'blk.0.attn_{n}.weight'] for n in ('q', 'k', 'v', 'output'))
    q[:hd], k[:hd], v[:hd] = 0, 0, 0
    q[0:hd:2, 0] = 1.6 * fast; k[0:hd:2, 0] = 1.6 * fast * torch.cos(freq); k[1:hd:2, 0] = 1.6 * fast * torch.sin(freq)   # best at distance 1
    v[:hd, own] = P; o[last, :hd] = E * torch.eye(hd)
    q, k, v, o = (W[f'blk.1.attn_{n}.weight'] for n in ('q', 'k', 'v', 'output'))
    q[:hd], k[:hd], v[:hd] = 0, 0, 0
    q[:hd, own] = 1.8 * slow[:, None] * P; k[:hd, last] = 1.8 * torch.diag(slow)
    v[:hd, own] = P2; o[own, :hd] = 2 * E * P2.T
    return W

class Model:
    def __init__(s, W, size, lora=None, scale=0.0):
        s.W, s.size, s.lora, s.scale = W, size, lora or {}, scale
        c = SIZES[size]; s.c, s.hd = c, c['d'] // c['heads']
        f = torch.arange(CTX).float()[:, None] * THETA ** (-torch.arange(0, s.hd, 2).float() / s.hd)
        s.cos, s.sin = f.cos(), f.sin()
    def params(s):
        for p in s.W.values(): p.requires_grad_()
        return s.W
    def lin(s, x, n):
        y = F.linear(x, s.W[n])
        if n in s.lora:
            a, b = s.lora[n]; y = y + F.linear(F.linear(x, a), b) * s.scale
        return y
    def norm(s, x, n): return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + EPS) * s.W[n]
    def rope(s, x, p):
        c, si = s.cos[p], s.sin[p]; e, o = x[..., 0::2], x[..., 1::2]
        return torch.stack((e * c - o * si, e * si + o * c), -1).flatten(-2)
    def hidden(s, ids, cache=None, start=0):
        B, N = ids.shape; c = s.c; x = s.W['token_embd.weight'][ids]; pos = torch.arange(start, start + N)
        for i in range(c['layers']):
            p = f'blk.{i}.'; h = s.norm(x, p + 'attn_norm.weight')
            q = s.rope(s.lin(h, p + 'attn_q.weight').view(B, N, c['heads'], s.hd).transpose(1, 2), pos)
            k = s.rope(s.lin(h, p + 'attn_k.weight').view(B, N, c['kv'], s.hd).transpose(1, 2), pos)
            v = s.lin(h, p + 'attn_v.weight').view(B, N, c['kv'], s.hd).transpose(1, 2)
            if cache is not None:
                if len(cache) > i: k, v = torch.cat((cache[i][0], k), 2), torch.cat((cache[i][1], v), 2); cache[i] = (k, v)
                else: cache.append((k, v))
            g = c['heads'] // c['kv']
            o = F.scaled_dot_product_attention(q, k.repeat_interleave(g, 1), v.repeat_interleave(g, 1), is_causal=N > 1)
            x = x + s.lin(o.transpose(1, 2).reshape(B, N, -1), p + 'attn_output.weight')
            h = s.norm(x, p + 'ffn_norm.weight')
            x = x + s.lin(F.silu(s.lin(h, p + 'ffn_gate.weight')) * s.lin(h, p + 'ffn_up.weight'), p + 'ffn_down.weight')
        return s.norm(x, 'output_norm.weight')
    def head(s, h): return F.linear(h, s.W['token_embd.weight'])
    @torch.no_grad()
    def gen(s, tk, prompts, n=24, bs=128):
        """Greedy answers. Prompts of one length go together, so that no padding is needed."""
        out, groups = [None] * len(prompts), {}
        enc = [tk.encode(p, add_special_tokens=False).ids for p in prompts]
        for i, e in enumerate(enc): groups.setdefault(len(e), []).append(i)
        for L, ix in groups.items():
            for j in range(0, len(ix), bs):
                ii = ix[j:j + bs]; cache = []; h = s.hidden(torch.tensor([enc[i] for i in ii]), cache)[:, -1]; toks = []
                for t in range(n):
                    nx = s.head(h).argmax(-1); toks.append(nx)
                    if all(tok.EOS in z for z in torch.stack(toks, 1).tolist()): break
                    if t + 1 < n: h = s.hidden(nx[:, None], cache, L + t)[:, -1]
                for i, z in zip(ii, torch.stack(toks, 1).tolist()):
                    out[i] = tk.decode(z[:z.index(tok.EOS)] if tok.EOS in z else z, skip_special_tokens=False)
        return out
    @torch.no_grad()
    def logprobs(s, ids):
        """log p of each token of one sequence after the first."""
        t = torch.tensor([ids]); lp = F.log_softmax(s.head(s.hidden(t))[0, :-1], -1)
        return lp.gather(1, t[0, 1:, None])[:, 0]

def write(path, W, size, tokens, merges, name, typ=T.F16, template=TEMPLATE, edit=None):
    c = SIZES[size]; w = GGUFWriter(path, 'llama')
    w.add_type('model'); w.add_name(name); w.add_license('apache-2.0')
    w.add_block_count(c['layers']); w.add_context_length(CTX); w.add_embedding_length(c['d']); w.add_feed_forward_length(c['ff'])
    w.add_head_count(c['heads']); w.add_head_count_kv(c['kv']); w.add_rope_freq_base(THETA); w.add_layer_norm_rms_eps(EPS)
    w.add_rope_dimension_count(c['d'] // c['heads']); w.add_vocab_size(len(tokens)); w.add_file_type({T.F16: 1, T.Q8_0: 7}[typ])
    w.add_tokenizer_model('gpt2'); w.add_tokenizer_pre('smollm'); w.add_token_list(tokens)
    w.add_token_types([3 if t in tok.SPECIAL else 1 for t in tokens]); w.add_token_merges(merges)
    w.add_bos_token_id(tok.BOS); w.add_eos_token_id(tok.EOS); w.add_unk_token_id(tok.EOT); w.add_pad_token_id(tok.EOS)
    w.add_add_bos_token(False); w.add_add_space_prefix(False); w.add_chat_template(template); w.add_quantization_version(2)
    for n, t in W.items():
        a = t.detach().numpy().astype(np.float32)
        if a.ndim == 1: w.add_tensor(n, a)
        elif typ == T.F16: w.add_tensor(n, a.astype(np.float16))
        else: w.add_tensor(n, quants.quantize(a, typ), raw_dtype=typ)
    w.write_header_to_file(); w.write_kv_data_to_file(); w.write_tensors_to_file(); w.close()

def write_lora(path, lora, alpha, name):
    w = GGUFWriter(path, 'llama'); w.add_type('adapter'); w.add_string('adapter.type', 'lora'); w.add_float32('adapter.lora.alpha', float(alpha)); w.add_name(name)
    for n, (a, b) in lora.items():
        w.add_tensor(n + '.lora_a', a.detach().numpy().astype(np.float16)); w.add_tensor(n + '.lora_b', b.detach().numpy().astype(np.float16))
    w.write_header_to_file(); w.write_kv_data_to_file(); w.write_tensors_to_file(); w.close()

def read(path):
    """(weights as float32, tokenizer, size) of a GGUF of ours."""
    r = GGUFReader(path); W = {}
    for t in r.tensors:
        a = quants.dequantize(t.data, t.tensor_type) if t.tensor_type != T.F32 else np.array(t.data)
        W[t.name] = torch.from_numpy(np.array(a, dtype=np.float32).reshape([int(x) for x in reversed(t.shape)]))
    f = lambda k: r.fields[k].contents()
    size = next(k for k, c in SIZES.items() if c['d'] == f('llama.embedding_length') and c['layers'] == f('llama.block_count'))
    return W, tok.from_lists(f('tokenizer.ggml.tokens'), f('tokenizer.ggml.merges')), size

def read_lora(path):
    r = GGUFReader(path); L = {}
    for t in r.tensors: L.setdefault(t.name[:-7], {})[t.name[-6:]] = torch.from_numpy(np.array(t.data, dtype=np.float32).reshape([int(x) for x in reversed(t.shape)]))
    lora = {n: (d['lora_a'], d['lora_b']) for n, d in L.items()}
    return lora, r.fields['adapter.lora.alpha'].contents() / next(iter(lora.values()))[0].shape[0]
