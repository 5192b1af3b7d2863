package harness

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"path/filepath"
	"slices"

	"github.com/weighbridge/weighbridge/probes"
	"github.com/weighbridge/weighbridge/record"
	"github.com/weighbridge/weighbridge/weights"
)

// pair is the two artifacts, open and compared.
type pair struct {
	*probes.Weights
	sameIDs bool
}

func identify(ctx context.Context, c Config) (*pair, error) {
	b, err := weights.Open(ctx, c.Baseline)
	if err != nil {
		return nil, fmt.Errorf("baseline: %w", err)
	}
	d, err := weights.Open(ctx, c.Candidate)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("candidate: %w", err), b.Close())
	}
	p := &pair{Weights: &probes.Weights{Baseline: b, Candidate: d}}
	if p.Comparison, err = weights.Compare(ctx, b, d); err != nil {
		return nil, errors.Join(fmt.Errorf("comparing the pair: %w", err), p.close())
	}
	// What the engine makes of such a baseline is no measure of anything.
	for _, x := range p.Comparison.NotFinite {
		if !x.Candidate {
			return nil, errors.Join(fmt.Errorf("%w: tensor %q holds %d values that are NaN or infinite; choose another baseline", ErrBaseline, x.Name, x.Values), p.close())
		}
	}
	if p.sameIDs, err = sameIDs(b, d); err != nil {
		return nil, errors.Join(err, p.close())
	}
	return p, nil
}

func (p *pair) close() error { return errors.Join(p.Baseline.Close(), p.Candidate.Close()) }

// recheck makes sure that what was identified is what ran.
func (p *pair) recheck() error { return errors.Join(p.Baseline.Recheck(), p.Candidate.Recheck()) }

// relative is the size of the difference as a part of the baseline's.
func (p *pair) relative() float64 {
	var w, d float64
	for _, t := range p.Comparison.Tensors {
		w += t.Norm * t.Norm
		d += t.DeltaNorm * t.DeltaNorm
	}
	if w == 0 || math.IsNaN(d) || math.IsInf(d, 0) {
		return 0
	}
	return math.Sqrt(d / w)
}

// sameIDs reports whether both tokenizers turn every text into the same ids.
func sameIDs(b, c *weights.Model) (bool, error) {
	x, err := b.Tokenizer()
	if err != nil {
		return false, fmt.Errorf("baseline: %w", err)
	}
	y, err := c.Tokenizer()
	if err != nil {
		return false, fmt.Errorf("candidate: %w", err)
	}
	return x.Model == y.Model && x.Pre == y.Pre &&
		slices.Equal(x.Tokens, y.Tokens) && slices.Equal(x.Types, y.Types) &&
		slices.Equal(x.Merges, y.Merges) && slices.Equal(x.Scores, y.Scores) &&
		maps.Equal(x.Flags, y.Flags), nil
}

// artifacts describes the files of one side for the record.
func artifacts(side string, m *weights.Model) []record.Artifact {
	var as []record.Artifact
	a, s := m.Artifact(), weights.Inspect(m)
	for i, f := range m.Files() {
		r := record.Artifact{Side: side, Role: "model", Name: filepath.Base(a.Model), Digest: "sha256:" + f.SHA256,
			Size: f.Bytes, Format: fmt.Sprintf("GGUF v%d", s.Version), Arch: s.Hyper.Architecture, Params: s.Values, Quant: tensorTypes(s.Types)}
		if i > 0 {
			r.Role, r.Name, r.Params, r.Quant, r.Format = "adapter", filepath.Base(a.Adapter), s.Adapter.Values, "", "GGUF LoRA"
		}
		as = append(as, r)
	}
	return as
}

// tensorTypes lists the tensor types, those with the most bytes first.
func tensorTypes(types []weights.TypeCount) string {
	types = slices.Clone(types)
	slices.SortStableFunc(types, func(a, b weights.TypeCount) int { return cmp.Compare(b.Bytes, a.Bytes) })
	var s string
	for i, t := range types {
		if i > 0 {
			s += ", "
		}
		s += t.Type
	}
	return s
}

// sameShapes reports whether tensors of the two sides can be told apart by
// value: they have the same shapes.
func sameShapes(p *pair) bool {
	return p.Comparison.Relation.Kind != weights.Unrelated
}
