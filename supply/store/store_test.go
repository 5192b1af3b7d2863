package store

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weighbridge/weighbridge/internal/testreq"
	"github.com/weighbridge/weighbridge/record"
	"github.com/weighbridge/weighbridge/supply/manifest"
)

var small = map[string]string{
	"model.gguf": "weights", "a/b.json": "nested", "a-b.json": "beside it",
	"model.sig": "a signature", "claims.jsonl": "claims",
}

func TestAdmittedModel(t *testing.T) {
	s := open(t)
	e := admit(t, s, small)

	dir, err := e.Dir(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	err = filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		st, err := d.Info()
		if err != nil {
			return err
		}
		if st.Mode().Perm()&0o222 != 0 {
			t.Errorf("%s can be written to (%v)", p, st.Mode())
		}
		if d.IsDir() {
			return nil
		}
		rel, _ := filepath.Rel(dir, p)
		b, err := os.ReadFile(p)
		got[rel] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(small, got); d != "" {
		t.Errorf("the laid-out folder differs (-want +got):\n%s", d)
	}
	if again, err := e.Dir(t.Context()); err != nil || again != dir {
		t.Errorf("asked twice: %q, %v", again, err)
	}

	m, err := manifest.Dir(t.Context(), dir, manifest.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if m.Root() == m.PythonRoot() {
		t.Fatal("the two orders do not differ: this test shows nothing")
	}
	id, _ := m.Identity()
	for _, key := range []string{m.Root(), m.PythonRoot(), string(id), "sha256:" + m.Root(), m.Root()[:8], strings.ToUpper(m.PythonRoot()[:12])} {
		f, ok, err := s.Find(key)
		if err != nil || !ok || f.Identity != string(id) {
			t.Errorf("Find(%s): %v, %v", key, ok, err)
		}
	}
	for _, key := range []string{m.Root()[:7], "", strings.Repeat("0", 64), "../../etc", "model.gguf"} {
		if _, ok, err := s.Find(key); ok || err != nil {
			t.Errorf("Find(%q): %v, %v", key, ok, err)
		}
	}
	if _, err := s.Get(strings.Repeat("0", 64)); !errors.Is(err, ErrUnknown) {
		t.Errorf("Get of what is not there: %v", err)
	}
	healthy(t, s)
	if left, _ := fs.Glob(s.root.FS(), "quarantine/*"); len(left) > 0 {
		t.Errorf("quarantines are left: %v", left)
	}
	if left, _ := fs.Glob(s.root.FS(), "tmp/*"); len(left) > 0 {
		t.Errorf("temporary files are left: %v", left)
	}
}

func healthy(t testing.TB, s *Store) *Health {
	t.Helper()
	h, err := s.Fsck(t.Context(), false)
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range h.Bad {
		t.Errorf("fsck: %s %s: %s", b.Rule, b.Path, b.Detail)
	}
	return h
}

func TestRecordGolden(t *testing.T) {
	s := open(t)
	in := bring(t, s, small)
	a := judge(t, in)
	a.Proof = &Proof{Receipt: []byte("a receipt"), Entry: []byte("an entry")}
	a.Conversion = &Conversion{Root: sum("r"), Identity: "sha256:" + sum("i"), Converter: sum("c")}
	e, err := in.Admit(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join(s.dir, versionName(e.dir(), 1)))
	if err != nil {
		t.Fatal(err)
	}
	golden := "testdata/record.json"
	if *update {
		if err := os.WriteFile(golden, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), string(got)); d != "" {
		t.Errorf("the record differs (-want +got):\n%s", d)
	}
	back, err := s.read(e.dir(), 1)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(e.Record, back.Record); d != "" {
		t.Errorf("read back (-written +read):\n%s", d)
	}
}

// Records are added only where there is something new to say, and nothing that
// was admitted is forgotten.
func TestVersions(t *testing.T) {
	s := open(t)
	first := admit(t, s, small)
	if again := admit(t, s, small); again.Version != 1 {
		t.Errorf("the same again is version %d", again.Version)
	}
	less := map[string]string{}
	for name, content := range small {
		if name != "claims.jsonl" {
			less[name] = content
		}
	}
	second := admit(t, s, less)
	if second.Version != 2 || second.Identity != first.Identity {
		t.Errorf("less evidence is version %d of %s", second.Version, second.Identity)
	}
	if _, err := s.Collect(t.Context(), Collection{Now: farFuture}); err != nil {
		t.Fatal(err)
	}
	if ok, err := s.HasBlob(sum("claims")); err != nil || !ok {
		t.Errorf("evidence of the first version is gone: %v", err)
	}
	in := bring(t, s, less)
	a := judge(t, in)
	a.Evidence[0].State = record.Valid
	third, err := in.Admit(t.Context(), a)
	if err != nil || third.Version != 3 {
		t.Errorf("a signature that is valid now: %+v, %v", third, err)
	}
	if h := healthy(t, s); h.Models != 1 || h.Records != 3 {
		t.Errorf("%d models with %d records", h.Models, h.Records)
	}
}

// Roots bind no names: models of one root and different names live side by side.
func TestOneRootTwoModels(t *testing.T) {
	s := open(t)
	a := admit(t, s, map[string]string{"a": "1", "b": "2"})
	b := admit(t, s, map[string]string{"c": "1", "d": "2"})
	if a.Root != b.Root || a.Identity == b.Identity {
		t.Fatal("the models do not share a root: this test shows nothing")
	}
	if _, _, err := s.Find(a.Root); !errors.Is(err, ErrAmbiguous) || !strings.Contains(err.Error(), b.Identity) {
		t.Errorf("Find by the shared root: %v", err)
	}
	if e, ok, err := s.Find(b.Identity); err != nil || !ok || e.Files[0].Name != "c" {
		t.Errorf("Find by identity: %v, %v", ok, err)
	}
}

func TestMaterialise(t *testing.T) {
	s := open(t)
	e := admit(t, s, small)
	dir := filepath.Join(t.TempDir(), "out")
	if err := e.Materialise(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { removeAll(dir) })
	if err := e.Materialise(t.Context(), dir); !errors.Is(err, fs.ErrExist) {
		t.Errorf("over an existing folder: %v", err)
	}
	// Another file system takes copies, which are hashed as they are made.
	shm, err := os.MkdirTemp("/dev/shm", "weighbridge-*")
	testreq.Need(t, err == nil, "a second file system at /dev/shm")
	t.Cleanup(func() { removeAll(shm) })
	if err := e.Materialise(t.Context(), filepath.Join(shm, "copy")); err != nil {
		t.Fatal(err)
	}
	damage(t, s.BlobPath(sum("weights")))
	if err := e.Materialise(t.Context(), filepath.Join(shm, "bad")); !errors.Is(err, ErrCorrupt) {
		t.Errorf("of a damaged blob: %v", err)
	}
	left, err := os.ReadDir(shm)
	if err != nil || len(left) != 1 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestConversionsAreLinked(t *testing.T) {
	s := open(t)
	source := admit(t, s, map[string]string{"model.safetensors": "tensors"})
	in := bring(t, s, map[string]string{"model.gguf": "gguf"})
	a := judge(t, in)
	a.Conversion = &Conversion{Root: source.Root, Identity: source.Identity, Converter: sum("converter")}
	made, err := in.Admit(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	list, err := source.Made()
	if err != nil || len(list) != 1 || list[0].Identity != made.Identity {
		t.Errorf("Made: %v, %v", list, err)
	}
	// The same file from elsewhere does not forget where it was made.
	if e := admit(t, s, map[string]string{"model.gguf": "gguf"}); e.Conversion == nil {
		t.Error("the link is lost")
	}
}

func TestPut(t *testing.T) {
	s := open(t)
	d, n, err := s.Put(t.Context(), strings.NewReader("content"), "", 100)
	if err != nil || d != sum("content") || n != 7 {
		t.Fatalf("%s, %d, %v", d, n, err)
	}
	f, n, err := s.OpenBlob(d)
	if err != nil || n != 7 {
		t.Fatal(err)
	}
	f.Close()
	if _, _, err := s.Put(t.Context(), strings.NewReader("content"), sum("other"), 100); rule(t, err) != RuleDigest {
		t.Error(err)
	}
	if _, _, err := s.Put(t.Context(), strings.NewReader("content"), "", 6); rule(t, err) != RuleTooLarge {
		t.Error(err)
	}
	if _, _, err := s.OpenBlob(sum("none")); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	if _, err := s.HasBlob("../../../../etc/passwd"); err == nil {
		t.Error("a path is taken for a digest")
	}
	left, _ := fs.Glob(s.root.FS(), "tmp/*")
	if len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestFilesAreSortedAndComplete(t *testing.T) {
	s := open(t)
	in := bring(t, s, small)
	names := []string{}
	for _, f := range in.Files() {
		names = append(names, f.Name)
	}
	if want := []string{"a-b.json", "a/b.json", "claims.jsonl", "model.gguf", "model.sig"}; !slices.Equal(names, want) {
		t.Errorf("got %v", names)
	}
}
