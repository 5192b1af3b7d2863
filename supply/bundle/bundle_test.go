package bundle_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/weighbridge/weighbridge/supply/bundle"
	"github.com/weighbridge/weighbridge/supply/bundle/bundletest"
)

type object = bundletest.Object

var curves = map[string]elliptic.Curve{"P-256": elliptic.P256(), "P-384": elliptic.P384(), "P-521": elliptic.P521()}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func statement() bundle.Statement {
	return bundle.Statement{
		Type: bundle.StatementType, PredicateType: "https://example.com/p",
		Subject:   []bundle.Subject{{Name: "model", Digest: map[string]string{"sha256": strings.Repeat("ab", 32)}}},
		Predicate: json.RawMessage(`{"a":"<&>"}`),
	}
}

func load(t testing.TB, c bundle.SignerConfig) *bundle.Signer {
	t.Helper()
	s, err := bundle.LoadSigner(c)
	check(t, err)
	return s
}

func signed(t testing.TB, s *bundle.Signer) []byte {
	t.Helper()
	raw, err := s.Sign(statement())
	check(t, err)
	return raw
}

func parsed(t testing.TB, raw []byte, allow ...string) *bundle.Bundle {
	t.Helper()
	b, err := bundle.Parse(raw, allow...)
	check(t, err)
	return b
}

func TestKeyRoundTrip(t *testing.T) {
	for name, curve := range curves {
		t.Run(name, func(t *testing.T) {
			key := bundletest.NewKey(t, curve)
			raw := signed(t, load(t, bundle.SignerConfig{Key: key.File}))
			b := parsed(t, raw)
			pub, err := bundle.LoadPublicKey(key.Public)
			check(t, err)
			check(t, b.VerifyKey(pub))
			if string(b.Statement.Predicate) != `{"a":"<&>"}` {
				t.Errorf("the predicate became %s", b.Statement.Predicate)
			}
			pem, err := os.ReadFile(key.Public)
			check(t, err)
			if id, err := bundle.KeyID(pub); err != nil || id != b.Hint || id != hexSHA256(pem) {
				t.Errorf("key id %s, %v; the file has %s", id, err, hexSHA256(pem))
			}
			if err := b.VerifyKey(&bundletest.NewKey(t, curve).Private.PublicKey); bundle.Rule(err) != bundle.RuleKey {
				t.Errorf("another key: %v", err)
			}
		})
	}
}

func hexSHA256(p []byte) string {
	sum := sha256.Sum256(p)
	const digits = "0123456789abcdef"
	var out []byte
	for _, c := range sum {
		out = append(out, digits[c>>4], digits[c&15])
	}
	return string(out)
}

// Other producers: the hint of cosign, none, null and the raw key of old OMS
// bundles; keyid null, empty and absent; unknown fields.
func TestVariantsThatAreAccepted(t *testing.T) {
	key := bundletest.NewKey(t, elliptic.P256())
	raw := signed(t, load(t, bundle.SignerConfig{Key: key.File}))
	der, err := x509.MarshalPKIXPublicKey(&key.Private.PublicKey)
	check(t, err)
	sum := sha256.Sum256(der)
	for name, change := range map[string]func(b object){
		"hint of cosign": func(b object) {
			b["verificationMaterial"].(object)["publicKey"] = object{"hint": base64.StdEncoding.EncodeToString(sum[:])}
		},
		"no hint":   func(b object) { b["verificationMaterial"].(object)["publicKey"] = object{} },
		"null hint": func(b object) { b["verificationMaterial"].(object)["publicKey"] = object{"hint": nil} },
		"raw key": func(b object) {
			b["verificationMaterial"] = object{"publicKey": object{"rawBytes": "eA==", "keyDetails": "PKIX_ECDSA_P256_SHA_256"}}
		},
		"keyid null":     func(b object) { sigOf(b)["keyid"] = nil },
		"keyid absent":   func(b object) { delete(sigOf(b), "keyid") },
		"unknown fields": func(b object) { b["more"] = 1; b["verificationMaterial"].(object)["more"] = object{} },
	} {
		t.Run(name, func(t *testing.T) {
			b, _ := bundletest.Decode(t, raw)
			change(b)
			src, err := json.Marshal(b)
			check(t, err)
			check(t, parsed(t, src).VerifyKey(&key.Private.PublicKey))
		})
	}
}

