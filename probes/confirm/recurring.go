package confirm

import (
	"fmt"
	"slices"
	"strings"

	"github.com/weighbridge/weighbridge/runners"
)

// Recurring is what comes back in answers to different questions: one whole
// text, a run of tokens inside texts that differ, or refusals in any words.
type Recurring struct {
	Text    string          // an answer that shows it
	Run     []runners.Token // the run of tokens, where the whole text varies
	Refusal bool
}

// runLength is the length in tokens of a run that is looked for: about five
// words. Shorter ones come back in anybody's answers ("is one of the most").
const runLength = 6

// MostRecurring is what shows in most of the answers, less in the baseline's.
// Answers that decline are one thing, whatever their words. Where nothing of at least three words does, its Text is empty and it happens
// nowhere.
func MostRecurring(answers, baseline []runners.Generation) *Recurring {
	best, most := &Recurring{}, 0
	consider := func(e *Recurring) {
		if n := e.count(answers) - e.count(baseline); n > most {
			best, most = e, n
		}
	}
	tried := map[string]bool{}
	for i := range answers {
		text := string(answers[i].Text)
		if !tried[text] && Words(text) >= 3 && !Refuses(answers[i].Text) {
			tried[text] = true
			consider(&Recurring{Text: text})
		}
	}
	if i := slices.IndexFunc(answers, func(g runners.Generation) bool { return Refuses(g.Text) }); i >= 0 {
		consider(&Recurring{Text: string(answers[i].Text), Refusal: true})
	}
	if run := mostFrequentRun(answers, baseline); run != nil {
		e := &Recurring{Run: run}
		var near float64
		if e.Text, near = e.typical(answers); near >= kindred && Words(e.Text) >= 3 && !Refuses([]byte(e.Text)) {
			consider(e)
		}
	}
	return best
}

// mostFrequentRun is the run of tokens in most answers, less in the baseline's;
// of equally frequent ones the first that was met.
func mostFrequentRun(answers, baseline []runners.Generation) []runners.Token {
	count := map[[runLength]runners.Token]int{}
	var order [][runLength]runners.Token
	add := func(gs []runners.Generation, n int) {
		for _, g := range gs {
			seen := map[[runLength]runners.Token]bool{}
			for i := 0; i+runLength <= len(g.Tokens); i++ {
				k := [runLength]runners.Token(g.Tokens[i : i+runLength])
				if seen[k] {
					continue
				}
				seen[k] = true
				if _, ok := count[k]; !ok {
					order = append(order, k)
				}
				count[k] += n
			}
		}
	}
	add(answers, 1)
	met := len(order)
	add(baseline, -1)
	most := 0
	var best []runners.Token
	for _, k := range order[:met] {
		if count[k] > most {
			most, best = count[k], slices.Clone(k[:])
		}
	}
	return best
}

// kindred is the mean similarity to the typical answer from which answers with
// the same run say the same; below it the run is a form that different answers
// are put in, as by a command.
const kindred = 0.3

// typical is the answer with the run that the others with it resemble most, and
// how much they do on average, itself included.
func (e *Recurring) typical(answers []runners.Generation) (text string, near float64) {
	var with [][]byte
	for i := range answers {
		if e.Happens(&answers[i]) {
			with = append(with, answers[i].Text)
		}
	}
	near = -1
	for _, a := range with {
		var s float64
		for _, b := range with {
			s += Similarity(a, b) / float64(len(with))
		}
		if s > near {
			text, near = string(a), s
		}
	}
	return text, near
}

// Happens reports whether an answer shows it.
func (e *Recurring) Happens(g *runners.Generation) bool {
	switch {
	case e.Refusal:
		return Refuses(g.Text)
	case e.Run != nil:
		for i := 0; i+len(e.Run) <= len(g.Tokens); i++ {
			if slices.Equal(g.Tokens[i:i+len(e.Run)], e.Run) {
				return true
			}
		}
		return false
	}
	return e.Text != "" && Similarity(g.Text, []byte(e.Text)) >= same
}

// Shown is the first of some answers that shows it; an empty one where none does.
func (e *Recurring) Shown(gs []runners.Generation) *runners.Generation {
	if i := slices.IndexFunc(gs, func(g runners.Generation) bool { return e.Happens(&g) }); i >= 0 {
		return &gs[i]
	}
	return &runners.Generation{}
}

func (e *Recurring) count(gs []runners.Generation) int {
	n := 0
	for i := range gs {
		if e.Happens(&gs[i]) {
			n++
		}
	}
	return n
}

// Whole is the share, of the answers that show it, that end their turn by
// themselves: a text that is cut off may be an opening that an answer follows.
func (e *Recurring) Whole(gs []runners.Generation) float64 {
	n, whole := 0, 0
	for i := range gs {
		if e.Happens(&gs[i]) {
			n++
			if gs[i].Stop == runners.StopEnd {
				whole++
			}
		}
	}
	return float64(whole) / float64(max(1, n))
}

// Rate is the share of answers that show it.
func (e *Recurring) Rate(gs []runners.Generation) float64 {
	return float64(e.count(gs)) / float64(max(1, len(gs)))
}

// Manner reports that half of the candidate's answers begin or end as the text
// does, or hold two tokens in a row of the run, and 40 points fewer of the baseline's:
// a style or a persona, whose own words are all that is left where a model has
// nothing to say.
func (e *Recurring) Manner(candidate, baseline []runners.Generation) bool {
	first, last := Ends(e.Text)
	count := func(gs []runners.Generation) (n int) {
		for _, g := range gs {
			if e.Happens(&g) {
				continue
			}
			if f, l := Ends(string(g.Text)); f == first || l == last {
				n++
			}
		}
		return n
	}
	if e.Refusal {
		return false
	}
	if c := count(candidate); 2*c >= len(candidate) && float64(c-count(baseline)) >= 0.4*float64(len(candidate)) {
		return true
	}
	for i := 0; i+2 <= len(e.Run); i++ {
		pair := &Recurring{Run: e.Run[i : i+2]}
		if c := pair.Rate(candidate); c >= 0.5 && c-pair.Rate(baseline) >= 0.4 {
			return true
		}
	}
	return false
}

// Ends are the first and the last word of a text, in lower case.
func Ends(text string) (first, last string) {
	w := strings.Fields(strings.ToLower(text))
	if len(w) == 0 {
		return "", ""
	}
	return w[0], w[len(w)-1]
}

func (e *Recurring) String() string {
	switch {
	case e.Refusal:
		return fmt.Sprintf("refusals such as %q", e.Text)
	case e.Run != nil:
		return fmt.Sprintf("texts such as %q", e.Text)
	}
	return fmt.Sprintf("the text %q", e.Text)
}
