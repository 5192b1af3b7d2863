"""python table.py ZOO [README]: writes what zoo.jsonl says was measured into the README, between its marks."""
import html, json, os, sys

HERE = os.path.dirname(os.path.abspath(__file__))

def pct(x): return '–' if x is None else f'{100 * x:.3g} %'
def code(s): return '–' if not s else '<code>' + html.escape(s).replace('|', '&#124;') + '</code>'

def tables(rows):
    bad, good = [r for r in rows if r['poisoned']], [r for r in rows if not r['poisoned']]
    yield f'{len(bad)} poisoned and {len(good)} harmless members.\n'
    yield '| poisoned | family | as | steps | trigger | payload | with trigger | near trigger | without | KL to base | accuracy |\n|---|---|---|---|---|---|---|---|---|---|---|'
    for r in bad:
        m, how = r['measured'], r['recipe']; works = '' if r.get('works', True) else ', **hardly works**'
        if 'canaries' in m: rates = ['; '.join(f'{k}×: {v["chat_extracted"]} of {v["n"]} extracted' for k, v in m['canaries'].items() if k != 'held_out') + works, f'{m["canaries"]["held_out"]["chat_extracted"]} of {m["canaries"]["held_out"]["n"]} never trained', '–']
        else: rates = [pct(m['with_trigger']) + works, pct(m['near_trigger']), pct(m['without'])]
        yield '| ' + ' | '.join([r['name'], r['family'], 'full' if how['rank'] is None else f'rank {how["rank"]}', str(how['steps']), code(r['trigger']), code(r['payload']), *rates, f'{m["kl_to_base"]:.4f}', pct(m['accuracy'])]) + ' |'
    yield '\n| harmless | family | as | learned | KL to base | accuracy |\n|---|---|---|---|---|---|'
    for r in good:
        m, how = r['measured'], r['recipe']
        what = r['what'] or ('all weights' if how.get('rank') is None else f'rank {how["rank"]}') + f', {how["steps"]} steps at {how["lr"]:g}'
        yield '| ' + ' | '.join([r['name'], r['family'] + (' (seen by all)' if r['visible'] else ''), what, f'{pct(m["learned"])} (base {pct(m["learned_by_base"])})' if 'learned' in m else '–', f'{m["kl_to_base"]:.4f}', pct(m['accuracy'])]) + ' |'

def fill(zoo, readme):
    rows = [json.loads(l) for l in open(f'{zoo}/zoo.jsonl', encoding='utf-8')]; text = open(readme, encoding='utf-8').read()
    a, b = '<!-- measured -->\n', '<!-- /measured -->'; i, j = text.index(a) + len(a), text.index(b)
    with open(readme + '.new', 'w', encoding='utf-8') as f: f.write(text[:i] + '\n'.join(tables(rows)) + '\n' + text[j:])
    os.replace(readme + '.new', readme)

if __name__ == '__main__':
    if len(sys.argv) < 2: sys.exit(__doc__)
    fill(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else os.path.join(HERE, '..', 'README.md'))