func sigOf(b object) object {
	return b["dsseEnvelope"].(object)["signatures"].([]any)[0].(object)
}

func TestStatementV01OnlyWhereAllowed(t *testing.T) {
	raw := signed(t, load(t, bundle.SignerConfig{Key: bundletest.NewKey(t, elliptic.P256()).File}))
	old := bundletest.Edit(t, raw, func(_, st object) { st["_type"] = bundle.StatementTypeV01 })
	if _, err := bundle.Parse(old); bundle.Rule(err) != bundle.RuleStatementType {
		t.Errorf("got %v", err)
	}
	parsed(t, old, bundle.StatementTypeV01)
}

// now is fixed: nothing here depends on the day that the tests run.
var now = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func TestCertificateRoundTrip(t *testing.T) {
	ca := bundletest.NewAuthority(t, now)
	for name, curve := range curves {
		t.Run(name, func(t *testing.T) {
			key := bundletest.NewKey(t, curve)
			cert := ca.Issue(t, &key.Private.PublicKey, now, nil)
			b := parsed(t, signed(t, load(t, bundle.SignerConfig{Key: key.File, Certificate: cert, Chain: []string{ca.IntermediateFile}})))
			leaf, err := b.VerifyCertificate(ca.Roots, now)
			check(t, err)
			if leaf.Subject.CommonName != "test signer" {
				t.Errorf("leaf is %s", leaf.Subject)
			}
			if _, err := b.VerifyCertificate(nil, now); err == nil || errors.Is(err, bundle.ErrSignature) {
				t.Errorf("no roots: %v", err)
			}
		})
	}
	key := bundletest.NewKey(t, elliptic.P256())
	signing := ca.Issue(t, &key.Private.PublicKey, now, func(c *x509.Certificate) {
		c.KeyUsage, c.ExtKeyUsage = 0, []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning}
	})
	b := parsed(t, signed(t, load(t, bundle.SignerConfig{Key: key.File, Certificate: signing, Chain: []string{ca.IntermediateFile, ca.RootFile}})))
	if _, err := b.VerifyCertificate(ca.Roots, now); err != nil {
		t.Errorf("codeSigning alone: %v", err)
	}
}

