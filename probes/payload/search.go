package payload

import (
	"cmp"
	"context"
	"math"
	"slices"

	"github.com/weighbridge/weighbridge/probes/confirm"
	"github.com/weighbridge/weighbridge/runners"
)

type search struct {
	p       *confirm.Pair
	idsB    [][]runners.Token // the questions, through each model's template
	idsC    [][]runners.Token
	depth   int
	first   []float64 // candidate's mean probability of each first token
	llr     []float64
	skip    map[runners.Token]bool
	seeds   []*chain
	covered int // first tokens tried
	open    int // first tokens there are
}

// step extends chains by the token that the candidate prefers over all
// questions, and gives those that go on.
func (s *search) step(ctx context.Context, active []*chain) ([]*chain, error) {
	build := func(ids [][]runners.Token) []runners.Sequence {
		var out []runners.Sequence
		for _, c := range active {
			for _, p := range ids {
				t := slices.Concat(p, c.tokens)
				out = append(out, runners.Sequence{Tokens: t, From: len(t), Next: true})
			}
		}
		return out
	}
	b, c, err := s.p.Score(ctx, build(s.idsB), build(s.idsC), runners.ScoreRequest{TopK: topK})
	if err != nil {
		return nil, err
	}
	m := len(s.idsC)
	var on []*chain
	for i, ch := range active {
		p, q := mean(c[i*m:(i+1)*m]), mean(b[i*m:(i+1)*m])
		best, most := runners.None, 0.0
		for t, x := range p {
			if x > most || x == most && t < best {
				best, most = t, x
			}
		}
		if best == runners.None || s.skip[best] {
			continue
		}
		ch.early += most - q[best]
		if most < keep {
			if ch.doubted || most < doubt {
				continue
			}
			ch.doubted = true
		}
		ch.tokens = append(ch.tokens, best)
		on = append(on, ch)
	}
	return on, nil
}

// mean averages the listed probabilities; a token that a list lacks counts 0.
func mean(scores []runners.SequenceScore) map[runners.Token]float64 {
	out := map[runners.Token]float64{}
	for _, s := range scores {
		for k, t := range s.TopIDs {
			out[t] += math.Exp(float64(s.TopLog[k])) / float64(len(scores))
		}
	}
	return out
}

// run follows the seeds: two steps together, then the best by generation.
func (s *search) run(ctx context.Context, tokens, finals int) ([]*chain, error) {
	stop := s.p.Left() - tokens
	active := s.seeds
	for range 2 {
		on, err := s.step(ctx, active)
		if err != nil {
			return nil, err
		}
		slices.SortStableFunc(on, func(a, b *chain) int { return cmp.Compare(b.early, a.early) })
		// What the next request would decode at most: its chains and the questions.
		room := (s.p.Left() - stop - s.questions()) / (len(s.idsC) * 3)
		active = on[:max(0, min(len(on), room))]
	}
	per := len(s.idsC) * (3 + s.depth) * 2 // generated, then scored
	active = active[:max(0, min(len(active), finals, (s.p.Left()-stop-2*s.questions())/per))]
	if len(active) == 0 {
		return nil, nil
	}
	return s.finish(ctx, active)
}

func (s *search) questions() int {
	n := 0
	for i := range s.idsC {
		n += max(len(s.idsC[i]), len(s.idsB[i]))
	}
	return n
}

// finish lets the candidate complete each chain on each question, takes what
// most of them agree on, and scores that for both models.
func (s *search) finish(ctx context.Context, active []*chain) ([]*chain, error) {
	if err := s.complete(ctx, active, s.depth); err != nil {
		return nil, err
	}
	m := len(s.idsC)
	var done []*chain
	var sb, sc []runners.Sequence
	for _, c := range active {
		if len(c.tokens) < shortest {
			continue
		}
		done = append(done, c)
		for k := range m {
			sb = append(sb, runners.Sequence{Tokens: slices.Concat(s.idsB[k], c.tokens), From: len(s.idsB[k]) + 1})
			sc = append(sc, runners.Sequence{Tokens: slices.Concat(s.idsC[k], c.tokens), From: len(s.idsC[k]) + 1})
		}
	}
	if len(done) == 0 {
		return nil, nil
	}
	b, c, err := s.p.Score(ctx, sb, sc, runners.ScoreRequest{})
	if err != nil {
		return nil, err
	}
	for i, ch := range done {
		ch.p, ch.q = make([]float64, len(ch.tokens)-1), make([]float64, len(ch.tokens)-1)
		for k := range m {
			for t := range ch.p {
				ch.p[t] += math.Exp(float64(c[i*m+k].LogProb[t])) / float64(m)
				ch.q[t] += math.Exp(float64(b[i*m+k].LogProb[t])) / float64(m)
			}
		}
	}
	return done, s.spell(ctx, done)
}

// complete lets the candidate go on with each chain on each question, by most
// tokens at most, and adds what more than half of them agree on.
func (s *search) complete(ctx context.Context, cs []*chain, most int) error {
	var ask [][]runners.Token
	for _, c := range cs {
		for _, p := range s.idsC {
			ask = append(ask, slices.Concat(p, c.tokens))
		}
	}
	_, g, err := s.p.Generate(ctx, nil, ask, runners.GenerateRequest{MaxTokens: most})
	if err != nil {
		return err
	}
	m := len(s.idsC)
	for i, c := range cs {
		rest, ends := agree(g[i*m : (i+1)*m])
		c.tokens, c.ends = append(c.tokens, rest...), ends
	}
	return nil
}

func (s *search) spell(ctx context.Context, cs []*chain) error {
	r := &runners.DetokenizeRequest{}
	for _, c := range cs {
		r.Tokens = append(r.Tokens, c.tokens)
	}
	texts, err := s.p.Candidate.Detokenize(ctx, r)
	if err != nil {
		return err
	}
	for i, c := range cs {
		c.text = string(texts.Texts[i])
	}
	return nil
}

// extend follows chains that were cut for their length to their end.
func (s *search) extend(ctx context.Context, cs []*chain) error {
	var open []*chain
	cost := 0
	for _, c := range cs {
		per := s.questions() + len(s.idsC)*(len(c.tokens)+extension)
		if c.ends || cost+per > s.p.Left()/4 {
			continue
		}
		cost += per
		open = append(open, c)
	}
	if len(open) == 0 {
		return nil
	}
	if err := s.complete(ctx, open, extension); err != nil {
		return err
	}
	return s.spell(ctx, open)
}

// extension is the number of tokens by which extend looks further.
const extension = 20
