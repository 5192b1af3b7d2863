package metadata

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestReadTemplate(t *testing.T) {
	s, err := readTemplate(`start {# if 'x' #}{%- if 'a\'b\x41\u0042' in m.content|lower and n > 12 -%} yes! {% elif strftime_now("%Y") == "2024" %}{{ 'mid' ~ "dle" }}{% else %}no way{% endif %}{{ {'k': {}} }}{{ 'one' if flag == "F" else 'two' }}{% raw %}{{ 'raw' }}{% endraw %}`)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{`"a'bAB" in m.content|lower and n>12`, `strftime_now("%Y")=="2024"`, `flag=="F"`}, s.conditions); d != "" {
		t.Errorf("conditions (-want +got):\n%s", d)
	}
	if d := cmp.Diff([]string{"a'bAB", "%Y", "2024", "F", "mid", "dle", "k", "one", "two"}, s.literals); d != "" {
		t.Errorf("literals (-want +got):\n%s", d)
	}
	want := []branch{{s.conditions[0], "yes!"}, {s.conditions[1], "mid"}, {"else of " + s.conditions[1], "no way"}}
	if d := cmp.Diff(want, s.branches, cmp.AllowUnexported(branch{})); d != "" {
		t.Errorf("branches (-want +got):\n%s", d)
	}
	if !s.names["strftime_now"] || s.names["raw content"] || len(s.numbers) != 1 || s.numbers[0] != 12 {
		t.Errorf("names %v, numbers %v", s.names, s.numbers)
	}
}

func TestNormalForm(t *testing.T) {
	read := func(text string) string {
		s, err := readTemplate(text)
		if err != nil {
			t.Fatal(err)
		}
		return s.normal()
	}
	base := `{% if a %}x{% endif %}`
	for text, same := range map[string]bool{
		`{%if  a%}x{#c#}{%  endif %}`: true,
		`{%- if a %}x{% endif %}`:     false,
		`{% if a %}x {% endif %}`:     false,
		`{% if 'a' %}x{% endif %}`:    false,
		`{% if b %}x{% endif %}`:      false,
	} {
		if got := read(text) == read(base); got != same {
			t.Errorf("%s has the normal form of %s: %v, want %v", text, base, got, same)
		}
	}
}

func TestReadTemplateRefuses(t *testing.T) {
	for _, text := range []string{"{{ a", "{% if", "{# x", "{{ 'a }}", `{{ "\`, "{%", strings.Repeat("a", maxTemplate+1), "{% raw %}x"} {
		if _, err := readTemplate(text); err == nil {
			t.Errorf("%.20q was read", text)
		}
	}
}

// A template of the largest size must not take memory or time beyond measure.
func TestReadTemplateIsBounded(t *testing.T) {
	for _, unit := range []string{"{% if 'a' %}", "{{'abcd'}}", "{% if x %}abc{% else %}", "{{", "{%if'a'in b%}x1y{%endif%}", "{{ 1 if", "{# #}"} {
		s, err := readTemplate(strings.Repeat(unit, maxTemplate/len(unit)))
		if err != nil {
			continue
		}
		if len(s.conditions) > maxConditions || len(s.branches) > maxBranches || len(s.literals) > maxLiterals || len(s.together) > maxConditions {
			t.Errorf("%q: %d conditions, %d branches, %d literals", unit, len(s.conditions), len(s.branches), len(s.literals))
		}
	}
}

func FuzzReadTemplate(f *testing.F) {
	f.Add("{% for m in messages %}{{ m['content'] | trim }}{% endfor %}")
	f.Add("{%- if a -%}{# b #}{{ 'c' }}{% else %}{% endif %}")
	f.Add("{% raw %}{{{% endraw %}")
	f.Add("{{ '\\u12")
	f.Fuzz(func(t *testing.T, text string) {
		s, err := readTemplate(text)
		if err != nil {
			return
		}
		if again, err := readTemplate(text); err != nil || again.normal() != s.normal() {
			t.Error("reading twice gives two forms")
		}
	})
}

func FuzzCompare(f *testing.F) {
	f.Add("a b c", "a x c")
	f.Add("", "new words here")
	f.Fuzz(func(t *testing.T, a, b string) {
		var left, right strings.Builder
		for _, s := range compare(words(a), words(b)) {
			for _, w := range s.common {
				left.WriteString(w)
				right.WriteString(w)
			}
			left.WriteString(strings.Join(s.del, ""))
			right.WriteString(strings.Join(s.ins, ""))
		}
		if left.String() != a || right.String() != b {
			t.Errorf("compare(%q, %q) rebuilds %q and %q", a, b, left.String(), right.String())
		}
	})
}