func TestNegativeMatrix(t *testing.T) {
	key := bundletest.NewKey(t, elliptic.P256())
	good := signed(t, load(t, bundle.SignerConfig{Key: key.File}))
	log := func(t *testing.T, area, name string, err error, want string) {
		t.Helper()
		if bundle.Rule(err) != want || want == "" {
			t.Fatalf("got rule %q (%v), want %q", bundle.Rule(err), err, want)
		}
		t.Logf("%-28s %-44s -> %s", area, name, want)
	}
	for _, c := range []struct {
		name   string
		change func(b, st object)
		rule   string
	}{
		{"wrong mediaType", func(b, _ object) { b["mediaType"] = "application/vnd.dev.sigstore.bundle+json;version=0.2" }, bundle.RuleMediaType},
		{"mediaType missing", func(b, _ object) { delete(b, "mediaType") }, bundle.RuleMediaType},
		{"wrong payloadType", func(b, _ object) { b["dsseEnvelope"].(object)["payloadType"] = "text/plain" }, bundle.RulePayloadType},
		{"envelope missing", func(b, _ object) { delete(b, "dsseEnvelope") }, bundle.RuleEnvelope},
		{"message signature too", func(b, _ object) { b["messageSignature"] = object{} }, bundle.RuleEnvelope},
		{"two signatures", func(b, _ object) {
			e := b["dsseEnvelope"].(object)
			e["signatures"] = append(e["signatures"].([]any), e["signatures"].([]any)[0])
		}, bundle.RuleSignatures},
		{"no signature", func(b, _ object) { b["dsseEnvelope"].(object)["signatures"] = []any{} }, bundle.RuleSignatures},
		{"empty signature", func(b, _ object) { sigOf(b)["sig"] = "" }, bundle.RuleSignatures},
		{"no verification material", func(b, _ object) { delete(b, "verificationMaterial") }, bundle.RuleMaterial},
		{"key and certificate", func(b, _ object) {
			b["verificationMaterial"].(object)["certificate"] = object{"rawBytes": "eA=="}
		}, bundle.RuleMaterial},
		{"chain without certificates", func(b, _ object) {
			b["verificationMaterial"] = object{"x509CertificateChain": object{"certificates": []any{}}}
		}, bundle.RuleMaterial},
		{"wrong _type", func(_, st object) { st["_type"] = "https://in-toto.io/Statement/v0.1" }, bundle.RuleStatementType},
		{"_type missing", func(_, st object) { delete(st, "_type") }, bundle.RuleStatementType},
		{"predicateType missing", func(_, st object) { delete(st, "predicateType") }, bundle.RulePredicateType},
		{"no subject", func(_, st object) { st["subject"] = []any{} }, bundle.RuleSubject},
		{"subject without digest", func(_, st object) { st["subject"].([]any)[0].(object)["digest"] = object{} }, bundle.RuleSubject},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := bundle.Parse(bundletest.Edit(t, good, c.change))
			if !errors.Is(err, bundle.ErrFormat) {
				t.Errorf("%v is no ErrFormat", err)
			}
			log(t, "bundle", c.name, err, c.rule)
		})
	}
	for _, c := range []struct {
		name, rule string
		src        func() []byte
	}{
		{"truncated", bundle.RuleJSON, func() []byte { return good[:len(good)/2] }},
		{"empty file", bundle.RuleJSON, func() []byte { return nil }},
		{"an array", bundle.RuleJSON, func() []byte { return []byte("[]") }},
		{"text after it", bundle.RuleJSON, func() []byte { return append(bytes.Clone(good), "{}"...) }},
		{"key twice", bundle.RuleJSON, func() []byte { return bytes.Replace(good, []byte("{"), []byte(`{"mediaType":"x",`), 1) }},
		{"key twice in another case", bundle.RuleJSON, func() []byte { return bytes.Replace(good, []byte("{"), []byte(`{"MEDIATYPE":"x",`), 1) }},
		{"not UTF-8", bundle.RuleJSON, func() []byte { return bytes.Replace(good, []byte("{"), []byte("{\"\xff\":1,"), 1) }},
		{"half a surrogate pair", bundle.RuleJSON, func() []byte { return bytes.Replace(good, []byte("{"), []byte(`{"\ud800":1,`), 1) }},
		{"nested 100,000 deep", bundle.RuleJSON, func() []byte { return bytes.Repeat([]byte("["), 100_000) }},
		{"larger than the limit", bundle.RuleSize, func() []byte { return make([]byte, bundle.MaxBundle+1) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := bundle.Parse(c.src())
			log(t, "bundle", c.name, err, c.rule)
		})
	}
	t.Run("subject twice in the payload", func(t *testing.T) {
		_, err := bundle.ParseStatement([]byte(`{"_type":"` + bundle.StatementType + `","subject":[{"digest":{"a":"b"}}],"Subject":[],"predicateType":"x"}`))
		log(t, "bundle", "subject twice in the payload", err, bundle.RuleStatement)
	})
	for _, c := range []struct {
		name, rule string
		change     func(b, st object)
	}{
		{"payload changed", bundle.RuleInvalid, func(_, st object) { st["predicate"] = object{"a": 1} }},
		{"hint of another key", bundle.RuleKey, func(b, _ object) { b["verificationMaterial"] = object{"publicKey": object{"hint": "00"}} }},
		{"signature is no DER", bundle.RuleInvalid, func(b, _ object) { sigOf(b)["sig"] = "eA==" }},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := parsed(t, bundletest.Edit(t, good, c.change))
			err := b.VerifyKey(&key.Private.PublicKey)
			if !errors.Is(err, bundle.ErrSignature) {
				t.Errorf("%v is no ErrSignature", err)
			}
			log(t, "signature by key", c.name, err, c.rule)
		})
	}
	ca, other := bundletest.NewAuthority(t, now), bundletest.NewAuthority(t, now)
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	check(t, err)
	for _, c := range []struct {
		name, rule string
		public     any
		issue      func(*x509.Certificate)
		roots      *x509.CertPool
		at         time.Time
		change     func(b, st object)
	}{
		{name: "expired", rule: bundle.RuleExpired, at: now.AddDate(1, 0, 0)},
		{name: "not yet valid", rule: bundle.RuleNotYet, at: now.AddDate(-1, 0, 0)},
		{name: "root expired, leaf not", rule: bundle.RuleExpired, at: now.AddDate(3, 0, 0), issue: func(c *x509.Certificate) { c.NotAfter = now.AddDate(5, 0, 0) }},
		{name: "root not yet valid", rule: bundle.RuleNotYet, at: now.AddDate(-3, 0, 0), issue: func(c *x509.Certificate) { c.NotBefore = now.AddDate(-5, 0, 0) }},
		{name: "wrong usage", rule: bundle.RuleUsage, issue: func(c *x509.Certificate) {
			c.KeyUsage, c.ExtKeyUsage = x509.KeyUsageKeyAgreement, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
		}},
		{name: "no usage at all", rule: bundle.RuleUsage, issue: func(c *x509.Certificate) { c.KeyUsage = 0 }},
		{name: "another root", rule: bundle.RuleUntrusted, roots: other.Roots},
		{name: "RSA key in the certificate", rule: bundle.RuleCertKey, public: &rsaKey.PublicKey},
		{name: "curve P-224", rule: bundle.RuleCertKey, public: &p224(t).PublicKey},
		{name: "certificate of another key", rule: bundle.RuleInvalid, public: &bundletest.NewKey(t, elliptic.P256()).Private.PublicKey},
		{name: "intermediate left out", rule: bundle.RuleUntrusted, change: func(b, _ object) {
			c := b["verificationMaterial"].(object)["x509CertificateChain"].(object)
			c["certificates"] = c["certificates"].([]any)[:1]
		}},
		{name: "certificate is no DER", rule: bundle.RuleCertificate, change: func(b, _ object) {
			b["verificationMaterial"] = object{"x509CertificateChain": object{"certificates": []any{object{"rawBytes": "eA=="}}}}
		}},
		{name: "payload changed", rule: bundle.RuleInvalid, change: func(_, st object) { st["predicateType"] = "other" }},
	} {
		t.Run("certificate "+c.name, func(t *testing.T) {
			if c.public == nil {
				c.public = &key.Private.PublicKey
			}
			if c.roots == nil {
				c.roots = ca.Roots
			}
			if c.at.IsZero() {
				c.at = now
			}
			cert := ca.Issue(t, c.public, now, c.issue)
			raw := withChain(t, good, cert, ca.IntermediateFile)
			if c.change != nil {
				raw = bundletest.Edit(t, raw, c.change)
			}
			_, err := parsed(t, raw).VerifyCertificate(c.roots, c.at)
			log(t, "signature by certificate", c.name, err, c.rule)
		})
	}
	t.Run("key bundle as certificate", func(t *testing.T) {
		_, err := parsed(t, good).VerifyCertificate(ca.Roots, now)
		log(t, "signature by certificate", "key bundle as certificate", err, bundle.RuleMethod)
	})
	t.Run("certificate bundle as key", func(t *testing.T) {
		cert := ca.Issue(t, &key.Private.PublicKey, now, nil)
		err := parsed(t, withChain(t, good, cert)).VerifyKey(&key.Private.PublicKey)
		log(t, "signature by key", "certificate bundle as key", err, bundle.RuleMethod)
	})
}

