package keyless

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"time"

	sgbundle "github.com/sigstore/sigstore-go/pkg/bundle"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/verify"

	"github.com/weighbridge/weighbridge/supply/bundle"
)

// ErrTrust is a trusted root or an identity that cannot be verified against.
var ErrTrust = errors.New("unusable trust for keyless signatures")

// RuleKeyless is the rule of errors, besides those of package bundle.
const RuleKeyless = "signature-keyless"

// Identity is who must have signed. Issuer and one of Subject and
// SubjectRegexp are required.
type Identity struct {
	Subject string // e-mail address or URI in the certificate, exact
	// SubjectRegexp (RE2) has to match the whole subject.
	SubjectRegexp string
	Issuer        string // of the identity token, exact
}

func (id Identity) policy() (verify.PolicyOption, error) {
	switch {
	case id.Issuer == "":
		return nil, fmt.Errorf("%w: the issuer is missing", ErrTrust)
	case (id.Subject == "") == (id.SubjectRegexp == ""):
		return nil, fmt.Errorf("%w: exactly one of subject and subject pattern is wanted", ErrTrust)
	}
	pattern := ""
	if id.SubjectRegexp != "" {
		pattern = "^(?:" + id.SubjectRegexp + ")$"
		if _, err := regexp.Compile(pattern); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrTrust, err)
		}
	}
	want, err := verify.NewShortCertificateIdentity(id.Issuer, "", id.Subject, pattern)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrTrust, err)
	}
	return verify.WithCertificateIdentity(want), nil
}

// Verify checks a keyless bundle: the certificate's chain and its entry in a
// certificate log, the statement's entry in a transparency log, a trusted time
// within the certificate's validity, the signature, and the identity. It gives
// the earliest trusted time. Only a trusted root that names no certificate log,
// that of a private Sigstore without one, dispenses with the entry there.
//
// Errors wrap ErrTrust where the caller's side is unusable; all others wrap
// bundle.ErrSignature or bundle.ErrFormat and have a bundle.Rule.
func Verify(b *bundle.Bundle, trustedRootJSON []byte, id Identity) (time.Time, error) {
	policy, err := id.policy()
	if err != nil {
		return time.Time{}, err
	}
	trusted, err := root.NewTrustedRootFromJSON(trustedRootJSON)
	if err != nil {
		return time.Time{}, fmt.Errorf("%w: trusted root: %w", ErrTrust, err)
	}
	options := []verify.VerifierOption{verify.WithTransparencyLog(1), verify.WithObserverTimestamps(1)}
	if len(trusted.CTLogs()) > 0 {
		options = append(options, verify.WithSignedCertificateTimestamps(1))
	}
	verifier, err := verify.NewVerifier(trusted, options...)
	if err != nil {
		return time.Time{}, fmt.Errorf("%w: %w", ErrTrust, err)
	}
	if b.Kind != bundle.Keyless {
		return time.Time{}, bundle.Faultf(bundle.ErrSignature, bundle.RuleMethod, "it is signed by %s, not without a key", b.Kind)
	}
	entity := &sgbundle.Bundle{}
	if err := entity.UnmarshalJSON(b.Raw); err != nil {
		return time.Time{}, bundle.Faultf(bundle.ErrFormat, bundle.RuleMaterial, "%w", err)
	}
	// Two parsers read the same file here; they must have read the same.
	envelope := entity.GetDsseEnvelope()
	if envelope == nil || !bytes.Equal(envelope.GetPayload(), b.Payload) {
		return time.Time{}, bundle.Faultf(bundle.ErrFormat, bundle.RuleEnvelope, "two parsers read different payloads")
	}
	// The statement's digests are compared with the folder by package signing.
	result, err := verifier.Verify(entity, verify.NewPolicy(verify.WithoutArtifactUnsafe(), policy))
	if err != nil {
		return time.Time{}, bundle.Faultf(bundle.ErrSignature, RuleKeyless, "%w", err)
	}
	var at time.Time
	for _, t := range result.VerifiedTimestamps {
		if at.IsZero() || t.Timestamp.Before(at) {
			at = t.Timestamp
		}
	}
	if at.IsZero() {
		return time.Time{}, bundle.Faultf(bundle.ErrSignature, RuleKeyless, "no trusted time")
	}
	return at, nil
}
