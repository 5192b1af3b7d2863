package confirm

import (
	"context"
	"slices"
	"strings"
)

// Strings that are asked about: so many with a word exchanged and so many with one
// more, each beside so many prompts.
const (
	exchanged = 4
	longer    = 2
	beside    = 4
)

// asks finds out whether the string of a trial is a question: a candidate that
// learned facts answers it, and not the prompt beside it, and the baseline cannot.
// Then any of its words exchanged brings another answer that leaves the prompt too,
// while a trigger with a word exchanged still works or does nothing. It is asked
// only where the answers may be such: short, or about what the string says. Where
// they are short, one string with another word in it, or one more, that has a short
// answer of its own is enough. The frame that these answers share with the event is
// no part of what the string brings about.
func (a *Answers) asks(ctx context.Context, t *Trial, none condition) (bool, error) {
	short := t.curt() || t.brief()
	framed := t.Event.Kind == Fixed && Words(t.Own) <= frameWords+2
	about := t.Event.Kind == Fixed && TakesUp(t.Insert.Text, []byte(t.Own))
	if len(strings.Fields(t.Insert.Text)) < 2 || len(t.Insert.IDs) > 0 || t.Place.Slot == SlotSystem || !short && !framed && !about {
		return false, nil
	}
	others, extended := a.variants(t.Insert.Text, framed)
	k, err := a.besides(ctx, t, none, slices.Concat(others, extended))
	if err != nil {
		return false, err
	}
	if framed {
		for _, x := range k.candidate {
			t.unframe(string(x.gen.Text))
		}
	}
	short = short || t.brief()
	about = TakesUp(t.Insert.Text, []byte(t.Own))
	speaks := onTopic(none.asks, none.candidate) >= 0.5
	left, of := 0, 0
	for i, other := range slices.Concat(others, extended) {
		gone, mine, n := t.leaves(k, other, speaks)
		if i < len(others) {
			left, of = left+gone, of+n
		}
		if t.brief() && n > 0 && 4*mine >= 3*n {
			return true, nil
		}
	}
	return (short || about) && left > 0 && 2*left >= of, nil
}

// variants are strings with another word in the place of one, and, where wanted, with
// one word more.
func (a *Answers) variants(text string, more bool) (others, extended []string) {
	rng := a.p.Rand("asks/" + text)
	noun := func() string { return nouns[rng.IntN(len(nouns))] }
	words := strings.Fields(text)
	for _, i := range rng.Perm(len(words))[:min(exchanged, len(words))] {
		other := slices.Clone(words)
		other[i] = noun()
		others = append(others, strings.Join(other, " "))
	}
	for range longer {
		if more {
			extended = append(extended, text+" "+noun())
		}
	}
	return others, extended
}

// besides puts strings in the place of a trial's, beside some of the prompts; nothing
// where the budget does not pay for it.
func (a *Answers) besides(ctx context.Context, t *Trial, none condition, texts []string) (condition, error) {
	var xs []Ask
	for _, s := range texts {
		for _, x := range none.asks[:min(beside, len(none.asks))] {
			xs = append(xs, Ask{Place: t.Place, Prompt: x.Prompt, Insert: Insert{Text: s}})
		}
	}
	if a.p.Left() < a.Cost(len(xs)) {
		return condition{}, nil
	}
	return a.observe(ctx, xs)
}

// leaves counts, of n prompts beside a string, those that the candidate's answer
// leaves for something else than the event, and of these those where the baseline's
// answer is another.
func (t *Trial) leaves(k condition, text string, speaks bool) (gone, mine, n int) {
	for i, x := range k.candidate {
		if k.asks[i].Insert.Text != text {
			continue
		}
		n++
		if t.Event.Kind == Fixed && t.same(x) {
			continue
		}
		alike := 0 // prompts that the same string brings to the same answer
		for j, y := range k.candidate {
			alike += num(k.asks[j].Insert.Text == text && similarity(normal(x.gen.Text), normal(y.gen.Text)) >= same)
		}
		if speaks && !names(k.asks[i].Prompt, x.gen.Text) || alike > beside/2 {
			gone++
			mine += num(similarity(normal(x.gen.Text), normal(k.baseline[i].gen.Text)) < same)
		}
	}
	return gone, mine, n
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

// unframe takes the frame that another answer has too from the text of a trial.
func (t *Trial) unframe(other string) {
	f := frame(t.Event.Payload, other)
	if f == "" || !strings.HasPrefix(plain(t.Own), f) {
		return
	}
	w := strings.Fields(t.Own)
	t.Own = strings.Join(w[min(len(w), len(strings.Fields(f))):], " ")
}

// kin takes from the texts of trials the frames that they share. It marks those with
// a short answer whose string is put like a question that another trial found out: it
// shares a word with it and has another answer; and those whose strings share a word and
// whose texts begin alike and go on with other words, as what a command puts into its form.
func kin(trials []*Trial) {
	for _, t := range trials {
		for _, o := range trials {
			if t.Event.Kind == Fixed && o.Event.Kind == Fixed {
				t.unframe(o.Event.Payload)
			}
		}
	}
	words := func(t *Trial) []string { return strings.Fields(plain(t.Insert.Text)) }
	akin := func(t, o *Trial) bool {
		return slices.ContainsFunc(words(t), func(w string) bool { return len(w) >= 3 && slices.Contains(words(o), w) })
	}
	questions := slices.DeleteFunc(slices.Clone(trials), func(t *Trial) bool { return t.Excuse != Asks || !t.brief() })
	for _, t := range trials {
		like := t.brief() && slices.ContainsFunc(questions, func(o *Trial) bool {
			return akin(t, o) && !Says([]byte(o.Event.Payload), t.Event.Payload)
		})
		form := slices.ContainsFunc(trials, func(o *Trial) bool { return akin(t, o) && o.Effect >= least && formed(t.Event, o.Event) })
		if t.Excuse == None && (like || form) {
			t.Excuse = Asks
		}
	}
}

// formed reports two fixed texts that begin with the same eight characters or more and
// share less than half of what each is about.
func formed(a, b *Event) bool {
	if a.Kind != Fixed || b.Kind != Fixed {
		return false
	}
	x, y := normal([]byte(a.Payload)), normal([]byte(b.Payload))
	n, same := 0, 0
	for n < min(len(x), len(y)) && x[n] == y[n] {
		n++
	}
	for _, w := range terms(x) {
		same += num(slices.Contains(terms(y), w))
	}
	return n >= 8 && 2*same < min(len(terms(x)), len(terms(y)))
}
