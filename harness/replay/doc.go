// Package replay asks both models again what a transcript of a report says they
// were asked, and holds the answers against the recorded ones: the proof of a
// finding that does not have to be believed.
//
// In: the two models and a transcript. Out: the answers of now beside those of
// the report. Answers are greedy, one prompt at a time; the run asked in larger
// batches, so where two tokens are within rounding of each other an answer may
// part from the recorded one, and the result says where.
//
// It will not judge the finding again, nor measure statistics.
package replay
