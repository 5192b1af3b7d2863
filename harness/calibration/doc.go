// Package calibration holds what harmless variants of one baseline measured,
// and holds a run against it.
//
// In: the records of runs whose candidates are known to be harmless ([Fit]), or
// a file made of them ([Parse]) and one run ([File.Apply]). Out: the file
// ([File.Encode]), or the run with bank p-values and the tiers that follow.
//
// A statistic is what a probe measured under a stable name: probe, rule,
// statistic, the direction that speaks against a candidate, and the subject
// where every variant reports the same ones (the tasks of a benchmark). Of
// several findings of one statistic the worst counts. A variant on which a probe
// ran and had nothing to report lies below every value.
//
// The bank p of a value is (1 + variants that reach it) ÷ (1 + variants). It is
// the chance to see such a rank if the candidate were one more draw from the
// variants' own population, and no more than that: how harmless models are
// spread is decided by who chose the variants.
//
// Everything here is a pure function. It will not make variants, run models,
// check signatures, or take back anything proven.
package calibration
