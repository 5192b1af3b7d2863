package bundle

import (
	"encoding/asn1"
	"encoding/hex"
	"testing"
)

// FuzzPKCS8 mutates what openssl writes for a key of 1 iteration: PBES2 with
// PBKDF2 and AES-256.
func FuzzPKCS8(f *testing.F) {
	type algorithm struct {
		ID     asn1.ObjectIdentifier
		Params asn1.RawValue `asn1:"optional"`
	}
	seed := func(iterations int) []byte {
		raw := func(v any) asn1.RawValue {
			der, err := asn1.Marshal(v)
			if err != nil {
				f.Fatal(err)
			}
			return asn1.RawValue{FullBytes: der}
		}
		kdf := raw(struct {
			Salt       []byte
			Iterations int
			PRF        algorithm
		}{[]byte("saltsalt"), iterations, algorithm{asn1.ObjectIdentifier{1, 2, 840, 113549, 2, 9}, asn1.NullRawValue}})
		scheme := raw(struct{ KDF, Cipher algorithm }{
			algorithm{oidPBKDF2, kdf},
			algorithm{asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 1, 42}, raw(make([]byte, 16))},
		})
		return raw(struct {
			Algorithm algorithm
			Data      []byte
		}{algorithm{oidPBES2, scheme}, make([]byte, 32)}).FullBytes
	}
	f.Add(seed(1))
	f.Add(seed(maxIterations + 1))
	f.Add([]byte{0x30, 0})
	f.Fuzz(func(t *testing.T, der []byte) {
		plain, err := decryptPKCS8(der, []byte("x"))
		if err == nil && len(plain) >= len(der) {
			t.Fatalf("%d bytes out of %d", len(plain), len(der))
		}
	})
	if _, err := decryptPKCS8(seed(1), []byte("x")); err == nil {
		f.Errorf("zeros were decrypted with a password (%s)", hex.EncodeToString(seed(1)))
	}
	if _, err := decryptPKCS8(seed(maxIterations+1), []byte("x")); err == nil {
		f.Error("too many iterations were done")
	}
}
