package stats_test

import (
	"math"
	"slices"
	"testing"

	"github.com/weighbridge/weighbridge/harness/stats"
)

func TestRobust(t *testing.T) {
	for _, tc := range []struct {
		x              []float64
		centre, spread float64
	}{
		{nil, 0, 0},
		{[]float64{3}, 3, 0},
		{[]float64{4, 1}, 2.5, 1.5 * 1.4826},
		{[]float64{5, 1, 100}, 5, 4 * 1.4826},
		{[]float64{1, 2, 3, 1e9}, 2.5, 1 * 1.4826},
	} {
		x := slices.Clone(tc.x)
		if c, s := stats.Robust(x); math.Abs(c-tc.centre) > 1e-12 || math.Abs(s-tc.spread) > 1e-12 || !slices.Equal(x, tc.x) {
			t.Errorf("Robust(%v) = %v, %v, want %v, %v; left %v", tc.x, c, s, tc.centre, tc.spread, x)
		}
	}
}
