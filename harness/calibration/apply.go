package calibration

import (
	"fmt"
	"math"
	"sort"

	"github.com/weighbridge/weighbridge/record"
)

const (
	// Alpha is the error rate of a bank: shared by all its statistics where a
	// finding is raised, and the rank below which none is taken back.
	Alpha = 0.05
	// fewest is the least bank that raises a finding: with fewer variants even
	// the first rank among them is above Alpha.
	fewest = 19
)

// Needed is the number of variants from which on a bank of so many statistics
// raises a finding.
func Needed(statistics int) int {
	return max(fewest, int(math.Ceil(float64(statistics)/Alpha))-1)
}

// rank is where a value stands among the variants.
type rank struct {
	n       int  // variants
	reached int  // those as bad or worse
	known   bool // the file has the statistic
}

func (r rank) p() float64 { return float64(1+r.reached) / float64(1+r.n) }

// Apply holds the findings against the bank. The record gets the file's digest
// and signer; PBank and BankN where the bank has something to say; and tiers:
//
//   - DIVERGENT becomes CONSISTENT where harmless variants reach the value and
//     the bank p is above Alpha.
//   - CONSISTENT becomes DIVERGENT where the value is worse than the margin and
//     than every value of a bank of 19 variants or more, and 1/(variants+1),
//     times the number of statistics in the file, is not above Alpha. Where it
//     is, a sentence says how large a bank would have to be.
//   - PROVEN stays, and so does what was compared exactly (template, tokenizer, a
//     box that died).
func (f *File) Apply(run *record.Run, digest, signer, engine string) {
	m := &run.Meta
	m.Calibration, m.CalibrationSigner, m.CalibrationEngine = digest, signer, "same"
	if engine != f.Engine {
		m.CalibrationEngine = "other"
	}
	m.CalibrationVariants, m.CalibrationTests, m.CalibrationAlpha = f.Bank(), len(f.Statistics), Alpha
	for i := range run.Findings {
		x := &run.Findings[i]
		r, ok := f.rank(x)
		if !ok {
			continue
		}
		x.PBank, x.BankN = record.Float(r.p()), r.n
		switch {
		case x.Tier == record.Divergent && r.reached > 0 && r.p() > Alpha:
			x.Tier = record.Consistent
			x.Detail = fmt.Sprintf("DIVERGENT by its own test, but %d of %d harmless variants of this baseline reach the value as well (bank p = %.3g). %s",
				r.reached, r.n, r.p(), x.Detail)
		case x.Tier == record.Consistent && r.known && r.reached == 0 && r.n >= fewest && beyondMargin(x):
			f.raise(x, r)
		}
	}
}

// raise makes a finding DIVERGENT where the bank is large enough for that.
func (f *File) raise(x *record.Finding, r rank) {
	if s := len(f.Statistics); r.n < Needed(s) {
		x.Detail = fmt.Sprintf("Worse than all %d harmless variants of this baseline (bank p ≤ %.3g), which among %d statistics is not enough: %d variants would decide at %.3g. %s",
			r.n, r.p(), s, Needed(s), Alpha, x.Detail)
		return
	}
	x.Tier = record.Divergent
	x.Title += "; no harmless variant of the baseline reaches this"
	x.Detail = fmt.Sprintf("No harmless variant of this baseline reaches the value (%d variants, bank p ≤ %.3g, %.3g over all %d statistics). Its own test alone did not decide. %s",
		r.n, r.p(), r.p()*float64(len(f.Statistics)), len(f.Statistics), x.Detail)
}

// beyondMargin reports whether the value speaks against the candidate at all,
// and by more than what is tolerated.
func beyondMargin(x *record.Finding) bool {
	margin := 0.0
	if x.Margin != nil {
		margin = *x.Margin
	}
	return worse(*x.Value, x.LowerIsWorse) > margin+same(margin)
}

// rank finds a finding's null. A statistic that no variant reported, of a probe
// that ran on them, is one that all of them lie below.
func (f *File) rank(x *record.Finding) (rank, bool) {
	if !counts(x) {
		return rank{}, false
	}
	want := Statistic{Probe: x.Probe, Rule: x.Rule, Statistic: x.Statistic, LowerIsWorse: x.LowerIsWorse}
	i := sort.Search(len(f.Statistics), func(i int) bool { return compareStatistics(f.Statistics[i], want) >= 0 })
	first := i
	for ; i < len(f.Statistics); i++ {
		s := &f.Statistics[i]
		if want.Subject = s.Subject; compareStatistics(*s, want) != 0 {
			break
		}
		if s.Subject == "" || s.Subject == x.Subject {
			return rank{s.Variants, s.reached(*x.Value), true}, true
		}
	}
	if i > first { // known, of other subjects
		return rank{}, false
	}
	for _, p := range f.Probes {
		if p.Probe == x.Probe {
			return rank{n: p.Variants}, true
		}
	}
	return rank{}, false
}

// same is how far apart two values may be that are one value, summed up in
// another order.
func same(v float64) float64 { return 1e-12 + 1e-9*math.Abs(v) }

// reached counts the variants with a value as bad as v or worse.
func (s *Statistic) reached(v float64) int {
	if s.LowerIsWorse {
		return sort.Search(len(s.Values), func(i int) bool { return s.Values[i] > v+same(v) })
	}
	return len(s.Values) - sort.SearchFloat64s(s.Values, v-same(v))
}
