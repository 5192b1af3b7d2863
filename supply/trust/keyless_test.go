package trust

import (
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/testing/ca"
	"github.com/sigstore/sigstore-go/pkg/verify"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/weighbridge/weighbridge/supply/bundle"
	"github.com/weighbridge/weighbridge/supply/signing/keyless"
)

// A keyless bundle by sigstore-go's own virtual Fulcio, Rekor and TSA.
func TestJudgeKeyless(t *testing.T) {
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	vs, err := ca.NewVirtualSigstore()
	check(err)
	logs := vs.RekorLogs()
	for id, l := range logs { // their ids are hex where the file wants bytes
		l.ID, err = hex.DecodeString(id)
		check(err)
	}
	tr, err := root.NewTrustedRoot(root.TrustedRootMediaType01, vs.FulcioCertificateAuthorities(), map[string]*root.TransparencyLog{}, vs.TimestampingAuthorities(), logs)
	check(err)
	trusted, err := tr.MarshalJSON()
	check(err)
	dir := t.TempDir()
	check(os.WriteFile(filepath.Join(dir, "root.json"), trusted, 0o600))

	statement := `{"_type":"` + bundle.StatementType + `","predicateType":"https://example.com/p","subject":[{"name":"m","digest":{"sha256":"` + strings.Repeat("00", 32) + `"}}],"predicate":{}}`
	e, err := vs.AttestHashedRekordV2("trainer@example.com", "https://issuer.example.com", []byte(statement))
	check(err)
	content, err := e.VerificationContent()
	check(err)
	sig, err := e.SignatureContent()
	check(err)
	env := sig.(verify.EnvelopeContent).RawEnvelope()
	entries, err := e.TlogEntries()
	check(err)
	var logged, stamps []any
	for _, entry := range entries {
		src, err := protojson.Marshal(entry.TransparencyLogEntry())
		check(err)
		logged = append(logged, json.RawMessage(src))
	}
	times, err := e.Timestamps()
	check(err)
	for _, s := range times {
		stamps = append(stamps, map[string]any{"signedTimestamp": s})
	}
	raw, err := json.Marshal(map[string]any{
		"mediaType": bundle.MediaType,
		"verificationMaterial": map[string]any{
			"certificate": map[string]any{"rawBytes": content.Certificate().Raw}, "tlogEntries": logged,
			"timestampVerificationData": map[string]any{"rfc3161Timestamps": stamps},
		},
		"dsseEnvelope": map[string]any{"payload": env.Payload, "payloadType": env.PayloadType, "signatures": []any{map[string]any{"sig": env.Signatures[0].Sig}}},
	})
	check(err)
	b, err := bundle.Parse(raw)
	check(err)

	for _, tc := range []struct{ name, keyless, want string }{
		{"identity", "identity: trainer@example.com, issuer: \"https://issuer.example.com\"", "ci"},
		{"pattern", "identity_regexp: \"[a-z]+@example[.]com\", issuer: \"https://issuer.example.com\"", "ci"},
		{"pattern that fits in the middle", "identity_regexp: \"rainer@example\", issuer: \"https://issuer.example.com\"", RuleSignerUnknown},
		{"another identity", "identity: other@example.com, issuer: \"https://issuer.example.com\"", RuleSignerUnknown},
		{"the identity of another issuer", "identity: trainer@example.com, issuer: \"https://other.example.com\"", keyless.RuleKeyless},
	} {
		t.Run(tc.name, func(t *testing.T) {
			path := filepath.Join(dir, "trust.yaml")
			check(os.WriteFile(path, []byte("version: 1\nsigners:\n  - name: ci\n    may: [model]\n    keyless: {trusted_root: root.json, "+tc.keyless+"}\n"), 0o600))
			p, err := Load(path)
			check(err)
			// Long after: the bundle proves its own time.
			signer, at, problems := p.Judge(b, Ask{What: Model, Now: time.Now().AddDate(5, 0, 0)})
			got := ""
			if signer != nil {
				got = signer.Name
				if at.After(time.Now().AddDate(1, 0, 0)) || signer.KeyID == "" {
					t.Errorf("judged at %s, key %q", at, signer.KeyID)
				}
			} else {
				got = problems[0].Rule
			}
			if got != tc.want {
				t.Errorf("got %s, want %s: %+v", got, tc.want, problems)
			}
			t.Logf("%-28s %-44s -> %s", "keyless signer", tc.name, got)
		})
	}
}
