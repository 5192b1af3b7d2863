// Package supply is stage "admit" of the pipeline: it turns what lies around
// weights (signature, SBOM, provenance, ledger, revocations) into evidence that
// a policy can weigh.
//
// The packages below it each know one kind of document:
//
//	manifest    what files a model is made of, their digests, its roots
//	bundle      DSSE envelopes in Sigstore bundles: keys, certificates, statements
//	signing     OpenSSF Model Signing (OMS) v1.0 over a manifest
//	trust       who may sign what, until when, and what is revoked
//	formats     which files of a folder could execute code
//	sbom        CycloneDX ML-BOMs tied to a manifest
//	provenance  SLSA provenance, lineage, rebuild checks
//	ledger      the transparency log of everything the gate did
//	attest      signed verdicts: test-result, VSA, SVR
//	store       content-addressed storage, quarantine and admitted apart
//	intake      the way of foreign weights into the store
//	oci         models and their evidence in OCI registries and layouts
//
// # Evidence files
//
// Evidence lies beside the weights, at the top of the model's folder, and is
// not part of the model: model.sig (OMS), claims.jsonl (one Sigstore bundle a
// line), bom.json and provenance.json (drafts, trusted only when signed). See
// manifest.EvidenceFiles.
package supply
