package oci

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
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

func TestParseReference(t *testing.T) {
	d := digest.FromString("x")
	for in, want := range map[string]Reference{
		"ghcr.io/a/b:v1":                  {Transport: Registry, Host: "ghcr.io", Repository: "a/b", Tag: "v1"},
		"oci://ghcr.io/a/b":               {Transport: Registry, Host: "ghcr.io", Repository: "a/b"},
		"127.0.0.1:5000/a":                {Transport: Registry, Host: "127.0.0.1:5000", Repository: "a"},
		"[::1]:5000/a:v":                  {Transport: Registry, Host: "[::1]:5000", Repository: "a", Tag: "v"},
		"h/a@" + d.String():               {Transport: Registry, Host: "h", Repository: "a", Digest: d},
		"h/a:v1@" + d.String():            {Transport: Registry, Host: "h", Repository: "a", Tag: "v1", Digest: d},
		"oci:some/dir":                    {Transport: Layout, Path: "some/dir"},
		"oci:some/dir:v1":                 {Transport: Layout, Path: "some/dir", Tag: "v1"},
		"oci:/a@b":                        {Transport: Layout, Path: "/a@b"},
		"oci-archive:/a/x.tar":            {Transport: Archive, Path: "/a/x.tar"},
		"oci-archive:x.tar@" + d.String(): {Transport: Archive, Path: "x.tar", Digest: d},
	} {
		got, err := ParseReference(in)
		if err != nil {
			t.Errorf("%s: %v", in, err)
			continue
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", in, diff)
		}
		if again, err := ParseReference(got.String()); err != nil || again != got {
			t.Errorf("%s: written as %s, which reads as %+v, %v", in, got, again, err)
		}
	}
	for _, in := range []string{
		"", "noslash", "h/", "h/UPPER", "h/a:-x", "h/a@sha256:12", "h/a@" + digest.SHA512.FromString("x").String(),
		"oci:", "oci-archive:", "oci:/a:b c", "h/a\nb", "a b/c", "h/../b", strings.Repeat("x", 5000),
	} {
		if r, err := ParseReference(in); !errors.Is(err, ErrReference) {
			t.Errorf("%.50q reads as %+v, %v", in, r, err)
		}
	}
}

