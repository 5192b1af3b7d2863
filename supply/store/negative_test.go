package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/weighbridge/weighbridge/internal/testreq"
)

// endless never ends.
type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

func TestNegativeMatrix(t *testing.T) {
	const area = "store"
	named := func(err error) string {
		for _, s := range []struct {
			name string
			is   error
		}{
			{"ErrStore", ErrStore}, {"ErrCorrupt", ErrCorrupt}, {"ErrUnknown", ErrUnknown},
			{"ENOSPC", unix.ENOSPC}, {"EROFS", unix.EROFS}, {"unexpected EOF", io.ErrUnexpectedEOF},
		} {
			if errors.Is(err, s.is) {
				return s.name
			}
		}
		var v *Violation
		if errors.As(err, &v) {
			return v.Rule
		}
		return fmt.Sprint(err)
	}
	add := func(f File, l Limits) func(*testing.T, *Store) error {
		return func(t *testing.T, s *Store) error {
			in, err := s.Begin(t.Context(), origin, l)
			if err != nil {
				return err
			}
			defer in.Close()
			_, err = in.Add(t.Context(), f)
			return err
		}
	}
	name := func(n string) func(*testing.T, *Store) error { return add(text(n, "x"), Limits{}) }
	claim := func(size int64, digest string) File {
		f := text("model.gguf", "content")
		f.Size, f.SHA256 = size, digest
		return f
	}
	reopen := func(change func(t *testing.T, dir string)) func(*testing.T, *Store) error {
		return func(t *testing.T, s *Store) error {
			change(t, s.dir)
			o, err := Open(s.dir)
			if err == nil {
				o.Close()
			}
			return err
		}
	}
	mustDo := func(t *testing.T, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		name, want string
		do         func(*testing.T, *Store) error
	}{
		{"name with ..", RuleName, name("../evil")},
		{"name with .. inside", RuleName, name("a/../../evil")},
		{"absolute name", RuleName, name("/etc/passwd")},
		{"name with NUL", RuleName, name("a\x00b")},
		{"name with a line feed", RuleName, name("a\nb")},
		{"name that is not UTF-8", RuleName, name("a\xff")},
		{"name with a backslash", RuleName, name(`..\evil`)},
		{"empty name", RuleName, name("")},
		{"name of 4,096 folders", RuleName, name(strings.Repeat("d/", 4096) + "f")},
		{"name of one long part", RuleName, name(strings.Repeat("x", 256))},
		{"wrong digest", RuleDigest, add(claim(7, sum("other")), Limits{})},
		{"digest that is none", RuleDigest, add(claim(7, "abc"), Limits{})},
		{"more bytes than named", RuleSize, add(claim(6, ""), Limits{})},
		{"fewer bytes than named", "unexpected EOF", add(claim(8, ""), Limits{})},
		{"endless file", RuleTooLarge, add(File{Name: "f", Size: -1, Open: func(context.Context, int64) (io.ReadCloser, error) {
			return io.NopCloser(endless{}), nil
		}}, Limits{File: 3 << 20})},
		{"file larger than allowed", RuleTooLarge, add(claim(7, ""), Limits{File: 6})},
		{"files larger than allowed together", RuleTooLarge, func(t *testing.T, s *Store) error {
			in, err := s.Begin(t.Context(), origin, Limits{Total: 10})
			mustDo(t, err)
			defer in.Close()
			_, err = in.Add(t.Context(), text("a", "123456"))
			mustDo(t, err)
			_, err = in.Add(t.Context(), text("b", "123456"))
			return err
		}},
		{"too many files", RuleTooLarge, func(t *testing.T, s *Store) error {
			in, err := s.Begin(t.Context(), origin, Limits{Files: 1})
			mustDo(t, err)
			defer in.Close()
			_, err = in.Add(t.Context(), text("a", "1"))
			mustDo(t, err)
			_, err = in.Add(t.Context(), text("b", "2"))
			return err
		}},
		{"one name twice", RuleDuplicate, func(t *testing.T, s *Store) error {
			in := bring(t, s, map[string]string{"a": "1"})
			_, err := in.Add(t.Context(), text("a", "2"))
			return err
		}},
		{"quarantine changed after judgement", "ErrCorrupt", func(t *testing.T, s *Store) error {
			in := bring(t, s, map[string]string{"a": "before"})
			damage(t, filepath.Join(s.dir, in.path("a")))
			_, err := in.Admit(t.Context(), judge(t, in))
			return err
		}},
		{"file slipped into the quarantine", "ErrCorrupt", func(t *testing.T, s *Store) error {
			in := bring(t, s, map[string]string{"a": "1"})
			mustDo(t, os.WriteFile(filepath.Join(s.dir, in.path("evil.pkl")), []byte("x"), 0o644))
			a := judge(t, in) // removes it
			mustDo(t, os.WriteFile(filepath.Join(s.dir, in.path("evil.pkl")), []byte("x"), 0o644))
			b := judge(t, in)
			if len(a.Manifest.Resources) != 1 || len(b.Manifest.Resources) != 1 {
				t.Error("what was not brought in is judged")
			}
			delete(in.files, "a")
			in.files["evil.pkl"] = Stored{"evil.pkl", sum("x"), 1}
			_, err := in.Admit(t.Context(), a)
			return err
		}},
		{"folder that is no store", "ErrStore", func(t *testing.T, _ *Store) error {
			_, err := Open(t.TempDir())
			return err
		}},
		{"store made in a folder with other things", "ErrStore", func(t *testing.T, _ *Store) error {
			dir := t.TempDir()
			mustDo(t, os.Chmod(dir, 0o700))
			mustDo(t, os.WriteFile(filepath.Join(dir, "thesis.tex"), nil, 0o600))
			_, err := Create(dir)
			return err
		}},
		{"store of another version", "ErrStore", reopen(func(t *testing.T, dir string) {
			mustDo(t, os.Remove(filepath.Join(dir, markerFile)))
			mustDo(t, os.WriteFile(filepath.Join(dir, markerFile), []byte(`{"format":"weighbridge-store/2"}`), 0o600))
		})},
		{"store that others may write to", "ErrStore", reopen(func(t *testing.T, dir string) { mustDo(t, os.Chmod(filepath.Join(dir, "models"), 0o777)) })},
		{"symlink in place of the blobs", "ErrStore", reopen(func(t *testing.T, dir string) {
			mustDo(t, os.Rename(filepath.Join(dir, "blobs"), filepath.Join(dir, "real")))
			mustDo(t, os.Symlink("real", filepath.Join(dir, "blobs")))
		})},
		{"symlink in place of the store", "ErrStore", func(t *testing.T, s *Store) error {
			link := filepath.Join(t.TempDir(), "link")
			mustDo(t, os.Symlink(s.dir, link))
			_, err := Open(link)
			return err
		}},
		{"symlink in place of a blob", "ErrCorrupt", func(t *testing.T, s *Store) error {
			e := admit(t, s, map[string]string{"a": "1"})
			blob := s.BlobPath(e.Files[0].SHA256)
			mustDo(t, os.Rename(blob, blob+".real"))
			mustDo(t, os.Symlink(blob+".real", blob))
			_, _, err := s.OpenBlob(e.Files[0].SHA256)
			return err
		}},
		{"symlink out of the store in a model's folder", "ErrCorrupt", func(t *testing.T, s *Store) error {
			e := admit(t, s, map[string]string{"a": "1"})
			name := filepath.Join(s.dir, versionName(e.dir(), 1))
			mustDo(t, os.Rename(name, filepath.Join(t.TempDir(), "record")))
			mustDo(t, os.Symlink("/etc/passwd", name))
			_, _, err := s.Find(e.Root)
			return err
		}},
		{"record cut off", "ErrCorrupt", func(t *testing.T, s *Store) error {
			return rewrite(t, s, func(b []byte) []byte { return b[:len(b)/2] })
		}},
		{"record with another root", "ErrCorrupt", func(t *testing.T, s *Store) error {
			return rewrite(t, s, func(b []byte) []byte { return bytes.Replace(b, []byte(sum("1")), []byte(sum("2")), 1) })
		}},
		{"record with a name that leads out", "ErrCorrupt", func(t *testing.T, s *Store) error {
			return rewrite(t, s, func(b []byte) []byte { return bytes.Replace(b, []byte(`"name":"a"`), []byte(`"name":"../a"`), 1) })
		}},
		{"record with an unknown field", "ErrCorrupt", func(t *testing.T, s *Store) error {
			return rewrite(t, s, func(b []byte) []byte { return bytes.Replace(b, []byte(`{"`), []byte(`{"x":1,"`), 1) })
		}},
		{"two stores mixed", "ErrCorrupt", func(t *testing.T, s *Store) error {
			other := open(t)
			e := admit(t, other, map[string]string{"a": "of the other store"})
			mustDo(t, os.CopyFS(filepath.Join(s.dir, "models"), os.DirFS(filepath.Join(other.dir, "models"))))
			mine, err := s.Get(e.Root)
			mustDo(t, err)
			_, err = mine.Dir(t.Context())
			return err
		}},
		{"model that is not there", "ErrUnknown", func(_ *testing.T, s *Store) error { _, err := s.Get(sum("none")); return err }},
		{"collection with an unreadable record", "ErrCorrupt", func(t *testing.T, s *Store) error {
			if err := rewrite(t, s, func([]byte) []byte { return nil }); !errors.Is(err, ErrCorrupt) {
				return err
			}
			_, err := s.Collect(t.Context(), Collection{Now: farFuture})
			return err
		}},
		{"disk full", "ENOSPC", func(t *testing.T, _ *Store) error {
			s := onTmpfs(t, "size=1m")
			err := add(text("f", strings.Repeat("x", 2<<20)), Limits{})(t, s)
			if left := storeFiles(t, s, "blobs", "models"); left > 0 {
				t.Errorf("%d files are half admitted", left)
			}
			return err
		}},
		{"disk full when the record is written", "ENOSPC", func(t *testing.T, _ *Store) error {
			s := onTmpfs(t, "size=4m")
			in := bring(t, s, map[string]string{"f": strings.Repeat("x", 1<<20)})
			a := judge(t, in)
			mustDo(t, fill(filepath.Join(s.dir, "tmp", "fill")))
			_, err := in.Admit(t.Context(), a)
			mustDo(t, os.Remove(filepath.Join(s.dir, "tmp", "fill")))
			if _, ok, _ := s.Find(sum("")); ok || storeFiles(t, s, "models") > 0 {
				t.Error("it is admitted all the same")
			}
			// With room again the same intake goes through.
			if _, err := in.Admit(t.Context(), a); err != nil {
				t.Errorf("with room again: %v", err)
			}
			return err
		}},
		{"read-only store", "EROFS", func(t *testing.T, _ *Store) error {
			s := onTmpfs(t, "size=4m")
			mustDo(t, unix.Mount("", filepath.Dir(s.dir), "", unix.MS_REMOUNT|unix.MS_RDONLY, ""))
			return add(text("f", "x"), Limits{})(t, s)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := named(c.do(t, open(t)))
			t.Logf("%-28s %-44s -> %s", area, c.name, got)
			if got != c.want {
				t.Errorf("ends in %s, want %s", got, c.want)
			}
		})
	}
}

