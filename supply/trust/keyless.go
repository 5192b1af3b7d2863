package trust

import (
	"crypto/x509"
	"fmt"
	"time"

	"github.com/weighbridge/weighbridge/supply/bundle"
)

func (s *Signer) verifyKeyless(b *bundle.Bundle) (time.Time, error) {
	return time.Time{}, fmt.Errorf("%w: keyless signatures cannot be verified yet", bundle.ErrSignature)
}

func timeOf(b *bundle.Bundle, roots *x509.CertPool) (time.Time, error) {
	if v, ok := any(b).(interface {
		Time(*x509.CertPool) (time.Time, error)
	}); ok {
		return v.Time(roots)
	}
	return time.Time{}, fmt.Errorf("%w: timestamps cannot be verified yet", bundle.ErrSignature)
}

func certificateOf(b *bundle.Bundle, roots *x509.CertPool, at time.Time) (*x509.Certificate, error) {
	if v, ok := any(b).(interface {
		VerifyCertificate(*x509.CertPool, time.Time) (*x509.Certificate, error)
	}); ok {
		return v.VerifyCertificate(roots, at)
	}
	return nil, fmt.Errorf("%w: certificates cannot be verified yet", bundle.ErrSignature)
}
