package provenance

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"os"
	"slices"

	"github.com/weighbridge/weighbridge/weights"
	"github.com/weighbridge/weighbridge/weights/gguf"
	"github.com/weighbridge/weighbridge/weights/quant"
)

// raw gives the stored bytes of tensors.
type raw struct {
	f *os.File
	g *gguf.File
}

func openRaw(path string) (*raw, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	fi, err := f.Stat()
	if err == nil {
		var g *gguf.File
		if g, err = gguf.Read(path, f, fi.Size(), gguf.Limits{}); err == nil {
			return &raw{f, g}, nil
		}
	}
	f.Close()
	return nil, err
}

func (r *raw) at(t gguf.Tensor, off int64, p []byte) error {
	if _, err := r.f.ReadAt(p, t.Offset+off); err != nil {
		return fmt.Errorf("reading tensor %q: %w", t.Name, err)
	}
	return nil
}

// The ways to sum W + s·B·A that a merge may have taken. Both start from W as
// float32 and end with one rounding to the candidate's type.
const (
	inFloat32 = iota // Σ over the rank in order, then ·s, then + W, each rounded to float32
	inFloat64        // all of it in float64, rounded to float32 once
	arithmetics
)

var arithmeticNames = [arithmetics]string{" in float32", " in float64"}

// outcome is what came of one tensor.
type outcome struct {
	name     string
	missing  string // why there is nothing to compare: the tensor's problem
	search   string // why it cannot be computed
	kept     bool   // the stored bytes are the baseline's
	updated  bool   // an adapter acts on it
	odd      string // the type, where it is not the recipe's
	blocks   int64
	unequal  [arithmetics]int64 // blocks with other bits
	first    [arithmetics]int64 // index of the first such block
	beyond   int64              // values further off than rounding explains, in float64
	beyondAt int64              // block of the first
	largest  float64            // |difference| of values
	ulps     float64            // largest difference over what rounding explains
}

// remake compares one tensor of the candidate with what the recipe gives.
type remake struct {
	b          *weights.Model
	rawB, rawC *raw
	c          gguf.Tensor
	recipe     *Recipe

	up        *weights.LowRank
	row, mags []float32
	sums      []float64
}

func (m *remake) run(ctx context.Context) (o outcome, err error) {
	o = outcome{name: m.c.Name}
	b, ok := m.b.Tensor(m.c.Name)
	switch {
	case !ok:
		o.missing = "the candidate has this tensor and the baseline has not"
		return o, nil
	case !slices.Equal(b.Shape, m.c.Shape):
		o.missing = fmt.Sprintf("its shape is %v, the baseline's %v", m.c.Shape, b.Shape)
		return o, nil
	}
	if m.up, o.updated, err = m.b.Factors(ctx, b.Name); err != nil {
		return o, err
	}
	if b.Type == m.c.Type && !o.updated {
		if o.kept, err = m.sameBytes(ctx, b); o.kept || err != nil {
			return o, err
		}
	}
	switch {
	case !m.c.Type.CanQuantize() || m.c.Type.Searched():
		o.search = fmt.Sprintf("the scales of %s are chosen by search", m.c.Type)
		return o, nil
	case !b.Type.CanDequantize():
		o.search = fmt.Sprintf("the baseline's %s cannot be decoded", b.Type)
		return o, nil
	}
	o.odd = m.odd()
	return o, m.rows(ctx, &o)
}

// odd names the tensor's type where the recipe says another. Vectors, and rows
// that are no whole blocks, stay float whatever the recipe says.
func (m *remake) odd() string {
	want := m.recipe.Types[m.c.Name]
	if want == "" {
		want = m.recipe.Type
	}
	t, err := quant.ParseType(want)
	if want == "" || err != nil || t == m.c.Type || len(m.c.Shape) < 2 || m.c.Shape[0]%uint64(t.BlockValues()) != 0 {
		return ""
	}
	return m.c.Type.String()
}

const rawChunk = 1 << 20

func (m *remake) sameBytes(ctx context.Context, b gguf.Tensor) (bool, error) {
	x, y := make([]byte, min(rawChunk, b.Size)), make([]byte, min(rawChunk, b.Size))
	for off := int64(0); off < b.Size; off += rawChunk {
		if err := ctx.Err(); err != nil {
			return false, err
		}
		n := min(rawChunk, b.Size-off)
		if err := m.rawB.at(b, off, x[:n]); err != nil {
			return false, err
		}
		if err := m.rawC.at(m.c, off, y[:n]); err != nil {
			return false, err
		}
		if !bytes.Equal(x[:n], y[:n]) {
			return false, nil
		}
	}
	return true, nil
}

