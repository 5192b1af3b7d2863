// Package bundletest makes keys and certificates for tests, as files, and
// bundles with single fields changed. Nothing of it is for use outside of tests.
package bundletest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Key is a new key with its files.
type Key struct {
	Private *ecdsa.PrivateKey
	File    string // PEM, SEC 1
	Public  string // PEM, SPKI
}

// NewKey makes a key in a folder of its own.
func NewKey(t testing.TB, curve elliptic.Curve) Key {
	t.Helper()
	priv := must(ecdsa.GenerateKey(curve, rand.Reader))(t)
	dir := t.TempDir()
	k := Key{Private: priv, File: filepath.Join(dir, "key.pem"), Public: filepath.Join(dir, "key.pub")}
	WritePEM(t, k.File, "EC PRIVATE KEY", must(x509.MarshalECPrivateKey(priv))(t))
	WritePEM(t, k.Public, "PUBLIC KEY", must(x509.MarshalPKIXPublicKey(&priv.PublicKey))(t))
	return k
}

// Authority is a root and an intermediate that issue certificates.
type Authority struct {
	RootFile, IntermediateFile string // PEM
	Roots                      *x509.CertPool

	intermediate *x509.Certificate
	key          *ecdsa.PrivateKey
}

// NewAuthority makes one that is valid from two years before now to two years
// after it.
func NewAuthority(t testing.TB, now time.Time) *Authority {
	t.Helper()
	dir := t.TempDir()
	a := &Authority{RootFile: filepath.Join(dir, "root.pem"), IntermediateFile: filepath.Join(dir, "intermediate.pem"), Roots: x509.NewCertPool()}
	rootKey := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))(t)
	a.key = must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))(t)
	ca := func(serial int64, name string) *x509.Certificate {
		return &x509.Certificate{
			SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: name},
			NotBefore: now.AddDate(-2, 0, 0), NotAfter: now.AddDate(2, 0, 0),
			IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
		}
	}
	rootDER := must(x509.CreateCertificate(rand.Reader, ca(1, "test root"), ca(1, "test root"), &rootKey.PublicKey, rootKey))(t)
	root := must(x509.ParseCertificate(rootDER))(t)
	der := must(x509.CreateCertificate(rand.Reader, ca(2, "test intermediate"), root, &a.key.PublicKey, rootKey))(t)
	a.intermediate = must(x509.ParseCertificate(der))(t)
	a.Roots.AddCert(root)
	WritePEM(t, a.RootFile, "CERTIFICATE", rootDER)
	WritePEM(t, a.IntermediateFile, "CERTIFICATE", der)
	return a
}

// Issue makes a certificate for the key, for a year around now and with
// KeyUsage digitalSignature, unless change says otherwise. It gives its file.
func (a *Authority) Issue(t testing.TB, public any, now time.Time, change func(*x509.Certificate)) string {
	t.Helper()
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(3), Subject: pkix.Name{CommonName: "test signer"},
		NotBefore: now.AddDate(0, -6, 0), NotAfter: now.AddDate(0, 6, 0), KeyUsage: x509.KeyUsageDigitalSignature,
	}
	if change != nil {
		change(leaf)
	}
	file := filepath.Join(t.TempDir(), "cert.pem")
	WritePEM(t, file, "CERTIFICATE", must(x509.CreateCertificate(rand.Reader, leaf, a.intermediate, public, a.key))(t))
	return file
}

// WritePEM writes one block.
func WritePEM(t testing.TB, file, kind string, der []byte) {
	t.Helper()
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
}

// Object is a JSON object.
type Object = map[string]any

// Edit decodes a bundle, lets change alter it, and encodes it again; the
// signature then holds no more if the payload was changed.
func Edit(t testing.TB, raw []byte, change func(bundle, statement Object)) []byte {
	t.Helper()
	b, st := Decode(t, raw)
	change(b, st)
	if e, ok := b["dsseEnvelope"].(Object); ok {
		e["payload"] = base64.StdEncoding.EncodeToString(must(json.Marshal(st))(t))
	}
	return must(json.Marshal(b))(t)
}

// Decode gives a bundle and its statement.
func Decode(t testing.TB, raw []byte) (bundle, statement Object) {
	t.Helper()
	if err := json.Unmarshal(raw, &bundle); err != nil {
		t.Fatal(err)
	}
	payload := must(base64.StdEncoding.DecodeString(bundle["dsseEnvelope"].(Object)["payload"].(string)))(t)
	if err := json.Unmarshal(payload, &statement); err != nil {
		t.Fatal(err)
	}
	return bundle, statement
}

// Folder writes files, given by name, into a new folder called model.
func Folder(t testing.TB, files map[string]string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "model")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, content := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}
