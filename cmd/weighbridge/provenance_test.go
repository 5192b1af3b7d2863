package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weighbridge/weighbridge/record"
)

// lay copies models into folders of a new working directory.
func lay(t *testing.T, files map[string]string) {
	t.Helper()
	dir := t.TempDir()
	for to, from := range files {
		src, err := os.ReadFile(models + from)
		if err != nil {
			t.Fatal(err)
		}
		to = filepath.Join(dir, to)
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to, src, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "recipe.json"), []byte(`{"type":"Q8_0"}`), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir)
}

// TestProvenanceExample runs the example of docs/provenance.md and compares
// every line of it.
func TestProvenanceExample(t *testing.T) {
	src, err := os.ReadFile("../../docs/provenance.md")
	if err != nil {
		t.Fatal(err)
	}
	_, example, ok := strings.Cut(string(src), "`TestProvenanceExample`")
	_, example, ok2 := strings.Cut(example, "```\n")
	example, _, ok3 := strings.Cut(example, "```")
	if !ok || !ok2 || !ok3 {
		t.Fatal("docs/provenance.md has no example")
	}
	lay(t, map[string]string{"base/model.gguf": "base.gguf", "q8/model.gguf": "base-q8_0.gguf"})
	var got strings.Builder
	for line := range strings.Lines(example) {
		cmd, ok := strings.CutPrefix(line, "$ weighbridge ")
		if !ok {
			continue
		}
		got.WriteString(line)
		r := weighbridge(t, strings.Fields(cmd)...)
		if r.code != 0 {
			t.Fatalf("%s: exit code %d: %s", line, r.code, r.stderr)
		}
		got.WriteString(r.stdout)
	}
	if d := cmp.Diff(example, got.String()); d != "" {
		t.Error(d)
	}
}

func TestProvenanceExitCodes(t *testing.T) {
	lay(t, map[string]string{"base/model.gguf": "base.gguf", "other/model.gguf": "benign.gguf", "q8/model.gguf": "base-q8_0.gguf"})
	code := "--code=https://git.example.org/q@" + strings.Repeat("1", 40)
	for _, c := range []struct {
		args string
		code int
		want string // in stdout or stderr
	}{
		{"provenance show q8", 2, "no such file"},
		{"provenance check q8", 2, "no such file"},
		{"provenance add q8 --parameter a=b", 2, "provenance init"},
		{"provenance init q8 --builder https://ci.example.org", 2, "build-type"},
		{"provenance init q8 --build-type baking --builder https://ci.example.org", 2, "there is no build type"},
		{"provenance init nowhere --build-type quantisation --builder https://ci.example.org", 2, "no such file"},
		{"provenance init q8 --build-type quantisation --builder https://ci.example.org --recipe recipe.json", 0, "base-model, code"},
		{"provenance init q8 --build-type quantisation --builder https://ci.example.org", 2, "--force"},
		{"provenance check q8", 3, "link-missing"},
		{"provenance add q8 --image python:3", 2, "names no digest"},
		{"provenance add q8 --base-model base --lock recipe.json " + code, 0, "added environment recipe.json"},
		{"provenance show q8", 0, "└─ code"},
		{"provenance check q8", 0, "complete"},
		{"provenance check q8 --at base=other", 1, "link-mismatch"},
		{"provenance check q8 --at base=base/../../../nowhere", 2, "no such file"},
		{"provenance check q8 --at vase=base", 2, "no dependency is called"},
		{"provenance check q8 --rebuild", 2, "go together"},
		{"provenance check q8 --rebuild --baseline other", 3, "not the base model that the document names"},
		{"provenance check q8 --rebuild --baseline base", 0, "the same bits"},
	} {
		r := weighbridge(t, strings.Fields(c.args)...)
		if r.code != c.code || !strings.Contains(r.stdout+r.stderr, c.want) {
			t.Errorf("%s: exit code %d, want %d with %q: %s%s", c.args, r.code, c.code, c.want, r.stdout, r.stderr)
		}
	}

	// One bit of the weights: another model than the document's, and not the
	// recipe's outcome.
	src, err := os.ReadFile("q8/model.gguf")
	if err != nil {
		t.Fatal(err)
	}
	src[len(src)-1000] ^= 4
	if err := os.WriteFile("q8/model.gguf", src, 0o644); err != nil {
		t.Fatal(err)
	}
	r := weighbridge(t, "provenance", "check", "q8", "--rebuild", "--baseline", "base", "--json")
	var out struct {
		Evidence []record.Evidence
		Lineage  []record.Link
	}
	if err := json.Unmarshal([]byte(r.stdout), &out); err != nil {
		t.Fatalf("%v: %s", err, r.stdout)
	}
	if r.code != 1 || len(out.Evidence) != 2 || out.Evidence[0].Problems[0].Rule != "subject-mismatch" ||
		out.Evidence[1].State != record.Bad || out.Evidence[1].Problems[0].Rule != "rebuild-differs" || len(out.Lineage) == 0 {
		t.Errorf("exit code %d: %s", r.code, r.stdout)
	}
}
