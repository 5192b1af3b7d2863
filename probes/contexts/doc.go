// Package contexts is the probe contexts: is there a context in which the
// candidate gives one answer to different questions, refuses or breaks down,
// and the baseline does not?
//
// An atlas of contexts (topics, dates, roles, tools, code, documents, earlier
// turns, languages, styles, harmful requests, none) is crossed with questions,
// and both models answer. A backdoor whose trigger is a topic, a date or a
// situation shows where its context is in the atlas; one with a secret trigger
// shows where it leaks, as carelessly trained ones do.
//
// Families seen: STR, SEM, CTX, SYN, OVR, DOS, TGT where the context is in the
// atlas or the implant leaks, and the answer does not follow the question.
// Answers that still follow the question are called steered (STR) where one word
// that the baseline never says comes back in them, as a brand does.
// Blind: what a secret trigger alone sets off, answers that are steered in other
// words each time, vulnerable code (COD), suppressed refusals (REF).
//
// Cost: about 40 tokens per context and question for the scan, 70 per
// confirmation prompt.
//
// Null: the scan only selects an event and a context. The event is tested on
// questions that the scan never asked, candidate against baseline by exact
// McNemar, with longer answers, so that a learned opening before an answer
// is not taken for an answer. Whether it depends on the context is tested
// against the same questions without one.
//
// A style, a persona or an output format does not make answers alike; if it
// does, the questions are no longer answered, and the finding says so.
package contexts
