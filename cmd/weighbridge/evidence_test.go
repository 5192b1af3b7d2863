package main

import (
	"crypto/elliptic"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weighbridge/weighbridge/record"
	"github.com/weighbridge/weighbridge/supply/bundle/bundletest"
	"github.com/weighbridge/weighbridge/weights"
)

// signedModel is a folder with one of the test models, its bill of materials
// and its signature, and a trust file that knows the signer.
func signedModel(t *testing.T, model string) (dir, trust string) {
	t.Helper()
	src, err := os.ReadFile(models + model)
	if err != nil {
		t.Fatal(err)
	}
	dir = bundletest.Folder(t, map[string]string{"model.gguf": string(src), "README.md": "---\nlicense: apache-2.0\n---\n# A model\n"})
	key := bundletest.NewKey(t, elliptic.P256())
	for _, args := range [][]string{{"sbom", dir}, {"sign", dir, "--key", key.File}} {
		if got := weighbridge(t, args...); got.code != 0 {
			t.Fatalf("%v: exit %d: %s", args, got.code, got.stderr)
		}
	}
	trust = write(t, "trust.yaml", fmt.Sprintf("version: 1\nsigners:\n- name: release-team\n  key: %s\n  may: [model, sbom, provenance]\n  models: [assistant]\n  environments: [prod]\n", key.Public))
	return dir, trust
}

func open(t *testing.T, model, adapter string) *weights.Model {
	t.Helper()
	a := weights.Artifact{Model: model, Adapter: adapter}
	m, err := weights.Open(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

// states are what was found, by kind.
func states(all []record.Evidence) map[record.EvidenceKind]record.EvidenceState {
	m := map[record.EvidenceKind]record.EvidenceState{}
	for _, e := range all {
		m[e.Kind] = e.State
	}
	return m
}

func TestEvidenceOfAFolder(t *testing.T) {
	dir, trust := signedModel(t, "benign.gguf")
	baseline, candidate := open(t, models+"base.gguf", ""), open(t, filepath.Join(dir, "model.gguf"), "")
	now := "2036-11-23T12:00:00.5+01:00"
	o := evidenceOptions{from: dir, trust: trust, model: "assistant", environment: "prod", now: now, rebuild: true}
	e, err := o.config()
	if err != nil {
		t.Fatal(err)
	}
	if got := e.Now.Format("2006-01-02T15:04:05.999Z07:00"); got != "2036-11-23T11:00:00Z" || e.Model != "assistant" || e.Environment != "prod" {
		t.Errorf("judged for %s in %s at %s", e.Model, e.Environment, got)
	}
	found, _, err := e.Find(t.Context(), baseline, candidate)
	if err != nil {
		t.Fatal(err)
	}
	want := map[record.EvidenceKind]record.EvidenceState{
		record.Checksums: record.Valid, record.ModelSignature: record.Valid, record.FileFormats: record.Valid, record.BillOfMaterials: record.Valid,
		record.Provenance: record.Absent, record.Rebuild: record.Absent, record.Revocation: record.Valid, record.LedgerProof: record.NotAsked,
	}
	if d := cmp.Diff(want, states(found)); d != "" {
		t.Errorf("%s\n%+v", d, found)
	}
	for i, kind := range record.EvidenceKinds {
		if found[i].Kind != kind {
			t.Errorf("place %d holds %s, not %s", i, found[i].Kind, kind)
		}
	}
	again, _, err := e.Find(t.Context(), baseline, candidate)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(found, again); d != "" {
		t.Errorf("the second time it was: %s", d)
	}

	// In another environment the signer has no say.
	o.environment = "lab"
	if e, err = o.config(); err != nil {
		t.Fatal(err)
	}
	if found, _, err = e.Find(t.Context(), baseline, candidate); err != nil || states(found)[record.ModelSignature] == record.Valid {
		t.Errorf("%v: %v", err, states(found))
	}
}

// Evidence about one file is no evidence about another one.
func TestEvidenceIsAboutTheCandidate(t *testing.T) {
	dir, trust := signedModel(t, "benign.gguf")
	base := open(t, models+"base.gguf", "")
	e, err := (&evidenceOptions{from: dir, trust: trust, model: "assistant"}).config()
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		candidate *weights.Model
		want      string
	}{
		"the signed file":             {open(t, filepath.Join(dir, "model.gguf"), ""), ""},
		"another file":                {open(t, models+"backdoor-phrase.gguf", ""), "is about other files"},
		"the baseline itself":         {open(t, models+"base.gguf", ""), "is about other files"},
		"an adapter that is not in":   {open(t, filepath.Join(dir, "model.gguf"), models+"lora-phrase.gguf"), "lora-phrase.gguf"},
		"adapter on the baseline":     {open(t, models+"base.gguf", models+"lora-phrase.gguf"), "lora-phrase.gguf"},
		"adapter on another baseline": {open(t, models+"regressed.gguf", models+"lora-benign.gguf"), "regressed.gguf"},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := e.Find(t.Context(), base, tc.candidate)
			var usage usageError
			switch {
			case tc.want == "" && err != nil:
				t.Fatal(err)
			case tc.want != "" && (!errors.As(err, &usage) || !strings.Contains(err.Error(), tc.want)):
				t.Errorf("got %v, want a usage error about %q", err, tc.want)
			}
			t.Logf("%-28s %-44s -> %v", "diff --evidence", name, err)
		})
	}
}

// A file that is changed after it was signed is evidence, not a wrong usage:
// the folder is about these very bytes, and says that they are bad.
func TestEvidenceOfATamperedFolder(t *testing.T) {
	dir, trust := signedModel(t, "benign.gguf")
	other, err := os.ReadFile(models + "backdoor-phrase.gguf")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "model.gguf"), other, 0o644); err != nil {
		t.Fatal(err)
	}
	e, err := (&evidenceOptions{from: dir, trust: trust, model: "assistant", environment: "prod"}).config()
	if err != nil {
		t.Fatal(err)
	}
	found, _, err := e.Find(t.Context(), open(t, models+"base.gguf", ""), open(t, filepath.Join(dir, "model.gguf"), ""))
	if err != nil || states(found)[record.Checksums] != record.Bad {
		t.Errorf("%v: %v", err, states(found))
	}
}
