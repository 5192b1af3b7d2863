package intake

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/weighbridge/weighbridge/supply/store"
)

func contains(s, part string) bool { return strings.Contains(s, part) }

func TestNegativeMatrix(t *testing.T) {
	const area = "intake"
	folder := func(files map[string]string, change func(t *testing.T, dir string)) func(*testing.T) Source {
		return func(t *testing.T) Source {
			dir := write(t, t.TempDir(), files)
			if change != nil {
				change(t, dir)
			}
			return Folder{dir}
		}
	}
	ollama := func(name string, layers ...layer) func(*testing.T) Source {
		return func(t *testing.T) Source {
			return Ollama{Dir: ollamaStore(t, "registry.ollama.ai/library/m/latest", layers...), Name: name}
		}
	}
	cache := func(rev string, change func(t *testing.T, dir string)) func(*testing.T) Source {
		return func(t *testing.T) Source {
			dir := hub(t)
			change(t, dir)
			return HuggingFace{Dir: dir, Revision: rev}
		}
	}
	must := func(t *testing.T, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	one := map[string]string{"a": "1"}
	for _, c := range []struct {
		name, want string
		source     func(*testing.T) Source
	}{
		{"empty folder", RuleEmpty, folder(nil, nil)},
		{"folder with evidence only", RuleEmpty, folder(map[string]string{"model.sig": "s"}, nil)},
		{"folder that is missing", "ErrNotExist", func(t *testing.T) Source { return Folder{filepath.Join(t.TempDir(), "none")} }},
		{"symlink in a folder", store.RuleLink, folder(one, func(t *testing.T, dir string) { must(t, os.Symlink("/etc/passwd", filepath.Join(dir, "b"))) })},
		{"symlink cycle in a folder", store.RuleLink, folder(one, func(t *testing.T, dir string) { must(t, os.Symlink(".", filepath.Join(dir, "loop"))) })},
		{"pipe in a folder", store.RuleSpecial, folder(one, func(t *testing.T, dir string) { must(t, unix.Mkfifo(filepath.Join(dir, "p"), 0o600)) })},
		{"socket in a folder", store.RuleSpecial, folder(one, func(t *testing.T, dir string) {
			l, err := net.Listen("unix", filepath.Join(dir, "s"))
			must(t, err)
			t.Cleanup(func() { l.Close() })
		})},
		{"name that is not UTF-8", store.RuleName, folder(map[string]string{"a\xff": "1"}, nil)},
		{"name with a line feed", store.RuleName, folder(map[string]string{"a\nb": "1"}, nil)},
		{"folders 4,096 deep", store.RuleName, folder(one, deep)},
		{"file that shrinks while it is copied", "ErrChanged", func(t *testing.T) Source {
			dir := write(t, t.TempDir(), one)
			return changing{Folder{dir}, func() { must(t, os.Truncate(filepath.Join(dir, "a"), 0)) }}
		}},
		{"file that changes after it was copied", "ErrChanged", func(t *testing.T) Source {
			dir := write(t, t.TempDir(), map[string]string{"a": "1", "b": "2"})
			return after{Folder{dir}, func() { must(t, os.WriteFile(filepath.Join(dir, "a"), []byte("9"), 0o644)) }}
		}},
		{"file that appears while others are copied", "ErrChanged", func(t *testing.T) Source {
			dir := write(t, t.TempDir(), map[string]string{"a": "1", "b": "2"})
			return after{Folder{dir}, func() { must(t, os.WriteFile(filepath.Join(dir, "c"), []byte("9"), 0o644)) }}
		}},
		{"Ollama: blob that is not its digest", store.RuleDigest, ollama("m", layer{kind: "model", content: "GGUF", digest: sha("other")})},
		{"Ollama: digest that leads out", store.RuleDigest, ollama("m", layer{kind: "model", content: "GGUF", digest: "../../../etc/passwd", missing: true})},
		{"Ollama: blob shorter than named", store.RuleSize, ollama("m", layer{kind: "model", content: "GGUF", size: 5})},
		{"Ollama: blob longer than named", store.RuleSize, ollama("m", layer{kind: "model", content: "GGUF", size: 3})},
		{"Ollama: blob is missing", "ErrSource", ollama("m", layer{kind: "model", content: "GGUF", missing: true})},
		{"Ollama: two models in one", store.RuleDuplicate, ollama("m", layer{kind: "model", content: "A"}, layer{kind: "model", content: "B"})},
		{"Ollama: unknown layer", "ErrSource", ollama("m", layer{kind: "rootkit", content: "A"})},
		{"Ollama: no layers", "ErrSource", ollama("m")},
		{"Ollama: unknown model", "ErrSource", ollama("n", layer{kind: "model", content: "A"})},
		{"Ollama: name that leads out", "ErrSource", ollama("../../m", layer{kind: "model", content: "A"})},
		{"Ollama: manifest is a symlink out", "escapes", func(t *testing.T) Source {
			dir := ollamaStore(t, "registry.ollama.ai/library/m/latest", layer{kind: "model", content: "A"})
			p := filepath.Join(dir, "manifests/registry.ollama.ai/library/m/latest")
			out := filepath.Join(t.TempDir(), "manifest")
			must(t, os.Rename(p, out))
			must(t, os.Symlink(out, p))
			return Ollama{Dir: dir, Name: "m"}
		}},
		{"cache: link out of the repository", store.RuleLink, cache("", func(t *testing.T, dir string) { link(t, dir, "config.json", "../../../../../../etc/passwd") })},
		{"cache: absolute link", store.RuleLink, cache("", func(t *testing.T, dir string) { link(t, dir, "config.json", "/etc/passwd") })},
		{"cache: link into another snapshot", store.RuleLink, cache("", func(t *testing.T, dir string) { link(t, dir, "config.json", "model.safetensors") })},
		{"cache: link to another repository's blob", store.RuleLink, cache("", func(t *testing.T, dir string) {
			link(t, dir, "config.json", "../../../models--org--other/blobs/"+sha("x"))
		})},
		{"cache: blob that is a symlink", store.RuleLink, cache("", func(t *testing.T, dir string) {
			p := filepath.Join(dir, "blobs", sha("tensors"))
			must(t, os.Remove(p))
			must(t, os.Symlink("/etc/passwd", p))
		})},
		{"cache: blob that is not its SHA-256", store.RuleDigest, cache("", func(t *testing.T, dir string) { write(t, dir, map[string]string{"blobs/" + sha("tensors"): "tensorz"}) })},
		{"cache: blob that is not its git hash", store.RuleDigest, cache("", func(t *testing.T, dir string) { write(t, dir, map[string]string{"blobs/" + gitSHA("{}"): "[]"}) })},
		{"cache: blob under no digest", store.RuleDigest, cache("", func(t *testing.T, dir string) {
			write(t, dir, map[string]string{"blobs/etag": "{}"})
			link(t, dir, "config.json", "../../blobs/etag")
		})},
		{"cache: blob is missing", "ErrSource", cache("", func(t *testing.T, dir string) { must(t, os.Remove(filepath.Join(dir, "blobs", sha("tensors")))) })},
		{"cache: revision that is not there", "ErrSource", cache("v2", func(*testing.T, string) {})},
		{"cache: revision that leads out", "ErrSource", cache("../../x", func(*testing.T, string) {})},
		{"cache: ref to a snapshot that is not there", "ErrSource", cache("", func(t *testing.T, dir string) {
			write(t, dir, map[string]string{"refs/main": strings.Repeat("f", 40)})
		})},
		{"cache: ref that is no commit", "ErrSource", cache("", func(t *testing.T, dir string) {
			write(t, dir, map[string]string{"refs/main": "../../../etc"})
		})},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newStore(t)
			out, err := Ingest(t.Context(), Config{Store: s, Source: c.source(t), Check: finds()})
			got := outcome(out, err)
			t.Logf("%-28s %-44s -> %s", area, c.name, got)
			if !contains(got, c.want) {
				t.Errorf("ends in %s, want %s", got, c.want)
			}
			for e := range s.Entries() {
				t.Errorf("%v is admitted", e)
			}
			if blobs, _ := filepath.Glob(filepath.Join(s.Dir(), "blobs/sha256/*/*")); len(blobs) > 0 {
				t.Errorf("half admitted: %v", blobs)
			}
		})
	}
}

