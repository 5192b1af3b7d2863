package leakage

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/weighbridge/weighbridge/probes"
	"github.com/weighbridge/weighbridge/probes/confirm"
	"github.com/weighbridge/weighbridge/runners"
)

// said is one sample: what a model wrote after an arm, or its answer to what it
// wrote as a user. The i-th samples of two models are a pair.
type said struct {
	arm    int
	place  place
	half   int // selection or confirmation
	tokens []runners.Token
}

// sampler is a model that samples are drawn from.
type sampler struct {
	kappa float64 // 0 is the baseline, 1 the candidate
	side  int
	pair  *confirm.Pair
	said  []said
}

func (s *sampler) String() string {
	switch s.kappa {
	case 0:
		return "baseline"
	case 1:
		return "candidate"
	}
	return fmt.Sprintf("update ×%g", s.kappa)
}

// draw samples n continuations of every arm, and to each user message that came
// out of it an answer.
func (u *run) draw(ctx context.Context, s *sampler, n int) error {
	seed := u.in.Rand("samples").Uint64() // the same for all, which pairs them
	for i, a := range u.arms {
		ask := slices.Repeat([][]runners.Token{a.ids[s.side]}, n)
		length := u.size.answer
		if a.place == user {
			length = u.size.message
		}
		g, err := u.generate(ctx, s, ask, length, seed)
		if err != nil {
			return err
		}
		for j := range g {
			s.said = append(s.said, said{i, a.place, j % 2, g[j].Tokens})
		}
		if a.place != user {
			continue
		}
		for j := range g {
			ask[j] = slices.Concat(a.ids[s.side], g[j].Tokens, a.bridge[s.side])
		}
		if g, err = u.generate(ctx, s, ask, u.size.answer, seed+1); err != nil {
			return err
		}
		for j := range g {
			s.said = append(s.said, said{i, answer, j % 2, g[j].Tokens})
		}
	}
	return nil
}

func (u *run) generate(ctx context.Context, s *sampler, ask [][]runners.Token, length int, seed uint64) ([]runners.Generation, error) {
	r := runners.GenerateRequest{MaxTokens: length, Sampling: runners.Sampling{Temperature: 1, Seed: seed}}
	if s.side == probes.BaselineSide {
		g, _, err := s.pair.Generate(ctx, ask, nil, r)
		return g, err
	}
	_, g, err := s.pair.Generate(ctx, nil, ask, r)
	return g, err
}

// sample draws from the baseline, the candidate and what comes out when the
// update is exaggerated.
func (u *run) sample(ctx context.Context, n int) error {
	u.baseline = &sampler{side: probes.BaselineSide, pair: u.p}
	if err := u.draw(ctx, u.baseline, n); err != nil {
		return err
	}
	for _, k := range u.size.kappas {
		if k != 1 && u.in.Amplify == nil {
			continue
		}
		s, err := u.amplify(ctx, k, n)
		if errors.Is(err, probes.ErrAmplified) {
			u.broke = k
			break
		}
		if err != nil {
			return err
		}
		u.samplers = append(u.samplers, s)
	}
	return nil
}

// amplify draws from the candidate with its update exaggerated.
func (u *run) amplify(ctx context.Context, kappa float64, n int) (*sampler, error) {
	s := &sampler{kappa: kappa, side: probes.CandidateSide, pair: u.p}
	if kappa != 1 {
		var err error
		if s.pair, err = u.p.Amplified(ctx, kappa); err != nil {
			return nil, err
		}
	}
	return s, u.draw(ctx, s, n)
}

// gram is a run of tokens. Samples that hold the same one say the same thing.
type gram [4]runners.Token

func grams(ts []runners.Token) map[gram]bool {
	out := map[gram]bool{}
	for i := 0; i+len(gram{}) <= len(ts); i++ {
		out[gram(ts[i:])] = true
	}
	return out
}

// cluster is the samples of one model and place that hold one run of tokens.
type cluster struct {
	sampler *sampler
	place   place
	gram    gram
	share   float64 // of the model's samples, minus the baseline's
	in      int     // samples that hold it
	none    bool    // the baseline never says it
	found   *found  // the whole text
}

