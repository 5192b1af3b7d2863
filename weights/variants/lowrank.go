package variants

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"math/rand/v2"

	"gonum.org/v1/gonum/floats"

	"github.com/weighbridge/weighbridge/weights"
	"github.com/weighbridge/weighbridge/weights/gguf"
	"github.com/weighbridge/weighbridge/weights/quant"
)

const (
	rank  = 8   // of an invented update
	decay = 0.7 // of its singular values
)

// lowRank is an adapter with random singular vectors. Its singular values are
// those of one of the user's adapters, or where there is none, invented.
func (m *maker) lowRank(given []Given, i int) Variant {
	var adapters []Given
	for _, g := range given {
		if g.adapter() {
			adapters = append(adapters, g)
		}
	}
	if len(adapters) == 0 {
		size := lowRanks[i%len(lowRanks)]
		name := fmt.Sprintf("low-rank-%g-%d", size, i/len(lowRanks)+1)
		return m.update(name, fmt.Sprintf("a random update of rank %d on every matrix of the layers, %g of its norm", rank, size), func(ctx context.Context) ([]spectrum, error) {
			return m.invented(ctx, size)
		})
	}
	g := adapters[i%len(adapters)]
	name := fmt.Sprintf("low-rank-%s-%d", g.Name, i/len(adapters)+1)
	return m.update(name, fmt.Sprintf("the singular values of %s in random directions", g.Name), func(ctx context.Context) ([]spectrum, error) {
		return m.like(ctx, g.Model)
	})
}

// spectrum is the singular values of the update of one matrix.
type spectrum struct {
	tensor     string
	rows, cols int
	sigma      []float64
}

// invented updates every matrix of the layers by size of its norm.
func (m *maker) invented(ctx context.Context, size float64) (list []spectrum, err error) {
	for _, t := range m.base.Tensors() {
		if !changeable(t) || len(t.Shape) != 2 || weights.ParseTensorName(t.Name).Layer < 0 {
			continue
		}
		norm, err := m.norm(ctx, t)
		if err != nil {
			return nil, err
		}
		s := spectrum{t.Name, t.Rows(), t.Cols(), make([]float64, min(rank, t.Rows(), t.Cols()))}
		for k := range s.sigma {
			s.sigma[k] = math.Pow(decay, float64(k))
		}
		floats.Scale(size*norm/floats.Norm(s.sigma, 2), s.sigma)
		list = append(list, s)
	}
	return list, nil
}

// like takes the spectra of an adapter.
func (m *maker) like(ctx context.Context, g *weights.Model) (list []spectrum, err error) {
	for _, p := range g.Adapter().Pairs {
		s, err := weights.DeltaSpectrum(ctx, m.base, g, p.Tensor, weights.SpectrumOptions{K: p.Rank})
		if err != nil {
			return nil, err
		}
		if len(s.Sigma) > 0 {
			list = append(list, spectrum{p.Tensor, s.Rows, s.Cols, s.Sigma})
		}
	}
	return list, nil
}

// update is an adapter of the given spectra.
func (m *maker) update(name, how string, spectra func(context.Context) ([]spectrum, error)) Variant {
	return Variant{name, how, func(ctx context.Context, dir string) (weights.Artifact, error) {
		list, err := spectra(ctx)
		if err != nil {
			return weights.Artifact{}, fmt.Errorf("variant %s: %w", name, err)
		}
		var pairs []factors
		for _, s := range list {
			root := make([]float64, len(s.sigma))
			for k, v := range s.sigma {
				root[k] = math.Sqrt(v)
			}
			side := func(which string, n int) func() ([]float32, error) {
				return func() ([]float32, error) { return directions(m.rand(name, s.tensor, which), n, root), nil }
			}
			pairs = append(pairs, factors{s.tensor, s.rows, s.cols, len(s.sigma), side("left", s.rows), side("right", s.cols)})
		}
		path, err := write(dir, func(w io.Writer) error { return m.adapter(w, pairs) })
		return weights.Artifact{Model: m.base.Artifact().Model, Adapter: path}, err
	}}
}

