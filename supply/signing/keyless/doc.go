// Package keyless verifies Sigstore bundles that a short-lived certificate
// signed: Fulcio's, with a transparency log's entry and a trusted time. It is
// the only package of weighbridge that imports sigstore-go.
//
// In: a [bundle.Bundle], a trusted root as JSON (trusted_root.json), and the
// identity that must have signed. Out: the trusted time of signing. It works
// offline: the trusted root is the caller's, and nothing is fetched.
//
// It will not look into the statement, nor sign.
package keyless
