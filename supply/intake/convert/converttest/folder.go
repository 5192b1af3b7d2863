// Package converttest makes tiny safetensors models for tests: a Llama of two
// layers with a byte-level tokenizer, as transformers would save it.
//
// In: a seed. Out: the files of the folder by name. The same seed gives the same
// bytes. It will not make models that say anything sensible.
package converttest

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
)

const (
	hidden, inner, layers, heads, kvHeads = 64, 128, 2, 4, 2
	vocabulary                            = 259
)

// Llama gives the files of the model: two shards, config and tokenizer.
func Llama(seed uint64) map[string][]byte {
	rng := rand.New(rand.NewPCG(seed, 7))
	kv := hidden / heads * kvHeads
	first := []tensor{
		{"model.embed_tokens.weight", "BF16", []int{vocabulary, hidden}},
		{"model.norm.weight", "F32", []int{hidden}},
		{"lm_head.weight", "F16", []int{vocabulary, hidden}},
	}
	var second []tensor
	for i := range layers {
		p := fmt.Sprintf("model.layers.%d.", i)
		second = append(second,
			tensor{p + "input_layernorm.weight", "F32", []int{hidden}},
			tensor{p + "post_attention_layernorm.weight", "F32", []int{hidden}},
			tensor{p + "self_attn.q_proj.weight", "BF16", []int{hidden, hidden}},
			tensor{p + "self_attn.k_proj.weight", "BF16", []int{kv, hidden}},
			tensor{p + "self_attn.v_proj.weight", "BF16", []int{kv, hidden}},
			tensor{p + "self_attn.o_proj.weight", "F16", []int{hidden, hidden}},
			tensor{p + "mlp.gate_proj.weight", "BF16", []int{inner, hidden}},
			tensor{p + "mlp.up_proj.weight", "BF16", []int{inner, hidden}},
			tensor{p + "mlp.down_proj.weight", "F32", []int{hidden, inner}},
		)
	}
	return map[string][]byte{
		"model-00001-of-00002.safetensors": encode(rng, first),
		"model-00002-of-00002.safetensors": encode(rng, second),
		"config.json": document(map[string]any{
			"architectures": []string{"LlamaForCausalLM"}, "model_type": "llama", "vocab_size": vocabulary,
			"hidden_size": hidden, "intermediate_size": inner, "num_hidden_layers": layers, "num_attention_heads": heads,
			"num_key_value_heads": kvHeads, "max_position_embeddings": 128, "rms_norm_eps": 1e-5, "rope_theta": 10000,
		}),
		"tokenizer.json": tokenizer(),
		"tokenizer_config.json": document(map[string]any{
			"bos_token": "<s>", "eos_token": "</s>", "add_bos_token": true,
			"chat_template": "{% for m in messages %}{{ m.content }}{% endfor %}",
		}),
	}
}

func document(v any) []byte {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		panic(err) // values of this file only
	}
	return b
}

// tokenizer has a token for each byte and three special ones.
func tokenizer() []byte {
	vocab := map[string]int{}
	special := []string{"<unk>", "<s>", "</s>"}
	var added []map[string]any
	for i, s := range special {
		vocab[s] = i
		added = append(added, map[string]any{"id": i, "content": s, "special": true})
	}
	for b := range 256 {
		vocab[string(byteRune(b))] = len(special) + b
	}
	return document(map[string]any{
		"version": "1.0", "added_tokens": added,
		"pre_tokenizer": map[string]any{"type": "Sequence", "pretokenizers": []any{}},
		"model":         map[string]any{"type": "BPE", "vocab": vocab, "merges": []string{}},
	})
}

// byteRune is the character that stands for a byte in byte-level BPE.
func byteRune(b int) rune {
	if b >= '!' && b <= '~' || b >= 0xa1 && b <= 0xac || b >= 0xae {
		return rune(b)
	}
	return rune(0x100 + b)
}

type tensor struct {
	name  string
	dtype string
	shape []int
}

// encode writes a safetensors file: length, JSON header, data
// (https://github.com/huggingface/safetensors, "Format").
func encode(rng *rand.Rand, ts []tensor) []byte {
	slices.SortFunc(ts, func(a, b tensor) int { return strings.Compare(a.name, b.name) })
	header := map[string]any{"__metadata__": map[string]string{"format": "pt"}}
	var data bytes.Buffer
	for _, t := range ts {
		begin, n := data.Len(), 1
		for _, d := range t.shape {
			n *= d
		}
		for range n {
			v := float32(rng.NormFloat64() * 0.05)
			switch t.dtype {
			case "F32":
				binary.Write(&data, binary.LittleEndian, v)
			case "BF16":
				binary.Write(&data, binary.LittleEndian, uint16(math.Float32bits(v)>>16))
			case "F16":
				binary.Write(&data, binary.LittleEndian, half(v))
			}
		}
		header[t.name] = map[string]any{"dtype": t.dtype, "shape": t.shape, "data_offsets": []int{begin, data.Len()}}
	}
	h := document(header)
	out := binary.LittleEndian.AppendUint64(nil, uint64(len(h)))
	return append(append(out, h...), data.Bytes()...)
}

// half truncates to binary16. What is too small for a normal number becomes 0.
func half(v float32) uint16 {
	b := math.Float32bits(v)
	sign, exp, frac := uint16(b>>16&0x8000), int(b>>23&0xff)-127+15, uint16(b>>13&0x3ff)
	if exp <= 0 || exp >= 31 {
		return sign
	}
	return sign | uint16(exp)<<10 | frac
}
