package weights

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"

	"golang.org/x/sync/errgroup"
)

// Comparison is the result of comparing a candidate with a baseline.
type Comparison struct {
	Relation Relation `json:"relation"`
	// Tensors is in the candidate's file order. It is empty where architecture,
	// shapes or vocabulary make the two incomparable.
	Tensors       []TensorDelta    `json:"tensors"`
	OnlyBaseline  []string         `json:"only_baseline"` // tensors, in file order
	OnlyCandidate []string         `json:"only_candidate"`
	Unreadable    []string         `json:"unreadable"` // tensors of a type that cannot be decoded, compared by bytes only
	Metadata      []MetadataChange `json:"metadata"`
	// NotFinite are the tensors of both sides with values that are no numbers,
	// also those that could not be compared.
	NotFinite []NotFinite `json:"not_finite"`
}

// NotFinite is a tensor with values that are NaN or infinite.
type NotFinite struct {
	Candidate bool   `json:"candidate"` // whose it is
	Name      string `json:"name"`
	Values    int64  `json:"values"` // that are no numbers
	First     int64  `json:"first"`  // index of the first of them; among those of both sides where the tensor was compared
}

// Compare reads both models once, in bounded memory. The result does not
// depend on the number of processors.
func Compare(ctx context.Context, baseline, candidate *Model) (*Comparison, error) {
	c := &Comparison{
		Tensors: []TensorDelta{}, OnlyBaseline: []string{}, OnlyCandidate: []string{}, Unreadable: []string{},
		Metadata: DiffMetadata(baseline.Metadata(), candidate.Metadata()), NotFinite: []NotFinite{},
	}
	names := c.match(baseline, candidate)
	if r, ok := incomparable(baseline, candidate, c, names); ok {
		c.Relation = r
		return c, c.numbers(ctx, baseline, candidate)
	}
	c.Tensors = make([]TensorDelta, len(names))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for i, name := range names {
		g.Go(func() error {
			p, err := newPair(gctx, baseline, candidate, name)
			switch {
			case err == nil:
				c.Tensors[i], err = p.delta(gctx, name)
			case errors.Is(err, ErrUnsupported):
				c.Tensors[i], err = bytesOnly(gctx, baseline, candidate, name)
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	for _, t := range c.Tensors {
		if t.BytesOnly {
			c.Unreadable = append(c.Unreadable, t.Name)
		}
	}
	c.Relation = relate(baseline, candidate, c)
	return c, c.numbers(ctx, baseline, candidate)
}

// numbers fills NotFinite: from the comparison, and for tensors that were not
// compared by reading them.
func (c *Comparison) numbers(ctx context.Context, baseline, candidate *Model) error {
	compared := map[string]*TensorDelta{}
	for i := range c.Tensors {
		compared[c.Tensors[i].Name] = &c.Tensors[i]
	}
	for _, m := range []*Model{baseline, candidate} {
		found := make([]NotFinite, len(m.Tensors()))
		g, gctx := errgroup.WithContext(ctx)
		g.SetLimit(runtime.GOMAXPROCS(0))
		for i, t := range m.Tensors() {
			x := &found[i]
			x.Candidate, x.Name, x.First = m == candidate, t.Name, -1
			if d := compared[t.Name]; d != nil && !d.BytesOnly && d.RowsBaseline+d.RowsCandidate == 0 && (m == candidate || d.Baseline == t.Name) {
				if x.Values, x.First = d.BadBaseline, d.FirstBad; m == candidate {
					x.Values = d.BadCandidate
				}
				continue
			}
			g.Go(func() error { return x.count(gctx, m) })
		}
		if err := g.Wait(); err != nil {
			return err
		}
		c.NotFinite = append(c.NotFinite, slices.DeleteFunc(found, func(x NotFinite) bool { return x.Values == 0 })...)
	}
	return nil
}

func (x *NotFinite) count(ctx context.Context, m *Model) error {
	i := int64(0)
	for row, err := range m.Rows(ctx, x.Name) {
		if errors.Is(err, ErrUnsupported) { // listed as unreadable
			return nil
		}
		if err != nil {
			return err
		}
		for _, v := range row {
			if v-v != 0 {
				if x.Values == 0 {
					x.First = i
				}
				x.Values++
			}
			i++
		}
	}
	return nil
}

// match fills the lists of tensors that one side lacks, and returns the
// candidate's names that have a partner of any shape.
func (c *Comparison) match(baseline, candidate *Model) (names []string) {
	for _, t := range candidate.Tensors() {
		if _, ok := baseline.Tensor(headOf(baseline, t.Name)); ok {
			names = append(names, t.Name)
		} else {
			c.OnlyCandidate = append(c.OnlyCandidate, t.Name)
		}
	}
	for _, t := range baseline.Tensors() {
		if _, ok := candidate.Tensor(t.Name); ok {
			continue
		}
		if _, ok := candidate.Tensor(Embedding); ok && t.Name == Output {
			names = append(names, Output) // the candidate's head is tied
			continue
		}
		c.OnlyBaseline = append(c.OnlyBaseline, t.Name)
	}
	return slices.Clip(names)
}

// bytesOnly compares what cannot be decoded.
func bytesOnly(ctx context.Context, baseline, candidate *Model, name string) (TensorDelta, error) {
	b, _ := baseline.Tensor(headOf(baseline, name))
	c, _ := candidate.Tensor(headOf(candidate, name))
	d := TensorDelta{
		Name: name, TensorName: ParseTensorName(name), Baseline: b.Name, Shape: c.Shape,
		BaselineType: b.Type.String(), CandidateType: c.Type.String(), Values: c.Values(),
		FirstBad: -1, BytesOnly: true,
	}
	_, upB, err := baseline.Factors(ctx, b.Name)
	if err != nil {
		return d, err
	}
	_, upC, err := candidate.Factors(ctx, c.Name)
	if err != nil || upB || upC || b.Type != c.Type || !sameShape(b, c) {
		return d, err
	}
	x, y := make([]byte, hashChunk), make([]byte, hashChunk)
	for off := int64(0); off < b.Size; off += hashChunk {
		if err := ctx.Err(); err != nil {
			return d, fmt.Errorf("comparing tensor %q: %w", name, err)
		}
		n := min(hashChunk, b.Size-off)
		if err := errors.Join(baseline.base.rawAt(b, off, x[:n]), candidate.base.rawAt(c, off, y[:n])); err != nil {
			return d, err
		}
		if !bytes.Equal(x[:n], y[:n]) {
			return d, nil
		}
	}
	d.SameBits = true
	return d, nil
}
