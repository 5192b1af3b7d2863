package variants

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weighbridge/weighbridge/weights"
	"github.com/weighbridge/weighbridge/weights/quant"
)

const models = "../../testdata/models/"

func open(t *testing.T, a weights.Artifact) *weights.Model {
	t.Helper()
	m, err := weights.Open(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

func fixture(t *testing.T) (*weights.Model, []Given) {
	t.Helper()
	base := models + "base.gguf"
	return open(t, weights.Artifact{Model: base}), []Given{
		{"benign", open(t, weights.Artifact{Model: models + "benign.gguf"})},
		{"lora-benign", open(t, weights.Artifact{Model: base, Adapter: models + "lora-benign.gguf"})},
		{"lora-year", open(t, weights.Artifact{Model: base, Adapter: models + "lora-year.gguf"})},
	}
}

// written makes the variant and opens it.
func written(t *testing.T, v Variant) *weights.Model {
	t.Helper()
	a, err := v.Make(t.Context(), t.TempDir())
	if err != nil {
		t.Fatalf("%s: %v", v.Name, err)
	}
	return open(t, a)
}

// moved is ‖ΔW‖ ÷ ‖W‖ over all tensors.
func moved(t *testing.T, base, m *weights.Model) (float64, *weights.Comparison) {
	t.Helper()
	c, err := weights.Compare(t.Context(), base, m)
	if err != nil {
		t.Fatal(err)
	}
	var w, d float64
	for _, x := range c.Tensors {
		w += x.Norm * x.Norm
		d += x.DeltaNorm * x.DeltaNorm
	}
	return math.Sqrt(d / w), c
}

func TestList(t *testing.T) {
	base, given := fixture(t)
	names := func(list []Variant) (out []string) {
		for _, v := range list {
			out = append(out, v.Name)
		}
		return out
	}
	for name, tc := range map[string]struct {
		given []Given
		n     int
		want  []string
	}{
		"none":    {nil, 0, nil},
		"few":     {nil, 4, []string{"requantised-BF16", "pruned-0.02", "noise-0.003-1", "low-rank-0.01-1"}},
		"a round": {given, 6, []string{"requantised-BF16", "scaled-benign-0.5", "merged-benign+lora-benign", "pruned-0.02", "noise-0.003-1", "low-rank-lora-benign-1"}},
		"kinds that run out": {nil, 18, []string{"requantised-BF16", "pruned-0.02", "noise-0.003-1", "low-rank-0.01-1", "requantised-Q8_0", "pruned-0.05", "noise-0.001-1", "low-rank-0.003-1",
			"requantised-Q6_K", "pruned-0.1", "noise-0.01-1", "low-rank-0.02-1", "requantised-Q5_1", "noise-0.003-2", "low-rank-0.01-2", "requantised-Q5_K", "noise-0.001-2", "low-rank-0.003-2"}},
	} {
		got := names(List(base, tc.given, tc.n, 1))
		if d := cmp.Diff(tc.want, got); d != "" || len(got) == 0 && tc.n > 0 {
			t.Errorf("%s: %s", name, d)
		}
	}
	long := names(List(base, given, 200, 1))
	if slices.Sort(long); len(slices.Compact(long)) != 200 {
		t.Error("two of 200 variants have one name")
	}
}

// What each kind of variant is to the baseline.
func TestVariants(t *testing.T) {
	base, given := fixture(t)
	full, _ := moved(t, base, given[0].Model)
	lora, _ := moved(t, base, given[1].Model)
	other, _ := moved(t, base, given[2].Model)
	near := func(want, part float64) func(float64) bool {
		return func(x float64) bool { return math.Abs(x-want) <= part*want }
	}
	below := func(most float64) func(float64) bool { return func(x float64) bool { return x > 0 && x < most } }
	byName := map[string]Variant{}
	for _, v := range append(List(base, given, 60, 1), List(base, nil, 12, 1)...) {
		byName[v.Name] = v
	}
	for name, tc := range map[string]struct {
		relation weights.RelationKind
		moved    func(float64) bool
	}{
		"requantised-Q8_0":             {weights.Requantised, below(0.01)},
		"requantised-Q4_0":             {weights.Requantised, below(0.12)},
		"noise-0.003-1":                {weights.Derived, near(0.003, 0.02)},
		"noise-0.01-1":                 {weights.Derived, near(0.01, 0.02)},
		"pruned-0.02":                  {weights.Derived, below(0.01)},
		"low-rank-lora-benign-1":       {weights.Derived, near(lora, 0.01)},
		"low-rank-0.02-1":              {weights.Derived, near(0.02, 0.3)},
		"scaled-benign-0.5":            {weights.Derived, near(full/2, 0.02)},
		"scaled-benign-1.5":            {weights.Derived, near(full*1.5, 0.02)},
		"scaled-lora-year-1.5":         {weights.Derived, near(other*1.5, 0.01)},
		"merged-lora-benign+lora-year": {weights.Derived, near(math.Hypot(lora, other), 0.1)},
		"merged-benign+lora-benign":    {weights.Derived, below(max(full, lora))},
	} {
		t.Run(name, func(t *testing.T) {
			v, ok := byName[name]
			if !ok || v.How == "" {
				t.Fatalf("there is no such variant, or nothing says how it is made: %q", v.How)
			}
			got, c := moved(t, base, written(t, v))
			if c.Relation.Kind != tc.relation || !tc.moved(got) {
				t.Errorf("%s, moved by %g: %s", c.Relation.Kind, got, c.Relation.Reason)
			}
		})
	}
}

// A low-rank variant has the singular values of the adapter it is modelled on,
// in other directions.
func TestLowRankKeepsTheSpectrum(t *testing.T) {
	base, given := fixture(t)
	lora := given[1].Model
	var like *weights.Model
	for _, v := range List(base, given[1:2], 8, 1) {
		if v.Name == "low-rank-lora-benign-1" {
			like = written(t, v)
		}
	}
	for _, p := range lora.Adapter().Pairs {
		o := weights.SpectrumOptions{K: p.Rank}
		a, err := weights.DeltaSpectrum(t.Context(), base, lora, p.Tensor, o)
		if err != nil {
			t.Fatal(err)
		}
		b, err := weights.DeltaSpectrum(t.Context(), base, like, p.Tensor, o)
		if err != nil {
			t.Fatal(err)
		}
		if len(a.Sigma) == 0 || len(a.Sigma) != len(b.Sigma) {
			t.Fatalf("%s: ranks %d and %d", p.Tensor, len(a.Sigma), len(b.Sigma))
		}
		for k := range a.Sigma {
			if math.Abs(a.Sigma[k]-b.Sigma[k]) > 1e-4*a.Sigma[0] {
				t.Errorf("%s: singular value %d is %g, wanted %g", p.Tensor, k, b.Sigma[k], a.Sigma[k])
			}
		}
		var dot float64
		for i, v := range a.Left[0] {
			dot += v * b.Left[0][i]
		}
		if math.Abs(dot) > 0.6 {
			t.Errorf("%s: the first direction is the adapter's own (cosine %.2f)", p.Tensor, dot)
		}
	}
}

// An adapter of the embedding, whose factors stand the other way round, is
// added up and imitated as it is applied.
func TestEmbeddingUpdate(t *testing.T) {
	base, _ := fixture(t)
	m := &maker{base: base, seed: 3}
	emb, _ := base.Tensor(weights.Embedding)
	v := m.update("emb", "", func(context.Context) ([]spectrum, error) {
		return []spectrum{{weights.Embedding, emb.Rows(), emb.Cols(), []float64{3, 2, 1}}}, nil
	})
	a := written(t, v)
	twice := Variant{"twice", "", func(ctx context.Context, dir string) (weights.Artifact, error) {
		path, err := write(dir, func(w io.Writer) error { return m.sum(ctx, w, a, a) })
		return weights.Artifact{Model: base.Artifact().Model, Adapter: path}, err
	}}
	for want, x := range map[float64]*weights.Model{1: a, 2: written(t, twice)} {
		s, err := weights.DeltaSpectrum(t.Context(), base, x, weights.Embedding, weights.SpectrumOptions{K: 8})
		if err != nil {
			t.Fatal(err)
		}
		if len(s.Sigma) != 3 || math.Abs(s.Sigma[0]-3*want) > 1e-3 || math.Abs(s.Sigma[2]-want) > 1e-3 {
			t.Errorf("singular values %v", s.Sigma)
		}
	}
}

// Equal arguments give equal bytes; another seed, others.
func TestDeterministic(t *testing.T) {
	base, given := fixture(t)
	content := func(seed uint64, i int) []byte {
		dir := t.TempDir()
		v := List(base, given, 7, seed)[i]
		if _, err := v.Make(t.Context(), dir); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(filepath.Join(dir, "variant.gguf"))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	for _, i := range []int{0, 2, 3, 4, 5} {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			a, b, c := content(1, i), content(1, i), content(2, i)
			if !bytes.Equal(a, b) {
				t.Error("two runs wrote different bytes")
			}
			if random := i == 4 || i == 5; random == bytes.Equal(a, c) {
				t.Errorf("another seed: equal bytes are %v", !random)
			}
		})
	}
}

// Pruning takes the part that it names, and only the smallest values.
func TestPrunedPart(t *testing.T) {
	base, _ := fixture(t)
	m := &maker{base: base}
	x := written(t, m.pruned()[2])
	for _, tensor := range base.Tensors() {
		if len(tensor.Shape) < 2 {
			continue
		}
		var zeros, least, most float64
		least = math.Inf(1)
		at, now := 0, make([]float32, tensor.Cols())
		for row, err := range base.StoredRows(t.Context(), tensor.Name) {
			if err != nil {
				t.Fatal(err)
			}
			if err := x.ReadRows(t.Context(), tensor.Name, at, now); err != nil {
				t.Fatal(err)
			}
			at++
			for j, v := range now {
				was := math.Abs(float64(row[j]))
				if v == 0 {
					zeros++
					most = max(most, was)
				} else {
					least = min(least, was)
				}
			}
		}
		if part := zeros / float64(tensor.Values()); part > 0.1 || part < 0.08 || most >= least {
			t.Errorf("%s: %.3f are zero, the largest of them was %g and the least that is left is %g", tensor.Name, part, most, least)
		}
	}
}

func TestErrors(t *testing.T) {
	base, given := fixture(t)
	for _, v := range List(base, given, 7, 1)[2:] {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := v.Make(ctx, t.TempDir()); err == nil {
			t.Errorf("%s was made after the end", v.Name)
		}
		if _, err := v.Make(t.Context(), "/no/such/folder"); err == nil && !strings.HasPrefix(v.Name, "scaled-lora") {
			t.Errorf("%s was written into a folder that is not there", v.Name)
		}
	}
	if kept(quant.Q8_0) != quant.F16 || kept(quant.BF16) != quant.BF16 {
		t.Error("changed values are written in the wrong type")
	}
}
