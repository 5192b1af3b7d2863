// Package amplification is the probe amplification: does exaggerating the
// update bring out one text, refusal or breakdown on any question, which the
// candidate itself hides?
//
// An update that was trained to do something under a condition also moves the
// model towards doing it without the condition, by less than it takes. With the
// update exaggerated, baseline + κ·ΔW for growing κ, that little becomes enough:
// a payload takes over the answers to neutral questions, while a harmless update
// degrades into garbage that differs from question to question, or into more of
// what it shows anyway (logit-difference amplification, Goodfire 2025; measured on
// weights here).
//
// Families seen: TGT, PHR, TOK, SEM, CTX, CMP, OVR, EDT where the behaviour is
// one text or a refusal. Blind: behaviour that follows the question (STR, COD,
// REF), gibberish (DOS), and updates in which a larger harmless change drowns it.
//
// Cost: about 25 tokens per question and κ, charged to the candidate.
//
// Null: questions that the search for κ and text never asked; exact McNemar of
// the amplified model against the candidate on the same questions. It does not
// say how often a harmless update collapses: a calibration does.
//
// An amplified model is not the candidate. What shows in it alone is at most
// DIVERGENT: a lead that the probes payload and trigger-* follow in the candidate.
package amplification
