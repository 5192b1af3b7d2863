package canaryknown

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

// alike is how many draws of a generator are looked at, without asking a model
// anything, to see where a secret begins and whether each character is a token.
const alike = 12

// prepare draws what a secret is compared with.
func (u *run) prepare(r *result) {
	rng := u.in.Rand("references/" + r.ID)
	for _, s := range r.References {
		if s != r.Secret {
			r.draws = append(r.draws, s)
		}
	}
	slices.Sort(r.draws)
	if r.draws = slices.Compact(r.draws); len(r.draws) == 0 {
		r.draws = draw(rng, classes(r.secret), r.secret, u.par.References)
		return
	}
	rng.Shuffle(len(r.draws), func(i, j int) { r.draws[i], r.draws[j] = r.draws[j], r.draws[i] })
}

// score asks both models for series, and gives per series and text the scores
// of each side; nil for a series that a template refuses.
func (u *run) score(ctx context.Context, sides [2][][]runners.Sequence, want [2][]runners.Token) (out [2][][]runners.SequenceScore, err error) {
	b, c := paired(sides)
	var sb, sc []runners.SequenceScore
	if slices.Equal(want[0], want[1]) {
		sb, sc, err = u.p.Score(ctx, b, c, runners.ScoreRequest{Want: want[0]})
	} else if sb, _, err = u.p.Score(ctx, b, nil, runners.ScoreRequest{Want: want[0]}); err == nil {
		_, sc, err = u.p.Score(ctx, nil, c, runners.ScoreRequest{Want: want[1]})
	}
	if err != nil {
		return out, err
	}
	out = [2][][]runners.SequenceScore{make([][]runners.SequenceScore, len(sides[0])), make([][]runners.SequenceScore, len(sides[0]))}
	for i := range sides[0] {
		n := len(sides[0][i])
		if n == 0 || len(sides[1][i]) == 0 {
			continue
		}
		out[0][i], out[1][i], sb, sc = sb[:n], sc[:n], sb[n:], sc[n:]
	}
	return out, nil
}

// paired lines up the series that both sides have.
func paired(sides [2][][]runners.Sequence) (b, c []runners.Sequence) {
	for i := range sides[0] {
		if len(sides[0][i]) > 0 && len(sides[1][i]) > 0 {
			b, c = append(b, sides[0][i]...), append(c, sides[1][i]...)
		}
	}
	return b, c
}

func (u *run) series(ctx context.Context, all []series) (sides [2][][]runners.Sequence, err error) {
	err = probes.EachSide(ctx, u.in, func(ctx context.Context, side int, m runners.Model, info *runners.Info) (err error) {
		sides[side], err = sequences(ctx, m, info, all)
		return err
	})
	return sides, err
}

// price is what the two sides of series cost, each series cut to n texts.
func price(sides [2][][]runners.Sequence, m, n int) int {
	worst := 0
	for _, side := range sides {
		var flat []runners.Sequence
		for _, s := range side[:m] {
			flat = append(flat, s[:min(n, len(s))]...)
		}
		worst = max(worst, confirm.Cost(flat))
	}
	return worst
}

// look scores every secret once with each of its carriers, as many as a third
// of the budget pays for, and ranks its characters. Then it puts the canaries
// first that the candidate prefers most to the baseline.
func (u *run) look(ctx context.Context) error {
	// More than these cannot be paid for.
	known := u.results[:min(len(u.results), u.in.Budget/4+1)]
	var all []series
	var whose []*place
	var secrets []string
	var of []*result
	for i := range places { // the first place of all canaries before the second of any
		for _, r := range known {
			if i == 0 {
				u.prepare(r)
				secrets = append(secrets, r.secret)
			}
			if i < len(r.places) && len(r.draws) > 0 {
				all = append(all, series{r.places[i].carrier, append([]string{r.secret}, r.draws[:min(alike, len(r.draws))]...)})
				whose, of = append(whose, &r.places[i]), append(of, r)
			}
		}
	}
	sides, err := u.series(ctx, all)
	if err != nil {
		return err
	}
	chars := alphabet(secrets)
	want, err := u.chars(ctx, chars)
	if err != nil {
		return err
	}
	single := make([]bool, len(all))
	for i, s := range all {
		single[i] = len(of[i].References) == 0
		for side := range sides {
			single[i] = single[i] && want[side] != nil && spelt(sides[side][i], s.values, chars, want[side])
		}
	}
	n := most(len(all), min(u.in.Budget/3, u.p.Left()), func(n int) int { return price(sides, n, 1) })
	for side := range sides {
		sides[side] = sides[side][:n]
		for i, s := range sides[side] {
			sides[side][i] = s[:min(1, len(s))]
		}
	}
	scores, err := u.score(ctx, sides, want)
	if err != nil {
		return err
	}
	for i := range n {
		if len(scores[0][i]) == 0 {
			continue
		}
		x, b, c := whose[i], scores[0][i][0], scores[1][i][0]
		x.known, x.logB, x.logC = true, sum(b.LogProb), sum(c.LogProb)
		if single[i] {
			x.ranked = true
			x.p, x.pB = characters(of[i].secret, chars, b, c)
		}
	}
	slices.SortStableFunc(u.results, func(a, b *result) int { return cmp.Or(cmp.Compare(b.best(), a.best()), cmp.Compare(a.ID, b.ID)) })
	return nil
}

