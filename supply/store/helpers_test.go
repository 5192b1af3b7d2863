package store

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/weighbridge/weighbridge/record"
	"github.com/weighbridge/weighbridge/supply/manifest"
)

var update = flag.Bool("update", false, "write the golden files")

func open(t testing.TB) *Store {
	t.Helper()
	s, err := Create(filepath.Join(t.TempDir(), "store"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.Close()
		removeAll(filepath.Join(s.dir, "folders")) // read-only for those who are not root
	})
	return s
}

func sum(s string) string {
	h := sha256.Sum256([]byte(s))
	return hex.EncodeToString(h[:])
}

// text is a file as a source offers it.
func text(name, content string) File {
	return File{Name: name, Size: int64(len(content)), Open: func(_ context.Context, at int64) (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader([]byte(content)[at:])), nil
	}}
}

var origin = Origin{Kind: "folder", Location: "/models/one"}

// bring fills a quarantine with files, in the order of their names.
func bring(t testing.TB, s *Store, files map[string]string) *Intake {
	t.Helper()
	in, err := s.Begin(t.Context(), origin, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { in.Close() })
	for name, content := range files {
		if _, err := in.Add(t.Context(), text(name, content)); err != nil {
			t.Fatal(err)
		}
	}
	return in
}

// judge hashes the quarantine as a check would.
func judge(t testing.TB, in *Intake) Admission {
	t.Helper()
	dir, err := in.Folder()
	if err != nil {
		t.Fatal(err)
	}
	m, err := manifest.Dir(t.Context(), dir, manifest.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return Admission{Manifest: m, Evidence: []record.Evidence{{Kind: record.ModelSignature, State: record.Absent, Detail: "no signature"}}}
}

func admit(t testing.TB, s *Store, files map[string]string) *Entry {
	t.Helper()
	in := bring(t, s, files)
	e, err := in.Admit(t.Context(), judge(t, in))
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func rule(t testing.TB, err error) string {
	t.Helper()
	var v *Violation
	if !errors.As(err, &v) {
		t.Fatalf("error %v is no violation", err)
	}
	return v.Rule
}

// damage changes a byte of a file that nobody may write to.
func damage(t testing.TB, path string) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)/2] ^= 1
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}
