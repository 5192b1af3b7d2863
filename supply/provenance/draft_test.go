package provenance

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	slsa "github.com/in-toto/attestation/go/predicates/provenance/v1"
	intoto "github.com/in-toto/attestation/go/v1"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/weighbridge/weighbridge/record"
	"github.com/weighbridge/weighbridge/supply/manifest"
)

func draft(t testing.TB, dir string) *Draft {
	t.Helper()
	d, err := NewDraft("m", read(t, dir), FineTune, "https://ci.example.org")
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestDraft(t *testing.T) {
	dir := folder(t, "m", map[string]string{"a": "1"})
	recipe := filepath.Join(folder(t, "r", map[string]string{"train.yaml": "lr: 0.0001\nlayers: [1, 2]\nname: \"yes\"\n"}), "train.yaml")
	make := func() []byte {
		d := draft(t, dir)
		if err := d.SetRecipe(context.Background(), recipe); err != nil {
			t.Fatal(err)
		}
		for _, x := range []struct {
			role Role
			arg  string
		}{{BaseModel, "base=sha256:" + hexA}, {Dataset, "corpus=sha256:" + hexA}, {Code, "https://git.example.org/t@" + hexC},
			{Environment, "img@sha256:" + hexA}, {Dataset, "corpus=sha256:" + strings.Repeat("12", 32)}} {
			desc, err := Describe(context.Background(), x.role, x.arg)
			if err != nil {
				t.Fatal(err)
			}
			if replaced, err := d.Add(desc); err != nil || replaced != (desc.Digest["sha256"] == strings.Repeat("12", 32)) {
				t.Fatalf("%s: %v %v", x.arg, replaced, err)
			}
		}
		for _, p := range []string{"seed=42", "note=NaN", "lr=1e-4", "flag=true", "eq=a=b", "list=[1]"} {
			if err := d.Set(p); err != nil {
				t.Fatal(err)
			}
		}
		if err := d.Times("2026-01-01T01:00:00+01:00", "2026-01-02T00:00:00Z", "run-1"); err != nil {
			t.Fatal(err)
		}
		if err := d.Write(dir); err != nil {
			t.Fatal(err)
		}
		src, err := os.ReadFile(filepath.Join(dir, manifest.ProvenanceFile))
		if err != nil {
			t.Fatal(err)
		}
		return src
	}
	src := make()
	if d := cmp.Diff(string(src), string(make())); d != "" {
		t.Errorf("two drafts of the same: %s", d)
	}

	found, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	f, _, problems := check(t, found.Statement, read(t, dir), nil)
	if f.State != record.Valid || found.Signed || f.Datasets != 1 {
		t.Errorf("%+v %v", f, problems)
	}
	want := map[string]any{"seed": json.Number("42"), "note": "NaN", "lr": json.Number("1e-4"), "flag": true, "eq": "a=b", "list": "[1]",
		"recipe": map[string]any{"lr": json.Number("0.0001"), "layers": []any{json.Number("1"), json.Number("2")}, "name": "yes"}}
	if d := cmp.Diff(want, f.Document.External); d != "" {
		t.Error(d)
	}
	if got := f.Document.Started.Format("2006-01-02T15:04:05Z07:00"); got != "2026-01-01T00:00:00Z" {
		t.Error(got)
	}

	// What was written is what in-toto's own types read, strictly.
	var st intoto.Statement
	if err := protojson.Unmarshal(src, &st); err != nil {
		t.Fatal(err)
	}
	if err := st.Validate(); err != nil {
		t.Error(err)
	}
	predicate, err := protojson.Marshal(st.Predicate)
	if err != nil {
		t.Fatal(err)
	}
	var p slsa.Provenance
	if err := protojson.Unmarshal(predicate, &p); err != nil {
		t.Fatal(err)
	}
	if err := p.Validate(); err != nil {
		t.Error(err)
	}
	if n := len(p.BuildDefinition.ResolvedDependencies); n != 5 || p.RunDetails.Builder.Id != "https://ci.example.org" {
		t.Errorf("%d dependencies, builder %q", n, p.RunDetails.Builder.Id)
	}
}

// TestDraftKeepsTheRest adds to a statement that another tool began.
func TestDraftKeepsTheRest(t *testing.T) {
	dir := folder(t, "m", map[string]string{"a": "1"})
	st := statement(t, read(t, dir), FineTune, complete(), func(st o) {
		definition(st)["internalParameters"] = o{"x": o{"y": []any{1, "2"}}}
		runDetails(st)["byproducts"] = []any{o{"name": "log", "digest": o{"sha256": hexA}}}
		runDetails(st)["builder"].(o)["version"] = o{"ci": "1.2"}
	})
	put(t, dir, st)
	d, err := ReadDraft(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Set("seed=7"); err != nil {
		t.Fatal(err)
	}
	src, err := d.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"byproducts"`, `"internalParameters"`, `"ci": "1.2"`, `"seed": 7`} {
		if !strings.Contains(string(src), want) {
			t.Errorf("lost or not there: %s", want)
		}
	}
}

func TestReadDraftRefuses(t *testing.T) {
	for name, src := range map[string]string{
		"another predicate": `{"predicateType":"https://slsa.dev/verification_summary/v1","predicate":{}}`,
		"an array":          `[]`,
		"half":              `{"predicateType":`,
		"no definition":     `{"predicateType":"https://slsa.dev/provenance/v1","predicate":{}}`,
		"a wrong kind":      `{"predicateType":"https://slsa.dev/provenance/v1","predicate":{"buildDefinition":[],"runDetails":{}}}`,
	} {
		dir := folder(t, "m", map[string]string{manifest.ProvenanceFile: src})
		if _, err := ReadDraft(dir); !errors.Is(err, ErrFormat) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestOpenPrefersTheDraftAndReadsClaims(t *testing.T) {
	dir := folder(t, "m", map[string]string{"a": "1"})
	st := statement(t, read(t, dir), FineTune, complete())
	claim := func(st any) string {
		payload, err := json.Marshal(st)
		if err != nil {
			t.Fatal(err)
		}
		line, err := json.Marshal(o{"mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
			"verificationMaterial": o{"publicKey": o{"hint": ""}, "tlogEntries": []any{}},
			"dsseEnvelope":         o{"payload": payload, "payloadType": "application/vnd.in-toto+json", "signatures": []any{o{"sig": []byte("x")}}}})
		if err != nil {
			t.Fatal(err)
		}
		return string(line) + "\n"
	}
	newer := st
	newer.Predicate = []byte(`{"newer":true}`)
	if err := os.WriteFile(filepath.Join(dir, manifest.ClaimsFile), []byte(claim(st)+"garbage\n"+claim(newer)), 0o644); err != nil {
		t.Fatal(err)
	}
	found, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if !found.Signed || string(found.Statement.Predicate) != `{"newer":true}` {
		t.Errorf("%+v", found)
	}
	put(t, dir, st)
	if found, err = Open(dir); err != nil || found.Signed {
		t.Errorf("%+v %v", found, err)
	}
}
