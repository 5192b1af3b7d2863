package keyless_test

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/testing/ca"
	"github.com/sigstore/sigstore-go/pkg/verify"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/weighbridge/weighbridge/supply/bundle"
	"github.com/weighbridge/weighbridge/supply/bundle/bundletest"
	"github.com/weighbridge/weighbridge/supply/signing/keyless"
)

type object = bundletest.Object

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

const (
	subject = "trainer@example.com"
	issuer  = "https://issuer.example.com"
	payload = `{"_type":"https://in-toto.io/Statement/v1","predicateType":"https://example.com/p","subject":[{"name":"m","digest":{"sha256":"0000000000000000000000000000000000000000000000000000000000000000"}}],"predicate":{}}`
)

// sigstore is sigstore-go's own authority, log and time stamping for tests.
func sigstore(t *testing.T) *ca.VirtualSigstore {
	t.Helper()
	vs, err := ca.NewVirtualSigstore()
	check(t, err)
	return vs
}

// trustedRoot is what a private Sigstore would publish; withCT names its
// certificate log, too.
func trustedRoot(t *testing.T, vs *ca.VirtualSigstore, withCT bool) []byte {
	t.Helper()
	ct := map[string]*root.TransparencyLog{}
	if withCT {
		ct = rawIDs(t, vs.CTLogs())
	}
	tr, err := root.NewTrustedRoot(root.TrustedRootMediaType01, vs.FulcioCertificateAuthorities(), ct, vs.TimestampingAuthorities(), rawIDs(t, vs.RekorLogs()))
	check(t, err)
	src, err := tr.MarshalJSON()
	check(t, err)
	return src
}

// rawIDs mends the virtual logs, whose ids are hex where the file wants bytes.
func rawIDs(t *testing.T, logs map[string]*root.TransparencyLog) map[string]*root.TransparencyLog {
	t.Helper()
	for id, l := range logs {
		raw, err := hex.DecodeString(id)
		check(t, err)
		l.ID = raw
	}
	return logs
}

// attest gives a bundle file.
func attest(t *testing.T, vs *ca.VirtualSigstore) []byte {
	t.Helper()
	e, err := vs.AttestHashedRekordV2(subject, issuer, []byte(payload))
	check(t, err)
	content, err := e.VerificationContent()
	check(t, err)
	sig, err := e.SignatureContent()
	check(t, err)
	env, ok := sig.(verify.EnvelopeContent)
	if !ok {
		t.Fatalf("%T holds no envelope", sig)
	}
	raw := env.RawEnvelope()
	entries, err := e.TlogEntries()
	check(t, err)
	var logged []any
	for _, entry := range entries {
		src, err := protojson.Marshal(entry.TransparencyLogEntry())
		check(t, err)
		logged = append(logged, json.RawMessage(src))
	}
	stamps, err := e.Timestamps()
	check(t, err)
	var times []any
	for _, s := range stamps {
		times = append(times, object{"signedTimestamp": s})
	}
	src, err := json.Marshal(object{
		"mediaType": bundle.MediaType,
		"verificationMaterial": object{
			"certificate":               object{"rawBytes": content.Certificate().Raw},
			"tlogEntries":               logged,
			"timestampVerificationData": object{"rfc3161Timestamps": times},
		},
		"dsseEnvelope": object{"payload": raw.Payload, "payloadType": raw.PayloadType, "signatures": []any{object{"sig": raw.Signatures[0].Sig}}},
	})
	check(t, err)
	return src
}

func TestVerify(t *testing.T) {
	vs := sigstore(t)
	raw, trusted := attest(t, vs), trustedRoot(t, vs, false)
	b, err := bundle.Parse(raw)
	check(t, err)
	for name, id := range map[string]keyless.Identity{
		"exact":   {Subject: subject, Issuer: issuer},
		"pattern": {SubjectRegexp: `[a-z]+@example\.com`, Issuer: issuer},
	} {
		at, err := keyless.Verify(b, trusted, id)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if at.IsZero() {
			t.Errorf("%s: no time", name)
		}
	}
}

