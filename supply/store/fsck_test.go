package store

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weighbridge/weighbridge/record"
)

var farFuture = time.Now().Add(1000 * time.Hour)

func TestFsckNamesAndMends(t *testing.T) {
	s := open(t)
	good := admit(t, s, map[string]string{"a": "sound", "b": "shared"})
	bad := admit(t, s, map[string]string{"x": "rotten", "y": "shared"})
	gone := admit(t, s, map[string]string{"z": "gone"})
	laid, err := good.Dir(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	damage(t, s.BlobPath(sum("rotten")))
	if err := os.Remove(s.BlobPath(sum("gone"))); err != nil {
		t.Fatal(err)
	}
	stray := filepath.Join(s.dir, "blobs/sha256/ab")
	if err := os.MkdirAll(stray, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(stray, "notes.txt"), nil, 0o600); err != nil {
		t.Fatal(err)
	}

	rules := func(h *Health) map[string]string {
		m := map[string]string{}
		for _, b := range h.Bad {
			m[b.Path] = b.Rule
		}
		return m
	}
	want := map[string]string{
		blobName(sum("rotten")):     BlobDamaged,
		blobName(sum("gone")):       BlobMissing,
		versionName(gone.dir(), 1):  ModelIncomplete,
		versionName(bad.dir(), 1):   ModelIncomplete,
		"blobs/sha256/ab/notes.txt": BlobStray,
	}
	h, err := s.Fsck(t.Context(), false)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, rules(h)); d != "" {
		t.Errorf("fsck (-want +got):\n%s", d)
	}
	if _, err := s.Fsck(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	healthy(t, s)
	// A laid-out folder that is not the model any more is a copy, and goes.
	if err := os.Chmod(laid, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(laid, "slipped-in"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if h, err := s.Fsck(t.Context(), true); err != nil || len(h.Bad) != 1 || h.Bad[0].Rule != FolderDamaged || !h.Bad[0].Repaired {
		t.Errorf("a folder with something slipped in: %+v, %v", h, err)
	}
	healthy(t, s)
	if _, ok, err := s.Find(good.Root); !ok || err != nil {
		t.Errorf("the sound model: %v, %v", ok, err)
	}
	for _, e := range []*Entry{bad, gone} {
		if _, ok, err := s.Find(e.Root); ok || err != nil {
			t.Errorf("a model that misses a blob is still admitted: %v", err)
		}
	}
	if aside, _ := fs.Glob(s.root.FS(), "aside/*"); len(aside) != 4 {
		t.Errorf("aside are %v", aside)
	}
	if e := admit(t, s, map[string]string{"x": "rotten", "y": "shared"}); e.Identity != bad.Identity {
		t.Error("bringing it in again gives another model")
	}
	healthy(t, s)
}

func TestCollect(t *testing.T) {
	s := open(t)
	kept := admit(t, s, small)
	if _, err := kept.Dir(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.Put(t.Context(), strings.NewReader("unreferenced"), "", 100); err != nil {
		t.Fatal(err)
	}
	// A dead intake, a refused one, and one at work that uses a blob.
	dead := bring(t, s, map[string]string{"a": "dead"})
	dead.Close()
	deadDir := dead.dir
	refused, err := s.Begin(t.Context(), Origin{Kind: "folder", Location: "refused"}, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := refused.Add(t.Context(), text("evil.pkl", "pickle")); err != nil {
		t.Fatal(err)
	}
	why := []record.Problem{{Rule: "pickle", Subject: "evil.pkl", Detail: "it runs code"}}
	at, err := refused.Refuse(t.Context(), Refusal{Problems: why})
	if err != nil {
		t.Fatal(err)
	}
	running, err := s.Begin(t.Context(), Origin{Kind: "folder", Location: "running"}, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	defer running.Close()
	lent := text("lent", "unreferenced")
	lent.SHA256 = sum("unreferenced")
	if _, err := running.Add(t.Context(), lent); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(s.dir, "tmp/left"), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}

	if got, err := s.Collect(t.Context(), Collection{Now: time.Now(), Grace: time.Hour}); err != nil || len(got.Paths) > 0 {
		t.Errorf("within the grace: %v, %v", got, err)
	}
	rel, err := filepath.Rel(s.dir, at)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{blobName(sum("unreferenced")), deadDir, rel + "/model", rel + "/partial", "tmp/left"}
	slices.Sort(want)
	dry, err := s.Collect(t.Context(), Collection{Now: farFuture, Grace: time.Hour, DryRun: true})
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, dry.Paths); d != "" {
		t.Errorf("dry run (-want +got):\n%s", d)
	}
	if ok, _ := s.HasBlob(sum("unreferenced")); !ok {
		t.Fatal("a dry run removes")
	}
	got, err := s.Collect(t.Context(), Collection{Now: farFuture, Grace: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(dry, got); d != "" {
		t.Errorf("the real run differs from the dry one (-dry +real):\n%s", d)
	}
	if _, err := os.Stat(filepath.Join(at, reasonFile)); err != nil {
		t.Errorf("the reason is gone: %v", err)
	}
	// The running intake still has what it was lent.
	e, err := running.Admit(t.Context(), judge(t, running))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.Dir(t.Context()); err != nil {
		t.Error(err)
	}
	if _, ok, err := s.Find(kept.Root); !ok || err != nil {
		t.Errorf("an admitted model is gone: %v", err)
	}
	healthy(t, s)
}