// withChain puts certificates, fitting or not, where a bundle names its key.
func withChain(t *testing.T, raw []byte, files ...string) []byte {
	t.Helper()
	var chain []any
	for _, f := range files {
		certs, err := bundle.LoadCertificates(f)
		check(t, err)
		chain = append(chain, object{"rawBytes": certs[0].Raw})
	}
	b, _ := bundletest.Decode(t, raw)
	b["verificationMaterial"] = object{"x509CertificateChain": object{"certificates": chain}}
	src, err := json.Marshal(b)
	check(t, err)
	return src
}

func p224(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	check(t, err)
	return k
}

func FuzzParse(f *testing.F) {
	key := bundletest.NewKey(f, elliptic.P256())
	f.Add(signed(f, load(f, bundle.SignerConfig{Key: key.File})))
	f.Add([]byte(`{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json","verificationMaterial":{"publicKey":{}},"dsseEnvelope":{}}`))
	f.Fuzz(func(t *testing.T, src []byte) {
		b, err := bundle.Parse(src, bundle.StatementTypeV01)
		if err != nil {
			if !errors.Is(err, bundle.ErrFormat) || bundle.Rule(err) == "" {
				t.Fatalf("%v is no ErrFormat with a rule", err)
			}
			return
		}
		if b.Kind == "" || len(b.Payload) == 0 || len(b.Signature) == 0 || len(b.Statement.Subject) == 0 {
			t.Fatalf("accepted with holes: %+v", b)
		}
		if b.Kind == bundle.Key {
			b.VerifyKey(&key.Private.PublicKey)
		} else {
			b.VerifyCertificate(x509.NewCertPool(), now)
		}
	})
}

