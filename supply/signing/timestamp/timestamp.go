// Package timestamp verifies the RFC 3161 times in a signature bundle: proof
// that the signature existed at that time, by an authority the caller trusts.
//
// In: a [bundle.Bundle] and the certificates of time-stamping authorities. Out:
// the earliest proven time. It asks no authority for anything, and it says
// nothing about the signature itself.
package timestamp

import (
	"bytes"
	"crypto/x509"
	"errors"
	"time"

	"github.com/sigstore/timestamp-authority/v2/pkg/verification"

	"github.com/weighbridge/weighbridge/supply/bundle"
)

// The rules of errors, which wrap bundle.ErrSignature.
const (
	RuleNone = "timestamp-none" // the bundle has no timestamp
	RuleBad  = "timestamp-bad"  // none that it has is by a trusted authority, for this signature
)

// ErrAuthority is a list of certificates that no timestamp can be verified with.
var ErrAuthority = errors.New("time-stamping certificates without a root")

// Verify gives the earliest time that one of the authorities vouches for. certs
// are roots (self-signed), and where responses leave them out, the
// intermediates and at most one authority's own certificate. The authority's
// certificates have to be valid at the time it states, not now.
func Verify(b *bundle.Bundle, certs []*x509.Certificate) (time.Time, error) {
	var opts verification.VerifyOpts
	for _, c := range certs {
		switch {
		case bytes.Equal(c.RawIssuer, c.RawSubject) && c.CheckSignatureFrom(c) == nil:
			opts.Roots = append(opts.Roots, c)
		case c.IsCA:
			opts.Intermediates = append(opts.Intermediates, c)
		case opts.TSACertificate != nil:
			return time.Time{}, errors.New("more than one time-stamping authority's own certificate; give only the roots, or verify one after the other")
		default:
			opts.TSACertificate = c
		}
	}
	if len(opts.Roots) == 0 {
		return time.Time{}, ErrAuthority
	}
	if len(b.Timestamps) == 0 {
		return time.Time{}, bundle.Faultf(bundle.ErrSignature, RuleNone, "it carries no RFC 3161 timestamp")
	}
	var at time.Time
	var why []error
	for _, der := range b.Timestamps {
		ts, err := verification.VerifyTimestampResponse(der, bytes.NewReader(b.Signature), opts)
		if err != nil {
			why = append(why, err)
			continue
		}
		if at.IsZero() || ts.Time.Before(at) {
			at = ts.Time
		}
	}
	if at.IsZero() {
		return time.Time{}, bundle.Faultf(bundle.ErrSignature, RuleBad, "%w", errors.Join(why...))
	}
	return at, nil
}
