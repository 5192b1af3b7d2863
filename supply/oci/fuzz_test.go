package oci

import (
	"bytes"
	"encoding/json"
	"io"
	"path/filepath"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

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
