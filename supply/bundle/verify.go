package bundle

import (
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"time"
)

// VerifyKey checks the signature with a public key the caller trusts. A hint
// must name that key, in the form of OMS or of cosign; old bundles have none.
// Errors wrap ErrSignature and have a [Rule].
func (b *Bundle) VerifyKey(key *ecdsa.PublicKey) error {
	if b.Kind != Key {
		return Faultf(ErrSignature, RuleMethod, "it is signed by %s, not by a key", b.Kind)
	}
	if why := supported(key.Curve); why != "" {
		return fmt.Errorf("%w: %s", ErrKey, why)
	}
	id, err := KeyID(key)
	if err != nil {
		return err
	}
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrKey, err)
	}
	cosign := sha256.Sum256(der)
	if b.Hint != "" && b.Hint != id && b.Hint != base64.StdEncoding.EncodeToString(cosign[:]) {
		return Faultf(ErrSignature, RuleKey, "it names key %.100q, and the trusted one is %s", b.Hint, id)
	}
	return b.check(key)
}

// VerifyCertificate checks the signature with the certificate in the bundle,
// and this against the roots. at is the time that everything is judged at: a
// trusted time of signing where there is one, else now; every certificate of
// the chain has to be valid then. Certificates of the bundle are trusted only
// as links to a root.
//
// It gives the leaf. Errors wrap ErrSignature and have a [Rule].
func (b *Bundle) VerifyCertificate(roots *x509.CertPool, at time.Time) (*x509.Certificate, error) {
	if b.Kind != Certificate {
		return nil, Faultf(ErrSignature, RuleMethod, "it is signed by %s, not by a certificate", b.Kind)
	}
	if roots == nil || at.IsZero() {
		return nil, errors.New("verifying a certificate needs roots and a time") // nil would mean the system's
	}
	leaf, err := x509.ParseCertificate(b.Chain[0])
	if err != nil {
		return nil, Faultf(ErrSignature, RuleCertificate, "certificates[0]: %w", err)
	}
	between := x509.NewCertPool()
	for i, der := range b.Chain[1:] {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, Faultf(ErrSignature, RuleCertificate, "certificates[%d]: %w", i+1, err)
		}
		between.AddCert(c)
	}
	// The dates first: x509 says "expired" for both ends.
	switch {
	case at.Before(leaf.NotBefore):
		return nil, Faultf(ErrSignature, RuleNotYet, "the certificate of %q is valid from %s and was judged at %s", leaf.Subject, stamp(leaf.NotBefore), stamp(at))
	case at.After(leaf.NotAfter):
		return nil, Faultf(ErrSignature, RuleExpired, "the certificate of %q was valid until %s and was judged at %s", leaf.Subject, stamp(leaf.NotAfter), stamp(at))
	}
	// KeyUsages any: the rule of OMS, below, is another one.
	if _, err := leaf.Verify(x509.VerifyOptions{
		Roots: roots, Intermediates: between, CurrentTime: at, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	}); err != nil {
		rule := RuleUntrusted
		if e := (x509.CertificateInvalidError{}); errors.As(err, &e) && e.Reason == x509.Expired {
			if rule = RuleExpired; e.Cert != nil && at.Before(e.Cert.NotBefore) {
				rule = RuleNotYet
			}
		}
		return nil, Faultf(ErrSignature, rule, "%w", err)
	}
	if leaf.KeyUsage&x509.KeyUsageDigitalSignature == 0 && !slices.Contains(leaf.ExtKeyUsage, x509.ExtKeyUsageCodeSigning) {
		return nil, Faultf(ErrSignature, RuleUsage, "the certificate of %q may be used neither for digitalSignature nor for codeSigning", leaf.Subject)
	}
	key, ok := leaf.PublicKey.(*ecdsa.PublicKey)
	if !ok {
		return nil, Faultf(ErrSignature, RuleCertKey, "the certificate holds a %T; OMS wants ECDSA", leaf.PublicKey)
	}
	if why := supported(key.Curve); why != "" {
		return nil, Faultf(ErrSignature, RuleCertKey, "%s", why)
	}
	if err := b.check(key); err != nil {
		return nil, err
	}
	return leaf, nil
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

func (b *Bundle) check(key *ecdsa.PublicKey) error {
	if ecdsa.VerifyASN1(key, digest(key.Curve, PAE(b.Payload)), b.Signature) {
		return nil
	}
	if b.Statement.PredicateType == PredicateOMSv02 && b.checkV02(key) {
		return nil
	}
	return Faultf(ErrSignature, RuleInvalid, "the statement or the signature was changed, or another key made it")
}

// checkV02 verifies what model-signing 0.2.0 signed: it formatted the payload's
// bytes into a string of Python, so the encoding holds their representation,
// and certificates always went with SHA-256. The encoding's own prefix
// ("DSSEV1", not "DSSEv1") keeps the two apart.
func (b *Bundle) checkV02(key *ecdsa.PublicKey) bool {
	pae := fmt.Appendf(nil, "DSSEV1 %d %s %d %s", len(PayloadType), PayloadType, len(b.Payload), pythonRepr(b.Payload))
	if b.Kind == Certificate {
		sum := sha256.Sum256(pae)
		return ecdsa.VerifyASN1(key, sum[:], b.Signature)
	}
	return ecdsa.VerifyASN1(key, digest(key.Curve, pae), b.Signature)
}

// pythonRepr is repr() of a bytes object (CPython, Objects/bytesobject.c).
func pythonRepr(p []byte) []byte {
	quote := byte('\'')
	if slices.Contains(p, '\'') && !slices.Contains(p, '"') {
		quote = '"'
	}
	out := append(make([]byte, 0, len(p)+len(p)/8+3), 'b', quote)
	for _, c := range p {
		switch {
		case c == quote || c == '\\':
			out = append(out, '\\', c)
		case c == '\t':
			out = append(out, `\t`...)
		case c == '\n':
			out = append(out, `\n`...)
		case c == '\r':
			out = append(out, `\r`...)
		case c < ' ' || c >= 0x7f:
			out = fmt.Appendf(out, `\x%02x`, c)
		default:
			out = append(out, c)
		}
	}
	return append(out, quote)
}
