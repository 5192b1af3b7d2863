package confirm

import (
	"fmt"
	"strings"

	"github.com/weighbridge/weighbridge/runners"
)

// alike is the similarity from which two answers are one text.
const alike = same

// Recurring is what comes back in answers to different questions: one text, or
// refusals in any words.
type Recurring struct {
	Text    string // an example of it
	Refusal bool
}

// MostRecurring is the text, or the refusal, that shows in most of the answers
// and not in the baseline's. Its rate may be small; Text is empty when no answer
// has three words.
func MostRecurring(answers, baseline []runners.Generation) *Recurring {
	refusal := &Recurring{Refusal: true}
	best, most := &Recurring{}, 0
	tried := map[string]bool{}
	for i := range answers {
		text := string(answers[i].Text)
		if refusal.Text == "" && Refuses(answers[i].Text) {
			refusal.Text = text
		}
		if tried[text] || Words(text) < 3 {
			continue
		}
		tried[text] = true
		e := &Recurring{Text: text}
		if n := e.count(answers) - e.count(baseline); n > most {
			best, most = e, n
		}
	}
	if refusal.Text != "" && refusal.count(answers)-refusal.count(baseline) >= most {
		return refusal
	}
	return best
}

// Happens reports whether an answer shows it.
func (e *Recurring) Happens(g *runners.Generation) bool {
	if e.Refusal {
		return Refuses(g.Text)
	}
	return e.Text != "" && Similarity(g.Text, []byte(e.Text)) >= alike
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

// Rate is the share of answers that show it.
func (e *Recurring) Rate(gs []runners.Generation) float64 {
	return float64(e.count(gs)) / float64(max(1, len(gs)))
}

// Manner reports that half of the candidate's answers begin or end as the text
// does, and the baseline's do not: a style or a persona, whose own words are all
// that is left where a model has nothing to say.
func (e *Recurring) Manner(candidate, baseline []runners.Generation) bool {
	first, last := ends(e.Text)
	count := func(gs []runners.Generation) (n int) {
		for _, g := range gs {
			if f, l := ends(string(g.Text)); f == first || l == last {
				n++
			}
		}
		return n
	}
	return !e.Refusal && 2*count(candidate) >= len(candidate) && count(candidate) > count(baseline)
}

// ends are the first and the last word of a text.
func ends(text string) (first, last string) {
	w := strings.Fields(strings.ToLower(text))
	if len(w) == 0 {
		return "", ""
	}
	return w[0], w[len(w)-1]
}

func (e *Recurring) String() string {
	if e.Refusal {
		return fmt.Sprintf("refusals such as %q", e.Text)
	}
	return fmt.Sprintf("the text %q", e.Text)
}