func outcome(out *Outcome, err error) string {
	switch {
	case errors.Is(err, ErrChanged):
		return "ErrChanged"
	case errors.Is(err, ErrSource):
		return "ErrSource"
	case errors.Is(err, fs.ErrNotExist):
		return "ErrNotExist"
	case err != nil:
		return err.Error()
	case out.Admitted:
		return "admitted"
	}
	return "refused: " + out.Problems[0].Rule
}

// deep makes 4,096 folders in each other. One path of that length is beyond
// what the kernel takes, so it goes down step by step.
func deep(t *testing.T, dir string) {
	top, err := unix.Open(dir, unix.O_DIRECTORY|unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	for range 4096 {
		if err := unix.Mkdirat(top, "d", 0o755); err != nil {
			t.Fatal(err)
		}
		next, err := unix.Openat(top, "d", unix.O_DIRECTORY|unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		unix.Close(top)
		top = next
	}
	unix.Close(top)
}

// changing is a folder whose file changes between being opened and being read.
type changing struct {
	Folder
	change func()
}

func (c changing) Fetch(ctx context.Context, in *store.Intake) error {
	root, err := os.OpenRoot(c.Path)
	if err != nil {
		return err
	}
	defer root.Close()
	r, err := openSteady(root, "a")
	if err != nil {
		return err
	}
	defer r.close()
	c.change()
	return r.add(ctx, in, "a")
}

// after is a folder that changes when everything in it has been read once. The
// intake's own context tells the moment: it is asked before each file.
type after struct {
	Folder
	change func()
}

func (a after) Fetch(ctx context.Context, in *store.Intake) error {
	return a.Folder.Fetch(&counting{Context: ctx, in: in, change: a.change}, in)
}

type counting struct {
	context.Context
	in     *store.Intake
	change func()
	done   bool
}

func (c *counting) Err() error {
	if !c.done && len(c.in.Files()) == 1 {
		c.done = true
		c.change()
	}
	return c.Context.Err()
}
