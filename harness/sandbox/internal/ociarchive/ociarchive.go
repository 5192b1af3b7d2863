// Package ociarchive packs one static executable into an OCI image archive, in
// memory and without a registry.
//
// In goes the executable's bytes, out come the archive and the digest of its
// manifest; equal input gives equal bytes. The image holds the executable, the
// mount points that a box needs, and nothing else. It will not add layers,
// libraries or users.
package ociarchive

import (
	"archive/tar"
	"bytes"
	_ "crypto/sha256" // go-digest finds its hash through the registry of package crypto
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// GuestPath is where the executable lies in the image.
const GuestPath = "/guest"

// NamePrefix begins the name of every image that Pack makes.
const NamePrefix = "weighbridge.local/guest:"

// Image is a packed image.
type Image struct {
	Name    string        // reference under which containerd will know it
	Digest  digest.Digest // of the manifest
	Archive []byte        // tar in the OCI image layout
}

// Pack packs the executable for linux on arch (a GOARCH value). mounts are
// absolute paths of files that will be covered by bind mounts; the image holds
// an empty file for each.
func Pack(guest []byte, arch string, mounts []string) (Image, error) {
	layer, err := rootfs(guest, mounts)
	if err != nil {
		return Image{}, fmt.Errorf("packing the root file system: %w", err)
	}
	a := &archive{}
	layerDesc := a.blob(v1.MediaTypeImageLayer, layer)
	platform := v1.Platform{OS: "linux", Architecture: arch}
	config := a.json(v1.MediaTypeImageConfig, v1.Image{
		Platform: platform,
		Config:   v1.ImageConfig{Entrypoint: []string{GuestPath}, User: "65534:65534", WorkingDir: "/"},
		RootFS:   v1.RootFS{Type: "layers", DiffIDs: []digest.Digest{layerDesc.Digest}},
	})
	manifest := a.json(v1.MediaTypeImageManifest, v1.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2},
		MediaType: v1.MediaTypeImageManifest,
		Config:    config,
		Layers:    []v1.Descriptor{layerDesc},
	})
	name := NamePrefix + manifest.Digest.Encoded()
	manifest.Annotations = map[string]string{"io.containerd.image.name": name}
	manifest.Platform = &platform
	a.file(v1.ImageIndexFile, mustJSON(v1.Index{
		Versioned: specs.Versioned{SchemaVersion: 2},
		MediaType: v1.MediaTypeImageIndex,
		Manifests: []v1.Descriptor{manifest},
	}))
	a.file(v1.ImageLayoutFile, mustJSON(v1.ImageLayout{Version: v1.ImageLayoutVersion}))
	out, err := a.bytes()
	if err != nil {
		return Image{}, fmt.Errorf("packing the image: %w", err)
	}
	return Image{Name: name, Digest: manifest.Digest, Archive: out}, nil
}

// rootfs is the layer: directories, mount points, then the executable.
func rootfs(guest []byte, mounts []string) ([]byte, error) {
	dirs := map[string]int64{
		"/dev": 0o755, "/proc": 0o755,
		// runc 1.1 gives a tmpfs the mode of the directory it covers, whatever
		// the mount option says.
		"/tmp": 0o1777,
	}
	for _, m := range mounts {
		for d := path.Dir(m); d != "/"; d = path.Dir(d) {
			if _, ok := dirs[d]; !ok {
				dirs[d] = 0o755
			}
		}
	}
	var buf bytes.Buffer
	tw := tar.NewWriter(&buf)
	for _, d := range sortedKeys(dirs) {
		if err := tw.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: d[1:] + "/", Mode: dirs[d], ModTime: time.Unix(0, 0)}); err != nil {
			return nil, err
		}
	}
	mounts = slices.Clone(mounts)
	slices.Sort(mounts)
	for _, m := range slices.Compact(mounts) {
		if err := put(tw, m[1:], 0o444, nil); err != nil {
			return nil, err
		}
	}
	if err := put(tw, GuestPath[1:], 0o555, guest); err != nil {
		return nil, err
	}
	if err := tw.Close(); err != nil {
		return nil, err
	}
	return buf.Bytes(), nil
}

// archive collects the files of the layout and keeps the first error.
type archive struct {
	buf bytes.Buffer
	tw  *tar.Writer
	err error
}

func (a *archive) file(name string, data []byte) {
	if a.tw == nil {
		a.tw = tar.NewWriter(&a.buf)
	}
	if a.err == nil {
		a.err = put(a.tw, name, 0o644, data)
	}
}

func (a *archive) blob(mediaType string, data []byte) v1.Descriptor {
	d := v1.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(data), Size: int64(len(data))}
	a.file("blobs/sha256/"+d.Digest.Encoded(), data)
	return d
}

func (a *archive) json(mediaType string, v any) v1.Descriptor { return a.blob(mediaType, mustJSON(v)) }

func (a *archive) bytes() ([]byte, error) {
	if a.err != nil {
		return nil, a.err
	}
	if err := a.tw.Close(); err != nil {
		return nil, err
	}
	return a.buf.Bytes(), nil
}

func put(tw *tar.Writer, name string, mode int64, data []byte) error {
	if err := tw.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: mode, Size: int64(len(data)), ModTime: time.Unix(0, 0)}); err != nil {
		return err
	}
	_, err := tw.Write(data)
	return err
}

func sortedKeys(m map[string]int64) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// mustJSON marshals values made of strings and numbers, which cannot fail.
func mustJSON(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}
