package stats_test

import (
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/weighbridge/weighbridge/harness/stats"
)

func TestLarger(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	// Of 10 ways to deal 5 values in groups of 2 and 3, one gives the largest sum.
	p, err := stats.Larger([]float64{9, 8}, []float64{1, 2, 3}, 99_999, rng)
	if err != nil {
		t.Fatal(err)
	}
	near(t, "the largest of 10 sums", p, 0.1, 0.005)
	if p, err = stats.Larger([]float64{1, 1}, []float64{1, 1}, 999, rng); err != nil || p != 1 {
		t.Errorf("equal values: p %v, %v", p, err)
	}
	// Under the null p is uniform.
	low := 0
	for range 400 {
		a, b := make([]float64, 12), make([]float64, 9)
		for i := range a {
			a[i] = rng.NormFloat64()
		}
		for i := range b {
			b[i] = rng.NormFloat64()
		}
		if p, err = stats.Larger(a, b, 499, rng); err != nil {
			t.Fatal(err)
		}
		if p <= 0.1 {
			low++
		}
	}
	near(t, "share of p at most 0.1", float64(low)/400, 0.1, 0.05)
}

func TestBootstrap(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	covered := 0
	for range 300 {
		a, b := make([]float64, 40), make([]float64, 30)
		for i := range a {
			a[i] = 1 + rng.NormFloat64()
		}
		for i := range b {
			b[i] = 2 * rng.NormFloat64()
		}
		x, err := stats.Bootstrap(a, b, 0.9, 400, rng)
		if err != nil {
			t.Fatal(err)
		}
		if x.Low <= 1 && 1 <= x.High {
			covered++
		}
	}
	near(t, "coverage", float64(covered)/300, 0.9, 0.06)
}

func TestFisherExact(t *testing.T) {
	for _, c := range []struct {
		hits, n, other, otherN int
		want                   float64
	}{
		{3, 4, 1, 4, 0.242857142857},  // the lady tasting tea
		{4, 4, 0, 4, 0.0142857142857}, // all of them
		{0, 5, 3, 5, 1},
		{5, 20, 0, 200, 3.77909867221e-6},
	} {
		p, err := stats.FisherExact(c.hits, c.n, c.other, c.otherN)
		if err != nil {
			t.Fatal(err)
		}
		near(t, "p relative to the exact one", p/c.want, 1, 1e-9)
	}
}

func TestBadSamples(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	for i, err := range []error{
		second2(stats.Larger(nil, []float64{1}, 9, rng)),
		second2(stats.Bootstrap([]float64{1}, nil, 0.9, 9, rng)),
		second2(stats.FisherExact(2, 1, 0, 3)),
	} {
		if !errors.Is(err, stats.ErrTooFew) {
			t.Errorf("case %d: %v", i, err)
		}
	}
	if _, err := stats.Larger([]float64{1}, []float64{1}, 0, nil); err == nil {
		t.Error("a permutation without draws is accepted")
	}
}
