package stats_test

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/weighbridge/weighbridge/harness/stats"
)

func near(t *testing.T, what string, got, want, tolerance float64) {
	t.Helper()
	if !(math.Abs(got-want) <= tolerance) {
		t.Errorf("%s = %.10g, want %.10g ± %g", what, got, want, tolerance)
	}
}

// pairs spells out paired outcomes.
func pairs(f stats.Flips) (baseline, candidate []float64) {
	add := func(n int, b, c float64) {
		for range n {
			baseline, candidate = append(baseline, b), append(candidate, c)
		}
	}
	add(f.Both, 1, 1)
	add(f.Lost, 1, 0)
	add(f.Gained, 0, 1)
	add(f.Neither, 0, 0)
	return baseline, candidate
}

func TestClusteredError(t *testing.T) {
	for _, c := range []struct {
		x                []float64
		plain, clustered float64
	}{
		{[]float64{1, 1, 0, 0, 1, 0}, 0.223607, 0.149071},
		{[]float64{1, 1, 1, 0, 0, 0}, 0.223607, 0.365148},
	} {
		e, err := stats.Mean(c.x, []string{"a", "a", "a", "b", "b", "b"})
		if err != nil {
			t.Fatal(err)
		}
		near(t, "plain SE", e.SEItems, c.plain, 1e-6)
		near(t, "clustered SE", e.SE, c.clustered, 1e-6)
		if e.Clusters != 2 {
			t.Errorf("clusters = %d, want 2", e.Clusters)
		}
		own, err := stats.Mean(c.x, make([]string, 6))
		if err != nil || own.SE != own.SEItems || own.Clusters != 6 {
			t.Errorf("items without a cluster name: %+v, %v", own, err)
		}
	}
}

// The clustered formula, written as the double sum of the paper.
func TestClusteredErrorAgainstDoubleSum(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 50 {
		n := 3 + rng.IntN(40)
		x, names, mean := make([]float64, n), make([]string, n), 0.0
		for i := range x {
			x[i], names[i] = rng.NormFloat64(), fmt.Sprint(rng.IntN(6))
			mean += x[i] / float64(n)
		}
		var ss, cross float64
		for i := range x {
			ss += (x[i] - mean) * (x[i] - mean)
			for j := range x {
				if i != j && names[i] == names[j] {
					cross += (x[i] - mean) * (x[j] - mean)
				}
			}
		}
		fn := float64(n)
		e, err := stats.Mean(x, names)
		if err != nil {
			t.Fatal(err)
		}
		near(t, "clustered SE", e.SE, math.Sqrt(ss/(fn*(fn-1))+cross/(fn*fn)), 1e-12)
	}
}

func TestPairedDifference(t *testing.T) {
	f := stats.Flips{Both: 70, Lost: 10, Gained: 2, Neither: 18}
	e, err := stats.Paired(first(pairs(f)), second(pairs(f)), nil)
	if err != nil {
		t.Fatal(err)
	}
	near(t, "difference", e.Mean, -0.08, 1e-12)
	near(t, "difference of flips", f.Difference(), -0.08, 1e-12)
	near(t, "SE", e.SE, 0.033874, 1e-6)
	ci := e.Interval(0.95)
	near(t, "low", ci.Low, -0.1464, 5e-5)
	near(t, "high", ci.High, -0.0136, 5e-5)
	near(t, "MDE", e.MDE(0.05, 0.8), 0.0949, 5e-5)
	near(t, "McNemar", f.McNemar(), 0.03857421875, 1e-12)
	near(t, "power at the MDE", e.Power(e.MDE(0.05, 0.8), 0.05), 0.8, 1e-9)
}

func first(b, _ []float64) []float64  { return b }
func second(_, c []float64) []float64 { return c }

