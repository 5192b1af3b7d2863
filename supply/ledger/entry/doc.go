// Package entry is what one line of the ledger says, and in which bytes.
//
// In: the fields of an Entry. Out: canonical JSON (RFC 8785), at most MaxBytes
// long, that only one Entry has; and back. The table Rules says what each type
// has to carry; docs/ledger.md prints it and a test compares the two.
//
// An entry holds digests and names. There is no field for a prompt, a trigger,
// a payload or a secret, and the one field for free text, Reason, is free only
// where a person decides. What a program writes there is a list of rule codes.
//
// The package will not read a clock, a file or the ledger, and does not judge
// signatures (package approval does).
package entry
