package weights

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"slices"
	"strings"
)

// Summary is what `weighbridge inspect` prints: plain, deterministic, JSON-able,
// free of numbers that JSON lacks. Its size is bounded by the counts of metadata
// keys and tensors. Strings from the file are cut to 400 bytes and made UTF-8,
// but may hold control characters; Metadata's values are JSON and hold none.
type Summary struct {
	Path      string            `json:"path"`
	Kind      string            `json:"kind"`               // "model" or "adapter"
	Identity  Identity          `json:"identity,omitempty"` // models only
	Files     []FileDigest      `json:"files"`
	Version   uint32            `json:"gguf_version"`
	Alignment int64             `json:"alignment"`
	Unclaimed int64             `json:"unclaimed_bytes"` // bytes of the file that no tensor owns
	Hyper     Hyper             `json:"hyper"`
	Values    int64             `json:"parameters"`
	Types     []TypeCount       `json:"types"` // sorted by name
	Tokenizer *TokenizerSummary `json:"tokenizer,omitempty"`
	Problem   string            `json:"tokenizer_problem,omitempty"` // why Tokenizer is missing
	Adapter   *AdapterSummary   `json:"adapter,omitempty"`
	Metadata  []MetadataLine    `json:"metadata"` // in file order
	Tensors   []TensorLine      `json:"tensors"`  // in file order
}

// TypeCount counts the tensors of one type.
type TypeCount struct {
	Type    string `json:"type"`
	Tensors int    `json:"tensors"`
	Values  int64  `json:"values"`
	Bytes   int64  `json:"bytes"`
}

// TokenizerSummary describes a tokenizer without its arrays.
type TokenizerSummary struct {
	Model          string            `json:"model"`
	Pre            string            `json:"pre"`
	Tokens         int               `json:"tokens"`
	Merges         int               `json:"merges"`
	ByType         map[TokenType]int `json:"by_type"`
	Duplicates     int               `json:"duplicates"`
	Special        map[string]int    `json:"special"`
	OutOfRange     map[string]int64  `json:"special_out_of_range"`
	Flags          map[string]bool   `json:"flags"`
	TemplateBytes  int               `json:"template_bytes"`
	TemplateSHA256 string            `json:"template_sha256"` // "" without a template
	Templates      []string          `json:"named_templates"`
}

// AdapterSummary describes a LoRA adapter.
type AdapterSummary struct {
	Alpha   float32  `json:"alpha"`
	Scale   float32  `json:"scale"` // the artifact's factor; 1 when inspected alone
	Pairs   int      `json:"pairs"`
	MinRank int      `json:"min_rank"`
	MaxRank int      `json:"max_rank"`
	Values  int64    `json:"parameters"`
	Ignored []string `json:"ignored"` // tensors that the engine does not apply
}

// TensorLine is one tensor.
type TensorLine struct {
	Name   string   `json:"name"`
	Type   string   `json:"type"`
	Shape  []uint64 `json:"shape"` // ggml order
	Offset int64    `json:"offset"`
	Bytes  int64    `json:"bytes"`
}

// Inspect summarises an open model, and its adapter where it has one.
func Inspect(m *Model) Summary {
	s := summarise(m.base)
	s.Kind, s.Identity, s.Files = "model", m.id, m.Files()
	if m.adapter != nil {
		s.Adapter = m.adapter.summary()
	}
	t, err := m.Tokenizer()
	if err != nil {
		s.Problem = cut(err.Error(), maxShown)
		return s
	}
	ts := &TokenizerSummary{
		Model: cut(t.Model, maxShown), Pre: cut(t.Pre, maxShown),
		Tokens: len(t.Tokens), Merges: len(t.Merges), ByType: map[TokenType]int{}, Duplicates: len(t.Duplicates),
		Special: cutKeys(t.Special), OutOfRange: cutKeys(t.OutOfRange), Flags: cutKeys(t.Flags),
		TemplateBytes: len(t.Template), Templates: cutAll(t.TemplateNames()),
	}
	for _, v := range t.Types {
		ts.ByType[v]++
	}
	if t.Template != "" {
		sum := sha256.Sum256([]byte(t.Template))
		ts.TemplateSHA256 = hex.EncodeToString(sum[:])
	}
	s.Tokenizer = ts
	return s
}

