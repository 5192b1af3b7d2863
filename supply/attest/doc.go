// Package attest turns a report's verdict into statements that others verify,
// and verifies such statements before a deployment.
//
// In: the run of a report, the model folder's manifest, and who decided where.
// Out: in-toto statements about the model: a test result always
// (https://in-toto.io/attestation/test-result/v0.1); a SLSA verification
// summary (VSA, https://slsa.dev/verification_summary/v1) for approve and
// reject; a simple verification result (SVR,
// https://in-toto.io/attestation/svr/v0.1) for approve. An escalation is no
// decision, so it has neither of the last two.
//
// Every statement is about the model's OMS root and its weighbridge identity,
// which binds names too, and names model and environment in resourceUri, so
// that a verdict for staging opens nothing in production.
//
// [Require] is what a deploy step asks: is there a verdict, by somebody who may,
// for this model, here, that is young enough and decided by a policy that counts?
//
// The package will not decide, sign, read folders or the ledger.
package attest
