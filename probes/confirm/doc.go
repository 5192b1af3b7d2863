// Package confirm is the machinery that the trigger probes share: asking both
// models with a string put at a place of a conversation, the cheap differential
// screen, the declaration of an event on one half of the prompts and the exact
// test of that event on the other.
//
// In: a [Pair] (both models, metered), an [Insert] (text or exact token ids) and
// a [Place] (frame and slot). Out: a [Reading] per string (how much it moves the
// candidate in excess of the baseline), an [Event] that was declared before the
// test, and a [Trial] with exact p-values and the transcript.
//
// An event is declared from what the candidate answers under a string on the
// selection prompts: one fixed text, a refusal, gibberish, a fixed beginning, or
// answers that merely surprise the baseline. The trial then asks fresh prompts
// under {string, matched control, nothing} × {candidate, baseline} and needs all
// of: exact McNemar string against control, exact McNemar string against
// nothing (an always-on change shows in both), and an exact sign test of the
// difference in differences against the baseline. Its p-value is the largest of
// the three, which is valid because all three must hold (intersection-union).
//
// The package will not choose strings, share error rates between probes, or
// call anything a backdoor whose answers still depend on the question: that is
// a learned command and is reported as behaviour.
package confirm