// TestImport pulls one artifact of each kind from a layout.
func TestImport(t *testing.T) {
	mp := func(s string) string { return modelPackPrefix + s }
	kit := func(s string) string { return "application/vnd.kitops.modelkit." + s }
	docker := func(s string) string { return "application/vnd.docker.ai." + s }
	ollama := func(s string) string { return "application/vnd.ollama.image." + s }
	text := func(s string) []byte { return []byte(s) }
	tarOf := func(how packing, entries ...entryOf) []byte { return archive(t, how, entries...) }
	folder := entryOf{tar.Header{Name: "./d/", Typeflag: tar.TypeDir, Mode: 0o700}, ""}

	for name, tc := range map[string]struct {
		artifact *artifact
		kind     Kind
		want     map[string]string
	}{
		"ModelPack, every packing": {
			newArtifact(modelPackArtifact, modelPackConfig).
				layer(mp("weight.v1.raw"), "w.gguf", text("w")).
				layer(mp("doc.v1.tar"), "docs", tarOf(tarred, file("README.md", "r"))).
				layer(mp("weight.config.v1.tar+gzip"), "", tarOf(gzipped, folder, file("./d/config.json", "c"))).
				layer(mp("dataset.v1.tar+zstd"), "", tarOf(zstandard, file("d/train.jsonl", "t"))).
				layer(mp("code.v1.raw"), "code/run.py", text("p")),
			ModelPack, map[string]string{"w.gguf": "w", "README.md": "r", "d/config.json": "c", "d/train.jsonl": "t", "code/run.py": "p"},
		},
		"ModelPack by Docker": {
			newArtifact("", modelPackConfig).layer(mp("weight.v1.gguf"), "", text("w")), ModelPack, map[string]string{"model.gguf": "w"},
		},
		"KitOps ModelKit": {
			newArtifact("", kit("config.v1+json")).
				layer(kit("model.v1.tar+gzip"), "", tarOf(gzipped, file("model/m.safetensors", "m"))).
				layer(kit("modelpart.v1.tar"), "", tarOf(tarred, file("model/tokenizer.json", "t"))).
				layer(kit("dataset.v1.tar"), "", tarOf(tarred, file("data/d.csv", "d"))).
				layer(kit("code.v1.tar+gzip"), "", tarOf(gzipped, file("c.py", "c"))).
				layer(kit("docs.v1.tar"), "", tarOf(tarred, file("README.md", "r"))),
			ModelKit, map[string]string{"model/m.safetensors": "m", "model/tokenizer.json": "t", "data/d.csv": "d", "c.py": "c", "README.md": "r"},
		},
		"Docker v0.1": {
			newArtifact("", docker("model.config.v0.1+json")).
				layer(docker("gguf.v3"), "", text("g")).layer(docker("license"), "", text("l")).layer(docker("license"), "", text("m")).
				layer(docker("mmproj"), "", text("p")).layer(docker("chat.template.jinja"), "", text("c")),
			Docker, map[string]string{"model.gguf": "g", "LICENSE": "l", "LICENSE-2": "m", "mmproj.gguf": "p", "chat_template.jinja": "c"},
		},
		"Docker v0.2": {
			newArtifact("", docker("model.config.v0.2+json")).
				layer(docker("safetensors"), "unet/model.safetensors", text("u")).layer(docker("safetensors"), "", text("1")).layer(docker("safetensors"), "", text("2")).
				layer(docker("model.file"), "model_index.json", text("i")).layer(docker("dir.tar"), "", tarOf(tarred, file("vae/config.json", "v"))),
			Docker, map[string]string{"unet/model.safetensors": "u", "model.safetensors": "1", "model-2.safetensors": "2", "model_index.json": "i", "vae/config.json": "v"},
		},
		"Ollama": {
			newArtifact("", "application/vnd.docker.container.image.v1+json").
				layer(ollama("model"), "", text("m")).layer(ollama("template"), "", text("t")).layer(ollama("params"), "", text("{}")).
				layer(ollama("license"), "", text("l")).layer(ollama("system"), "", text("s")).layer(ollama("projector"), "", text("p")),
			Ollama, map[string]string{"model.gguf": "m", "template": "t", "params.json": "{}", "LICENSE": "l", "system": "s", "projector.gguf": "p"},
		},
		"no bytes": {
			newArtifact(modelPackArtifact, modelPackConfig).layer(mp("weight.v1.raw"), "w", text("w")).layer(mp("doc.v1.raw"), "a", nil).layer(mp("doc.v1.raw"), "b", nil),
			ModelPack, map[string]string{"w": "w", "a": "", "b": ""},
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "out")
			got, err := Pull(t.Context(), Reference{Transport: Layout, Path: layoutOf(t, tc.artifact)}, dir, Client{})
			if err != nil {
				t.Fatal(err)
			}
			if got.Kind != tc.kind {
				t.Errorf("kind is %s, want %s", got.Kind, tc.kind)
			}
			if diff := cmp.Diff(tc.want, contentOf(t, dir)); diff != "" {
				t.Errorf("files (-want +got):\n%s", diff)
			}
			m, err := manifest.Dir(t.Context(), dir, manifest.Options{})
			if err != nil {
				t.Fatal(err)
			}
			if m.Root() != got.Root {
				t.Errorf("root is %s, and was announced as %s", m.Root(), got.Root)
			}
		})
	}
}

// Docker's manifests and registries' lists of them are read too.
func TestImportDockerTypes(t *testing.T) {
	a := newArtifact("", "application/vnd.docker.container.image.v1+json").layer("application/vnd.ollama.image.model", "", []byte("m"))
	a.manifest.MediaType = dockerManifest
	f := newFake(t, false, a)
	for k := range f.manifests {
		f.types[k] = dockerManifest
	}
	if _, err := Pull(t.Context(), f.ref(t), filepath.Join(t.TempDir(), "x"), Client{}); err != nil {
		t.Fatal(err)
	}
	d := described(f.manifests["v1"])
	d.MediaType = dockerManifest
	f.index(t, d, d)
	got, err := Pull(t.Context(), f.ref(t), filepath.Join(t.TempDir(), "x"), Client{})
	if err != nil {
		t.Fatal(err)
	}
	if got.Digest != d.Digest {
		t.Errorf("pulled %s, want the one model of the list, %s", got.Digest, d.Digest)
	}
}

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

