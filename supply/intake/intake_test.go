package intake

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weighbridge/weighbridge/record"
	"github.com/weighbridge/weighbridge/supply/manifest"
	"github.com/weighbridge/weighbridge/supply/store"
)

func newStore(t testing.TB) *store.Store {
	t.Helper()
	s, err := store.Create(filepath.Join(t.TempDir(), "store"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// finds is a check that hashes the folder and says of it what it is told to.
func finds(es ...record.Evidence) Check {
	return func(ctx context.Context, dir string) (*Assessment, error) {
		m, err := manifest.Dir(ctx, dir, manifest.Options{})
		return &Assessment{Manifest: m, Evidence: es}, err
	}
}

// notes is a ledger that remembers.
type notes struct {
	events []Event
	fails  error
}

func (n *notes) Intake(_ context.Context, e Event) (*store.Proof, error) {
	n.events = append(n.events, e)
	return &store.Proof{Receipt: []byte("receipt"), Entry: []byte("entry")}, n.fails
}

func write(t testing.TB, dir string, files map[string]string) string {
	t.Helper()
	for name, content := range files {
		p := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func names(e *store.Entry) map[string]int64 {
	m := map[string]int64{}
	for _, f := range append(e.Files, e.Evidence...) {
		m[f.Name] = f.Bytes
	}
	return m
}

func TestIngestFolder(t *testing.T) {
	s := newStore(t)
	dir := write(t, t.TempDir(), map[string]string{
		"config.json": "{}", "sub/model.safetensors": "tensors", ".gitattributes": "lfs", ".git/HEAD": "ref", ".hidden": "kept",
		"model.sig": "signature",
	})
	led := &notes{}
	c := Config{Store: s, Source: Folder{dir}, Check: finds(record.Evidence{Kind: record.ModelSignature, State: record.Valid}), Ledger: led,
		Require: []record.EvidenceKind{record.ModelSignature}}
	out, err := Ingest(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	if !out.Admitted || !out.Recorded || out.Entry == nil {
		t.Fatalf("%+v", out)
	}
	want := map[string]int64{"config.json": 2, "sub/model.safetensors": 7, ".hidden": 4, "model.sig": 9}
	if d := cmp.Diff(want, names(out.Entry)); d != "" {
		t.Errorf("files (-want +got):\n%s", d)
	}
	direct, err := manifest.Dir(t.Context(), dir, manifest.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if direct.Root() != out.Entry.Root {
		t.Errorf("the store's root %s is not the folder's %s", out.Entry.Root, direct.Root())
	}
	if len(led.events) != 1 || !led.events[0].Admitted || led.events[0].Root != direct.Root() || len(led.events[0].Documents) != 2 {
		t.Errorf("the ledger was told %+v", led.events)
	}
	if out.Entry.Receipt == "" || out.Entry.Record.Entry == "" || out.Entry.Assessment == "" {
		t.Error("receipt or assessment are not in the record")
	}
}

func TestSingleFileIsModelGGUF(t *testing.T) {
	s := newStore(t)
	dir := write(t, t.TempDir(), map[string]string{"Some Name Q4.gguf": "GGUF and more", "other.gguf": "GGUF and more", "x.safetensors": "tensors"})
	ingest := func(name string) *store.Entry {
		out, err := Ingest(t.Context(), Config{Store: s, Source: File{filepath.Join(dir, name)}, Check: finds()})
		if err != nil || !out.Admitted {
			t.Fatalf("%+v, %v", out, err)
		}
		return out.Entry
	}
	a, b := ingest("Some Name Q4.gguf"), ingest("other.gguf")
	if a.Identity != b.Identity || b.Version != 1 || a.Files[0].Name != "model.gguf" {
		t.Errorf("one content under two names: %s and %s, version %d", a.Identity, b.Identity, b.Version)
	}
	if e := ingest("x.safetensors"); e.Files[0].Name != "x.safetensors" {
		t.Errorf("another format is called %q", e.Files[0].Name)
	}
}

func TestRefusals(t *testing.T) {
	bad := record.Evidence{Kind: record.FileFormats, State: record.Bad, Detail: "pickle",
		Problems: []record.Problem{{Rule: "format-pickle", Subject: "x.bin", Detail: "GLOBAL os system, REDUCE"}}}
	revoked := record.Evidence{Kind: record.Revocation, State: record.Bad, Detail: "the key is revoked"}
	unsure := record.Evidence{Kind: record.BillOfMaterials, State: record.Ambiguous, Detail: "not signed"}
	for _, c := range []struct {
		name    string
		finds   []record.Evidence
		require []record.EvidenceKind
		want    []string // rules
	}{
		{name: "nothing at all"},
		{name: "ambiguous evidence", finds: []record.Evidence{unsure}},
		{name: "bad evidence", finds: []record.Evidence{bad, revoked}, want: []string{"format-pickle", "revocation-bad"}},
		{name: "required and absent", require: []record.EvidenceKind{record.ModelSignature}, want: []string{RuleRequired}},
		{name: "required and ambiguous", finds: []record.Evidence{unsure}, require: []record.EvidenceKind{record.BillOfMaterials}, want: []string{RuleRequired}},
		{name: "required and bad", finds: []record.Evidence{bad}, require: []record.EvidenceKind{record.FileFormats}, want: []string{"format-pickle"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newStore(t)
			dir := write(t, t.TempDir(), map[string]string{"x.bin": "bytes"})
			led := &notes{}
			out, err := Ingest(t.Context(), Config{Store: s, Source: Folder{dir}, Check: finds(c.finds...), Require: c.require, Ledger: led})
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, p := range out.Problems {
				got = append(got, p.Rule)
			}
			if d := cmp.Diff(c.want, got); d != "" {
				t.Errorf("rules (-want +got):\n%s", d)
			}
			if out.Admitted != (len(c.want) == 0) || led.events[0].Admitted != out.Admitted {
				t.Errorf("admitted: %v, in the ledger: %v", out.Admitted, led.events[0].Admitted)
			}
			n := 0
			for range s.Entries() {
				n++
			}
			if (n == 1) != out.Admitted {
				t.Errorf("%d models are in the store", n)
			}
			if !out.Admitted {
				b, err := os.ReadFile(filepath.Join(out.Refused, "refusal.json"))
				if err != nil || !strings.Contains(string(b), c.want[0]) {
					t.Errorf("the reason: %s, %v", b, err)
				}
			}
			if left, _ := filepath.Glob(filepath.Join(s.Dir(), "quarantine/*")); len(left) > 0 {
				t.Errorf("quarantines are left: %v", left)
			}
		})
	}
}

// A ledger that cannot record stops the intake: nothing is in the store that
// the ledger does not know of, and the same call goes on later.
func TestLedgerDown(t *testing.T) {
	s := newStore(t)
	dir := write(t, t.TempDir(), map[string]string{"model.gguf": "GGUF"})
	down := errors.New("the disk of the ledger is full")
	c := Config{Store: s, Source: Folder{dir}, Check: finds(), Ledger: &notes{fails: down}}
	if _, err := Ingest(t.Context(), c); !errors.Is(err, down) {
		t.Fatalf("got %v", err)
	}
	for e := range s.Entries() {
		t.Errorf("%s is admitted", e.Identity)
	}
	c.Ledger = &notes{}
	out, err := Ingest(t.Context(), c)
	if err != nil || !out.Admitted || !out.Resumed {
		t.Errorf("again: %+v, %v", out, err)
	}
}
