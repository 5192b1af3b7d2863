package variants

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"

	"github.com/weighbridge/weighbridge/weights"
	"github.com/weighbridge/weighbridge/weights/gguf"
	"github.com/weighbridge/weighbridge/weights/quant"
)

// Given is a harmless derivative that the user has: a model, or an adapter
// opened on the baseline.
type Given struct {
	Name  string // unique
	Model *weights.Model
}

func (g *Given) adapter() bool { return g.Model.Adapter() != nil }

// Variant is one harmless variant to be made.
type Variant struct {
	Name string // unique in its list
	How  string // how it is made, for people
	// Make writes what the variant needs into dir, in which nothing else may lie,
	// and says where the variant is.
	Make func(ctx context.Context, dir string) (weights.Artifact, error)
}

// The sizes, in the order in which they are used. Noise and low-rank updates
// are relative to the matrix; a fine-tune moves weights by about a percent.
var (
	noises   = []float64{0.003, 0.001, 0.01}
	lowRanks = []float64{0.01, 0.003, 0.02} // ‖ΔW‖ ÷ ‖W‖, where no adapter shows what is usual
	prunings = []float64{0.02, 0.05, 0.1}
	scales   = []float32{0.5, 1.5}
)

// formats are the types to requantise to, the finest first.
var formats = []quant.Type{quant.F32, quant.F16, quant.BF16, quant.Q8_0, quant.Q6_K, quant.Q5_1, quant.Q5_K, quant.Q5_0, quant.Q4_1, quant.Q4_K, quant.Q4_0}

// List gives n variants. Kinds take turns, so that a short list has some of
// each; noise and low-rank updates, which never run out, fill it up.
func List(base *weights.Model, given []Given, n int, seed uint64) []Variant {
	m := &maker{base: base, seed: seed}
	queues := [][]Variant{m.requantised(), m.scaled(given), m.merged(given), m.pruned()}
	var list []Variant
	for i := 0; len(list) < n; i++ {
		for q := range queues {
			if len(queues[q]) > 0 && len(list) < n {
				list, queues[q] = append(list, queues[q][0]), queues[q][1:]
			}
		}
		for _, v := range []Variant{m.noise(i), m.lowRank(given, i)} {
			if len(list) < n {
				list = append(list, v)
			}
		}
	}
	return list
}

type maker struct {
	base *weights.Model
	seed uint64
}

// rand is a source of its own for one purpose.
func (m *maker) rand(parts ...string) *rand.Rand {
	h := sha256.Sum256(binary.LittleEndian.AppendUint64([]byte("weighbridge/variants\x00"+strings.Join(parts, "\x00")+"\x00"), m.seed))
	return rand.New(rand.NewChaCha8(h))
}

// write fills the one file of a variant.
func write(dir string, fill func(io.Writer) error) (path string, err error) {
	path = filepath.Join(dir, "variant.gguf")
	f, err := os.Create(path)
	if err != nil {
		return "", fmt.Errorf("variant: %w", err)
	}
	if err := errors.Join(fill(f), f.Close()); err != nil {
		return "", fmt.Errorf("variant: %w", err)
	}
	return path, nil
}

// model is a variant that is a whole model, made by edits of the baseline.
func (m *maker) model(name, how string, edit func(context.Context) func(gguf.Tensor) (*weights.Edit, error)) Variant {
	return Variant{name, how, func(ctx context.Context, dir string) (weights.Artifact, error) {
		path, err := write(dir, func(w io.Writer) error { return m.base.Rewrite(ctx, w, edit(ctx)) })
		return weights.Artifact{Model: path}, err
	}}
}

// kept is the type in which changed values of t are written: floats keep
// theirs, and steps that would swallow the change give way to F16.
func kept(t quant.Type) quant.Type {
	switch t {
	case quant.F32, quant.F16, quant.BF16:
		return t
	}
	return quant.F16
}

// changeable reports whether the values of a tensor are weights.
func changeable(t gguf.Tensor) bool {
	return t.Type.CanDequantize() && !strings.HasPrefix(weights.ParseTensorName(t.Name).Kind, "rope_")
}

// requantised are the baseline in every coarser format that can be encoded. A
// finer one changes nothing.
func (m *maker) requantised() (list []Variant) {
	bytes := map[quant.Type]uint64{}
	var main quant.Type
	for _, t := range m.base.Tensors() {
		if bytes[t.Type] += uint64(t.Rows()) * uint64(t.RowBytes()); bytes[t.Type] > bytes[main] {
			main = t.Type
		}
	}
	coarser := false
	for _, t := range formats {
		if coarser && t.CanQuantize() {
			list = append(list, Variant{"requantised-" + t.String(), "the baseline's matrices as " + t.String(), func(ctx context.Context, dir string) (weights.Artifact, error) {
				path, err := write(dir, func(w io.Writer) error { return m.base.Requantise(ctx, w, t) })
				return weights.Artifact{Model: path}, err
			}})
		}
		coarser = coarser || t == main
	}
	return list
}

