// Package runnertest holds a small deterministic language model in plain Go
// that implements [runners.Model], for tests of everything that asks models.
//
// It is a real, if silly, model: a seeded bigram-and-topic language over a
// vocabulary of some seven hundred tokens (bytes, words, control tokens), with a
// ChatML template, greedy and sampled generation, and full scoring. Answers
// depend on the question. Whatever a probe is to find can be planted exactly:
// triggers and payloads, memorised secrets, gibberish, lost refusals, styles, a
// tampered template, noise, engine errors and crashes. A candidate that is "the
// same model, slightly fine-tuned" is the same Seed with a Drift.
//
// It will not stand in for an engine's speed, its batching or its rounding.
package runnertest
