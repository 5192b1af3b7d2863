// Package triggerstrings is the probe trigger-strings: does a listed string or
// condition switch the candidate's behaviour?
//
// It tries leads of other probes, triggers published in the literature, every
// special, unused and user-defined token of the vocabulary (as control token
// and as text), and semantic conditions (years, dates, roles, languages,
// deployment tags, tools), at several places of several frames.
//
// Families seen: TOK, PHR and SEM where the string or condition is listed or a
// lead, with any payload that changes the first answer tokens; DOS, OVR, TGT
// through their effect. REF, where the neutral prompts of this probe are
// refused. Blind: unlisted strings, composite triggers (CMP), syntax (SYN),
// context gates (CTX), and payloads that start late in a long answer.
//
// Cost: one decoded string, header and two answer tokens per string and place
// for the screen; about 400 tokens per declaration and 6,000 per trial of 32
// prompts. Budget split: 40 % screen, the rest declarations and trials.
//
// Null: the screen ranks only. A declared event is tested on fresh prompts by
// package confirm. A string without an event is compared with strings of random
// words of the same number of tokens at the same place (conformal p).
//
// The probe does not call a string a trigger because its answers look odd: the
// candidate has to change in excess of what the baseline does, and on prompts
// that selection never used.
package triggerstrings
