package main

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/weighbridge/weighbridge/internal/testreq"
	"github.com/weighbridge/weighbridge/supply/intake/convert/converttest"
	"github.com/weighbridge/weighbridge/weights"
)

// outcomeJSON is what ingest --json prints, as far as the tests look at it.
type outcomeJSON struct {
	Admitted, Recorded bool
	Problems           []struct{ Rule, Subject string }
	Model, Converted   json.RawMessage
	Refused            string
}

func ingestJSON(t *testing.T, code int, args ...string) outcomeJSON {
	t.Helper()
	got := weighbridge(t, append([]string{"ingest", "--json"}, args...)...)
	if got.code != code {
		t.Fatalf("ingest %v: exit %d, want %d\n%s%s", args, got.code, code, got.stdout, got.stderr)
	}
	var o outcomeJSON
	if code == 0 || code == 1 {
		if err := json.Unmarshal([]byte(got.stdout), &o); err != nil {
			t.Fatal(err)
		}
	}
	return o
}

// A signed model from its folder to a verified folder in the store.
func TestIngestSigned(t *testing.T) {
	dir, trust := signedModel(t, "base.gguf")
	ledger, _ := ledgerIn(t)
	s := filepath.Join(t.TempDir(), "store")
	args := []string{"ingest", dir, "--store", s, "--trust", trust, "--model", "assistant", "--environment", "prod",
		"--require", "signature,sbom,checksums", "--ledger", ledger, "--actor", "ci@example.com"}
	got := weighbridge(t, args...)
	if got.code != 0 || !strings.Contains(got.stdout, "admitted") || !strings.Contains(got.stdout, "recorded and proven") {
		t.Fatalf("%+v", got)
	}
	list := weighbridge(t, "store", "list", "--store", s, "--json")
	var entries []struct{ Root, Identity, Receipt, Entry string }
	if err := json.Unmarshal([]byte(list.stdout), &entries); err != nil || len(entries) != 1 {
		t.Fatalf("%+v, %v", list, err)
	}
	e := entries[0]
	if e.Receipt == "" || e.Entry == "" {
		t.Errorf("no proof in %+v", e)
	}
	for _, key := range []string{e.Root, e.Identity, e.Root[:10]} {
		p := weighbridge(t, "store", "path", key, "--store", s)
		if p.code != 0 {
			t.Fatalf("path %s: %+v", key, p)
		}
		v := weighbridge(t, "verify", strings.TrimSpace(p.stdout), "--trust", trust, "--model", "assistant", "--environment", "prod", "--require", "signature,sbom,checksums")
		if v.code != 0 {
			t.Errorf("verify of the store's folder: %+v", v)
		}
	}
	show := weighbridge(t, "store", "show", e.Identity, "--store", s)
	for _, want := range []string{"signature", "valid", "receipt sha256:" + e.Receipt, "model.gguf", "model.sig"} {
		if !strings.Contains(show.stdout, want) {
			t.Errorf("show lacks %q:\n%s", want, show.stdout)
		}
	}
	if audit := weighbridge(t, "ledger", "audit", ledger); audit.code != 0 {
		t.Errorf("audit: %+v", audit)
	}
	if again := weighbridge(t, args...); again.code != 0 {
		t.Errorf("again: %+v", again)
	}
	for _, args := range [][]string{{"store", "fsck"}, {"store", "gc", "--grace", "0s"}, {"store", "fsck"}} {
		if got := weighbridge(t, append(args, "--store", s)...); got.code != 0 {
			t.Errorf("%v: %+v", args, got)
		}
	}
}

func TestIngestRefuses(t *testing.T) {
	signed, trust := signedModel(t, "base.gguf")
	tampered := filepath.Join(t.TempDir(), "tampered")
	if err := os.CopyFS(tampered, os.DirFS(signed)); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(tampered, "README.md"), []byte("another text"), 0o644); err != nil {
		t.Fatal(err)
	}
	pickle := t.TempDir()
	// GLOBAL os system, MARK, "id", TUPLE, REDUCE, STOP.
	if err := os.WriteFile(filepath.Join(pickle, "pytorch_model.bin"), []byte("\x80\x02cos\nsystem\n(X\x02\x00\x00\x00idtR."), 0o644); err != nil {
		t.Fatal(err)
	}
	plain := t.TempDir()
	if err := os.CopyFS(plain, os.DirFS(models)); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		args []string
		want string // part of what is printed
	}{
		{"pickle", []string{pickle}, "system"},
		{"tampered file", []string{tampered, "--trust", trust, "--model", "assistant"}, "README.md"},
		{"nothing signed where it has to be", []string{filepath.Join(plain, "base.gguf"), "--require", "signature"}, "evidence-required"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := filepath.Join(t.TempDir(), "store")
			ledger, _ := ledgerIn(t)
			args := append([]string{"--store", s, "--ledger", ledger, "--actor", "ci@example.com"}, c.args...)
			o := ingestJSON(t, 1, args...)
			if o.Admitted || !o.Recorded || len(o.Problems) == 0 {
				t.Errorf("%+v", o)
			}
			if got := weighbridge(t, append([]string{"ingest"}, args...)...); got.code != 1 || !strings.Contains(got.stdout, c.want) || !strings.Contains(got.stdout, "refused") {
				t.Errorf("%+v, want %q", got, c.want)
			}
			if list := weighbridge(t, "store", "list", "--store", s, "--json"); strings.TrimSpace(list.stdout) != "[]" {
				t.Errorf("in the store: %s", list.stdout)
			}
			if got := weighbridge(t, "store", "fsck", "--store", s); got.code != 0 {
				t.Errorf("fsck: %+v", got)
			}
		})
	}
}