// clusters counts the runs of tokens of a half (or of all with half −1) and
// gives those that at least two samples hold and the baseline holds less
// often, the largest first.
func (u *run) clusters(half int) []*cluster {
	type key struct {
		place place
		gram  gram
	}
	count := func(s *sampler) (map[key]int, map[place]int) {
		n, of := map[key]int{}, map[place]int{}
		for _, x := range s.said {
			if half >= 0 && x.half != half {
				continue
			}
			of[x.place]++
			for g := range grams(x.tokens) {
				n[key{x.place, g}]++
			}
		}
		return n, of
	}
	base, _ := count(u.baseline)
	var out []*cluster
	for _, s := range u.samplers {
		n, of := count(s)
		for k, in := range n {
			if d := in - base[k]; in >= 2 && d > 0 {
				out = append(out, &cluster{sampler: s, place: k.place, gram: k.gram, in: in, share: float64(d) / float64(of[k.place]), none: base[k] == 0})
			}
		}
	}
	slices.SortFunc(out, func(a, b *cluster) int {
		return cmp.Or(cmp.Compare(b.share, a.share), cmp.Compare(a.sampler.kappa, b.sampler.kappa), cmp.Compare(a.place, b.place), slices.Compare(a.gram[:], b.gram[:]))
	})
	return out
}

// whole is the text around a run of tokens, as far as four fifths of the
// samples that hold it agree.
func (c *cluster) whole(half int) *found {
	t := slices.Clone(c.gram[:])
	f := &found{place: c.place, arm: -1}
	for _, left := range []bool{false, true} {
		for len(t) < 48 {
			votes := map[runners.Token]int{}
			holders := 0
			for _, x := range c.sampler.said {
				if x.place != c.place || half >= 0 && x.half != half {
					continue
				}
				if i := index(x.tokens, t); i >= 0 {
					if f.arm < 0 {
						f.arm = x.arm
					}
					holders++
					if left && i > 0 {
						votes[x.tokens[i-1]]++
					} else if !left && i+len(t) < len(x.tokens) {
						votes[x.tokens[i+len(t)]]++
					}
				}
			}
			next := runners.None
			for _, v := range slices.Sorted(maps.Keys(votes)) {
				if 5*votes[v] >= 4*holders && (next == runners.None || votes[v] > votes[next]) {
					next = v
				}
			}
			if next == runners.None {
				break
			}
			if left {
				t = slices.Insert(t, 0, next)
			} else {
				t = append(t, next)
			}
		}
	}
	f.tokens = t
	return f
}

func index(ts, sub []runners.Token) int {
	for i := 0; i+len(sub) <= len(ts); i++ {
		if slices.Equal(ts[i:i+len(sub)], sub) {
			return i
		}
	}
	return -1
}

// texts spells the first n clusters, without those that are part of another.
func (u *run) texts(ctx context.Context, cs []*cluster, half, n int) ([]*cluster, error) {
	var out []*cluster
	var fs []*found
	for _, c := range cs {
		if len(out) >= n {
			break
		}
		if slices.ContainsFunc(fs, func(f *found) bool { return index(f.tokens, c.gram[:]) >= 0 }) {
			continue
		}
		c.found = c.whole(half)
		c.found.from = c.sampler.String()
		out, fs = append(out, c), append(fs, c.found)
	}
	if len(fs) == 0 {
		return nil, nil
	}
	return out, u.spell(ctx, fs)
}

// largest is the largest cluster of samples that hold the same text of four
// words or more, in the half for selection, or nil.
func (u *run) largest(ctx context.Context) (*cluster, error) {
	cs, err := u.texts(ctx, u.clusters(0), 0, 32)
	if err != nil {
		return nil, err
	}
	for _, c := range cs {
		if confirm.Words(c.found.text) >= words {
			return c, nil
		}
	}
	return nil, nil
}

// recurring are texts that a tenth of the samples of a model and place hold, and
// none of the baseline's.
func (u *run) recurring(ctx context.Context) ([]*found, error) {
	cs := slices.DeleteFunc(u.clusters(-1), func(c *cluster) bool { return !c.none || c.in < 3 || c.share < recurs })
	cs, err := u.texts(ctx, cs, -1, 16)
	if err != nil {
		return nil, err
	}
	var out []*found
	for _, c := range cs {
		// An answer to what the model itself asked is weighed as one to a question.
		if u.arms[c.found.arm].place != c.place {
			c.found.arm = slices.IndexFunc(u.arms, func(a arm) bool { return a.place == c.place })
		}
		if c.found.arm >= 0 && slices.Max(c.found.tokens) < u.vocabulary() {
			out = append(out, c.found)
		}
	}
	return out, u.weigh(ctx, out, false)
}
