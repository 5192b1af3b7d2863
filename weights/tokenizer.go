package weights

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// TokenType is llama.cpp's token type.
type TokenType int32

// The token types.
const (
	TokenNormal      TokenType = 1
	TokenUnknown     TokenType = 2
	TokenControl     TokenType = 3
	TokenUserDefined TokenType = 4
	TokenUnused      TokenType = 5
	TokenByte        TokenType = 6
)

// Tokenizer is a view of the tokenizer.ggml.* and tokenizer.chat_template keys.
// Its slices are shared with the metadata and must not be changed.
type Tokenizer struct {
	Model      string // "gpt2", "llama", …
	Pre        string // pre-tokeniser
	Tokens     []string
	Types      []TokenType // one per token, nil when the file has none
	Scores     []float32   // one per token, nil when the file has none
	Merges     []string
	Special    map[string]int    // "bos", "eos", "eot", "unknown", "padding", … to token id
	OutOfRange map[string]int64  // special ids that are no token's, which the engine ignores
	Flags      map[string]bool   // "add_bos_token", "add_eos_token", "add_space_prefix", …
	Template   string            // chat template, "" when there is none
	Templates  map[string]string // further named templates
	Duplicates []int             // ids whose text an earlier id has too
}

const (
	ggmlPrefix     = "tokenizer.ggml."
	templateKey    = "tokenizer.chat_template"
	templatePrefix = templateKey + "."
)

// Tokenizer returns the tokenizer's view; the error matches ErrMissing where
// the file has none and ErrFormat where its arrays contradict each other.
func (m *Model) Tokenizer() (*Tokenizer, error) {
	meta, file := m.Metadata(), m.base.path
	t := &Tokenizer{Special: map[string]int{}, OutOfRange: map[string]int64{}, Flags: map[string]bool{}, Templates: map[string]string{}}
	var ok bool
	if t.Tokens, ok = meta.Strings(ggmlPrefix + "tokens"); !ok || len(t.Tokens) == 0 {
		return nil, fmt.Errorf("%s: tokenizer (metadata key %q, an array of strings): %w", file, ggmlPrefix+"tokens", ErrMissing)
	}
	if t.Model, ok = meta.String(ggmlPrefix + "model"); !ok {
		return nil, fmt.Errorf("%s: tokenizer (metadata key %q, a string): %w", file, ggmlPrefix+"model", ErrMissing)
	}
	t.Pre, _ = meta.String(ggmlPrefix + "pre")
	t.Merges, _ = meta.Strings(ggmlPrefix + "merges")
	t.Template, _ = meta.String(templateKey)
	if types, ok := meta.Int32s(ggmlPrefix + "token_type"); ok {
		t.Types = make([]TokenType, len(types))
		for i, v := range types {
			t.Types[i] = TokenType(v)
		}
	}
	t.Scores, _ = meta.Float32s(ggmlPrefix + "scores")
	for key, n := range map[string]int{"token_type": len(t.Types), "scores": len(t.Scores)} {
		if n != 0 && n != len(t.Tokens) {
			return nil, fmt.Errorf("%s: metadata key %q has %d elements for %d tokens: %w", file, ggmlPrefix+key, n, len(t.Tokens), ErrFormat)
		}
	}
	for _, e := range meta.Entries() {
		if name, ok := strings.CutPrefix(e.Key, templatePrefix); ok {
			if s, ok := e.Value.Data.(string); ok {
				t.Templates[name] = s
			}
			continue
		}
		name, ok := strings.CutPrefix(e.Key, ggmlPrefix)
		if !ok {
			continue
		}
		if b, ok := e.Value.Data.(bool); ok {
			t.Flags[name] = b
		}
		if name, ok = strings.CutSuffix(name, "_token_id"); !ok {
			continue
		}
		if id, ok := meta.Int(e.Key); ok && id >= 0 && id < int64(len(t.Tokens)) {
			t.Special[name] = int(id)
		} else if ok {
			t.OutOfRange[name] = id
		}
	}
	seen := make(map[string]struct{}, len(t.Tokens))
	for id, s := range t.Tokens {
		if _, dup := seen[s]; dup {
			t.Duplicates = append(t.Duplicates, id)
		}
		seen[s] = struct{}{}
	}
	return t, nil
}

// TemplateNames returns the names of the further templates, sorted.
func (t *Tokenizer) TemplateNames() []string { return slices.Sorted(maps.Keys(t.Templates)) }

// Hyper holds the hyper-parameters that llama-like architectures share. Zero
// means absent or, for the heads, given per layer.
type Hyper struct {
	Architecture    string  `json:"architecture"`
	Name            string  `json:"name"`
	ContextLength   uint64  `json:"context_length"`
	EmbeddingLength uint64  `json:"embedding_length"`
	FeedForward     uint64  `json:"feed_forward_length"`
	Blocks          uint64  `json:"block_count"`
	Heads           uint64  `json:"head_count"`
	HeadsKV         uint64  `json:"head_count_kv"`
	VocabSize       uint64  `json:"vocab_size"` // the key, else the number of tokens
	RopeDimensions  uint64  `json:"rope_dimension_count"`
	RopeFreqBase    float64 `json:"rope_freq_base"`
	NormEpsilon     float64 `json:"layer_norm_rms_epsilon"`
	FileType        uint64  `json:"file_type"` // llama.cpp's LLAMA_FTYPE
}

// Hyper returns the hyper-parameters.
func (m *Model) Hyper() Hyper { return hyper(m.base) }

func hyper(s *source) Hyper {
	meta := s.gguf.Meta
	var h Hyper
	h.Architecture, _ = meta.String("general.architecture")
	h.Name, _ = meta.String("general.name")
	h.FileType, _ = meta.Uint("general.file_type")
	u := func(key string) uint64 { v, _ := meta.Uint(h.Architecture + "." + key); return v }
	f := func(key string) float64 { v, _ := meta.Float(h.Architecture + "." + key); return v }
	h.ContextLength = u("context_length")
	h.EmbeddingLength = u("embedding_length")
	h.FeedForward = u("feed_forward_length")
	h.Blocks = u("block_count")
	h.Heads = u("attention.head_count")
	h.HeadsKV = u("attention.head_count_kv")
	h.VocabSize = u("vocab_size")
	h.RopeDimensions = u("rope.dimension_count")
	h.RopeFreqBase = f("rope.freq_base")
	h.NormEpsilon = f("attention.layer_norm_rms_epsilon")
	if h.VocabSize == 0 {
		tokens, _ := meta.Strings(ggmlPrefix + "tokens")
		h.VocabSize = uint64(len(tokens))
	}
	return h
}
