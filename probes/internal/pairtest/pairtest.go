// Package pairtest makes pairs of small GGUF files for tests of probes: a llama
// of a few random layers with the vocabulary of runnertest, so that a Fake can
// stand for its engine. Tests change a File and open two of them.
//
// It will not run weights: what a Fake answers has nothing to do with the
// tensors here.
package pairtest

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/weighbridge/weighbridge/probes"
	"github.com/weighbridge/weighbridge/runners"
	"github.com/weighbridge/weighbridge/runners/runnertest"
	"github.com/weighbridge/weighbridge/weights"
	"github.com/weighbridge/weighbridge/weights/gguf"
	"github.com/weighbridge/weighbridge/weights/quant"
)

// Sizes of the model.
const (
	Width  = 64
	Hidden = 96
	Layers = 4
)

// Template is the chat template that the files name; it prints what
// runnertest.ChatML prints.
const Template = "{% if tools %}{{ '<|im_start|>system\nTools: ' ~ tools|tojson ~ '<|im_end|>\n' }}{% endif %}{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"

// Tensor is one tensor of a File.
type Tensor struct {
	Name   string
	Type   quant.Type
	Shape  []uint64 // ggml order
	Values []float32
	Raw    []byte // the blocks to store, where they are not those of quant.Quantize
}

// File is a GGUF file in the making.
type File struct {
	Meta    []gguf.KV
	Tensors []Tensor
}

// Model is the baseline: F32, tied head.
func Model() *File {
	f := &File{}
	info := runnertest.New(runnertest.Options{}).Describe()
	tokens, types := make([]string, info.VocabSize), make([]int32, info.VocabSize)
	for i := range tokens {
		tokens[i], types[i] = runnertest.Text([]runners.Token{runners.Token(i)}), int32(weights.TokenNormal)
		if len(tokens[i]) == 1 && tokens[i][0] >= 0x80 { // one byte is no UTF-8; GGUF spells it
			tokens[i], types[i] = fmt.Sprintf("<0x%02X>", tokens[i][0]), int32(weights.TokenByte)
		}
	}
	kinds := map[string]weights.TokenType{"control": weights.TokenControl, "unused": weights.TokenUnused, "user-defined": weights.TokenUserDefined, "unknown": weights.TokenUnknown}
	for _, s := range info.Special {
		types[s.ID] = int32(kinds[s.Kind])
	}
	f.Set("general.architecture", gguf.V("llama")).Set("general.name", gguf.V("pairtest"))
	f.Set("llama.block_count", gguf.V(uint32(Layers))).Set("llama.embedding_length", gguf.V(uint32(Width)))
	f.Set("llama.context_length", gguf.V(uint32(2048))).Set("llama.rope.freq_base", gguf.V(float32(10000)))
	f.Set("llama.attention.layer_norm_rms_epsilon", gguf.V(float32(1e-5)))
	f.Set("tokenizer.ggml.model", gguf.V("gpt2")).Set("tokenizer.ggml.pre", gguf.V("smollm"))
	f.Set("tokenizer.ggml.tokens", gguf.A(tokens)).Set("tokenizer.ggml.token_type", gguf.A(types)).Set("tokenizer.ggml.merges", gguf.A([]string{"t h", "th e"}))
	f.Set("tokenizer.ggml.bos_token_id", gguf.V(uint32(runnertest.BOS))).Set("tokenizer.ggml.eos_token_id", gguf.V(uint32(runnertest.End)))
	f.Set("tokenizer.chat_template", gguf.V(Template))
	rng := rand.New(rand.NewPCG(3, 4))
	gauss := func(n int, mean, sd float64) []float32 {
		v := make([]float32, n)
		for i := range v {
			v[i] = float32(mean + sd*rng.NormFloat64())
		}
		return v
	}
	matrix := func(name string, cols, rows int) {
		f.Put(name, quant.F32, []uint64{uint64(cols), uint64(rows)}, gauss(cols*rows, 0, 0.05))
	}
	norm := func(name string) { f.Put(name, quant.F32, []uint64{Width}, gauss(Width, 1, 0.01)) }
	matrix(weights.Embedding, Width, len(tokens))
	for l := range Layers {
		b := fmt.Sprintf("blk.%d.", l)
		norm(b + "attn_norm.weight")
		for _, k := range []string{"attn_q", "attn_k", "attn_v", "attn_output"} {
			matrix(b+k+".weight", Width, Width)
		}
		norm(b + "ffn_norm.weight")
		matrix(b+"ffn_gate.weight", Width, Hidden)
		matrix(b+"ffn_up.weight", Width, Hidden)
		matrix(b+"ffn_down.weight", Hidden, Width)
	}
	norm(weights.OutputNorm)
	return f
}

