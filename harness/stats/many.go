package stats

import (
	"fmt"
	"math"
	"slices"
)

// Holm adjusts p-values so that the chance of any false finding among all m
// hypotheses is at most the level they are then compared with, whatever their
// dependence. m counts every hypothesis that was tested: it is len(p), or more
// when some gave no finding; those count as p = 1. The result is in p's order.
func Holm(p []float64, m int) ([]float64, error) {
	order, err := ascending(p, m)
	if err != nil {
		return nil, fmt.Errorf("Holm: %w", err)
	}
	adjusted, worst := make([]float64, len(p)), 0.0
	for i, j := range order {
		worst = max(worst, min(1, float64(m-i)*p[j]))
		adjusted[j] = worst
	}
	return adjusted, nil
}

// BenjaminiHochberg adjusts p-values so that the expected share of false
// findings is at most the level, for independent or positively dependent
// tests. m is as for [Holm].
func BenjaminiHochberg(p []float64, m int) ([]float64, error) {
	order, err := ascending(p, m)
	if err != nil {
		return nil, fmt.Errorf("Benjamini-Hochberg: %w", err)
	}
	adjusted, best := make([]float64, len(p)), 1.0
	for i := len(order) - 1; i >= 0; i-- {
		best = min(best, float64(m)/float64(i+1)*p[order[i]])
		adjusted[order[i]] = best
	}
	return adjusted, nil
}

func ascending(p []float64, m int) ([]int, error) {
	if m < len(p) {
		return nil, fmt.Errorf("%d p-values of only %d hypotheses", len(p), m)
	}
	order := make([]int, len(p))
	for i, v := range p {
		if math.IsNaN(v) || v < 0 || v > 1 {
			return nil, fmt.Errorf("p-value %d is %v", i, v)
		}
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int {
		switch {
		case p[a] < p[b]:
			return -1
		case p[a] > p[b]:
			return 1
		}
		return 0
	})
	return order, nil
}
