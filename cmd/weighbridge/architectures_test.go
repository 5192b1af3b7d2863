package main

import (
	"fmt"
	"io"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/weighbridge/weighbridge/weights"
	"github.com/weighbridge/weighbridge/weights/gguf"
	"github.com/weighbridge/weighbridge/weights/quant"
)

// tensor is a tensor of a weightsFile, in float32.
type tensor struct {
	name       string
	cols, rows int // rows is 0 for a vector
	values     []float32
}

// weightsFile is a GGUF file in the making. Changes are made to copies: the
// slices of values are shared until edit replaces them.
type weightsFile struct {
	meta    []gguf.KV
	tensors []tensor
}

// tiny reads one of the trained models in testdata.
func tiny(t *testing.T, name string) *weightsFile {
	t.Helper()
	m, err := weights.Open(t.Context(), weights.Artifact{Model: models + name})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	f := &weightsFile{meta: slices.Clone(m.Metadata().Entries())}
	for _, x := range m.Tensors() {
		v := tensor{name: x.Name, cols: x.Cols(), values: make([]float32, x.Values())}
		if len(x.Shape) > 1 {
			v.rows = x.Rows()
		}
		if err := m.ReadRows(t.Context(), x.Name, 0, v.values); err != nil {
			t.Fatal(err)
		}
		f.tensors = append(f.tensors, v)
	}
	return f
}

func (f *weightsFile) clone() *weightsFile {
	return &weightsFile{slices.Clone(f.meta), slices.Clone(f.tensors)}
}

func (f *weightsFile) set(key string, v gguf.Value) *weightsFile {
	f = f.clone()
	if i := slices.IndexFunc(f.meta, func(kv gguf.KV) bool { return kv.Key == key }); i >= 0 {
		f.meta[i].Value = v
	} else {
		f.meta = append(f.meta, gguf.KV{Key: key, Value: v})
	}
	return f
}

func (f *weightsFile) drop(key string) *weightsFile {
	f = f.clone()
	f.meta = slices.DeleteFunc(f.meta, func(kv gguf.KV) bool { return kv.Key == key })
	return f
}

func (f *weightsFile) get(name string) tensor {
	i := slices.IndexFunc(f.tensors, func(x tensor) bool { return x.name == name })
	if i < 0 {
		panic("no tensor " + name)
	}
	return f.tensors[i]
}

func (f *weightsFile) put(xs ...tensor) *weightsFile {
	f = f.clone()
	for _, x := range xs {
		if i := slices.IndexFunc(f.tensors, func(y tensor) bool { return y.name == x.name }); i >= 0 {
			f.tensors[i] = x
		} else {
			f.tensors = append(f.tensors, x)
		}
	}
	return f
}

func (f *weightsFile) remove(names ...string) *weightsFile {
	f = f.clone()
	f.tensors = slices.DeleteFunc(f.tensors, func(x tensor) bool { return slices.Contains(names, x.name) })
	return f
}

// edit changes one value, counted from the start of the tensor.
func (f *weightsFile) edit(name string, at int, value float64) *weightsFile {
	x := f.get(name)
	x.values = slices.Clone(x.values)
	x.values[at] = float32(value)
	return f.put(x)
}

// scaled multiplies the values of a tensor.
func (f *weightsFile) scaled(name string, by float64) *weightsFile {
	x := f.get(name)
	x.values = slices.Clone(x.values)
	for i := range x.values {
		x.values[i] *= float32(by)
	}
	return f.put(x)
}

// perturbed adds Gaussian noise to every matrix: relative is ‖ΔW‖ ÷ ‖W‖.
func (f *weightsFile) perturbed(relative float64) *weightsFile {
	f = f.clone()
	for i, x := range f.tensors {
		if x.rows == 0 {
			continue
		}
		var sum float64
		for _, v := range x.values {
			sum += float64(v) * float64(v)
		}
		rng := rand.New(rand.NewPCG(7, uint64(i)))
		sd := relative * math.Sqrt(sum/float64(len(x.values)))
		v := slices.Clone(x.values)
		for k := range v {
			v[k] += float32(sd * rng.NormFloat64())
		}
		f.tensors[i].values = v
	}
	return f
}