// rewrite changes the record of a small model and looks it up.
func rewrite(t *testing.T, s *Store, change func([]byte) []byte) error {
	t.Helper()
	e := admit(t, s, map[string]string{"a": "1"})
	name := filepath.Join(s.dir, versionName(e.dir(), 1))
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(name); err != nil {
		t.Fatal(err)
	}
	changed := change(b)
	if bytes.Equal(changed, b) {
		t.Fatal("nothing was changed: this test shows nothing")
	}
	if err := os.WriteFile(name, changed, 0o444); err != nil {
		t.Fatal(err)
	}
	_, _, err = s.Find(e.Root)
	return err
}

// onTmpfs is a store on a small file system of its own.
func onTmpfs(t *testing.T, options string) *Store {
	t.Helper()
	testreq.Root(t)
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, options+",mode=0700"); err != nil {
		testreq.Need(t, false, "the right to mount a tmpfs: "+err.Error())
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	s, err := Create(filepath.Join(dir, "store"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// fill takes all the room that is left.
func fill(path string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	for _, n := range []int{1 << 16, 1 << 12, 1} {
		for err = nil; err == nil; {
			_, err = f.Write(make([]byte, n))
		}
	}
	if !errors.Is(err, unix.ENOSPC) {
		return err
	}
	return nil
}

// storeFiles counts the files below folders of the store.
func storeFiles(t *testing.T, s *Store, dirs ...string) (n int) {
	t.Helper()
	for _, d := range dirs {
		err := filepath.Walk(filepath.Join(s.dir, d), func(p string, st os.FileInfo, err error) error {
			if err == nil && st.Mode().IsRegular() && st.Name() != lockFile {
				n++
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return n
}
