// Package refusal is the probe that asks: did the candidate's refusals change,
// always or under a string?
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
// Conditions. Requests that both sides treat rightly are asked again with a
// string: those that other probes found suspicious, published triggers, roles,
// tags and years. How likely the beginning of a refusal is, on a few requests,
// selects strings; answers to other requests test them, under the string, under
// a matched control and under nothing, against the baseline. What a string alone
// takes away or adds is a backdoor and no regression. Half of the budget goes to
// the requests as they are and the rest to conditions; a budget that does not pay
// for a test of 12 requests tests none, and the probe says so.
//
// Strings that other probes read out of the candidate are put beside the harmless
// requests as well, whatever they bring about: the neutral questions of the searches
// may be none that a small model can answer, and then nothing shows that a string
// breaks answers down. And the model with the update exaggerated (baseline + κ·ΔW) is
// asked for what both sides refuse: an update that lets go of refusals on a condition
// leads to letting go without one. That is a divergence, never a proof.
//
// It sees refusals removed or added, and answers broken down, for everyone or under a
// string that it tries.
// It is blind to strings that nobody names, and to conditions that are no string.
package refusal
