package timestamp_test

import (
	"crypto/elliptic"
	"crypto/x509"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/weighbridge/weighbridge/internal/testreq"
	"github.com/weighbridge/weighbridge/supply/bundle"
	"github.com/weighbridge/weighbridge/supply/bundle/bundletest"
	"github.com/weighbridge/weighbridge/supply/signing/timestamp"
)

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// authority is a real time-stamping authority: `openssl ts`.
type authority struct {
	dir  string
	root *x509.Certificate
}

func newAuthority(t *testing.T) authority {
	t.Helper()
	a := authority{dir: t.TempDir()}
	check(t, os.WriteFile(filepath.Join(a.dir, "ts.cnf"), []byte(`
[tsa]
default_tsa = one
[one]
serial = serial
signer_digest = sha256
default_policy = 1.2.3.4
digests = sha256, sha512
accuracy = secs:1
ess_cert_id_chain = no
ess_cert_id_alg = sha256
[v3_tsa]
basicConstraints = critical,CA:FALSE
keyUsage = critical,digitalSignature
extendedKeyUsage = critical,timeStamping
[v3_ca]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign
[req]
distinguished_name = dn
[dn]
`), 0o644))
	check(t, os.WriteFile(filepath.Join(a.dir, "serial"), []byte("01"), 0o644))
	a.openssl(t, "req", "-new", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-config", "ts.cnf", "-extensions", "v3_ca",
		"-subj", "/CN=tsa root", "-days", "30", "-keyout", "root.key", "-out", "root.pem")
	a.openssl(t, "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-config", "ts.cnf", "-subj", "/CN=tsa", "-keyout", "tsa.key", "-out", "tsa.csr")
	a.openssl(t, "x509", "-req", "-in", "tsa.csr", "-CA", "root.pem", "-CAkey", "root.key", "-set_serial", "2", "-days", "30", "-extfile", "ts.cnf", "-extensions", "v3_tsa", "-out", "tsa.pem")
	certs, err := bundle.LoadCertificates(filepath.Join(a.dir, "root.pem"))
	check(t, err)
	a.root = certs[0]
	return a
}

func (a authority) openssl(t *testing.T, args ...string) {
	t.Helper()
	bin, err := exec.LookPath("openssl")
	testreq.Need(t, err == nil, "openssl (apt-get install openssl)")
	c := exec.Command(bin, args...)
	c.Dir = a.dir
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("openssl %q: %v\n%s", args, err, out)
	}
}

// stamp asks the authority for a time for the bytes.
func (a authority) stamp(t *testing.T, p []byte) []byte {
	t.Helper()
	check(t, os.WriteFile(filepath.Join(a.dir, "data"), p, 0o644))
	a.openssl(t, "ts", "-query", "-data", "data", "-sha256", "-cert", "-out", "q.tsq")
	a.openssl(t, "ts", "-reply", "-config", "ts.cnf", "-section", "one", "-queryfile", "q.tsq", "-signer", "tsa.pem", "-inkey", "tsa.key", "-out", "r.tsr")
	tsr, err := os.ReadFile(filepath.Join(a.dir, "r.tsr"))
	check(t, err)
	return tsr
}

func TestNegativeMatrix(t *testing.T) {
	good, other := newAuthority(t), newAuthority(t)
	key, err := bundle.LoadSigner(bundle.SignerConfig{Key: bundletest.NewKey(t, elliptic.P256()).File})
	check(t, err)
	raw, err := key.Sign(bundle.Statement{Type: bundle.StatementType, PredicateType: "x", Subject: []bundle.Subject{{Digest: map[string]string{"a": "b"}}}})
	check(t, err)
	b, err := bundle.Parse(raw)
	check(t, err)
	tsr := good.stamp(t, b.Signature)
	for _, c := range []struct {
		name   string
		stamps [][]byte
		roots  []*x509.Certificate
		rule   string // "" for a good one
	}{
		{"good", [][]byte{tsr}, []*x509.Certificate{good.root}, ""},
		{"one good of two", [][]byte{other.stamp(t, b.Signature), tsr}, []*x509.Certificate{good.root}, ""},
		{"no timestamp", nil, []*x509.Certificate{good.root}, timestamp.RuleNone},
		{"another authority", [][]byte{tsr}, []*x509.Certificate{other.root}, timestamp.RuleBad},
		{"of another signature", [][]byte{good.stamp(t, []byte("other"))}, []*x509.Certificate{good.root}, timestamp.RuleBad},
		{"truncated", [][]byte{tsr[:len(tsr)/2]}, []*x509.Certificate{good.root}, timestamp.RuleBad},
	} {
		t.Run(c.name, func(t *testing.T) {
			// As it comes in a bundle's file.
			full := bundletest.Edit(t, raw, func(o, _ bundletest.Object) {
				var list []any
				for _, s := range c.stamps {
					list = append(list, bundletest.Object{"signedTimestamp": s})
				}
				o["verificationMaterial"].(bundletest.Object)["timestampVerificationData"] = bundletest.Object{"rfc3161Timestamps": list}
			})
			b, err := bundle.Parse(full)
			check(t, err)
			at, err := timestamp.Verify(b, c.roots)
			if bundle.Rule(err) != c.rule || (err == nil) != (c.rule == "") {
				t.Fatalf("got %v, want %q", err, c.rule)
			}
			if c.rule == "" {
				if d := time.Since(at); d < 0 || d > 24*time.Hour {
					t.Errorf("the time is %s", at)
				}
				return
			}
			t.Logf("%-28s %-44s -> %s", "timestamp", c.name, c.rule)
		})
	}
	if _, err := timestamp.Verify(b, nil); err == nil {
		t.Error("no roots, no error")
	}
}
