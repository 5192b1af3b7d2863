package template

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weighbridge/weighbridge/runners"
)

func TestMain(m *testing.M) {
	RunChild()
	os.Exit(m.Run())
}

// TestGolden compares with what Jinja2 makes of the same templates and
// conversations in transformers' environment (testdata/golden.py).
func TestGolden(t *testing.T) {
	var cs []runners.Conversation
	load(t, "conversations.json", &cs)
	paths, err := filepath.Glob("testdata/*.jinja")
	if err != nil || len(paths) == 0 {
		t.Fatal(paths, err)
	}
	for _, path := range paths {
		name := strings.TrimSuffix(filepath.Base(path), ".jinja")
		t.Run(name, func(t *testing.T) {
			src, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			var golden []struct{ Name, Text, Error string }
			load(t, name+".golden.json", &golden)
			got, err := NewRenderer().Render(t.Context(), string(src), map[string]string{"bos_token": "<s>", "eos_token": "</s>"}, cs)
			if err != nil {
				t.Fatal(err)
			}
			for i, want := range golden {
				if want.Error != "" {
					if !strings.Contains(got[i].Error, want.Error) || got[i].Text != "" {
						t.Errorf("%s: error %q and text %q, want the error %q", want.Name, got[i].Error, got[i].Text, want.Error)
					}
					continue
				}
				if d := cmp.Diff(want.Text, got[i].Text); d != "" || got[i].Error != "" {
					t.Errorf("%s: error %q; text (-Jinja2 +ours):\n%s", want.Name, got[i].Error, d)
				}
			}
		})
	}
}

// TestExpressions compares small templates with Jinja2's results.
func TestExpressions(t *testing.T) {
	var golden []struct{ Source, Text, Error string }
	load(t, "expressions.golden.json", &golden)
	if len(golden) < 100 {
		t.Fatalf("%d expressions", len(golden))
	}
	for _, want := range golden {
		var got string
		p, err := parse(want.Source, nil)
		if err == nil {
			got, err = p.render(user("hello"))
		}
		switch {
		case want.Error != "" && err == nil:
			t.Errorf("%q gives %q, Jinja2 the error %s", want.Source, got, want.Error)
		case want.Error == "" && (err != nil || got != want.Text):
			t.Errorf("%q\n ours   %q, %v\n Jinja2 %q", want.Source, got, err, want.Text)
		}
	}
}

func load(t *testing.T, name string, v any) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, v); err != nil {
		t.Fatal(name, err)
	}
}

func user(s string) runners.Conversation {
	return runners.Conversation{Messages: []runners.Message{{Role: "user", Content: s}}}
}

// TestHostile has templates that do what they must not. Each costs its own
// conversation and no other.
func TestHostile(t *testing.T) {
	const guard = "{% if messages[0].content == 'evil' %}"
	for _, c := range []struct{ name, source, want string }{
		{"expansion", guard + expansion + "{% endif %}fine", "the template"},
		{"endless", guard + "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}{% endif %}fine", "the template took more than"},
		{"steps", guard + "{% for a in range(9999) %}{% for b in 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa' %}{{ b is string and b and b and b and b }}{% endfor %}{% endfor %}{% endif %}fine", "the template took more than"},
		{"recursion", "{% macro f(x) %}{{ f(x) }}{% endmacro %}" + guard + "{{ f(1) }}{% endif %}fine", "recursed deeper"},
		{"output", guard + "{% for a in range(99999) %}{{ 'xxxxxxxxxxxxxxxx' }}{% endfor %}{% endif %}fine", "wrote more than"},
		{"memory", guard + "{% set ns = namespace(s='xxxxxxxxxxxxxxxx') %}{% for a in range(40) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}{% endif %}fine", "bytes of values"},
		{"range", guard + "{% for a in range(1000000000) %}{% endfor %}{% endif %}fine", "the sandbox allows"},
		{"raise", guard + "{{ raise_exception('no evil here') }}{% endif %}fine", "no evil here"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := &Renderer{deadline: 8 * time.Second}
			out, err := r.Render(t.Context(), c.source, nil, []runners.Conversation{user("good"), user("evil"), user("good")})
			if err != nil {
				t.Fatal(err)
			}
			for _, i := range []int{0, 2} {
				if out[i].Error != "" || out[i].Text != "fine" {
					t.Errorf("conversation %d: %q, %q", i, out[i].Text, out[i].Error)
				}
			}
			if out[1].Error == "" || out[1].Text != "" || !strings.Contains(out[1].Error, c.want) {
				t.Errorf("the evil conversation gives %q, error %q, want %q", out[1].Text, out[1].Error, c.want)
			}
		})
	}
}

// expansion prints a list that holds itself 2^90 times: no step limit sees it.
const expansion = "{% set ns = namespace(l=[]) %}{% for a in range(90) %}{% set ns.l = [ns.l, ns.l] %}{% endfor %}{{ ns.l }}"

func TestKilledTooOften(t *testing.T) {
	r := &Renderer{deadline: 500 * time.Millisecond}
	cs := make([]runners.Conversation, 7)
	out, err := r.Render(t.Context(), expansion, nil, cs)
	if err != nil {
		t.Fatal(err)
	}
	for i, x := range out {
		want := "the template"
		if i >= maxKills {
			want = "not rendered"
		}
		if !strings.Contains(x.Error, want) {
			t.Errorf("conversation %d: %q, want %q", i, x.Error, want)
		}
	}
}

func TestRefusals(t *testing.T) {
	for _, c := range []struct {
		name, source string
		conversation runners.Conversation
		code         runners.Code
	}{
		{"include", "{% include '/etc/passwd' %}", user("x"), runners.CodeTemplate},
		{"random", "{{ [1, 2] | random }}", user("x"), runners.CodeTemplate},
		{"nesting", "{{ " + strings.Repeat("(", 10000), user("x"), runners.CodeTemplate},
		{"syntax", "{% for %}", user("x"), runners.CodeTemplate},
		{"unclosed", "{% if true %}", user("x"), runners.CodeTemplate},
		{"tools", "x", runners.Conversation{Tools: json.RawMessage("{")}, runners.CodeInvalid},
	} {
		_, err := NewRenderer().Render(t.Context(), c.source, nil, []runners.Conversation{c.conversation})
		var e *runners.Error
		if !errors.As(err, &e) || e.Code != c.code {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := NewRenderer().Render(gone, "x", nil, []runners.Conversation{user("x")}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}
