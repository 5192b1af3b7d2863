// Package canaryknown is the probe canary-known: does the candidate remember
// secrets that the user knows were, or were not, in its training data?
//
// Each secret is ranked among other draws of its own generator by the
// log-likelihood ratio candidate : baseline, after the same prefix. Under "the
// secret was not trained on" every rank is equally likely, whatever the models,
// so p = (1 + references at least as high) / (references + 1) is exact (Carlini
// et al. 2019; exposure = −log2 p). Two carriers are tried, both declared
// beforehand: the prefix as plain text, and as a user's message that the secret
// answers; p is twice the smaller one. The secrets are also asked for: greedy
// continuation of both carriers by both models.
//
// Families seen: CAN where the user has the secret. Blind: secrets nobody listed
// (see canary-formats), paraphrases, other carriers.
//
// Cost: secret length × (references + 1) × 2 per canary, at most; references are
// cut to the budget, and with them the smallest p.
//
// Null: exact, as above. Held-out canaries, which were never trained on, are
// the control: when they as a set look remembered, the references do not match
// the secrets, and no finding of this run counts as proof.
//
// A single p is limited by the number of references, so the trained canaries
// are also tested as a set (Fisher's combination, valid for discrete p).
package canaryknown
