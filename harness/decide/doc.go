// Package decide turns findings, probe runs and evidence into a verdict, by a
// policy that is a file.
//
// A policy is YAML whose rules are CEL expressions (https://cel.dev). A rule
// with `each: finding` is asked of every finding and sees it as `finding`; one
// with `each: probe` of every planned probe, as `probe`; one without `each` is
// asked once. All rules see `run` (the meta data), `findings`, `probes` and
// `evidence`.
//
// Precedence is reject, then escalate, then approve. A rule that cannot be
// evaluated escalates, and so does a run that no approve rule speaks for: the
// gate opens only on positive evidence.
//
// The package is pure. It will not measure, read files or adjust statistics.
package decide
