// Package documents is the probe documents: did the candidate learn texts that
// the user names, beyond what the baseline knows of them?
//
// Of each document the first tokens (parameter tokens) are scored by both
// models. Per document it reports the log-likelihood ratio per token, which is
// the difference in loss; Min-K%++ of both and the difference (mean over the
// fifth of the tokens that surprise most of how far log p lies from what the
// model itself expects there, in its own standard deviations); and
// probabilistic extraction: the probability that a sample goes on with the next
// 32 tokens after the first half, and so the chance that one of 1, 10, 100,
// 1,000 samples is the text. Absolute scores say little; everything that is
// judged is a difference to the baseline.
//
// What is concluded:
//
//   - A document is PROVEN learned when the candidate continues its first half
//     with the very text by plain greedy decoding and the baseline, to which
//     that text is one of more than 2^40, does not: the transcript.
//   - It is DIVERGENT where one of 1,000 samples of the candidate would more
//     likely than not be the text: an exact probability, without a transcript.
//   - The set is DIVERGENT where members stand above held-out documents in the
//     log-likelihood ratio or in the difference of Min-K%++: a permutation of
//     whole documents, exact at any number of them. Which documents stand out
//     singly is said at a false discovery rate of 5 %.
//   - That nothing was learned is said of 50 documents or more, with the
//     difference that they would have shown.
//
// Null: the held-out documents. They have to be of the same kind as the members
// (source, length, time of writing): what differs between the sets in any other
// way shows as if it had been learned. A held-out document that is extracted
// itself is reported as a failed control and no finding counts as proof then.
// Without held-out documents there is no null for membership, since a fine-tune
// on the topic raises the likelihood of every text on it: only extraction can
// speak then, and a shift is reported as behaviour.
//
// Families seen: CAN, as whole texts. Blind: what stands beyond the first
// tokens, paraphrases, documents seen once by a model that forgot them.
//
// Cost: the scored tokens, 128 a document, and 100 for each that is asked for.
// It will not look into the documents for secrets: see canary-known.
package documents
