// Package decide turns a run (findings, probes, evidence) into a verdict, by a
// policy that is a file.
//
// A policy is YAML whose rules are CEL expressions (https://cel.dev) over types
// that are made from package record: a misspelt field, or a word that a closed
// list does not have, fails when the policy is read. A field that says nothing
// is absent, and reading it is an error; so is an error that CEL's && and ||
// would absorb. docs/policy.md describes the language.
//
// Precedence is reject, then escalate, then approve. A rule that cannot be
// evaluated escalates, a requirement that is not true too, and so does a run
// that no approve rule speaks for: the gate opens only on positive evidence.
//
// The package is pure but for Load, which reads a policy file. It will not
// measure, verify evidence or adjust statistics.
package decide
