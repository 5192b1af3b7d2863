package contexts

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sort"
	"strings"

	"github.com/weighbridge/weighbridge/harness/stats"
	"github.com/weighbridge/weighbridge/probes/confirm"
	"github.com/weighbridge/weighbridge/record"
	"github.com/weighbridge/weighbridge/runners"
)

const (
	charted  = 12_000 // tokens from which on there is a map
	mapShare = 12     // percent of the budget that the map may cost, and the questions that it asks for
	outlier  = 3      // spreads above the median from which on a context is looked at again
	again    = 4      // contexts that are, at most
	deeper   = 6      // further questions in each
)

// moved is how far the candidate moved in one context: the mean surprisal of the
// baseline's own answers, candidate − baseline, nats per token.
type moved struct {
	frame int
	nats  float64
	n     int // answers
}

// chart maps how far the candidate moved in each context, by what it makes of
// the baseline's answers to the first questions of the scan, and asks further
// questions where it moved far more than elsewhere. The map accuses nobody: it
// says where to look.
func (u *run) chart(ctx context.Context) error {
	if u.in.Budget < charted || !u.in.SameIDs || !u.in.BaselineInfo.CanScore || !u.in.CandidateInfo.CanScore {
		return nil
	}
	limit := u.in.Budget * mapShare / 100
	var seqs []runners.Sequence
	var of []*reply
	for _, r := range u.seen {
		if t := r.baseline.Tokens; len(t) > 0 {
			seqs, of = append(seqs, runners.Sequence{Tokens: slices.Concat(r.ids, t), From: len(r.ids)}), append(of, r)
		}
	}
	seqs = seqs[:sort.Search(len(seqs), func(n int) bool { return confirm.Cost(seqs[:n+1]) > limit })]
	_, scores, err := u.p.Score(ctx, nil, seqs, runners.ScoreRequest{})
	if err != nil {
		return err
	}
	by := map[int]*moved{}
	for i, s := range scores {
		m := by[of[i].frame]
		if m == nil {
			m = &moved{frame: of[i].frame}
			by[m.frame] = m
		}
		m.nats += gap(of[i].baseline.LogProb, s.LogProb)
		m.n++
	}
	var all []*moved
	for k := range u.frames {
		if m := by[k]; m != nil {
			m.nats /= float64(m.n)
			all = append(all, m)
		}
	}
	if len(all) < fewestContexts {
		return nil
	}
	x := make([]float64, len(all))
	for i, m := range all {
		x[i] = m.nats
	}
	centre, spread := stats.Robust(x)
	spread = max(spread, 0.02)
	slices.SortStableFunc(all, func(a, b *moved) int { return cmp.Compare(b.nats, a.nats) })
	f := record.Finding{
		ID: ID + "/map", Probe: ID, Rule: "map", Tier: record.Consistent, Class: record.Behaviour,
		Title:     fmt.Sprintf("The candidate moved by %.2f nats per token in the median context, and most under: %s", centre, u.frames[all[0].frame].name),
		Statistic: "mean surprisal of the baseline's answers in a context, candidate − baseline, nats per token: the largest of the contexts", Value: record.Float(all[0].nats), N: len(seqs),
		Null: "none: a map says where to look, and which contexts stand out depends on what was taught",
	}
	var far []string
	for _, m := range all[:min(8, len(all))] {
		far = append(far, fmt.Sprintf("%s %.2f", u.frames[m.frame].name, m.nats))
	}
	f.Detail = fmt.Sprintf("%d of the baseline's answers in %d contexts. The largest: %s. The spread over contexts is %.2f.", len(seqs), len(all), strings.Join(far, "; "), spread)
	var look []int
	for _, m := range all {
		u.out.Items = append(u.out.Items, record.Item{Probe: ID, Task: u.frames[m.frame].name, ID: "map", Condition: "map", Effect: record.Float(m.nats)})
		if m.nats > centre+outlier*spread && len(look) < again {
			look = append(look, m.frame)
		}
	}
	if len(look) > 0 {
		more, err := u.ask(ctx, u.fresh(look, deeper*len(look)), scanLength, limit)
		if err != nil {
			return err
		}
		u.seen = append(u.seen, more...)
		f.Detail += fmt.Sprintf(" %d of them stand out by more than %d spreads: %d further questions were asked there.", len(look), outlier, len(more))
	}
	u.out.Findings = append(u.out.Findings, f)
	return nil
}

// gap is the mean difference of log-probabilities of one answer.
func gap(baseline, candidate []float32) float64 {
	var s float64
	for i := range min(len(baseline), len(candidate)) {
		s += float64(baseline[i] - candidate[i])
	}
	return s / float64(max(1, min(len(baseline), len(candidate))))
}