func TestMcNemar(t *testing.T) {
	for _, c := range []struct {
		lost, gained  int
		two, oneSided float64
	}{
		{5, 0, 0.0625, 0.03125},
		{6, 0, 0.03125, 0.015625},
		{8, 1, 0.0390625, 10.0 / 512},
		{10, 2, 0.03857421875, 79.0 / 4096},
		{10, 3, 0.09228515625, 378.0 / 8192},
		{3, 3, 1, 42.0 / 64},
		{0, 0, 1, 1},
		{0, 7, 2.0 / 128, 1},
	} {
		f := stats.Flips{Lost: c.lost, Gained: c.gained, Both: 5}
		near(t, fmt.Sprintf("two-sided %d/%d", c.lost, c.gained), f.McNemar(), c.two, 1e-14)
		near(t, fmt.Sprintf("one-sided %d/%d", c.lost, c.gained), f.Worse(), c.oneSided, 1e-14)
		g := stats.Flips{Lost: c.gained, Gained: c.lost}
		near(t, "better mirrors worse", g.Better(), f.Worse(), 0)
	}
}

func TestBinomialTailIsExact(t *testing.T) {
	for n := 1; n <= 40; n++ { // 2^40 and its binomials are exact in float64
		choose, tail := 1.0, 0.0
		for k := n; k >= 0; k-- {
			tail += choose
			got, want := stats.BinomialTail(n, k, 0.5), tail/math.Exp2(float64(n))
			near(t, fmt.Sprintf("P(X ≥ %d of %d)", k, n), got, want, want*1e-12)
			choose = choose * float64(k) / float64(n-k+1)
		}
	}
	// Far out, and with a million trials.
	near(t, "log of 0.5^1000", math.Log2(stats.BinomialTail(1000, 1000, 0.5)), -1000, 1e-9)
	near(t, "half of a million", stats.BinomialTail(1_000_001, 500_001, 0.5), 0.5, 1e-6)
	z := 6.0
	k := 500_000 + int(z*500)
	near(t, "six sigma of a million, relative to the normal", stats.BinomialTail(1_000_000, k, 0.5)/stats.Tail(z), 1, 0.02)
	near(t, "complement", stats.BinomialTail(50, 10, 0.3)+stats.BinomialTail(50, 41, 0.7), 1, 1e-12)
}

func TestRates(t *testing.T) {
	for _, c := range []struct {
		hits, n   int
		low, high float64
	}{{0, 30, 0, 0.11351}, {1, 30, 0.00591, 0.16670}, {50, 100, 0.40383, 0.59617}} {
		w, err := stats.Wilson(c.hits, c.n, 0.95)
		if err != nil {
			t.Fatal(err)
		}
		near(t, "Wilson low", w.Low, c.low, 5e-6)
		near(t, "Wilson high", w.High, c.high, 5e-6)
		if w.Low < 0 {
			t.Errorf("Wilson of %d/%d begins below 0: %g", c.hits, c.n, w.Low)
		}
	}
	near(t, "no hit in 30", stats.NoHits(30, 0.95), 0.0950, 5e-5)
	near(t, "no hit in 300", stats.NoHits(300, 0.95), 0.00994, 5e-6)
	near(t, "no trial", stats.NoHits(0, 0.95), 1, 0)
}

