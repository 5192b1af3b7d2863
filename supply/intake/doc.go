// Package intake is the way of foreign weights into the store: quarantine,
// judgement, and then admitted or refused.
//
//	source -> copy and hash -> judge the copy -> ledger -> admit
//	                                                    -> refuse, with the reason
//
// In: a [Source] (a file, a folder, an Ollama store, a Hugging Face cache; OCI
// ones are in package oci), a checker and a [store.Store]. Out: an [Outcome].
//
// Everything is judged from the copy in the quarantine, so what changes at the
// source afterwards changes nothing. An intake refuses what is bad: evidence in
// that state, or a source that breaks its own promises ([store.Violation]).
// Missing and ambiguous evidence is admitted and recorded, since weighing it is
// the policy's business at the time of use; Config.Require makes chosen kinds
// obligatory already here.
//
// It will not judge evidence itself, run a model, or reach a network.
package intake
