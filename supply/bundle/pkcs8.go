package bundle

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/pbkdf2"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"hash"
)

// The parts of PKCS #5 (RFC 8018) that openssl writes: PBES2 with PBKDF2 and
// AES in CBC mode.
var (
	oidPBES2  = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 13}
	oidPBKDF2 = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 12}
	hmacs     = map[string]func() hash.Hash{
		"1.2.840.113549.2.7":  sha1.New, // the default where none is named
		"1.2.840.113549.2.9":  sha256.New,
		"1.2.840.113549.2.10": sha512.New384,
		"1.2.840.113549.2.11": sha512.New,
	}
	aesKeys = map[string]int{ // bytes
		"2.16.840.1.101.3.4.1.2":  16,
		"2.16.840.1.101.3.4.1.22": 24,
		"2.16.840.1.101.3.4.1.42": 32,
	}
)

// maxIterations bounds the time that a key file can ask for.
const maxIterations = 10_000_000

var errPassword = errors.New("the password does not open it")

// decryptPKCS8 opens an EncryptedPrivateKeyInfo (RFC 5958).
func decryptPKCS8(der, password []byte) ([]byte, error) {
	other := func(what string, id asn1.ObjectIdentifier) error {
		return fmt.Errorf("encrypted with %s %s, which is not supported; decrypt it with `openssl pkcs8 -in key.pem -out plain.pem` or encrypt it again with `openssl pkcs8 -topk8 -v2 aes-256-cbc`", what, id)
	}
	var info struct {
		Algorithm pkix.AlgorithmIdentifier
		Data      []byte
	}
	if err := exact(der, &info); err != nil {
		return nil, err
	}
	if !info.Algorithm.Algorithm.Equal(oidPBES2) {
		return nil, other("scheme", info.Algorithm.Algorithm)
	}
	var scheme struct{ KDF, Cipher pkix.AlgorithmIdentifier }
	if err := exact(info.Algorithm.Parameters.FullBytes, &scheme); err != nil {
		return nil, err
	}
	if !scheme.KDF.Algorithm.Equal(oidPBKDF2) {
		return nil, other("key derivation", scheme.KDF.Algorithm)
	}
	var kdf struct {
		Salt       []byte
		Iterations int
		Length     int                      `asn1:"optional"`
		PRF        pkix.AlgorithmIdentifier `asn1:"optional"`
	}
	if err := exact(scheme.KDF.Parameters.FullBytes, &kdf); err != nil {
		return nil, err
	}
	if kdf.Iterations < 1 || kdf.Iterations > maxIterations {
		return nil, fmt.Errorf("%d iterations; the limit is %d", kdf.Iterations, maxIterations)
	}
	prf := sha1.New
	if kdf.PRF.Algorithm != nil {
		if prf = hmacs[kdf.PRF.Algorithm.String()]; prf == nil {
			return nil, other("pseudorandom function", kdf.PRF.Algorithm)
		}
	}
	size := aesKeys[scheme.Cipher.Algorithm.String()]
	if size == 0 {
		return nil, other("cipher", scheme.Cipher.Algorithm)
	}
	var iv []byte
	if err := exact(scheme.Cipher.Parameters.FullBytes, &iv); err != nil {
		return nil, err
	}
	if len(iv) != aes.BlockSize || len(info.Data) == 0 || len(info.Data)%aes.BlockSize != 0 {
		return nil, errors.New("the encrypted key is cut off")
	}
	key, err := pbkdf2.Key(prf, string(password), kdf.Salt, kdf.Iterations, size)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	plain := make([]byte, len(info.Data))
	cipher.NewCBCDecrypter(block, iv).CryptBlocks(plain, info.Data)
	pad := int(plain[len(plain)-1])
	if pad < 1 || pad > aes.BlockSize || !bytes.Equal(plain[len(plain)-pad:], bytes.Repeat([]byte{byte(pad)}, pad)) {
		return nil, errPassword
	}
	return plain[:len(plain)-pad], nil
}

func exact(der []byte, v any) error {
	rest, err := asn1.Unmarshal(der, v)
	if err == nil && len(rest) > 0 {
		err = errors.New("something follows it")
	}
	if err != nil {
		return fmt.Errorf("encrypted key: %w", err)
	}
	return nil
}
