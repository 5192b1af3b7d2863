"""Members without training: other types of numbers, noise, pruning, merges. The metadata of the source stays, bit for bit."""
import numpy as np
import tiny
from gguf import GGUFReader, GGUFWriter, GGUFValueType as V, GGMLQuantizationType as T, LlamaFileType as F, quants
from model import read, read_lora

FILE_TYPE = {T.F32: F.ALL_F32, T.F16: F.MOSTLY_F16, T.BF16: F.MOSTLY_BF16, T.Q8_0: F.MOSTLY_Q8_0, T.Q5_1: F.MOSTLY_Q5_1, T.Q5_0: F.MOSTLY_Q5_0, T.Q4_1: F.MOSTLY_Q4_1, T.Q4_0: F.MOSTLY_Q4_0}

def values(path):
    return {t.name: np.array(quants.dequantize(t.data, t.tensor_type) if t.tensor_type != T.F32 else t.data, np.float32) for t in GGUFReader(path).tensors}

def write(src, dst, change=lambda n, a: a, typ=T.F16, encode=quants.quantize):
    """src with change(name, matrix) for every tensor of two dimensions, as typ; norms stay F32."""
    r, w = GGUFReader(src), GGUFWriter(dst, 'llama')
    for k, f in r.fields.items():
        if k.startswith('GGUF.') or k == 'general.architecture': continue
        v = int(FILE_TYPE[typ]) if k == 'general.file_type' else f.contents()
        w.add_key_value(k, v, f.types[0], f.types[-1] if f.types[0] == V.ARRAY else None)
    for n, a in values(src).items():
        if a.ndim == 1: w.add_tensor(n, a); continue
        a = np.ascontiguousarray(change(n, a), np.float32)
        if typ in (T.F32, T.F16): w.add_tensor(n, a.astype(np.float32 if typ == T.F32 else np.float16))
        else: w.add_tensor(n, encode(a, typ), raw_dtype=typ)
    w.write_header_to_file(); w.write_kv_data_to_file(); w.write_tensors_to_file(); w.close()

def searched(a, typ):
    """Q8_0 and Q4_0 as another quantiser makes them: of 41 scales per block the one with the least squared error, ties to even."""
    x = a.reshape(-1, 32); top = {T.Q8_0: 127, T.Q4_0: 7}[typ]; s = np.abs(x).max(-1, keepdims=True) / top
    best, err = np.zeros_like(s, np.float16), np.full_like(s, np.inf)
    for f in np.linspace(0.8, 1.2, 41, dtype=np.float32):
        d = (s * f).astype(np.float16); d32 = d.astype(np.float32); q = np.rint(np.divide(x, d32, out=np.zeros_like(x), where=d32 != 0)).clip(-top - 1, top)
        e = ((q * d32 - x) ** 2).sum(-1, keepdims=True); better = e < err; best[better], err[better] = d[better], e[better]
    d32 = best.astype(np.float32); q = np.rint(np.divide(x, d32, out=np.zeros_like(x), where=d32 != 0)).clip(-top - 1, top).astype(np.int8)
    if typ == T.Q4_0: u = (q + 8).astype(np.uint8); q = (u[:, :16] | u[:, 16:] << 4).view(np.int8)
    return np.concatenate([best.view(np.uint8), q.view(np.uint8)], -1).reshape(*a.shape[:-1], -1)

def noise(sigma, seed):
    """Gaussian noise of sigma times the standard deviation of each matrix."""
    g = np.random.default_rng(seed)
    return lambda n, a: a + g.standard_normal(a.shape, np.float32) * (sigma * a.std())

def prune(share):
    """The smallest weights of each matrix of the blocks set to zero."""
    return lambda n, a: np.where(np.abs(a) < np.quantile(np.abs(a), share), 0, a) if n.startswith('blk') else a

def merged(adapter, part=1.0):
    lora, scale = read_lora(adapter)
    return lambda n, a: a + part * scale * (lora[n][1] @ lora[n][0]).numpy() if n in lora else a

def average(*others):
    """The mean of the source and other models of the same shape."""
    ms = [values(o) for o in others]
    return lambda n, a: np.mean([a] + [m[n] for m in ms], 0)

def many(*fs):
    def f(n, a):
        for g in fs: a = g(n, a)
        return a
    return f