func TestNegativeMatrix(t *testing.T) {
	vs, other := sigstore(t), sigstore(t)
	raw, trusted := attest(t, vs), trustedRoot(t, vs, false)
	good := keyless.Identity{Subject: subject, Issuer: issuer}
	material := func(b object) object { return b["verificationMaterial"].(object) }
	for _, c := range []struct {
		name    string
		id      keyless.Identity
		trusted []byte
		change  func(b, st object)
		rule    string // "" for keyless.ErrTrust
	}{
		{name: "another subject", id: keyless.Identity{Subject: "x@example.com", Issuer: issuer}, rule: keyless.RuleKeyless},
		{name: "another issuer", id: keyless.Identity{Subject: subject, Issuer: "https://x.example.com"}, rule: keyless.RuleKeyless},
		{name: "pattern that matches a part only", id: keyless.Identity{SubjectRegexp: `trainer@example`, Issuer: issuer}, rule: keyless.RuleKeyless},
		{name: "pattern with an alternative", id: keyless.Identity{SubjectRegexp: `nobody|train`, Issuer: issuer}, rule: keyless.RuleKeyless},
		{name: "another Sigstore", trusted: trustedRoot(t, other, false), rule: keyless.RuleKeyless},
		{name: "no entry of the certificate log", trusted: trustedRoot(t, vs, true), rule: keyless.RuleKeyless},
		{name: "payload changed", change: func(_, st object) { st["predicate"] = object{"a": 1} }, rule: keyless.RuleKeyless},
		{name: "no log entry", change: func(b, _ object) { material(b)["tlogEntries"] = []any{} }, rule: keyless.RuleKeyless},
		{name: "log entry of another statement", change: func(b, _ object) {
			o, _ := bundletest.Decode(t, attest(t, vs))
			material(b)["tlogEntries"] = material(o)["tlogEntries"]
		}, rule: keyless.RuleKeyless},
		{name: "certificate of another signer", change: func(b, _ object) {
			o, _ := bundletest.Decode(t, attest(t, vs))
			material(b)["certificate"] = material(o)["certificate"]
		}, rule: keyless.RuleKeyless},
		{name: "certificate is no DER", change: func(b, _ object) {
			material(b)["certificate"] = object{"rawBytes": base64.StdEncoding.EncodeToString([]byte("x"))}
		}, rule: keyless.RuleKeyless},
		{name: "key bundle", change: func(b, _ object) {
			delete(material(b), "certificate")
			material(b)["publicKey"] = object{"hint": "x"}
		}, rule: bundle.RuleMethod},
		{name: "trusted root is no JSON", trusted: []byte("x")},
		{name: "no issuer", id: keyless.Identity{Subject: subject}},
		{name: "no subject", id: keyless.Identity{Issuer: issuer}},
		{name: "pattern that does not compile", id: keyless.Identity{SubjectRegexp: "(", Issuer: issuer}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.id == (keyless.Identity{}) {
				c.id = good
			}
			if c.trusted == nil {
				c.trusted = trusted
			}
			src := raw
			if c.change != nil {
				src = bundletest.Edit(t, raw, c.change)
			}
			b, err := bundle.Parse(src)
			check(t, err)
			_, err = keyless.Verify(b, c.trusted, c.id)
			if err == nil || bundle.Rule(err) != c.rule || errors.Is(err, keyless.ErrTrust) != (c.rule == "") {
				t.Fatalf("got rule %q (%v), want %q", bundle.Rule(err), err, c.rule)
			}
			outcome := c.rule
			if outcome == "" {
				outcome = "error: " + strings.SplitN(err.Error(), ":", 2)[0]
			}
			t.Logf("%-28s %-44s -> %s", "signature without key", c.name, outcome)
		})
	}
}
