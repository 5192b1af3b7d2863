package tensors

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/weighbridge/weighbridge/probes"
	"github.com/weighbridge/weighbridge/probes/internal/pairtest"
	"github.com/weighbridge/weighbridge/record"
	"github.com/weighbridge/weighbridge/runners/runnertest"
	"github.com/weighbridge/weighbridge/weights"
	"github.com/weighbridge/weighbridge/weights/gguf"
	"github.com/weighbridge/weighbridge/weights/quant"
	"github.com/weighbridge/weighbridge/weights/quant/quanttest"
)

func fake() *runnertest.Fake { return runnertest.New(runnertest.Options{}) }

func run(t *testing.T, in *probes.Input) *probes.Output {
	t.Helper()
	out, err := probe{}.Run(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	if out.Tests != 0 {
		t.Errorf("%d tests", out.Tests)
	}
	for _, l := range out.Leads {
		if l.From != ID || l.Text == "" || l.Score <= 0 {
			t.Errorf("lead %+v", l)
		}
	}
	return out
}

func noise(seed uint64, sd float64) func([]float32, int) {
	rng := rand.New(rand.NewPCG(seed, 1))
	return func(v []float32, _ int) {
		for i := range v {
			v[i] += float32(sd * rng.NormFloat64())
		}
	}
}

// outer adds scale·u·vᵀ.
func outer(scale float64, u, v []float64) func([]float32, int) {
	return func(w []float32, cols int) {
		for i := range u {
			for j := range v {
				w[i*cols+j] += float32(scale * u[i] * v[j])
			}
		}
	}
}

func unit(seed uint64, n int) []float64 {
	rng := rand.New(rand.NewPCG(seed, 2))
	v := make([]float64, n)
	var s float64
	for i := range v {
		v[i] = rng.NormFloat64()
		s += v[i] * v[i]
	}
	for i := range v {
		v[i] /= math.Sqrt(s)
	}
	return v
}

func fineTune(f *pairtest.File, sd float64) *pairtest.File {
	for i, x := range slices.Clone(f.Tensors) {
		f.Edit(x.Name, noise(uint64(i), sd))
	}
	return f
}

// otherwise rounds all matrices, or those named, to the values of Q4_0 blocks
// with scales that ggml does not choose, times stretch.
func otherwise(f *pairtest.File, stretch float64, only ...string) *pairtest.File {
	for i := range f.Tensors {
		x := &f.Tensors[i]
		if len(x.Shape) > 1 && x.Shape[0]%32 == 0 && (len(only) == 0 || slices.Contains(only, x.Name)) {
			x.Type, x.Raw = quant.Q4_0, quanttest.Quantiser{Stretch: stretch}.Encode(quant.Q4_0, x.Values, int(x.Shape[0]))
		}
	}
	return f
}

// flip changes one code of a tensor of otherwise.
func flip(f *pairtest.File, name string) *pairtest.File {
	for _, x := range f.Tensors {
		if x.Name == name {
			x.Raw[5] ^= 0x10
		}
	}
	return f
}

// lora merges rank-2 updates into all attention inputs.
func lora(f *pairtest.File) *pairtest.File {
	for l := range pairtest.Layers {
		for i, k := range []string{"attn_q", "attn_v"} {
			for r := range 2 {
				s := uint64(l*100 + i*10 + r)
				f.Edit(fmt.Sprintf("blk.%d.%s.weight", l, k), outer(0.5, unit(s, pairtest.Width), unit(s+5, pairtest.Width)))
			}
		}
	}
	return f
}

func TestTiers(t *testing.T) {
	const down = "blk.2.ffn_down.weight"
	rome := outer(1, unit(1, pairtest.Width), unit(2, pairtest.Hidden))
	for name, tc := range map[string]struct {
		candidate *pairtest.File
		rule      string // a finding that must be there
		tier      record.Tier
		class     record.Class
		says      string
		only      bool // everything else is CONSISTENT
	}{
		"same":                      {pairtest.Model(), "relation", record.Consistent, record.Relation, "bit for bit", true},
		"other metadata":            {pairtest.Model().Set("general.name", gguf.V("x")), "relation", record.Consistent, record.Relation, "bit for bit", true},
		"requantised":               {pairtest.Model().As(quant.Q8_0), "relation", record.Consistent, record.Relation, "to the bit", true},
		"by another quantiser":      {otherwise(pairtest.Model(), 1), "relation", record.Consistent, record.Relation, "rounded to the nearest", true},
		"one code of another's":     {flip(otherwise(pairtest.Model(), 1), down), "relation", record.Consistent, record.Relation, "choices that a quantiser does not make", true},
		"on coarse scales":          {otherwise(pairtest.Model(), 1.5), "relation", record.Consistent, record.Relation, "choices that a quantiser does not make", true},
		"fine-tuned":                {fineTune(pairtest.Model(), 0.001), "place", record.Consistent, record.Behaviour, "matrices moved", true},
		"fine-tuned and quantised":  {fineTune(pairtest.Model(), 0.01).As(quant.Q8_0), "place", record.Consistent, record.Behaviour, "matrices moved", true},
		"merged adapter":            {lora(pairtest.Model()), "place", record.Consistent, record.Behaviour, "Only attention moved", true},
		"merged adapter, quantised": {lora(pairtest.Model()).As(quant.Q8_0), "place", record.Consistent, record.Behaviour, "attn_q", true},
		"edited":                    {pairtest.Model().Edit(down, rome), "edit", record.Divergent, record.Behaviour, "rank one", false},
		"edited and quantised":      {pairtest.Model().Edit(down, rome).As(quant.Q8_0), "requantised", record.Proven, record.Tampered, down, false},
		"one value of a quantised": {pairtest.Model().Edit(down, func(v []float32, _ int) { v[1000] += 0.5 }).As(quant.Q8_0), "requantised",
			record.Proven, record.Tampered, down, false},
		"not numbers": {fineTune(pairtest.Model(), 0.001).Edit(down, func(v []float32, _ int) { v[7], v[9] = float32(math.NaN()), float32(math.Inf(1)) }), "numbers",
			record.Proven, record.Broken, "value 7", true},
		"new tensor": {pairtest.Model().Put("blk.0.extra.weight", quant.F32, []uint64{4}, []float32{1, 2, 3, 4}), "presence", record.Divergent, record.Tampered, "blk.0.extra.weight", true},
		"unrelated":  {scramble(pairtest.Model()), "relation", record.Divergent, record.Relation, "not related", true},
		"few rows": {pairtest.Model().Edit(weights.Embedding, func(v []float32, cols int) {
			for j := range cols {
				v[400*cols+j] += 0.2
			}
		}), "rows-token_embd", record.Divergent, record.Behaviour, "embedding surgery", true},
	} {
		t.Run(name, func(t *testing.T) {
			out := run(t, pairtest.Input(t, pairtest.Model(), tc.candidate, fake(), fake()))
			found := false
			for _, f := range out.Findings {
				switch {
				case f.Rule == tc.rule:
					found = true
					if f.Tier != tc.tier || f.Class != tc.class || !strings.Contains(f.Title+f.Detail, tc.says) {
						t.Errorf("%s %s %s: %s\n%s\nwant %s %s, saying %q", f.Tier, f.Class, f.ID, f.Title, f.Detail, tc.tier, tc.class, tc.says)
					}
				case tc.only && f.Tier != record.Consistent && f.Tier != record.NotTested:
					t.Errorf("%s %s: %s\n%s", f.Tier, f.ID, f.Title, f.Detail)
				}
			}
			if !found {
				t.Errorf("no finding of rule %s among %v", tc.rule, out.Findings)
			}
			if want := len(tc.candidate.Tensors); name != "unrelated" && name != "new tensor" && len(out.Tensors) != want {
				t.Errorf("%d tensors recorded, want %d", len(out.Tensors), want)
			}
		})
	}
}

func scramble(f *pairtest.File) *pairtest.File {
	for i, x := range slices.Clone(f.Tensors) {
		if len(x.Shape) > 1 {
			f.Edit(x.Name, func(v []float32, _ int) {
				clear(v)
				noise(uint64(500+i), 0.05)(v, 0)
			})
		}
	}
	return f
}

// adapter writes a LoRA that updates matrices by scale·u·vᵀ.
func adapter(t *testing.T, updates map[string][2][]float64) string {
	t.Helper()
	f := &pairtest.File{}
	f.Set("general.architecture", gguf.V("llama")).Set("general.type", gguf.V("adapter"))
	f.Set("adapter.type", gguf.V("lora")).Set("adapter.lora.alpha", gguf.V(float32(1)))
	single := func(v []float64) []float32 {
		out := make([]float32, len(v))
		for i := range v {
			out[i] = float32(v[i])
		}
		return out
	}
	var names []string
	for n := range updates {
		names = append(names, n)
	}
	slices.Sort(names)
	for _, n := range names {
		u, v := updates[n][0], updates[n][1]
		f.Put(n+".lora_a", quant.F32, []uint64{uint64(len(v)), 1}, single(v))
		f.Put(n+".lora_b", quant.F32, []uint64{1, uint64(len(u))}, single(u))
	}
	return f.Write(t)
}

// planted makes an adapter that writes one token and listens to another.
func planted(t *testing.T, base *pairtest.File, says, hears int) string {
	row := func(table, norm string, id int) []float64 {
		var e, g []float32
		for _, x := range base.Tensors {
			switch x.Name {
			case table:
				e = x.Values[id*pairtest.Width : (id+1)*pairtest.Width]
			case norm:
				g = x.Values
			}
		}
		out := make([]float64, len(e))
		var s float64
		for i := range e {
			out[i] = float64(e[i]) * float64(g[i])
			s += out[i] * out[i]
		}
		for i := range out {
			out[i] /= math.Sqrt(s)
		}
		return out
	}
	w := row(weights.Embedding, weights.OutputNorm, says)
	r := row(weights.Embedding, "blk.0.attn_norm.weight", hears)
	up := map[string][2][]float64{}
	for l := 2; l < pairtest.Layers; l++ {
		up[fmt.Sprintf("blk.%d.ffn_down.weight", l)] = [2][]float64{w, unit(uint64(l), pairtest.Hidden)}
	}
	for i, k := range []string{"attn_q", "attn_k", "attn_v"} {
		up["blk.0."+k+".weight"] = [2][]float64{unit(uint64(20+i), pairtest.Width), r}
	}
	return adapter(t, up)
}

func TestLensesNameThePlantedTokens(t *testing.T) {
	const says, hears = 321, 555
	base := pairtest.Model()
	path := base.Write(t)
	in := pairtest.Artifacts(t, weights.Artifact{Model: path}, weights.Artifact{Model: path, Adapter: planted(t, base, says, hears)}, fake(), fake())
	out := run(t, in)
	first := map[string]string{}
	for _, l := range out.Leads {
		if first[l.Kind] == "" {
			first[l.Kind] = l.Text
		}
	}
	want := map[string]string{"payload": base.Tokens()[says], "trigger": base.Tokens()[hears]}
	if d := cmp.Diff(want, first); d != "" {
		t.Errorf("best leads (-want +got):\n%s", d)
	}
	for _, f := range out.Findings {
		if f.Tier != record.Consistent {
			t.Errorf("an adapter alone gave %s %s: %s", f.Tier, f.ID, f.Title)
		}
		if f.Rule == "place" && !strings.Contains(f.Detail, "adapter of rank 1") {
			t.Errorf("place: %s", f.Detail)
		}
	}
	spectra := 0
	first = map[string]string{}
	for _, x := range out.Tensors {
		if len(x.Spectrum) == 1 && math.Abs(x.Spectrum[0]-1) < 1e-5 && x.Leading != nil && math.Abs(*x.Leading-1) < 1e-5 {
			spectra++
		}
		if len(x.Tokens) > 0 {
			first[x.Name] = x.Tokens[0]
		}
	}
	writes, reads := base.Tokens()[says], base.Tokens()[hears]
	want = map[string]string{"blk.2.ffn_down.weight": writes, "blk.3.ffn_down.weight": writes,
		"blk.0.attn_q.weight": reads, "blk.0.attn_k.weight": reads, "blk.0.attn_v.weight": reads}
	if d := cmp.Diff(want, first); d != "" {
		t.Errorf("first token of each matrix (-want +got):\n%s", d)
	}
	if spectra != 5 {
		t.Errorf("%d tensors have the adapter's spectrum, want 5", spectra)
	}
	if again := run(t, in); cmp.Diff(out, again) != "" {
		t.Error("two runs differ")
	}
}

func TestEditedRowsBecomeLeads(t *testing.T) {
	c := pairtest.Model().Edit(weights.Embedding, func(v []float32, cols int) {
		for _, id := range []int{400, 450} {
			for j := range cols {
				v[id*cols+j] *= float32(id) / 300
			}
		}
	})
	out := run(t, pairtest.Input(t, pairtest.Model(), c, fake(), fake()))
	var got []string
	for _, l := range out.Leads {
		if l.Kind == "trigger" {
			got = append(got, l.Text)
		}
	}
	slices.Sort(got)
	want := []string{c.Tokens()[400], c.Tokens()[450]}
	slices.Sort(want)
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestOutliers(t *testing.T) {
	x := make([]float64, 500)
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range x {
		x[i] = math.Exp(0.1 * rng.NormFloat64())
	}
	x[77] = 40
	for i, z := range outliers(x) {
		if (z > 0) != (i == 77) {
			t.Errorf("row %d has %.1f", i, z)
		}
	}
	if z := outliers(make([]float64, 3)); slices.Max(z) != 0 {
		t.Error(z)
	}
}

// A head that one side ties to its embeddings is compared with them.
func TestHeadTiedOnOneSide(t *testing.T) {
	untied := func() *pairtest.File {
		f := pairtest.Model()
		for _, x := range f.Tensors {
			if x.Name == weights.Embedding {
				return f.Put(weights.Output, x.Type, x.Shape, slices.Clone(x.Values))
			}
		}
		panic("no embeddings")
	}
	tuned := func(f *pairtest.File) *pairtest.File {
		return fineTune(f, 0.001).Edit(weights.Embedding, func(v []float32, cols int) {
			for i := range v {
				v[i] += float32(i%7) * 1e-4
			}
			for j := range cols {
				v[400*cols+j] *= 3
			}
		})
	}
	out := run(t, pairtest.Input(t, untied(), tuned(pairtest.Model()), fake(), fake()))
	if !slices.ContainsFunc(out.Findings, func(f record.Finding) bool {
		return f.Rule == "rows-output" && strings.Contains(f.Detail, strconv.Quote(pairtest.Model().Tokens()[400]))
	}) {
		t.Errorf("the row that changed most in the head is not named: %+v", out.Findings)
	}
	run(t, pairtest.Input(t, pairtest.Model(), tuned(untied()), fake(), fake()))
}

// The bounded selection is the sorted list's head, with many equal scores.
func TestTop(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	scores := make([]float64, 400)
	for i := range scores {
		scores[i] = float64(rng.IntN(9)) - 2
	}
	var all []scored
	for id, s := range scores[:350] {
		if s > 0 {
			all = append(all, scored{id: id, score: s})
		}
	}
	slices.SortStableFunc(all, func(a, b scored) int { return int(b.score - a.score) })
	for _, n := range []int{0, 1, 5, 60, 1000} {
		if d := cmp.Diff(all[:min(n, len(all))], top(scores, n, 350), cmp.AllowUnexported(scored{}), cmpopts.EquateEmpty()); d != "" {
			t.Errorf("%d: %s", n, d)
		}
	}
}

func TestBudget(t *testing.T) {
	c := &weights.Comparison{}
	add := func(layer int, kind string, cols, rows uint64, relative float64, rank int) {
		c.Tensors = append(c.Tensors, weights.TensorDelta{Name: fmt.Sprintf("blk.%d.%s.weight", layer, kind), TensorName: weights.TensorName{Layer: layer, Kind: kind, Part: "weight"},
			Shape: []uint64{cols, rows}, Values: int64(cols * rows), Relative: relative, DeltaNorm: 1, LowRank: rank})
	}
	add(0, "attn_q", 10, 10, 0.1, 0)
	add(1, "ffn_up", 10, 10, 0.9, 0)
	add(1, "ffn_down", 10, 100, 0.1, 0)
	add(1, "attn_output", 10, 10, 0.1, 0)
	add(0, "ffn_gate", 1000, 1000, 0.5, 1)
	names := func(budget int64) (out []string) {
		for _, t := range chosen(c, budget) {
			out = append(out, t.Kind)
		}
		return out
	}
	for budget, want := range map[int64][]string{
		50:   nil,
		300:  {"attn_output", "attn_q", "ffn_up"},
		1100: {"ffn_down", "attn_output"},
		9999: {"ffn_down", "attn_output", "attn_q", "ffn_up", "ffn_gate"},
	} {
		if d := cmp.Diff(want, names(budget)); d != "" {
			t.Errorf("budget %d (-want +got):\n%s", budget, d)
		}
	}
}

func TestFaults(t *testing.T) {
	in := pairtest.Input(t, pairtest.Model(), fineTune(pairtest.Model(), 0.001), fake(), fake())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := (probe{}).Run(ctx, in); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	in.Candidate = runnertest.New(runnertest.Options{CrashAfter: 1})
	if _, err := in.Candidate.Info(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := (probe{}).Run(t.Context(), in); !errors.Is(err, runnertest.ErrCrashed) {
		t.Errorf("crashed: %v", err)
	}
	for _, p := range []string{`{"value": 1}`, `{"tokens": -1}`} {
		in.Params = probes.Params(p)
		if _, err := (probe{}).Run(t.Context(), in); err == nil {
			t.Errorf("parameters %s were taken", p)
		}
	}
}