func TestIngestUsage(t *testing.T) {
	s := filepath.Join(t.TempDir(), "store")
	full := t.TempDir()
	if err := os.WriteFile(filepath.Join(full, "thesis.tex"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	base := models + "base.gguf"
	for _, args := range [][]string{
		{"ingest", base},
		{"ingest", "--store", s},
		{"ingest", filepath.Join(full, "none"), "--store", s},
		{"ingest", "s3://bucket/model", "--store", s},
		{"ingest", "ollama:none@" + full, "--store", s},
		{"ingest", base, "--store", full},
		{"ingest", base, "--store", s, "--require", "horoscope"},
		{"ingest", base, "--store", s, "--require", "ledger"},
		{"ingest", base, "--store", s, "--trust", filepath.Join(full, "none.yaml")},
		{"ingest", base, "--store", s, "--max-bytes", "-1"},
		{"ingest", base, "--store", s, "--ledger", full},
		{"ingest", base, "--store", s, "--convert"},
		{"store", "list"},
		{"store", "list", "--store", full},
		{"store", "show", strings.Repeat("0", 64), "--store", s},
		{"store", "path", "short", "--store", s},
		{"store", "gc", "--grace", "-1s", "--store", s},
	} {
		if got := weighbridge(t, args...); got.code != exitUsage || got.stderr == "" {
			t.Errorf("%v: %+v", args, got)
		}
	}
}

// A safetensors folder becomes GGUF in a box, and the store links both.
func TestIngestConverts(t *testing.T) {
	needBoxes(t)
	testreq.File(t, "../../bin/converter", "make bin/converter")
	dir := filepath.Join(t.TempDir(), "tiny")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, b := range converttest.Llama(3) {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	s := filepath.Join(t.TempDir(), "store")
	o := ingestJSON(t, 0, dir, "--store", s, "--convert", "--containerd", "private", "--state", state(t))
	var source struct{ Identity string }
	var made struct {
		Admitted bool
		Model    struct {
			Identity   string
			Conversion struct{ Identity string }
		}
	}
	if err := json.Unmarshal(o.Model, &source); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(o.Converted, &made); err != nil {
		t.Fatal(err)
	}
	if !made.Admitted || made.Model.Conversion.Identity != source.Identity {
		t.Fatalf("%s", o.Converted)
	}
	show := weighbridge(t, "store", "show", source.Identity, "--store", s)
	if !strings.Contains(show.stdout, "converted to") || !strings.Contains(show.stdout, made.Model.Identity) {
		t.Errorf("show of the source:\n%s", show.stdout)
	}
	p := weighbridge(t, "store", "path", made.Model.Identity, "--store", s)
	m, err := weights.Open(t.Context(), weights.Artifact{Model: filepath.Join(strings.TrimSpace(p.stdout), "model.gguf")})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if string(m.Identity()) != made.Model.Identity {
		t.Errorf("identity %s", m.Identity())
	}
}

// Intakes at the same time, into one store and one ledger, all succeed.
func TestIngestTogether(t *testing.T) {
	ledger, _ := ledgerIn(t)
	s := filepath.Join(t.TempDir(), "store")
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			got := weighbridge(t, "ingest", models+"base.gguf", "--store", s, "--ledger", ledger, "--actor", "ci@example.com")
			if got.code != 0 {
				t.Errorf("%+v", got)
			}
		})
	}
	wg.Wait()
	var entries []struct{ Version int }
	list := weighbridge(t, "store", "list", "--store", s, "--json")
	if err := json.Unmarshal([]byte(list.stdout), &entries); err != nil || len(entries) != 1 || entries[0].Version != 1 {
		t.Errorf("%+v, %v", list, err)
	}
	if audit := weighbridge(t, "ledger", "audit", ledger); audit.code != 0 || !strings.Contains(audit.stdout, "4") {
		t.Errorf("audit: %+v", audit)
	}
}

// The same model is one model of the store, wherever it comes from.
func TestIngestFromEverywhere(t *testing.T) {
	dir, trust := signedModel(t, "base.gguf")
	layout := filepath.Join(t.TempDir(), "layout")
	if got := weighbridge(t, "push", dir, "oci:"+layout+":v1"); got.code != 0 {
		t.Fatalf("%+v", got)
	}
	hub := filepath.Join(t.TempDir(), "models--org--assistant")
	snapshot := filepath.Join(hub, "snapshots", strings.Repeat("a", 40))
	if err := errors.Join(os.MkdirAll(filepath.Join(hub, "blobs"), 0o755), os.CopyFS(snapshot, os.DirFS(dir))); err != nil {
		t.Fatal(err)
	}
	s := filepath.Join(t.TempDir(), "store")
	identities := map[string]bool{}
	for _, src := range []string{dir, "oci:" + layout + ":v1", "hf:" + hub} {
		o := ingestJSON(t, 0, src, "--store", s, "--trust", trust, "--model", "assistant", "--environment", "prod", "--require", "signature,sbom")
		var e struct{ Identity string }
		if err := json.Unmarshal(o.Model, &e); err != nil {
			t.Fatal(err)
		}
		identities[e.Identity] = true
	}
	if len(identities) != 1 {
		t.Errorf("three sources give %v", identities)
	}
}