// Over the whole distribution of paired outcomes the interval covers the truth
// about as often as it says.
func TestPairedIntervalCovers(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for _, p := range [][3]float64{{0.7, 0.1, 0.02}, {0.9, 0.02, 0.02}, {0.3, 0.3, 0.1}, {0.98, 0.01, 0}} {
		covered, rounds := 0, 4000
		for range rounds {
			var f stats.Flips
			for range 60 {
				u := rng.Float64()
				f.Add(u < p[0]+p[1], u < p[0] || u >= p[0]+p[1] && u < p[0]+p[1]+p[2])
			}
			ci, err := f.Interval(0.95, 1)
			if err != nil {
				t.Fatal(err)
			}
			if truth := p[2] - p[1]; ci.Low <= truth && truth <= ci.High {
				covered++
			}
		}
		if rate := float64(covered) / float64(rounds); rate < 0.935 {
			t.Errorf("%v: covers %.3f, says 0.95", p, rate)
		}
	}
	// Without a flip the ends are those of Wilson's interval of 0 in n, either way.
	empty, err := stats.Flips{Both: 20, Neither: 10}.Interval(0.95, 1)
	if err != nil {
		t.Fatal(err)
	}
	near(t, "low end of no flip in 30", empty.Low, -0.11351, 5e-6)
	near(t, "high end of no flip in 30", empty.High, 0.11351, 5e-6)
	// The end of the interval is the difference that the score test just keeps:
	// with d = 0 that test is McNemar's without correction.
	f := stats.Flips{Both: 70, Lost: 10, Gained: 2, Neither: 18}
	z := 8 / math.Sqrt(12)
	touching, err := f.Interval(1-2*stats.Tail(z), 1)
	if err != nil {
		t.Fatal(err)
	}
	near(t, "high end at McNemar's level", touching.High, 0, 1e-9)
	all, err := stats.Flips{Lost: 5}.Interval(0.95, 1)
	if err != nil || all.Low < -1-1e-9 || all.High > -0.1 {
		t.Errorf("everything lost: %+v, %v", all, err)
	}
	none, err := stats.Flips{Both: 20}.Interval(0.95, 1)
	if err != nil || none.Low > -0.1 {
		t.Errorf("no flip in 20 gives %+v, %v: it must leave room for a loss", none, err)
	}
	wide, err := stats.Flips{Both: 20}.Interval(0.95, 2)
	if err != nil || wide.Low >= none.Low {
		t.Errorf("clusters must widen: %+v against %+v", wide, none)
	}
}

func TestManyTests(t *testing.T) {
	p := []float64{0.041, 0.001, 0.042, 0.008, 0.039}
	holm, err := stats.Holm(p, 5)
	if err != nil {
		t.Fatal(err)
	}
	bh, err := stats.BenjaminiHochberg(p, 5)
	if err != nil {
		t.Fatal(err)
	}
	near9 := cmpopts.EquateApprox(0, 1e-12)
	if d := cmp.Diff([]float64{0.117, 0.005, 0.117, 0.032, 0.117}, holm, near9); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]float64{0.042, 0.005, 0.042, 0.020, 0.042}, bh, near9); d != "" {
		t.Error(d)
	}
	// Hypotheses that gave no finding count like p = 1.
	some, err := stats.Holm([]float64{0.01, 0.02}, 4)
	if err != nil {
		t.Fatal(err)
	}
	all, err := stats.Holm([]float64{0.01, 0.02, 1, 1}, 4)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(all[:2], some, near9); d != "" {
		t.Error(d)
	}
	for _, bad := range [][]float64{{-0.1}, {1.1}, {math.NaN()}, {0.1, 0.2}} {
		if _, err := stats.Holm(bad, 1); err == nil {
			t.Errorf("Holm(%v, 1) is accepted", bad)
		}
	}
}

func TestEquivalence(t *testing.T) {
	e := stats.Estimate{N: 100, Mean: -0.01, SE: 0.01}
	near(t, "no worse than 0.03", e.NotWorse(0.03), 0.02275, 5e-6)
	near(t, "low end of 90 %", e.Interval(0.90).Low, -0.02645, 5e-6)
	near(t, "equivalent within 0.03", e.Equivalent(0.03), 0.02275, 5e-6)
	better := stats.Estimate{N: 100, Mean: 0.05, SE: 0.01}
	if p := better.Equivalent(0.03); p < 0.9 {
		t.Errorf("an improvement beyond the margin counts as equivalent: p = %g", p)
	}
	near(t, "below a limit", e.Below(0.01), 0.02275, 5e-6)
}

