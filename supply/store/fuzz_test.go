package store

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A record that is accepted says of itself what is true, and has one encoding.
func FuzzRecord(f *testing.F) {
	b, err := os.ReadFile("testdata/record.json")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte(`{"format":"weighbridge-model/1"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := parseRecord(b)
		if err != nil {
			return
		}
		enc, err := r.encode()
		if err != nil {
			t.Fatal(err)
		}
		again, err := parseRecord(enc)
		if err != nil {
			t.Fatalf("its own encoding is refused: %v", err)
		}
		enc2, err := again.encode()
		if err != nil || !bytes.Equal(enc, enc2) {
			t.Fatalf("two encodings of one record: %v", err)
		}
	})
}

// A name that is accepted stays below the folder.
func FuzzCheckName(f *testing.F) {
	for _, s := range []string{"a", "a/b", "../a", "a/../b", "/a", "a//b", "./a", "a\x00", `a\b`, "a/.", "…"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if CheckName(name) != nil {
			return
		}
		p := filepath.Join("/top", name)
		if !strings.HasPrefix(p, "/top/") || strings.TrimPrefix(p, "/top/") != name {
			t.Errorf("%q becomes %q", name, p)
		}
	})
}
