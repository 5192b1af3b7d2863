package stats_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/weighbridge/weighbridge/harness/stats"
)

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

func first(b, _ []float64) []float64 { return b }

func second(_, c []float64) []float64 { return c }

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
