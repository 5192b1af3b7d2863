package weights

import (
	"context"
	"errors"
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/mat"

	"github.com/weighbridge/weighbridge/weights/quant"
)

// reference decomposes the whole of ΔW as it is read.
func reference(t *testing.T, b, c *Model, name string) (*mat.Dense, []float64) {
	t.Helper()
	p, err := newPair(context.Background(), b, c, name)
	if err != nil {
		t.Fatal(err)
	}
	d := mat.NewDense(p.b.Rows(), p.b.Cols(), nil)
	if err := p.deltas(context.Background(), func(first int, x *mat.Dense) {
		rows, cols := x.Dims()
		d.Slice(first, first+rows, 0, cols).(*mat.Dense).Copy(x)
	}); err != nil {
		t.Fatal(err)
	}
	var svd mat.SVD
	if !svd.Factorize(d, mat.SVDThin) {
		t.Fatal("no decomposition")
	}
	return d, svd.Values(nil)
}

func TestSpectrum(t *testing.T) {
	name := "blk.1.ffn_down.weight"
	low := halved(values(1, name))
	for i, r := range gaussian(40, width, 1) { // rank 1, far above the noise
		for j, s := range gaussian(41, hidden, 1) {
			low[i*hidden+j] += 0.05 * r * s
		}
	}
	shape := []uint64{hidden, width}
	tests := []struct {
		name       string
		base, cand Artifact
		exact      bool
		count      int
		tolerance  float64 // relative, on every singular value
		k          int
	}{
		{"adapter", Artifact{Model: model(1).file(t)}, Artifact{Model: model(1).file(t), Adapter: lora(1).file(t)}, true, rank, 1e-5, 8},
		{"two adapters", Artifact{Model: model(1).file(t), Adapter: lora(2).file(t)}, Artifact{Model: model(1).file(t), Adapter: lora(1).file(t)}, true, 2 * rank, 1e-5, 8},
		{"same adapter, two scales", Artifact{model(1).file(t), lora(1).file(t), 1}, Artifact{model(1).file(t), lora(1).file(t), 3}, true, rank, 1e-5, 8},
		{"rank one edit", Artifact{Model: model(1).file(t)}, Artifact{Model: model(1).put(name, quant.F32, shape, low).file(t)}, false, 1, 1e-6, 8},
		{"rank one edit in F16", Artifact{Model: model(1).file(t)}, Artifact{Model: model(1).put(name, quant.F16, shape, low).file(t)}, false, 4, 0.1, 4},
		{"noise", Artifact{Model: model(1).file(t)}, Artifact{Model: model(1).noisy(name, 0.01).file(t)}, false, 4, 0.15, 4},
		{"nothing", Artifact{Model: model(1).file(t)}, Artifact{Model: model(1).file(t)}, true, 0, 0, 8},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b, c := open(t, tt.base), open(t, tt.cand)
			o := SpectrumOptions{K: tt.k, Seed: 5}
			s, err := DeltaSpectrum(context.Background(), b, c, name, o)
			if err != nil {
				t.Fatal(err)
			}
			d, want := reference(t, b, c, name)
			if s.Exact != tt.exact || len(s.Sigma) != tt.count || s.Rows != width || s.Cols != hidden {
				t.Fatalf("exact %v, %d values %v, %d × %d", s.Exact, len(s.Sigma), s.Sigma, s.Rows, s.Cols)
			}
			if norm := mat.Norm(d, 2); math.Abs(s.Frobenius-norm) > 1e-5*norm {
				t.Errorf("Frobenius norm = %v, want %v", s.Frobenius, norm)
			}
			for i, sigma := range s.Sigma {
				if math.Abs(sigma-want[i]) > tt.tolerance*want[i] || sigma > want[i]*(1+1e-5) {
					t.Errorf("value %d = %v, want %v", i, sigma, want[i])
				}
				u, v := s.Left[i], s.Right[i]
				for what, x := range map[string][]float64{"left": u, "right": v} {
					if math.Abs(floats.Norm(x, 2)-1) > 1e-9 {
						t.Errorf("%s vector %d has norm %v", what, i, floats.Norm(x, 2))
					}
				}
				if got := mat.Inner(mat.NewVecDense(width, u), d, mat.NewVecDense(hidden, v)); math.Abs(got-sigma) > 1e-5*sigma {
					t.Errorf("uᵀ·ΔW·v = %v for value %d, want %v", got, i, sigma)
				}
				if top := floats.Max(u); top < -floats.Min(u) {
					t.Errorf("sign of left vector %d is not fixed", i)
				}
			}
			again, err := DeltaSpectrum(context.Background(), b, c, name, o)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(s, again); diff != "" {
				t.Errorf("same seed, other result:\n%s", diff)
			}
		})
	}
}

func TestSpectrumRefuses(t *testing.T) {
	ctx := context.Background()
	b, c := open(t, Artifact{Model: model(1).file(t)}), open(t, Artifact{Model: model(1).noisy("", 0.01).file(t)})
	if _, err := DeltaSpectrum(ctx, b, c, OutputNorm, SpectrumOptions{}); !errors.Is(err, ErrUnsupported) {
		t.Errorf("vector: %v", err)
	}
	if _, err := DeltaSpectrum(ctx, b, c, "nope", SpectrumOptions{}); !errors.Is(err, ErrMissing) {
		t.Errorf("no such tensor: %v", err)
	}
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := DeltaSpectrum(cancelled, b, c, Embedding, SpectrumOptions{}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestOrthonormalise(t *testing.T) {
	cols := [][]float64{{3, 0, 0, 0}, {1, 2, 0, 0}, {5, 2, 0, 0}, {0, 0, 0, 0}, {1, 1, 1, 1}}
	want := newColumns(len(cols), 4)
	for i := range cols {
		copy(want[i], cols[i])
	}
	tri := orthonormalise(cols)
	for j := range want {
		got := make([]float64, 4)
		for i := range cols {
			floats.AddScaled(got, tri.At(i, j), cols[i])
		}
		if !floats.EqualApprox(got, want[j], 1e-12) {
			t.Errorf("column %d = %v, want %v", j, got, want[j])
		}
		for i := range j {
			if dot := floats.Dot(cols[i], cols[j]); math.Abs(dot) > 1e-12 {
				t.Errorf("columns %d and %d have the product %v", i, j, dot)
			}
		}
	}
}
