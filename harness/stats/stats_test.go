package stats_test

import (
	"errors"
	"math"
	"math/rand/v2"
	"testing"

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
