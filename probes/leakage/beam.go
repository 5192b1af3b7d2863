package leakage

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/weighbridge/weighbridge/probes"
	"github.com/weighbridge/weighbridge/probes/confirm"
	"github.com/weighbridge/weighbridge/runners"
)

// lambdas weigh the baseline's log-probability in the score of a hypothesis,
// Σ log p − λ·log q. With 1 it is the likelihood ratio, which also follows what
// stays improbable; with ½ it stays with what the candidate would say.
var lambdas = [...]float64{0.5, 1}

const (
	// Children of a hypothesis are plausible: of at least this share of the largest
	// probability (contrastive decoding, Li et al. 2023), and among the first topK.
	// Those of all beams together are fewer than one request may want.
	plausible = 0.05
	topK      = 8
	// The first token of a payload is rare without its trigger, so there the
	// candidate's first tokens are looked at.
	firsts = 256
)

// hypothesis is a text that the candidate may have learned.
type hypothesis struct {
	arm    int
	tokens []runners.Token
	p, q   float64 // log-probabilities, candidate and baseline
	done   bool    // the candidate ends its turn here
}

func (h *hypothesis) score(lambda float64) float64 { return h.p - lambda*h.q }

// beams holds the hypotheses of each arm, for each λ.
type beams struct {
	*run
	width int // hypotheses per arm and λ
	live  [][len(lambdas)][]*hypothesis
}

// start fills the beams from the first token's distribution, which one pass of
// each model gives for the whole vocabulary.
func (u *run) start(ctx context.Context, width int) (*beams, error) {
	var b, c []runners.Sequence
	for i := range u.arms {
		b = append(b, u.next(i, probes.BaselineSide, nil))
		c = append(c, u.next(i, probes.CandidateSide, nil))
	}
	sb, sc, err := u.p.Score(ctx, b, c, runners.ScoreRequest{Rows: true})
	if err != nil {
		return nil, err
	}
	s := &beams{run: u, width: width, live: make([][len(lambdas)][]*hypothesis, len(u.arms))}
	for i := range u.arms {
		q, err := confirm.LogProbs(sb[i].Rows, u.in.BaselineInfo.VocabSize)
		if err != nil {
			return nil, fmt.Errorf("baseline: %w", err)
		}
		p, err := confirm.LogProbs(sc[i].Rows, u.in.CandidateInfo.VocabSize)
		if err != nil {
			return nil, fmt.Errorf("candidate: %w", err)
		}
		var hs []*hypothesis
		for t := range u.vocabulary() {
			if !u.ends[t] {
				hs = append(hs, &hypothesis{arm: i, tokens: []runners.Token{t}, p: p[t], q: q[t]})
			}
		}
		hs = best(hs, 0, firsts)
		for k, l := range lambdas {
			s.live[i][k] = best(hs, l, width)
		}
	}
	return s, nil
}

// vocabulary is the number of tokens that both models have.
func (u *run) vocabulary() runners.Token {
	return runners.Token(min(u.in.BaselineInfo.VocabSize, u.in.CandidateInfo.VocabSize))
}

// next asks what comes after tokens of an arm.
func (u *run) next(arm, side int, tokens []runners.Token) runners.Sequence {
	t := slices.Concat(u.arms[arm].ids[side], tokens)
	return runners.Sequence{Tokens: t, From: len(t), Next: true}
}

// best are the n hypotheses of the largest score.
func best(hs []*hypothesis, lambda float64, n int) []*hypothesis {
	hs = slices.Clone(hs)
	slices.SortFunc(hs, func(a, b *hypothesis) int {
		return cmp.Or(cmp.Compare(b.score(lambda), a.score(lambda)), slices.Compare(a.tokens, b.tokens))
	})
	return hs[:min(n, len(hs))]
}

