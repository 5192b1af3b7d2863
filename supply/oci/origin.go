package oci

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// origin is where an artifact is read from. Nothing that it gives is trusted:
// whoever asks checks what comes.
type origin interface {
	// resolve gives the document of a tag or digest, or of all there is for "".
	// The reader may be longer than the descriptor says.
	resolve(ctx context.Context, version string) (ocispec.Descriptor, io.ReadCloser, error)
	// open gives a blob from an offset on. errNotRanged where it can only be
	// read from the start.
	open(ctx context.Context, d ocispec.Descriptor, offset int64) (io.ReadCloser, error)
	// referrers lists what names d as its subject.
	referrers(ctx context.Context, d ocispec.Descriptor) ([]ocispec.Descriptor, error)
	io.Closer
}

// document is a manifest or index whose bytes are what the digest says.
type document struct {
	ocispec.Descriptor
	bytes []byte
}

// fetchDocument resolves and reads a document within the limit.
func fetchDocument(ctx context.Context, o origin, version string, l Limits) (*document, error) {
	return retried(ctx, l, func() (*document, error) {
		d, body, err := o.resolve(ctx, version)
		if err != nil {
			return nil, err
		}
		defer body.Close()
		if d.Size > l.Manifest {
			return nil, fmt.Errorf("%w: %s has %d bytes, at most %d are read of a manifest or index", ErrLimit, version, d.Size, l.Manifest)
		}
		src, err := io.ReadAll(io.LimitReader(body, l.Manifest+1))
		switch {
		case err != nil:
			return nil, fmt.Errorf("reading %s: %w", version, short(err))
		case int64(len(src)) > l.Manifest:
			return nil, fmt.Errorf("%w: %s goes on after %d bytes, which is the most for a manifest or index", ErrLimit, version, l.Manifest)
		case d.Size >= 0 && int64(len(src)) < d.Size:
			return nil, fmt.Errorf("%w: %s: %d of %d bytes", ErrTruncated, version, len(src), d.Size)
		case d.Size >= 0 && int64(len(src)) != d.Size:
			return nil, fmt.Errorf("%w: %s: %d bytes, announced as %d", ErrSize, version, len(src), d.Size)
		}
		sum := digest.FromBytes(src)
		if want, err := digest.Parse(version); err == nil && want != sum {
			return nil, fmt.Errorf("%w: %s holds %s", ErrDigest, version, sum)
		}
		if d.Digest != "" && d.Digest != sum {
			return nil, fmt.Errorf("%w: %s is announced as %s and holds %s", ErrDigest, version, d.Digest, sum)
		}
		if d.MediaType == "" {
			var says struct {
				MediaType string `json:"mediaType"`
			}
			if err := json.Unmarshal(src, &says); err != nil || !slices.Contains(manifestTypes, says.MediaType) {
				return nil, fmt.Errorf("%w: manifest %s is served without a type and calls itself %.100q", ErrContentType, version, says.MediaType)
			}
			d.MediaType = says.MediaType
		}
		d.Digest, d.Size = sum, int64(len(src))
		return &document{Descriptor: d, bytes: src}, nil
	})
}

// fetchSmall reads a blob of bounded size into memory.
func fetchSmall(ctx context.Context, o origin, d ocispec.Descriptor, l Limits) ([]byte, error) {
	if d.Size > l.Evidence {
		return nil, fmt.Errorf("%w: %s has %d bytes, at most %d are read of a document", ErrLimit, d.Digest, d.Size, l.Evidence)
	}
	return retried(ctx, l, func() ([]byte, error) {
		body, err := o.open(ctx, d, 0)
		if err != nil {
			return nil, err
		}
		defer body.Close()
		var b bytes.Buffer
		h := digest.SHA256.Digester()
		if err := exactly(io.MultiWriter(&b, h.Hash()), body, d, 0); err != nil {
			return nil, err
		}
		if h.Digest() != d.Digest {
			return nil, fmt.Errorf("%w: %s holds %s", ErrDigest, d.Digest, h.Digest())
		}
		return b.Bytes(), nil
	})
}

// exactly copies what is left of d from offset on and wants its end there.
func exactly(w io.Writer, body io.Reader, d ocispec.Descriptor, offset int64) error {
	n, err := io.CopyBuffer(w, io.LimitReader(body, d.Size-offset), make([]byte, 256<<10))
	if err != nil {
		return fmt.Errorf("reading %s: %w", d.Digest, short(err))
	}
	if offset+n < d.Size {
		return fmt.Errorf("%w: %s: %d of %d bytes", ErrTruncated, d.Digest, offset+n, d.Size)
	}
	var one [1]byte
	if n, _ := io.ReadFull(body, one[:]); n > 0 {
		return fmt.Errorf("%w: %s goes on after its %d bytes", ErrSize, d.Digest, d.Size)
	}
	return nil
}

