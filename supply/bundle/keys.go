package bundle

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// maxPEM bounds key and certificate files, in bytes.
const maxPEM = 1 << 20

// SignerConfig names the files of a signer.
type SignerConfig struct {
	Key         string   // PEM private key
	Password    string   // for an encrypted key, else ""
	Certificate string   // PEM certificate of the key, "" for a bare key
	Chain       []string // PEM files of the certificates between it and the root, which need not be in them
}

// LoadSigner reads the files. Errors wrap ErrKey, or are those of the file
// system; both name the file.
func LoadSigner(c SignerConfig) (*Signer, error) {
	src, err := readPEM(c.Key)
	if err != nil {
		return nil, err
	}
	s, err := parsePrivateKey(src, c.Password)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.Key, err)
	}
	if c.Certificate == "" {
		if len(c.Chain) > 0 {
			return nil, fmt.Errorf("%w: a chain without a certificate", ErrKey)
		}
		return s, nil
	}
	var certs []*x509.Certificate
	for i, path := range append([]string{c.Certificate}, c.Chain...) {
		some, err := LoadCertificates(path)
		if err != nil {
			return nil, err
		}
		if i == 0 {
			if key, ok := some[0].PublicKey.(*ecdsa.PublicKey); !ok || !key.Equal(s.Public()) {
				return nil, fmt.Errorf("%w: the certificate in %s is not for the key in %s", ErrKey, path, c.Key)
			}
		}
		certs = append(certs, some...)
	}
	if len(certs) > maxChain {
		return nil, fmt.Errorf("%w: %d certificates; verifiers accept %d", ErrKey, len(certs), maxChain)
	}
	for _, cert := range certs {
		s.chain = append(s.chain, cert.Raw)
	}
	return s, nil
}

// LoadPublicKey reads a PEM public key (SPKI). Errors wrap ErrKey and name the
// file, or are those of the file system.
func LoadPublicKey(path string) (*ecdsa.PublicKey, error) {
	src, err := readPEM(path)
	if err != nil {
		return nil, err
	}
	key, err := ParsePublicKey(src)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return key, nil
}

// ParsePublicKey reads a PEM public key (SPKI).
func ParsePublicKey(src []byte) (*ecdsa.PublicKey, error) {
	block, _ := pem.Decode(src)
	switch {
	case block == nil:
		return nil, fmt.Errorf("%w: no PEM block", ErrKey)
	case strings.Contains(block.Type, "PRIVATE"):
		return nil, fmt.Errorf("%w: a private key where the public one is wanted; make it with `openssl pkey -pubout`", ErrKey)
	case block.Type != "PUBLIC KEY":
		return nil, fmt.Errorf("%w: PEM block %q, wanted PUBLIC KEY", ErrKey, block.Type)
	}
	any, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrKey, err)
	}
	key, ok := any.(*ecdsa.PublicKey)
	if !ok {
		return nil, fmt.Errorf("%w: %T; OMS signs with ECDSA keys on P-256, P-384 or P-521", ErrKey, any)
	}
	if why := supported(key.Curve); why != "" {
		return nil, fmt.Errorf("%w: %s", ErrKey, why)
	}
	return key, nil
}

// LoadCertificates reads all certificates of a PEM file, at least one.
func LoadCertificates(path string) ([]*x509.Certificate, error) {
	src, err := readPEM(path)
	if err != nil {
		return nil, err
	}
	var certs []*x509.Certificate
	for {
		var block *pem.Block
		if block, src = pem.Decode(src); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("%s: %w: certificate %d: %w", path, ErrKey, len(certs)+1, err)
		}
		certs = append(certs, c)
	}
	if len(certs) == 0 {
		return nil, fmt.Errorf("%s: %w: no PEM block CERTIFICATE", path, ErrKey)
	}
	return certs, nil
}

// ParsePrivateKey reads a PEM private key: SEC 1 ("EC PRIVATE KEY") or PKCS #8.
func ParsePrivateKey(src []byte) (*Signer, error) { return parsePrivateKey(src, "") }

// parsePrivateKey opens PKCS #8 also where it is encrypted with a password, as
// `openssl pkcs8` does it.
func parsePrivateKey(src []byte, password string) (*Signer, error) {
	block, rest := pem.Decode(src)
	for block != nil && block.Type == "EC PARAMETERS" {
		block, rest = pem.Decode(rest)
	}
	if block == nil {
		return nil, fmt.Errorf("%w: no PEM block; make a key with `openssl ecparam -name prime256v1 -genkey -noout -out key.pem` and its public half with `openssl pkey -in key.pem -pubout -out key.pub`", ErrKey)
	}
	der := block.Bytes
	switch {
	case block.Type == "ENCRYPTED PRIVATE KEY":
		if password == "" {
			return nil, fmt.Errorf("%w: it is encrypted and no password was given", ErrKey)
		}
		var err error
		if der, err = decryptPKCS8(der, []byte(password)); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrKey, err)
		}
	case strings.Contains(block.Headers["Proc-Type"], "ENCRYPTED"):
		return nil, fmt.Errorf("%w: the old PEM encryption does not protect a key; make it PKCS #8 with `openssl pkcs8 -topk8 -in old.pem -out key.pem`", ErrKey)
	case strings.HasPrefix(block.Type, "ENCRYPTED "):
		return nil, fmt.Errorf("%w: PEM block %q is of another tool; import a PKCS #8 key instead", ErrKey, block.Type)
	case block.Type != "PRIVATE KEY" && block.Type != "EC PRIVATE KEY":
		return nil, fmt.Errorf("%w: PEM block %q, wanted EC PRIVATE KEY or PRIVATE KEY", ErrKey, block.Type)
	}
	key, err := x509.ParseECPrivateKey(der)
	if err != nil {
		any, err8 := x509.ParsePKCS8PrivateKey(der)
		if err8 != nil {
			return nil, fmt.Errorf("%w: PEM block %q: %w", ErrKey, block.Type, errors.Join(err, err8))
		}
		var ok bool
		if key, ok = any.(*ecdsa.PrivateKey); !ok {
			return nil, fmt.Errorf("%w: %T; OMS signs with ECDSA keys on P-256, P-384 or P-521", ErrKey, any)
		}
	}
	if why := supported(key.Curve); why != "" {
		return nil, fmt.Errorf("%w: %s", ErrKey, why)
	}
	return &Signer{key: key}, nil
}

func readPEM(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var b bytes.Buffer
	if n, err := io.Copy(&b, io.LimitReader(f, maxPEM+1)); err != nil {
		return nil, err
	} else if n > maxPEM {
		return nil, fmt.Errorf("%s: %w: more than %d bytes", path, ErrKey, maxPEM)
	}
	return b.Bytes(), nil
}
