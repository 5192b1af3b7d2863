package convert

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/weighbridge/weighbridge/supply/intake"
	"github.com/weighbridge/weighbridge/supply/manifest"
	"github.com/weighbridge/weighbridge/supply/provenance"
	"github.com/weighbridge/weighbridge/supply/store"
	"github.com/weighbridge/weighbridge/weights/gguf"
)

// Kind is the Origin.Kind of conversions.
const Kind = "conversion"

// Builder is who makes conversions, as provenance names builders.
const Builder = "https://weighbridge.dev/builders/converter"

// RuleInvalid is the violation of a result that is no GGUF model.
const RuleInvalid = "conversion-invalid"

var _ intake.Source = (*Source)(nil)

// Source is the conversion of one admitted model, as a source of intakes.
type Source struct {
	Converter *Converter
	Store     *store.Store
	Model     *store.Entry

	digest string
}

// NewSource plans the conversion of e.
func NewSource(c *Converter, s *store.Store, e *store.Entry) (*Source, error) {
	d, err := c.Digest()
	if err != nil {
		return nil, err
	}
	return &Source{c, s, e, d}, nil
}

// Link is what the result's record says about where it was made from.
func (s *Source) Link() *store.Conversion {
	return &store.Conversion{Root: s.Model.Root, Identity: s.Model.Identity, Converter: s.digest}
}

// Limits bound what may come out of the box: tensors become at most as large as
// they are, except for small ones, and metadata comes on top.
func (s *Source) Limits() store.Limits {
	n := int64(1 << 30)
	for _, f := range s.Model.Files {
		n += 2 * f.Bytes
	}
	return store.Limits{File: n, Total: n + 1<<20, Files: 2}
}

// Origin implements intake.Source.
func (s *Source) Origin() store.Origin {
	return store.Origin{Kind: Kind, Location: s.Model.Identity + " by sha256:" + s.digest}
}

// Fetch implements intake.Source.
func (s *Source) Fetch(ctx context.Context, in *store.Intake) error {
	got, err := in.Add(ctx, store.File{
		Name: Name, Size: -1,
		Open: func(ctx context.Context, _ int64) (io.ReadCloser, error) {
			return s.Converter.run(ctx, s.Model, s.Store)
		},
	})
	if err != nil {
		return err
	}
	if err := valid(in); err != nil {
		return err
	}
	statement, err := s.provenance(in)
	if err != nil {
		return fmt.Errorf("writing the provenance of %s: %w", got.SHA256, err)
	}
	_, err = in.Add(ctx, store.File{
		Name: manifest.ProvenanceFile, Size: int64(len(statement)),
		Open: func(context.Context, int64) (io.ReadCloser, error) {
			return io.NopCloser(bytes.NewReader(statement)), nil
		},
	})
	return err
}

// valid parses what came out of the box.
func valid(in *store.Intake) error {
	f, err := in.Open(Name)
	if err != nil {
		return err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return err
	}
	_, err = gguf.Read(Name, f, st.Size(), gguf.Limits{})
	if errors.Is(err, gguf.ErrFormat) {
		return &store.Violation{Rule: RuleInvalid, Subject: Name, Detail: err.Error()}
	}
	return err
}

// provenance says where the result comes from. It has no times, so that the
// same conversion leaves the same bytes.
func (s *Source) provenance(in *store.Intake) ([]byte, error) {
	m, err := in.Manifest()
	if err != nil {
		return nil, err
	}
	d, err := provenance.NewDraft("model", m, provenance.Conversion, Builder)
	if err != nil {
		return nil, err
	}
	for _, x := range []provenance.Descriptor{
		{Role: provenance.BaseModel, Name: "source", Digest: map[string]string{
			"sha256": s.Model.Root, provenance.IdentityKey: strings.TrimPrefix(s.Model.Identity, "sha256:")}},
		{Role: provenance.Code, Name: "converter", Digest: map[string]string{"sha256": s.digest}},
	} {
		if _, err := d.Add(x); err != nil {
			return nil, err
		}
	}
	if err := d.Set("format=gguf"); err != nil {
		return nil, err
	}
	return d.Bytes()
}
