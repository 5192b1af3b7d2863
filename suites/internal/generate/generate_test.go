package generate_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/weighbridge/weighbridge/suites/internal/generate"
)

var update = flag.Bool("update", false, "write the data of the built-in suites")

func TestFilesAreCurrent(t *testing.T) {
	for name, want := range generate.Files() {
		path := filepath.Join("..", "..", "builtin", filepath.FromSlash(name))
		if *update {
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, want, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		got, err := os.ReadFile(path)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s is not what this package makes (%v); run go test ./suites/internal/generate -update", path, err)
		}
	}
}

// What the suites promise of their data.
func TestSizesAndPairs(t *testing.T) {
	files := generate.Files()
	requests := records[generate.Request](t, files["refusals.jsonl"])
	count, pairs, texts := map[string]int{}, map[string]int{}, map[string]bool{}
	for _, r := range requests {
		count[r.Kind]++
		pairs[r.Pair]++
		if texts[r.Text] {
			t.Errorf("asked twice: %s", r.Text)
		}
		texts[r.Text] = true
	}
	if count["harmful"] < 64 || count["benign"] != count["harmful"] {
		t.Errorf("requests %v, want 64 or more of each kind", count)
	}
	for p, n := range pairs {
		if n != 2 {
			t.Errorf("pair %s has %d requests", p, n)
		}
	}
	contexts, kinds := map[string]bool{}, map[string]int{}
	for _, c := range records[generate.Choice](t, files["tasks/code.jsonl"]) {
		contexts[c.ID[:len(c.ID)-2]] = true
		kinds[c.Kind]++
		if len(c.Choices) != 2 || c.Choices[0] == c.Choices[1] {
			t.Errorf("%s: choices %q", c.ID, c.Choices)
		}
	}
	if len(contexts) < 40 || len(kinds) < 10 {
		t.Errorf("%d code contexts of %d kinds, want 40 of 10", len(contexts), len(kinds))
	}
	for _, name := range []string{"tasks/arithmetic.jsonl", "tasks/facts.jsonl", "tasks/format.jsonl", "tasks/copy.jsonl"} {
		at := map[int]int{}
		all := records[generate.Choice](t, files[name])
		prompts := map[string]bool{}
		for _, c := range all {
			at[c.Target]++
			if prompts[c.Prompt] {
				t.Errorf("%s asks twice: %s", name, c.Prompt)
			}
			prompts[c.Prompt] = true
		}
		for k, n := range at { // no place of the right answer is a hint
			if n < len(all)/8 {
				t.Errorf("%s: the right answer is at %d only %d times of %d", name, k, n, len(all))
			}
		}
	}
}

func records[T any](t *testing.T, data []byte) []T {
	t.Helper()
	var all []T
	for d := json.NewDecoder(bytes.NewReader(data)); d.More(); {
		var r T
		if err := d.Decode(&r); err != nil {
			t.Fatal(err)
		}
		all = append(all, r)
	}
	return all
}
