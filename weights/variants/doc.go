// Package variants makes harmless variants of a baseline: what its weights may
// look like after an honest hand went over them.
//
// In: an opened baseline, models and adapters that the user says are harmless,
// a number and a seed. Out: a list of [Variant], each of which writes one file
// into a folder when it is made: requantised and pruned copies, noise on every
// tensor, low-rank updates in random directions with the singular values of the
// user's adapters, and those adapters and models scaled and merged.
//
// Everything is a function of the arguments: equal ones give equal bytes.
// Weights are streamed; at most a run of rows and the factors of one tensor are
// held.
//
// It does not train anything, so that none of its own variants has learned a
// text, a style or a format; only what the user gives has. It runs nothing and
// does not judge whether a variant is in fact harmless.
package variants