// InspectFile opens, validates, hashes and summarises one GGUF file, model or
// adapter.
func InspectFile(ctx context.Context, path string) (_ Summary, err error) {
	src, err := openSource(ctx, path)
	if err != nil {
		return Summary{}, err
	}
	if kind, _ := src.gguf.Meta.String("general.type"); kind == "adapter" {
		defer func() { err = errors.Join(err, src.f.Close()) }()
		a, err := newAdapter(src.gguf, 1)
		if err != nil {
			return Summary{}, err
		}
		s := summarise(src)
		s.Kind, s.Files, s.Adapter = "adapter", []FileDigest{src.digest(AdapterPath)}, a.summary()
		return s, nil
	}
	m := &Model{artifact: Artifact{Model: path}, base: src}
	defer func() { err = errors.Join(err, m.Close()) }()
	if err := checkModel(src.gguf); err != nil {
		return Summary{}, err
	}
	m.id = identity(m.Files(), nil, 0)
	return Inspect(m), nil
}

func summarise(src *source) Summary {
	f := src.gguf
	s := Summary{
		Path: src.path, Version: f.Version, Alignment: f.Alignment, Unclaimed: f.Unclaimed, Hyper: hyper(src),
		Types: []TypeCount{}, Metadata: []MetadataLine{}, Tensors: []TensorLine{},
	}
	s.Hyper.Architecture, s.Hyper.Name = cut(s.Hyper.Architecture, maxShown), cut(s.Hyper.Name, maxShown)
	s.Hyper.RopeFreqBase, s.Hyper.NormEpsilon = jsonable(s.Hyper.RopeFreqBase), jsonable(s.Hyper.NormEpsilon)
	for _, e := range f.Meta.Entries() {
		l := line(e.Key, e.Value)
		l.Key = cut(l.Key, maxShown)
		s.Metadata = append(s.Metadata, *l)
	}
	counts := map[string]*TypeCount{}
	for _, t := range f.Tensors {
		s.Values += t.Values()
		s.Tensors = append(s.Tensors, TensorLine{t.Name, t.Type.String(), t.Shape, t.Offset, t.Size})
		c := counts[t.Type.String()]
		if c == nil {
			c = &TypeCount{Type: t.Type.String()}
			counts[c.Type] = c
		}
		c.Tensors++
		c.Values += t.Values()
		c.Bytes += t.Size
	}
	for _, c := range counts {
		s.Types = append(s.Types, *c)
	}
	slices.SortFunc(s.Types, func(a, b TypeCount) int { return strings.Compare(a.Type, b.Type) })
	return s
}

// jsonable turns what JSON cannot hold into 0; Metadata shows the real value.
func jsonable(v float64) float64 {
	if v-v != 0 {
		return 0
	}
	return v
}

func (a *Adapter) summary() *AdapterSummary {
	s := &AdapterSummary{Alpha: a.Alpha, Scale: a.Scale, Pairs: len(a.Pairs), MinRank: a.Pairs[0].Rank, Ignored: cutAll(a.Ignored)}
	for _, p := range a.Pairs {
		s.MinRank, s.MaxRank = min(s.MinRank, p.Rank), max(s.MaxRank, p.Rank)
		s.Values += p.A.Values() + p.B.Values()
	}
	return s
}

func cutAll(in []string) []string {
	out := make([]string, len(in))
	for i, s := range in {
		out[i] = cut(s, maxShown)
	}
	return out
}

func cutKeys[V any](in map[string]V) map[string]V {
	out := make(map[string]V, len(in))
	for k, v := range in {
		out[cut(k, maxShown)] = v
	}
	return out
}
