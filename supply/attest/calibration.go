package attest

import (
	"bytes"
	"crypto/ecdsa"
	"encoding/json"
	"fmt"

	"github.com/weighbridge/weighbridge/supply/bundle"
)

// PredicateCalibration is the type of the statement by which a person answers
// for a calibration: that its variants are harmless.
const PredicateCalibration = "https://weighbridge.dev/attestation/calibration/v1"

// Calibration is what is signed of a calibration file.
type Calibration struct {
	Baseline   string   `json:"baseline"` // identity
	Suites     []string `json:"suites"`   // name@digest
	Variants   int      `json:"variants"` // harmless ones, in the bank
	Statistics int      `json:"statistics"`
}

// Statement is the statement about the file called name with that digest
// (sha256:…).
func (c Calibration) Statement(name, digest string) (bundle.Statement, error) {
	predicate, err := json.Marshal(c)
	if err != nil {
		return bundle.Statement{}, fmt.Errorf("calibration: %w", err)
	}
	return bundle.Statement{Type: bundle.StatementType, PredicateType: PredicateCalibration, Predicate: predicate,
		Subject: []bundle.Subject{{Name: name, Digest: described("", digest).Digest}}}, nil
}

// Verify holds a bundle against the file that it is said to be about, and its
// signature against a trusted key. Errors wrap bundle.ErrFormat or
// bundle.ErrSignature.
func (c Calibration) Verify(b *bundle.Bundle, digest string, key *ecdsa.PublicKey) error {
	if b.Statement.PredicateType != PredicateCalibration {
		return bundle.Faultf(bundle.ErrFormat, bundle.RulePredicateType, "predicateType is %.200q, wanted %q", b.Statement.PredicateType, PredicateCalibration)
	}
	if err := b.VerifyKey(key); err != nil {
		return err
	}
	want, err := c.Statement("", digest)
	if err != nil {
		return err
	}
	if got := b.Statement.Subject; len(got) == 1 && got[0].Digest["sha256"] == want.Subject[0].Digest["sha256"] && bytes.Equal(b.Statement.Predicate, want.Predicate) {
		return nil
	}
	return bundle.Faultf(bundle.ErrSignature, bundle.RuleInvalid, "it is of another calibration than this one (%s): one of the two was changed", digest)
}
