package yml_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/weighbridge/weighbridge/suites/internal/yml"
)

func TestParse(t *testing.T) {
	n, err := yml.Parse("a.yaml", []byte("# comment\nsuite: x\nlist:\n  - b: 1.5\n    c: [true, \"2\", 3]\n  - |\n    two\n    lines\nempty:\n"))
	if err != nil {
		t.Fatal(err)
	}
	got, err := n.JSON()
	if err != nil {
		t.Fatal(err)
	}
	if want := `{"empty":null,"list":[{"b":1.5,"c":[true,"2",3]},"two\nlines\n"],"suite":"x"}`; string(got) != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
	if l := n.Get("list").Items[0].Get("c").Line; l != 5 {
		t.Errorf("c is said to be on line %d, want 5", l)
	}
}

func TestRefused(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"a: 1\nb: 2\na: 3\n", `f.yaml:3:`},
		{"a: &x 1\n", "anchors"},
		{"a: &x [1]\nb: *x\n", "anchors"},
		{"a: 1\nb: !function utils.f\n", "f.yaml:2: !function is Python"},
		{"a: !!python/object x\n", "tag"},
		{"a: [1\nb: 2", "f.yaml:"},
		{"a: 1\n---\nb: 2\n", "more than one YAML document"},
		{"", "empty"},
		{strings.Repeat("[", 60000), "brackets"},
		{strings.Repeat("- ", 20000), "list marks"},
		{strings.Repeat("[", 40) + strings.Repeat("]", 40), "nested"},
		{strings.Repeat("x", 1<<20+1), "bytes"},
		{"1: a", "name of a field"},
		{"a: .inf", "Infinity is not supported"},
		{"a: 18446744073709551615", "too large"},
	} {
		_, err := yml.Parse("f.yaml", []byte(c.text))
		var p *yml.Problem
		if !errors.As(err, &p) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%.30q: %v, want a problem with %q", c.text, err, c.want)
		}
	}
}

func TestValues(t *testing.T) {
	n, err := yml.Parse("f.yaml", []byte("t: yes\nnum: 3\nf: 0.5\nb: true\nl: [a, b]\nm: {x: 1}\n"))
	if err != nil {
		t.Fatal(err)
	}
	if s, err := n.Get("t").Text(); s != "yes" || err != nil {
		t.Errorf("text: %q, %v", s, err)
	}
	if l, err := n.Get("l").Texts(); len(l) != 2 || err != nil {
		t.Errorf("texts: %q, %v", l, err)
	}
	if f, err := n.Get("num").Number(0, 5); f != 3 || err != nil {
		t.Errorf("number: %g, %v", f, err)
	}
	bad := map[string]func(*yml.Node) error{
		"num": func(n *yml.Node) error { _, err := n.Text(); return err },
		"f":   func(n *yml.Node) error { _, err := n.Int(0, 5); return err },
		"b":   func(n *yml.Node) error { _, err := n.Number(0, 5); return err },
		"l":   func(n *yml.Node) error { _, err := n.Bool(); return err },
		"m":   func(n *yml.Node) error { _, err := n.Texts(); return err },
	}
	for name, f := range bad {
		var p *yml.Problem
		if err := f(n.Get(name)); !errors.As(err, &p) || p.Line == 0 {
			t.Errorf("%s: %v, want a problem with its line", name, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"a: 1", "a:\n - b\n - c: {d: [e]}\n", "a: |\n x\n", "? a\n: b", "- - - x", "a: !!str 1", "\"\\u0000\": x", "%YAML 1.2\n---\na: b"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		n, err := yml.Parse("f", data)
		var p *yml.Problem
		if err != nil {
			if !errors.As(err, &p) {
				t.Fatalf("an error that is no Problem: %v", err)
			}
			return
		}
		if _, err := n.JSON(); err != nil && !errors.As(err, &p) {
			t.Fatal(err)
		}
	})
}
