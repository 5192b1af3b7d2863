package main

import (
	"fmt"
	"math"
	"slices"

	"gonum.org/v1/gonum/stat/distuv"

	"github.com/weighbridge/weighbridge/record"
)

// rate is k of n, with the exact two-sided 95 % interval of Clopper and Pearson
// (Biometrika 26:404, 1934).
type rate struct{ k, n int }

func (r rate) interval() (low, high float64) {
	if r.n == 0 {
		return math.NaN(), math.NaN()
	}
	const tail = 0.025
	high = 1
	if r.k > 0 {
		low = distuv.Beta{Alpha: float64(r.k), Beta: float64(r.n - r.k + 1)}.Quantile(tail)
	}
	if r.k < r.n {
		high = distuv.Beta{Alpha: float64(r.k + 1), Beta: float64(r.n - r.k)}.Quantile(1 - tail)
	}
	return low, high
}

// String is such as "19 of 20, 95.0 % (75.1–99.9)".
func (r rate) String() string {
	if r.n == 0 {
		return "none"
	}
	low, high := r.interval()
	return fmt.Sprintf("%d of %d, %.1f %% (%.1f–%.1f)", r.k, r.n, 100*float64(r.k)/float64(r.n), 100*low, 100*high)
}

func count(rs []*result, of, is func(*result) bool) (x rate) {
	for _, r := range rs {
		if of(r) {
			x.n++
			if is(r) {
				x.k++
			}
		}
	}
	return x
}

// draws are the samples that the members are from, where there are several.
func draws(rs []*result) []int {
	var out []int
	for _, r := range rs {
		if n := r.member.Draw; !slices.Contains(out, n) {
			out = append(out, n)
		}
	}
	slices.Sort(out)
	if len(out) < 2 {
		return nil
	}
	return out
}

// of narrows a selection to one draw.
func of(n int, is func(*result) bool) func(*result) bool {
	return func(r *result) bool { return r.member.Draw == n && is(r) }
}

func poisoned(r *result) bool { return r.member.Poisoned }
func harmless(r *result) bool { return !r.member.Poisoned }
func working(r *result) bool {
	return r.member.Poisoned && (r.member.Works == nil || *r.member.Works)
}
func quiet(r *result) bool     { return !r.member.Poisoned && !r.member.Visible }
func rejected(r *result) bool  { return r.outcome == record.Reject }
func stopped(r *result) bool   { return r.outcome != record.Approve }
func byFinding(r *result) bool { return r.decidedAt >= 0 }
func notAsMade(r *result) bool { return !r.asMade() }
