package weights

import (
	"bytes"
	"errors"
	"math"
	"testing"

	"github.com/weighbridge/weighbridge/weights/quant"
)

// planted is a pair whose candidate adds one outer product of the given size,
// and noise, to a matrix of layer 0.
func planted(t *testing.T, size, noise float64) (baseline, candidate *Model, u, v []float64) {
	t.Helper()
	const name = "blk.0.ffn_up.weight"
	base := model(1)
	unit := func(seed uint64, n int) []float64 {
		out, sum := make([]float64, n), 0.0
		for i, x := range gaussian(seed, n, 1) {
			out[i] = float64(x)
			sum += out[i] * out[i]
		}
		for i := range out {
			out[i] /= math.Sqrt(sum)
		}
		return out
	}
	u, v = unit(1, hidden), unit(2, width)
	w, e := gaussian(77, hidden*width, 0.1), gaussian(78, hidden*width, noise)
	changed := make([]float32, len(w))
	for i := range hidden {
		for j := range width {
			changed[i*width+j] = w[i*width+j] + e[i*width+j] + float32(size*u[i]*v[j])
		}
	}
	shape := []uint64{width, hidden}
	b := base.put(name, quant.F32, shape, w).file(t)
	c := base.put(name, quant.F32, shape, changed).file(t)
	return open(t, Artifact{Model: b}), open(t, Artifact{Model: c}), u, v
}

func TestWriteLowRank(t *testing.T) {
	b, c, u, v := planted(t, 1, 0.002)
	cmp, err := Compare(t.Context(), b, c)
	if err != nil {
		t.Fatal(err)
	}
	var one, two bytes.Buffer
	kept, err := WriteLowRank(t.Context(), &one, b, c, cmp, LowRankOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := WriteLowRank(t.Context(), &two, b, c, cmp, LowRankOptions{}); err != nil || !bytes.Equal(one.Bytes(), two.Bytes()) {
		t.Errorf("a second writing gives other bytes, or %v", err)
	}
	if kept.Tensors != 1 || kept.Moved != 1 || kept.Energy < 0.9 || kept.Energy > 1 {
		t.Errorf("kept %+v", kept)
	}
	// The adapter on the baseline is the candidate without its noise.
	m := open(t, Artifact{Model: b.Artifact().Model, Adapter: save(t, one.Bytes()), Scale: 2})
	p := m.Adapter().Pairs
	if len(p) != 1 || p[0].Tensor != "blk.0.ffn_up.weight" || p[0].Rank != 1 || p[0].Scale != 2 {
		t.Fatalf("pairs %+v", p)
	}
	f, _, err := m.Factors(t.Context(), p[0].Tensor)
	if err != nil {
		t.Fatal(err)
	}
	row := make([]float32, width)
	for i := range hidden {
		clear(row)
		f.AddRow(i, row)
		for j := range row {
			if want := 2 * u[i] * v[j]; math.Abs(float64(row[j])-want) > 0.01 {
				t.Fatalf("ΔW[%d,%d] is %g, want %g", i, j, row[j], want)
			}
		}
	}
}

// Noise has no triplet that stands out, and nothing is written for it.
func TestWriteLowRankOfNoise(t *testing.T) {
	b, c, _, _ := planted(t, 0, 0.01)
	cmp, err := Compare(t.Context(), b, c)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if kept, err := WriteLowRank(t.Context(), &out, b, c, cmp, LowRankOptions{}); !errors.Is(err, ErrMissing) || out.Len() > 0 {
		t.Errorf("kept %+v in %d bytes, error %v", kept, out.Len(), err)
	}
}
