// Package triggervocabulary is the probe trigger-vocabulary: does any single
// token of the vocabulary switch the candidate's behaviour?
//
// Successive halving. Stage 1 puts every token (or as many as the budget
// allows: leads first, at least a fifth at random) at the end of one short
// question and reads the first answer position of both models. Stage 2 reads the
// best 3 % on three other questions at two places. The best of those are asked
// for answers, and events are declared and tested by package confirm on fresh
// questions. Tokens whose text does not give the token back cannot be typed and
// are left out; control tokens belong to the probe trigger-strings.
//
// Families seen: TOK; the first token of a PHR whose parts fire by themselves.
// Blind: triggers of several tokens that need all of them (CMP, most PHR), SEM,
// SYN, CTX, and payloads that start late in the answer.
//
// Cost: 1 + the template's closing tokens (about 6) per token in stage 1; the
// question is decoded once.
//
// Null: the other tokens. Every token is scored in units of the spread over
// tokens that are about as unexpected to the baseline at that place (decile of
// surprisal), so that rare tokens are compared with rare ones. Confirmation is
// exact and on fresh questions.
package triggervocabulary
