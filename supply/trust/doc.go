// Package trust reads trust.yaml, the operator's statement of who may sign what,
// until when, and what is revoked, and judges bundles by it.
//
// In: a trust file and the PEM files it names; a [bundle.Bundle] with the
// question that is asked of it. Out: the [Signer] who holds for it and the time
// it was judged at, or the [record.Problem]s that say why nobody does.
//
// # The file
//
//	version: 1
//	signers:
//	  - name: release-team                # unique; it goes into reports
//	    key: keys/release.pub             # PEM, relative to this file
//	    may: [model, sbom, provenance]    # model, dataset, sbom, provenance, verdict
//	    models: ["support-*", "risk/**"]  # default: every model
//	    environments: [staging, prod]     # default: every environment
//	    valid: {from: 2026-01-01, until: 2026-12-31}
//	    person: alice@example.com         # whose hand it is, for approvals
//	  - name: vendor
//	    certificate:                      # a chain to private roots
//	      roots: [keys/vendor-ca.pem]
//	      subject: CN=models,O=Vendor     # at least one of subject, email, dns, uri
//	    may: [model]
//	  - name: ci
//	    keyless:                          # Sigstore, offline
//	      identity: https://github.com/o/r/.github/workflows/w.yml@refs/heads/main
//	      issuer: https://token.actions.githubusercontent.com
//	      trusted_root: keys/trusted_root.json
//	    may: [provenance]
//	  - name: gate
//	    key: keys/gate.pub
//	    may: [verdict]
//	    verifier: https://example.com/gate  # verifier.id that goes with the key
//	revocations:
//	  - key: 0a1b…                        # as bundles name it: SHA-256 of the PEM file
//	    from: 2026-05-01
//	    reason: laptop lost
//	  - signer: vendor
//	    from: 2026-06-01
//	    reason: contract ended
//	  - model: 4c5d…                      # OMS root in either order, or weighbridge identity
//	    from: 2026-07-01
//	    reason: backdoor found
//	environments:
//	  prod: {max_verdict_age: 720h, policies: ["sha256:6e7f…"]}
//	ledger:
//	  origin: example.com/weighbridge
//	  public_key: example.com/weighbridge+1234abcd+AbC…   # note verifier string
//	  witness_policy: keys/witnesses.policy               # C2SP tlog-policy
//	timestamping:
//	  roots: [keys/tsa.pem]
//
// Unknown fields, fields given twice, YAML anchors and everything that would
// make a rule void are errors with file and line: a trust file that is
// misunderstood must not be used at all.
//
// # Patterns
//
// A model pattern is matched against the name the caller gives, segment by
// segment between slashes as by [path.Match]; a segment ** stands for any number
// of segments, none included. Environments are compared exactly. A signer that
// is limited to models or environments does not hold where the caller names
// none.
//
// # Time
//
// Dates are UTC; a date alone means its first moment, as the end of a validity
// its last. A signature is judged at its trusted time: an RFC 3161 time under
// the timestamping roots, the time a keyless bundle proves, or the ledger's
// intake time, in this order; else now. What a certificate says about its own
// beginning is never taken for the time.
//
// A revocation of a key or a signer from a date on leaves what was provably
// signed before it; a signature without a trusted time counts as made now. A
// revocation of a model counts from its date on, whenever it was signed.
//
// # Not here
//
// The package reads no model, decides nothing about states of evidence, and
// keeps no memory between judgements.
package trust
