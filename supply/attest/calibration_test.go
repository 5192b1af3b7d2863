package attest_test

import (
	"crypto/elliptic"
	"errors"
	"testing"

	"github.com/weighbridge/weighbridge/supply/attest"
	"github.com/weighbridge/weighbridge/supply/bundle"
	"github.com/weighbridge/weighbridge/supply/bundle/bundletest"
)

// A signature holds for one calibration, its content and its key, and for
// nothing else.
func TestCalibration(t *testing.T) {
	key, other := bundletest.NewKey(t, elliptic.P256()), bundletest.NewKey(t, elliptic.P256())
	signer, err := bundle.LoadSigner(bundle.SignerConfig{Key: key.File})
	if err != nil {
		t.Fatal(err)
	}
	const digest = "sha256:5f9b6a1c0de4bb47a02e1a9c9b1e06ad5d1c4e0f6a3b3c0c9fdd7aa10b6a2f31"
	c := attest.Calibration{Baseline: "sha256:11", Suites: []string{"quick@sha256:22"}, Variants: 39, Statistics: 12}
	sign := func(c attest.Calibration, change func(*bundle.Statement)) *bundle.Bundle {
		t.Helper()
		st, err := c.Statement("calibration.json", digest)
		if err != nil {
			t.Fatal(err)
		}
		change(&st)
		raw, err := signer.Sign(st)
		if err != nil {
			t.Fatal(err)
		}
		b, err := bundle.Parse(raw)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	good := sign(c, func(*bundle.Statement) {})
	if err := c.Verify(good, digest, signer.Public()); err != nil {
		t.Error(err)
	}
	more := c
	more.Variants = 400
	for name, tc := range map[string]struct {
		bundle *bundle.Bundle
		digest string
		key    bundletest.Key
		want   error
	}{
		"another file":      {good, digest[:len(digest)-1] + "0", key, bundle.ErrSignature},
		"another key":       {good, digest, other, bundle.ErrSignature},
		"other figures":     {sign(more, func(*bundle.Statement) {}), digest, key, bundle.ErrSignature},
		"another statement": {sign(c, func(s *bundle.Statement) { s.PredicateType = bundle.PredicateOMS }), digest, key, bundle.ErrFormat},
		"two subjects":      {sign(c, func(s *bundle.Statement) { s.Subject = append(s.Subject, s.Subject[0]) }), digest, key, bundle.ErrSignature},
		"other algorithm": {sign(c, func(s *bundle.Statement) {
			s.Subject[0].Digest = map[string]string{"sha512": s.Subject[0].Digest["sha256"]}
		}), digest, key, bundle.ErrSignature},
	} {
		if err := c.Verify(tc.bundle, tc.digest, &tc.key.Private.PublicKey); !errors.Is(err, tc.want) || bundle.Rule(err) == "" {
			t.Errorf("%s: %v", name, err)
		}
	}
}
