package stats_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/weighbridge/weighbridge/harness/stats"
)

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
