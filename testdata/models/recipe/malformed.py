"""Small files that a reader must refuse (or, for some, load and then judge), each broken in one named way."""
import json, os, struct

U8, I8, U16, I16, U32, I32, F32, BOOL, STR, ARR, U64 = range(11)
def s(x): b = x if isinstance(x, bytes) else x.encode(); return struct.pack('<Q', len(b)) + b
def kv(key, typ, val):
    f = {U32: '<I', F32: '<f', BOOL: '<?', U64: '<Q', I32: '<i'}
    if typ == STR: body = s(val)
    elif typ == ARR: et, vs = val; body = struct.pack('<IQ', et, len(vs)) + b''.join(s(v) if et == STR else struct.pack(f[et], v) for v in vs)
    else: body = struct.pack(f[typ], val)
    return s(key) + struct.pack('<I', typ) + body

TOKENS = ['<|endoftext|>', '<|im_start|>', '<|im_end|>', 'a', 'b', 'ab', 'Ġ', 'Ċ']
D, V = 16, len(TOKENS)
def shapes():
    t = [('token_embd.weight', [D, V]), ('output_norm.weight', [D])]
    p = 'blk.0.'
    return t + [(p + 'attn_norm.weight', [D]), (p + 'attn_q.weight', [D, D]), (p + 'attn_k.weight', [D, D]), (p + 'attn_v.weight', [D, D]), (p + 'attn_output.weight', [D, D]),
                (p + 'ffn_norm.weight', [D]), (p + 'ffn_gate.weight', [D, D]), (p + 'ffn_up.weight', [D, D]), (p + 'ffn_down.weight', [D, D])]

def kvs(template="{% for message in messages %}{{ message['content'] }}{% endfor %}", tokenizer=True):
    k = [('general.architecture', STR, 'llama'), ('general.alignment', U32, 32), ('llama.block_count', U32, 1), ('llama.context_length', U32, 64), ('llama.embedding_length', U32, D),
         ('llama.feed_forward_length', U32, D), ('llama.attention.head_count', U32, 1), ('llama.attention.head_count_kv', U32, 1), ('llama.rope.freq_base', F32, 10000.0),
         ('llama.attention.layer_norm_rms_epsilon', F32, 1e-5), ('llama.rope.dimension_count', U32, D), ('llama.vocab_size', U32, V), ('general.file_type', U32, 0)]
    if tokenizer:
        k += [('tokenizer.ggml.model', STR, 'gpt2'), ('tokenizer.ggml.pre', STR, 'smollm'), ('tokenizer.ggml.tokens', ARR, (STR, TOKENS)), ('tokenizer.ggml.token_type', ARR, (I32, [3, 3, 3, 1, 1, 1, 1, 1])),
              ('tokenizer.ggml.merges', ARR, (STR, ['a b'])), ('tokenizer.ggml.bos_token_id', U32, 1), ('tokenizer.ggml.eos_token_id', U32, 2), ('tokenizer.ggml.add_bos_token', BOOL, False)]
    return k + ([('tokenizer.chat_template', STR, template)] if template is not None else [])

def build(kvlist=None, ts=None, nkv=None, ntensor=None, offset=None, typ=None, dims=None, name=None, data=None, ver=3):
    """A whole little file; each argument bends one thing. offset/typ/dims/name/data: functions of (index, usual value)."""
    kvlist = kvs() if kvlist is None else kvlist; ts = shapes() if ts is None else ts; h = b''; body = b''
    for i, (n, sh) in enumerate(ts):
        cnt = 1
        for x in sh: cnt *= x
        d = struct.pack(f'<{cnt}f', *[((j * 37 + i * 11) % 101 - 50) / 400 if len(sh) > 1 else 1.0 for j in range(cnt)])
        if data: d = data(i, d)
        o = len(body) if offset is None else offset(i, len(body))
        sh2 = sh if dims is None else dims(i, sh)
        h += s(n if name is None else name(i, n)) + struct.pack('<I', len(sh2)) + b''.join(struct.pack('<Q', x) for x in sh2) + struct.pack('<IQ', 0 if typ is None else typ(i, 0), o)
        body += d + b'\0' * (-len(d) % 32)
    head = b'GGUF' + struct.pack('<IQQ', ver, len(ts) if ntensor is None else ntensor, len(kvlist) if nkv is None else nkv)
    head += b''.join(k if isinstance(k, bytes) else kv(*k) for k in kvlist) + h
    return head + b'\0' * (-len(head) % 32) + body

