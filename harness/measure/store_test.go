package measure

import (
	"bytes"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

func openStore(t *testing.T) *Store {
	t.Helper()
	s, err := OpenStore(filepath.Join(t.TempDir(), "store"))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestKeysDoNotRunIntoEachOther(t *testing.T) {
	seen := map[Key]int{}
	for i, parts := range [][]string{{}, {""}, {"", ""}, {"a", "b"}, {"ab", ""}, {"", "ab"}, {"a\nb"}, {"a", "", "b"}, {"1\na"}, {"a", "b", ""}} {
		k := KeyOf(parts...)
		if j, dup := seen[k]; dup {
			t.Errorf("lists %d and %d share a key", i, j)
		}
		seen[k] = i
	}
}

func TestStoreKeepsEntriesAcrossOpens(t *testing.T) {
	s := openStore(t)
	k := KeyOf("x")
	if _, ok, err := s.Get(k); ok || err != nil {
		t.Fatalf("an empty store answers: %v, %v", ok, err)
	}
	want := bytes.Repeat([]byte("answer"), 1000)
	if err := s.Put(k, want); err != nil {
		t.Fatal(err)
	}
	again, err := OpenStore(s.dir)
	if err != nil {
		t.Fatal(err)
	}
	if got, ok, err := again.Get(k); !ok || err != nil || !bytes.Equal(got, want) {
		t.Fatalf("got %d bytes, %v, %v", len(got), ok, err)
	}
	if _, ok, _ := again.Get(KeyOf("y")); ok {
		t.Fatal("another key is answered")
	}
}

// Whatever happens to an entry on disk, it is either answered as written or
// not at all.
func TestStoreNeverAnswersFromADamagedEntry(t *testing.T) {
	for name, damage := range map[string]func([]byte) []byte{
		"empty":       func([]byte) []byte { return nil },
		"cut":         func(b []byte) []byte { return b[:len(b)-1] },
		"longer":      func(b []byte) []byte { return append(b, 0) },
		"flipped bit": func(b []byte) []byte { b[len(b)-1] ^= 1; return b },
		"wrong sum":   func(b []byte) []byte { b[len(magic)] ^= 1; return b },
		"other file": func([]byte) []byte {
			return []byte("not an entry, but long enough to be one: 0123456789012345678901234567890123456789")
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := openStore(t)
			k := KeyOf("x")
			if err := s.Put(k, []byte("answer")); err != nil {
				t.Fatal(err)
			}
			b, err := os.ReadFile(s.path(k))
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(s.path(k), damage(b), 0o644); err != nil {
				t.Fatal(err)
			}
			if v, ok, err := s.Get(k); ok || err != nil {
				t.Fatalf("got %q, %v, %v", v, ok, err)
			}
			if err := s.Put(k, []byte("answer")); err != nil {
				t.Fatal(err)
			}
			if v, ok, err := s.Get(k); !ok || err != nil || string(v) != "answer" {
				t.Fatalf("after measuring again: %q, %v, %v", v, ok, err)
			}
		})
	}
}

func TestConcurrentWritersOfOneKey(t *testing.T) {
	s := openStore(t)
	k, want := KeyOf("x"), bytes.Repeat([]byte("v"), 1<<16)
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for range 8 {
				if err := s.Put(k, want); err != nil {
					t.Error(err)
				}
				if v, ok, err := s.Get(k); !ok || err != nil || !bytes.Equal(v, want) {
					t.Errorf("read %d bytes, %v, %v", len(v), ok, err)
				}
			}
		})
	}
	wg.Wait()
}

func TestStoreSaysWhichFolderCannotBeUsed(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenStore(filepath.Join(file, "store")); err == nil {
		t.Fatal("a store below a file was opened")
	}
}
