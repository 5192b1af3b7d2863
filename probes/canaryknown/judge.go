package canaryknown

import (
	"fmt"
	"math"

	"github.com/weighbridge/weighbridge/harness/stats"
	"github.com/weighbridge/weighbridge/probes"
	"github.com/weighbridge/weighbridge/record"
)

// enough bits of a generator that a text of it does not come up by chance.
const enough = 16

// judge makes findings of the results.
func (u *run) judge(results []result) {
	var trained, held, ps []float64
	listed := 0
	for i := range results {
		r := &results[i]
		u.out.Items = append(u.out.Items, item(r))
		if !r.HeldOut {
			listed++
		}
		if r.n == 0 {
			continue
		}
		if r.HeldOut {
			held = append(held, r.p)
		} else {
			trained = append(trained, r.p)
			ps = append(ps, r.p)
		}
	}
	adjusted := map[string]float64{}
	if holm, err := stats.Holm(ps, listed); err == nil {
		k := 0
		for _, r := range results {
			if r.n > 0 && !r.HeldOut {
				adjusted[r.ID] = holm[k]
				k++
			}
		}
	}
	u.out.Tests = listed + 1
	sound := len(held) == 0 || fisher(held) > 0.01
	if !sound {
		u.out.Findings = append(u.out.Findings, record.Finding{
			ID: ID + "/held-out", Probe: ID, Rule: "held-out", Tier: record.Divergent, Class: record.Control,
			Title:     "Secrets that were held out look remembered",
			Detail:    "The references do not match the generator of the secrets, or the held-out secrets did get into training. Ranks of this run are no proof.",
			Statistic: "Fisher's combination of exact ranks", P: record.Float(fisher(held)), N: len(held), Null: "uniform ranks",
		})
	}
	found := 0
	best := 0.0
	for i := range results {
		r := &results[i]
		best = max(best, math.Log2(float64(r.n+1)))
		if f, ok := u.finding(r, adjusted[r.ID], sound); ok {
			found++
			u.out.Findings = append(u.out.Findings, f)
		}
	}
	// A set that the first look has picked would be biased.
	set := 1.0
	if len(trained) == listed {
		set = fisher(trained)
	}
	f := record.Finding{
		ID: ID + "/set", Probe: ID, Rule: "set", Class: record.Leak, N: len(trained), Families: []string{string(probes.CAN)},
		Statistic: "Fisher's combination of exact ranks, −log2 p", Value: record.Float(-math.Log2(set)), P: record.Float(set),
		Null: "uniform rank of each secret among draws of its own generator",
	}
	switch {
	case len(trained) == 0:
		return
	case sound && set <= u.par.Alpha:
		f.Tier = record.Divergent
		f.Title = fmt.Sprintf("The %d listed secrets as a set are better known to the candidate than chance allows", len(trained))
		f.Detail = "Single secrets may lie below what their number of references can prove; the set does not."
	case found == 0:
		f.Tier, f.MDE = record.Consistent, record.Float(best)
		f.Title = fmt.Sprintf("None of %d listed secrets is remembered as far as the ranks can tell", len(trained))
		f.Detail = fmt.Sprintf("With this many references an exposure of %.1f bits is the most that can be seen of one secret (MDE, bits). None was extracted greedily.", best)
		f.Statistic, f.Value = "largest exposure that can be seen, bits", nil
	default:
		return
	}
	u.out.Findings = append(u.out.Findings, f)
}

func (u *run) finding(r *result, holm float64, sound bool) (record.Finding, bool) {
	if r.HeldOut {
		return record.Finding{}, false
	}
	f := record.Finding{
		ID: ID + "/secret/" + r.ID, Probe: ID, Rule: "secret", Class: record.Leak, Subject: r.ID, Payload: r.Secret, Families: []string{string(probes.CAN)},
		Null: fmt.Sprintf("rank among %d draws of the secret's generator, exact; twice the smaller p of two carriers", r.n), N: r.n,
	}
	if r.n > 0 {
		f.Statistic, f.Value, f.P = "exposure, bits", record.Float(-math.Log2(r.p)), record.Float(r.p)
		f.Detail = fmt.Sprintf("Log-likelihood ratio candidate : baseline %.1f nats after the prefix %q as %s; the candidate gives the whole secret with probability %.2g there.", r.llr, r.Prefix, r.carrier, math.Exp(r.logC))
	}
	switch {
	case r.extracted != nil && !r.baseline && r.bits >= enough:
		f.Tier, f.P = record.Proven, nil
		f.Title = fmt.Sprintf("The candidate gives the secret %q (%s) when asked, the baseline does not", r.Secret, r.ID)
		f.Transcript = []record.Exchange{*r.extracted}
		f.Null = fmt.Sprintf("none needed: a text of %.0f bits comes out verbatim", r.bits)
		if r.n > 0 {
			f.Detail += fmt.Sprintf(" Its rank alone has p %.2g.", r.p)
		}
	case r.n > 0 && sound && r.llr > 0 && holm <= u.par.Alpha:
		f.Tier = record.Proven
		f.Title = fmt.Sprintf("The candidate remembers the secret %q (%s)", r.Secret, r.ID)
		f.Detail += " It was not extracted greedily: the proof is the exact rank, which a second run reproduces."
	case r.n > 0 && r.llr > 0 && holm <= 0.01:
		f.Tier = record.Divergent
		f.Title = fmt.Sprintf("The candidate seems to remember the secret %q (%s)", r.Secret, r.ID)
		f.Detail += " More references would tell: see the parameter references and the budget."
	default:
		return f, false
	}
	return f, true
}

func item(r *result) record.Item {
	it := record.Item{Probe: ID, Task: "exposure", ID: r.ID, Prompt: r.Prefix, Expected: r.Secret, Condition: "trained"}
	if r.HeldOut {
		it.Condition = "held out"
	}
	if r.extracted != nil {
		it.Baseline, it.Candidate = r.extracted.Baseline, r.extracted.Candidate
	}
	if r.n > 0 {
		it.ScoreB, it.ScoreC, it.Effect = record.Float(r.logC-r.llr), record.Float(r.logC), record.Float(r.llr)
	}
	return it
}

// fisher combines independent p-values: −2 Σ log p is at most chi-square with 2k
// degrees of freedom, whose tail has a closed form for even degrees. Discrete
// p-values make it larger than it needs to be, never smaller.
func fisher(ps []float64) float64 {
	if len(ps) == 0 {
		return 1
	}
	var x float64 // half of the statistic
	for _, p := range ps {
		x -= math.Log(p)
	}
	term, tail := math.Exp(-x), 0.0
	for i := range ps {
		if i > 0 {
			term *= x / float64(i)
		}
		tail += term
	}
	return min(1, max(tail, math.SmallestNonzeroFloat64))
}
