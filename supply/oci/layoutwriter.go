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
	"path/filepath"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	specs "github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/weighbridge/weighbridge/internal/durable"
)

// layoutWriter is a layout as a target. A folder is added to; an archive is
// written anew, in one pass at the end, and its bytes depend on its content
// alone.
type layoutWriter struct {
	path    string
	archive bool
	limits  Limits
	index   ocispec.Index
	before  []byte // index.json as it was
	items   map[digest.Digest]item
}

func newLayoutWriter(r Reference, l Limits) (*layoutWriter, error) {
	w := &layoutWriter{path: r.Path, archive: r.Transport == Archive, limits: l, items: map[digest.Digest]item{}}
	w.index = ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, Manifests: []ocispec.Descriptor{}}
	if w.archive {
		return w, nil
	}
	_, err := os.Stat(filepath.Join(r.Path, ocispec.ImageLayoutFile))
	if errors.Is(err, fs.ErrNotExist) {
		return w, vacant(r.Path)
	} else if err != nil {
		return nil, err
	}
	o, err := openLayout(r, l)
	if err != nil {
		return nil, err
	}
	w.index, w.before = o.index, o.raw
	return w, o.Close()
}

func (w *layoutWriter) Close() error { return nil }

func (w *layoutWriter) file(d digest.Digest) string {
	return filepath.Join(w.path, filepath.FromSlash(blobPath(d)))
}

func (w *layoutWriter) has(_ context.Context, d ocispec.Descriptor) (bool, error) {
	if w.archive {
		_, ok := w.items[d.Digest]
		return ok, nil
	}
	if d.MediaType == ocispec.MediaTypeImageManifest && !listed(w.index.Manifests, d.Digest) {
		return false, nil // a push ended before its index was written
	}
	info, err := os.Stat(w.file(d.Digest))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil && info.Mode().IsRegular() && info.Size() == d.Size, err
}

func (w *layoutWriter) put(ctx context.Context, it item) error {
	if w.archive {
		w.items[it.Digest] = it
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(w.file(it.Digest)), 0o755); err != nil {
		return err
	}
	return durable.Write(w.file(it.Digest), 0o644, func(out io.Writer) error { return copyItem(ctx, out, it) })
}

// copyItem copies content and refuses what changed since it was hashed.
func copyItem(ctx context.Context, out io.Writer, it item) error {
	body, err := it.open()
	if err != nil {
		return err
	}
	defer body.Close()
	h := digest.SHA256.Digester()
	n, err := io.CopyBuffer(io.MultiWriter(out, h.Hash()), io.LimitReader(&cancellable{ctx, body}, it.Size+1), make([]byte, 1<<20))
	if err == nil && (n != it.Size || h.Digest() != it.Digest) {
		err = fmt.Errorf("%w: %s changed while it was pushed", ErrDigest, it.Digest)
	}
	return err
}

func (w *layoutWriter) putManifest(ctx context.Context, it item, _ *ocispec.Descriptor, tag string) error {
	if err := w.put(ctx, it); err != nil {
		return err
	}
	d := it.Descriptor
	if tag != "" {
		d.Annotations = map[string]string{ocispec.AnnotationRefName: tag}
	}
	list := w.index.Manifests
	list = slices.DeleteFunc(list, func(x ocispec.Descriptor) bool {
		name := x.Annotations[ocispec.AnnotationRefName]
		return name == tag && (tag != "" || x.Digest == d.Digest) || tag != "" && name == "" && x.Digest == d.Digest
	})
	w.index.Manifests = append(list, d)
	return nil
}

func (w *layoutWriter) tagged(_ context.Context, tag string) (digest.Digest, error) {
	for _, d := range w.index.Manifests {
		if d.Annotations[ocispec.AnnotationRefName] == tag {
			return d.Digest, nil
		}
	}
	return "", nil
}

// referrers are all entries of the index: putManifest lists what it puts.
func (w *layoutWriter) referrers(context.Context, ocispec.Descriptor) ([]ocispec.Descriptor, error) {
	return w.index.Manifests, nil
}

func (w *layoutWriter) commit(ctx context.Context) error {
	version, err := json.Marshal(ocispec.ImageLayout{Version: ocispec.ImageLayoutVersion})
	if err != nil {
		return err
	}
	index, err := json.Marshal(w.index)
	if err != nil {
		return err
	}
	if w.archive {
		return w.tar(ctx, version, index)
	}
	if string(index) == string(w.before) {
		return nil
	}
	for _, f := range []struct {
		name string
		src  []byte
	}{{ocispec.ImageLayoutFile, version}, {ocispec.ImageIndexFile, index}} {
		if err := durable.Write(filepath.Join(w.path, f.name), 0o644, func(out io.Writer) error { _, err := out.Write(f.src); return err }); err != nil {
			return err
		}
	}
	return nil
}

// tar writes the archive: oci-layout, index.json, then the blobs by digest,
// with no times and no owners.
func (w *layoutWriter) tar(ctx context.Context, version, index []byte) error {
	type entry struct {
		name string
		item item
	}
	entries := []entry{{ocispec.ImageLayoutFile, fixed("", version)}, {ocispec.ImageIndexFile, fixed("", index)}}
	for d, it := range w.items {
		entries = append(entries, entry{blobPath(d), it})
	}
	slices.SortFunc(entries[2:], func(a, b entry) int { return strings.Compare(a.name, b.name) })
	return durable.Write(w.path, 0o644, func(out io.Writer) error {
		t := tar.NewWriter(out)
		for _, e := range entries {
			h := &tar.Header{Typeflag: tar.TypeReg, Name: e.name, Size: e.item.Size, Mode: 0o644, Format: tar.FormatPAX}
			if err := t.WriteHeader(h); err != nil {
				return err
			}
			if err := copyItem(ctx, t, e.item); err != nil {
				return err
			}
		}
		return t.Close()
	})
}
