package stats_test

import (
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weighbridge/weighbridge/harness/stats"
)

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