// short names an early end.
func short(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, ErrUnusable) {
		return fmt.Errorf("%w: %w", ErrTruncated, err)
	}
	return err
}

// retried calls f again, after a pause, while its error may pass.
func retried[T any](ctx context.Context, l Limits, f func() (T, error)) (T, error) {
	for try := 1; ; try++ {
		v, err := f()
		if err == nil || !passing(err) || ctx.Err() != nil {
			return v, err
		}
		if try >= l.Tries {
			return v, fmt.Errorf("%w (tried %d times)", err, try)
		}
		if e := pause(ctx, l.Backoff<<(try-1)); e != nil {
			return v, e
		}
	}
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return nil
	}
}

// manifestTypes are the documents that are read.
var manifestTypes = []string{ocispec.MediaTypeImageManifest, ocispec.MediaTypeImageIndex, dockerManifest, dockerList}

func isIndex(mediaType string) bool {
	return mediaType == ocispec.MediaTypeImageIndex || mediaType == dockerList
}

// check reads the parts of a document that say what it is, and refuses those
// that could be read as a manifest and as an index (CVE-2021-41190).
func (d *document) check() error {
	var shape struct {
		SchemaVersion int              `json:"schemaVersion"`
		MediaType     string           `json:"mediaType"`
		Config        *json.RawMessage `json:"config"`
		Layers        *json.RawMessage `json:"layers"`
		Manifests     *json.RawMessage `json:"manifests"`
	}
	bad := func(format string, args ...any) error {
		return fmt.Errorf("%w: %s: %w", ErrManifest, d.Digest, fmt.Errorf(format, args...))
	}
	if err := json.Unmarshal(d.bytes, &shape); err != nil {
		return bad("%w", err)
	}
	switch {
	case shape.MediaType != "" && shape.MediaType != d.MediaType:
		return fmt.Errorf("%w: %s is served as %q and calls itself %q", ErrContentType, d.Digest, d.MediaType, shape.MediaType)
	case shape.SchemaVersion != 2:
		return bad("schemaVersion is %d, wanted 2", shape.SchemaVersion)
	case isIndex(d.MediaType) && (shape.Layers != nil || shape.Config != nil):
		return bad("an index with layers or a config")
	case !isIndex(d.MediaType) && shape.Manifests != nil:
		return bad("a manifest with manifests")
	case !isIndex(d.MediaType) && shape.Layers == nil:
		return bad("layers are missing")
	}
	return nil
}

// manifest opens a document as a manifest.
func (d *document) manifest(l Limits) (*ocispec.Manifest, error) {
	if err := d.check(); err != nil {
		return nil, err
	}
	var m ocispec.Manifest
	if err := json.Unmarshal(d.bytes, &m); err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrManifest, d.Digest, err)
	}
	if len(m.Layers) > l.Layers {
		return nil, fmt.Errorf("%w: %s has %d layers, at most %d are read", ErrLimit, d.Digest, len(m.Layers), l.Layers)
	}
	var total int64
	for i, x := range m.Layers {
		if err := descriptor(x); err != nil {
			return nil, fmt.Errorf("%s: layers[%d]: %w", d.Digest, i, err)
		}
		if x.Digest == d.Digest {
			return nil, fmt.Errorf("%w: %s: layers[%d] is the manifest itself", ErrManifest, d.Digest, i)
		}
		if total += x.Size; x.Size > l.Bytes || total > l.Bytes {
			return nil, fmt.Errorf("%w: %s: the layers announce more than %d bytes", ErrLimit, d.Digest, l.Bytes)
		}
	}
	return &m, nil
}

// descriptor refuses what cannot be fetched safely.
func descriptor(d ocispec.Descriptor) error {
	if err := d.Digest.Validate(); err != nil || d.Digest.Algorithm() != digest.SHA256 {
		return fmt.Errorf("%w: the digest %.100q is not sha256 and 64 hex digits", ErrManifest, d.Digest)
	}
	if d.Size < 0 {
		return fmt.Errorf("%w: %s has the size %d", ErrManifest, d.Digest, d.Size)
	}
	return nil
}
