package provenance

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/weighbridge/weighbridge/internal/testreq"
	"github.com/weighbridge/weighbridge/record"
	"github.com/weighbridge/weighbridge/supply/bundle"
	"github.com/weighbridge/weighbridge/supply/manifest"
)

// TestCosignAttests reads provenance that cosign wrote over a model's file: of
// our own build type it is complete, of another's it is ambiguous.
func TestCosignAttests(t *testing.T) {
	cosign, err := filepath.Abs("../../bin/peers/cosign")
	if err != nil {
		t.Fatal(err)
	}
	testreq.File(t, cosign, "make peers")
	dir := folder(t, "m", map[string]string{"model.gguf": "weights"})
	m := read(t, dir)
	work := t.TempDir()
	run := func(args ...string) {
		t.Helper()
		c := exec.Command(cosign, args...)
		c.Dir = work
		c.Env = append(os.Environ(), "COSIGN_PASSWORD=", "HOME="+work)
		if out, err := c.CombinedOutput(); err != nil {
			t.Fatalf("cosign %q: %v: %s", args, err, out)
		}
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(work, "plain.pem"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	run("import-key-pair", "--key", "plain.pem", "--output-key-prefix", "k")
	for name, c := range map[string]struct {
		edit  func(st o)
		state record.EvidenceState
		rules []string
	}{
		"ours":    {func(o) {}, record.Valid, nil},
		"foreign": {func(st o) { definition(st)["buildType"] = "https://example.org/train@v1" }, record.Ambiguous, []string{RuleBuildType}},
	} {
		t.Run(name, func(t *testing.T) {
			st := statement(t, m, FineTune, complete(), c.edit)
			predicate := filepath.Join(work, name+".json")
			if err := os.WriteFile(predicate, st.Predicate, 0o644); err != nil {
				t.Fatal(err)
			}
			out := filepath.Join(work, name+".bundle")
			run("attest-blob", "--key", "k.key", "--type", "slsaprovenance1", "--predicate", predicate, "--bundle", out,
				"--tlog-upload=false", "--use-signing-config=false", "--new-bundle-format=true", "--yes", filepath.Join(dir, "model.gguf"))
			raw, err := os.ReadFile(out)
			if err != nil {
				t.Fatal(err)
			}
			if err := bundle.AppendClaim(filepath.Join(dir, manifest.ClaimsFile), oneLine(t, raw)); err != nil {
				t.Fatal(err)
			}
			found, err := Open(dir)
			if err != nil {
				t.Fatal(err)
			}
			if got := found.Statement.Subject[0].Digest["sha256"]; got != fmt.Sprintf("%x", m.Resources[0].Digest) {
				t.Fatalf("cosign's subject is %s", got)
			}
			f, _, problems := check(t, found.Statement, m, nil)
			if f.State != c.state || !slices.Equal(rules(problems), c.rules) || !found.Signed {
				t.Errorf("%s of type %s: %v", f.State, found.Statement.Type, problems)
			}
		})
	}
}

func oneLine(t testing.TB, raw []byte) []byte {
	t.Helper()
	var v any
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatal(err)
	}
	line, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return line
}
