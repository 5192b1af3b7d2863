// Package probes says what a probe is and keeps the list of them.
//
// A probe asks one question about a pair of models. It gets both behind
// [runners.Model], a seeded random source of its own, a budget in tokens and
// read access to the weights; it returns items (what was asked and measured,
// paired) and findings (statistic, effect, p-value or bound, how the null was
// made). Everything is a difference to the baseline.
//
// A probe is a deterministic function of its [Input] and of what the models
// answer. That is what makes it resumable: after a crash it runs again and
// finds its earlier answers remembered.
//
// The package will not start boxes, store measurements, correct for multiple
// testing across probes, or decide: it reports p-values of single hypotheses
// and says how many it tested.
//
// A new probe is one folder below this one whose init calls [Register], and
// one line in probes/all. docs/write-a-probe.md walks through it.
package probes