// tokens is the vocabulary with the types of its tokens.
func (f *weightsFile) tokens() ([]string, []int32) {
	m := gguf.NewMetadata(f.meta)
	tokens, _ := m.Strings("tokenizer.ggml.tokens")
	types, _ := m.Int32s("tokenizer.ggml.token_type")
	return slices.Clone(tokens), slices.Clone(types)
}

// grown adds tokens up to n of them; their rows are small and random.
func (f *weightsFile) grown(n int) *weightsFile {
	tokens, types := f.tokens()
	table := f.get(weights.Embedding)
	rng := rand.New(rand.NewPCG(5, 6))
	v := append(make([]float32, 0, n*table.cols), table.values...)
	for len(v) < n*table.cols {
		v = append(v, float32(0.02*rng.NormFloat64()))
	}
	for i := len(tokens); i < n; i++ {
		tokens, types = append(tokens, fmt.Sprintf("Ġextra%d", i)), append(types, int32(weights.TokenNormal))
	}
	arch, _ := gguf.NewMetadata(f.meta).String("general.architecture")
	table.rows, table.values = n, v
	return f.set("tokenizer.ggml.tokens", gguf.A(tokens)).set("tokenizer.ggml.token_type", gguf.A(types)).set(arch+".vocab_size", gguf.V(uint32(n))).put(table)
}

// write stores matrices as F16 and vectors as F32 and returns the path.
func (f *weightsFile) write(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "model.gguf")
	w, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	var list []gguf.Source
	for _, x := range f.tensors {
		kind, shape := quant.F32, []uint64{uint64(x.cols)}
		if x.rows > 0 {
			kind, shape = quant.F16, append(shape, uint64(x.rows))
		}
		list = append(list, gguf.Source{Name: x.name, Type: kind, Shape: shape, Data: func(w io.Writer) error {
			n, _ := kind.RowBytes(uint64(len(x.values)))
			raw := make([]byte, n)
			if err := quant.Quantize(kind, raw, x.values); err != nil {
				return err
			}
			_, err := w.Write(raw)
			return err
		}})
	}
	if err := gguf.Write(w, f.meta, list); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

// The shape of the trained models.
const (
	tinyWidth, tinyHidden, tinyLayers    = 128, 192, 4
	tinyHead, tinyHeads, tinyKeyValHeads = 32, 4, 2
)

func vector(name string, n int, value float32) tensor {
	return tensor{name: name, cols: n, values: slices.Repeat([]float32{value}, n)}
}

// halves turns the rows of a matrix from llama's order, in which rotary
// embedding turns neighbours, to that in which it turns the halves of a head.
func (x tensor) halves(heads int) tensor {
	v := make([]float32, len(x.values))
	for h := range heads {
		for j := range tinyHead / 2 {
			for k := range 2 {
				from, to := h*tinyHead+2*j+k, h*tinyHead+k*tinyHead/2+j
				copy(v[to*x.cols:(to+1)*x.cols], x.values[from*x.cols:(from+1)*x.cols])
			}
		}
	}
	x.values = v
	return x
}

// stacked puts the rows of matrices on top of each other.
func stacked(name string, xs ...tensor) tensor {
	out := tensor{name: name, cols: xs[0].cols}
	for _, x := range xs {
		out.rows += x.rows
		out.values = append(out.values, x.values...)
	}
	return out
}

