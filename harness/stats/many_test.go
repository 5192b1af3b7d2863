package stats_test

import (
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/weighbridge/weighbridge/harness/stats"
)

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
