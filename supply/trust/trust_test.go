package trust

import (
	"crypto/elliptic"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"errors"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weighbridge/weighbridge/record"
	"github.com/weighbridge/weighbridge/supply/bundle"
	"github.com/weighbridge/weighbridge/supply/bundle/bundletest"
)

var now = time.Date(2026, 5, 15, 12, 0, 0, 0, time.UTC)

func TestExample(t *testing.T) {
	p, err := Load(filepath.FromSlash("testdata/trust.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	s, ok := p.Find("release-team")
	if !ok || s.Method != bundle.Key || s.Person != "alice@example.com" || !slices.Equal(s.May, []What{Model, SBOM, Provenance}) || len(s.KeyID) != 64 ||
		!s.From.Equal(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)) || !s.Until.Equal(time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)) {
		t.Errorf("%+v", s)
	}
	if v, _ := p.Find("vendor"); v.Method != bundle.Certificate {
		t.Errorf("%+v", v)
	}
	if e := p.Environments["prod"]; e.MaxVerdictAge != 720*time.Hour || len(e.Policies) != 1 {
		t.Errorf("%+v", e)
	}
	if len(p.Signers) != 3 || len(p.Revocations) != 3 || p.Ledger.Origin != "ledger.example.com/gate" || !strings.HasPrefix(p.Digest, "sha256:") {
		t.Errorf("%+v", p)
	}
	if _, err := Load("/no/such/trust.yaml"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file that is not there: %v", err)
	}
}

func TestDigestCoversWhatTheFileNames(t *testing.T) {
	k := bundletest.NewKey(t, elliptic.P256())
	pub, err := os.ReadFile(k.Public)
	if err != nil {
		t.Fatal(err)
	}
	other, err := os.ReadFile(bundletest.NewKey(t, elliptic.P256()).Public)
	if err != nil {
		t.Fatal(err)
	}
	src := []byte("version: 1\nsigners:\n  - name: a\n    key: k.pub\n    may: [model]\n")
	digest := func(src, key []byte) string {
		p, err := Parse("trust.yaml", src, func(string) ([]byte, error) { return key, nil })
		if err != nil {
			t.Fatal(err)
		}
		return p.Digest
	}
	a := digest(src, pub)
	if b := digest(src, pub); a != b {
		t.Error("two readings differ")
	}
	if digest(src, other) == a || digest(append(src, '\n'), pub) == a {
		t.Error("a changed key or file has the same digest")
	}
}

