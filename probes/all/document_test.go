package all

import (
	"bytes"
	"encoding/json"
	"go/format"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/weighbridge/weighbridge/internal/testreq"
)

var listing = regexp.MustCompile("(?s)```go file=([a-z_/.]+)\n(.*?)```")

// The probe that docs/write-a-probe.md builds compiles, and its test passes.
func TestWriteAProbe(t *testing.T) {
	tool, err := exec.LookPath("go")
	testreq.Need(t, err == nil, "the go command in the PATH, to compile the listings of docs/write-a-probe.md")
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	doc, err := os.ReadFile(filepath.Join(root, "docs/write-a-probe.md"))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	// An overlay shows the listings to the compiler as if they were in the tree.
	replace := map[string]string{}
	for i, m := range listing.FindAllSubmatch(doc, -1) {
		if tidy, err := format.Source(m[2]); err != nil || !bytes.Equal(tidy, m[2]) {
			t.Errorf("listing %s is not formatted by gofmt (%v)", m[1], err)
		}
		file := filepath.Join(dir, string(rune('a'+i))+".go")
		if err := os.WriteFile(file, m[2], 0o600); err != nil {
			t.Fatal(err)
		}
		replace[filepath.Join(root, string(m[1]))] = file
	}
	if len(replace) != 2 {
		t.Fatalf("%d listings, want a probe and its test", len(replace))
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(file, overlay, 0o600); err != nil {
		t.Fatal(err)
	}
	// The folder is in the overlay only, so the test is built here and run there.
	program := filepath.Join(dir, "brevity.test")
	for _, cmd := range []*exec.Cmd{
		exec.CommandContext(t.Context(), tool, "test", "-c", "-vet=off", "-overlay", file, "-o", program, "./probes/brevity"),
		exec.CommandContext(t.Context(), program),
	} {
		cmd.Dir = root
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", cmd.Args, err, out)
		}
	}
}