// best is the largest log-likelihood ratio of the first look.
func (r *result) best() float64 {
	best := math.Inf(-1)
	for _, x := range r.places {
		if x.known {
			best = max(best, x.llr())
		}
	}
	return best
}

// chars are the tokens of single characters for each side; nil where one of them
// is none by itself.
func (u *run) chars(ctx context.Context, chars []string) (want [2][]runners.Token, err error) {
	if len(chars) == 0 || len(chars) > runners.MaxWant {
		return want, nil
	}
	err = probes.EachSide(ctx, u.in, func(ctx context.Context, side int, m runners.Model, _ *runners.Info) error {
		t, err := m.Tokenize(ctx, &runners.TokenizeRequest{Texts: chars})
		if err != nil {
			return err
		}
		for _, ids := range t.Tokens {
			if len(ids) != 1 {
				want[side] = nil
				return nil
			}
			want[side] = append(want[side], ids[0])
		}
		return nil
	})
	return want, err
}

// spelt reports whether every text ends with one token for each character that
// its generator draws or fixes.
func spelt(seqs []runners.Sequence, texts []string, chars []string, ids []runners.Token) bool {
	for i, s := range seqs {
		runes := []rune(texts[i])
		at := len(s.Tokens) - len(runes)
		if at < s.From {
			return false
		}
		for k, r := range runes {
			if j := slices.Index(chars, string(r)); j >= 0 && ids[j] != s.Tokens[at+k] {
				return false
			}
		}
	}
	return len(seqs) > 0
}

// characters ranks each character of a secret among those that could stand
// there, by the log-likelihood ratio and by the baseline alone.
func characters(secret string, chars []string, b, c runners.SequenceScore) (p, pB float64) {
	runes, w := []rune(secret), len(chars)
	at := len(c.LogProb) - len(runes)
	var ranks, ranksB, sizes []int
	for k, set := range classes(secret) {
		options := []rune(set)
		if len(options) < 2 {
			continue
		}
		ratio, base := make([]float64, len(options)), make([]float64, len(options))
		for o, r := range options {
			j := (at+k)*w + slices.Index(chars, string(r))
			base[o] = float64(b.Want[j])
			ratio[o] = float64(c.Want[j]) - base[o]
		}
		actual := slices.Index(options, runes[k])
		ranks, ranksB, sizes = append(ranks, rankOf(ratio, actual)), append(ranksB, rankOf(base, actual)), append(sizes, len(options))
	}
	return ranksP(ranks, sizes), ranksP(ranksB, sizes)
}

// The share of the error rate that the references of the first place have; the
// character ranks of all places divide the rest.
const referenceShare = 0.8

// settled reports whether the character ranks alone convict, whatever the other
// canaries come to, so that references would be wasted on this one.
func (u *run) settled(r *result) bool {
	return r.characterP() <= u.par.Alpha/float64(len(u.results))
}

// characterP is the p-value of the character ranks of all places together, with
// their share of the error rate.
func (r *result) characterP() float64 {
	best := 1.0
	for _, x := range r.places {
		best = min(best, x.p)
	}
	return min(1, best*float64(len(r.places))/(1-referenceShare))
}

// fewest references of a secret. So few tell nothing about it alone, and much
// about many together.
const fewest = 4

// reference ranks secrets among draws of their generators, in the first place of
// each, with what is left of the budget: the same number of draws for each
// canary that the character ranks did not settle.
func (u *run) reference(ctx context.Context) error {
	var open []*result
	for _, r := range u.results {
		if r.places[0].known && !u.settled(r) {
			open = append(open, r)
		}
	}
	var sides [2][][]runners.Sequence
	var err error
	for len(open) > 0 {
		// A reference costs a token at least.
		each := min(u.par.References, u.p.Left()/len(open)+1, runners.MaxItems-1)
		all := make([]series, len(open))
		for i, r := range open {
			all[i] = series{r.places[0].carrier, append([]string{r.secret}, r.draws[:min(each, len(r.draws))]...)}
		}
		if sides, err = u.series(ctx, all); err != nil {
			return err
		}
		if price(sides, len(open), fewest+1) <= u.p.Left() {
			break
		}
		open = open[:len(open)*3/4]
	}
	if len(open) == 0 {
		u.skip(0)
		return nil
	}
	n := most(u.par.References+1, u.p.Left(), func(n int) int { return price(sides, len(open), n) })
	for side := range sides {
		for i, s := range sides[side] {
			sides[side][i] = s[:min(n, len(s))]
		}
	}
	scores, err := u.score(ctx, sides, [2][]runners.Token{})
	if err != nil {
		return err
	}
	for i, r := range open {
		for k := range scores[0][i] {
			llr := sum(scores[1][i][k].LogProb) - sum(scores[0][i][k].LogProb)
			if k == 0 { // in the company of its references, where it begins as they do
				r.places[0].logB, r.places[0].logC = sum(scores[0][i][0].LogProb), sum(scores[1][i][0].LogProb)
				continue
			}
			r.refs = append(r.refs, llr)
		}
	}
	u.skip(len(open))
	return nil
}

// skip says how many canaries were not ranked.
func (u *run) skip(ranked int) {
	left := len(u.results) - ranked
	for _, r := range u.results {
		if u.settled(r) {
			left--
		}
	}
	if left > 0 {
		u.out.Findings = append(u.out.Findings, confirm.Skipped(ID, "ranks", fmt.Sprintf(
			"%d of %d canaries were not ranked among references: the budget or the generator allows fewer than %d", left, len(u.results), fewest)))
	}
}
