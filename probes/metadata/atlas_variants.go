package metadata

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

var odd = []struct{ kind, what, text string }{
	{"content", "empty content", ""},
	{"content", "content of spaces", "   "},
	{"content", "spaces around the content", "  %s  \n"},
	{"content", "lines", "%s\n\n\nmore\r\n\tlines %s"},
	{"content", "digits", "%s 1234567890 3.14 %s"},
	{"content", "a question", "%s? What is %s?"},
	{"content", "capital letters", "%s HELLO THERE %s"},
	{"content", "an address", "%s https://example.org/?q=%s"},
	{"content", "code", "```python\ndef %s(x):\n    return x  # %s\n```"},
	{"content", "JSON", "{\"%s\": [1, null, {\"a\": \"%s\"}]}"},
	{"content", "template syntax", "%s {{ 7 * 7 }} {%% if true %%}x{%% endif %%} {# %s #}"},
	{"content", "markup", "%s <b>&amp;</b> <!-- %s -->"},
	{"content", "quotes and backslashes", "%s \"' \\ \\n %s"},
	{"unicode", "Chinese", "%s 你好，世界 %s"},
	{"unicode", "Arabic", "%s مرحبا بالعالم %s"},
	{"unicode", "Cyrillic", "%s Привет %s"},
	{"unicode", "emoji", "%s 👩‍👩‍👧‍👦🇩🇪👍🏽 %s"},
	{"unicode", "bidi controls", "%s \u202eabc\u202c \u2066d\u2069 %s"},
	{"unicode", "zero-width characters", "%s a\u200bb\u200dc\ufeff %s"},
	{"unicode", "combining marks", "%s e\u0301\u0302 %s"},
	{"unicode", "full-width letters", "%s ｈｅｌｌｏ %s"},
	{"unicode", "control characters", "%s \x01\x1b[31m\x7f %s"},
}

// contentVariants varies the kind of text in the common structures.
func (a *atlas) contentVariants() {
	for _, s := range common {
		for m := range s.turns {
			for _, o := range odd {
				a.with(s, m, o.kind, o.what+" from the "+roles[s.turns[m]], func(n1, n2 string) string {
					if !strings.Contains(o.text, "%") {
						return o.text
					}
					return fmt.Sprintf(o.text, []any{n1, n2}[:strings.Count(strings.ReplaceAll(o.text, "%%", ""), "%s")]...)
				})
			}
			for _, size := range []int{300, 3000, 30000} {
				a.length(s, m, size)
			}
		}
	}
	for _, open := range []bool{true, false} {
		for _, system := range []string{"", "s"} {
			for pairs := 2; pairs <= 10; pairs++ {
				a.turns(system, pairs, open)
			}
		}
	}
}

// length makes one message exactly size bytes long.
func (a *atlas) length(s shape, message, size int) {
	a.with(s, message, "length", fmt.Sprintf("%d characters from the %s", size, roles[s.turns[message]]), func(n1, n2 string) string {
		fill := max(0, size-len(n1)-len(n2))
		return n1 + strings.Repeat(" kdfg", fill/5+1)[:fill] + n2
	})
}

// turns makes a conversation of many turns: pairs of user and assistant, then
// one of the user; not open, it ends with the assistant.
func (a *atlas) turns(system string, pairs int, open bool) {
	s := shape{turns: system + strings.Repeat("ua", pairs), open: open}
	if open {
		s.turns += "u"
	}
	sc := a.build(s)
	sc.kind, sc.what = "turns", fmt.Sprintf("%d messages", len(s.turns))
	a.add(sc)
}

// dates renders the common structures at every month of 2023 to 2031, on
// changing days, weekdays and hours; few where no template reads the clock.
func (a *atlas) dates(all bool) {
	for i := 0; i < 12*9; i++ {
		if !all && i%27 != 0 {
			continue
		}
		now := time.Date(2023, time.Month(1+i), 1+(i*11)%28, (i*7)%24, (i*13)%60, 0, 0, time.UTC)
		for j, s := range common {
			if j > 0 && i%6 != 0 {
				continue
			}
			sc := a.build(s)
			sc.kind, sc.what, sc.conv.Now = "date", now.Format(time.RFC3339), now.Format(time.RFC3339)
			a.add(sc)
		}
	}
}

