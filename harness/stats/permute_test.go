package stats_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/weighbridge/weighbridge/harness/stats"
)

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
