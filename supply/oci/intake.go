package oci

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/weighbridge/weighbridge/supply/intake"
	"github.com/weighbridge/weighbridge/supply/store"
)

var _ intake.Source = (*Source)(nil)

// The rules of an artifact that is refused, besides those of package store.
const (
	RuleManifest    = "oci-manifest"   // it cannot be read, or says two things
	RuleMediaType   = "oci-media-type" // of a layer that no rule of import knows
	RuleArchive     = "archive-unsafe" // a tar with links, devices or names that lead outside
	RuleCompression = "archive-bomb"   // compressed more than is plausible
	RuleReferrers   = "oci-referrers"  // what refers to the model cannot be listed
)

// Origin names the artifact with the digest of its manifest.
func (s *Source) Origin() store.Origin { return store.Origin{Kind: "oci", Location: s.ref.String()} }

// Fetch brings the artifact and what refers to it into the store's quarantine.
// What the artifact gets wrong is a *store.Violation, what the registry does is
// an error of this package.
func (s *Source) Fetch(ctx context.Context, in *store.Intake) error {
	_, err := s.into(ctx, quarantine{in})
	return violation(s.ref, err)
}

// violation tells the artifact's faults from the registry's.
func violation(r Reference, err error) error {
	var v *store.Violation
	if err == nil || errors.As(err, &v) {
		return err
	}
	for _, x := range []struct {
		err  error
		rule string
	}{
		{ErrDigest, store.RuleDigest}, {ErrSize, store.RuleSize}, {ErrLimit, store.RuleTooLarge},
		{ErrManifest, RuleManifest}, {ErrMediaType, RuleMediaType}, {ErrArchive, RuleArchive},
		{ErrCompression, RuleCompression}, {ErrReferrers, RuleReferrers},
	} {
		if errors.Is(err, x.err) {
			return fmt.Errorf("%w: %w", err, &store.Violation{Rule: x.rule, Subject: r.String(), Detail: err.Error()})
		}
	}
	return err
}

// quarantine is a store's intake as a sink.
type quarantine struct{ *store.Intake }

func (q quarantine) layer(ctx context.Context, name string, d ocispec.Descriptor, open func(int64) io.ReadCloser) error {
	_, err := q.Add(ctx, store.File{
		Name: name, Size: d.Size, SHA256: d.Digest.Encoded(), Resumable: true,
		Open: func(_ context.Context, offset int64) (io.ReadCloser, error) { return open(offset), nil },
	})
	return err
}

// packed keeps the archive as a blob of the store, which nothing names and the
// garbage collection takes.
func (q quarantine) packed(ctx context.Context, d ocispec.Descriptor, open func(int64) io.ReadCloser) (io.ReadCloser, error) {
	have, err := q.Store().HasBlob(d.Digest.Encoded())
	if err != nil {
		return nil, err
	}
	if !have {
		body := open(0)
		defer body.Close()
		if _, _, err := q.Store().Put(ctx, body, d.Digest.Encoded(), d.Size); err != nil {
			return nil, err
		}
	}
	var f *os.File
	f, _, err = q.Store().OpenBlob(d.Digest.Encoded())
	return f, err
}

func (q quarantine) stream(ctx context.Context, name string, size int64, r io.Reader) (string, error) {
	got, err := q.Add(ctx, store.File{
		Name: name, Size: size,
		Open: func(context.Context, int64) (io.ReadCloser, error) { return io.NopCloser(r), nil },
	})
	return got.SHA256, err
}

// HasScheme reports whether a source is named in one of this package's schemes:
// oci://HOST/REPOSITORY, oci:FOLDER or oci-archive:FILE.
func HasScheme(source string) bool {
	return strings.HasPrefix(source, schemeLayout) || strings.HasPrefix(source, schemeArchive)
}
