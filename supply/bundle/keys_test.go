package bundle_test

import (
	"crypto/elliptic"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weighbridge/weighbridge/internal/testreq"
	"github.com/weighbridge/weighbridge/supply/bundle"
	"github.com/weighbridge/weighbridge/supply/bundle/bundletest"
)

// openssl runs the real tool.
func openssl(t testing.TB, args ...string) {
	t.Helper()
	bin, err := exec.LookPath("openssl")
	testreq.Need(t, err == nil, "openssl (apt-get install openssl)")
	if out, err := exec.Command(bin, args...).CombinedOutput(); err != nil {
		t.Fatalf("openssl %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// What openssl makes, we sign with; what we sign, openssl verifies.
func TestOpenSSL(t *testing.T) {
	for curve, hash := range map[string]string{"prime256v1": "-sha256", "secp384r1": "-sha384", "secp521r1": "-sha512"} {
		t.Run(curve, func(t *testing.T) {
			dir := t.TempDir()
			in := func(name string) string { return filepath.Join(dir, name) }
			openssl(t, "ecparam", "-name", curve, "-genkey", "-out", in("params.pem")) // with an EC PARAMETERS block
			openssl(t, "pkcs8", "-topk8", "-nocrypt", "-in", in("params.pem"), "-out", in("pkcs8.pem"))
			openssl(t, "pkey", "-in", in("params.pem"), "-pubout", "-out", in("pub.pem"))
			configs := map[string]bundle.SignerConfig{
				"SEC 1 with parameters": {Key: in("params.pem")},
				"PKCS #8":               {Key: in("pkcs8.pem")},
			}
			for _, cipher := range []string{"aes-128-cbc", "aes-192-cbc", "aes-256-cbc"} {
				for _, prf := range []string{"hmacWithSHA1", "hmacWithSHA256", "hmacWithSHA384", "hmacWithSHA512"} {
					name := cipher + " " + prf
					openssl(t, "pkcs8", "-topk8", "-v2", cipher, "-v2prf", prf, "-passout", "pass:open sesame", "-in", in("params.pem"), "-out", in(name))
					configs[name] = bundle.SignerConfig{Key: in(name), Password: "open sesame"}
				}
			}
			for name, c := range configs {
				raw := signed(t, load(t, c))
				b := parsed(t, raw)
				check(t, os.WriteFile(in("pae"), bundle.PAE(b.Payload), 0o644))
				check(t, os.WriteFile(in("sig"), b.Signature, 0o644))
				openssl(t, "dgst", hash, "-verify", in("pub.pem"), "-signature", in("sig"), in("pae"))
				pub, err := bundle.LoadPublicKey(in("pub.pem"))
				check(t, err)
				if err := b.VerifyKey(pub); err != nil {
					t.Errorf("%s: %v", name, err)
				}
			}
		})
	}
}

func TestKeysThatCannotBeUsed(t *testing.T) {
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	good, other := bundletest.NewKey(t, elliptic.P256()), bundletest.NewKey(t, elliptic.P256())
	ca := bundletest.NewAuthority(t, now)
	cert := ca.Issue(t, &good.Private.PublicKey, now, nil)
	openssl(t, "genpkey", "-algorithm", "ed25519", "-out", in("ed25519"))
	openssl(t, "ecparam", "-name", "secp256k1", "-genkey", "-noout", "-out", in("secp256k1"))
	openssl(t, "ecparam", "-name", "secp224r1", "-genkey", "-noout", "-out", in("p224"))
	openssl(t, "pkcs8", "-topk8", "-passout", "pass:right", "-in", good.File, "-out", in("encrypted"))
	openssl(t, "pkcs8", "-topk8", "-scrypt", "-passout", "pass:right", "-in", good.File, "-out", in("scrypt"))
	openssl(t, "ec", "-aes256", "-passout", "pass:right", "-in", good.File, "-out", in("old"))
	check(t, os.WriteFile(in("text"), []byte("no key"), 0o644))
	check(t, os.WriteFile(in("huge"), make([]byte, 2<<20), 0o644))
	for _, c := range []struct {
		name   string
		config bundle.SignerConfig
		want   string
	}{
		{"no PEM", bundle.SignerConfig{Key: in("text")}, "openssl ecparam -name prime256v1 -genkey"},
		{"huge", bundle.SignerConfig{Key: in("huge")}, "more than"},
		{"Ed25519", bundle.SignerConfig{Key: in("ed25519")}, "ed25519"},
		{"secp256k1", bundle.SignerConfig{Key: in("secp256k1")}, "curve"},
		{"P-224", bundle.SignerConfig{Key: in("p224")}, "P-224"},
		{"public key", bundle.SignerConfig{Key: good.Public}, "PUBLIC KEY"},
		{"no password", bundle.SignerConfig{Key: in("encrypted")}, "no password"},
		{"wrong password", bundle.SignerConfig{Key: in("encrypted"), Password: "wrong"}, ""}, // at the padding, or 1 time in 256 at the key
		{"scrypt", bundle.SignerConfig{Key: in("scrypt"), Password: "right"}, "openssl pkcs8"},
		{"old PEM encryption", bundle.SignerConfig{Key: in("old"), Password: "right"}, "openssl pkcs8 -topk8"},
		{"certificate of another key", bundle.SignerConfig{Key: other.File, Certificate: cert}, "not for the key"},
		{"no certificate in the file", bundle.SignerConfig{Key: good.File, Certificate: good.Public}, "CERTIFICATE"},
		{"chain alone", bundle.SignerConfig{Key: good.File, Chain: []string{ca.RootFile}}, "without a certificate"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := bundle.LoadSigner(c.config)
			if !errors.Is(err, bundle.ErrKey) || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("got %v, want %q", err, c.want)
			}
		})
	}
	if _, err := bundle.LoadPublicKey(good.File); !errors.Is(err, bundle.ErrKey) || !strings.Contains(err.Error(), "pubout") {
		t.Errorf("private key as public one: %v", err)
	}
	if _, err := bundle.LoadSigner(bundle.SignerConfig{Key: in("none")}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}

func FuzzPrivateKey(f *testing.F) {
	dir := f.TempDir()
	key := bundletest.NewKey(f, elliptic.P256())
	// Few iterations: the fuzzer's time is for the parser.
	openssl(f, "pkcs8", "-topk8", "-iter", "1", "-passout", "pass:x", "-in", key.File, "-out", filepath.Join(dir, "k"))
	for _, path := range []string{key.File, key.Public, filepath.Join(dir, "k")} {
		src, err := os.ReadFile(path)
		check(f, err)
		f.Add(src)
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		if s, err := bundle.ParsePrivateKey(src); err != nil && !errors.Is(err, bundle.ErrKey) {
			t.Fatal(err)
		} else if err == nil && s.Public() == nil {
			t.Fatal("a key without its public half")
		}
	})
}
