// Package bundle makes and opens Sigstore bundles (media type v0.3) that hold a
// DSSE envelope with an in-toto statement, signed by a key or a certificate.
// It is the one signing format of weighbridge: OMS model signatures, SBOM and
// provenance claims and verdicts are all such bundles.
//
// In: a [Statement] and a [Signer], or the bytes of a bundle. Out: a bundle's
// bytes, or a [Bundle] whose payload is exactly what was signed. Verification
// is on the standard library: ECDSA P-256/SHA-256, P-384/SHA-384 and
// P-521/SHA-512 over the DSSE pre-authentication encoding
// (https://github.com/secure-systems-lab/dsse/blob/master/protocol.md).
//
// The payload is verified as the bytes it came in and never serialised again.
// The package will not decide whether a signer is trusted (package trust), nor
// verify keyless signatures (package signing/keyless), nor read a folder.
package bundle
