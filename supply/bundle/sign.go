package bundle

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"fmt"
)

// Signer signs statements with one private key.
type Signer struct {
	key   *ecdsa.PrivateKey
	chain [][]byte // DER, leaf first; empty for a bare key
}

// Public is the key that the signatures verify with.
func (s *Signer) Public() *ecdsa.PublicKey { return &s.key.PublicKey }

// Kind is Key, or Certificate where the signer has one.
func (s *Signer) Kind() Kind {
	if len(s.chain) > 0 {
		return Certificate
	}
	return Key
}

// Made reports whether this signer's key made the signature. It says nothing
// about trust, nor about a certificate's validity.
func (s *Signer) Made(b *Bundle) bool { return b.check(s.Public()) == nil }

// Sign gives the bytes of a bundle over the statement: one line of JSON.
func (s *Signer) Sign(st Statement) ([]byte, error) {
	payload, err := marshal(st)
	if err != nil {
		return nil, err
	}
	return s.SignPayload(payload)
}

// SignPayload signs a statement that is JSON already, as it is.
func (s *Signer) SignPayload(payload []byte) ([]byte, error) {
	if _, err := ParseStatement(payload); err != nil {
		return nil, err
	}
	sig, err := ecdsa.SignASN1(rand.Reader, s.key, digest(s.key.Curve, PAE(payload)))
	if err != nil {
		return nil, fmt.Errorf("signing: %w", err)
	}
	material := map[string]any{"tlogEntries": []any{}}
	if len(s.chain) == 0 {
		id, err := KeyID(&s.key.PublicKey)
		if err != nil {
			return nil, err
		}
		material["publicKey"] = map[string]any{"hint": id}
	} else {
		var certs []rawBytes
		for _, c := range s.chain {
			certs = append(certs, rawBytes{c})
		}
		material["x509CertificateChain"] = map[string]any{"certificates": certs}
	}
	return marshal(map[string]any{
		"mediaType":            MediaType,
		"verificationMaterial": material,
		"dsseEnvelope": map[string]any{
			"payload": payload, "payloadType": PayloadType, "signatures": []signature{{Sig: sig}},
		},
	})
}

// KeyID names a public key as OMS hints do: hex SHA-256 of its PEM SPKI block,
// final newline included.
func KeyID(key *ecdsa.PublicKey) (string, error) {
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrKey, err)
	}
	sum := sha256.Sum256(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
	return hex.EncodeToString(sum[:]), nil
}

// supported says why a curve is none of OMS's, or "".
func supported(c elliptic.Curve) string {
	switch c {
	case elliptic.P256(), elliptic.P384(), elliptic.P521():
		return ""
	}
	return fmt.Sprintf("curve %s; OMS has P-256, P-384 and P-521", c.Params().Name)
}

// hashOf is the function that goes with the curve.
func hashOf(curve elliptic.Curve) crypto.Hash {
	switch {
	case curve.Params().BitSize > 384:
		return crypto.SHA512
	case curve.Params().BitSize > 256:
		return crypto.SHA384
	}
	return crypto.SHA256
}

func digest(curve elliptic.Curve, p []byte) []byte {
	w := hashOf(curve).New()
	w.Write(p)
	return w.Sum(nil)
}
