// Package calibrate measures harmless variants of a baseline and makes the
// calibration file of it.
//
// In: the configuration of a run without its candidate, the user's harmless
// models and adapters, and how many variants to make ([Config]). Out: a
// [calibration.File].
//
// Every variant goes through [harness.Diff] as a candidate would, its questions
// asked even where the weights settle them. Answers are remembered in the store,
// so that the same call after a crash makes the same variants and asks only what
// was not answered; a variant's file is removed when it was measured.
//
// It will not decide that a model is harmless: one given as such against which
// something is proven ends the work with [ErrHarmful], unless it is accepted by
// name.
package calibrate
