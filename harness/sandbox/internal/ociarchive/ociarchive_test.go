package ociarchive

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

func entries(t *testing.T, b []byte) (list []string, data map[string][]byte) {
	t.Helper()
	data = map[string][]byte{}
	tr := tar.NewReader(bytes.NewReader(b))
	for {
		h, err := tr.Next()
		if err == io.EOF {
			return list, data
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.ModTime.Unix() != 0 {
			t.Errorf("%s has the time %v", h.Name, h.ModTime)
		}
		list = append(list, fmt.Sprintf("%c %04o %s", h.Typeflag, h.Mode, h.Name))
		data[h.Name], _ = io.ReadAll(tr)
	}
}

func TestPackIsAReadableLayout(t *testing.T) {
	img, err := Pack([]byte("ELF"), "amd64", []string{"/weights/model.gguf", "/weights/adapter.gguf"})
	if err != nil {
		t.Fatal(err)
	}
	_, files := entries(t, img.Archive)
	for name, b := range files {
		if hex, ok := bytes.CutPrefix([]byte(name), []byte("blobs/sha256/")); ok && digest.FromBytes(b).Encoded() != string(hex) {
			t.Errorf("%s holds other bytes than its name says", name)
		}
	}
	var index v1.Index
	var manifest v1.Manifest
	var config v1.Image
	get := func(name string, v any) {
		t.Helper()
		if err := json.Unmarshal(files[name], v); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	get("index.json", &index)
	if index.Manifests[0].Digest != img.Digest || index.Manifests[0].Annotations["io.containerd.image.name"] != img.Name {
		t.Errorf("the index names %+v, want %s %s", index.Manifests[0], img.Digest, img.Name)
	}
	get("blobs/sha256/"+img.Digest.Encoded(), &manifest)
	get("blobs/sha256/"+manifest.Config.Digest.Encoded(), &config)
	layer := files["blobs/sha256/"+manifest.Layers[0].Digest.Encoded()]
	if config.RootFS.DiffIDs[0] != digest.FromBytes(layer) {
		t.Error("the configuration names another layer")
	}
	got, _ := entries(t, layer)
	want := []string{
		"5 0755 dev/", "5 0755 proc/", "5 1777 tmp/", "5 0755 weights/",
		"0 0444 weights/adapter.gguf", "0 0444 weights/model.gguf", "0 0555 guest",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("layer (-want +got):\n%s", d)
	}
}

func TestPackIsDeterministic(t *testing.T) {
	a, _ := Pack([]byte("ELF"), "amd64", []string{"/w/a", "/w/b"})
	b, _ := Pack([]byte("ELF"), "amd64", []string{"/w/b", "/w/a"})
	if !bytes.Equal(a.Archive, b.Archive) {
		t.Error("the order of the mounts changes the bytes")
	}
	if c, _ := Pack([]byte("ELG"), "amd64", []string{"/w/a", "/w/b"}); c.Digest == a.Digest {
		t.Error("another guest has the same digest")
	}
}