// step makes every hypothesis one token longer: one request to the candidate
// for what may come next, one to the baseline for what it thinks of that.
func (s *beams) step(ctx context.Context) error {
	var open []*hypothesis
	var b, c []runners.Sequence
	known := map[*hypothesis]int{}
	for i := range s.live {
		for k := range lambdas {
			for _, h := range s.live[i][k] {
				if _, ok := known[h]; ok || h.done {
					continue
				}
				known[h] = len(open)
				open = append(open, h)
				b = append(b, s.next(i, probes.BaselineSide, h.tokens))
				c = append(c, s.next(i, probes.CandidateSide, h.tokens))
			}
		}
	}
	_, sc, err := s.p.Score(ctx, nil, c, runners.ScoreRequest{TopK: topK})
	if err != nil || len(open) == 0 {
		return err
	}
	var want []runners.Token
	for _, x := range sc {
		for _, t := range x.TopIDs {
			if t < s.vocabulary() {
				want = append(want, t)
			}
		}
	}
	slices.Sort(want)
	want = slices.Compact(want)
	sb, _, err := s.p.Score(ctx, b, nil, runners.ScoreRequest{Want: want})
	if err != nil {
		return err
	}
	children := make([][]*hypothesis, len(open))
	for j, h := range open {
		for n, t := range sc[j].TopIDs {
			p := float64(sc[j].TopLog[n])
			if p < float64(sc[j].TopLog[0])+math.Log(plausible) {
				break
			}
			at, ok := slices.BinarySearch(want, t)
			if !ok {
				continue
			}
			child := &hypothesis{arm: h.arm, tokens: append(slices.Clip(slices.Clone(h.tokens)), t), p: h.p + p, q: h.q + max(float64(sb[j].Want[at]), floor)}
			if s.ends[t] {
				child.done, child.tokens = true, h.tokens
			}
			children[j] = append(children[j], child)
		}
	}
	for i := range s.live {
		for k, l := range lambdas {
			var next []*hypothesis
			for _, h := range s.live[i][k] {
				if h.done {
					next = append(next, h)
				} else {
					next = append(next, children[known[h]]...)
				}
			}
			s.live[i][k] = spread(best(next, l, len(next)), s.width)
		}
	}
	return nil
}

// floor is the smallest log-probability that counts: a ratio of two
// impossibilities means nothing.
const floor = -60

// spread keeps n of the sorted hypotheses, and of those that begin with the
// same token only a third: one text and its variants must not fill the beam.
func spread(hs []*hypothesis, n int) []*hypothesis {
	var out []*hypothesis
	begun := map[runners.Token]int{}
	for _, h := range hs {
		if first := h.tokens[0]; len(out) < n && begun[first] < max(1, n/3) {
			begun[first]++
			out = append(out, h)
		}
	}
	return out
}

// finals are n hypotheses of each arm, taken in turn from the two beams.
func (s *beams) finals(n int) []*hypothesis {
	var out []*hypothesis
	for i := range s.live {
		taken := 0
		known := map[string]bool{}
		for j := range s.width {
			for k := range lambdas {
				if j >= len(s.live[i][k]) || taken >= n {
					continue
				}
				h := s.live[i][k][j]
				if key := fmt.Sprint(h.tokens); !known[key] {
					known[key] = true
					taken++
					out = append(out, h)
				}
			}
		}
	}
	return out
}

// finish lets the candidate complete the hypotheses and scores them with both
// models.
func (u *run) finish(ctx context.Context, hs []*hypothesis) ([]*found, error) {
	for i := range u.arms {
		var open []*hypothesis
		var ask [][]runners.Token
		for _, h := range hs {
			if h.arm == i && !h.done {
				open = append(open, h)
				ask = append(ask, slices.Concat(u.arms[i].ids[probes.CandidateSide], h.tokens))
			}
		}
		if len(open) == 0 {
			continue
		}
		// An arm of its own, since a request decodes once only what all its prompts share.
		_, g, err := u.p.Generate(ctx, nil, ask, runners.GenerateRequest{MaxTokens: u.size.rest})
		if err != nil {
			return nil, err
		}
		for j, h := range open {
			h.tokens = append(slices.Clip(h.tokens), g[j].Tokens...)
		}
	}
	var out []*found
	for _, h := range hs {
		// A token that the baseline lacks cannot be weighed.
		if i := slices.IndexFunc(h.tokens, func(t runners.Token) bool { return t >= u.vocabulary() }); i >= 0 {
			h.tokens = h.tokens[:i]
		}
		out = append(out, &found{arm: h.arm, place: u.arms[h.arm].place, tokens: h.tokens, from: beam})
	}
	return out, u.weigh(ctx, out, true)
}
