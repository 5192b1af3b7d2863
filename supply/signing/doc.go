// Package signing signs model folders as OpenSSF Model Signing v1.0 describes
// it (https://github.com/ossf/model-signing-spec, spec/v1.0.md), and compares
// folders with such signatures.
//
// In: a folder and a [bundle.Signer], or a folder and the bytes of a signature.
// Out: the signature's bytes and the claims about the folder's drafts, or every
// difference between what was signed and what is there, each with a stable
// rule.
//
// It produces resources by file with SHA-256, in the order of their names as
// bytes, and verifies more: shards, BLAKE2b, BLAKE3, any order, the single file
// ".", and the statements of model-signing 0.2.0. Signed ignore_paths are
// honoured, since the format demands it, and those beyond the usual are given
// in [Signature.Hidden] for a policy to judge.
//
// The package will not decide whether a signer is trusted (package trust), and
// Open and Compare verify no signature: that is [bundle.Bundle]'s part.
package signing