// variants are the spellings of a literal that a condition may accept.
func variants(lit string) []string {
	out := []string{lit}
	put := func(s string) {
		if s != "" && !slices.Contains(out, s) && len(out) < 12 {
			out = append(out, s)
		}
	}
	put(strings.TrimSpace(lit))
	put(strings.ToLower(lit))
	put(strings.ToUpper(lit))
	if words := strings.Fields(lit); len(words) > 1 && len(words) <= 8 {
		for _, w := range words {
			put(w)
		}
	} else if r := []rune(lit); len(words) == 1 && len(r) > 3 && len(r) <= 64 {
		put(strings.ToUpper(string(r[:1])) + string(r[1:]))
		put(string(r[:len(r)/2]))
		put(string(r[len(r)/2:]))
	}
	return out
}

// maxLiteral bounds a literal that is put into a conversation.
const maxLiteral = 2 << 10

// literals puts the words that a template mentions where a condition could
// look for them.
func (a *atlas) literals(list []string) {
	user, both, long, tool := common[0], common[1], common[5], common[3]
	for _, lit := range list {
		if len(lit) > maxLiteral {
			continue
		}
		for i, v := range variants(lit) {
			for _, form := range []struct{ format, where string }{{"%[1]s %[3]s %[2]s", ""}, {"%[3]s", " alone"}, {"%[3]s %[1]s", " first"}, {"%[1]s %[3]s", " last"}} {
				text := func(n1, n2 string) string {
					return fmt.Sprintf(strings.ReplaceAll(form.format, "%[2]s", n2), n1, n2, v)
				}
				a.with(user, 0, "content", v, text)
				if i == 0 && form.where != " last" {
					a.with(both, 0, "content", v, text)
					a.with(both, 1, "content", v, text)
				}
			}
		}
		inside := func(n1, n2 string) string { return n1 + " " + lit + " " + n2 }
		for m := range long.turns {
			a.with(long, m, "content", lit, inside)
		}
		a.with(tool, 1, "content", lit, inside)
		for _, form := range []string{"name", "part of a name", "description"} {
			sc := a.build(tool)
			n := a.nonce()
			sc.hides = append(sc.hides, hide{n, -1, false})
			sc.kind, sc.what = "tools", lit
			switch form {
			case "name":
				sc.conv.Tools = tools([]string{lit}, "Looks something up.")
			case "part of a name":
				sc.conv.Tools = tools([]string{n + lit}, "Looks something up.")
			default:
				sc.conv.Tools = tools([]string{n}, "Looks up "+lit+".")
			}
			a.add(sc)
		}
		a.with(shape{"uct", 1, true}, 2, "content", lit, inside)
		if len(lit) <= 64 {
			sc := a.build(user)
			sc.conv.Messages[0].Role = lit
			sc.group, sc.kind, sc.what = "role "+lit, "plain", "role "+lit
			a.add(sc)
		}
	}
}

// together puts all words of one condition into one message, and into one
// message each, at several dates when the clock is read.
func (a *atlas) together(lists [][]string, clock bool) {
	for _, lits := range lists {
		if len(strings.Join(lits, " ")) > maxLiteral || len(lits) > 32 {
			continue
		}
		all := strings.Join(lits, " ")
		text := func(n1, n2 string) string { return n1 + " " + all + " " + n2 }
		a.with(common[0], 0, "content", all, text)
		a.with(common[1], 0, "content", all, text)
		a.with(common[1], 1, "content", all, text)
		sc := a.build(common[1])
		for i, l := range lits {
			sc.conv.Messages[i%2].Content += " " + l
		}
		sc.kind, sc.what = "content", all
		sc.hides = slices.DeleteFunc(sc.hides, func(h hide) bool { return h.whole })
		a.add(sc)
		for year := 2023; clock && year <= 2031; year++ {
			a.with(common[0], 0, "content", fmt.Sprintf("%s (in %d)", all, year), text)
			if n := len(a.scenes); n > 0 {
				a.scenes[n-1].conv.Now = fmt.Sprintf("%d-06-15T12:00:00Z", year)
			}
		}
	}
}

// numbers tries lengths and counts just below, at and above the numbers that a
// template mentions.
func (a *atlas) numbers(list []int) {
	for _, n := range list {
		for d := -1; d <= 1; d++ {
			if k := n + d; k >= 2 && k <= 64 {
				a.turns("", (k+1)/2, true)
				a.turns("", (k+1)/2, false)
				a.turns("s", (k+1)/2, true)
			}
			if k := n + d; k >= 32 && k <= 64<<10 {
				a.length(common[0], 0, k)
				a.length(common[1], 0, k)
				a.length(common[1], 1, k)
			}
		}
	}
}