func (m *remake) rows(ctx context.Context, o *outcome) error {
	n := m.c.RowBytes()
	got, want := make([]byte, n), make([]byte, n)
	perRow := int64(m.c.Cols() / m.c.Type.BlockValues())
	o.first = [arithmetics]int64{-1, -1}
	o.beyondAt = -1
	i := 0
	for w, err := range m.b.StoredRows(ctx, m.c.Name) {
		if err != nil {
			return err
		}
		if err := m.rawC.at(m.c, int64(i)*int64(n), got); err != nil {
			return err
		}
		for a := range arithmetics {
			if m.up == nil && a != inFloat64 {
				continue // without an adapter there is nothing to sum
			}
			if err := quant.Quantize(m.c.Type, want, m.merged(a, i, w)); err != nil {
				return err
			}
			if bytes.Equal(got, want) {
				continue
			}
			m.blocks(o, a, int64(i)*perRow, got, want)
			if a == inFloat64 {
				if err := m.distance(o, int64(i)*perRow, got, want); err != nil {
					return err
				}
			}
		}
		i++
	}
	o.blocks = perRow * int64(i)
	if m.up == nil {
		o.unequal[inFloat32], o.first[inFloat32] = o.unequal[inFloat64], o.first[inFloat64]
	}
	return nil
}

// blocks counts the blocks of one row that differ; at is the index of its first.
func (m *remake) blocks(o *outcome, a int, at int64, got, want []byte) {
	n := m.c.Type.BlockBytes()
	for k := 0; k < len(got); k += n {
		if bytes.Equal(got[k:k+n], want[k:k+n]) {
			continue
		}
		if o.unequal[a] == 0 {
			o.first[a] = at + int64(k/n)
		}
		o.unequal[a]++
	}
}

// merged is row i of what the recipe gives, as float32.
func (m *remake) merged(arithmetic, i int, w []float32) []float32 {
	if m.up == nil {
		return w
	}
	m.row = append(m.row[:0], w...)
	left := m.up.Left[i*m.up.Rank : (i+1)*m.up.Rank]
	cols := m.up.Cols
	if arithmetic == inFloat32 {
		m.mags = append(m.mags[:0], make([]float32, cols)...)
		for r, c := range left {
			for j, v := range m.up.Right[r*cols : (r+1)*cols] {
				m.mags[j] += float32(c * v)
			}
		}
		for j, d := range m.mags {
			m.row[j] += float32(d * float32(m.up.Scale))
		}
		return m.row
	}
	m.sums = append(m.sums[:0], make([]float64, 2*cols)...)
	sums, mags := m.sums[:cols], m.sums[cols:]
	for r, c := range left {
		for j, v := range m.up.Right[r*cols : (r+1)*cols] {
			p := float64(c) * float64(v)
			sums[j] += p
			mags[j] += math.Abs(p)
		}
	}
	for j := range m.row {
		mags[j] = math.Abs(float64(w[j])) + math.Abs(m.up.Scale)*mags[j]
		m.row[j] = float32(float64(w[j]) + float64(m.up.Scale*sums[j]))
	}
	return m.row
}

// unit is half the distance between neighbouring values of a float type,
// relative and, below its normal numbers, absolute.
func unit(t quant.Type) (relative, absolute float64) {
	switch t {
	case quant.F16:
		return 0x1p-11, 0x1p-25
	case quant.BF16:
		return 0x1p-8, 0x1p-134
	}
	return 0x1p-24, 0x1p-150
}

// distance measures a row that differs, after merged in float64 filled mags.
//
// A merge rounds B·A, the product with s and the sum, each by one unit of the
// type it computes in (four with ours), and the sum over the rank by as many
// units of float32 as it has terms (Higham, Accuracy and Stability of Numerical
// Algorithms, 3.1). Block types may then choose the neighbouring value.
func (m *remake) distance(o *outcome, at int64, got, want []byte) error {
	cols := m.c.Cols()
	values := make([]float32, 2*cols)
	g, w := values[:cols], values[cols:]
	if err := quant.Dequantize(m.c.Type, g, got); err != nil {
		return err
	}
	if err := quant.Dequantize(m.c.Type, w, want); err != nil {
		return err
	}
	steps := make([]float32, cols)
	if m.c.Type.BlockValues() > 1 {
		if err := quant.Steps(m.c.Type, steps, want); err != nil {
			return err
		}
	}
	relative, absolute := unit(m.c.Type)
	if m.c.Type.BlockValues() > 1 {
		relative, absolute = 0x1p-11, 0 // of the block's scale, a binary16
	}
	for j := range g {
		d := math.Abs(float64(g[j]) - float64(w[j]))
		if g[j] == w[j] {
			continue
		}
		allowed := 0.0
		if m.up != nil {
			allowed = (4*relative+float64(m.up.Rank+2)*0x1p-24)*m.sums[cols+j] + 4*absolute + float64(steps[j])
		}
		if d > o.largest || d-d != 0 {
			o.largest = d
		}
		if allowed > 0 {
			o.ulps = max(o.ulps, d/allowed)
		}
		if !(d <= allowed) {
			if o.beyond == 0 {
				o.beyondAt = at + int64(j/m.c.Type.BlockValues())
			}
			o.beyond++
		}
	}
	return nil
}
