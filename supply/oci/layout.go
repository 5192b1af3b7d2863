package oci

import (
	"archive/tar"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// layout is an OCI image layout: a folder, or a tar of one that is read in place
// (https://github.com/opencontainers/image-spec/blob/v1.1.1/image-layout.md).
type layout struct {
	files  files
	limits Limits
	index  ocispec.Index
	raw    []byte // of index.json
	name   string // for messages
}

// files is what a layout is read through.
type files interface {
	Open(name string) (io.ReadSeekCloser, int64, error)
	Close() error
}

func openLayout(r Reference, l Limits) (_ *layout, err error) {
	o := &layout{limits: l, name: r.Path}
	switch r.Transport {
	case Archive:
		o.files, err = openTar(r.Path, l)
	default:
		var root *os.Root
		root, err = os.OpenRoot(r.Path)
		o.files = &folder{root}
	}
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			o.Close()
		}
	}()
	var version ocispec.ImageLayout
	if src, err := o.read(ocispec.ImageLayoutFile, 1<<10); err != nil {
		return nil, err
	} else if err := json.Unmarshal(src, &version); err != nil || version.Version != ocispec.ImageLayoutVersion {
		return nil, fmt.Errorf("%w: %s: oci-layout says version %.20q, wanted %q", ErrLayout, r.Path, version.Version, ocispec.ImageLayoutVersion)
	}
	if o.raw, err = o.read(ocispec.ImageIndexFile, l.Manifest); err != nil {
		return nil, err
	}
	d := document{Descriptor: ocispec.Descriptor{MediaType: ocispec.MediaTypeImageIndex, Digest: digest.FromBytes(o.raw)}, bytes: o.raw}
	if err := d.check(); err != nil {
		return nil, fmt.Errorf("%s: index.json: %w", r.Path, err)
	}
	if err := json.Unmarshal(o.raw, &o.index); err != nil {
		return nil, fmt.Errorf("%w: %s: index.json: %w", ErrLayout, r.Path, err)
	}
	if n := len(o.index.Manifests); n > l.Layers {
		return nil, fmt.Errorf("%w: %s: index.json has %d entries, at most %d are read", ErrLimit, r.Path, n, l.Layers)
	}
	for i, d := range o.index.Manifests {
		if err := descriptor(d); err != nil {
			return nil, fmt.Errorf("%s: index.json: manifests[%d]: %w", r.Path, i, err)
		}
	}
	return o, nil
}

func (o *layout) Close() error { return o.files.Close() }

func (o *layout) read(name string, most int64) ([]byte, error) {
	f, size, err := o.files.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %s: %s is missing", ErrLayout, o.name, name)
	} else if err != nil {
		return nil, err
	}
	defer f.Close()
	if size > most {
		return nil, fmt.Errorf("%w: %s: %s has %d bytes, at most %d are read", ErrLimit, o.name, name, size, most)
	}
	return io.ReadAll(io.LimitReader(f, most))
}

// resolve finds a tag or digest in index.json, or gives index.json itself.
func (o *layout) resolve(_ context.Context, version string) (ocispec.Descriptor, io.ReadCloser, error) {
	if version == "" {
		d := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageIndex, Digest: digest.FromBytes(o.raw), Size: int64(len(o.raw))}
		return d, io.NopCloser(strings.NewReader(string(o.raw))), nil
	}
	if want, err := digest.Parse(version); err == nil {
		d := ocispec.Descriptor{Digest: want, Size: -1}
		for _, e := range o.index.Manifests {
			if e.Digest == want {
				d = e
			}
		}
		body, size, err := o.blob(want)
		if err != nil {
			return d, nil, err
		}
		if d.Size < 0 { // named by another manifest, or by the user
			d.Size, d.MediaType = size, o.mediaType(want)
		}
		return d, body, nil
	}
	for _, e := range o.index.Manifests {
		if e.Annotations[ocispec.AnnotationRefName] == version {
			body, _, err := o.blob(e.Digest)
			return e, body, err
		}
	}
	return ocispec.Descriptor{}, nil, fmt.Errorf("%w: %s has no tag %q; it has %q", ErrNotFound, o.name, version, o.tags())
}

// mediaType is what a document of a layout calls itself: there is nobody else
// to ask.
func (o *layout) mediaType(d digest.Digest) string {
	var shape struct {
		MediaType string `json:"mediaType"`
	}
	src, err := o.read(blobPath(d), o.limits.Manifest)
	if err != nil || json.Unmarshal(src, &shape) != nil || shape.MediaType == "" {
		return ocispec.MediaTypeImageManifest
	}
	return shape.MediaType
}

