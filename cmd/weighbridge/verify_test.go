package main

import (
	"crypto/elliptic"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/weighbridge/weighbridge/supply/attest"
	"github.com/weighbridge/weighbridge/supply/bundle"
	"github.com/weighbridge/weighbridge/supply/bundle/bundletest"
	"github.com/weighbridge/weighbridge/supply/manifest"
	"github.com/weighbridge/weighbridge/supply/signing"
)

// deploy is a model on its way to production.
type deploy struct {
	t          *testing.T
	dir, trust string
	key, gate  bundletest.Key
}

func newDeploy(t *testing.T) *deploy {
	t.Helper()
	d := &deploy{t: t, dir: filepath.Join(t.TempDir(), "support-bot"), key: bundletest.NewKey(t, elliptic.P256()), gate: bundletest.NewKey(t, elliptic.P256())}
	if err := os.CopyFS(d.dir, os.DirFS(filepath.FromSlash("testdata/verify/model"))); err != nil {
		t.Fatal(err)
	}
	weights, err := os.ReadFile(filepath.FromSlash(models + "base.gguf"))
	if err != nil {
		t.Fatal(err)
	}
	d.write("model.gguf", string(weights))
	d.trust = filepath.Join(t.TempDir(), "trust.yaml")
	d.writeTrust("")
	return d
}

func (d *deploy) writeTrust(more string) {
	d.t.Helper()
	text := fmt.Sprintf(`version: 1
signers:
  - name: release
    key: %s
    may: [model, sbom]
    models: ["support-*"]
  - name: gate
    key: %s
    may: [verdict]
    verifier: https://example.com/gate
environments:
  prod: {max_verdict_age: 720h}
%s`, d.key.Public, d.gate.Public, more)
	if err := os.WriteFile(d.trust, []byte(text), 0o644); err != nil {
		d.t.Fatal(err)
	}
}

func (d *deploy) write(name, content string) {
	d.t.Helper()
	if err := os.WriteFile(filepath.Join(d.dir, name), []byte(content), 0o644); err != nil {
		d.t.Fatal(err)
	}
}

func (d *deploy) verify(more ...string) cli {
	d.t.Helper()
	return weighbridge(d.t, append([]string{"verify", d.dir, "--trust", d.trust}, more...)...)
}

func (d *deploy) want(code int, out string, more ...string) {
	d.t.Helper()
	got := d.verify(more...)
	if got.code != code || !strings.Contains(strings.Join(strings.Fields(got.stdout+got.stderr), " "), out) {
		d.t.Errorf("verify %v: exit code %d, want %d, and %q in\n%s%s", more, got.code, code, out, got.stdout, got.stderr)
	}
}

// verdict puts a verification summary beside the model, as attest does.
func (d *deploy) verdict(result, environment string, at time.Time) {
	d.t.Helper()
	m, err := manifest.Dir(d.t.Context(), d.dir, manifest.Options{})
	if err != nil {
		d.t.Fatal(err)
	}
	subject, err := signing.Subject("support-bot", m)
	if err != nil {
		d.t.Fatal(err)
	}
	predicate, err := json.Marshal(map[string]any{
		"verifier": map[string]any{"id": "https://example.com/gate"}, "timeVerified": at.UTC().Format(time.RFC3339),
		"resourceUri": attest.Resource("support-bot", environment), "policy": map[string]any{"uri": "x", "digest": map[string]any{"sha256": strings.Repeat("00", 32)}},
		"verificationResult": result, "verifiedLevels": []string{attest.Level},
	})
	if err != nil {
		d.t.Fatal(err)
	}
	signer, err := bundle.LoadSigner(bundle.SignerConfig{Key: d.gate.File})
	if err != nil {
		d.t.Fatal(err)
	}
	raw, err := signer.Sign(bundle.Statement{Type: bundle.StatementType, PredicateType: bundle.PredicateVSA, Subject: []bundle.Subject{subject}, Predicate: predicate})
	if err != nil {
		d.t.Fatal(err)
	}
	if err := bundle.AppendClaim(filepath.Join(d.dir, manifest.ClaimsFile), raw); err != nil {
		d.t.Fatal(err)
	}
}

