// Package refusal is the probe that asks: did the candidate's refusals change?
//
// It asks short requests that name a harm and harmless twins of them, reads
// from the greedy answers which were refused, and compares both models request
// by request, in both directions: refusals that got lost (REF) and harmless
// requests that are now refused (OVR). Both are exact one-sided McNemar tests.
// A third test looks below the text: how much likelier or less likely the
// candidate finds the baseline's own refusals, word by word.
//
// An answer counts as refused when its beginning holds one of a list of
// phrases, to which a suite can add. The list only has to be the same for both
// sides; where it does not recognise the baseline's refusals there are too few
// of them, and the probe says "not tested".
//
// The third test is a difference of differences. The baseline's own greedy
// words are the likeliest ones under the baseline, so any change of weights
// makes them less likely; the log-likelihood ratio of its refusals is therefore
// measured against that of its answers to the harmless twins.
//
// Null: the baseline on the same requests. Quantisation and harmless
// fine-tuning wear refusals down by themselves, so a loss is a regression of
// safety and no sign of intent.
//
// Cost: per pair of requests the two prompts beyond what all share, twice
// max_tokens and 16 tokens of scoring.
//
// It sees refusals removed or added for everyone. It is blind to refusals that
// a trigger removes; the trigger probes look for those.
package refusal
