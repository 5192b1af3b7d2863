// Package metadata is the probe of everything in a model file that is not a
// weight: keys, vocabulary, tokenizer and chat template.
//
// In: the metadata of both files, and both models in their boxes for encoding,
// decoding and rendering. Out: findings without p-values, since what differs
// here differs exactly. No token is decoded.
//
// A chat template is a program of whoever made the weights. It is rendered in
// the box only; this package reads its text with a lexer of its own, bounded in
// size and without recursion, to learn which words and numbers its conditions
// mention. It renders an atlas of conversations with both templates, hides the
// contents (fresh nonces), and compares what is left. A difference that
// conversations of the same structure do not share is a hidden condition.
//
// It will not judge a template that has no counterpart in the baseline, and
// not claim that two templates are equivalent: branches that no rendering
// reached are named.
package metadata
