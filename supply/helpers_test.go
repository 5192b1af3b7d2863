package supply

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weighbridge/weighbridge/supply/bundle"
	"github.com/weighbridge/weighbridge/supply/manifest"
	"github.com/weighbridge/weighbridge/supply/provenance"
	"github.com/weighbridge/weighbridge/supply/sbom"
	"github.com/weighbridge/weighbridge/supply/signing"
	"github.com/weighbridge/weighbridge/supply/trust"
	"github.com/weighbridge/weighbridge/weights/gguf"
)

// bench is a folder with a model, keys and a trust file, for one test.
type bench struct {
	testing.TB
	dir, keys string
	signers   map[string]*bundle.Signer
	ids       map[string]string
	trust     string
}

// alice may sign everything, bob nothing that is asked here, mallory is not in
// the trust file.
const trustText = `version: 1
signers:
  - name: alice
    key: alice.pub
    may: [model, sbom, provenance]
  - name: bob
    key: bob.pub
    may: [dataset]
`

func newBench(t testing.TB) *bench {
	b := &bench{TB: t, dir: filepath.Join(t.TempDir(), "support-model"), keys: t.TempDir(), signers: map[string]*bundle.Signer{}, ids: map[string]string{}, trust: trustText}
	for _, name := range []string{"alice", "bob", "mallory"} {
		key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
		b.signers[name] = must(bundle.ParsePrivateKey(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: must(x509.MarshalPKCS8PrivateKey(key))})))
		b.ids[name] = must(bundle.KeyID(&key.PublicKey))
		put(t, filepath.Join(b.keys, name+".pub"), string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: must(x509.MarshalPKIXPublicKey(&key.PublicKey))})))
	}
	var g bytes.Buffer
	if err := gguf.Write(&g, []gguf.KV{{Key: "general.architecture", Value: gguf.V("llama")}}, nil); err != nil {
		t.Fatal(err)
	}
	b.put("model.gguf", g.String())
	b.put("config.json", `{"model_type": "llama"}`)
	b.put("README.md", "# Support model\n")
	b.put("a-b", "first by string")
	b.put("a/b", "first by component")
	return b
}

func (b *bench) path(name string) string  { return filepath.Join(b.dir, filepath.FromSlash(name)) }
func (b *bench) put(name, content string) { b.Helper(); put(b, b.path(name), content) }
func (b *bench) manifest() *manifest.Manifest {
	return must(manifest.Dir(b.Context(), b.dir, manifest.Options{}))
}

func (b *bench) sign(who string, ignore ...string) {
	b.Helper()
	s := must(signing.Sign(b.Context(), b.dir, b.signers[who], signing.Options{Ignore: ignore}))
	if err := s.Write(b.Context()); err != nil {
		b.Fatal(err)
	}
}

// bom gives a BOM of the folder as it is.
func (b *bench) bom() string {
	return string(must(sbom.Make(b.Context(), sbom.Input{Dir: b.dir, Manifest: b.manifest(), Name: "support-model", Licences: []string{"Apache-2.0"},
		BaseModels: []sbom.Ref{{Name: "base", Alg: "SHA-256", Hex: strings.Repeat("ab", 32)}},
		Datasets:   []sbom.Ref{{Name: "tickets", Alg: "SHA-256", Hex: strings.Repeat("cd", 32)}}})))
}

// claim signs a predicate about the folder and appends it.
func (b *bench) claim(who, predicateType, predicate string, change ...func(*bundle.Statement)) {
	b.Helper()
	st := bundle.Statement{Type: bundle.StatementType, PredicateType: predicateType, Predicate: json.RawMessage(predicate),
		Subject: []bundle.Subject{must(signing.Subject("support-model", b.manifest()))}}
	for _, f := range change {
		f(&st)
	}
	if err := bundle.AppendClaim(b.path(manifest.ClaimsFile), must(b.signers[who].Sign(st))); err != nil {
		b.Fatal(err)
	}
}

func (b *bench) config() Config {
	b.Helper()
	path := filepath.Join(b.keys, "trust.yaml")
	put(b, path, b.trust)
	p, err := trust.Load(path)
	if err != nil {
		b.Fatal(err)
	}
	return Config{Dir: b.dir, Trust: p, Now: now}
}

// provenance is a complete statement's predicate, with claims of which nothing
// is at hand.
func (b *bench) provenance(base string) string {
	dep := func(role, name, alg, hex string) any {
		return map[string]any{"name": name, "digest": map[string]any{alg: hex}, "annotations": map[string]any{provenance.AnnotationRole: role}}
	}
	return string(must(json.Marshal(map[string]any{
		"buildDefinition": map[string]any{
			"buildType": provenance.FineTune.BuildType(), "externalParameters": map[string]any{"seed": 42},
			"resolvedDependencies": []any{
				dep("base-model", "base", "sha256", base), dep("dataset", "corpus", "sha256", strings.Repeat("12", 32)),
				dep("code", "trainer", "gitCommit", strings.Repeat("cd", 20)), dep("environment", "image", "sha256", strings.Repeat("34", 32)),
			},
		},
		"runDetails": map[string]any{"builder": map[string]any{"id": "https://ci.example.org"}},
	})))
}

var base = strings.Repeat("ab", 32)

// complete is a model with everything around it, signed by alice.
func (b *bench) complete() {
	b.Helper()
	b.claim("alice", bundle.PredicateCycloneDX, b.bom())
	b.claim("alice", bundle.PredicateProvenance, b.provenance(base))
	b.sign("alice")
}

func (b *bench) revoke(field, value, from string) {
	b.trust += fmt.Sprintf("revocations:\n  - %s: %s\n    from: %s\n    reason: a test\n", field, value, from)
}