// Set adds or replaces a key.
func (f *File) Set(key string, v gguf.Value) *File {
	for i := range f.Meta {
		if f.Meta[i].Key == key {
			f.Meta[i].Value = v
			return f
		}
	}
	f.Meta = append(f.Meta, gguf.KV{Key: key, Value: v})
	return f
}

// Drop removes a key.
func (f *File) Drop(key string) *File {
	f.Meta = slices.DeleteFunc(f.Meta, func(kv gguf.KV) bool { return kv.Key == key })
	return f
}

// Tokens is a copy of the vocabulary's strings.
func (f *File) Tokens() []string {
	v, _ := gguf.NewMetadata(f.Meta).Strings("tokenizer.ggml.tokens")
	return slices.Clone(v)
}

// Put adds or replaces a tensor.
func (f *File) Put(name string, t quant.Type, shape []uint64, values []float32) *File {
	x := Tensor{Name: name, Type: t, Shape: shape, Values: values}
	for i := range f.Tensors {
		if f.Tensors[i].Name == name {
			f.Tensors[i] = x
			return f
		}
	}
	f.Tensors = append(f.Tensors, x)
	return f
}

// Edit changes the values of a tensor in place.
func (f *File) Edit(name string, change func(v []float32, cols int)) *File {
	for i := range f.Tensors {
		if t := &f.Tensors[i]; t.Name == name {
			t.Values = slices.Clone(t.Values)
			change(t.Values, int(t.Shape[0]))
			return f
		}
	}
	panic("pairtest: no tensor " + name)
}

// As stores every matrix whose rows are whole blocks as another type.
func (f *File) As(t quant.Type) *File {
	for i := range f.Tensors {
		if x := &f.Tensors[i]; len(x.Shape) > 1 && x.Shape[0]%uint64(t.BlockValues()) == 0 {
			x.Type = t
		}
	}
	return f
}

// Write writes the file into a new folder and returns its path.
func (f *File) Write(t testing.TB) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "model.gguf")
	w, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	var list []gguf.Source
	for _, x := range f.Tensors {
		n, ok := x.Type.RowBytes(uint64(len(x.Values)))
		if !ok {
			t.Fatalf("tensor %s: %d values are no whole blocks of %s", x.Name, len(x.Values), x.Type)
		}
		raw := make([]byte, n)
		if x.Raw != nil {
			raw = x.Raw
		} else if err := quant.Quantize(x.Type, raw, x.Values); err != nil {
			t.Fatal(err)
		}
		list = append(list, gguf.Source{Name: x.Name, Type: x.Type, Shape: x.Shape, Data: func(w io.Writer) error {
			_, err := w.Write(raw)
			return err
		}})
	}
	if err := gguf.Write(w, f.Meta, list); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

// Open opens two artifacts and compares them.
func Open(t testing.TB, baseline, candidate weights.Artifact) *probes.Weights {
	t.Helper()
	ctx := context.Background()
	w := &probes.Weights{}
	for _, x := range []struct {
		a  weights.Artifact
		to **weights.Model
	}{{baseline, &w.Baseline}, {candidate, &w.Candidate}} {
		m, err := weights.Open(ctx, x.a)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := m.Close(); err != nil {
				t.Error(err)
			}
		})
		*x.to = m
	}
	var err error
	if w.Comparison, err = weights.Compare(ctx, w.Baseline, w.Candidate); err != nil {
		t.Fatal(err)
	}
	return w
}

// Input is a quick run over two files, with b and c as their engines.
func Input(t testing.TB, baseline, candidate *File, b, c runners.Model) *probes.Input {
	t.Helper()
	return Artifacts(t, weights.Artifact{Model: baseline.Write(t)}, weights.Artifact{Model: candidate.Write(t)}, b, c)
}

// Artifacts is Input for files that are written already.
func Artifacts(t testing.TB, baseline, candidate weights.Artifact, b, c runners.Model) *probes.Input {
	t.Helper()
	in := &probes.Input{Baseline: b, Candidate: c, Weights: Open(t, baseline, candidate), SameIDs: true, Level: probes.Quick, Budget: 30_000, Seed: 1}
	var err error
	if in.BaselineInfo, err = b.Info(t.Context()); err != nil {
		t.Fatal(err)
	}
	if in.CandidateInfo, err = c.Info(t.Context()); err != nil {
		t.Fatal(err)
	}
	return in
}
