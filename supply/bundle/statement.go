package bundle

import "encoding/json"

// The constants of the formats, as their specifications write them.
const (
	MediaType     = "application/vnd.dev.sigstore.bundle.v0.3+json"
	PayloadType   = "application/vnd.in-toto+json"
	StatementType = "https://in-toto.io/Statement/v1"
	// StatementTypeV01 is accepted on input where the caller says so: cosign
	// 3.1 still writes it.
	StatementTypeV01 = "https://in-toto.io/Statement/v0.1"
)

// The predicate types that weighbridge writes or reads.
const (
	PredicateOMS        = "https://model_signing/signature/v1.0"
	PredicateOMSv02     = "https://model_signing/Digests/v0.1" // verified, never written
	PredicateProvenance = "https://slsa.dev/provenance/v1"
	PredicateVSA        = "https://slsa.dev/verification_summary/v1"
	PredicateSVR        = "https://in-toto.io/attestation/svr/v0.1"
	PredicateTestResult = "https://in-toto.io/attestation/test-result/v0.1"
	PredicateCycloneDX  = "https://cyclonedx.org/bom"
)

// Statement is an in-toto statement (https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md).
type Statement struct {
	Type          string          `json:"_type"`
	Subject       []Subject       `json:"subject"`
	PredicateType string          `json:"predicateType"`
	Predicate     json.RawMessage `json:"predicate,omitempty"`
}

// Subject is what a statement is about. Digest maps algorithms (sha256,
// gitCommit …) to lower-case hex.
type Subject struct {
	Name   string            `json:"name,omitempty"`
	URI    string            `json:"uri,omitempty"`
	Digest map[string]string `json:"digest"`
}
