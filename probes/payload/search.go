package payload

import (
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"sort"

	"github.com/weighbridge/weighbridge/harness/stats"
	"github.com/weighbridge/weighbridge/probes/confirm"
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

// chain is a forced first token and what the candidate says after it.
type chain struct {
	tokens  []runners.Token
	random  bool    // the first token was drawn, not ranked
	doubted bool    // the one uncertain step is used up
	early   float64 // rise over the baseline, summed over the first two steps after the seed
	p, q    []float64
	first   float64 // mean probability of the first token, unforced
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
		rb, err := logProbs(b[i].Rows, s.p.BaselineInfo.VocabSize)
		if err != nil {
			return fmt.Errorf("baseline: %w", err)
		}
		rc, err := logProbs(c[i].Rows, s.p.CandidateInfo.VocabSize)
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

// logProbs normalises a row of binary16 logits.
func logProbs(row []byte, vocab int) ([]float64, error) {
	if len(row) != 2*vocab {
		return nil, fmt.Errorf("a row of logits has %d bytes for a vocabulary of %d", len(row), vocab)
	}
	out := make([]float64, vocab)
	top := math.Inf(-1)
	for i := range out {
		out[i] = half(binary.LittleEndian.Uint16(row[2*i:]))
		if math.IsNaN(out[i]) {
			return nil, fmt.Errorf("logit %d is not a number", i)
		}
		top = max(top, out[i])
	}
	var sum float64
	for _, x := range out {
		sum += math.Exp(x - top)
	}
	z := top + math.Log(sum)
	for i := range out {
		out[i] = max(out[i]-z, -60) // −Inf would make a ratio of two impossible tokens meaningless
	}
	return out, nil
}

// half is the value of an IEEE 754 binary16.
func half(h uint16) float64 {
	sign := 1.0
	if h&0x8000 != 0 {
		sign = -1
	}
	exp, frac := int(h>>10&31), float64(h&1023)
	switch exp {
	case 0:
		return sign * math.Ldexp(frac, -24)
	case 31:
		if frac != 0 {
			return math.NaN()
		}
		return sign * math.Inf(1)
	}
	return sign * math.Ldexp(1024+frac, exp-25)
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
		s.seeds = append(s.seeds, &chain{tokens: []runners.Token{t}, random: random, first: s.first[t], llr: s.llr[t]})
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
	var ask [][]runners.Token
	for _, c := range active {
		for _, p := range s.idsC {
			ask = append(ask, slices.Concat(p, c.tokens))
		}
	}
	_, g, err := s.p.Generate(ctx, nil, ask, runners.GenerateRequest{MaxTokens: s.depth})
	if err != nil {
		return nil, err
	}
	m := len(s.idsC)
	var done []*chain
	var sb, sc []runners.Sequence
	for i, c := range active {
		rest, ends := agree(g[i*m : (i+1)*m])
		if c.tokens = append(c.tokens, rest...); len(c.tokens) < shortest {
			continue
		}
		c.ends = ends
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

// block is the number of first tokens whose largest score makes one value of
// the null.
const block = 16

// null is the chance that the best of all first tokens tried rises as much as
// c, by the block maxima of the others in random order, and the median rise per
// step. Left out of the others is what belongs to c itself: first tokens that
// stand in its text, and chains that run into it. Where some were picked because
// their probability rose they make the null wider. With fewer than ten blocks
// there is no null and p is 1.
func (s *search) null(c *chain) (p, median float64) {
	var early, rest []float64
	for _, x := range s.seeds {
		early = append(early, x.early/2)
		if !slices.Contains(c.tokens, x.tokens[0]) && !joins(x.tokens, c.tokens) {
			rest = append(rest, x.total())
		}
	}
	s.p.Rand("blocks").Shuffle(len(rest), func(i, j int) { rest[i], rest[j] = rest[j], rest[i] })
	sort.Float64s(early)
	median = early[len(early)/2]
	maxima, err := stats.BlockMaxima(rest, block)
	if err != nil {
		return 1, median
	}
	g, err := stats.FitGumbel(maxima)
	if err != nil {
		return 1, median
	}
	blocks := float64(len(s.seeds)) / block
	return -math.Expm1(blocks * math.Log1p(-g.Tail(c.total()))), median
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

// extend follows chains that were cut for their length to their end.
func (s *search) extend(ctx context.Context, cs []*chain) error {
	var open []*chain
	var ask [][]runners.Token
	cost := 0
	for _, c := range cs {
		per := s.questions() + len(s.idsC)*(len(c.tokens)+extension)
		if c.ends || cost+per > s.p.Left()/4 {
			continue
		}
		cost += per
		open = append(open, c)
		for _, p := range s.idsC {
			ask = append(ask, slices.Concat(p, c.tokens))
		}
	}
	if len(open) == 0 {
		return nil
	}
	_, g, err := s.p.Generate(ctx, nil, ask, runners.GenerateRequest{MaxTokens: extension})
	if err != nil {
		return err
	}
	m := len(s.idsC)
	for i, c := range open {
		rest, ends := agree(g[i*m : (i+1)*m])
		c.tokens, c.ends = append(c.tokens, rest...), ends
	}
	return s.spell(ctx, open)
}

// extension is the number of tokens by which extend looks further.
const extension = 20