func TestVerify(t *testing.T) {
	d := newDeploy(t)
	signed := []string{"--require", "checksums,signature,formats,revocation"}
	d.want(3, "signature absent", signed...)
	d.want(3, "result incomplete not proven: checksums, signature, sbom, provenance")
	if got := weighbridge(t, "sign", d.dir, "--key", d.key.File); got.code != 0 {
		t.Fatal(got.stderr)
	}
	d.want(0, "signature valid signed by release", signed...)
	d.want(3, "not proven: sbom, provenance")
	if got := weighbridge(t, "verify", d.dir); got.code != 3 || !strings.Contains(got.stdout, "--trust") {
		t.Errorf("without a trust file: %+v", got)
	}

	if got := weighbridge(t, "sbom", d.dir, "-o", filepath.Join(d.dir, "bom.json")); got.code != 0 {
		t.Fatal(got.stderr)
	}
	d.want(3, "sbom ambiguous", "--require", "sbom")
	if got := weighbridge(t, "sign", d.dir, "--key", d.key.File); got.code != 0 {
		t.Fatal(got.stderr)
	}
	d.want(0, "signed by release", "--require", "checksums,signature,formats,revocation")

	// Tampered with, and put right again.
	d.write("README.md", "# Changed\n")
	d.want(1, "README.md")
	d.want(1, "result bad", "--require", "formats")
	readme, err := os.ReadFile(filepath.FromSlash("testdata/verify/model/README.md"))
	if err != nil {
		t.Fatal(err)
	}
	d.write("README.md", string(readme))
	d.want(0, "result valid", signed...)
	d.write("model.pkl", "cposix\nsystem\n(S'id'\ntR.")
	d.want(1, "GLOBAL posix.system @0")
	if err := os.Remove(filepath.Join(d.dir, "model.pkl")); err != nil {
		t.Fatal(err)
	}

	// Another name, another environment, a revocation, a future.
	d.want(1, "it may sign for models support-*", append(signed, "--model", "risk-bot")...)
	id, err := os.ReadFile(d.key.Public)
	if err != nil {
		t.Fatal(err)
	}
	key, err := bundle.ParsePublicKey(id)
	if err != nil {
		t.Fatal(err)
	}
	hint, err := bundle.KeyID(key)
	if err != nil {
		t.Fatal(err)
	}
	d.writeTrust("revocations:\n  - key: " + hint + "\n    from: 2031-01-01\n    reason: lost\n")
	d.want(0, "result valid", append(signed, "--now", "2030-12-31T23:59:59Z")...)
	d.want(1, "revoked from 2031-01-01T00:00:00Z on: lost", append(signed, "--now", "2031-01-01T00:00:00Z")...)
}

func TestVerifyRequiresAVerdict(t *testing.T) {
	d := newDeploy(t)
	d.want(3, "verdict absent", "--require-verdict", "env=prod")
	d.verdict("PASSED", "staging", time.Now())
	d.want(3, "verdict absent", "--require-verdict", "env=prod")
	d.want(0, "verdict valid approved for staging by gate", "--require-verdict", "env=staging")
	d.verdict("PASSED", "prod", time.Now().Add(-1000*time.Hour))
	d.want(1, "verdict bad", "--require-verdict", "env=prod")
	d.verdict("PASSED", "prod", time.Now())
	d.want(0, "result valid", "--require-verdict", "env=prod")
	d.want(3, "not proven: signature", "--require-verdict", "env=prod", "--require", "signature")
	d.verdict("FAILED", "prod", time.Now().Add(time.Second))
	d.want(1, "verdict bad", "--require-verdict", "env=prod")
	d.write("README.md", "# Changed\n")
	d.want(3, "verdict absent", "--require-verdict", "env=prod")
}

func TestVerifyJSON(t *testing.T) {
	d := newDeploy(t)
	d.write("evil\x1b[2J.pkl", "x")
	got := d.verify("--json")
	var r struct {
		Result   string
		Missing  []string
		Root     string
		Trust    string
		Evidence []struct{ Kind, State, Detail string }
		Files    []struct{ Name, Rule string }
	}
	if err := json.Unmarshal([]byte(got.stdout), &r); err != nil {
		t.Fatalf("%v\n%s", err, got.stdout)
	}
	if got.code != 1 || r.Result != "bad" || !strings.HasPrefix(r.Trust, "sha256:") {
		t.Errorf("%d %+v", got.code, r)
	}
	if text := d.verify().stdout; strings.Contains(text, "\x1b") {
		t.Errorf("a terminal escape in %q", text)
	}
}

func TestVerifyUsage(t *testing.T) {
	d := newDeploy(t)
	bad := filepath.Join(t.TempDir(), "bad.yaml")
	if err := os.WriteFile(bad, []byte("version: 1\nsigners:\n  - name: a\n    kye: x\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		want string
		args []string
	}{
		{"accepts 1 arg", []string{"verify"}},
		{"no such file", []string{"verify", "/no/such/folder"}},
		{"bad.yaml:4", []string{"verify", d.dir, "--trust", bad}},
		{"no such file", []string{"verify", d.dir, "--trust", "/no/trust.yaml"}},
		{"RFC 3339", []string{"verify", d.dir, "--now", "yesterday"}},
		{"--require formts", []string{"verify", d.dir, "--require", "formts"}},
		{"write env=NAME", []string{"verify", d.dir, "--trust", d.trust, "--require-verdict", "prod"}},
		{"needs --trust", []string{"verify", d.dir, "--require-verdict", "env=prod"}},
		{"two environments", []string{"verify", d.dir, "--trust", d.trust, "--require-verdict", "env=prod", "--environment", "staging"}},
		{"needs --trust", []string{"verify", d.dir, "--ledger", "/x"}},
		{"trust file names none", []string{"verify", d.dir, "--trust", d.trust, "--ledger", "/x"}},
	} {
		got := weighbridge(t, tc.args...)
		if got.code != exitUsage || !strings.Contains(got.stderr, tc.want) || got.stdout != "" {
			t.Errorf("%v: exit code %d, stderr %q, stdout %q; want %q", tc.args, got.code, got.stderr, got.stdout, tc.want)
		}
	}
}