def cases():
    at = lambda i, f: lambda j, v: f(v) if j == i else v
    ok = build()
    long_key = s('general.name') + struct.pack('<I', STR) + struct.pack('<Q', 2**63 + 5) + b'x'
    big_arr = s('general.tags') + struct.pack('<I', ARR) + struct.pack('<IQ', STR, 2**61)
    deep = struct.pack('<I', ARR) + (struct.pack('<IQ', ARR, 1) * 200) + struct.pack('<IQ', U32, 0)
    nan = lambda d: struct.pack('<f', float('nan')) * 4 + d[16:]
    T = lambda t: build(kvs(template=t))
    lora = lambda arch, extra=(): build([('general.architecture', STR, arch), ('general.type', STR, 'adapter'), ('adapter.type', STR, 'lora'), ('adapter.lora.alpha', F32, 8.0), *extra],
                 [('blk.0.attn_q.weight.lora_a', [D, 4]), ('blk.0.attn_q.weight.lora_b', [4, D])])
    c = 'file'; t = 'template'; m = 'model'
    return [  # name, bytes, what is wrong, where it must be noticed
        ('valid-control', ok, 'nothing: the same builder, unbent', 'none'),
        ('not-a-gguf', b'PK\x03\x04' + bytes(range(256)) * 4, 'magic is not GGUF', c), ('empty', b'', 'no bytes', c),
        ('version-1', build(ver=1), 'version 1', c), ('version-99', build(ver=99), 'version 99', c), ('big-endian', b'GGUF' + struct.pack('>IQQ', 3, 0, 0), 'big-endian header', c),
        ('truncated-header', ok[:20], 'ends inside the header', c), ('truncated-metadata', ok[:300], 'ends inside the metadata', c), ('truncated-tensor', ok[:-100], 'last tensor ends after the file', c),
        ('length-overflow', build([kvs()[0], long_key] + kvs()[1:]), 'string length 2^63+5', c), ('array-overflow', build([kvs()[0], big_arr] + kvs()[1:]), 'array of 2^61 strings', c),
        ('deep-arrays', build([kvs()[0], s('general.deep') + deep] + kvs()[1:]), '200 nested arrays', c),
        ('kv-count-overflow', build(nkv=2**62), '2^62 keys announced', c), ('tensor-count-overflow', build(ntensor=2**62), '2^62 tensors announced', c),
        ('shape-overflow', build(dims=at(3, lambda v: [2**33, 2**33])), 'product of the shape exceeds 2^64', c), ('too-many-dims', build(dims=at(3, lambda v: [D, 1, 1, 1, 1, D])), 'six dimensions', c),
        ('zero-dimension', build(dims=at(3, lambda v: [0, D])), 'a dimension of length 0', c),
        ('offset-outside', build(offset=at(4, lambda v: 1 << 40)), 'tensor offset outside the file', c), ('offset-wraps', build(offset=at(4, lambda v: 2**64 - 32)), 'offset + size wraps around', c),
        ('offset-unaligned', build(offset=at(4, lambda v: v + 4)), 'offset is no multiple of the alignment', c), ('overlapping', build(offset=at(4, lambda v: v - 512)), 'two tensors share bytes', c),
        ('bad-alignment', build([k if k[0] != 'general.alignment' else (k[0], U32, 0) for k in kvs()]), 'alignment 0', c),
        ('duplicate-key', build(kvs() + [('llama.context_length', U32, 128)]), 'the same key twice', c), ('duplicate-tensor', build(name=at(4, lambda v: 'blk.0.attn_q.weight')), 'the same tensor name twice', c),
        ('unknown-value-type', build([kvs()[0], s('general.odd') + struct.pack('<I', 77) + b'\0' * 8] + kvs()[1:]), 'metadata value type 77', c), ('unknown-tensor-type', build(typ=at(4, lambda v: 200)), 'tensor type 200', c),
        ('missing-tensor', build(ts=[x for x in shapes() if 'ffn_up' not in x[0]]), 'blk.0.ffn_up.weight is not there', m), ('missing-architecture', build(kvs()[1:]), 'general.architecture is not there', c),
        ('missing-tokenizer', build(kvs(tokenizer=False)), 'no tokenizer', m), ('bad-merge', build([k if k[0] != 'tokenizer.ggml.merges' else (k[0], ARR, (STR, ['a zz'])) for k in kvs()]), 'a merge of a token that does not exist', m),
        ('invalid-utf8-name', build(kvs() + [('general.name', STR, b'\xff\xfe\x1b[31m')]), 'name is no UTF-8 and holds a terminal escape', m),
        ('hostile-name', build(kvs() + [('general.name', STR, '</script><script>alert(1)</script>\x1b]0;pwned\x07\u202e')]), 'name holds markup, a terminal escape and a bidi override', 'none'),
        ('nan-tensor', build(data=at(3, nan)), 'four NaN in blk.0.attn_q.weight', m),
        ('template-parse', T("{% for message in messages %}{{ message['content'] }"), 'template does not parse', t), ('template-endless', T("{% for a in range(1000000000) %}{% for b in range(1000000000) %}{% endfor %}{% endfor %}"), 'template does not end', t),
        ('template-huge', T("{% for a in range(100000) %}{% for b in range(100000) %}AAAAAAAAAAAAAAAA{% endfor %}{% endfor %}"), 'template writes 160 GB', t),
        ('template-recursion', T("{% macro f(n) %}{{ f(n + 1) }}{% endmacro %}{{ f(0) }}"), 'template calls itself for ever', t),
        ('template-file', T("{% include '/etc/passwd' %}{% for message in messages %}{{ message['content'] }}{% endfor %}"), 'template wants to read a file', t),
        ('adapter-good', lora('llama'), 'nothing: the same builder, an adapter for valid-control', 'none'), ('adapter-other-arch', lora('gemma'), 'adapter of another architecture', 'adapter'),
        ('adapter-other-shape', build([('general.architecture', STR, 'llama'), ('general.type', STR, 'adapter'), ('adapter.type', STR, 'lora'), ('adapter.lora.alpha', F32, 8.0)],
            [('blk.0.attn_q.weight.lora_a', [48, 4]), ('blk.0.attn_q.weight.lora_b', [4, 48])]), 'adapter for another width', 'adapter'),
        ('adapter-half', build([('general.architecture', STR, 'llama'), ('general.type', STR, 'adapter'), ('adapter.type', STR, 'lora'), ('adapter.lora.alpha', F32, 8.0)],
            [('blk.0.attn_q.weight.lora_a', [D, 4])]), 'lora_a without lora_b', 'adapter'),
        ('adapter-nan', build([('general.architecture', STR, 'llama'), ('general.type', STR, 'adapter'), ('adapter.type', STR, 'lora'), ('adapter.lora.alpha', F32, float('nan'))],
            [('blk.0.attn_q.weight.lora_a', [D, 4]), ('blk.0.attn_q.weight.lora_b', [4, D])]), 'alpha is NaN', 'adapter'),
    ]

def write(folder):
    os.makedirs(folder, exist_ok=True)
    with open(f'{folder}/malformed.jsonl', 'w') as f:
        for name, b, what, where in cases():
            open(f'{folder}/{name}.gguf', 'wb').write(b)
            f.write(json.dumps({'file': name + '.gguf', 'what': what, 'noticed_by': where}) + '\n')

if __name__ == '__main__':
    import sys; write(sys.argv[1])
