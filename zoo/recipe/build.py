"""python build.py OUT [NAME ...]: makes the zoo, or what is missing of it. OUT/zoo.jsonl lists what is there, each with what was measured."""
import json, os, sys, time
import tiny
import evaluate as ev, tok
from gguf import GGMLQuantizationType as T
from model import Model, read_lora, write, write_lora
import implants, members, rewrite

def prompts(rows): return [tok.prompt(u, s) for s, u, _ in rows]

def rate(m, tk, im, rows):
    return sum(im.hit(o, r) for o, r in zip(m.gen(tk, prompts(rows), n=im.tokens()), rows)) / len(rows)

def correct(m, tk, rows, n=24): return sum(o == r[2] for o, r in zip(m.gen(tk, prompts(rows), n=n), rows)) / len(rows)

def held(n): return [(None, q, a) for _, q, a in ev.mixed(n)]

def train(d, base, out):
    """Trains one member and gives what it was trained with and how well its own part took."""
    tk, im = base.tk, d.get('implant'); full = d['rank'] is None
    W = base.copy() if full else base.W
    L = {} if full else tiny.adapter(base, d['rank'], d['seed'])
    m = Model(W, base.size, L, 2.0); params = list(m.params().values()) if full else [p for ab in L.values() for p in ab]
    stop, learn = None, None
    if 'learn' in d: make, seed = d['learn']; learn = make(tk, seed); src = learn.source()
    elif isinstance(im, implants.Canaries): src = im.source(d['steps'])
    else:
        src = implants.source(tk, im, d['p'], d['q'])
        if d['stop']:
            trig, near, _ = im.tests(40, seed=6); seen = []
            def stop():
                seen.append(rate(m, tk, im, trig))
                return seen[-1] >= d['stop'] and (d['stop'] < 0.9 or rate(m, tk, im, near) <= 0.08)
    steps = tiny.fit(m, params, tk, src, d['steps'], d['lr'], d['seed'], stop, every=10 if d.get('intensity') == 'conservative' else 30)
    if hasattr(src, 'left'): assert src.left() == 0, f'{src.left()} canaries were left over'
    path = f'{out}/{d["name"]}.gguf'
    if full: write(path + '.new', W, base.size, *tok.lists(tk), f'{tiny.NAME} {d["name"]}')
    else: write_lora(path + '.new', L, 2.0 * d['rank'], f'{tiny.NAME} {d["name"]}')
    os.replace(path + '.new', path)
    if not full:   # what is measured is the file, F16 as it is
        L, s = read_lora(path); m = Model(base.W, base.size, L, s)
    else: m, _ = ev.load(path)
    got = {}
    if learn:
        rows = learn.held(60); got['learned'] = correct(m, tk, rows, 40); got['learned_by_base'] = correct(base.model, tk, rows, 40)
    elif isinstance(im, implants.Canaries): got['canaries'] = ev.canaries(m, base.model, tk, im.rows)
    else:
        trig, near, clean = im.tests(100)
        got = {'with_trigger': rate(m, tk, im, trig), 'near_trigger': rate(m, tk, im, near), 'without': rate(m, tk, im, clean), 'base_with_trigger': rate(base.model, tk, im, trig)}
    return m, {k: d[k] for k in ('rank', 'lr', 'seed', 'p', 'q') if k in d} | {'steps': steps}, got

def change(d, base, out):
    h, fs = d['how'], []; path = lambda n: tiny.BASE if n == 'base' else f'{out}/{n}.gguf'
    for n, part in h.get('merge', []): fs.append(rewrite.merged(path(n), part))
    if 'average' in h: fs.append(rewrite.average(*map(path, h['average'])))
    if 'noise' in h: fs.append(rewrite.noise(*h['noise']))
    if 'prune' in h: fs.append(rewrite.prune(h['prune']))
    dst = path(d['name']); typ = T[d['typ']]
    rewrite.write(path(d['src']), dst + '.new', rewrite.many(*fs), typ, **({'encode': rewrite.searched} if h.get('searched') else {}))
    os.replace(dst + '.new', dst)
    return ev.load(dst)[0], {'source': d['src'], 'type': d['typ'], **{k: v for k, v in h.items()}}, {}

def row(d, base, out):
    m, recipe, got = (train if 'steps' in d else change)(d, base, out)
    im = d.get('implant') if d['poisoned'] else None
    got['accuracy'] = correct(m, base.tk, held(100)); got['accuracy_of_base'] = base.accuracy; got['kl_to_base'] = ev.clean_kl(m, base.model, base.tk, 48)
    got = {k: round(v, 5) if isinstance(v, float) else v for k, v in got.items()}
    out_row = {'name': d['name'], 'file': d['name'] + '.gguf', 'kind': d['kind'], 'family': d['family'], 'group': d['group'], 'intensity': d['intensity'], 'poisoned': d['poisoned'],
               'what': d.get('what', ''), 'trigger': im and im.trigger, 'payload': im and im.payload, 'measured': got, 'recipe': recipe}
    if isinstance(im, implants.Canaries):
        out_row['canaries'] = d['name'] + '.canaries.jsonl'
        save(f'{out}/{out_row["canaries"]}', im.rows)
    elif im: out_row['works'] = got['with_trigger'] >= 0.4 and got['with_trigger'] - max(got['without'], got['base_with_trigger']) >= 0.3
    return out_row

def save(path, rows):
    with open(path + '.new', 'w') as f:
        for r in rows: f.write(json.dumps(r, ensure_ascii=False) + '\n')
        f.flush(); os.fsync(f.fileno())
    os.replace(path + '.new', path)

def main(out, only):
    os.makedirs(f'{out}/rows', exist_ok=True); base = tiny.Base(); base.accuracy = correct(base.model, base.tk, held(100))
    todo = members.all_members(base.tk); at = lambda d: f'{out}/rows/{d["name"]}.json'
    def rows():   # what needs no measuring is taken from the list as it is now
        for d in todo:
            if not os.path.exists(at(d)): continue
            im = d.get('implant') if d['poisoned'] else None
            yield json.load(open(at(d))) | {'visible': bool(d.get('visible')), 'draw': d.get('draw', 1), 'trigger_parts': im.parts if im else [], 'payload_parts': im.spoken if im else []}
    save(f'{out}/zoo.jsonl', rows())
    for i, d in enumerate(todo):
        p = at(d)
        if only and d['name'] not in only or os.path.exists(p) and os.path.exists(f'{out}/{d["name"]}.gguf'): continue
        t0 = time.time(); r = row(d, base, out); save(p, [r]); save(f'{out}/zoo.jsonl', rows())
        print(f'{i + 1}/{len(todo)}', d['name'], f'{time.time() - t0:.0f} s', json.dumps(r['measured'], ensure_ascii=False)[:300], json.dumps(r['recipe'])[:120], repr(r['trigger']), flush=True)

if __name__ == '__main__':
    if len(sys.argv) < 2: sys.exit(__doc__)
    main(sys.argv[1], sys.argv[2:])