func TestSampleSize(t *testing.T) {
	n, err := stats.SampleSize(0.03, 1.0/9, 0, 0, 1, 0.05, 0.8)
	if err != nil || n != 969 {
		t.Errorf("n = %d, %v, want 969", n, err)
	}
	if _, err := stats.SampleSize(0, 1, 0, 0, 1, 0.05, 0.8); err == nil {
		t.Error("no difference needs no sample size")
	}
}

func TestMDEWithoutFlips(t *testing.T) {
	// alpha 0.05 needs 5 losses; the rate at which 5 in n come with 80 %.
	for _, n := range []int{5, 24, 150, 1_000_000} {
		d := stats.MDE(n, 0.05, 0.8)
		near(t, fmt.Sprint("power at the MDE of ", n), stats.BinomialTail(n, 5, d), 0.8, 1e-6)
	}
	if stats.MDE(4, 0.05, 0.8) != 1 {
		t.Error("4 items can never show a loss")
	}
	near(t, "need at alpha = 1/32 exactly", stats.BinomialTail(40, 5, stats.MDE(40, 1.0/32, 0.8)), 0.8, 1e-6)
}

func TestConformal(t *testing.T) {
	p, err := stats.Conformal(3, []float64{1, 2, 3, 4})
	if err != nil || p != 3.0/5 {
		t.Errorf("p = %g, %v, want 0.6", p, err)
	}
	if _, err := stats.Conformal(1, nil); !errors.Is(err, stats.ErrTooFew) {
		t.Errorf("no control: %v", err)
	}
	p, err = stats.AgainstNull(-0.2, []float64{0.1, -0.3, 0.2})
	if err != nil || p != 3.0/4 {
		t.Errorf("p against null runs = %g, %v, want 0.75", p, err)
	}
}

func TestSignFlip(t *testing.T) {
	// With differences of ±1 it is McNemar's test.
	for _, f := range []stats.Flips{{Lost: 8, Gained: 1}, {Lost: 5, Both: 100}, {Lost: 10, Gained: 3}} {
		d, err := stats.Differences(pairs(f))
		if err != nil {
			t.Fatal(err)
		}
		for side, want := range map[stats.Side]float64{stats.TwoSided: f.McNemar(), stats.Less: f.Worse(), stats.Greater: f.Better()} {
			got, err := stats.SignFlip(d, nil, side, 0, nil)
			if err != nil {
				t.Fatal(err)
			}
			near(t, fmt.Sprintf("%+v side %d", f, side), got, want, 1e-12)
		}
	}
	// Clusters are the units: 12 items in 3 clusters can not go below 1/8.
	d, names := make([]float64, 12), make([]string, 12)
	for i := range d {
		d[i], names[i] = -1, fmt.Sprint(i/4)
	}
	p, err := stats.SignFlip(d, names, stats.Less, 0, nil)
	if err != nil || p != 1.0/8 {
		t.Errorf("3 clusters: p = %g, %v, want 0.125", p, err)
	}
	// Many units: Monte Carlo agrees with the exact tail and repeats.
	f := stats.Flips{Lost: 30, Gained: 15}
	d, _ = stats.Differences(pairs(f))
	draw := func() float64 {
		p, err := stats.SignFlip(d, nil, stats.Less, 20000, rand.New(rand.NewPCG(5, 6)))
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	near(t, "Monte Carlo", draw(), f.Worse(), 0.004)
	if draw() != draw() {
		t.Error("the same source gives different p-values")
	}
	if p, err := stats.SignFlip(make([]float64, 5), nil, stats.Less, 0, nil); err != nil || p != 1 {
		t.Errorf("no difference: p = %g, %v", p, err)
	}
	if _, err := stats.SignFlip(d, nil, stats.Less, 0, nil); err == nil {
		t.Error("45 units without a random source are accepted")
	}
}

func TestNoiseFloor(t *testing.T) {
	z, err := stats.NoiseFloor([]float64{1, 0, 1, 1}, []float64{1, 1, 1, 0.5})
	if err != nil {
		t.Fatal(err)
	}
	if z.Flips != 2 || z.Rate != 0.5 || z.Max != 1 || z.Mean != 0.125 || z.Upper < 0.8 {
		t.Errorf("noise floor %+v", z)
	}
}

func TestGumbel(t *testing.T) {
	truth := stats.Gumbel{Location: 5, Scale: 2}
	rng := rand.New(rand.NewPCG(7, 8))
	x := make([]float64, 20000)
	for i := range x {
		x[i] = truth.Quantile(rng.Float64()*(1-1e-12) + 1e-13)
	}
	g, err := stats.FitGumbel(x)
	if err != nil {
		t.Fatal(err)
	}
	near(t, "location", g.Location, 5, 0.06)
	near(t, "scale", g.Scale, 2, 0.05)
	near(t, "tail of the quantile", g.Tail(g.Quantile(1e-9))/1e-9, 1, 1e-6)
	// Moved and stretched data move and stretch the fit.
	for i := range x {
		x[i] = 1e6 + 1e-3*x[i]
	}
	h, err := stats.FitGumbel(x)
	if err != nil {
		t.Fatal(err)
	}
	near(t, "moved location", (h.Location-1e6)/1e-3, g.Location, 1e-4)
	near(t, "stretched scale", h.Scale/1e-3, g.Scale, 1e-4)
	if _, err := stats.FitGumbel(make([]float64, 20)); err == nil {
		t.Error("equal maxima are fitted")
	}
	m, err := stats.BlockMaxima([]float64{1, 5, 2, 7, 0, 3, 9}, 3)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]float64{5, 7}, m); d != "" {
		t.Error(d)
	}
}

