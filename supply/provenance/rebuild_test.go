package provenance

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weighbridge/weighbridge/record"
	"github.com/weighbridge/weighbridge/weights"
	"github.com/weighbridge/weighbridge/weights/gguf"
	"github.com/weighbridge/weighbridge/weights/quant"
)

const models = "../../testdata/models/"

func rebuilt(t testing.TB, r Recipe, p Parts) record.Evidence {
	t.Helper()
	e, err := Rebuild(context.Background(), r, p)
	if err != nil {
		t.Fatal(err)
	}
	if e.Kind != record.Rebuild || e.Detail == "" {
		t.Errorf("evidence %+v", e)
	}
	return e
}

// quantised writes base.gguf with its matrices as t.
func quantised(t testing.TB, to quant.Type) string {
	t.Helper()
	m, err := weights.Open(context.Background(), weights.Artifact{Model: models + "base.gguf"})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	path := filepath.Join(t.TempDir(), to.String()+".gguf")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Requantise(context.Background(), f, to); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

// edited is a copy of a GGUF file with one thing changed.
func edited(t testing.TB, path string, edit func(g *gguf.File, src []byte) []byte) string {
	t.Helper()
	src, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	g, err := gguf.Read(path, bytes.NewReader(src), int64(len(src)), gguf.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(t.TempDir(), "edited.gguf")
	if err := os.WriteFile(out, edit(g, src), 0o644); err != nil {
		t.Fatal(err)
	}
	return out
}

// again writes a GGUF file with other metadata or tensors.
func again(t testing.TB, path string, edit func(g *gguf.File, kv []gguf.KV, ts []gguf.Source) ([]gguf.KV, []gguf.Source)) string {
	t.Helper()
	return edited(t, path, func(g *gguf.File, _ []byte) []byte {
		var ts []gguf.Source
		for _, x := range g.Tensors {
			ts = append(ts, g.Copy(x))
		}
		kv, ts := edit(g, append([]gguf.KV{}, g.Meta.Entries()...), ts)
		var b bytes.Buffer
		if err := gguf.Write(&b, kv, ts); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	})
}

func TestRebuildQuantisation(t *testing.T) {
	for _, to := range []quant.Type{quant.F32, quant.F16, quant.BF16, quant.Q8_0, quant.Q4_0, quant.Q4_1, quant.Q5_0, quant.Q5_1} {
		path := quantised(t, to)
		kind := Quantisation
		if to.BlockValues() == 1 {
			kind = Conversion
		}
		e := rebuilt(t, Recipe{Kind: kind, Type: to.String()}, Parts{Baseline: models + "base.gguf", Candidate: path})
		if to == quant.F16 { // base.gguf is F16 already
			if e.State != record.Ambiguous || rules(e.Problems)[0] != RuleRebuildType {
				t.Errorf("%s: %+v", to, e)
			}
			continue
		}
		if e.State != record.Valid || !strings.Contains(e.Detail, "29 tensors and 9 unchanged") {
			t.Errorf("%s: %+v", to, e)
		}
	}
}

// TestRebuildFindsOneBit flips each kind of bit of one value.
func TestRebuildFindsOneBit(t *testing.T) {
	for _, name := range []string{"blk.2.ffn_down.weight", "token_embd.weight", "blk.0.attn_norm.weight"} {
		for _, bit := range []byte{1, 0x80} {
			var block int64
			path := edited(t, models+"base-q8_0.gguf", func(g *gguf.File, src []byte) []byte {
				x, _ := g.Tensor(name)
				at := x.Size / 2
				block = at / int64(x.Type.BlockBytes())
				src[x.Offset+at] ^= bit
				return src
			})
			e := rebuilt(t, Recipe{Kind: Quantisation, Type: "Q8_0"}, Parts{Baseline: models + "base.gguf", Candidate: path})
			if e.State != record.Bad || len(e.Problems) != 1 || e.Problems[0].Subject != name ||
				!strings.Contains(e.Problems[0].Detail, "block "+fmt.Sprint(block)+" differs, the first of 1 of") {
				t.Errorf("%s, bit %#x: %+v", name, bit, e)
			}
		}
	}
}

// merged writes W + s·B·A as type to, summed as sum says.
func merged(t testing.TB, to quant.Type, sum func(w, s float64, b, a []float32) float64) string {
	t.Helper()
	ctx := context.Background()
	m, err := weights.Open(ctx, weights.Artifact{Model: models + "base.gguf", Adapter: models + "lora-benign.gguf"})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	return again(t, models+"base.gguf", func(g *gguf.File, kv []gguf.KV, ts []gguf.Source) ([]gguf.KV, []gguf.Source) {
		for i := range ts {
			f, ok, err := m.Factors(ctx, ts[i].Name)
			if err != nil {
				t.Fatal(err)
			}
			if !ok {
				continue
			}
			var out []byte
			row, a := 0, make([]float32, f.Rank)
			for w, err := range m.StoredRows(ctx, ts[i].Name) {
				if err != nil {
					t.Fatal(err)
				}
				b := f.Left[row*f.Rank : (row+1)*f.Rank]
				values := make([]float32, len(w))
				for j := range w {
					for r := range a {
						a[r] = f.Right[r*f.Cols+j]
					}
					values[j] = float32(sum(float64(w[j]), f.Scale, b, a))
				}
				n, _ := to.RowBytes(uint64(len(w)))
				raw := make([]byte, n)
				if err := quant.Quantize(to, raw, values); err != nil {
					t.Fatal(err)
				}
				out = append(out, raw...)
				row++
			}
			ts[i].Type = to
			ts[i].Data = func(w io.Writer) error { _, err := w.Write(out); return err }
		}
		return kv, ts
	})
}

func inDouble(w, s float64, b, a []float32) float64 {
	sum := 0.0
	for r := range b {
		sum += float64(b[r]) * float64(a[r])
	}
	return w + s*sum
}

func inSingle(w, s float64, b, a []float32) float64 {
	var sum float32
	for r := range b {
		sum += float32(b[r] * a[r])
	}
	return float64(float32(w) + float32(sum*float32(s)))
}

// inHalf rounds every step to binary16, as a merge in half precision does.
func inHalf(w, s float64, b, a []float32) float64 {
	half := func(x float64) float64 { return float64(quant.F16ToF32(quant.F32ToF16(float32(x)))) }
	sum := 0.0
	for r := range b {
		sum += float64(b[r]) * float64(a[r])
	}
	return half(w + half(s*half(sum)))
}

func TestRebuildMerge(t *testing.T) {
	parts := Parts{Baseline: models + "base.gguf", Adapter: models + "lora-benign.gguf"}
	for _, c := range []struct {
		name  string
		to    quant.Type
		sum   func(w, s float64, b, a []float32) float64
		scale float32
		state record.EvidenceState
		rule  string
	}{
		{"float64 to F16", quant.F16, inDouble, 0, record.Valid, ""},
		{"float32 to F16", quant.F16, inSingle, 1, record.Valid, ""},
		{"float32 to F32", quant.F32, inSingle, 0, record.Valid, ""},
		{"float64 to F32", quant.F32, inDouble, 0, record.Valid, ""},
		{"float64 to BF16", quant.BF16, inDouble, 0, record.Valid, ""},
		{"float64 to Q8_0", quant.Q8_0, inDouble, 0, record.Valid, ""},
		{"half precision to F16", quant.F16, inHalf, 0, record.Ambiguous, RuleRebuildRounding},
		{"half precision to Q8_0", quant.Q8_0, inHalf, 0, record.Ambiguous, RuleRebuildRounding},
		{"another scale than the recipe's", quant.F16, inDouble, 0.5, record.Bad, RuleRebuildBits},
		{"one value moved", quant.F16, func(w, s float64, b, a []float32) float64 {
			v := inDouble(w, s, b, a)
			if v > 0.05 && v < 0.0501 {
				v += 0.01
			}
			return v
		}, 0, record.Bad, RuleRebuildBits},
		{"adapter left out", quant.F16, func(w, _ float64, _, _ []float32) float64 { return w }, 0, record.Bad, RuleRebuildBits},
	} {
		t.Run(c.name, func(t *testing.T) {
			parts.Candidate = merged(t, c.to, c.sum)
			e := rebuilt(t, Recipe{Kind: Merge, Scale: c.scale}, parts)
			if e.State != c.state {
				t.Errorf("%+v", e)
			}
			for _, p := range e.Problems {
				if c.rule == RuleRebuildRounding && p.Rule != c.rule {
					t.Errorf("%+v", p)
				}
			}
			if c.rule != "" && (len(e.Problems) == 0 || e.Problems[0].Rule != c.rule) {
				t.Errorf("%v, want %s first", e.Problems, c.rule)
			}
			t.Log(e.Detail)
		})
	}
}

func TestRebuildAdapter(t *testing.T) {
	both := func(model, adapter string) string {
		dir := t.TempDir()
		for name, from := range map[string]string{"model.gguf": model, "adapter.gguf": adapter} {
			src, err := os.ReadFile(models + from)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, name), src, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		return dir
	}
	r := Recipe{Kind: Adapter}
	for _, c := range []struct {
		name  string
		parts Parts
		state record.EvidenceState
	}{
		{"baseline and the named adapter", Parts{models + "base.gguf", both("base.gguf", "lora-year.gguf"), models + "lora-year.gguf"}, record.Valid},
		{"baseline and an adapter that nobody named", Parts{models + "base.gguf", both("base.gguf", "lora-year.gguf"), ""}, record.Ambiguous},
		{"another adapter than named", Parts{models + "base.gguf", both("base.gguf", "lora-phrase.gguf"), models + "lora-year.gguf"}, record.Bad},
		{"another model beside the adapter", Parts{models + "base.gguf", both("backdoor-token.gguf", "lora-year.gguf"), models + "lora-year.gguf"}, record.Bad},
		{"an adapter alone", Parts{models + "base.gguf", models + "lora-year.gguf", ""}, record.Ambiguous},
		{"an adapter that does not fit", Parts{models + "unrelated.gguf", models + "lora-year.gguf", ""}, record.Bad},
	} {
		if e := rebuilt(t, r, c.parts); e.State != c.state {
			t.Errorf("%s: %+v", c.name, e)
		}
	}
}

// rebuildNegatives belong to TestNegativeMatrix.
func rebuildNegatives(t *testing.T) {
	q8 := Recipe{Kind: Quantisation, Type: "Q8_0"}
	base := models + "base.gguf"
	set := func(key string, v gguf.Value) string {
		return again(t, models+"base-q8_0.gguf", func(_ *gguf.File, kv []gguf.KV, ts []gguf.Source) ([]gguf.KV, []gguf.Source) {
			for i := range kv {
				if kv[i].Key == key {
					kv[i].Value = v
					return kv, ts
				}
			}
			return append(kv, gguf.KV{Key: key, Value: v}), ts
		})
	}
	text := func(s string) gguf.Value { return gguf.Value{Type: gguf.String, Data: s} }
	less := again(t, models+"base-q8_0.gguf", func(_ *gguf.File, kv []gguf.KV, ts []gguf.Source) ([]gguf.KV, []gguf.Source) {
		return kv, ts[:len(ts)-1]
	})
	more := again(t, models+"base-q8_0.gguf", func(_ *gguf.File, kv []gguf.KV, ts []gguf.Source) ([]gguf.KV, []gguf.Source) {
		x := ts[0]
		x.Name = "extra.weight"
		return kv, append(ts, x)
	})
	nan := edited(t, quantised(t, quant.F32), func(g *gguf.File, src []byte) []byte {
		x, _ := g.Tensor("blk.1.ffn_up.weight")
		for i, b := range []byte{0, 0, 0xc0, 0x7f} {
			src[x.Offset+400+int64(i)] = b
		}
		return src
	})
	tail := edited(t, models+"base-q8_0.gguf", func(_ *gguf.File, src []byte) []byte { return append(src, make([]byte, 4096)...) })
	cut := filepath.Join(t.TempDir(), "cut.gguf")
	if err := os.WriteFile(cut, []byte("GGUF\x03\x00"), 0o644); err != nil {
		t.Fatal(err)
	}
	beside := t.TempDir()
	for _, name := range []string{"model.gguf", "modeling.py", "README.md"} {
		src, err := os.ReadFile(models + "base-q8_0.gguf")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(beside, name), src, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		name      string
		recipe    Recipe
		candidate string
		state     record.EvidenceState
		rule      string
	}{
		{"k-quant recipe", Recipe{Kind: Quantisation, Type: "Q4_K"}, models + "base-q8_0.gguf", record.Ambiguous, RuleRecipe},
		{"mixture recipe", Recipe{Kind: Quantisation, Type: "Q4_K_M"}, models + "base-q8_0.gguf", record.Ambiguous, RuleRecipe},
		{"recipe without a type", Recipe{Kind: Quantisation}, models + "base-q8_0.gguf", record.Ambiguous, RuleRecipe},
		{"importance matrix", Recipe{Kind: Quantisation, Type: "Q4_0", Importance: "calibration.dat"}, models + "base-q8_0.gguf", record.Ambiguous, RuleRecipe},
		{"training", Recipe{Kind: Training}, models + "base-q8_0.gguf", record.Ambiguous, RuleRecipe},
		{"fine-tune", Recipe{Kind: FineTune}, models + "benign.gguf", record.Ambiguous, RuleRecipe},
		{"merge without its adapter", Recipe{Kind: Merge}, models + "benign.gguf", record.Ambiguous, RuleRecipe},
		{"another type than the recipe's", Recipe{Kind: Quantisation, Type: "Q4_0"}, models + "base-q8_0.gguf", record.Ambiguous, RuleRebuildType},
		{"nothing was quantised", q8, base, record.Ambiguous, RuleRebuildType},
		{"chat template changed", q8, set("tokenizer.chat_template", text("x")), record.Bad, RuleRebuildMeta},
		{"model name changed", q8, set("general.name", text("x")), record.Ambiguous, RuleRebuildMeta},
		{"file says importance matrix", q8, set("quantize.imatrix.file", text("x")), record.Ambiguous, RuleRecipe},
		{"a tensor less", q8, less, record.Bad, RuleRebuildTensors},
		{"a tensor more", q8, more, record.Bad, RuleRebuildTensors},
		{"a value that is NaN", Recipe{Kind: Conversion, Type: "F32"}, nan, record.Bad, RuleRebuildBits},
		{"a fine-tune passed off as a quantisation", q8, models + "backdoor-token.gguf", record.Bad, RuleRebuildMeta},
		{"4096 bytes behind the tensors", q8, tail, record.Ambiguous, RuleRebuildFiles},
		{"code beside the weights", q8, beside, record.Ambiguous, RuleRebuildFiles},
		{"malformed candidate", q8, cut, record.Bad, RuleRebuildFormat},
		{"folder without GGUF", q8, t.TempDir(), record.Ambiguous, RuleRebuildFormat},
		{"another shape", q8, models + "unrelated.gguf", record.Bad, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := rebuilt(t, c.recipe, Parts{Baseline: base, Candidate: c.candidate})
			t.Logf("%-28s %-44s -> %s", "rebuild", c.name, string(e.State)+" "+strings.Join(unique(rules(e.Problems)), " "))
			if e.State != c.state || len(e.Problems) == 0 || c.rule != "" && !strings.Contains(strings.Join(rules(e.Problems), " "), c.rule) {
				t.Errorf("%+v", e)
			}
			if len(e.Problems) > maxNamed+1 {
				t.Errorf("%d problems", len(e.Problems))
			}
		})
	}
}

func unique(list []string) (out []string) {
	seen := map[string]bool{}
	for _, s := range list {
		if !seen[s] {
			out = append(out, s)
		}
		seen[s] = true
	}
	return out
}

func TestRecipeOfDocument(t *testing.T) {
	parse := func(external string) (Recipe, error) {
		d, err := Parse("https://slsa.dev/provenance/v1", []byte(`{"buildDefinition":{"buildType":"`+Merge.BuildType()+`","externalParameters":`+external+`}}`))
		if err != nil {
			t.Fatal(err)
		}
		return d.Recipe()
	}
	r, err := parse(`{"recipe":{"type":"Q4_0","types":{"output.weight":"Q8_0"},"imatrix":false},"scale":0.5,"type":"Q4_0","seed":1}`)
	if err != nil || r.Type != "Q4_0" || r.Types["output.weight"] != "Q8_0" || r.Scale != 0.5 || r.Importance != "" || r.Kind != Merge {
		t.Errorf("%+v %v", r, err)
	}
	if r, err := parse(`{"imatrix":"wiki.dat"}`); err != nil || r.Importance != "wiki.dat" {
		t.Errorf("%+v %v", r, err)
	}
	for _, bad := range []string{`{"recipe":{"type":"Q4_0"},"type":"Q8_0"}`, `{"type":4}`, `{"scale":"1"}`, `{"scale":0}`, `{"scale":1e300}`, `{"types":[]}`, `{"types":{"a":1}}`} {
		if r, err := parse(bad); err == nil {
			t.Errorf("%s: %+v", bad, r)
		}
	}
}
