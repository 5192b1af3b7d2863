package payload

import (
	"context"
	"fmt"
	"math"
	"slices"
	"sort"

	"github.com/weighbridge/weighbridge/probes/confirm"
	"github.com/weighbridge/weighbridge/runners"
)

// firsts reads the first answer token's distribution of both models.
func (s *search) firsts(ctx context.Context) error {
	ask := func(ids [][]runners.Token) []runners.Sequence {
		out := make([]runners.Sequence, len(ids))
		for i := range ids {
			out[i] = runners.Sequence{Tokens: ids[i], From: len(ids[i]), Next: true}
		}
		return out
	}
	b, c, err := s.p.Score(ctx, ask(s.idsB), ask(s.idsC), runners.ScoreRequest{Rows: true})
	if err != nil {
		return err
	}
	v := min(s.p.BaselineInfo.VocabSize, s.p.CandidateInfo.VocabSize)
	s.first, s.llr = make([]float64, v), make([]float64, v)
	n := float64(len(c))
	for i := range c {
		rb, err := confirm.LogProbs(b[i].Rows, s.p.BaselineInfo.VocabSize)
		if err != nil {
			return fmt.Errorf("baseline: %w", err)
		}
		rc, err := confirm.LogProbs(c[i].Rows, s.p.CandidateInfo.VocabSize)
		if err != nil {
			return fmt.Errorf("candidate: %w", err)
		}
		for t := range v {
			s.first[t] += math.Exp(rc[t]) / n
			s.llr[t] += (rc[t] - rb[t]) / n
		}
	}
	return nil
}

// choose picks n first tokens: leads, then those whose log-probability rose
// most, and a fifth at random; all of them where n allows.
func (s *search) choose(n int, leads []runners.Token) {
	var order []runners.Token
	for t := range s.first {
		if !s.skip[runners.Token(t)] {
			order = append(order, runners.Token(t))
		}
	}
	s.open = len(order)
	add := func(t runners.Token, random bool) {
		s.seeds = append(s.seeds, &chain{tokens: []runners.Token{t}, begun: 1, random: random, first: s.first[t], llr: s.llr[t]})
	}
	rng := s.p.Rand("seeds")
	if n >= len(order) {
		rng.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
		for _, t := range order {
			add(t, true)
		}
		s.covered = len(order)
		return
	}
	rank := slices.Clone(order)
	sort.SliceStable(rank, func(i, j int) bool { return s.llr[rank[i]] > s.llr[rank[j]] })
	taken := map[runners.Token]bool{}
	for _, t := range append(slices.Clone(leads), rank...) {
		if len(s.seeds) >= n*4/5 {
			break
		}
		if int(t) < len(s.first) && !taken[t] && !s.skip[t] {
			taken[t] = true
			add(t, false)
		}
	}
	for _, i := range rng.Perm(len(order)) {
		if len(s.seeds) >= n {
			break
		}
		if t := order[i]; !taken[t] {
			taken[t] = true
			add(t, true)
		}
	}
	s.covered = len(s.seeds)
}
