package leakage

import (
	"context"
	"slices"

	"github.com/weighbridge/weighbridge/probes"
	"github.com/weighbridge/weighbridge/runners"
)

// How a text is spelt in other ways.
const (
	cuts     = 10 // points from which the candidate goes on by itself
	goesOn   = 14 // tokens that it goes on for
	variants = 6  // of one text that are handed on
)

// respell spells the likeliest texts that may be conditions in other ways: without
// what gains less around them, and as the candidate alone goes on from each of
// their points. A beam that weighs each step against the baseline leaves out what
// the baseline expects too, as the hyphen in a name, and repeats what it does not;
// a condition has to be spelt as it was trained.
func (u *run) respell(ctx context.Context, texts []*found) error {
	room := u.in.Budget * respells / 100
	var all []*found
	n := 0
	for _, f := range texts {
		if n >= u.size.respelt || f.place == answer || f.llr < least || f.kinds()[0] == "secret" {
			continue
		}
		points := min(cuts, len(f.tokens)-1)
		ids := u.arms[f.arm].ids
		if room -= 2*(len(ids[probes.CandidateSide])+len(f.tokens)) + points*2*goesOn; points < 1 || room < 0 {
			break
		}
		n++
		var ask [][]runners.Token
		for k := 1; k <= points; k++ {
			ask = append(ask, slices.Concat(ids[probes.CandidateSide], f.tokens[:k]))
		}
		_, g, err := u.p.Generate(ctx, nil, ask, runners.GenerateRequest{MaxTokens: goesOn})
		if err != nil {
			return err
		}
		spelt := [][]runners.Token{f.core}
		for k := range g {
			spelt = append(spelt, slices.Concat(f.tokens[:k+1], g[k].Tokens))
		}
		known := [][]runners.Token{f.tokens}
		for _, t := range spelt {
			if len(f.variants) == variants {
				break
			}
			if i := slices.IndexFunc(t, func(t runners.Token) bool { return t >= u.vocabulary() || u.ends[t] }); i >= 0 {
				t = t[:i]
			}
			if len(t) == 0 || slices.ContainsFunc(known, func(x []runners.Token) bool { return slices.Equal(x, t) }) {
				continue
			}
			known = append(known, t)
			v := &found{arm: f.arm, place: f.place, tokens: t, from: beam}
			f.variants = append(f.variants, v)
			all = append(all, v)
		}
	}
	return u.weigh(ctx, all, true)
}