// Everything that would make a rule void is an error at its line.
func TestNegativeMatrix(t *testing.T) {
	key := "    key: k.pub\n"
	signer := func(lines string) string { return "version: 1\nsigners:\n  - name: a\n" + lines }
	revoke := func(line string) string { return "version: 1\nrevocations:\n  - reason: r\n" + line }
	for _, tc := range []struct{ name, src, want string }{
		{"empty file", "", "the file is empty"},
		{"two documents", "version: 1\n---\nversion: 1\n", ":3: a second YAML document"},
		{"not YAML", "version: [1\n", "trust.yaml:1"},
		{"unknown version", "version: 2\n", ":1: `version: 2`"},
		{"no version", "signers: []\n", "`version: 0`"},
		{"unknown field", "version: 1\nsigner: []\n", ":2: unknown field"},
		{"unknown field of a signer", signer(key + "    may: [model]\n    models_: [x]\n"), ":6: unknown field"},
		{"field given twice", "version: 1\nversion: 1\n", ":2: mapping key"},
		{"anchors", "version: &v 1\n", ":1: YAML anchors"},
		{"tag", "version: !!int 1\n", ":1: YAML anchors"},
		{"no name", "version: 1\nsigners:\n  - key: k.pub\n    may: [model]\n", ":3: signer \"\": `name:`"},
		{"name with an escape", "version: 1\nsigners:\n  - name: \"a\\e[2J\"\n" + key + "    may: [model]\n", ":3:"},
		{"name given twice", signer(key+"    may: [model]\n") + "  - name: a\n    key: k2.pub\n    may: [model]\n", ":6: the signer \"a\" is there already, on line 3"},
		{"no method", signer("    may: [model]\n"), ":3: signer \"a\" has 0 of"},
		{"two methods", signer(key + "    may: [model]\n    keyless: {identity: a, issuer: b, trusted_root: r}\n"), "has 2 of"},
		{"may nothing", signer(key), "`may:` is empty"},
		{"may something unknown", signer(key + "    may:\n      - model\n      - modle\n"), ":7: signer \"a\": `may:` lists \"modle\""},
		{"key is not there", signer("    may: [model]\n    key: none.pub\n"), ":5: open none.pub"},
		{"key is private", signer("    may: [model]\n    key: private.pem\n"), ":5: `key: private.pem`"},
		{"key is no PEM", signer("    may: [model]\n    key: junk\n"), ":5: `key: junk`"},
		{"key with two owners", signer(key+"    may: [model]\n") + "  - name: b\n    may: [model]\n    key: k.pub\n", ":8: `key: k.pub` is the key of signer \"a\" too"},
		{"malformed pattern", signer(key + "    may: [model]\n    models: [\"a[\"]\n"), ":6: signer \"a\": `models:`"},
		{"pattern with ** inside a segment", signer(key + "    may: [model]\n    models: [\"a**\"]\n"), ":6: signer \"a\": `models:`"},
		{"no model at all", signer(key + "    may: [model]\n    models: []\n"), "an empty list"},
		{"date that is none", signer(key + "    may: [model]\n    valid: {from: 2026-02-30}\n"), ":6: \"2026-02-30\""},
		{"ends before it begins", signer(key + "    may: [model]\n    valid: {from: 2026-02-02, until: 2026-02-01}\n"), ":6: signer \"a\": `valid:` ends"},
		{"verdicts without a verifier", signer(key + "    may: [verdict]\n"), "needs `verifier:`"},
		{"verifier that is no URI", signer(key + "    may: [verdict]\n    verifier: gate\n"), ":6: signer \"a\""},
		{"verifier without verdicts", signer(key + "    may: [model]\n    verifier: https://x\n"), ":6: signer \"a\": `verifier:`"},
		{"certificate without constraint", signer("    may: [model]\n    certificate: {roots: [ca.pem]}\n"), ":5: `certificate:` needs at least one"},
		{"certificate without roots", signer("    may: [model]\n    certificate: {email: a@b}\n"), ":5: `certificate: roots:` names no PEM file"},
		{"roots that are no certificates", signer("    may: [model]\n    certificate:\n      email: a@b\n      roots: [k.pub]\n"), ":7: `certificate: roots:` k.pub holds no"},
		{"keyless without issuer", signer("    may: [model]\n    keyless: {identity: a, trusted_root: junk}\n"), ":5: `keyless:` needs `issuer:`"},
		{"keyless without identity", signer("    may: [model]\n    keyless: {issuer: a, trusted_root: junk}\n"), ":5: `keyless:` needs either"},
		{"keyless with a pattern that is none", signer("    may: [model]\n    keyless: {identity_regexp: \"(\", issuer: a, trusted_root: junk}\n"), ":5: `identity_regexp:`"},
		{"keyless with a root that is none", signer("    may: [model]\n    keyless: {identity: a, issuer: b, trusted_root: junk}\n"), ":5: `keyless:` unusable trust"},
		{"revocation of nothing", revoke("    from: 2026-01-01\n"), ":3: revocation: it names 0"},
		{"revocation of two things", revoke("    from: 2026-01-01\n    signer: a\n    key: b\n"), "it names 2"},
		{"revocation of a key by its file", revoke("    from: 2026-01-01\n    key: k.pub\n"), ":5: revocation: `key: k.pub` is no key ID"},
		{"revocation of a model by its name", revoke("    from: 2026-01-01\n    model: m\n"), ":5: revocation: `model: m`"},
		{"revocation of nobody", revoke("    from: 2026-01-01\n    signer: b\n"), ":5: revocation: there is no signer \"b\""},
		{"revocation without a date", revoke("    signer: b\n"), "`from:` is missing"},
		{"revocation without a reason", "version: 1\nrevocations:\n  - from: 2026-01-01\n    signer: b\n", "`reason:` is missing"},
		{"age that is none", "version: 1\nenvironments:\n  prod:\n    max_verdict_age: 30d\n", ":4: environment prod: `max_verdict_age: 30d`"},
		{"policy that is no digest", "version: 1\nenvironments:\n  prod:\n    policies: [strict]\n", ":4: environment prod: `policies:`"},
		{"no policy at all", "version: 1\nenvironments:\n  prod:\n    policies: []\n", "would allow none"},
		{"ledger without a key", "version: 1\nledger:\n  origin: o\n", ":3: ledger: `public_key:`"},
		{"ledger's key of another ledger", "version: 1\nledger:\n  origin: o\n  public_key: " + ledgerKey + "\n", ":4: ledger: `public_key:` is of"},
		{"timestamping without roots", "version: 1\ntimestamping: {roots: []}\n", ":2: `timestamping: roots:`"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := Parse("trust.yaml", []byte(tc.src), testFiles(t))
			if !errors.Is(err, ErrTrust) || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want %q in it", err, tc.want)
			}
			t.Logf("%-28s %-44s -> %s", "trust file", tc.name, "unusable trust file (exit 2)")
		})
	}
}

