package trust

import (
	"time"

	"github.com/weighbridge/weighbridge/supply/bundle"
	"github.com/weighbridge/weighbridge/supply/signing/keyless"
)

func (s *Signer) verifyKeyless(b *bundle.Bundle) (time.Time, error) {
	return keyless.Verify(b, s.trustedRoot, keyless.Identity{Subject: s.identity, SubjectRegexp: s.identityText, Issuer: s.issuer})
}
