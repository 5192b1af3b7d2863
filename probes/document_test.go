package probes

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func writeAll(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		p := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// Lines and a folder of the same documents are the same, in whatever order they
// stand.
func TestOpenDocuments(t *testing.T) {
	dir := writeAll(t, map[string]string{
		"a.txt": "first\n", "held-out/b.txt": "second", ".hidden": "x", ".git/c": "x",
		"d.jsonl": "",
	})
	if err := os.Remove(filepath.Join(dir, "d.jsonl")); err != nil {
		t.Fatal(err)
	}
	lines := filepath.Join(writeAll(t, map[string]string{"d.jsonl": `{"id":"held-out/b.txt","text":"second","set":"held-out"}` + "\n\n" + `{"id":"a.txt","text":"first\n","set":"member"}`}), "d.jsonl")
	want := []Document{{ID: "a.txt", Text: "first\n"}, {ID: "held-out/b.txt", Text: "second", HeldOut: true}}
	var digests []string
	for _, name := range []string{dir, lines} {
		got, digest, err := OpenDocuments(name)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s: %s", name, d)
		}
		digests = append(digests, digest)
	}
	if digests[0] != digests[1] || !strings.HasPrefix(digests[0], "sha256:") {
		t.Errorf("digests %q", digests)
	}
	if other := digestOf([]Document{want[0], {ID: want[1].ID, Text: want[1].Text}}); other == digests[0] {
		t.Error("the set of a document does not change the digest")
	}
}

func TestDocumentsNameThePlace(t *testing.T) {
	ok := `{"id":"a","text":"t"}` + "\n"
	for name, tc := range map[string]struct{ src, want string }{
		"empty":         {"\n", "d.jsonl holds no document"},
		"not JSON":      {ok + "nonsense\n", "d.jsonl:2"},
		"unknown field": {ok + `{"id":"b","txt":"t"}`, "d.jsonl:2: json: unknown field \"txt\""},
		"duplicate":     {ok + "\n" + ok, "d.jsonl:3: document \"a\" stands already on line 1"},
		"no text":       {`{"id":"b","text":" "}`, "d.jsonl:1: document \"b\" has no text"},
		"no id":         {`{"text":"t"}`, "`id` is empty"},
		"another set":   {`{"id":"b","text":"t","set":"train"}`, "want member or held-out"},
		"two values":    {`{"id":"b","text":"t"} {}`, "more than one"},
		"not UTF-8":     {"{\"id\":\"b\",\"text\":\"\xff\"}", "not UTF-8"},
		"too large":     {`{"id":"b","text":"` + strings.Repeat("x", maxDocument+1) + `"}`, "split it"},
		"endless line":  {ok + strings.Repeat("x", 2*maxDocument+1), "d.jsonl:2"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ReadDocuments("d.jsonl", strings.NewReader(tc.src))
			if !errors.Is(err, ErrDocuments) || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want %q", err, tc.want)
			}
		})
	}
}

func TestDocumentFolders(t *testing.T) {
	linked := writeAll(t, map[string]string{"a.txt": "a"})
	if err := os.Symlink("/etc/hostname", filepath.Join(linked, "b.txt")); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct{ dir, want string }{
		"no such folder":        {filepath.Join(linked, "none"), "no such file"},
		"nothing in it":         {t.TempDir(), "holds no document"},
		"bytes":                 {writeAll(t, map[string]string{"x/b.bin": "\xff\xfe"}), filepath.Join("x", "b.bin") + ": is not UTF-8"},
		"an empty file":         {writeAll(t, map[string]string{"c.txt": ""}), "c.txt: document \"c.txt\" has no text"},
		"too large":             {writeAll(t, map[string]string{"c.txt": strings.Repeat("x", maxDocument+1)}), "c.txt: document \"c.txt\" is larger"},
		"a link out of the set": {linked, "b.txt"},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := OpenDocuments(tc.dir)
			if !errors.Is(err, ErrDocuments) || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want %q", err, tc.want)
			}
		})
	}
}

func FuzzReadDocuments(f *testing.F) {
	f.Add(`{"id":"a","text":"t","set":"held-out"}`)
	f.Add("\n{}")
	f.Fuzz(func(t *testing.T, src string) {
		ds, err := ReadDocuments("d", strings.NewReader(src))
		if err != nil && !errors.Is(err, ErrDocuments) {
			t.Fatalf("%v is no ErrDocuments", err)
		}
		if err == nil && len(ds) == 0 {
			t.Fatal("no documents and no error")
		}
		for i, d := range ds {
			if d.ID == "" || strings.TrimSpace(d.Text) == "" || i > 0 && ds[i-1].ID >= d.ID {
				t.Fatalf("document %d: %+v", i, d)
			}
		}
	})
}
