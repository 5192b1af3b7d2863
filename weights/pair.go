package weights

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	"github.com/weighbridge/weighbridge/weights/gguf"
	"github.com/weighbridge/weighbridge/weights/quant"
)

// pair is one tensor of both models, of equal shape.
type pair struct {
	base, cand *Model
	b, c       gguf.Tensor
	sameFile   bool     // the two files have the same bytes
	upB, upC   *LowRank // updates by adapters, or nil
	// moreB and moreC are rows at the end of one side's table of tokens that b and
	// c leave out.
	moreB, moreC int64
}

// newPair looks name up in both models. Where the candidate has an output head
// of its own and the baseline's is tied to the embedding, the two are paired,
// and the other way round.
func newPair(ctx context.Context, base, cand *Model, name string) (*pair, error) {
	p := &pair{base: base, cand: cand, sameFile: base.base.sha256 == cand.base.sha256}
	var err error
	if p.b, err = base.base.tensor(headOf(base, name)); err != nil {
		return nil, err
	}
	if p.c, err = cand.base.tensor(headOf(cand, name)); err != nil {
		return nil, err
	}
	if sameTable(p.b, p.c) {
		rows := min(p.b.Rows(), p.c.Rows())
		p.moreB, p.moreC = int64(p.b.Rows()-rows), int64(p.c.Rows()-rows)
		p.b, p.c = firstRows(p.b, rows), firstRows(p.c, rows)
	}
	if !sameShape(p.b, p.c) {
		return nil, fmt.Errorf("tensor %q: shapes %v and %v differ: %w", name, p.b.Shape, p.c.Shape, ErrMissing)
	}
	if p.upB, _, err = base.Factors(ctx, p.b.Name); err != nil {
		return nil, err
	}
	if p.upC, _, err = cand.Factors(ctx, p.c.Name); err != nil {
		return nil, err
	}
	return p, nil
}

// headOf maps the output head to the tensor that serves as one in m.
func headOf(m *Model, name string) string {
	if name == Output {
		name, _ = m.OutputHead()
	}
	return name
}

// sameTable reports that two tables of tokens differ in the number of tokens at
// most.
func sameTable(a, b gguf.Tensor) bool {
	table := func(t gguf.Tensor) bool { return (t.Name == Embedding || t.Name == Output) && len(t.Shape) == 2 }
	return table(a) && table(b) && a.Cols() == b.Cols()
}

// firstRows is t up to a row.
func firstRows(t gguf.Tensor, rows int) gguf.Tensor {
	size := int64(t.RowBytes()) * int64(rows)
	t.Shape, t.Size = []uint64{t.Shape[0], uint64(rows)}, size
	return t
}

func sameShape(a, b gguf.Tensor) bool { return slices.Equal(a.Shape, b.Shape) }

// run is a run of whole rows of a pair. Slices are reused.
type run struct {
	first, rows int
	rawB, rawC  []byte
	b, c        []float32 // stored values; the same slice where sameBytes
	upB, upC    []float32 // what adapters add; nil without
	sameBytes   bool
}

// runs reads the pair from the first row to the last, once.
func (p *pair) runs(ctx context.Context, do func(*run) error) error {
	n := chunkRows(p.b)
	cols := p.b.Cols()
	cBytes, cVals := make([]byte, n*p.c.RowBytes()), make([]float32, n*cols)
	var upB, upC []float32
	if p.upB != nil {
		upB = make([]float32, n*cols)
	}
	if p.upC != nil {
		upC = make([]float32, n*cols)
	}
	same := p.sameFile && p.b.Name == p.c.Name
	return p.base.base.chunks(ctx, p.b, func(first int, raw []byte, values []float32) error {
		k := len(values) / cols
		r := &run{first: first, rows: k, rawB: raw, rawC: raw, b: values, c: values, sameBytes: true}
		if !same {
			r.rawC = cBytes[:k*p.c.RowBytes()]
			if err := p.cand.base.raw(p.c, first, r.rawC); err != nil {
				return err
			}
			r.sameBytes = p.b.Type == p.c.Type && bytes.Equal(r.rawB, r.rawC)
		}
		if !r.sameBytes {
			r.c = cVals[:k*cols]
			if err := quant.Dequantize(p.c.Type, r.c, r.rawC); err != nil {
				return fmt.Errorf("%s: tensor %q: %w", p.cand.base.path, p.c.Name, err)
			}
		}
		r.upB, r.upC = updates(p.upB, upB, first, k), updates(p.upC, upC, first, k)
		return do(r)
	})
}

// updates fills buf with rows first to first+k of l.
func updates(l *LowRank, buf []float32, first, k int) []float32 {
	if l == nil {
		return nil
	}
	buf = buf[:k*l.Cols]
	clear(buf)
	for i := range k {
		l.AddRow(first+i, buf[i*l.Cols:(i+1)*l.Cols])
	}
	return buf
}

// at returns value i of the effective weights of both sides and ΔW. ΔW is
// summed apart, so that an adapter's update is not lost in the rounding of W.
func (r *run) at(i int) (w, wc, delta float64) {
	b, c := float64(r.b[i]), float64(r.c[i])
	delta = c - b
	if r.upB != nil {
		u := float64(r.upB[i])
		b += u
		delta -= u
	}
	if r.upC != nil {
		u := float64(r.upC[i])
		c += u
		delta += u
	}
	return b, c, delta
}