// as rewrites a llama as another architecture. qwen2 and phi3 then compute the
// same function; the others have norms and activations of their own, and say
// whatever that makes of the trained matrices.
func (f *weightsFile) as(arch string) *weightsFile {
	f = f.set("general.architecture", gguf.V(arch))
	for i, kv := range f.meta {
		if rest, ok := strings.CutPrefix(kv.Key, "llama."); ok {
			f.meta[i].Key = arch + "." + rest
		}
	}
	if arch == "llama" {
		return f
	}
	gemma := strings.HasPrefix(arch, "gemma")
	for l := range tinyLayers {
		b := fmt.Sprintf("blk.%d.", l)
		q, k, v := f.get(b+"attn_q.weight").halves(tinyHeads), f.get(b+"attn_k.weight").halves(tinyKeyValHeads), f.get(b+"attn_v.weight")
		f = f.put(q, k)
		if arch == "qwen2" {
			f = f.put(vector(b+"attn_q.bias", q.rows, 0), vector(b+"attn_k.bias", k.rows, 0), vector(b+"attn_v.bias", v.rows, 0))
		}
		if arch == "phi3" {
			up := stacked(b+"ffn_up.weight", f.get(b+"ffn_gate.weight"), f.get(b+"ffn_up.weight"))
			f = f.put(stacked(b+"attn_qkv.weight", q, k, v), up).remove(q.name, k.name, v.name, b+"ffn_gate.weight")
		}
		if arch == "qwen3" || arch == "gemma3" {
			f = f.put(vector(b+"attn_q_norm.weight", tinyHead, 1.5), vector(b+"attn_k_norm.weight", tinyHead, 1.5))
		}
		if arch == "gemma2" || arch == "gemma3" {
			f = f.put(vector(b+"post_attention_norm.weight", tinyWidth, 0.5), vector(b+"post_ffw_norm.weight", tinyWidth, 0.5))
		}
	}
	if gemma { // multiplies embeddings by the root of the width
		root := math.Sqrt(tinyWidth)
		f = f.scaled(weights.Embedding, 1/root).scaled(weights.OutputNorm, root)
		f = f.set(arch+".attention.key_length", gguf.V(uint32(tinyHead))).set(arch+".attention.value_length", gguf.V(uint32(tinyHead)))
	}
	if arch == "gemma2" || arch == "gemma3" {
		f = f.set(arch+".attention.sliding_window", gguf.V(uint32(64)))
	}
	if arch == "gemma3" { // every sixth layer sees everything, so there have to be six
		f = f.lengthened(6)
	}
	return f
}

// lengthened adds layers that write nothing.
func (f *weightsFile) lengthened(layers int) *weightsFile {
	arch, _ := gguf.NewMetadata(f.meta).String("general.architecture")
	f = f.set(arch+".block_count", gguf.V(uint32(layers)))
	for _, x := range f.tensors {
		kind, ok := strings.CutPrefix(x.name, "blk.0.")
		if !ok {
			continue
		}
		if kind == "attn_output.weight" || kind == "ffn_down.weight" {
			x.values = make([]float32, len(x.values))
		}
		for l := tinyLayers; l < layers; l++ {
			x.name = fmt.Sprintf("blk.%d.%s", l, kind)
			f = f.put(x)
		}
	}
	return f
}

// untied gives the model a head of its own with the values of its embeddings.
func (f *weightsFile) untied() *weightsFile {
	x := f.get(weights.Embedding)
	x.name = weights.Output
	return f.put(x)
}

// adapter is a random LoRA adapter of every attention output and ffn_down; the
// product of its factors has the norm that size says, and none with 0.
func adapter(t *testing.T, arch string, rank int, size float64) string {
	f := (&weightsFile{}).set("general.architecture", gguf.V(arch)).set("general.type", gguf.V("adapter")).
		set("adapter.type", gguf.V("lora")).set("adapter.lora.alpha", gguf.V(float32(rank)))
	rng := rand.New(rand.NewPCG(9, uint64(rank)))
	draw := func(name string, cols, rows int, sd float64) tensor {
		x := tensor{name: name, cols: cols, rows: rows, values: make([]float32, cols*rows)}
		for i := range x.values {
			x.values[i] = float32(sd * rng.NormFloat64())
		}
		return x
	}
	in := map[string]int{"attn_output": tinyWidth, "ffn_down": tinyHidden}
	for l := range tinyLayers {
		for _, kind := range slices.Sorted(maps.Keys(in)) {
			name := fmt.Sprintf("blk.%d.%s.weight", l, kind)
			sd := math.Sqrt(size / math.Sqrt(float64(rank*in[kind]*tinyWidth)))
			f = f.put(draw(name+".lora_a", in[kind], rank, sd), draw(name+".lora_b", rank, tinyWidth, sd))
		}
	}
	return f.write(t)
}
