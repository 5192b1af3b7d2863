package oci

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/weighbridge/weighbridge/supply/bundle"
	"github.com/weighbridge/weighbridge/supply/manifest"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// A layout or archive gives back what was put into it, and its bytes depend on
// the folder's content alone.
func TestLayoutRoundTrip(t *testing.T) {
	signer, _, _ := key(t)
	dir := signedModel(t, signer)
	work := t.TempDir()
	for _, transport := range []Transport{Layout, Archive} {
		t.Run(string(transport), func(t *testing.T) {
			var before map[string]string
			for i, from := range []string{dir, dir, renamed(t, dir)} {
				ref := Reference{Transport: transport, Path: filepath.Join(work, string(transport)), Tag: "v1"}
				pushed, err := Push(t.Context(), from, ref, PushOptions{})
				if err != nil {
					t.Fatal(err)
				}
				after := contentOf(t, work)
				if i > 0 && !cmp.Equal(before, after) {
					t.Errorf("push number %d changed the layout", i+1)
				}
				if i > 0 && transport == Layout && pushed.Written != 0 {
					t.Errorf("push number %d wrote %d documents", i+1, pushed.Written)
				}
				before = after
				back := filepath.Join(t.TempDir(), "back")
				ref.Tag = ""
				got, err := Pull(t.Context(), ref, back, Client{})
				if err != nil {
					t.Fatal(err)
				}
				if got.Digest != pushed.Digest {
					t.Errorf("pulled %s, pushed %s", got.Digest, pushed.Digest)
				}
				if diff := cmp.Diff(contentOf(t, dir), contentOf(t, back)); diff != "" {
					t.Errorf("files (-want +got):\n%s", diff)
				}
			}
		})
	}
}

func renamed(t *testing.T, dir string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "another-name")
	if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return to
}