// What refers to a model is sorted into files by what it says, whatever the
// order in which the registry lists it.
func TestEvidence(t *testing.T) {
	signer, _, _ := key(t)
	a := oneFile()
	m := manifest.Manifest{Resources: []manifest.Resource{{Name: "model.gguf", Digest: mustHex(t, digest.FromBytes(weights).Encoded())}}}
	sign := func(st bundle.Statement) []byte {
		src, err := signer.Sign(st)
		if err != nil {
			t.Fatal(err)
		}
		return src
	}
	mine := sign(statement(bundle.PredicateOMS, m.Root()))
	foreign := sign(statement(bundle.PredicateOMS, strings.Repeat("0", 64)))
	claim := sign(statement(bundle.PredicateProvenance, m.Root()))
	var spread bytes.Buffer
	if err := json.Indent(&spread, claim, "", "  "); err != nil {
		t.Fatal(err)
	}
	type doc struct {
		kind    string
		content []byte
	}
	for name, tc := range map[string]struct {
		docs    []doc
		want    map[string]string
		skipped int
	}{
		"nothing":                       {},
		"the signature of these bytes":  {docs: []doc{{typeBundle, foreign}, {typeBundle, mine}}, want: map[string]string{"model.sig": string(mine), "claims.jsonl": string(foreign) + "\n"}},
		"only one of other bytes shows": {docs: []doc{{typeBundle, foreign}}, want: map[string]string{"model.sig": string(foreign)}},
		"a claim once, on one line":     {docs: []doc{{typeBundle, claim}, {typeBundle, spread.Bytes()}}, want: map[string]string{"claims.jsonl": string(claim) + "\n"}},
		"a draft":                       {docs: []doc{{typeBOM, []byte("{}")}}, want: map[string]string{"bom.json": "{}"}},
		"two drafts are none":           {docs: []doc{{typeBOM, []byte("{}")}, {typeBOM, []byte("[]")}}, skipped: 2},
		"no bundle":                     {docs: []doc{{typeBundle, []byte("{}")}}, skipped: 1},
		"something else":                {docs: []doc{{"image/png", []byte("x")}}, skipped: 1},
	} {
		t.Run(name, func(t *testing.T) {
			for _, reverse := range []bool{false, true} {
				f := newFake(t, false, a)
				subject := digest.FromBytes(f.manifests["v1"])
				for _, d := range tc.docs {
					f.attach(t, subject, d.kind, d.content)
				}
				if reverse {
					for i, j := 0, len(f.referrers)-1; i < j; i, j = i+1, j-1 {
						f.referrers[i], f.referrers[j] = f.referrers[j], f.referrers[i]
					}
				}
				dir := filepath.Join(t.TempDir(), "x")
				got, err := Pull(t.Context(), f.ref(t), dir, Client{})
				if err != nil {
					t.Fatal(err)
				}
				if len(got.Skipped) != tc.skipped {
					t.Errorf("left out %v, want %d", got.Skipped, tc.skipped)
				}
				files := contentOf(t, dir)
				delete(files, "model.gguf")
				if tc.want == nil {
					tc.want = map[string]string{}
				}
				if diff := cmp.Diff(tc.want, files); diff != "" {
					t.Errorf("files (-want +got):\n%s", diff)
				}
			}
		})
	}

	t.Run("the model as its own referrer, and one of another model", func(t *testing.T) {
		f := newFake(t, false, a)
		self := described(f.manifests["v1"])
		f.attach(t, digest.FromString("another"), typeBundle, claim)
		f.referrers = append(f.referrers, self)
		got, err := Pull(t.Context(), f.ref(t), filepath.Join(t.TempDir(), "x"), Client{})
		if err != nil {
			t.Fatal(err)
		}
		if len(got.Skipped) != 2 || len(got.Evidence) != 0 {
			t.Errorf("left out %v, took %v", got.Skipped, got.Evidence)
		}
	})
	t.Run("evidence as layers comes first, and bad evidence stays to be seen", func(t *testing.T) {
		b := oneFile().layer("application/vnd.cncf.model.doc.v1.raw", "model.sig", []byte("broken")).
			layer("application/vnd.cncf.model.doc.v1.tar", "", archive(t, tarred, file("claims.jsonl", "{}\n"+string(claim)+"\n")))
		f := newFake(t, false, b)
		dir := filepath.Join(t.TempDir(), "x")
		if _, err := Pull(t.Context(), f.ref(t), dir, Client{}); err != nil {
			t.Fatal(err)
		}
		got := contentOf(t, dir)
		delete(got, "model.gguf")
		if diff := cmp.Diff(map[string]string{"model.sig": "broken", "claims.jsonl": "{}\n" + string(claim) + "\n"}, got); diff != "" {
			t.Errorf("files (-want +got):\n%s", diff)
		}
	})
}