// ledgerKey is the one of testdata/trust.yaml.
const ledgerKey = "ledger.example.com/gate+97e1eebe+AeS/MFraPPGvRmNT9iQvISfdSv9Jja3PERUV+HH0a3dB"

var files map[string][]byte

func testFiles(t testing.TB) func(string) ([]byte, error) {
	t.Helper()
	if files == nil {
		a, b := bundletest.NewKey(t, elliptic.P256()), bundletest.NewKey(t, elliptic.P256())
		m := map[string][]byte{"junk": []byte("junk")}
		for name, path := range map[string]string{"k.pub": a.Public, "private.pem": a.File, "k2.pub": b.Public, "ca.pem": bundletest.NewAuthority(t, now).RootFile} {
			src, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			m[name] = src
		}
		files = m
	}
	return func(name string) ([]byte, error) {
		if src, ok := files[name]; ok {
			return src, nil
		}
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
}

func FuzzParse(f *testing.F) {
	src, err := os.ReadFile(filepath.FromSlash("testdata/trust.yaml"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(src)
	for _, s := range []string{"version: 1", "version: 1\nsigners:\n  - {name: a, key: k.pub, may: [model], valid: {until: 2026-01-01}}\n", "- - -", "{{{{"} {
		f.Add([]byte(s))
	}
	open := testFiles(f)
	f.Fuzz(func(t *testing.T, src []byte) {
		p, err := Parse("trust.yaml", src, open)
		if (p == nil) == (err == nil) || err != nil && !errors.Is(err, ErrTrust) {
			t.Fatalf("%v, %v", p, err)
		}
		if err == nil {
			for _, s := range p.Signers {
				if s.Name == "" || len(s.May) == 0 || s.Method == "" {
					t.Fatalf("a void signer: %+v", s)
				}
			}
		}
	})
}

func TestMatch(t *testing.T) {
	for _, tc := range []struct {
		pattern, name string
		want          bool
	}{
		{"a", "a", true}, {"a", "b", false}, {"a", "a/b", false}, {"a*", "abc", true}, {"a*", "a/b", false}, {"*/b", "a/b", true},
		{"**", "a", true}, {"**", "a/b/c", true}, {"a/**", "a", true}, {"a/**", "a/b/c", true}, {"a/**", "ab", false}, {"**/c", "a/b/c", true},
		{"a/**/c", "a/c", true}, {"a/**/c", "a/x/y/c", true}, {"a/**/c", "a/x/y", false}, {"[ab]?", "ax", true}, {"a", "", false}, {"**", "", true},
		{strings.Repeat("**/", 50) + "x", strings.Repeat("a/", 50) + "y", false},
	} {
		if got := Match(tc.pattern, tc.name); got != tc.want {
			t.Errorf("Match(%.20q, %.20q) is %v", tc.pattern, tc.name, got)
		}
	}
}

// signed makes a bundle by a key, or by a certificate of it.
func signed(t testing.TB, c bundle.SignerConfig) *bundle.Bundle {
	t.Helper()
	s, err := bundle.LoadSigner(c)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := s.Sign(bundle.Statement{Type: bundle.StatementType, PredicateType: bundle.PredicateOMS, Predicate: json.RawMessage(`{}`),
		Subject: []bundle.Subject{{Name: "m", Digest: map[string]string{"sha256": strings.Repeat("00", 32)}}}})
	if err != nil {
		t.Fatal(err)
	}
	b, err := bundle.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestJudge(t *testing.T) {
	key, other := bundletest.NewKey(t, elliptic.P256()), bundletest.NewKey(t, elliptic.P384())
	ca, stranger := bundletest.NewAuthority(t, now), bundletest.NewAuthority(t, now)
	vendor := func(c *x509.Certificate) {
		c.Subject = pkix.Name{CommonName: "models", Organization: []string{"Vendor"}}
		c.EmailAddresses = []string{"models@example.com"}
		c.URIs = []*url.URL{{Scheme: "spiffe", Host: "example.com", Path: "/signer"}}
	}
	by := func(a *bundletest.Authority, change func(*x509.Certificate)) *bundle.Bundle {
		return signed(t, bundle.SignerConfig{Key: key.File, Certificate: a.Issue(t, &key.Private.PublicKey, now, change), Chain: []string{a.IntermediateFile}})
	}
	id, err := bundle.KeyID(&key.Private.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	byKey := "  - name: a\n    key: " + key.Public + "\n    may: [model]\n"
	byCert := func(constraint string) string {
		return "  - name: v\n    certificate: {roots: [" + ca.RootFile + "], " + constraint + "}\n    may: [model]\n"
	}
	forged := signed(t, bundle.SignerConfig{Key: key.File})
	forged.Payload = []byte(strings.Replace(string(forged.Payload), "00", "11", 1))
	early, late := now.AddDate(0, -2, 0), now.AddDate(0, 0, -1)
	revoked := "revocations:\n  - {key: " + id + ", from: 2026-05-01, reason: lost}\n"
	for _, tc := range []struct {
		name   string
		trust  string
		bundle *bundle.Bundle
		ask    Ask
		want   string // signer, or rules
	}{
		{"key", byKey, signed(t, bundle.SignerConfig{Key: key.File}), Ask{}, "a"},
		{"another key", byKey, signed(t, bundle.SignerConfig{Key: other.File}), Ask{}, RuleSignerUnknown},
		{"a key of P-384", "  - name: b\n    key: " + other.Public + "\n    may: [model]\n", signed(t, bundle.SignerConfig{Key: other.File}), Ask{}, "b"},
		{"payload exchanged", byKey, forged, Ask{}, bundle.RuleInvalid},
		{"may not sign verdicts", byKey, signed(t, bundle.SignerConfig{Key: key.File}), Ask{What: Verdict}, RuleSignerScope},
		{"may not sign for this model", byKey + "    models: [\"support-*\"]\n", signed(t, bundle.SignerConfig{Key: key.File}), Ask{Model: "risk"}, RuleSignerModel},
		{"may sign for this model", byKey + "    models: [x, \"support-*\"]\n", signed(t, bundle.SignerConfig{Key: key.File}), Ask{Model: "support-1"}, "a"},
		{"limited to models, and none is named", byKey + "    models: [\"**\"]\n", signed(t, bundle.SignerConfig{Key: key.File}), Ask{}, RuleSignerModel},
		{"may not sign for this environment", byKey + "    environments: [staging]\n", signed(t, bundle.SignerConfig{Key: key.File}), Ask{Environment: "prod"}, RuleSignerEnvironment},
		{"limited to environments, and none is named", byKey + "    environments: [staging]\n", signed(t, bundle.SignerConfig{Key: key.File}), Ask{}, RuleSignerEnvironment},
		{"not yet valid", byKey + "    valid: {from: 2026-05-16}\n", signed(t, bundle.SignerConfig{Key: key.File}), Ask{}, RuleSignerEarly},
		{"valid on its last day", byKey + "    valid: {until: 2026-05-15}\n", signed(t, bundle.SignerConfig{Key: key.File}), Ask{}, "a"},
		{"no longer valid", byKey + "    valid: {until: 2026-05-14}\n", signed(t, bundle.SignerConfig{Key: key.File}), Ask{}, RuleSignerExpired},
		{"no longer valid, and proven to be older", byKey + "    valid: {until: 2026-05-14}\n", signed(t, bundle.SignerConfig{Key: key.File}), Ask{LedgerTime: &early}, "a"},
		{"proven to be made before it was valid", byKey + "    valid: {from: 2026-05-01}\n", signed(t, bundle.SignerConfig{Key: key.File}), Ask{LedgerTime: &early}, RuleSignerEarly},
		{"revoked, without a trusted time", byKey + revoked, signed(t, bundle.SignerConfig{Key: key.File}), Ask{}, RuleKeyRevoked},
		{"revoked, proven to be made before", byKey + revoked, signed(t, bundle.SignerConfig{Key: key.File}), Ask{LedgerTime: &early}, "a"},
		{"revoked, proven to be made after", byKey + revoked, signed(t, bundle.SignerConfig{Key: key.File}), Ask{LedgerTime: &late}, RuleKeyRevoked},
		{"revoked, and no signer's", "revocations:\n  - {key: " + id + ", from: 2026-05-01, reason: lost}\n", signed(t, bundle.SignerConfig{Key: key.File}), Ask{}, RuleKeyRevoked + " " + RuleSignerUnknown},
		{"signer revoked", byKey + "revocations:\n  - {signer: a, from: 2026-05-01, reason: gone}\n", signed(t, bundle.SignerConfig{Key: key.File}), Ask{}, RuleSignerRevoked},
		{"two reasons", byKey + "    models: [x]\n    environments: [y]\n", signed(t, bundle.SignerConfig{Key: key.File}), Ask{}, RuleSignerModel + " " + RuleSignerEnvironment},
		{"certificate by subject", byCert("subject: \"CN=models,O=Vendor\""), by(ca, vendor), Ask{}, "v"},
		{"certificate by e-mail", byCert("email: models@example.com"), by(ca, vendor), Ask{}, "v"},
		{"certificate by URI", byCert("uri: spiffe://example.com/signer"), by(ca, vendor), Ask{}, "v"},
		{"certificate of another subject", byCert("subject: \"CN=models,O=Other\""), by(ca, vendor), Ask{}, RuleSignerUnknown},
		{"certificate that fits in one of two", byCert("email: models@example.com, dns: example.com"), by(ca, vendor), Ask{}, RuleSignerUnknown},
		{"certificate of another authority", byCert("email: models@example.com"), by(stranger, vendor), Ask{}, bundle.RuleUntrusted},
		{"certificate that expired", byCert("email: models@example.com"), by(ca, func(c *x509.Certificate) { vendor(c); c.NotAfter = now.AddDate(0, -1, 0) }), Ask{}, bundle.RuleExpired},
		{"certificate that expired, proven to be older", byCert("email: models@example.com"), by(ca, func(c *x509.Certificate) { vendor(c); c.NotAfter = now.AddDate(0, -1, 0) }), Ask{LedgerTime: &early}, "v"},
		{"certificate whose key is revoked", byCert("email: models@example.com") + revoked, by(ca, vendor), Ask{}, RuleKeyRevoked},
		{"certificate where a key is trusted", byKey, by(ca, vendor), Ask{}, RuleSignerUnknown},
		{"key where a certificate is trusted", byCert("email: models@example.com"), signed(t, bundle.SignerConfig{Key: key.File}), Ask{}, RuleSignerUnknown},
	} {
		t.Run(tc.name, func(t *testing.T) {
			text := tc.trust
			if !strings.HasPrefix(text, "revocations") {
				text = "signers:\n" + text
			}
			p, err := Parse("trust.yaml", []byte("version: 1\n"+text), os.ReadFile)
			if err != nil {
				t.Fatal(err)
			}
			ask := tc.ask
			ask.Now = now
			if ask.What == "" {
				ask.What = Model
			}
			signer, at, problems := p.Judge(tc.bundle, ask)
			var got []string
			if signer != nil {
				got = append(got, signer.Name)
				if signer.KeyID == "" || ask.LedgerTime != nil && !at.Equal(*ask.LedgerTime) {
					t.Errorf("key %q, judged at %s", signer.KeyID, at)
				}
			}
			for _, x := range problems {
				got = append(got, x.Rule)
				if x.Detail == "" {
					t.Errorf("no detail: %+v", x)
				}
			}
			if diff := cmp.Diff(strings.Fields(tc.want), got); diff != "" {
				t.Errorf("(-want +got):\n%s\n%+v", diff, problems)
			}
			t.Logf("%-28s %-44s -> %s", "signer", tc.name, tc.want)
		})
	}
}

func TestRevoked(t *testing.T) {
	h := strings.Repeat("ab", 32)
	p, err := Parse("trust.yaml", []byte("version: 1\nrevocations:\n  - {model: \"sha256:"+h+"\", from: 2026-05-01, reason: r}\n"), os.ReadFile)
	if err != nil {
		t.Fatal(err)
	}
	want := []record.Problem{{Rule: RuleModelRevoked, Subject: h, Detail: "revoked from 2026-05-01T00:00:00Z on: r"}}
	for _, names := range [][]string{{h}, {"x", "sha256:" + h}} {
		if diff := cmp.Diff(want, p.Revoked(names, "", "", now)); diff != "" {
			t.Error(diff)
		}
	}
	if got := p.Revoked([]string{h}, "", "", now.AddDate(0, -1, 0)); got != nil {
		t.Errorf("before its date: %v", got)
	}
	if got := p.Revoked([]string{""}, "", "", now); got != nil {
		t.Errorf("no name: %v", got)
	}
}
