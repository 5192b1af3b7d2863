package stats

import (
	"math"
	"slices"
)

// Median is the middle value of x, the mean of the two middle ones for an even
// number, and 0 for none. x is left as it is.
func Median(x []float64) float64 {
	if len(x) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(x))
	return (s[(len(s)-1)/2] + s[len(s)/2]) / 2
}

// Robust is the median of x and the median absolute deviation from it, times
// 1.4826, which makes that of a normal sample its standard deviation (Rousseeuw
// and Croux 1993).
func Robust(x []float64) (centre, spread float64) {
	centre = Median(x)
	away := make([]float64, len(x))
	for i, v := range x {
		away[i] = math.Abs(v - centre)
	}
	return centre, 1.4826 * Median(away)
}
