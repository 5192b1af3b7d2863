package oci

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"slices"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/weighbridge/weighbridge/supply/manifest"
)

// Source is one artifact, chosen by its digest: what its tag points to later
// does not matter.
type Source struct {
	ref    Reference
	origin origin
	limits Limits
	chosen *selected
}

// File is one file of a model as it came.
type File struct {
	Path   string `json:"path"`
	SHA256 string `json:"sha256"`
	Bytes  int64  `json:"bytes"`
}

// Skipped is a document that refers to the model and was left out.
type Skipped struct {
	Digest digest.Digest `json:"digest"`
	Why    string        `json:"why"` // may hold text of the artifact
}

// Pulled says what came, and from where.
type Pulled struct {
	Reference string        `json:"reference"`
	Digest    digest.Digest `json:"digest"` // of the manifest
	Kind      Kind          `json:"kind"`
	Layers    []Layer       `json:"layers"`
	Files     []File        `json:"files"`    // of the model, by path
	Root      string        `json:"root"`     // OMS root of Files
	Evidence  []string      `json:"evidence"` // evidence files that were written
	Claims    int           `json:"claims"`   // lines of claims.jsonl
	Skipped   []Skipped     `json:"skipped,omitempty"`
}

// Open resolves a reference and reads its manifest. Close the source.
func Open(ctx context.Context, r Reference, c Client) (_ *Source, err error) {
	s := &Source{ref: r, limits: c.Limits.orDefault()}
	if r.Transport == Registry {
		s.origin = c.open(r)
	} else if s.origin, err = openLayout(r, s.limits); err != nil {
		return nil, err
	}
	if s.chosen, err = choose(ctx, s.origin, r.version(), s.limits); err != nil {
		s.origin.Close()
		return nil, fmt.Errorf("%s: %w", r, err)
	}
	s.ref.Digest = s.chosen.Digest
	return s, nil
}

// Reference is the source's, with the digest of the manifest that was chosen.
func (s *Source) Reference() Reference { return s.ref }

// Close ends the connections.
func (s *Source) Close() error { return s.origin.Close() }

// sink takes the files of a model.
type sink interface {
	// layer takes a raw layer whose content open gives from any offset on.
	layer(ctx context.Context, name string, d ocispec.Descriptor, open func(offset int64) io.ReadCloser) error
	// packed keeps an archive until it is closed and gives its verified bytes.
	packed(ctx context.Context, d ocispec.Descriptor, open func(offset int64) io.ReadCloser) (io.ReadCloser, error)
	// stream takes a file whose digest nobody knows yet, and gives it.
	stream(ctx context.Context, name string, size int64, r io.Reader) (sha256 string, err error)
}

// run is one passage of a source into a sink.
type run struct {
	*Source
	sink  sink
	files []File
	bytes int64
	held  map[string][]byte // evidence files that came as layers
}

// into brings everything into the sink. A name that comes twice is the sink's
// to refuse.
func (s *Source) into(ctx context.Context, k sink) (*Pulled, error) {
	r := &run{Source: s, sink: k, held: map[string][]byte{}}
	for i, l := range s.chosen.layers {
		if err := r.layer(ctx, l); err != nil {
			return nil, fmt.Errorf("%s: layers[%d]: %w", s.ref, i, err)
		}
	}
	p := &Pulled{Reference: s.ref.String(), Digest: s.chosen.Digest, Kind: s.chosen.kind, Layers: s.chosen.layers, Files: r.files}
	slices.SortFunc(p.Files, func(a, b File) int { return bytes.Compare([]byte(a.Path), []byte(b.Path)) })
	var m manifest.Manifest
	for _, f := range p.Files {
		raw, err := hex.DecodeString(f.SHA256)
		if err != nil {
			return nil, err
		}
		m.Resources = append(m.Resources, manifest.Resource{Name: f.Path, Digest: raw, Size: f.Bytes})
	}
	if len(m.Resources) == 0 {
		return nil, fmt.Errorf("%s: %w: it holds no files", s.ref, ErrManifest)
	}
	p.Root = m.Root()
	e, err := s.evidence(ctx, r.held, []string{m.Root(), m.PythonRoot()})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.ref, err)
	}
	p.Skipped, p.Claims = e.skipped, e.claims
	for _, name := range manifest.EvidenceFiles {
		if src, ok := e.files[name]; ok {
			if _, err := k.stream(ctx, name, int64(len(src)), bytes.NewReader(src)); err != nil {
				return nil, err
			}
			p.Evidence = append(p.Evidence, name)
		}
	}
	return p, nil
}

func (r *run) layer(ctx context.Context, l Layer) error {
	d := ocispec.Descriptor{MediaType: l.MediaType, Digest: l.Digest, Size: l.Size}
	open := func(offset int64) io.ReadCloser { return openBlob(ctx, r.origin, d, offset, r.limits) }
	if l.packing == raw {
		if slices.Contains(manifest.EvidenceFiles, l.Path) {
			src, err := fetchSmall(ctx, r.origin, d, r.limits)
			r.held[l.Path] = src
			return err
		}
		if err := r.count(l.Size); err != nil {
			return err
		}
		r.files = append(r.files, File{l.Path, l.Digest.Encoded(), l.Size})
		return r.sink.layer(ctx, l.Path, d, open)
	}
	src, err := r.sink.packed(ctx, d, open)
	if err != nil {
		return err
	}
	defer src.Close()
	return unpack(ctx, src, l.packing, l.Size, r.limits.Ratio, func(name string, size int64, content io.Reader) error {
		if slices.Contains(manifest.EvidenceFiles, name) {
			return r.hold(name, size, content)
		}
		if err := r.count(size); err != nil {
			return err
		}
		sum, err := r.sink.stream(ctx, name, size, content)
		r.files = append(r.files, File{name, sum, size})
		return err
	})
}

// count keeps to the limits of all files together.
func (r *run) count(size int64) error {
	if len(r.files) >= r.limits.Files {
		return fmt.Errorf("%w: more than %d files", ErrLimit, r.limits.Files)
	}
	if r.bytes += size; size < 0 || r.bytes > r.limits.Bytes {
		return fmt.Errorf("%w: more than %d bytes of files", ErrLimit, r.limits.Bytes)
	}
	return nil
}

// hold keeps an evidence file until those that refer to the model are there.
func (r *run) hold(name string, size int64, content io.Reader) error {
	if _, twice := r.held[name]; twice {
		return fmt.Errorf("%w: %s comes twice", ErrArchive, name)
	}
	if size > r.limits.Evidence {
		return fmt.Errorf("%w: %s has %d bytes, at most %d are read", ErrLimit, name, size, r.limits.Evidence)
	}
	src, err := io.ReadAll(io.LimitReader(content, r.limits.Evidence))
	r.held[name] = src
	return err
}

// sum is the SHA-256 as hex.
func sum(src []byte) string {
	s := sha256.Sum256(src)
	return hex.EncodeToString(s[:])
}
