"""Renders conversations.json through every *.jinja, and one message through
each template of expressions.json, with Jinja2 in the environment of
transformers' apply_chat_template, into *.golden.json. Needs jinja2 3.1. Run in
this folder."""

import datetime
import glob
import json

import jinja2
import jinja2.ext
from jinja2.sandbox import ImmutableSandboxedEnvironment


class Generation(jinja2.ext.Extension):
    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return jinja2.nodes.Scope(body).set_lineno(line)


def raise_exception(message):
    raise jinja2.exceptions.TemplateError(message)


def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


env = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[Generation, jinja2.ext.loopcontrols])
env.filters["tojson"] = tojson
env.globals["raise_exception"] = raise_exception

for path in sorted(glob.glob("*.jinja")):
    template = env.from_string(open(path, encoding="utf-8").read())
    out = []
    for c in json.load(open("conversations.json", encoding="utf-8")):
        now = datetime.datetime.fromisoformat(c.get("now", "2024-07-26T12:00:00Z").replace("Z", ""))
        try:
            text = template.render(messages=c["messages"], tools=c.get("tools"), documents=None,
                                   add_generation_prompt=c["add_generation_prompt"], bos_token="<s>", eos_token="</s>",
                                   strftime_now=now.strftime)
            out.append({"name": c["name"], "text": text})
        except jinja2.exceptions.TemplateError as e:
            out.append({"name": c["name"], "error": str(e)})
    with open(path.replace(".jinja", ".golden.json"), "w", encoding="utf-8") as f:
        json.dump(out, f, ensure_ascii=False, indent=1)
        f.write("\n")

out = []
for source in json.load(open("expressions.json", encoding="utf-8")):
    try:
        text = env.from_string(source).render(messages=[{"role": "user", "content": "hello"}], tools=None, add_generation_prompt=False)
        out.append({"source": source, "text": text})
    except Exception as e:
        out.append({"source": source, "error": str(e)})
with open("expressions.golden.json", "w", encoding="utf-8") as f:
    json.dump(out, f, ensure_ascii=False, indent=1)
    f.write("\n")