func mustHex(t *testing.T, s string) []byte {
	t.Helper()
	raw := make([]byte, 32)
	for i := range raw {
		var b int
		for _, c := range s[2*i : 2*i+2] {
			b = b*16 + strings.IndexRune("0123456789abcdef", c)
		}
		raw[i] = byte(b)
	}
	return raw
}

// Layouts and targets that cannot be used say why.
func TestBadPlaces(t *testing.T) {
	full := folderOf(t, model)
	for name, tc := range map[string]struct {
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
	} {
		_, err := Pull(t.Context(), Reference{Transport: Layout, Path: folderOf(t, tc.files)}, filepath.Join(t.TempDir(), "x"), Client{})
		if !errors.Is(err, tc.want) {
			t.Errorf("%s: %v, want %v", name, err, tc.want)
		}
	}
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

func FuzzParseReference(f *testing.F) {
	for _, s := range []string{"h/a:v1", "oci:x:y", "oci-archive:/a@sha256:", "[::1]:1/a"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, err := ParseReference(s)
		if err != nil {
			return
		}
		if again, err := ParseReference(r.String()); err != nil || again != r {
			t.Errorf("%q: %+v is written as %q, which reads as %+v, %v", s, r, r.String(), again, err)
		}
	})
}

// Whatever a manifest says, its files have names that stay in the folder.
func FuzzManifest(f *testing.F) {
	a := oneFile()
	src, err := json.Marshal(a.manifest)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(src)
	f.Add([]byte(`{"schemaVersion":2,"layers":[{"digest":"sha256:x"}]}`))
	f.Fuzz(func(t *testing.T, src []byte) {
		d := document{Descriptor: ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromBytes(src)}, bytes: src}
		m, err := d.manifest(tight())
		if err != nil {
			return
		}
		k, ok := kindOf(m)
		if !ok {
			return
		}
		layers, err := plan(k, m.Layers)
		for _, l := range layers {
			if err == nil && l.Path != "" && !filepath.IsLocal(l.Path) {
				t.Errorf("path %q", l.Path)
			}
		}
	})
}

// Whatever an archive says, its files have names that stay in the folder and no
// more bytes than its limit.
func FuzzUnpack(f *testing.F) {
	for _, how := range []packing{tarred, gzipped, zstandard} {
		f.Add(archive(f, how, file("a/b", "content"), file("c", "")), int(how))
	}
	f.Fuzz(func(t *testing.T, src []byte, how int) {
		if how < int(tarred) || how > int(zstandard) {
			return
		}
		var total int64
		err := unpack(t.Context(), bytes.NewReader(src), packing(how), int64(len(src)), 10, func(name string, size int64, r io.Reader) error {
			if !filepath.IsLocal(name) || size < 0 {
				t.Errorf("entry %q of %d bytes", name, size)
			}
			n, err := io.Copy(io.Discard, r)
			total += n
			return err
		})
		if most := int64(1<<20 + 10*len(src)); total > most && packing(how) != tarred {
			t.Errorf("%d bytes came out of %d, %v", total, len(src), err)
		}
	})
}