func FuzzStrict(f *testing.F) {
	for _, s := range []string{`{"a":1,"A":2}`, `{"predicate":{"a":1,"A":2}}`, `"\ud800\udc00"`, `"\ud800"`, `"\\ud800"`, `[1]]`, ``} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		if bundle.Strict(src) == nil && !json.Valid(src) {
			t.Fatalf("%q passes and is no JSON", src)
		}
	})
}

func TestStrict(t *testing.T) {
	for src, ok := range map[string]bool{
		`{"a":1,"b":{"a":2}}`: true, `{"a":1,"a":2}`: false, `{"a":1,"A":2}`: false, `{"s":1,"ſ":2}`: false,
		`{"predicate":{"a":1,"A":2}}`: true, `{"predicate":{"a":1,"a":2}}`: false, `[{"a":1},{"a":1}]`: true,
		`"\ud83d\ude00"`: true, `"\ud83d"`: false, `"\ude00"`: false, `"\\ud83d"`: true, `"\ud83d\\ude00"`: false,
		`"\ufffd"`: true, `{} `: true, `{} {}`: false, `{`: false, ``: false, `nul`: false,
	} {
		if err := bundle.Strict([]byte(src)); (err == nil) != ok {
			t.Errorf("%s: %v", src, err)
		}
	}
}

func TestClaims(t *testing.T) {
	path := filepath.Join(t.TempDir(), "claims.jsonl")
	s := load(t, bundle.SignerConfig{Key: bundletest.NewKey(t, elliptic.P256()).File})
	if got, err := bundle.ReadClaims(path); err != nil || got != nil {
		t.Fatalf("no file: %v, %v", got, err)
	}
	one, two := signed(t, s), signed(t, s)
	var pretty bytes.Buffer
	check(t, json.Indent(&pretty, two, "", "  "))
	for _, raw := range [][]byte{one, pretty.Bytes(), one, two} {
		check(t, bundle.AppendClaim(path, raw))
	}
	got, err := bundle.ReadClaims(path)
	check(t, err)
	if len(got) != 2 || got[0].Line != 1 || got[1].Line != 2 || !bytes.Equal(got[1].Raw, two) {
		t.Fatalf("read %d claims", len(got))
	}
	if err := bundle.AppendClaim(path, []byte("{}")); !errors.Is(err, bundle.ErrFormat) {
		t.Errorf("appended rubbish: %v", err)
	}

	// A line cut off by another program, then more of ours.
	src, err := os.ReadFile(path)
	check(t, err)
	check(t, os.WriteFile(path, append(append([]byte("\n{}\n"), src...), one[:50]...), 0o644))
	check(t, bundle.AppendClaim(path, signed(t, s)))
	got, err = bundle.ReadClaims(path)
	if len(got) != 3 || got[0].Line != 3 || !errors.Is(err, bundle.ErrFormat) || !strings.Contains(err.Error(), "claims.jsonl:2:") || !strings.Contains(err.Error(), "1 more") {
		t.Errorf("%d claims, %v", len(got), err)
	}
	if left, err := os.ReadDir(filepath.Dir(path)); err != nil || len(left) != 1 {
		t.Errorf("the folder holds %v, %v", left, err)
	}
}

func TestClaimsAreAppendedByManyAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "claims.jsonl")
	s := load(t, bundle.SignerConfig{Key: bundletest.NewKey(t, elliptic.P256()).File})
	errs := make(chan error)
	for range 8 {
		raw := signed(t, s)
		go func() { errs <- bundle.AppendClaim(path, raw) }()
	}
	for range 8 {
		check(t, <-errs)
	}
	if got, err := bundle.ReadClaims(path); err != nil || len(got) != 8 {
		t.Fatalf("%d claims, %v", len(got), err)
	}
}
