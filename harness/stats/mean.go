package stats

import (
	"errors"
	"fmt"
	"math"

	"gonum.org/v1/gonum/stat/distuv"
)

// ErrTooFew is given where there are not enough values for the question.
var ErrTooFew = errors.New("too few values")

// Interval is a two-sided confidence interval.
type Interval struct{ Low, High float64 }

// Estimate is a mean over items and how sure it is. For a paired difference
// the mean is that of candidate − baseline.
type Estimate struct {
	N        int // items
	Clusters int // independent groups of items; N when none share one
	Mean     float64
	SE       float64 // standard error of Mean, clustered where there are clusters
	SEItems  float64 // standard error as if the items were independent
}

// Mean estimates the mean of x. Items with the same cluster name are not
// independent of each other; an empty name, or nil for all, is a cluster of its
// own. At least two items are needed.
func Mean(x []float64, clusters []string) (Estimate, error) {
	n := len(x)
	if n < 2 {
		return Estimate{}, fmt.Errorf("mean of %d items: %w, need 2", n, ErrTooFew)
	}
	if clusters != nil && len(clusters) != n {
		return Estimate{}, fmt.Errorf("mean: %d items and %d cluster names", n, len(clusters))
	}
	if err := finite(x); err != nil {
		return Estimate{}, fmt.Errorf("mean: %w", err)
	}
	var mean, ss float64 // Welford 1962: stable for large means
	for i, v := range x {
		d := v - mean
		mean += d / float64(i+1)
		ss += d * (v - mean)
	}
	fn := float64(n)
	e := Estimate{N: n, Clusters: n, Mean: mean, SEItems: math.Sqrt(ss / (fn * (fn - 1)))}
	e.SE = e.SEItems
	if clusters == nil {
		return e, nil
	}
	sums := groupSums(x, clusters, mean)
	e.Clusters = len(sums)
	if e.Clusters == n {
		return e, nil
	}
	var within, own float64
	for _, s := range sums {
		within += s * s
	}
	for _, v := range x {
		own += (v - mean) * (v - mean)
	}
	// Σ_i Σ_{j≠i} e_i·e_j inside a cluster is (Σe)² − Σe².
	e.SE = math.Sqrt(ss/(fn*(fn-1)) + (within-own)/(fn*fn))
	return e, nil
}

// Paired estimates the mean of candidate − baseline, item by item; see [Mean].
func Paired(baseline, candidate []float64, clusters []string) (Estimate, error) {
	d, err := Differences(baseline, candidate)
	if err != nil {
		return Estimate{}, err
	}
	return Mean(d, clusters)
}

// Differences is candidate − baseline, item by item.
func Differences(baseline, candidate []float64) ([]float64, error) {
	if len(baseline) != len(candidate) {
		return nil, fmt.Errorf("paired difference: %d baseline and %d candidate scores", len(baseline), len(candidate))
	}
	d := make([]float64, len(baseline))
	for i := range d {
		d[i] = candidate[i] - baseline[i]
	}
	return d, finite(d)
}

// Interval is the normal interval of the mean at a level such as 0.95. With
// SE = 0, which is what no flip at all gives, it has no width: use
// [PairedRates] for scores of 0 and 1.
func (e Estimate) Interval(level float64) Interval {
	h := upper((1-level)/2) * e.SE
	return Interval{e.Mean - h, e.Mean + h}
}

// MDE is the smallest true difference that a two-sided test at alpha finds
// with the given power.
func (e Estimate) MDE(alpha, power float64) float64 {
	return (upper(alpha/2) + upper(1-power)) * e.SE
}

// Power is the chance that a two-sided test at alpha finds a difference of
// this size.
func (e Estimate) Power(difference, alpha float64) float64 {
	if e.SE == 0 {
		return 1
	}
	return distuv.UnitNormal.CDF(math.Abs(difference)/e.SE - upper(alpha/2))
}

// NotWorse is the p-value against "the mean is −margin or lower": small means
// no worse than the margin (non-inferiority). margin > 0.
func (e Estimate) NotWorse(margin float64) float64 { return e.above(-margin) }

// Equivalent is the p-value against "the mean lies outside (−margin, margin)":
// two one-sided tests, of which the larger p counts. margin > 0.
func (e Estimate) Equivalent(margin float64) float64 {
	m := e
	m.Mean = -m.Mean
	return max(e.above(-margin), m.above(-margin))
}

// Below is the p-value against "the mean is limit or higher".
func (e Estimate) Below(limit float64) float64 {
	m := e
	m.Mean = -m.Mean
	return m.above(-limit)
}

// above is the p-value against "the mean is limit or lower".
func (e Estimate) above(limit float64) float64 {
	d := e.Mean - limit
	if e.SE == 0 {
		if d > 0 {
			return 0
		}
		return 1
	}
	return Tail(d / e.SE)
}

// SampleSize is the number of items that a paired comparison needs to find
// difference with the given power. between is the variance over items of the
// difference of the two models' expected scores; baseline and candidate are
// the mean variances within an item that is sampled again, 0 when greedy, over
// repeats samples per item.
func SampleSize(difference, between, baseline, candidate float64, repeats int, alpha, power float64) (int, error) {
	if difference == 0 || repeats < 1 || between < 0 || baseline < 0 || candidate < 0 {
		return 0, fmt.Errorf("sample size: difference %g, variances %g, %g, %g, repeats %d", difference, between, baseline, candidate, repeats)
	}
	z := upper(alpha/2) + upper(1-power)
	k := float64(repeats)
	n := z * z * (between + baseline/k + candidate/k) / (difference * difference)
	if n > math.MaxInt32 {
		return 0, fmt.Errorf("sample size: more than %d items", math.MaxInt32)
	}
	return int(math.Ceil(n)), nil
}

// Tail is P(Z ≥ z) of the unit normal, accurate for large z.
func Tail(z float64) float64 { return math.Erfc(z/math.Sqrt2) / 2 }

// upper is the z with P(Z ≥ z) = q.
func upper(q float64) float64 { return -distuv.UnitNormal.Quantile(q) }

// groupSums gives Σ (x − centre) per cluster, in order of first appearance.
func groupSums(x []float64, clusters []string, centre float64) []float64 {
	var sums []float64
	seen := make(map[string]int)
	for i, v := range x {
		c, ok := 0, false
		if clusters != nil && clusters[i] != "" {
			c, ok = seen[clusters[i]]
		}
		if !ok {
			c = len(sums)
			sums = append(sums, 0)
			if clusters != nil && clusters[i] != "" {
				seen[clusters[i]] = c
			}
		}
		sums[c] += v - centre
	}
	return sums
}

func finite(x []float64) error {
	for i, v := range x {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return fmt.Errorf("value %d is %v", i, v)
		}
	}
	return nil
}
