// Package plan works out what a run will do: which probes, in which order, with
// which parameters, budgets and seeds, put to which pair.
//
// It is pure: the same inputs give the same plan, and the plan's digest names
// the run. It will not look at weights, start boxes, or ask anything.
package plan
