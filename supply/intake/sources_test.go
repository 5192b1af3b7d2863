package intake

import (
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func sha(s string) string {
	h := sha256.Sum256([]byte(s))
	return hex.EncodeToString(h[:])
}

func gitSHA(s string) string {
	h := sha1.Sum([]byte(fmt.Sprintf("blob %d\x00%s", len(s), s)))
	return hex.EncodeToString(h[:])
}

// layer is a layer of a made Ollama store. kind is the last part of the media
// type; lies change what the manifest says.
type layer struct {
	kind, content string
	digest        string // instead of the true one
	size          int64  // likewise
	missing       bool
}

func ollamaStore(t testing.TB, at string, layers ...layer) string {
	t.Helper()
	dir := t.TempDir()
	m := ollamaManifest{SchemaVersion: 2, Config: ollamaLayer{MediaType: "application/vnd.docker.container.image.v1+json", Digest: "sha256:" + sha("{}"), Size: 2}}
	files := map[string]string{"blobs/sha256-" + sha("{}"): "{}"}
	for _, l := range layers {
		d := sha(l.content)
		if l.digest != "" {
			d = l.digest
		}
		size := int64(len(l.content))
		if l.size != 0 {
			size = l.size
		}
		if !l.missing {
			files["blobs/sha256-"+d] = l.content
		}
		m.Layers = append(m.Layers, ollamaLayer{MediaType: ollamaPrefix + l.kind, Digest: "sha256:" + d, Size: size})
	}
	b, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	files["manifests/"+at] = string(b)
	return write(t, dir, files)
}

func TestOllama(t *testing.T) {
	dir := ollamaStore(t, "registry.ollama.ai/library/tiny/latest",
		layer{kind: "model", content: "GGUF weights"}, layer{kind: "template", content: "{{ .Prompt }}"},
		layer{kind: "params", content: "{}"}, layer{kind: "license", content: "MIT"}, layer{kind: "license", content: "more"}, layer{kind: "system", content: "be kind"})
	want := map[string]int64{"model.gguf": 12, "template": 13, "params.json": 2, "LICENSE": 3, "LICENSE-2": 4, "system": 7}
	for _, name := range []string{"tiny", "tiny:latest", "library/tiny", "registry.ollama.ai/library/tiny:latest"} {
		src, err := Detect("ollama:"+name, dir)
		if err != nil {
			t.Fatal(err)
		}
		out, err := Ingest(t.Context(), Config{Store: newStore(t), Source: src, Check: finds()})
		if err != nil || !out.Admitted {
			t.Fatalf("%s: %+v, %v", name, out, err)
		}
		if d := cmp.Diff(want, names(out.Entry)); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
	}
}

const commit = "0123456789abcdef0123456789abcdef01234567"

// hub makes a repository of a Hugging Face cache: small files under git hashes,
// weights under SHA-256, as huggingface_hub lays them out.
func hub(t testing.TB) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "models--org--tiny")
	write(t, dir, map[string]string{
		"refs/main":             commit,
		"blobs/" + gitSHA("{}"): "{}", "blobs/" + sha("tensors"): "tensors", "blobs/" + gitSHA("deep"): "deep",
		".no_exist/" + commit + "/adapter_config.json": "",
	})
	link(t, dir, "config.json", "../../blobs/"+gitSHA("{}"))
	link(t, dir, "model.safetensors", "../../blobs/"+sha("tensors"))
	link(t, dir, "sub/deep.json", "../../../blobs/"+gitSHA("deep"))
	link(t, dir, ".gitattributes", "../../blobs/"+gitSHA("{}"))
	return dir
}

func link(t testing.TB, dir, name, target string) {
	t.Helper()
	p := filepath.Join(dir, "snapshots", commit, name)
	if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
		t.Fatal(err)
	}
	os.Remove(p)
	if err := os.Symlink(target, p); err != nil {
		t.Fatal(err)
	}
}

func TestHuggingFace(t *testing.T) {
	dir := hub(t)
	want := map[string]int64{"config.json": 2, "model.safetensors": 7, "sub/deep.json": 4}
	for _, arg := range []string{dir, "hf:" + dir, "hf:" + dir + "@main", "hf:" + dir + "@" + commit, filepath.Join(dir, "snapshots", commit)} {
		src, err := Detect(arg, "")
		if err != nil {
			t.Fatal(err)
		}
		out, err := Ingest(t.Context(), Config{Store: newStore(t), Source: src, Check: finds()})
		if err != nil || !out.Admitted {
			t.Fatalf("%s: %+v, %v", arg, out, err)
		}
		if d := cmp.Diff(want, names(out.Entry)); d != "" {
			t.Errorf("%s (-want +got):\n%s", arg, d)
		}
	}
}

func TestDetect(t *testing.T) {
	ollama := ollamaStore(t, "h/n/m/t", layer{kind: "model", content: "GGUF"})
	plain := write(t, t.TempDir(), map[string]string{"model.gguf": "GGUF", "m.tar.gz": "\x1f\x8b rest"})
	for _, c := range []struct {
		src  string
		want string // kind, or a part of the error
	}{
		{plain, KindFolder},
		{filepath.Join(plain, "model.gguf"), KindFile},
		{filepath.Join(plain, "m.tar.gz"), "is an archive"},
		{ollama, "name a model in it"},
		{"ollama:h/n/m:t@" + ollama, KindOllama},
		{"ollama:m", "write ollama:NAME@DIR"},
		{"ollama:../../x@" + ollama, "no name of an Ollama model"},
		{hub(t), KindHuggingFace},
		{"hf:" + plain, "has no snapshots"},
		{"s3://bucket/model", "no known scheme"},
		{filepath.Join(plain, "none"), "no such file"},
	} {
		src, err := Detect(c.src, "")
		got := fmt.Sprint(err)
		if err == nil {
			if src.Origin().Kind != c.want {
				t.Errorf("%s is a %s, want %s", c.src, src.Origin().Kind, c.want)
			}
			continue
		}
		if !contains(got, c.want) {
			t.Errorf("%s: %s, want %q", c.src, got, c.want)
		}
	}
}

func FuzzOllamaPath(f *testing.F) {
	for _, s := range []string{"a", "a:b", "h/n/m:t", "localhost:5000/n/m", "..", "a/../b", "a:../b", ":", "a/", "h:1/n/m"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		p, err := ollamaPath(name)
		if err != nil {
			return
		}
		if rel, err := filepath.Rel("manifests", p); err != nil || !filepath.IsLocal(rel) || strings.Count(p, "/") != 4 {
			t.Errorf("%q becomes %q", name, p)
		}
	})
}