func (o *layout) tags() (tags []string) {
	for _, e := range o.index.Manifests {
		if t := e.Annotations[ocispec.AnnotationRefName]; t != "" {
			tags = append(tags, t)
		}
	}
	return tags
}

func (o *layout) blob(d digest.Digest) (io.ReadSeekCloser, int64, error) {
	f, size, err := o.files.Open(blobPath(d))
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("%w: %s: %s", ErrNotFound, o.name, d)
	}
	return f, size, err
}

func (o *layout) open(_ context.Context, d ocispec.Descriptor, offset int64) (io.ReadCloser, error) {
	f, size, err := o.blob(d.Digest)
	if err != nil {
		return nil, err
	}
	if size != d.Size {
		f.Close()
		return nil, fmt.Errorf("%w: %s: blob %s has %d bytes, %d were announced", ErrSize, o.name, d.Digest, size, d.Size)
	}
	if _, err := f.Seek(offset, io.SeekStart); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// referrers are the entries of index.json whose manifests name d as subject.
func (o *layout) referrers(ctx context.Context, d ocispec.Descriptor) ([]ocispec.Descriptor, error) {
	var out []ocispec.Descriptor
	for _, e := range o.index.Manifests {
		if e.MediaType != ocispec.MediaTypeImageManifest || e.Digest == d.Digest {
			continue
		}
		doc, err := fetchDocument(ctx, o, e.Digest.String(), o.limits)
		if err != nil {
			return nil, err
		}
		m, err := doc.manifest(o.limits)
		if err != nil || m.Subject == nil || m.Subject.Digest != d.Digest {
			continue // another model, or nothing of ours
		}
		if out = append(out, e); len(out) > o.limits.Referrers {
			return nil, fmt.Errorf("%w: more than %d documents refer to %s", ErrLimit, o.limits.Referrers, d.Digest)
		}
	}
	return out, nil
}

func blobPath(d digest.Digest) string {
	return path.Join(ocispec.ImageBlobsDir, d.Algorithm().String(), d.Encoded())
}

type folder struct{ root *os.Root }

func (f *folder) Close() error { return f.root.Close() }

func (f *folder) Open(name string) (io.ReadSeekCloser, int64, error) {
	x, err := f.root.Open(name)
	if err != nil {
		return nil, 0, err
	}
	info, err := x.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%w: %s is a %s", ErrLayout, name, info.Mode().Type())
	}
	if err != nil {
		x.Close()
		return nil, 0, err
	}
	return x, info.Size(), nil
}

// tarFile is an uncompressed tar, indexed once.
type tarFile struct {
	f       *os.File
	entries map[string]section
}

type section struct{ offset, size int64 }

func openTar(name string, l Limits) (_ files, err error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			f.Close()
		}
	}()
	t := &tarFile{f: f, entries: map[string]section{}}
	r := tar.NewReader(f)
	for n := 0; ; n++ {
		h, err := r.Next()
		if err == io.EOF {
			return t, nil
		} else if err != nil {
			return nil, fmt.Errorf("%w: %s: %w", ErrLayout, name, err)
		}
		if n >= l.Files {
			return nil, fmt.Errorf("%w: %s has more than %d entries", ErrLimit, name, l.Files)
		}
		clean := path.Clean(h.Name)
		switch {
		case h.Typeflag == tar.TypeDir:
			continue
		case h.Typeflag != tar.TypeReg:
			return nil, fmt.Errorf("%w: %s: entry %.200q has type %q; a layout holds only files and folders", ErrArchive, name, h.Name, h.Typeflag)
		}
		if _, twice := t.entries[clean]; twice {
			return nil, fmt.Errorf("%w: %s: entry %.200q comes twice", ErrArchive, name, h.Name)
		}
		at, err := f.Seek(0, io.SeekCurrent)
		if err != nil {
			return nil, err
		}
		t.entries[clean] = section{at, h.Size}
	}
}

func (t *tarFile) Close() error { return t.f.Close() }

func (t *tarFile) Open(name string) (io.ReadSeekCloser, int64, error) {
	s, ok := t.entries[name]
	if !ok {
		return nil, 0, fmt.Errorf("%s: %w", name, fs.ErrNotExist)
	}
	return seekable{io.NewSectionReader(t.f, s.offset, s.size)}, s.size, nil
}

type seekable struct{ io.ReadSeeker }

func (seekable) Close() error { return nil }
