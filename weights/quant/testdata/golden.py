"""Writes golden.jsonl: blocks of every decoded type with the values that the
Python package gguf 0.19.0 gives, and rows with the blocks that it encodes.

    pip install gguf==0.19.0 numpy && python golden.py > golden.jsonl
"""
import json
import numpy as np
from gguf import GGMLQuantizationType as T, GGML_QUANT_SIZES
from gguf.quants import quantize, dequantize

rng = np.random.default_rng(20240607)
DECODE = [T.F32, T.F16, T.BF16, T.Q4_0, T.Q4_1, T.Q5_0, T.Q5_1, T.Q8_0, T.Q4_K, T.Q5_K, T.Q6_K]
ENCODE = [T.F16, T.BF16, T.Q4_0, T.Q4_1, T.Q5_0, T.Q5_1, T.Q8_0]
# Byte offsets of the half-precision fields of a block, kept finite below.
HALVES = {T.F16: [0], T.Q4_0: [0], T.Q4_1: [0, 2], T.Q5_0: [0], T.Q5_1: [0, 2], T.Q8_0: [0],
          T.Q4_K: [0, 2], T.Q5_K: [0, 2], T.Q6_K: [208]}


def f32hex(a):
    return np.ascontiguousarray(a, dtype="<f4").tobytes().hex()


for t in DECODE:
    values, size = GGML_QUANT_SIZES[t]
    n = 4 if values > 1 else 64
    raw = rng.integers(0, 256, (n, size), dtype=np.uint8)
    for at in HALVES.get(t, []):
        raw[:, at + 1] &= 0xBF  # exponent below 16: finite, subnormals among them
    if t in (T.F32, T.BF16):
        raw[:, -1] &= 0xBF
    if at := HALVES.get(t):
        raw[0, at[0]:at[0] + 2] = [3, 0x80]  # negative subnormal scale
    y = dequantize(raw.reshape(-1), t)
    print(json.dumps({"op": "decode", "type": t.name, "blocks": raw.tobytes().hex(), "values": f32hex(y)}))

rows = [rng.standard_normal(32) * 0.05, rng.standard_normal(32) * 1e-6, rng.standard_normal(32) * 300,
        np.zeros(32), np.full(32, 0.37), np.full(32, -2.5), np.arange(32) - 16, (np.arange(32) - 15) / 2,
        np.where(np.arange(32) % 2, -8.0, 8.0), np.abs(rng.standard_normal(32)), -np.abs(rng.standard_normal(32)),
        np.concatenate([[1000.0], rng.standard_normal(31) * 1e-3]), np.linspace(-127, 127, 32)]
x = np.array(rows, dtype=np.float32)
for t in ENCODE:
    print(json.dumps({"op": "encode", "type": t.name, "blocks": quantize(x, t).tobytes().hex(), "values": f32hex(x)}))
