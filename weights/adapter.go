package weights

import (
	"context"
	"fmt"
	"strings"

	"github.com/weighbridge/weighbridge/weights/gguf"
)

const (
	maxRank   = 64 << 10
	maxFactor = 256 << 20 // values in one factor
)

// Adapter is an opened GGUF LoRA adapter, read by llama.cpp's conventions.
type Adapter struct {
	Alpha   float32       // adapter.lora.alpha; 0 means that alpha/rank counts as 1
	Scale   float32       // the artifact's factor
	Pairs   []AdapterPair // in the order of the adapter file
	Ignored []string      // norm vectors, which the engine does not apply

	lora  *gguf.File
	index map[string]int
}

// AdapterPair updates one tensor of the model: ΔW = Scale · B·A.
type AdapterPair struct {
	Tensor string  `json:"tensor"`
	Rank   int     `json:"rank"`
	Scale  float64 `json:"scale"` // alpha/rank × the artifact's factor
	// A has ggml shape [in, rank] and B [rank, out]. For the embedding the
	// engine reads them the other way round: A [rank, tokens], B [rank, width].
	A, B gguf.Tensor `json:"-"`
}

// newAdapter reads the pairs; whether they fit a model is fits' question.
func newAdapter(f *gguf.File, scale float32) (*Adapter, error) {
	if kind, _ := f.Meta.String("general.type"); kind != "adapter" {
		return nil, fmt.Errorf("%w: %s is no adapter: general.type is %q", ErrArtifact, f.Name, kind)
	}
	if kind, _ := f.Meta.String("adapter.type"); kind != "lora" {
		return nil, fmt.Errorf("%w: %s: adapter.type is %q, not \"lora\"", ErrUnsupported, f.Name, kind)
	}
	if _, ok := f.Meta.Get("adapter.alora.invocation_tokens"); ok {
		return nil, fmt.Errorf("%w: %s is an activated LoRA, which acts only after certain tokens", ErrUnsupported, f.Name)
	}
	a := &Adapter{Scale: scale, lora: f, index: map[string]int{}}
	if v, ok := f.Meta.Get("adapter.lora.alpha"); ok {
		if a.Alpha, ok = v.Data.(float32); !ok || a.Alpha-a.Alpha != 0 {
			return nil, fmt.Errorf("%s: adapter.lora.alpha: %s %v is no finite float32: %w", f.Name, v.TypeName(), v.Data, ErrFormat)
		}
	}
	for _, t := range f.Tensors {
		name, isA := strings.CutSuffix(t.Name, ".lora_a")
		if !isA {
			var isB bool
			if name, isB = strings.CutSuffix(t.Name, ".lora_b"); !isB {
				if strings.HasSuffix(t.Name, "_norm.weight") {
					a.Ignored = append(a.Ignored, t.Name)
					continue
				}
				return nil, fmt.Errorf("%s: tensor %q is neither .lora_a nor .lora_b: %w", f.Name, t.Name, ErrFormat)
			}
		}
		i, ok := a.index[name]
		if !ok {
			i = len(a.Pairs)
			a.index[name] = i
			a.Pairs = append(a.Pairs, AdapterPair{Tensor: name})
		}
		if isA {
			a.Pairs[i].A = t
		} else {
			a.Pairs[i].B = t
		}
	}
	if len(a.Pairs) == 0 {
		return nil, fmt.Errorf("%s: LoRA tensors: %w", f.Name, ErrMissing)
	}
	for i := range a.Pairs {
		if err := a.Pairs[i].complete(f.Name, a.Alpha, scale); err != nil {
			return nil, err
		}
	}
	return a, nil
}

func (p *AdapterPair) complete(file string, alpha, scale float32) error {
	for _, half := range []struct {
		name string
		t    gguf.Tensor
	}{{".lora_a", p.A}, {".lora_b", p.B}} {
		switch {
		case half.t.Name == "":
			return fmt.Errorf("%s: tensor %q: %w", file, p.Tensor+half.name, ErrMissing)
		case len(half.t.Shape) != 2:
			return fmt.Errorf("%s: tensor %q has %d dimensions, 2 are supported: %w", file, half.t.Name, len(half.t.Shape), ErrUnsupported)
		case !half.t.Type.CanDequantize():
			return fmt.Errorf("%s: tensor %q of %s: %w", file, half.t.Name, half.t.Type, ErrUnsupported)
		case half.t.Values() > maxFactor || half.t.Cols() > maxCols:
			return fmt.Errorf("%s: tensor %q has %d values, more than %d: %w", file, half.t.Name, half.t.Values(), maxFactor, ErrUnsupported)
		}
	}
	p.Rank = p.B.Cols()
	rank := p.A.Rows()
	if p.Tensor == Embedding {
		rank = p.A.Cols()
	}
	if p.Rank != rank || p.Rank > maxRank {
		return fmt.Errorf("%s: the factors of %q have shapes %v and %v, which share no rank up to %d: %w", file, p.Tensor, p.A.Shape, p.B.Shape, maxRank, ErrFormat)
	}
	p.Scale = float64(scale)
	if alpha != 0 {
		p.Scale = float64(scale * alpha / float32(p.Rank)) // in float32, as the engine
	}
	if p.Scale-p.Scale != 0 {
		return fmt.Errorf("%s: alpha %v and scale %v make a factor that is not finite: %w", file, alpha, scale, ErrFormat)
	}
	return nil
}

