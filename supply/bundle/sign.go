package bundle

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
)

// ErrKey is a key or certificate file that cannot be used.
var ErrKey = errors.New("unusable key")

// Signer signs statements with one private key.
type Signer struct {
	key   *ecdsa.PrivateKey
	chain [][]byte // DER, leaf first; empty for a bare key
}

// ParsePrivateKey reads a PEM private key: SEC 1 ("EC PRIVATE KEY") or PKCS #8.
func ParsePrivateKey(src []byte) (*Signer, error) {
	block, _ := pem.Decode(src)
	for block != nil && block.Type == "EC PARAMETERS" {
		block, src = pem.Decode(src)
	}
	if block == nil {
		return nil, fmt.Errorf("%w: no PEM block; make one with `openssl ecparam -name prime256v1 -genkey -noout`", ErrKey)
	}
	key, err := x509.ParseECPrivateKey(block.Bytes)
	if err != nil {
		any, err8 := x509.ParsePKCS8PrivateKey(block.Bytes)
		if err8 != nil {
			return nil, fmt.Errorf("%w: PEM block %q: %w", ErrKey, block.Type, errors.Join(err, err8))
		}
		var ok bool
		if key, ok = any.(*ecdsa.PrivateKey); !ok {
			return nil, fmt.Errorf("%w: %T; OMS signs with ECDSA keys on P-256, P-384 or P-521", ErrKey, any)
		}
	}
	return &Signer{key: key}, nil
}

// Sign gives the bytes of a bundle over the statement.
func (s *Signer) Sign(st Statement) ([]byte, error) {
	payload, err := json.Marshal(st)
	if err != nil {
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
	return json.Marshal(map[string]any{
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

// VerifyKey checks the signature with a public key the caller trusts.
func (b *Bundle) VerifyKey(key *ecdsa.PublicKey) error {
	if b.Kind != Key {
		return fmt.Errorf("%w: it is signed by %s, not by a key", ErrSignature, b.Kind)
	}
	id, err := KeyID(key)
	if err != nil {
		return err
	}
	if b.Hint != "" && b.Hint != id {
		return fmt.Errorf("%w: it names key %s, and the trusted one is %s", ErrSignature, b.Hint, id)
	}
	return b.check(key)
}

func (b *Bundle) check(key *ecdsa.PublicKey) error {
	if !ecdsa.VerifyASN1(key, digest(key.Curve, PAE(b.Payload)), b.Signature) {
		return fmt.Errorf("%w under this key", ErrSignature)
	}
	return nil
}

// digest hashes with the function that goes with the curve.
func digest(curve elliptic.Curve, p []byte) []byte {
	h := crypto.SHA256
	switch {
	case curve.Params().BitSize > 384:
		h = crypto.SHA512
	case curve.Params().BitSize > 256:
		h = crypto.SHA384
	}
	w := h.New()
	w.Write(p)
	return w.Sum(nil)
}
