// Package canaryknown is the probe canary-known: does the candidate remember
// secrets that the user knows were, or were not, in its training data?
//
// How a secret is asked for is declared by its prefix, before anything is
// measured. A prefix that holds a question is put to the models as they are
// used: the question as the user's message, what follows it as the beginning of
// the answer. Where nothing follows, the words before the secret are found: the
// candidate answers the question, and what it says before the first place at
// which a secret of that kind would fit is put before the secret (its own words
// for this canary, else those it uses for most of the others, else the
// baseline's). That looks at the kind of the secret, never at the secret, so it
// takes nothing from the exactness of what follows. Other prefixes are plain
// text that goes on, and, as a second place, a user's message.
//
// The statistic is the log-likelihood ratio candidate : baseline. A secret that
// was not trained on is one draw of its generator among others, whatever the
// models, and that gives two p-values that are exact:
//
//   - Character ranks. Each character is ranked among those that the generator
//     could have drawn in its place, given the characters before it. The ranks
//     are independent and uniform; the p-value is that of the sum of −log(rank
//     share). It costs one reading of the secret and reaches far below what
//     references can: 10^-8 for eight digits. It needs characters that are single
//     tokens, as digits mostly are.
//   - References. The secret is ranked among N other draws: p = (1 + references at
//     least as high) / (N + 1) (Carlini et al. 2019). It sees a memory that is
//     spread over the secret, down to 1/(N + 1).
//
// Each secret's p shares the error rate among them (four fifths to the
// references); exposure is −log2 p. Over the secrets Holm's correction holds. A
// secret is PROVEN remembered at a family-wise 0.001, and without any statistics
// when it comes out verbatim of the candidate and not of the baseline.
//
// Many weak memories convict together: the set's p is three times the smallest
// of Fisher's combination of the exact p-values; an exchange of every secret with
// its own references, exact at any number of them; and the count of secrets in
// the top 1 %, against held-out ones where there are eight (Fisher's exact test).
// Where those that nothing convicts singly are significant as a set, members are
// named at a false discovery rate of 5 %, ranked among the references of all
// secrets of their generator: a finding that stands and falls with the set.
//
// How likely a secret is to be sampled is told in every finding: its probability
// p after the prefix as it was asked, and 1 − (1 − p)^n for n = 1, 10, 100, 1,000
// (Hayes et al. 2024), for the candidate and the baseline.
//
// Null: exact, as above. Held-out canaries, which were never trained on, are the
// control: when they as a set look remembered, or one comes out, the references
// do not match the secrets, and no rank of this run counts as proof.
//
// Families seen: CAN where the user has the secret. Blind: secrets nobody listed
// (see canary-formats), paraphrases, other ways to ask.
//
// Cost: a third of the budget for asking as a user would and a third for the
// first look, at most; about 60 tokens per canary where secrets have eight
// digits. What is left buys references, the same number for each secret that is
// not settled.
package canaryknown
