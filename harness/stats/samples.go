package stats

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
)

// Larger is the p-value of mean(a) − mean(b) under "all values are draws of one
// distribution", small where a is the larger: draws ≥ 1 ways of dealing the
// values to two groups of these sizes, and the observed one counts as dealt, so
// that the p-value is valid at any size and at least 1/(draws+1).
func Larger(a, b []float64, draws int, rng *rand.Rand) (float64, error) {
	if len(a) == 0 || len(b) == 0 {
		return 0, fmt.Errorf("permutation of %d and %d values: %w, need 1 each", len(a), len(b), ErrTooFew)
	}
	all := slices.Concat(a, b)
	if err := finite(all); err != nil {
		return 0, fmt.Errorf("permutation: %w", err)
	}
	if draws < 1 || rng == nil {
		return 0, fmt.Errorf("permutation: %d draws and a random source are needed", max(draws, 1))
	}
	var observed, scale float64
	for i, v := range all {
		if i < len(a) {
			observed += v
		}
		scale += math.Abs(v)
	}
	hits := 1
	for range draws {
		var sum float64
		for i := range a {
			j := i + rng.IntN(len(all)-i)
			all[i], all[j] = all[j], all[i]
			sum += all[i]
		}
		// Equal up to rounding counts as equal, which errs towards the larger p.
		if sum >= observed-scale*1e-12 {
			hits++
		}
	}
	return float64(hits) / float64(draws+1), nil
}

// Bootstrap is the percentile interval of mean(a) − mean(b) when whole values
// are drawn again, each group from its own. An empty b is a mean of 0.
func Bootstrap(a, b []float64, level float64, draws int, rng *rand.Rand) (Interval, error) {
	if len(a) < 2 || len(b) == 1 {
		return Interval{}, fmt.Errorf("bootstrap of %d and %d values: %w, need 2 each", len(a), len(b), ErrTooFew)
	}
	if err := finite(slices.Concat(a, b)); err != nil {
		return Interval{}, fmt.Errorf("bootstrap: %w", err)
	}
	if draws < 1 || rng == nil {
		return Interval{}, fmt.Errorf("bootstrap: %d draws and a random source are needed", max(draws, 1))
	}
	again := func(x []float64) float64 {
		var sum float64
		for range x {
			sum += x[rng.IntN(len(x))]
		}
		return sum / float64(max(1, len(x)))
	}
	means := make([]float64, draws)
	for i := range means {
		means[i] = again(a) - again(b)
	}
	slices.Sort(means)
	at := func(q float64) float64 { return means[min(draws-1, int(q*float64(draws)))] }
	return Interval{at((1 - level) / 2), at((1 + level) / 2)}, nil
}

// FisherExact is the one-sided p-value of hits in n beside otherHits in otherN
// under "both have one rate", small where the first has the higher one.
func FisherExact(hits, n, otherHits, otherN int) (float64, error) {
	if hits < 0 || hits > n || otherHits < 0 || otherHits > otherN || n+otherN == 0 {
		return 0, fmt.Errorf("exact test of %d in %d and %d in %d: %w", hits, n, otherHits, otherN, ErrTooFew)
	}
	lg := func(x int) float64 { v, _ := math.Lgamma(float64(x) + 1); return v }
	choose := func(n, k int) float64 { return lg(n) - lg(k) - lg(n-k) }
	all, p := hits+otherHits, 0.0
	for k := hits; k <= min(all, n); k++ {
		if all-k <= otherN {
			p += math.Exp(choose(n, k) + choose(otherN, all-k) - choose(n+otherN, all))
		}
	}
	return min(1, p), nil
}
