package supply

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weighbridge/weighbridge/record"
	"github.com/weighbridge/weighbridge/supply/bundle"
	"github.com/weighbridge/weighbridge/supply/manifest"
	"github.com/weighbridge/weighbridge/supply/provenance"
	"github.com/weighbridge/weighbridge/supply/signing"
	"github.com/weighbridge/weighbridge/supply/trust"
)

var now = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func put(t testing.TB, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func outline(a *Assessment) map[record.EvidenceKind]record.EvidenceState {
	m := map[record.EvidenceKind]record.EvidenceState{}
	for _, e := range a.Evidence {
		m[e.Kind] = e.State
	}
	return m
}

func TestComplete(t *testing.T) {
	b := newBench(t)
	b.complete()
	a, err := Check(t.Context(), b.config())
	if err != nil {
		t.Fatal(err)
	}
	for i, e := range a.Evidence {
		if e.Kind != Kinds[i] {
			t.Errorf("evidence %d is %s, want %s", i, e.Kind, Kinds[i])
		}
		if want := map[bool]record.EvidenceState{true: record.NotAsked, false: record.Valid}[e.Kind == record.LedgerProof]; e.State != want && e.Kind != record.Provenance {
			t.Errorf("%s is %s: %s %v", e.Kind, e.State, e.Detail, e.Problems)
		}
		if e.Time != "" {
			t.Errorf("%s was judged at %s, which nothing proves", e.Kind, e.Time)
		}
	}
	sums, bom, prov := a.Of(record.Checksums), a.Of(record.BillOfMaterials), a.Of(record.Provenance)
	if *sums.Files != 5 || len(sums.Roots) != 2 || a.Root == a.PythonRoot || !strings.HasPrefix(sums.Identity, "sha256:") {
		t.Errorf("checksums %+v", sums)
	}
	if bom.Signer != "alice" || !slices.Contains(bom.Licences, "Apache-2.0") || *bom.Datasets != 1 {
		t.Errorf("sbom %+v", bom)
	}
	if prov.Signer != "alice" || prov.Builder != "https://ci.example.org" || len(a.Lineage) < 4 {
		t.Errorf("provenance %+v, lineage %+v", prov, a.Lineage)
	}
	again, err := Check(t.Context(), b.config())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(must(json.Marshal(a.Evidence)), must(json.Marshal(again.Evidence))); diff != "" {
		t.Errorf("two runs differ: %s", diff)
	}
}

// TestNegativeMatrix holds a model against everything that can be wrong with
// what lies around it.
func TestNegativeMatrix(t *testing.T) {
	const (
		sums, sig, form, bom    = record.Checksums, record.ModelSignature, record.FileFormats, record.BillOfMaterials
		prov, revoked           = record.Provenance, record.Revocation
		valid, bad, amb, absent = record.Valid, record.Bad, record.Ambiguous, record.Absent
	)
	root := func(b *bench) string { return b.manifest().Root() }
	python := func(b *bench) string { return b.manifest().PythonRoot() }
	identity := func(b *bench) string { id, _ := b.manifest().Identity(); return string(id) }
	for _, tc := range []struct {
		name  string
		setup func(b *bench)
		kind  record.EvidenceKind
		state record.EvidenceState
		rule  string
	}{
		{"no evidence at all", func(*bench) {}, sums, absent, ""},
		{"no signature", func(*bench) {}, sig, absent, ""},
		{"no BOM", func(*bench) {}, bom, absent, ""},
		{"no provenance", func(*bench) {}, prov, absent, ""},
		{"file changed", func(b *bench) { b.complete(); b.put("README.md", "# Other\n") }, sums, bad, signing.RuleChanged},
		{"file missing", func(b *bench) { b.complete(); os.Remove(b.path("a-b")) }, sums, bad, signing.RuleMissing},
		{"file added", func(b *bench) { b.complete(); b.put("extra.txt", "x") }, sums, bad, signing.RuleUnsigned},
		{"hidden file added", func(b *bench) { b.complete(); b.put(".hidden", "x") }, sums, bad, signing.RuleUnsigned},
		{"nested .git added", func(b *bench) { b.complete(); b.put("a/.git/config", "x") }, sums, bad, signing.RuleUnsigned},
		{"files renamed, root the same", func(b *bench) {
			b.complete()
			os.Rename(b.path("README.md"), b.path("REEDME.md"))
		}, sums, bad, signing.RuleMissing},
		{"signature truncated", func(b *bench) {
			b.complete()
			raw := must(os.ReadFile(b.path("model.sig")))
			b.put("model.sig", string(raw[:len(raw)/2]))
		}, sig, bad, bundle.RuleJSON},
		{"signature is a claim", func(b *bench) {
			b.complete()
			raw := must(os.ReadFile(b.path("claims.jsonl")))
			b.put("model.sig", strings.SplitN(string(raw), "\n", 2)[0])
		}, sig, bad, signing.RulePredicateType},
		{"signature is a link", func(b *bench) { os.Symlink("/etc/passwd", b.path("model.sig")) }, sig, bad, RuleNotRegular},
		{"signature is a fifo", func(b *bench) {
			if err := syscall.Mkfifo(b.path("model.sig"), 0o600); err != nil {
				t.Fatal(err)
			}
		}, sig, bad, RuleNotRegular},
		{"signed by nobody in the trust file", func(b *bench) { b.sign("mallory") }, sig, amb, trust.RuleSignerUnknown},
		{"signed by who may not", func(b *bench) { b.sign("bob") }, sig, bad, trust.RuleSignerScope},
		{"signature cut from another model", func(b *bench) {
			b.put("config.json", `{"model_type": "other"}`)
			b.sign("alice")
			b.put("config.json", `{"model_type": "llama"}`)
		}, sums, bad, signing.RuleChanged},
		{"payload exchanged under the signature", func(b *bench) {
			b.sign("alice")
			var w map[string]any
			if err := json.Unmarshal(must(os.ReadFile(b.path("model.sig"))), &w); err != nil {
				t.Fatal(err)
			}
			b.sign("mallory")
			var other map[string]any
			if err := json.Unmarshal(must(os.ReadFile(b.path("model.sig"))), &other); err != nil {
				t.Fatal(err)
			}
			other["verificationMaterial"] = w["verificationMaterial"]
			b.put("model.sig", string(must(json.Marshal(other))))
		}, sig, bad, bundle.RuleInvalid},
		{"weights left out by the signer", func(b *bench) { b.put("lora/adapter.safetensors", "x"); b.sign("alice", "lora") }, sig, amb, RuleIgnoredPaths},
		{"weights under another name left out", func(b *bench) {
			b.put("docs/notes.txt", string(must(os.ReadFile(b.path("model.gguf")))))
			b.sign("alice", "docs")
		}, sig, amb, RuleIgnoredPaths},
		{"a document left out by the signer", func(b *bench) { b.sign("alice", "README.md") }, sig, valid, RuleIgnoredPaths},
		{"pickle", func(b *bench) { b.put("pytorch_model.bin", "\x80\x02cposix\nsystem\n(U\x02idtR."); b.complete() }, form, bad, "format-executable"},
		{"pickle that the signer left out", func(b *bench) { b.put("x/p.pkl", "cposix\nsystem\n(S'id'\ntR."); b.sign("alice", "x") }, form, bad, "format-executable"},
		{"custom code", func(b *bench) { b.put("config.json", `{"auto_map": {"AutoModel": "m.X"}}`); b.complete() }, form, bad, "format-custom-code"},
		{"file of no known format", func(b *bench) { b.put("data.bin", "\x00\x01\x02"); b.complete() }, form, amb, "format-unknown"},
		{"BOM not signed", func(b *bench) { b.put("bom.json", b.bom()) }, bom, amb, RuleUnsigned},
		{"BOM not signed and wrong", func(b *bench) { b.put("bom.json", b.bom()); b.put("README.md", "# x\n") }, bom, bad, ""},
		{"BOM signed by nobody in the trust file", func(b *bench) { b.claim("mallory", bundle.PredicateCycloneDX, b.bom()) }, bom, amb, trust.RuleSignerUnknown},
		{"BOM signed by who may not", func(b *bench) { b.claim("bob", bundle.PredicateCycloneDX, b.bom()) }, bom, bad, trust.RuleSignerScope},
		{"BOM of another model", func(b *bench) {
			b.put("README.md", "# x\n")
			other := b.bom()
			b.put("README.md", "# Support model\n")
			b.claim("alice", bundle.PredicateCycloneDX, other)
		}, bom, bad, ""},
		{"BOM signed for another model", func(b *bench) {
			b.claim("alice", bundle.PredicateCycloneDX, b.bom())
			b.put("README.md", "# x\n")
		}, bom, absent, ""},
		{"BOM claim for the same contents under other names", func(b *bench) {
			b.claim("alice", bundle.PredicateCycloneDX, b.bom(), func(st *bundle.Statement) {
				st.Subject[0].Digest[bundle.IdentityDigest] = strings.Repeat("00", 32)
			})
		}, bom, absent, ""},
		{"BOM is no BOM", func(b *bench) { b.claim("alice", bundle.PredicateCycloneDX, `{"bomFormat": 7}`) }, bom, bad, ""},
		{"draft differs from the signed BOM", func(b *bench) {
			b.complete()
			b.put("bom.json", strings.Replace(b.bom(), "Apache-2.0", "MIT", 1))
		}, bom, amb, RuleDraftDiffers},
		{"claims are no bundles", func(b *bench) { b.put("claims.jsonl", "not a bundle\n") }, bom, bad, RuleClaims},
		{"claims are a fifo", func(b *bench) {
			if err := syscall.Mkfifo(b.path("claims.jsonl"), 0o600); err != nil {
				t.Fatal(err)
			}
		}, bom, bad, RuleNotRegular},
		{"provenance not signed", func(b *bench) {
			st := bundle.Statement{Type: bundle.StatementType, PredicateType: bundle.PredicateProvenance, Predicate: json.RawMessage(b.provenance(base)),
				Subject: []bundle.Subject{must(signing.Subject("support-model", b.manifest()))}}
			b.put("provenance.json", string(must(json.Marshal(st))))
		}, prov, amb, RuleUnsigned},
		{"provenance draft is no statement", func(b *bench) { b.put("provenance.json", "[]") }, prov, bad, ""},
		{"provenance signed by nobody in the trust file", func(b *bench) { b.claim("mallory", bundle.PredicateProvenance, b.provenance(base)) }, prov, amb, trust.RuleSignerUnknown},
		{"key revoked before now", func(b *bench) { b.complete(); b.revoke("key", b.ids["alice"], "2026-05-01") }, sig, bad, trust.RuleKeyRevoked},
		{"key revoked, as revocation says", func(b *bench) { b.complete(); b.revoke("key", b.ids["alice"], "2026-05-01") }, revoked, bad, trust.RuleKeyRevoked},
		{"key revoked, its BOM", func(b *bench) { b.complete(); b.revoke("key", b.ids["alice"], "2026-05-01") }, bom, bad, trust.RuleKeyRevoked},
		{"key revoked from later on", func(b *bench) { b.complete(); b.revoke("key", b.ids["alice"], "2026-07-01") }, sig, valid, ""},
		{"key revoked that is no signer's", func(b *bench) { b.sign("mallory"); b.revoke("key", b.ids["mallory"], "2026-05-01") }, sig, bad, trust.RuleKeyRevoked},
		{"signer revoked", func(b *bench) { b.complete(); b.revoke("signer", "alice", "2026-05-01") }, sig, bad, trust.RuleSignerRevoked},
		{"model revoked by its root", func(b *bench) { b.complete(); b.revoke("model", root(b), "2026-05-01") }, revoked, bad, trust.RuleModelRevoked},
		{"model revoked by its root in Python's order", func(b *bench) { b.complete(); b.revoke("model", python(b), "2026-05-01") }, revoked, bad, trust.RuleModelRevoked},
		{"model revoked by its identity", func(b *bench) { b.complete(); b.revoke("model", identity(b), "2026-05-01") }, revoked, bad, trust.RuleModelRevoked},
		{"model revoked from later on", func(b *bench) { b.complete(); b.revoke("model", root(b), "2026-07-01") }, revoked, valid, ""},
		{"base model revoked", func(b *bench) { b.complete(); b.revoke("model", base, "2026-05-01") }, revoked, bad, RuleBaseRevoked},
		{"folder is empty", func(b *bench) { os.RemoveAll(b.dir); os.MkdirAll(b.dir, 0o755) }, sums, bad, manifest.RuleEmpty},
		{"folder with a link", func(b *bench) { os.Symlink("/etc", b.path("etc")) }, sums, bad, manifest.RuleSymlink},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := newBench(t)
			tc.setup(b)
			a, err := Check(t.Context(), b.config())
			if err != nil {
				t.Fatal(err)
			}
			e := a.Of(tc.kind)
			if e.State != tc.state || tc.rule != "" && !slices.ContainsFunc(e.Problems, func(p record.Problem) bool { return p.Rule == tc.rule }) {
				t.Errorf("%s is %s, want %s with rule %q; %s %+v", tc.kind, e.State, tc.state, tc.rule, e.Detail, e.Problems)
			}
			if e.Detail == "" || len(a.Evidence) != len(Kinds) {
				t.Errorf("no reason, or %d kinds: %+v", len(a.Evidence), e)
			}
			if e.State == bad && len(e.Problems) == 0 {
				t.Error("bad without a problem")
			}
			rule := tc.rule
			if rule == "" && len(e.Problems) > 0 {
				rule = e.Problems[0].Rule
			}
			t.Logf("%-28s %-44s -> %s", tc.kind, tc.name, string(e.State)+" "+rule)
		})
	}
}

