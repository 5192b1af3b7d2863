package stats

import (
	"fmt"
	"math"
)

// Gumbel is the distribution of the largest of many values.
type Gumbel struct{ Location, Scale float64 }

// BlockMaxima splits x into blocks of size values, in order, and gives the
// largest of each. A last block that is not full is left out.
func BlockMaxima(x []float64, size int) ([]float64, error) {
	if size < 1 || len(x) < size {
		return nil, fmt.Errorf("block maxima of %d values in blocks of %d: %w", len(x), size, ErrTooFew)
	}
	if err := finite(x); err != nil {
		return nil, fmt.Errorf("block maxima: %w", err)
	}
	m := make([]float64, 0, len(x)/size)
	for ; len(x) >= size; x = x[size:] {
		top := x[0]
		for _, v := range x[1:size] {
			top = max(top, v)
		}
		m = append(m, top)
	}
	return m, nil
}

// FitGumbel fits block maxima by maximum likelihood. At least 10 of them are
// needed and they must not all be equal. The scale β solves
// β = mean(x) − Σ x·exp(−x/β) / Σ exp(−x/β), whose right side minus β falls
// from above 0 to below 0, so bisection cannot miss it.
func FitGumbel(maxima []float64) (Gumbel, error) {
	if len(maxima) < 10 {
		return Gumbel{}, fmt.Errorf("Gumbel fit of %d maxima: %w, need 10", len(maxima), ErrTooFew)
	}
	if err := finite(maxima); err != nil {
		return Gumbel{}, fmt.Errorf("Gumbel fit: %w", err)
	}
	low, high, mean := maxima[0], maxima[0], 0.0
	for _, v := range maxima {
		low, high = min(low, v), max(high, v)
		mean += v / float64(len(maxima))
	}
	width := high - low
	if width == 0 {
		return Gumbel{}, fmt.Errorf("Gumbel fit: all %d maxima are %g", len(maxima), low)
	}
	weights := func(b float64) (sum, weighted float64) { // relative to low, so that nothing overflows
		for _, v := range maxima {
			w := math.Exp(-(v - low) / b)
			sum += w
			weighted += w * (v - low)
		}
		return sum, weighted
	}
	a, b := width*1e-9, width*10
	for range 200 {
		m := (a + b) / 2
		sum, weighted := weights(m)
		if mean-low-weighted/sum > m {
			a = m
		} else {
			b = m
		}
	}
	g := Gumbel{Scale: (a + b) / 2}
	sum, _ := weights(g.Scale)
	g.Location = low - g.Scale*math.Log(sum/float64(len(maxima)))
	return g, nil
}

// Tail is P(X ≥ x), accurate for small values.
func (g Gumbel) Tail(x float64) float64 {
	return -math.Expm1(-math.Exp(-(x - g.Location) / g.Scale))
}

// Quantile is the x with P(X ≥ x) = tail, 0 < tail < 1.
func (g Gumbel) Quantile(tail float64) float64 {
	return g.Location - g.Scale*math.Log(-math.Log1p(-tail))
}
