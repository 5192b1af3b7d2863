package oci

import (
	"archive/tar"
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"

	"github.com/weighbridge/weighbridge/supply/manifest"
)

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
