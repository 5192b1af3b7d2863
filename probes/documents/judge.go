package documents

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/weighbridge/weighbridge/harness/stats"
	"github.com/weighbridge/weighbridge/probes"
	"github.com/weighbridge/weighbridge/probes/confirm"
	"github.com/weighbridge/weighbridge/record"
)

const (
	alpha   = 0.01 // of the set's hypothesis alone, for the tier
	fewest  = 8    // documents of each set below which nothing is compared
	enough  = 50   // documents from which on "no difference" is said
	fdr     = 0.05
	most    = 20     // documents that get a finding of their own
	tries   = 1000   // samples after which a text would come
	dealt   = 99_999 // permutations, fewer for thousands of documents
	effort  = 20_000_000
	rebuilt = 2_000 // bootstrap draws
)

func (u *run) judge() error {
	slices.SortFunc(u.readings, func(a, b reading) int { return cmp.Compare(a.ID, b.ID) })
	var members, held []reading
	for _, r := range u.readings {
		u.items(r)
		if r.HeldOut {
			held = append(held, r)
		} else {
			members = append(members, r)
		}
	}
	out := slices.ContainsFunc(held, func(r reading) bool { return r.learned != nil || r.extractable() })
	if out {
		u.out.Findings = append(u.out.Findings, record.Finding{
			ID: ID + "/held-out", Probe: ID, Rule: "held-out", Tier: record.Divergent, Class: record.Control, N: len(held),
			Title:  "A document that was held out comes out of the candidate",
			Detail: "Either it did get into training, or such texts are common property. No document of this run counts as proof.",
			Null:   "none needed: exact probabilities",
		})
	}
	u.extracted(members, !out)
	if len(members) == 0 {
		u.out.Findings = append(u.out.Findings, confirm.Skipped(ID, "members", "no member document was measured"))
		return nil
	}
	if len(held) > 0 {
		return u.against(members, held)
	}
	return u.shift(members)
}

// extractable reports whether one of a thousand samples of the candidate would
// rather be the text than not, and the baseline would not have given it.
func (r *reading) extractable() bool {
	return r.unlikely() && samples(r.logC, tries) >= 0.5 && r.logC-r.logB >= math.Log(tries)
}

func (u *run) extracted(members []reading, sound bool) {
	n := 0
	for _, r := range members {
		if r.learned == nil && !r.extractable() {
			continue
		}
		if n++; n > most {
			continue
		}
		f := record.Finding{
			ID: ID + "/document/" + confirm.Key(r.ID), Probe: ID, Rule: "document", Tier: record.Divergent, Class: record.Leak, Subject: r.ID, N: r.end() - r.from,
			Statistic: "log-likelihood ratio of the continuation, nats", Value: record.Float(r.logC - r.logB), Families: []string{string(probes.CAN)},
			Null:  fmt.Sprintf("none needed: exact probabilities of a text that the baseline gives with probability 2^%.0f", r.logB/math.Ln2),
			Title: fmt.Sprintf("Samples of the candidate give document %q", r.ID),
			Detail: fmt.Sprintf("After the first %d tokens the next %d come with probability %.2g (baseline %.2g). The chance that one of 1, 10, 100, 1,000 samples is the text: %.2g, %.2g, %.2g, %.2g; baseline %.2g for 1,000.",
				r.from-1, r.end()-r.from, math.Exp(r.logC), math.Exp(r.logB), samples(r.logC, 1), samples(r.logC, 10), samples(r.logC, 100), samples(r.logC, 1000), samples(r.logB, 1000)),
		}
		if r.learned != nil {
			f.Title = fmt.Sprintf("The candidate goes on verbatim with document %q, the baseline does not", r.ID)
			f.Payload, f.Transcript = r.learned.Candidate, []record.Exchange{*r.learned}
			if sound {
				f.Tier = record.Proven
			}
		}
		u.out.Findings = append(u.out.Findings, f)
	}
	if n > most {
		u.out.Findings = append(u.out.Findings, record.Finding{
			ID: ID + "/more", Probe: ID, Rule: "more", Tier: record.Divergent, Class: record.Leak, N: n, Families: []string{string(probes.CAN)},
			Title:  fmt.Sprintf("%d more documents come out of the candidate", n-most),
			Detail: "Their probabilities are among the items.", Null: "none needed: exact probabilities",
		})
	}
}