// fits checks the adapter against the model it is to be applied to.
func (a *Adapter) fits(lora, base *gguf.File) error {
	want, _ := base.Meta.String("general.architecture")
	if got, _ := lora.Meta.String("general.architecture"); got != want {
		return fmt.Errorf("%w: %s is for architecture %q, %s has %q", ErrMismatch, lora.Name, got, base.Name, want)
	}
	for _, p := range a.Pairs {
		w, ok := base.Tensor(p.Tensor)
		if !ok {
			return fmt.Errorf("%w: %s updates tensor %q, which %s lacks", ErrMismatch, lora.Name, p.Tensor, base.Name)
		}
		rows, cols := p.shape()
		if len(w.Shape) > 2 || w.Rows() != rows || w.Cols() != cols {
			return fmt.Errorf("%w: %s updates tensor %q as [%d %d], %s has %v", ErrMismatch, lora.Name, p.Tensor, cols, rows, base.Name, w.Shape)
		}
	}
	return nil
}

// shape returns the shape of ΔW.
func (p AdapterPair) shape() (rows, cols int) {
	if p.Tensor == Embedding {
		return p.A.Rows(), p.B.Rows()
	}
	return p.B.Rows(), p.A.Cols()
}

// LowRank is the matrix Scale · Left·Right, as an adapter stores it.
type LowRank struct {
	Rows, Cols, Rank int
	Scale            float64
	Left             []float32 // Rows × Rank, row-major
	Right            []float32 // Rank × Cols, row-major
}

// AddRow adds row i of the matrix to dst, whose length is Cols. Sums run over
// the rank in order, in float32.
func (l *LowRank) AddRow(i int, dst []float32) {
	left := l.Left[i*l.Rank : (i+1)*l.Rank]
	for r, c := range left {
		c *= float32(l.Scale)
		right := l.Right[r*l.Cols : (r+1)*l.Cols]
		for j, v := range right[:len(dst)] {
			dst[j] += float32(c * v)
		}
	}
}

// Factors reads the update of one tensor by the adapter; ok is false when there
// is none. The result may be shared and must not be changed.
func (m *Model) Factors(ctx context.Context, name string) (f *LowRank, ok bool, err error) {
	if m.adapter == nil {
		return nil, false, nil
	}
	i, ok := m.adapter.index[name]
	if !ok {
		return nil, false, nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.lastName == name {
		return m.last, true, nil
	}
	p := m.adapter.Pairs[i]
	left, right := p.B, p.A
	if name == Embedding {
		left, right = p.A, p.B
	}
	rows, cols := p.shape()
	f = &LowRank{Rows: rows, Cols: cols, Rank: p.Rank, Scale: p.Scale}
	if f.Left, err = m.lora.all(ctx, left); err != nil {
		return nil, false, err
	}
	if f.Right, err = m.lora.all(ctx, right); err != nil {
		return nil, false, err
	}
	if name == Embedding { // B is [rank, width] with the rank contiguous
		f.Right = transpose(f.Right, cols, p.Rank)
	}
	m.lastName, m.last = name, f
	return f, true, nil
}

func (s *source) all(ctx context.Context, t gguf.Tensor) ([]float32, error) {
	out := make([]float32, 0, t.Values())
	err := s.chunks(ctx, t, func(_ int, _ []byte, values []float32) error {
		out = append(out, values...)
		return nil
	})
	return out, err
}

// transpose turns a rows × cols matrix round.
func transpose(a []float32, rows, cols int) []float32 {
	out := make([]float32, len(a))
	for i := range rows {
		for j := range cols {
			out[j*rows+i] = a[i*cols+j]
		}
	}
	return out
}
