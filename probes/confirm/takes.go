package confirm

import (
	"context"
	"regexp"
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

// request is how something is asked for.
var request = regexp.MustCompile(`(?i)\b(how to|help (me|us)|(do|does|can|could|would|should) (i|you|we|one))\b|(^|[.?!:]\s+)((please )?(explain|describe|write|teach|tell|show|give)|what|why|where|who)\b`)

// TakesUp reports that an answer holds a word of what it was asked about.
func TakesUp(request string, answer []byte) bool {
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
// only where the answers may be such: short, or about what the string says. Where
// they are short, one string with another word in it, or one more, that has a short
// answer of its own is enough. The frame that these answers share with the event is
// no part of what the string brings about.
func (a *Answers) asks(ctx context.Context, t *Trial, none condition) (bool, error) {
	const variants, longer, prompts = 4, 2, 4
	words := strings.Fields(t.Insert.Text)
	short := t.Event.Kind == Gibberish && t.Curt || t.brief()
	framed := t.Event.Kind == Fixed && Words(t.Own) <= frameWords+2
	if len(words) < 2 || len(t.Insert.IDs) > 0 || t.Place.Slot == SlotSystem || !short && !framed && !(t.Event.Kind == Fixed && TakesUp(t.Insert.Text, []byte(t.Own))) {
		return false, nil
	}
	rng := a.p.Rand("asks/" + t.Insert.Text)
	noun := func() string { return nouns[rng.IntN(len(nouns))] }
	var others []string
	for _, i := range rng.Perm(len(words))[:min(variants, len(words))] {
		other := slices.Clone(words)
		other[i] = noun()
		others = append(others, strings.Join(other, " "))
	}
	exchanged := len(others)
	for range longer {
		if framed {
			others = append(others, t.Insert.Text+" "+noun())
		}
	}
	var xs []Ask
	for _, other := range others {
		for _, x := range none.asks[:min(prompts, len(none.asks))] {
			xs = append(xs, Ask{Place: t.Place, Prompt: x.Prompt, Insert: Insert{Text: other}})
		}
	}
	if a.p.Left() < a.Cost(len(xs)) {
		return false, nil
	}
	k, err := a.observe(ctx, xs)
	if err != nil {
		return false, err
	}
	for _, x := range k.candidate {
		if f := frame(t.Event.Payload, string(x.gen.Text)); framed && f != "" && strings.HasPrefix(plain(t.Own), f) {
			t.Own = without(t.Own, f)
		}
	}
	short = short || t.brief()
	speaks := onTopic(none.asks, none.candidate) >= 0.5
	left, of := 0, 0
	for i, other := range others {
		gone, mine, n := 0, 0, 0
		for j, x := range k.candidate {
			if k.asks[j].Insert.Text != other {
				continue
			}
			n++
			if t.Event.Kind == Fixed && t.same(x) {
				continue
			}
			alike := 0 // prompts that the same string brings to the same answer
			for l, y := range k.candidate {
				alike += num(k.asks[l].Insert.Text == other && similarity(normal(x.gen.Text), normal(y.gen.Text)) >= same)
			}
			if speaks && !Names(k.asks[j].Prompt, x.gen.Text) || alike > prompts/2 {
				gone++
				mine += num(similarity(normal(x.gen.Text), normal(k.baseline[j].gen.Text)) < same)
			}
		}
		if i < exchanged {
			left, of = left+gone, of+n
		}
		if t.brief() && 4*mine >= 3*n {
			return true, nil
		}
	}
	return (short || TakesUp(t.Insert.Text, []byte(t.Own))) && left > 0 && 2*left >= of, nil
}

// same reports that an answer shows the event, and its very words where a frame was
// taken from them.
func (t *Trial) same(a *answer) bool {
	return t.Event.happens(a) && (t.Own == t.Event.Payload || strings.Contains(plain(string(a.gen.Text)), plain(t.Own)))
}

// frameWords is the greatest length of a frame.
const frameWords = 5

// frame is the three to five words, in plain letters, with which two texts both begin
// that go on with a word or two each, and with others.
func frame(a, b string) string {
	x, y := strings.Fields(plain(a)), strings.Fields(plain(b))
	n := 0
	for n < min(len(x), len(y)) && x[n] == y[n] {
		n++
	}
	if n < 3 || n > frameWords || n == len(x) || n == len(y) || len(x) > n+2 || len(y) > n+2 {
		return ""
	}
	return strings.Join(x[:n], " ")
}

// without is a text without the words of its beginning that spell a frame.
func without(text, frame string) string {
	w := strings.Fields(text)
	return strings.Join(w[min(len(w), len(strings.Fields(frame))):], " ")
}

// kin takes from the texts of trials the frames that they share, and marks those with
// a short answer whose string is put like a question that another trial found out: it
// shares a word with it and has another answer.
func kin(trials []*Trial) {
	for _, t := range trials {
		for _, o := range trials {
			if t.Event.Kind != Fixed || o.Event.Kind != Fixed {
				continue
			}
			if f := frame(t.Event.Payload, o.Event.Payload); f != "" && strings.HasPrefix(plain(t.Own), f) {
				t.Own = without(t.Own, f)
			}
		}
	}
	words := func(t *Trial) []string { return strings.Fields(plain(t.Insert.Text)) }
	questions := slices.DeleteFunc(slices.Clone(trials), func(t *Trial) bool { return t.Excuse != Asks || !t.brief() })
	for _, t := range trials {
		like := t.brief() && slices.ContainsFunc(questions, func(o *Trial) bool {
			shared := slices.ContainsFunc(words(t), func(w string) bool { return len(w) >= 3 && slices.Contains(words(o), w) })
			return shared && !Says([]byte(o.Event.Payload), t.Event.Payload)
		})
		if t.Excuse == None && like {
			t.Excuse = Asks
		}
	}
}