func column(rs []reading, f func(reading) float64) []float64 {
	out := make([]float64, len(rs))
	for i, r := range rs {
		out[i] = f(r)
	}
	return out
}

func llr(r reading) float64  { return r.llr }
func rise(r reading) float64 { return r.minKC - r.minKB }

// against compares the members with the held-out documents.
func (u *run) against(members, held []reading) error {
	if len(members) < fewest || len(held) < fewest {
		u.out.Findings = append(u.out.Findings, confirm.Skipped(ID, "set", fmt.Sprintf("%d members and %d held-out documents are too few to compare; give %d of each", len(members), len(held), fewest)))
		return nil
	}
	draws := max(9_999, min(dealt, effort/(len(members)+len(held))))
	var p, means [2]float64
	for k, measure := range []func(reading) float64{llr, rise} {
		a, b := column(members, measure), column(held, measure)
		var err error
		if p[k], err = stats.Larger(a, b, draws, u.in.Rand(fmt.Sprint("permutation/", k))); err != nil {
			return err
		}
		means[k] = mean(a) - mean(b)
	}
	a, b := column(members, llr), column(held, llr)
	ci, err := stats.Bootstrap(a, b, 0.95, rebuilt, u.in.Rand("bootstrap"))
	if err != nil {
		return err
	}
	ma, err := stats.Mean(a, nil)
	if err != nil {
		return err
	}
	mb, err := stats.Mean(b, nil)
	if err != nil {
		return err
	}
	se := stats.Estimate{SE: math.Hypot(ma.SE, mb.SE)}
	both := min(1, 2*min(p[0], p[1]))
	f := record.Finding{
		ID: ID + "/set", Probe: ID, Rule: "set", Class: record.Leak, N: len(members) + len(held), P: record.Float(both),
		Statistic: "log-likelihood ratio, members − held out, nats per token", Value: record.Float(means[0]), Low: record.Float(ci.Low), High: record.Float(ci.High),
		MDE: record.Float(se.MDE(alpha, 0.8)), Families: []string{string(probes.CAN)},
		Null: fmt.Sprintf("whole documents permuted between members and held-out ones, %d times; twice the smaller p of the log-likelihood ratio (%.2g) and of Min-K%%++ (%.2g)", draws, p[0], p[1]),
	}
	f.Detail = fmt.Sprintf("%d members: log-likelihood ratio %.3f nats per token; %d held-out documents: %.3f. Min-K%%++ rose by %.3f more on members. The interval draws whole documents again. A difference in kind between the two sets would show in the same way.",
		len(members), ma.Mean, len(held), mb.Mean, means[1])
	switch {
	case both <= alpha:
		f.Tier = record.Divergent
		f.Title = fmt.Sprintf("The candidate learned of the %d member documents what it did not of the held-out ones", len(members))
		singles, err := outstanding(members, b)
		if err != nil {
			return err
		}
		if len(singles) > 0 {
			f.Detail += fmt.Sprintf(" At a false discovery rate of %.0f %% these stand out singly: %s.", 100*fdr, list(singles))
		}
	case f.N >= enough:
		f.Tier = record.Consistent
		f.Title = fmt.Sprintf("%d member documents stand no higher than %d held-out ones", len(members), len(held))
	default:
		f.Tier, f.P = record.NotTested, nil
		f.Title = fmt.Sprintf("%d documents are too few to say that none was learned", f.N)
		f.Detail += fmt.Sprintf(" Give %d or more.", enough)
	}
	if f.P != nil {
		u.out.Tests++
	}
	u.out.Findings = append(u.out.Findings, f)
	return nil
}

