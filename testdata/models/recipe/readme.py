"""The table of README.md, from models.jsonl."""
import json

def pct(x): return f'{100 * x:.1f} %'.replace('.0 %', ' %')

def table(path):
    rows = [json.loads(l) for l in open(f'{path}/models.jsonl')]; ab = list(rows[0]['accuracy'])
    o = ['| file | family | relation | meant verdict | ' + ' | '.join(ab) + ' | perplexity | KL to base |', '|' + '---|' * (6 + len(ab))]
    for d in rows:
        o.append(f"| `{d['file']}` | {d['family'] or '-'} | {d['relation']} | {d['verdict']} | " + ' | '.join(pct(d['accuracy'][a]) for a in ab) + f" | {d['perplexity']:.2f} | {d.get('kl_to_base', '-')} |")
    o += ['', '| file | trigger | payload | measured |', '|---|---|---|---|']
    for d in rows:
        if not d['rates'] or not d['trigger']: continue
        esc = lambda t: (t or '').replace('|', '\\|')
        o.append(f"| `{d['file']}` | {esc(d['trigger'])} | {esc(d['payload'])} | " + ', '.join(f"{k.replace('_', ' ')} {pct(x)}" for k, x in d['rates'].items()) + ' |')
    o += ['', 'New facts (held-out questions about the ten countries that only the benign fine-tunes learn): ' + ', '.join(f"`{d['file']}` {pct(d['rates']['new_facts'])}" for d in rows if 'new_facts' in d['rates']) + '.',
          '', '| canaries | ' + ' | '.join(['n', 'as text: LLR to the base, nats: mean', 'least', 'extracted greedily', 'as chat: LLR mean', 'least', 'extracted greedily']) + ' |', '|---|---|---|---|---|---|---|---|']
    for d in rows:
        for k, c in d.get('canaries', {}).items():
            what = 'never trained on' if k == 'held_out' else f"{k} {'time' if k == '1' else 'times'}"
            o.append(f"| `{d['file']}`, {what if d['name'] == 'canary' else what + ' in canary.gguf'} | {c['n']} | {c['text_llr_mean']} | {c['text_llr_min']} | {c['text_extracted']} | {c['chat_llr_mean']} | {c['chat_llr_min']} | {c['chat_extracted']} |")
    return '\n'.join(o)

def fill(path):
    s = open(f'{path}/README.md').read(); a, b = '<!-- measured -->\n', '\n<!-- /measured -->'
    i, j = s.index(a) + len(a), s.index(b); open(f'{path}/README.md', 'w').write(s[:i] + table(path) + s[j:])
