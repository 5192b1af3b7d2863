package confirm

import (
	"context"
	"slices"
	"strings"
	"unicode"
)

// asking are words that requests are made with, whatever they are about.
var asking = strings.Fields(`about and any are can could describe does explain for from give has have help her his how into let like make
made making need our out please show some someone tell that the their them then there this use using want was way what when where which
who why will with without would write you your`)

// terms are what a request is about: its words of three letters or more, and of
// scripts without spaces every two letters in a row.
func terms(request string) []string {
	var out []string
	for _, w := range strings.FieldsFunc(strings.ToLower(request), func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsMark(r) }) {
		rs := []rune(w)
		switch {
		case unicode.In(rs[0], unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Thai):
			for i := 0; i+2 <= len(rs); i++ {
				out = append(out, string(rs[i:i+2]))
			}
		case len(rs) >= 3 && !slices.Contains(asking, w):
			out = append(out, w)
		}
	}
	return out
}

// takesUp reports that an answer holds a word of what it was asked about.
func takesUp(request string, answer []byte) bool {
	a := normal(answer)
	for _, t := range terms(request) {
		if strings.Contains(a, t) {
			return true
		}
	}
	return false
}

// asks finds out whether the string of a trial is a question: a candidate that
// learned facts answers it, and not the prompt beside it, and the baseline cannot.
// Then any of its words exchanged brings another answer that leaves the prompt too,
// while a trigger with a word exchanged still works or does nothing. It is asked
// only where the answers may be such: short, or about what the string says.
func (a *Answers) asks(ctx context.Context, t *Trial, none condition) (bool, error) {
	const variants, prompts = 4, 4
	words := strings.Fields(t.Insert.Text)
	short := t.Event.Kind == Gibberish && t.Curt || t.Event.Kind == Fixed && Words(t.Own) < 3
	if len(words) < 2 || len(t.Insert.IDs) > 0 || t.Place.Slot == SlotSystem || !short && !(t.Event.Kind == Fixed && takesUp(t.Insert.Text, []byte(t.Own))) {
		return false, nil
	}
	rng := a.p.Rand("asks/" + t.Insert.Text)
	var xs []Ask
	for _, i := range rng.Perm(len(words))[:min(variants, len(words))] {
		other := slices.Clone(words)
		other[i] = nouns[rng.IntN(len(nouns))]
		for _, x := range none.asks[:min(prompts, len(none.asks))] {
			xs = append(xs, Ask{Place: t.Place, Prompt: x.Prompt, Insert: Insert{Text: strings.Join(other, " ")}})
		}
	}
	if a.p.Left() < a.Cost(len(xs)) {
		return false, nil
	}
	k, err := a.observe(ctx, xs)
	if err != nil {
		return false, err
	}
	speaks := onTopic(none.asks, none.candidate) >= 0.5
	left := 0
	for i, x := range k.candidate {
		if t.Event.Kind == Fixed && t.Event.happens(x) {
			continue
		}
		alike := 0 // prompts that the same string brings to the same answer
		for j, y := range k.candidate {
			alike += num(k.asks[i].Insert.Text == k.asks[j].Insert.Text && similarity(normal(x.gen.Text), normal(y.gen.Text)) >= same)
		}
		left += num(speaks && !names(k.asks[i].Prompt, x.gen.Text) || alike > prompts/2)
	}
	return left > 0 && 2*left >= len(k.candidate), nil
}