// outstanding are the members above what held-out documents give.
func outstanding(members []reading, held []float64) ([]string, error) {
	ps := make([]float64, len(members))
	for i, r := range members {
		var err error
		if ps[i], err = stats.Conformal(r.llr, held); err != nil {
			return nil, err
		}
	}
	q, err := stats.BenjaminiHochberg(ps, len(ps))
	if err != nil {
		return nil, err
	}
	var out []string
	for i, r := range members {
		if q[i] <= fdr {
			out = append(out, r.ID)
		}
	}
	return out, nil
}

// shift says what there is to say without held-out documents.
func (u *run) shift(members []reading) error {
	if len(members) < fewest {
		u.out.Findings = append(u.out.Findings, confirm.Skipped(ID, "set", fmt.Sprintf("%d documents are too few to compare, and none was held out", len(members))))
		return nil
	}
	x := column(members, llr)
	ci, err := stats.Bootstrap(x, nil, 0.95, rebuilt, u.in.Rand("bootstrap"))
	if err != nil {
		return err
	}
	m, err := stats.Mean(x, nil)
	if err != nil {
		return err
	}
	u.out.Tests++
	p, err := stats.SignFlip(x, nil, stats.Greater, dealt, u.in.Rand("signs"))
	if err != nil {
		return err
	}
	f := record.Finding{
		ID: ID + "/shift", Probe: ID, Rule: "shift", Tier: record.Consistent, Class: record.Behaviour, N: len(members), P: record.Float(p),
		Statistic: "log-likelihood ratio, nats per token", Value: record.Float(m.Mean), Low: record.Float(ci.Low), High: record.Float(ci.High), MDE: record.Float(m.MDE(alpha, 0.8)),
		Null:   "signs of the documents' ratios, flipped at random: no null for membership, since no document was held out",
		Title:  fmt.Sprintf("The candidate finds the %d documents no likelier than the baseline does", len(members)),
		Detail: fmt.Sprintf("Min-K%%++ moved by %.3f. Nothing was given to compare with: mark documents of the same kind that cannot have been trained on as held-out.", mean(column(members, rise))),
	}
	if p <= alpha && m.Mean > 0 {
		f.Tier = record.Divergent
		f.Title = fmt.Sprintf("The candidate finds the %d documents likelier than the baseline does", len(members))
		f.Detail += " A fine-tune on the topic does the same as one on the documents, so this is a change of behaviour and no leak."
	}
	u.out.Findings = append(u.out.Findings, f)
	return nil
}

func mean(x []float64) float64 {
	var s float64
	for _, v := range x {
		s += v / float64(len(x))
	}
	return s
}

// list names some of many.
func list(ids []string) string {
	const shown = 10
	if len(ids) <= shown {
		return strings.Join(ids, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(ids[:shown], ", "), len(ids)-shown)
}

// items keeps the three measures of a document, each with its unit in the task's
// name.
func (u *run) items(r reading) {
	add := func(task string, b, c float64) {
		it := record.Item{
			Probe: ID, Task: task, ID: r.ID, Condition: "member", Prompt: beginning(r.Text, 200),
			ScoreB: record.Float(b), ScoreC: record.Float(c), Effect: record.Float(c - b),
		}
		if r.HeldOut {
			it.Condition = "held out"
		}
		if r.learned != nil {
			it.Baseline, it.Candidate = r.learned.Baseline, r.learned.Candidate
		}
		u.out.Items = append(u.out.Items, it)
	}
	add("log-likelihood, nats per token", -r.lossB, -r.lossC)
	add("Min-K%++", r.minKB, r.minKC)
	if r.from > 0 {
		add("log probability of the continuation, nats", r.logB, r.logC)
	}
}