func TestWithoutTrust(t *testing.T) {
	b := newBench(t)
	b.complete()
	a, err := Check(t.Context(), Config{Dir: b.dir, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	want := map[record.EvidenceKind]record.EvidenceState{
		record.Checksums: record.Valid, record.ModelSignature: record.Ambiguous, record.FileFormats: record.Valid, record.BillOfMaterials: record.Ambiguous,
		record.Provenance: record.Ambiguous, record.Revocation: record.NotAsked, record.LedgerProof: record.NotAsked,
	}
	if diff := cmp.Diff(want, outline(a)); diff != "" {
		t.Errorf("states (-want +got):\n%s", diff)
	}
}

// The newest claim by somebody trusted counts, whoever else claims what.
func TestWhichClaimCounts(t *testing.T) {
	b := newBench(t)
	b.claim("alice", bundle.PredicateCycloneDX, strings.Replace(b.bom(), "Apache-2.0", "BSD-3-Clause", 1))
	b.claim("alice", bundle.PredicateCycloneDX, strings.Replace(b.bom(), "Apache-2.0", "MIT", 1))
	b.claim("mallory", bundle.PredicateCycloneDX, b.bom())
	b.claim("bob", bundle.PredicateCycloneDX, b.bom())
	b.claim("alice", "https://example.com/other", `{}`)
	a, err := Check(t.Context(), b.config())
	if err != nil {
		t.Fatal(err)
	}
	if e := a.Of(record.BillOfMaterials); e.State != record.Valid || !slices.Equal(e.Licences, []string{"MIT"}) {
		t.Errorf("%+v", e)
	}
	var rules []string
	for _, p := range a.Aside {
		rules = append(rules, p.Subject+" "+p.Rule)
	}
	if diff := cmp.Diff([]string{"claims.jsonl:1 claim-old", "claims.jsonl:3 signer-unknown", "claims.jsonl:4 signer-scope"}, rules); diff != "" {
		t.Errorf("set aside (-want +got):\n%s", diff)
	}
}

// Who hides a file from a signature of his own gets the root of the other files
// back, and must not get what was once said of them.
func TestRootOfAPartIsNoName(t *testing.T) {
	b := newBench(t)
	whole := b.manifest().Root()
	b.claim("alice", bundle.PredicateCycloneDX, b.bom(), func(st *bundle.Statement) { delete(st.Subject[0].Digest, bundle.IdentityDigest) })
	b.put("x/p.pkl", "cposix\nsystem\n(S'id'\ntR.")
	b.sign("mallory", "x")
	a, err := Check(t.Context(), b.config())
	if err != nil {
		t.Fatal(err)
	}
	if e := a.Of(record.Checksums); e.State != record.Valid || slices.Contains(e.Roots, whole) || slices.Contains(a.Names(), whole) {
		t.Errorf("%+v", e)
	}
	if e := a.Of(record.BillOfMaterials); e.State != record.Absent {
		t.Errorf("%+v", e)
	}
}

// intakes is a ledger of one intake.
type intakes struct {
	in    Intake
	found bool
	err   error
}

func (i intakes) Intake(context.Context, []string) (Intake, bool, error) { return i.in, i.found, i.err }

func TestLedger(t *testing.T) {
	b := newBench(t)
	b.complete()
	b.revoke("key", b.ids["alice"], "2026-05-01")
	c := b.config()
	check := func(l Ledger) *Assessment {
		t.Helper()
		c.Ledger = l
		a, err := Check(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	sig := check(nil).Of(record.ModelSignature).Digest
	early, late := time.Date(2026, 4, 1, 0, 0, 0, 0, time.UTC), time.Date(2026, 5, 2, 0, 0, 0, 0, time.UTC)
	for name, tc := range map[string]struct {
		ledger    intakes
		ledgerIs  record.EvidenceState
		signature record.EvidenceState
	}{
		"signed before the key was revoked, proven": {intakes{in: Intake{Index: 7, Time: early, Documents: map[string]time.Time{sig: early}}, found: true}, record.Valid, record.Valid},
		"taken in after the key was revoked":        {intakes{in: Intake{Index: 7, Time: late, Documents: map[string]time.Time{sig: late}}, found: true}, record.Valid, record.Bad},
		"taken in early with another signature":     {intakes{in: Intake{Index: 7, Time: early, Documents: map[string]time.Time{"sha256:00": early}}, found: true}, record.Valid, record.Bad},
		"a proof that does not hold":                {intakes{in: Intake{Documents: map[string]time.Time{sig: early}, Problems: []record.Problem{{Rule: RuleUnproven, Subject: "receipt", Detail: "x"}}}, found: true}, record.Bad, record.Bad},
		"not in the ledger":                         {intakes{}, record.Absent, record.Bad},
	} {
		t.Run(name, func(t *testing.T) {
			a := check(tc.ledger)
			if l, s := a.Of(record.LedgerProof), a.Of(record.ModelSignature); l.State != tc.ledgerIs || s.State != tc.signature {
				t.Errorf("ledger %+v, signature %+v", l, s)
			} else if s.State == record.Valid && s.Time != "2026-04-01T00:00:00Z" {
				t.Errorf("judged at %q", s.Time)
			}
		})
	}
	c.Ledger = intakes{err: errors.New("disk")}
	if _, err := Check(t.Context(), c); err == nil {
		t.Error("a fault of the ledger became evidence")
	}
}

// Whatever changes while the model is judged ends in an error, not in evidence.
func TestChangedMeanwhile(t *testing.T) {
	for name, change := range map[string]func(b *bench){
		"a file":          func(b *bench) { b.put("README.md", "# Other\n") },
		"a file is added": func(b *bench) { b.put("more.txt", "x") },
		"the claims":      func(b *bench) { b.put("claims.jsonl", "") },
		"the signature":   func(b *bench) { os.Remove(b.path("model.sig")) },
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.complete()
			c := b.config()
			c.Lookup = func(context.Context, provenance.Query) (string, bool, error) { change(b); return "", false, nil }
			if _, err := Check(t.Context(), c); !errors.Is(err, manifest.ErrFolder) {
				t.Errorf("got %v", err)
			}
		})
	}
	if _, err := Check(t.Context(), Config{Dir: filepath.Join(t.TempDir(), "none"), Now: now}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no folder: %v", err)
	}
}
