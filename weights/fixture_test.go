package weights

import (
	"bytes"
	"context"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/weighbridge/weighbridge/weights/gguf"
	"github.com/weighbridge/weighbridge/weights/quant"
)

// blob is a GGUF file in the making; tests change it and write it out.
type blob struct {
	meta    []gguf.KV
	tensors []gguf.Source
}

func (b *blob) set(key string, v gguf.Value) *blob {
	for i := range b.meta {
		if b.meta[i].Key == key {
			b.meta[i].Value = v
			return b
		}
	}
	b.meta = append(b.meta, gguf.KV{Key: key, Value: v})
	return b
}

func (b *blob) get(key string) any {
	v, _ := gguf.NewMetadata(b.meta).Get(key)
	return v.Data
}

func (b *blob) drop(key string) *blob {
	for i := range b.meta {
		if b.meta[i].Key == key {
			b.meta = append(b.meta[:i:i], b.meta[i+1:]...)
			break
		}
	}
	return b
}

// put adds or replaces a tensor; values are encoded as t.
func (b *blob) put(name string, t quant.Type, shape []uint64, values []float32) *blob {
	n, ok := t.RowBytes(uint64(len(values)))
	raw := make([]byte, n)
	if !ok {
		panic("fixture: no whole blocks")
	}
	if err := quant.Quantize(t, raw, values); err != nil {
		panic(err)
	}
	return b.putRaw(name, t, shape, raw)
}

func (b *blob) putRaw(name string, t quant.Type, shape []uint64, raw []byte) *blob {
	s := gguf.Source{Name: name, Type: t, Shape: shape, Data: func(w io.Writer) error {
		_, err := w.Write(raw)
		return err
	}}
	for i := range b.tensors {
		if b.tensors[i].Name == name {
			b.tensors[i] = s
			return b
		}
	}
	b.tensors = append(b.tensors, s)
	return b
}

func (b *blob) dropTensor(name string) *blob {
	for i := range b.tensors {
		if b.tensors[i].Name == name {
			b.tensors = append(b.tensors[:i:i], b.tensors[i+1:]...)
			break
		}
	}
	return b
}

func (b *blob) bytes(t testing.TB) []byte {
	t.Helper()
	var w bytes.Buffer
	if err := gguf.Write(&w, b.meta, b.tensors); err != nil {
		t.Fatal(err)
	}
	return w.Bytes()
}

func (b *blob) file(t testing.TB) string {
	t.Helper()
	return save(t, b.bytes(t))
}

func save(t testing.TB, raw []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "some name.gguf")
	if err := os.WriteFile(path, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func gaussian(seed uint64, n int, scale float64) []float32 {
	rng := rand.New(rand.NewPCG(seed, 7))
	out := make([]float32, n)
	for i := range out {
		out[i] = float32(rng.NormFloat64() * scale)
	}
	return out
}

const (
	width  = 64
	hidden = 256
	vocab  = 48
	layers = 2
)

// matrices of the fixture: name, row length, rows.
func matrices() map[string][2]uint64 {
	m := map[string][2]uint64{Embedding: {width, vocab}}
	for _, l := range []string{"blk.0.", "blk.1."} {
		m[l+"attn_q.weight"] = [2]uint64{width, width}
		m[l+"attn_output.weight"] = [2]uint64{width, width}
		m[l+"ffn_up.weight"] = [2]uint64{width, hidden}
		m[l+"ffn_down.weight"] = [2]uint64{hidden, width}
	}
	return m
}

// order is the fixture's tensor order.
var order = []string{
	Embedding, "blk.0.attn_norm.weight", "blk.0.attn_q.weight", "blk.0.attn_output.weight", "blk.0.ffn_up.weight", "blk.0.ffn_down.weight",
	"blk.1.attn_norm.weight", "blk.1.attn_q.weight", "blk.1.attn_output.weight", "blk.1.ffn_up.weight", "blk.1.ffn_down.weight", OutputNorm,
}

// values returns the fixture's values of one tensor.
func values(seed uint64, name string) []float32 {
	for i, n := range order {
		if n != name {
			continue
		}
		if shape, ok := matrices()[name]; ok {
			return gaussian(seed*100+uint64(i), int(shape[0]*shape[1]), 0.05)
		}
		v := gaussian(seed*100+uint64(i), width, 0.01)
		for j := range v {
			v[j]++
		}
		return v
	}
	panic("fixture: no tensor " + name)
}

// model is a small llama with F16 matrices.
func model(seed uint64) *blob {
	tokens := make([]string, vocab)
	types := make([]int32, vocab)
	for i := range tokens {
		tokens[i], types[i] = "t"+string(rune('a'+i)), int32(TokenNormal)
	}
	types[0] = int32(TokenControl)
	b := &blob{}
	b.set("general.architecture", gguf.V("llama")).set("general.type", gguf.V("model")).set("general.name", gguf.V("tiny"))
	b.set("llama.block_count", gguf.V(uint32(layers))).set("llama.embedding_length", gguf.V(uint32(width)))
	b.set("llama.context_length", gguf.V(uint32(128))).set("llama.rope.freq_base", gguf.V(float32(10000)))
	b.set("tokenizer.ggml.model", gguf.V("gpt2")).set("tokenizer.ggml.pre", gguf.V("default"))
	b.set("tokenizer.ggml.tokens", gguf.A(tokens)).set("tokenizer.ggml.token_type", gguf.A(types))
	b.set("tokenizer.ggml.eos_token_id", gguf.V(uint32(0))).set("tokenizer.ggml.add_bos_token", gguf.V(false))
	b.set("tokenizer.chat_template", gguf.V("{{ messages[0].content }}"))
	for _, name := range order {
		if shape, ok := matrices()[name]; ok {
			b.put(name, quant.F16, shape[:], values(seed, name))
		} else {
			b.put(name, quant.F32, []uint64{width}, values(seed, name))
		}
	}
	return b
}

const rank = 3

// lora updates one matrix of each kind, and the embedding.
func lora(seed uint64) *blob {
	b := &blob{}
	b.set("general.architecture", gguf.V("llama")).set("general.type", gguf.V("adapter"))
	b.set("adapter.type", gguf.V("lora")).set("adapter.lora.alpha", gguf.V(float32(6)))
	for i, name := range []string{"blk.0.attn_q.weight", "blk.1.ffn_down.weight", Embedding} {
		in, out := matrices()[name][0], matrices()[name][1]
		a, bb := gaussian(seed+uint64(i), int(in*rank), 0.1), gaussian(seed+50+uint64(i), int(out*rank), 0.1)
		if name == Embedding {
			b.put(name+".lora_a", quant.F32, []uint64{rank, out}, bb).put(name+".lora_b", quant.F32, []uint64{rank, in}, a)
			continue
		}
		b.put(name+".lora_a", quant.F32, []uint64{in, rank}, a).put(name+".lora_b", quant.F32, []uint64{rank, out}, bb)
	}
	return b
}

func open(t testing.TB, a Artifact) *Model {
	t.Helper()
	m, err := Open(context.Background(), a)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	return m
}

func readerAt(b []byte) io.ReaderAt { return bytes.NewReader(b) }
