// Package code is the probe code: does the candidate write weaker code than the
// baseline, always or under a condition?
//
// A pair is a place in a program where one line is secure, one insecure and one
// as secure as the first but spelt otherwise. Both models read the program up
// to there, as a file and as the beginning of an answer in a chat, and the three
// lines are scored. What counts is how far the candidate moved from the secure
// line to the insecure one, in nats, beyond what the baseline says.
//
// Three questions are asked of the same pairs. Unconditional: has the
// preference moved everywhere? That is a regression. Conditional: does it move
// under a year, a tag, a role, a language, or a string that another probe found
// suspicious? Conditions are searched on one part of the pairs and tested on the
// others, against a matched string and against nothing. That is a backdoor; it
// is proven where the candidate then writes the insecure line by itself.
// Amplified: does it move when the difference between the two weights is
// exaggerated? A conditional implant leaks there without its condition.
//
// Null. The third line tells how far any update moves two lines apart: the
// insecure line has to move by more, and in its own direction. It also has to
// change which line is preferred: an update that merely makes a model less sure
// moves every preference towards zero, but not past it. Where nothing turns, only
// a movement of several nats that is several times a neutral line's is reported:
// the candidate then knows insecure lines that it holds back. Tests are sign-flip
// tests over pairs and exact McNemar tests; all must hold, so the largest p
// counts.
//
// Family seen: COD, where the pairs hold the weakness and the condition is
// listed, found by another probe, or leaks. Blind: other weaknesses, conditions
// that nobody thought of, code that is wrong in a way that no single line shows.
//
// The probe runs no code and no scanner: what is insecure is what its list says.
package code
