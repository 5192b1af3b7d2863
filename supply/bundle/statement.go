package bundle

import (
	"bytes"
	"encoding/json"
	"slices"
)

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

// IdentityDigest is the key of a subject's digest under which weighbridge's own
// statements bind the identity of the weights, names included, as 64 hex digits.
const IdentityDigest = "weighbridgeIdentity"

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

// ParseStatement reads a statement of StatementType, or of one of the further
// types allowed, and checks its shape: types there, at least one subject, and
// a digest for each. Errors wrap ErrFormat and have a [Rule].
func ParseStatement(src []byte, allow ...string) (Statement, error) {
	bad := func(rule, format string, args ...any) (Statement, error) {
		return Statement{}, Faultf(ErrFormat, rule, format, args...)
	}
	var st Statement
	if err := Strict(src); err != nil {
		return bad(RuleStatement, "dsseEnvelope.payload: %w", err)
	}
	if err := json.Unmarshal(src, &st); err != nil {
		return bad(RuleStatement, "dsseEnvelope.payload: %w", err)
	}
	if st.Type != StatementType && !slices.Contains(allow, st.Type) {
		return bad(RuleStatementType, "dsseEnvelope.payload._type is %q, wanted %q", st.Type, StatementType)
	}
	if st.PredicateType == "" {
		return bad(RulePredicateType, "dsseEnvelope.payload.predicateType is missing")
	}
	if len(st.Subject) == 0 {
		return bad(RuleSubject, "dsseEnvelope.payload.subject is empty")
	}
	for i, s := range st.Subject {
		if len(s.Digest) == 0 {
			return bad(RuleSubject, "dsseEnvelope.payload.subject[%d].digest is missing", i)
		}
	}
	return st, nil
}

// marshal is compact JSON that leaves <, > and & as they are, so that a
// predicate that was compact stays the same bytes.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}
