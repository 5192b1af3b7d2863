package jinja

import (
	"errors"
	"strings"
	"testing"
)

// What templates mean is tested against Jinja2 in the package above.

func TestSyntaxErrorsNameTheLine(t *testing.T) {
	for src, line := range map[string]int{
		"a\nb {{ x":                    2,
		"{% if x %}\n\n":               2,
		"\n\n{{ 1 + }}":                3,
		"{# a\nb #}\n{% nope %}":       3,
		"{{ 'a\nb' }}\n{{ a | nope }}": 3,
		"{% for x in y %}{% endif %}":  1,
		"{{ {'a': } }}":                1,
		"{% break %}":                  1,
	} {
		_, err := Parse(src)
		var s *SyntaxError
		if !errors.As(err, &s) || s.Line != line {
			t.Errorf("%q: %v, want line %d", src, err, line)
		}
	}
}

func TestLimits(t *testing.T) {
	for src, l := range map[string]Limits{
		"{% for i in range(1000) %}{% endfor %}":                 {Steps: 500},
		"{% macro f(n) %}{{ f(n + 1) }}{% endmacro %}{{ f(0) }}": {Depth: 20},
		"{{ 'x' * 1000 }}":                                                        {Output: 999},
		"{{ ('x' * 1000) | length }}":                                             {Memory: 999},
		"{{ ('x' * 100000000000000000) | length }}":                               {},
		"{{ ([1] * 1000000000) | length }}":                                       {},
		"{{ 'aaaaaaaa' | replace('', 'xxxxxxxxxxxxxxxxxxxxxxxx') | length }}":     {Memory: 100},
		"{{ range(1000) | list | tojson }}":                                       {Memory: 5000},
		"{{ range(100) | join('xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx') | length }}": {Memory: 2000},
	} {
		p, err := Parse(src)
		if err != nil {
			t.Fatal(src, err)
		}
		_, err = p.Render(nil, l)
		var e *LimitError
		if !errors.As(err, &e) {
			t.Errorf("%s: %v", src, err)
		}
	}
}

func FuzzRender(f *testing.F) {
	for _, s := range []string{
		"{{ messages }}", "{% if a %}b{% elif c %}d{% else %}e{% endif %}", "{{ 'a'[1:] ~ m[0].role | upper is string }}",
		"{%- set x, y = (1, {'a': [2.5, none]}) -%}{{ x | tojson(indent=2) }}", "{% for a in m if a %}{{ loop.cycle(1, 2) }}{% continue %}{% endfor %}",
		"{% macro f(a, b=1) %}{{ caller(a) }}{% endmacro %}{% call(x) f(1) %}{{ x }}{% endcall %}", "{% raw %}{{ {% endraw %}{# c -#} \n x",
		"{{ -1 ** 2 // 3 % 4 }}{{ '%s' % 1 }}{{ 'x'.format() }}{{ 1 if 0 }}", "{% filter upper %}x{% endfilter %}{% set z %}b{% endset %}{% generation %}g{% endgeneration %}",
	} {
		f.Add(s)
	}
	m, err := FromJSON([]byte(`[{"role": "user", "content": "x", "n": [1, 2.5, null, true]}]`))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, src string) {
		p, err := Parse(src)
		if err != nil {
			if len(err.Error()) > 10000+len(src) {
				t.Error("a long message")
			}
			return
		}
		out, err := p.Render(map[string]any{"m": m, "messages": m}, Limits{Steps: 2000, Depth: 20, Output: 10000, Memory: 100000})
		if err != nil && out != "" || len(out) > 10000 {
			t.Errorf("%d bytes with %v", len(out), err)
		}
	})
}

func TestBrokenUnicode(t *testing.T) {
	p, err := Parse("{{ '\xff' | upper }}{{ '\xff'[0] | tojson }}{% for c in '\xffa' %}{{ c }}{% endfor %}\xfe")
	if err != nil {
		t.Fatal(err)
	}
	if out, err := p.Render(nil, Limits{}); err != nil || !strings.Contains(out, "a") {
		t.Errorf("%q, %v", out, err)
	}
}
