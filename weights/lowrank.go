package weights

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"runtime"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/weighbridge/weighbridge/weights/gguf"
	"github.com/weighbridge/weighbridge/weights/quant"
)

// LowRankOptions configures WriteLowRank.
type LowRankOptions struct {
	Rank   int    // largest rank of one tensor; 0 means 32
	Values int64  // values of all tensors that are decomposed together, those that moved most first; 0 means all
	Seed   uint64 // of the random directions
}

// Kept says how much of ΔW an adapter of low rank holds.
type Kept struct {
	Tensors int     // updated by the adapter
	Moved   int     // tensors that differ
	Energy  float64 // Σ‖kept‖²_F / Σ‖ΔW‖²_F over all tensors that differ, 0…1
}

// edgeSlack widens the edge below which a singular value is taken for noise:
// finite matrices exceed the Marchenko-Pastur edge by a few per cent.
const edgeSlack = 1.1

// WriteLowRank writes ΔW as a GGUF LoRA adapter for the baseline: per matrix of
// the layers, and for an output head of its own, the leading singular triplets
// that stand out of the rest (above s·(√m+√n) for a rest of standard deviation
// s per entry, the edge of a random matrix: Marchenko and Pastur 1967), at most
// Rank of them. Embeddings and norms are left out, and so is a matrix
// without such a triplet. It gives ErrMissing when nothing is kept. Equal
// arguments give equal bytes.
func WriteLowRank(ctx context.Context, w io.Writer, baseline, candidate *Model, c *Comparison, o LowRankOptions) (Kept, error) {
	if o.Rank <= 0 {
		o.Rank = 32
	}
	var kept Kept
	var all float64
	budget := o.Values
	var chosen []*TensorDelta
	byChange := make([]*TensorDelta, len(c.Tensors))
	for i := range c.Tensors {
		byChange[i] = &c.Tensors[i]
	}
	slices.SortStableFunc(byChange, func(a, b *TensorDelta) int { return -cmp.Compare(a.Relative, b.Relative) })
	for _, t := range byChange {
		if t.SameBits || t.BytesOnly || t.DeltaNorm == 0 {
			continue
		}
		kept.Moved++
		all += t.DeltaNorm * t.DeltaNorm
		if len(t.Shape) != 2 || t.Layer < 0 && (t.Name != Output || t.Baseline != Output) {
			continue
		}
		if o.Values > 0 {
			if t.Values > budget {
				continue
			}
			budget -= t.Values
		}
		chosen = append(chosen, t)
	}
	factors := make([]*factorPair, len(chosen))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for i, t := range chosen {
		g.Go(func() error {
			s, err := DeltaSpectrum(gctx, baseline, candidate, t.Name, SpectrumOptions{K: o.Rank, Seed: o.Seed})
			if errors.Is(err, ErrUnsupported) {
				return nil
			}
			if err != nil {
				return fmt.Errorf("decomposing the change of tensor %q: %w", t.Name, err)
			}
			factors[i], err = s.factorPair()
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return kept, err
	}
	arch, _ := baseline.Metadata().String("general.architecture")
	meta := []gguf.KV{
		{Key: "general.architecture", Value: gguf.V(arch)}, {Key: "general.type", Value: gguf.V("adapter")},
		{Key: "adapter.type", Value: gguf.V("lora")}, {Key: "adapter.lora.alpha", Value: gguf.V(float32(0))},
	}
	var sources []gguf.Source
	var energy float64
	for i, f := range factors {
		if f == nil {
			continue
		}
		kept.Tensors++
		energy += f.energy
		sources = append(sources, f.source(chosen[i].Baseline+".lora_a", f.cols, f.rank, f.a), f.source(chosen[i].Baseline+".lora_b", f.rank, f.rows, f.b))
	}
	if kept.Tensors == 0 {
		return kept, fmt.Errorf("a change of low rank that stands out of noise: %w", ErrMissing)
	}
	kept.Energy = min(1, energy/all)
	return kept, gguf.Write(w, meta, sources)
}

// factorPair is ΔW of one tensor as B·A in binary16, each half scaled by √σ.
type factorPair struct {
	rows, cols, rank int
	a, b             []byte // [cols, rank] and [rank, rows] in ggml order
	energy           float64
}

func (f *factorPair) source(name string, cols, rows int, raw []byte) gguf.Source {
	return gguf.Source{Name: name, Type: quant.F16, Shape: []uint64{uint64(cols), uint64(rows)}, Data: func(w io.Writer) error {
		_, err := w.Write(raw)
		return err
	}}
}

// rank is the number of leading singular values that stand out of what is left
// when those before them are taken away.
func (s *Spectrum) rank() int {
	if s.Exact {
		return len(s.Sigma)
	}
	rest := s.Frobenius * s.Frobenius
	for r, x := range s.Sigma {
		if x <= edgeSlack*math.Sqrt(rest/float64(s.Rows)/float64(s.Cols))*(math.Sqrt(float64(s.Rows))+math.Sqrt(float64(s.Cols))) {
			return r
		}
		rest = max(0, rest-x*x)
	}
	return len(s.Sigma)
}

func (s *Spectrum) factorPair() (*factorPair, error) {
	f := &factorPair{rows: s.Rows, cols: s.Cols, rank: s.rank()}
	if f.rank == 0 {
		return nil, nil
	}
	a, b := make([]float32, f.rank*f.cols), make([]float32, f.rows*f.rank)
	for r := range f.rank {
		half := math.Sqrt(s.Sigma[r])
		f.energy += s.Sigma[r] * s.Sigma[r]
		for j, x := range s.Right[r] {
			a[r*f.cols+j] = float32(half * x)
		}
		for i, x := range s.Left[r] {
			b[i*f.rank+r] = float32(half * x)
		}
	}
	f.a, f.b = make([]byte, 2*len(a)), make([]byte, 2*len(b))
	if err := quant.Quantize(quant.F16, f.a, a); err != nil {
		return nil, fmt.Errorf("tensor %q: %w", s.Name, err)
	}
	if err := quant.Quantize(quant.F16, f.b, b); err != nil {
		return nil, fmt.Errorf("tensor %q: %w", s.Name, err)
	}
	return f, nil
}