func TestBadInput(t *testing.T) {
	nan := []float64{1, math.NaN(), 0}
	short := []error{}
	_, err := stats.Mean(nil, nil)
	short = append(short, err)
	_, err = stats.Mean([]float64{1}, nil)
	short = append(short, err)
	_, err = stats.Wilson(0, 0, 0.95)
	short = append(short, err)
	_, err = stats.SignFlip(nil, nil, stats.Less, 1, nil)
	short = append(short, err)
	_, err = stats.NoiseFloor(nil, nil)
	short = append(short, err)
	_, err = stats.FitGumbel(nil)
	short = append(short, err)
	_, err = stats.BlockMaxima(nil, 3)
	short = append(short, err)
	_, err = stats.Flips{}.Interval(0.95, 1)
	short = append(short, err)
	for i, err := range short {
		if !errors.Is(err, stats.ErrTooFew) {
			t.Errorf("case %d: %v", i, err)
		}
	}
	for what, err := range map[string]error{
		"NaN in a mean":     second2(stats.Mean(nan, nil)),
		"NaN in a pair":     second2(stats.Paired(nan, make([]float64, 3), nil)),
		"lengths":           second2(stats.Paired(nan, nil, nil)),
		"cluster names":     second2(stats.Mean(make([]float64, 3), []string{"a"})),
		"NaN control":       second2(stats.Conformal(0, nan)),
		"NaN to flip":       second2(stats.SignFlip(nan, nil, stats.Less, 1, nil)),
		"hits above n":      second2(stats.Wilson(3, 2, 0.95)),
		"design effect < 1": second2(stats.Flips{Both: 3}.Interval(0.95, 0.5)),
	} {
		if err == nil {
			t.Errorf("%s is accepted", what)
		}
	}
}

func second2[T any](_ T, err error) error { return err }

func BenchmarkMillionPairs(b *testing.B) {
	rng := rand.New(rand.NewPCG(9, 10))
	base, cand := make([]float64, 1_000_000), make([]float64, 1_000_000)
	var f stats.Flips
	for i := range base {
		base[i], cand[i] = float64(rng.IntN(2)), float64(rng.IntN(2))
		f.Add(base[i] == 1, cand[i] == 1)
	}
	for b.Loop() {
		if _, err := stats.Paired(base, cand, nil); err != nil {
			b.Fatal(err)
		}
		f.McNemar()
	}
}