// directions draws orthonormal vectors of length n, as the columns of an n × r
// matrix scaled by size, row by row.
func directions(rng *rand.Rand, n int, size []float64) []float32 {
	r := len(size)
	out := make([]float32, n*r)
	var cols [][]float64
	for k := range r {
		c := make([]float64, n)
		for i := range c {
			c[i] = rng.NormFloat64()
		}
		for range 2 { // Gram-Schmidt, twice
			for _, o := range cols {
				floats.AddScaled(c, -floats.Dot(o, c), o)
			}
		}
		floats.Scale(1/floats.Norm(c, 2), c)
		cols = append(cols, c)
		for i, v := range c {
			out[i*r+k] = float32(size[k] * v)
		}
	}
	return out
}

// factors is the update of one tensor: left is rows × rank, right cols × rank,
// both row by row.
type factors struct {
	tensor           string
	rows, cols, rank int
	left, right      func() ([]float32, error)
}

// adapter writes a LoRA adapter for the baseline whose own scale is 1.
func (m *maker) adapter(w io.Writer, pairs []factors) error {
	arch, _ := m.base.Metadata().String("general.architecture")
	meta := []gguf.KV{
		{Key: "general.architecture", Value: gguf.V(arch)}, {Key: "general.type", Value: gguf.V("adapter")}, {Key: "adapter.type", Value: gguf.V("lora")},
	}
	var sources []gguf.Source
	for _, p := range pairs {
		tall := func(name string, n int, values func() ([]float32, error)) gguf.Source {
			return gguf.Source{Name: name, Type: quant.F32, Shape: []uint64{uint64(p.rank), uint64(n)}, Data: data(values)}
		}
		if p.tensor == weights.Embedding { // the engine reads its factors the other way round
			sources = append(sources, tall(p.tensor+".lora_a", p.rows, p.left), tall(p.tensor+".lora_b", p.cols, p.right))
			continue
		}
		wide := gguf.Source{Name: p.tensor + ".lora_a", Type: quant.F32, Shape: []uint64{uint64(p.cols), uint64(p.rank)}, Data: data(func() ([]float32, error) {
			v, err := p.right()
			return transpose(v, p.cols, p.rank), err
		})}
		sources = append(sources, wide, tall(p.tensor+".lora_b", p.rows, p.left))
	}
	return gguf.Write(w, meta, sources)
}

func data(values func() ([]float32, error)) func(io.Writer) error {
	return func(w io.Writer) error {
		v, err := values()
		if err != nil {
			return err
		}
		return binary.Write(w, binary.LittleEndian, v)
	}
}

// transpose turns a rows × cols matrix round.
func transpose(a []float32, rows, cols int) []float32 {
	out := make([]float32, len(a))
	for i := range len(a) {
		out[i%cols*rows+i/cols] = a[i]
	}
	return out
}

// sum writes the adapters of both models as one.
func (m *maker) sum(ctx context.Context, w io.Writer, models ...*weights.Model) error {
	type update struct {
		model *weights.Model
		rank  int
	}
	updates := map[string][]update{}
	var order []string
	for _, x := range models {
		for _, p := range x.Adapter().Pairs {
			if updates[p.Tensor] == nil {
				order = append(order, p.Tensor)
			}
			updates[p.Tensor] = append(updates[p.Tensor], update{x, p.Rank})
		}
	}
	var pairs []factors
	for _, name := range order {
		t, _ := m.base.Tensor(name) // adapters fit the baseline, or they would not have opened
		p := factors{tensor: name, rows: t.Rows(), cols: t.Cols()}
		for _, u := range updates[name] {
			p.rank += u.rank
		}
		// side puts the columns of all factors beside each other.
		side := func(n int, pick func(*weights.LowRank) []float32) func() ([]float32, error) {
			return func() ([]float32, error) {
				out := make([]float32, n*p.rank)
				at := 0
				for _, u := range updates[name] {
					f, _, err := u.model.Factors(ctx, name)
					if err != nil {
						return nil, err
					}
					for i, v := range pick(f) {
						out[i/f.Rank*p.rank+at+i%f.Rank] = v
					}
					at += f.Rank
				}
				return out, nil
			}
		}
		p.left = side(p.rows, func(f *weights.LowRank) []float32 {
			scaled := make([]float32, len(f.Left))
			for i, v := range f.Left {
				scaled[i] = float32(f.Scale) * v
			}
			return scaled
		})
		p.right = side(p.cols, func(f *weights.LowRank) []float32 { return transpose(f.Right, f.Rank, f.Cols) })
		pairs = append(pairs, p)
	}
	return m.adapter(w, pairs)
}