// noise adds normal noise to every tensor.
func (m *maker) noise(i int) Variant {
	sigma := noises[i%len(noises)]
	name := fmt.Sprintf("noise-%g-%d", sigma, i/len(noises)+1)
	return m.model(name, fmt.Sprintf("normal noise on every tensor, %g of its root mean square", sigma), func(ctx context.Context) func(gguf.Tensor) (*weights.Edit, error) {
		return func(t gguf.Tensor) (*weights.Edit, error) {
			if !changeable(t) {
				return nil, nil
			}
			norm, err := m.norm(ctx, t)
			if err != nil {
				return nil, err
			}
			size, rng := sigma*norm/rootOf(t.Values()), m.rand(name, t.Name)
			return &weights.Edit{Type: kept(t.Type), Rows: func(_ int, values []float32) error {
				for i := range values {
					values[i] += float32(size * rng.NormFloat64())
				}
				return nil
			}}, nil
		}
	})
}

// pruned sets the smallest values of every matrix to zero.
func (m *maker) pruned() (list []Variant) {
	for _, part := range prunings {
		list = append(list, m.model(fmt.Sprintf("pruned-%g", part), fmt.Sprintf("the smallest %g %% of every matrix set to zero", 100*part), func(ctx context.Context) func(gguf.Tensor) (*weights.Edit, error) {
			return func(t gguf.Tensor) (*weights.Edit, error) {
				if !changeable(t) || len(t.Shape) < 2 {
					return nil, nil
				}
				least, err := m.quantile(ctx, t, part)
				if err != nil {
					return nil, err
				}
				return &weights.Edit{Type: kept(t.Type), Rows: func(_ int, values []float32) error {
					for i, v := range values {
						if magnitude(v) < least {
							values[i] = 0
						}
					}
					return nil
				}}, nil
			}
		}))
	}
	return list
}

// scaled are the user's models and adapters, less of them and more.
func (m *maker) scaled(given []Given) (list []Variant) {
	for _, s := range scales {
		for _, g := range given {
			name, how := fmt.Sprintf("scaled-%s-%g", g.Name, s), fmt.Sprintf("%g times the change of %s", s, g.Name)
			if !g.adapter() {
				list = append(list, m.blend(name, how, part{g.Model, s}))
				continue
			}
			list = append(list, Variant{name, how, func(context.Context, string) (weights.Artifact, error) {
				a := g.Model.Artifact()
				a.Scale *= s
				return a, nil
			}})
		}
	}
	return list
}

// merged are neighbours in the user's list put together: two adapters added
// up, anything else by halves.
func (m *maker) merged(given []Given) (list []Variant) {
	for i := 1; i < len(given); i++ {
		a, b := given[i-1], given[i]
		name := fmt.Sprintf("merged-%s+%s", a.Name, b.Name)
		if a.adapter() && b.adapter() {
			list = append(list, Variant{name, fmt.Sprintf("the adapters %s and %s together", a.Name, b.Name), func(ctx context.Context, dir string) (weights.Artifact, error) {
				path, err := write(dir, func(w io.Writer) error { return m.sum(ctx, w, a.Model, b.Model) })
				return weights.Artifact{Model: m.base.Artifact().Model, Adapter: path}, err
			}})
			continue
		}
		list = append(list, m.blend(name, fmt.Sprintf("half the change of %s and half that of %s", a.Name, b.Name), part{a.Model, 0.5}, part{b.Model, 0.5}))
	}
	return list
}

// part is a model and how much of its change is taken.
type part struct {
	model *weights.Model
	scale float32
}

// blend adds parts of the changes of several models to the baseline.
func (m *maker) blend(name, how string, parts ...part) Variant {
	return m.model(name, how, func(ctx context.Context) func(gguf.Tensor) (*weights.Edit, error) {
		return func(t gguf.Tensor) (*weights.Edit, error) {
			if !changeable(t) {
				return nil, nil
			}
			var with []part
			for _, p := range parts {
				if o, ok := p.model.Tensor(t.Name); ok && o.Type.CanDequantize() {
					with = append(with, p)
				}
			}
			var was, other []float32
			return &weights.Edit{Type: kept(t.Type), Rows: func(first int, values []float32) error {
				was = append(was[:0], values...)
				if len(other) < len(values) {
					other = make([]float32, len(values))
				}
				for _, p := range with {
					o := other[:len(values)]
					if err := p.model.ReadRows(ctx, t.Name, first, o); err != nil {
						return err
					}
					for i := range values {
						values[i] += p.scale * (o[i] - was[i])
					}
				}
				return nil
			}}, nil
		}
	})
}
