package stats

import (
	"fmt"
	"math"
	"math/bits"
	"math/rand/v2"
)

// Conformal is the p-value of a score among scores of exchangeable controls,
// larger being more extreme: (1 + controls at least as large) / (controls + 1).
// It is exact, and its smallest value is 1/(controls + 1).
func Conformal(score float64, controls []float64) (float64, error) {
	if len(controls) == 0 {
		return 0, fmt.Errorf("conformal p-value: %w, need 1 control", ErrTooFew)
	}
	if math.IsNaN(score) {
		return 0, fmt.Errorf("conformal p-value: the score is not a number")
	}
	n := 1
	for i, c := range controls {
		if math.IsNaN(c) {
			return 0, fmt.Errorf("conformal p-value: control %d is not a number", i)
		}
		if c >= score {
			n++
		}
	}
	return float64(n) / float64(len(controls)+1), nil
}

// Side is the direction of a test.
type Side int

// The directions of [SignFlip].
const (
	TwoSided Side = iota
	Less          // against "the sum is not below what chance gives"
	Greater       // against "the sum is not above what chance gives"
)

// ExactUnits is the number of units up to which SignFlip enumerates all signs.
const ExactUnits = 20

// SignFlip is the p-value of the sum of paired differences under "each unit's
// difference is as likely to have the other sign". A unit is a cluster (see
// [Mean]) or an item. Units that sum to 0 do not matter and are left out. Up to
// [ExactUnits] units all signs are enumerated; above, draws ≥ 1 of them are
// drawn from rng, and the observed one counts as drawn (Phipson and Smyth), so
// that the p-value is valid and at least 1/(draws+1).
func SignFlip(d []float64, clusters []string, side Side, draws int, rng *rand.Rand) (float64, error) {
	if len(d) == 0 {
		return 0, fmt.Errorf("sign-flip test: %w, need 1 difference", ErrTooFew)
	}
	if clusters != nil && len(clusters) != len(d) {
		return 0, fmt.Errorf("sign-flip test: %d items and %d cluster names", len(d), len(clusters))
	}
	if err := finite(d); err != nil {
		return 0, fmt.Errorf("sign-flip test: %w", err)
	}
	var units []float64
	var observed, scale float64
	for _, s := range groupSums(d, clusters, 0) {
		if s != 0 {
			units = append(units, s)
			observed += s
			scale += math.Abs(s)
		}
	}
	if len(units) == 0 {
		return 1, nil
	}
	// Sums of the same units in another order differ by rounding: what is equal
	// up to that counts as equal, which errs towards the larger p.
	slack := scale * 1e-12
	extreme := func(s float64) bool {
		switch side {
		case Less:
			return s <= observed+slack
		case Greater:
			return s >= observed-slack
		}
		return math.Abs(s) >= math.Abs(observed)-slack
	}
	if len(units) <= ExactUnits {
		hits, sum := 0, observed
		signs := make([]float64, len(units))
		for i := range signs {
			signs[i] = 1
		}
		all := uint32(1) << len(units)
		for i := uint32(0); i < all; i++ { // Gray code: one sign changes per step
			if extreme(sum) {
				hits++
			}
			if j := bits.TrailingZeros32(i + 1); j < len(units) {
				sum -= 2 * signs[j] * units[j]
				signs[j] = -signs[j]
			}
		}
		return float64(hits) / float64(all), nil
	}
	if draws < 1 || rng == nil {
		return 0, fmt.Errorf("sign-flip test of %d units: %d draws and a random source are needed", len(units), max(draws, 1))
	}
	hits := 1
	for range draws {
		var sum float64
		var word uint64
		for i, u := range units {
			if i%64 == 0 {
				word = rng.Uint64()
			}
			if word>>(i%64)&1 == 0 {
				sum += u
			} else {
				sum -= u
			}
		}
		if extreme(sum) {
			hits++
		}
	}
	return float64(hits) / float64(draws+1), nil
}

// Noise is what a model shows against itself.
type Noise struct {
	N     int
	Flips int     // items whose score differs at all
	Rate  float64 // Flips / N
	Upper float64 // upper end of the 95 % Wilson interval of Rate
	Max   float64 // largest absolute difference
	Mean  float64 // mean difference, second − first
}

// NoiseFloor summarises two runs of the same model over the same items.
func NoiseFloor(first, second []float64) (Noise, error) {
	d, err := Differences(first, second)
	if err != nil {
		return Noise{}, fmt.Errorf("noise floor: %w", err)
	}
	if len(d) == 0 {
		return Noise{}, fmt.Errorf("noise floor: %w, need 1 item", ErrTooFew)
	}
	z := Noise{N: len(d)}
	for _, v := range d {
		if v != 0 {
			z.Flips++
		}
		z.Max = max(z.Max, math.Abs(v))
		z.Mean += v / float64(len(d))
	}
	z.Rate = float64(z.Flips) / float64(z.N)
	w, err := Wilson(z.Flips, z.N, 0.95)
	z.Upper = w.High
	return z, err
}

// AgainstNull is the p-value of a mean difference among the mean differences
// of runs of the baseline against itself, both ways:
// (1 + runs with at least as large a size) / (runs + 1).
func AgainstNull(observed float64, null []float64) (float64, error) {
	sizes := make([]float64, len(null))
	for i, v := range null {
		sizes[i] = math.Abs(v)
	}
	return Conformal(math.Abs(observed), sizes)
}
