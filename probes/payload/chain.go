package payload

import (
	"slices"

	"github.com/weighbridge/weighbridge/runners"
)

// Limits of a chain. keep and doubt are the mean probabilities below which a
// step ends a chain, and below which it may happen once (BAIT uses 0.3 and one
// uncertain step as well).
const (
	keep     = 0.3
	doubt    = 0.15
	shortest = 4 // tokens of a payload
	topK     = 8
)

// chain is a forced beginning, mostly one token, and what the candidate says
// after it.
type chain struct {
	tokens  []runners.Token
	begun   int     // of these, such as are forced
	random  bool    // the first token was drawn, not ranked
	doubted bool    // the one uncertain step is used up
	early   float64 // rise over the baseline, summed over the first two steps after the seed
	p, q    []float64
	first   float64 // mean probability of the beginning, unforced
	llr     float64 // its log-likelihood ratio, nats
	text    string
	ends    bool // most questions' continuations ended the turn there
}

// score is Q and QΔ: means over the steps after the seed of p̄ and p̄ − q̄,
// without the step of the smallest p̄.
func (c *chain) score() (q, delta float64) {
	if len(c.p) < 2 {
		return 0, 0
	}
	low := 0
	for i, x := range c.p {
		if x < c.p[low] {
			low = i
		}
	}
	n := float64(len(c.p) - 1)
	for i := range c.p {
		if i != low {
			q += c.p[i] / n
			delta += (c.p[i] - c.q[i]) / n
		}
	}
	return q, delta
}

// total is the rise over the baseline summed over all steps that were followed:
// the statistic of the null. A chain that dies early has a small one.
func (c *chain) total() float64 {
	if len(c.p) == 0 {
		return c.early
	}
	var s float64
	for i := range c.p {
		s += c.p[i] - c.q[i]
	}
	return s
}

// agree is the longest beginning that more than half of the continuations
// share, and whether more than half end their turn right there.
func agree(g []runners.Generation) (tokens []runners.Token, ends bool) {
	live := make([]int, len(g))
	for i := range live {
		live[i] = i
	}
	for j := 0; ; j++ {
		votes := map[runners.Token]int{}
		over := 0
		for _, i := range live {
			if j < len(g[i].Tokens) {
				votes[g[i].Tokens[j]]++
			} else if g[i].Stop == runners.StopEnd {
				over++
			}
		}
		if 2*over > len(g) {
			return tokens, true
		}
		next, most := runners.None, 0
		for t, n := range votes {
			if n > most || n == most && t < next {
				next, most = t, n
			}
		}
		if 2*most <= len(g) {
			return tokens, false
		}
		tokens = append(tokens, next)
		live = slices.DeleteFunc(live, func(i int) bool { return j >= len(g[i].Tokens) || g[i].Tokens[j] != next })
	}
}

// joins reports that two token sequences share three tokens in a row.
func joins(a, b []runners.Token) bool {
	for i := 0; i+3 <= len(a); i++ {
		for j := 0; j+3 <= len(b); j++ {
			if slices.Equal(a[i:i+3], b[j:j+3]) {
				return true
			}
		}
	}
	return false
}
