package html

import (
	"html"
	"html/template"
	"strings"
	"unicode"

	"github.com/sergi/go-diff/diffmatchpatch"

	"github.com/weighbridge/weighbridge/reports/safetext"
)

// show makes hostile text visible and safe: at most limit characters, escaped,
// with everything that has no ink as a marked token.
func show(s string, limit int, lines bool) template.HTML {
	var b strings.Builder
	writeText(&b, s, limit, lines)
	return template.HTML(b.String())
}

func line(s string, limit int) template.HTML  { return show(s, limit, false) }
func block(s string, limit int) template.HTML { return show(s, limit, true) }

func writeText(b *strings.Builder, s string, limit int, lines bool) {
	runs, more := safetext.Split(s, limit, lines)
	for i := 0; i < len(runs); i++ {
		if !runs[i].Marked {
			b.WriteString(html.EscapeString(runs[i].Text))
			continue
		}
		// Neighbouring tokens share an element.
		b.WriteString(`<i class=m>`)
		for ; i < len(runs) && runs[i].Marked; i++ {
			b.WriteString(html.EscapeString(runs[i].Text))
		}
		i--
		b.WriteString(`</i>`)
	}
	if more > 0 {
		b.WriteString(`<i class=x>`)
		b.WriteString(html.EscapeString(safetext.More(more)))
		b.WriteString(`</i>`)
	}
}

// ascii shows a JSON text so that it can be copied without loss.
func ascii(s string, limit int) template.HTML {
	return block(safetext.ASCIIJSON(s), limit)
}

// diff shows two texts with the words that differ set apart: what only the
// first has and what only the second has.
func diff(a, b string, limit int) (template.HTML, template.HTML) {
	// Clipping comes first: the comparison costs the product of the lengths.
	ca, moreA := clip(a, limit)
	cb, moreB := clip(b, limit)
	words := &wordRunes{index: map[string]rune{}}
	dmp := diffmatchpatch.New()
	dmp.DiffTimeout = 0 // a deadline would make the page depend on the machine
	left, right := side{element: "del"}, side{element: "ins"}
	for _, d := range dmp.DiffMainRunes(words.encode(ca), words.encode(cb), false) {
		switch text := words.decode(d.Text); d.Type {
		case diffmatchpatch.DiffEqual:
			left.equal(text)
			right.equal(text)
		case diffmatchpatch.DiffDelete:
			left.change(text)
		case diffmatchpatch.DiffInsert:
			right.change(text)
		}
	}
	return left.end(moreA), right.end(moreB)
}

// side is one of two compared texts on its way to the page. Changes with only
// blanks and punctuation between them are set apart as one.
type side struct {
	element      string
	b            strings.Builder
	changed, gap string
}

func (s *side) change(text string) {
	if s.changed == "" {
		writeText(&s.b, s.gap, 0, true)
		s.changed = text
	} else {
		s.changed += s.gap + text
	}
	s.gap = ""
}

func (s *side) equal(text string) {
	s.gap += text
	if strings.ContainsFunc(text, func(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) }) {
		s.flush()
	}
}

func (s *side) flush() {
	if s.changed != "" {
		s.b.WriteString("<" + s.element + ">")
		writeText(&s.b, s.changed, 0, true)
		s.b.WriteString("</" + s.element + ">")
	}
	writeText(&s.b, s.gap, 0, true)
	s.changed, s.gap = "", ""
}

func (s *side) end(more int) template.HTML {
	s.flush()
	if more > 0 {
		s.b.WriteString(`<i class=x>` + html.EscapeString(safetext.More(more)) + `</i>`)
	}
	return template.HTML(s.b.String())
}

// clip cuts s to what is shown in at most limit characters. A character that is
// shown as a token counts as eight.
func clip(s string, limit int) (head string, more int) {
	n := 0
	for i, r := range s {
		if n >= limit {
			return s[:i], len(s) - i
		}
		if n++; r < ' ' && r != '\n' || r > '~' && !unicode.IsLetter(r) {
			n += 7
		}
	}
	return s, 0
}

// wordRunes gives every distinct word a rune, so that a comparison of runes is
// one of words.
type wordRunes struct {
	index map[string]rune
	words []string
}

// firstWord lies above the surrogates: runes from there on survive the
// conversion to a string and back.
const firstWord = 0xE000

func (w *wordRunes) encode(s string) []rune {
	var out []rune
	for len(s) > 0 {
		n := wordLen(s)
		r, ok := w.index[s[:n]]
		if !ok {
			r = firstWord + rune(len(w.words))
			w.index[s[:n]] = r
			w.words = append(w.words, s[:n])
		}
		out = append(out, r)
		s = s[n:]
	}
	return out
}

func (w *wordRunes) decode(s string) string {
	var b strings.Builder
	for _, r := range s {
		b.WriteString(w.words[r-firstWord])
	}
	return b.String()
}

// wordLen is the length of the first word of s: letters and digits together,
// blanks together, anything else alone.
func wordLen(s string) int {
	class := func(r rune) int {
		switch {
		case unicode.IsLetter(r), unicode.IsDigit(r):
			return 1
		case r == ' ':
			return 2
		}
		return 0
	}
	first := -1
	for i, r := range s {
		c := class(r)
		if first < 0 {
			first = c
			continue
		}
		if c != first || c == 0 {
			return i
		}
	}
	return len(s)
}
