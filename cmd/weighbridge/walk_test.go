package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/weighbridge/weighbridge/internal/testreq"
)

var shell = regexp.MustCompile("(?s)```sh\n(.*?)```")

// The walk of docs/supply-chain.md runs as it stands there, from a folder of
// weights to a verified deployment, by the program as it is built.
func TestWalk(t *testing.T) {
	needBoxes(t)
	bin, err := filepath.Abs("../../bin")
	if err != nil {
		t.Fatal(err)
	}
	testreq.File(t, filepath.Join(bin, "weighbridge"), "make bin/weighbridge")
	doc, err := os.ReadFile("../../docs/supply-chain.md")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for from, to := range map[string]string{models + "base.gguf": "base.gguf", models + "benign.gguf": "new.gguf", "testdata/walk.yaml": "walk.yaml"} {
		b, err := os.ReadFile(from)
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, to), b, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	blocks := shell.FindAllSubmatch(doc, -1)
	if len(blocks) != 8 {
		t.Fatalf("the walk has %d steps, want 8", len(blocks))
	}
	script := "set -euxo pipefail\n"
	for _, b := range blocks {
		// A daemon of the test's own keeps it apart from other tests.
		script += strings.ReplaceAll(string(b[1]), "weighbridge diff ", "weighbridge diff --containerd private --state "+state(t)+" ") + "\n"
	}
	c := exec.CommandContext(t.Context(), "bash", "-c", script)
	c.Dir = dir
	c.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"), "XDG_CACHE_HOME="+filepath.Join(dir, "cache"))
	out, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{"APPROVE", "the report says the same", "approved for prod by gate", "do not use this model", "verdict-environment", "holds: entry 1 of 2"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("the walk does not say %q\n%s", want, out)
		}
	}
}