// The manifest is what the specifications say, byte for byte.
func TestManifestGolden(t *testing.T) {
	dir := folderOf(t, map[string]string{"model.gguf": "weights", "config.json": "{}", "README.md": "#", "LICENSE.txt": "l", "run.py": "p", "sub/vocab.txt": "v"})
	for name, epoch := range map[string]string{"manifest.json": "", "manifest-dated.json": "1700000000"} {
		created, err := Created(epoch)
		if err != nil {
			t.Fatal(err)
		}
		root, err := os.OpenRoot(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer root.Close()
		e, err := prepare(t.Context(), root, dir, created)
		if err != nil {
			t.Fatal(err)
		}
		var got bytes.Buffer
		for _, it := range []item{e.manifest, e.blobs[len(e.blobs)-1]} {
			var src bytes.Buffer
			if err := copyItem(t.Context(), &src, it); err != nil {
				t.Fatal(err)
			}
			if err := json.Indent(&got, src.Bytes(), "", "  "); err != nil {
				t.Fatal(err)
			}
			got.WriteByte('\n')
		}
		golden := filepath.Join("testdata", name)
		if *update {
			if err := os.WriteFile(golden, got.Bytes(), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), got.String()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	for _, bad := range []string{"yesterday", "-1", "1 2", "99999999999999999999"} {
		if _, err := Created(bad); !errors.Is(err, ErrTarget) {
			t.Errorf("SOURCE_DATE_EPOCH=%q: %v", bad, err)
		}
	}
}

// The layer of a file has the digest that its signature names.
func TestLayerDigestIsResourceDigest(t *testing.T) {
	signer, _, _ := key(t)
	dir := signedModel(t, signer)
	layout := filepath.Join(t.TempDir(), "l")
	if _, err := Push(t.Context(), dir, Reference{Transport: Layout, Path: layout}, PushOptions{}); err != nil {
		t.Fatal(err)
	}
	s, err := Open(t.Context(), Reference{Transport: Layout, Path: layout}, Client{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	layers := map[string]string{}
	for _, l := range s.chosen.layers {
		layers[l.Path] = l.Digest.Encoded()
	}
	src, err := os.ReadFile(filepath.Join(dir, manifest.SignatureFile))
	if err != nil {
		t.Fatal(err)
	}
	b, err := bundle.Parse(src)
	if err != nil {
		t.Fatal(err)
	}
	var predicate struct {
		Resources []struct{ Name, Digest string }
	}
	if err := json.Unmarshal(b.Statement.Predicate, &predicate); err != nil {
		t.Fatal(err)
	}
	signed := map[string]string{}
	for _, r := range predicate.Resources {
		signed[r.Name] = r.Digest
	}
	if diff := cmp.Diff(signed, layers); diff != "" {
		t.Errorf("(-signed +layers):\n%s", diff)
	}
}

// badLayouts is part of TestNegativeMatrix.
func badLayouts(t *testing.T) {
	cases := map[string]struct {
		files map[string]string
		want  error
	}{
		"no layout":         {map[string]string{"x": ""}, ErrLayout},
		"other version":     {map[string]string{"oci-layout": `{"imageLayoutVersion":"9"}`}, ErrLayout},
		"no index":          {map[string]string{"oci-layout": `{"imageLayoutVersion":"1.0.0"}`}, ErrLayout},
		"index is no JSON":  {map[string]string{"oci-layout": `{"imageLayoutVersion":"1.0.0"}`, "index.json": "{"}, ErrManifest},
		"digest is a path":  {map[string]string{"oci-layout": `{"imageLayoutVersion":"1.0.0"}`, "index.json": `{"schemaVersion":2,"manifests":[{"digest":"sha256:../../x"}]}`}, ErrManifest},
		"blob is not there": {map[string]string{"oci-layout": `{"imageLayoutVersion":"1.0.0"}`, "index.json": `{"schemaVersion":2,"manifests":[{"mediaType":"` + ocispec.MediaTypeImageManifest + `","size":1,"digest":"` + digest.FromString("x").String() + `"}]}`}, ErrNotFound},
		"index too large":   {map[string]string{"oci-layout": `{"imageLayoutVersion":"1.0.0"}`, "index.json": strings.Repeat(" ", 5<<20)}, ErrLimit},
	}
	for _, name := range slices.Sorted(maps.Keys(cases)) {
		tc := cases[name]
		_, err := Pull(t.Context(), Reference{Transport: Layout, Path: folderOf(t, tc.files)}, filepath.Join(t.TempDir(), "x"), Client{})
		if !errors.Is(err, tc.want) {
			t.Errorf("%s: %v, want %v", name, err, tc.want)
		}
		outcome(t, "layout", name, tc.want)
	}
	archives := map[string][]byte{
		"tar is none":        bytes.Repeat([]byte("x"), 2048),
		"tar with a link":    archive(t, tarred, entryOf{Header: link2("oci-layout", "/etc/passwd")}),
		"tar with two of it": archive(t, tarred, file("index.json", "{}"), file("./index.json", "{}")),
	}
	for _, name := range slices.Sorted(maps.Keys(archives)) {
		path := filepath.Join(t.TempDir(), "a.tar")
		if err := os.WriteFile(path, archives[name], 0o600); err != nil {
			t.Fatal(err)
		}
		want := ErrArchive
		if name == "tar is none" {
			want = ErrLayout
		}
		if _, err := Open(t.Context(), Reference{Transport: Archive, Path: path}, Client{}); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", name, err, want)
		}
		outcome(t, "layout", name, want)
	}
}

// Targets that cannot be used say why.
func TestBadTargets(t *testing.T) {
	full := folderOf(t, model)
	layout := Reference{Transport: Layout, Path: layoutOf(t, oneFile())}
	if _, err := Pull(t.Context(), layout, full, Client{}); !errors.Is(err, ErrTarget) {
		t.Errorf("pull into a full folder: %v", err)
	}
	if _, err := Push(t.Context(), full, Reference{Transport: Layout, Path: full}, PushOptions{}); !errors.Is(err, ErrTarget) {
		t.Errorf("push into a full folder: %v", err)
	}
	if _, err := Push(t.Context(), full, reference(t, "h/a@"+digest.FromString("x").String()), PushOptions{}); !errors.Is(err, ErrReference) {
		t.Errorf("push to a digest: %v", err)
	}
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.Mkdir(empty, 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := Pull(t.Context(), layout, empty, Client{}); err != nil {
		t.Errorf("pull into an empty folder: %v", err)
	}
	layout.Tag = "t9"
	if _, err := Pull(t.Context(), layout, filepath.Join(t.TempDir(), "x"), Client{}); !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), "t0") {
		t.Errorf("unknown tag: %v", err)
	}
}

// A file that changes between hashing and pushing is refused.
func TestPushOfChangingFile(t *testing.T) {
	dir := folderOf(t, model)
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	e, err := prepare(t.Context(), root, dir, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte(`{"model_type":"LLAMA"}`), 0o644); err != nil {
		t.Fatal(err)
	}
	w, err := newLayoutWriter(Reference{Transport: Layout, Path: filepath.Join(t.TempDir(), "l")}, DefaultLimits)
	if err != nil {
		t.Fatal(err)
	}
	p := push{target: w, limits: DefaultLimits}
	if err := p.all(t.Context(), e, nil); !errors.Is(err, ErrDigest) {
		t.Errorf("ended with %v", err)
	}
}
