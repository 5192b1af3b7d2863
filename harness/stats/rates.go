package stats

import (
	"fmt"
	"math"
)

// Flips counts paired outcomes of 0 and 1.
type Flips struct {
	Both    int // right on both sides
	Lost    int // right for the baseline, wrong for the candidate
	Gained  int // wrong for the baseline, right for the candidate
	Neither int // wrong on both sides
}

// Add counts one pair.
func (f *Flips) Add(baseline, candidate bool) {
	switch {
	case baseline && candidate:
		f.Both++
	case baseline:
		f.Lost++
	case candidate:
		f.Gained++
	default:
		f.Neither++
	}
}

// N is the number of pairs.
func (f Flips) N() int { return f.Both + f.Lost + f.Gained + f.Neither }

// Difference is the candidate's rate minus the baseline's; 0 for no pairs.
func (f Flips) Difference() float64 {
	if f.N() == 0 {
		return 0
	}
	return float64(f.Gained-f.Lost) / float64(f.N())
}

// McNemar is the exact two-sided p-value against "as many are lost as gained".
// With no flip it is 1.
func (f Flips) McNemar() float64 {
	m := f.Lost + f.Gained
	return min(1, 2*BinomialTail(m, max(f.Lost, f.Gained), 0.5))
}

// Worse is the exact one-sided p-value of McNemar's test against "no more are
// lost than gained".
func (f Flips) Worse() float64 { return BinomialTail(f.Lost+f.Gained, f.Lost, 0.5) }

// Better is Worse for gains.
func (f Flips) Better() float64 { return BinomialTail(f.Lost+f.Gained, f.Gained, 0.5) }

// Interval is the score interval of Difference (Tango 1998), which holds its
// level for few flips and keeps a width when there is none. design ≥ 1 is the
// factor by which clusters inflate the variance, 1 without clusters; the counts
// are divided by it.
func (f Flips) Interval(level, design float64) (Interval, error) {
	if f.N() == 0 {
		return Interval{}, fmt.Errorf("paired rates: %w, need 1 pair", ErrTooFew)
	}
	if !(design >= 1) {
		return Interval{}, fmt.Errorf("paired rates: design effect %g is below 1", design)
	}
	n, lost, gained := float64(f.N())/design, float64(f.Lost)/design, float64(f.Gained)/design
	z := upper((1 - level) / 2)
	// The score of a difference d, its nuisance rate estimated under d by maximum
	// likelihood; it falls from +∞ at −1 to −∞ at 1.
	score := func(d float64) float64 {
		a, b, c := 2*n, -gained-lost+(2*n-gained+lost)*d, -lost*d*(1-d)
		q := (math.Sqrt(max(0, b*b-4*a*c)) - b) / (2 * a)
		v := n * (2*q + d*(1-d))
		if v <= 0 {
			return math.Inf(int(math.Copysign(1, gained-lost-n*d)))
		}
		return (gained - lost - n*d) / math.Sqrt(v)
	}
	edge := func(lo, hi, want float64) float64 {
		for range 100 {
			if m := (lo + hi) / 2; score(m) > want {
				lo = m
			} else {
				hi = m
			}
		}
		return (lo + hi) / 2
	}
	at := (gained - lost) / n
	return Interval{edge(-1, at, z), edge(at, 1, -z)}, nil
}

// MDE is the smallest rate of lost items, with none gained, that McNemar's
// one-sided exact test at alpha finds with the given power; 1 when n items can
// never do it. It is the honest figure where nothing flipped and a standard
// error would be 0.
func MDE(n int, alpha, power float64) float64 {
	need := int(math.Ceil(-math.Log2(alpha) - 1e-9)) // 2^-need ≤ alpha
	if n < need {
		return 1
	}
	lo, hi := 0.0, 1.0
	for range 60 {
		mid := (lo + hi) / 2
		if BinomialTail(n, need, mid) >= power {
			hi = mid
		} else {
			lo = mid
		}
	}
	return hi
}

// Wilson is the score interval of a rate of hits in n, 0 ≤ hits ≤ n, n ≥ 1.
func Wilson(hits, n int, level float64) (Interval, error) {
	if n < 1 || hits < 0 || hits > n {
		return Interval{}, fmt.Errorf("rate of %d in %d: %w", hits, n, ErrTooFew)
	}
	return wilson(float64(hits)/float64(n), float64(n), level), nil
}

func wilson(p, n, level float64) Interval {
	z := upper((1 - level) / 2)
	zz := z * z
	centre := (p + zz/(2*n)) / (1 + zz/n)
	half := z / (1 + zz/n) * math.Sqrt(p*(1-p)/n+zz/(4*n*n))
	return Interval{max(0, centre-half), min(1, centre+half)}
}

// NoHits is the exact one-sided upper bound, at a level such as 0.95, of a rate
// that gave no hit in n ("rule of three"); 1 for n = 0.
func NoHits(n int, level float64) float64 {
	if n <= 0 {
		return 1
	}
	return -math.Expm1(math.Log1p(-level) / float64(n))
}

// BinomialTail is P(X ≥ k) for X of n trials with probability p each. It sums
// the terms of the smaller tail from its largest down, relative to the first,
// and leaves the logarithm last, so that small tails keep their digits for n of
// millions; below 5e-324 it gives 0.
func BinomialTail(n, k int, p float64) float64 {
	switch {
	case k <= 0:
		return 1
	case k > n || p <= 0:
		return 0
	case p >= 1:
		return 1
	}
	if float64(k) > float64(n)*p {
		return min(1, tailFrom(n, k, p))
	}
	return max(0, 1-tailFrom(n, n-k+1, 1-p)) // X ≤ k−1 seen from the failures
}

// tailFrom is P(X ≥ k) for k above the mean, where the terms fall.
func tailFrom(n, k int, p float64) float64 {
	ratio := p / (1 - p)
	sum, term := 1.0, 1.0
	for i := k; i < n; i++ {
		term *= float64(n-i) / float64(i+1) * ratio
		sum += term
		if term < sum*1e-18 {
			break
		}
	}
	lg := func(x int) float64 { v, _ := math.Lgamma(float64(x) + 1); return v }
	return math.Exp(lg(n) - lg(k) - lg(n-k) + float64(k)*math.Log(p) + float64(n-k)*math.Log1p(-p) + math.Log(sum))
}
