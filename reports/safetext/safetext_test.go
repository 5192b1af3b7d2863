package safetext

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

func TestLine(t *testing.T) {
	for _, c := range []struct{ name, in, want string }{
		{"plain", "hello, world", "hello, world"},
		{"letters", "né 中文 עברית 🦀", "né 中文 עברית 🦀"},
		{"escape", "a\x1b[31mred", "a⟦ESC⟧[31mred"},
		{"nul and bell", "\x00\a\x7f", "⟦NUL⟧⟦BEL⟧⟦DEL⟧"},
		{"newline", "a\r\nb\tc", "a⟦CR⟧⏎b⇥c"},
		{"C1 control", "a\u009b31m", "a⟦U+009B⟧31m"},
		{"bidi", "user\u202egpj.exe", "user⟦U+202E⟧gpj.exe"},
		{"isolates", "\u2066x\u2069", "⟦U+2066⟧x⟦U+2069⟧"},
		{"zero width", "pass\u200bword\ufeff", "pass⟦U+200B⟧word⟦U+FEFF⟧"},
		{"tag characters", "a\U000E0041", "a⟦U+E0041⟧"},
		{"variation selector", "a\ufe0f", "a⟦U+FE0F⟧"},
		{"no-break space", "a\u00a0b", "a⟦U+00A0⟧b"},
		{"filler", "\u3164", "⟦U+3164⟧"},
		{"line separator", "a\u2028b", "a⟦U+2028⟧b"},
		{"private use", "\ue000", "⟦U+E000⟧"},
		{"bad bytes", "a\xff\xc3", "a⟦0xFF⟧⟦0xC3⟧"},
		{"replacement", "\ufffd", "⟦U+FFFD⟧"},
		{"few marks", "a\u0301\u0302", "a\u0301\u0302"},
		{"many marks", "a" + strings.Repeat("\u0301", 6), "a" + strings.Repeat("\u0301", 4) + "⟦U+0301⟧⟦U+0301⟧"},
	} {
		if got := Line(c.in, 0); got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}

func TestLimit(t *testing.T) {
	for _, c := range []struct {
		in    string
		limit int
		want  string
	}{
		{"abcdef", 6, "abcdef"},
		{"abcdef", 5, "abcde… (1 byte more)"},
		{"ééé", 2, "éé… (2 bytes more)"},
		{strings.Repeat("x", 1<<20), 3, "xxx… (1048573 bytes more)"},
		// A token counts as long as it is, so that markup cannot blow a text up.
		{"\u202e\u202e\u202e", 4, "⟦U+202E⟧… (6 bytes more)"},
	} {
		if got := Line(c.in, c.limit); got != c.want {
			t.Errorf("Line(%.20q, %d) = %q, want %q", c.in, c.limit, got, c.want)
		}
	}
}

func TestSplit(t *testing.T) {
	runs, more := Split("a\n\x1bb", 0, true)
	if d := cmp.Diff([]Run{{"a\n", false}, {"⟦ESC⟧", true}, {"b", false}}, runs); d != "" || more != 0 {
		t.Error(d, more)
	}
}

func TestLog(t *testing.T) {
	for in, want := range map[string]string{
		"::error::x":         ":⟦:⟧error::x",
		"  ::set-env name=x": "  :⟦:⟧set-env name=x",
		"std::vector":        "std::vector",
		"x ##[group]y":       "x ##⟦[⟧group]y",
		"##vso[task.x]":      "##⟦vso[⟧task.x]",
		"a\n::error::":       "a⏎::error::",
	} {
		if got := Log(in, 0); got != want {
			t.Errorf("Log(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestASCIIJSONKeepsTheMeaning(t *testing.T) {
	for _, s := range []string{"a", "é\u202e\U0001F980\u0000\x7f", "</script>", "\u2028"} {
		raw, err := json.Marshal(map[string]string{"text": s})
		if err != nil {
			t.Fatal(err)
		}
		out := ASCIIJSON(string(raw))
		var got map[string]string
		if err := json.Unmarshal([]byte(out), &got); err != nil {
			t.Fatal(err)
		}
		if got["text"] != s {
			t.Errorf("%q came back as %q", s, got["text"])
		}
		for _, r := range out {
			if r < ' ' || r > '~' {
				t.Errorf("%q is in %q", r, out)
			}
		}
	}
}

func FuzzLine(f *testing.F) {
	f.Add("a\x1b[0m\u202e\xff", 5)
	f.Fuzz(func(t *testing.T, s string, limit int) {
		out := Line(s, limit)
		if !utf8.ValidString(out) {
			t.Errorf("%q is not UTF-8", out)
		}
		for _, r := range out {
			if unicode.IsControl(r) || unicode.Is(unicode.Cf, r) {
				t.Errorf("%U is in %q", r, out)
			}
		}
		if limit > 0 && utf8.RuneCountInString(out) > limit+40 {
			t.Errorf("%d characters for a limit of %d", utf8.RuneCountInString(out), limit)
		}
	})
}

func TestShell(t *testing.T) {
	for in, want := range map[string]string{
		"model.gguf":        "model.gguf",
		"a b's.gguf":        `'a b'\''s.gguf'`,
		"":                  "''",
		"-rf":               "'-rf'",
		"$(id)`id`;x":       "'$(id)`id`;x'",
		"a\nb'\\\u202e\xff": `$'a\x0ab\'\\\xe2\x80\xae\xff'`,
	} {
		if got := Shell(in); got != want {
			t.Errorf("Shell(%q) = %s, want %s", in, got, want)
		}
	}
}
