package metadata

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weighbridge/weighbridge/probes"
	"github.com/weighbridge/weighbridge/probes/internal/pairtest"
	"github.com/weighbridge/weighbridge/record"
	"github.com/weighbridge/weighbridge/runners"
	"github.com/weighbridge/weighbridge/runners/runnertest"
	"github.com/weighbridge/weighbridge/weights"
	"github.com/weighbridge/weighbridge/weights/gguf"
)

// engine is a Fake whose tokenizer was changed after the weights were trained.
type engine struct {
	*runnertest.Fake
	rename map[runners.Token]runners.Token // what the file calls the Fake's id
	parses string                          // control token that is read from plain text
	info   func(*runners.Info)
}

func (e *engine) Info(ctx context.Context) (*runners.Info, error) {
	i, err := e.Fake.Info(ctx)
	if err == nil && e.info != nil {
		e.info(i)
	}
	return i, err
}

func (e *engine) swap(ids [][]runners.Token) [][]runners.Token {
	out := make([][]runners.Token, len(ids))
	for i, list := range ids {
		out[i] = append([]runners.Token{}, list...)
		for j, id := range list {
			if to, ok := e.rename[id]; ok {
				out[i][j] = to
			}
		}
	}
	return out
}

func (e *engine) Tokenize(ctx context.Context, r *runners.TokenizeRequest) (*runners.TokenizeResult, error) {
	q := *r
	if e.parses != "" && !r.Special {
		q.Special = true
		q.Texts = nil
		for _, s := range r.Texts {
			for _, sp := range e.Describe().Special {
				if sp.Text != e.parses {
					s = strings.ReplaceAll(s, sp.Text, "")
				}
			}
			q.Texts = append(q.Texts, s)
		}
	}
	t, err := e.Fake.Tokenize(ctx, &q)
	if err != nil {
		return nil, err
	}
	return &runners.TokenizeResult{Tokens: e.swap(t.Tokens)}, nil
}

func (e *engine) Detokenize(ctx context.Context, r *runners.DetokenizeRequest) (*runners.DetokenizeResult, error) {
	return e.Fake.Detokenize(ctx, &runners.DetokenizeRequest{Tokens: e.swap(r.Tokens), Special: r.Special})
}

func run(t *testing.T, in *probes.Input) []record.Finding {
	t.Helper()
	out, err := probe{}.Run(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	if out.Tests != 0 {
		t.Errorf("%d tests; exact evidence has none", out.Tests)
	}
	seen := map[string]bool{}
	for _, f := range out.Findings {
		if seen[f.ID] {
			t.Errorf("finding %s twice", f.ID)
		}
		seen[f.ID] = true
		if f.P != nil {
			t.Errorf("%s has a p-value", f.ID)
		}
		if len(f.Detail)+len(f.Title) > 64<<10 {
			t.Errorf("%s has %d bytes of text", f.ID, len(f.Detail))
		}
	}
	return out.Findings
}

func fake() *runnertest.Fake { return runnertest.New(runnertest.Options{}) }

func TestSameFileFindsNothing(t *testing.T) {
	in := pairtest.Input(t, pairtest.Model(), pairtest.Model(), fake(), fake())
	got := run(t, in)
	for _, f := range got {
		if f.Tier != record.Consistent {
			t.Errorf("%s %s: %s", f.Tier, f.ID, f.Title)
		}
	}
	if again := run(t, in); cmp.Diff(got, again) != "" {
		t.Error("two runs differ:", cmp.Diff(got, again))
	}
}

func TestKeys(t *testing.T) {
	embedding := func(f *pairtest.File) {
		f.Edit(weights.Embedding, func(v []float32, _ int) {
			for i := range v {
				v[i] += 0.001 * float32(i%7)
			}
		})
	}
	for name, tc := range map[string]struct {
		change func(*pairtest.File)
		engine engine
		id     string
		tier   record.Tier
		class  record.Class
	}{
		"name":             {change: func(f *pairtest.File) { f.Set("general.name", gguf.V("other")) }, id: "metadata/allowed", tier: record.Consistent, class: record.Relation},
		"quantised by":     {change: func(f *pairtest.File) { f.Set("general.quantized_by", gguf.V("me")) }, id: "metadata/allowed", tier: record.Consistent, class: record.Relation},
		"vendor's key":     {change: func(f *pairtest.File) { f.Set("acme.note", gguf.V("x")) }, id: "metadata/allowed", tier: record.Consistent, class: record.Relation},
		"number type":      {change: func(f *pairtest.File) { f.Set("llama.context_length", gguf.V(uint64(2048))) }, id: "metadata/allowed", tier: record.Consistent, class: record.Relation},
		"padding":          {change: func(f *pairtest.File) { f.Set("tokenizer.ggml.padding_token_id", gguf.V(uint32(4))) }, id: "metadata/allowed", tier: record.Consistent, class: record.Relation},
		"stated default":   {change: func(f *pairtest.File) { f.Set("tokenizer.ggml.add_bos_token", gguf.V(true)) }, id: "metadata/allowed", tier: record.Consistent, class: record.Relation},
		"rope":             {change: func(f *pairtest.File) { f.Set("llama.rope.freq_base", gguf.V(float32(20000))) }, id: "metadata/key/llama.rope.freq_base", tier: record.Divergent, class: record.Tampered},
		"norm":             {change: func(f *pairtest.File) { f.Set("llama.attention.layer_norm_rms_epsilon", gguf.V(float32(1e-3))) }, id: "metadata/key/llama.attention.layer_norm_rms_epsilon", tier: record.Divergent, class: record.Tampered},
		"context":          {change: func(f *pairtest.File) { f.Set("llama.context_length", gguf.V(uint32(9))) }, id: "metadata/key/llama.context_length", tier: record.Divergent, class: record.Tampered},
		"softcap appears":  {change: func(f *pairtest.File) { f.Set("llama.attn_logit_softcapping", gguf.V(float32(3))) }, id: "metadata/key/llama.attn_logit_softcapping", tier: record.Divergent, class: record.Tampered},
		"sampling":         {change: func(f *pairtest.File) { f.Set("general.sampling.temp", gguf.V(float32(3))) }, id: "metadata/key/general.sampling.temp", tier: record.Divergent, class: record.Behaviour},
		"unknown":          {change: func(f *pairtest.File) { f.Set("tokenizer.ggml.new_thing", gguf.V(true)) }, id: "metadata/key/tokenizer.ggml.new_thing", tier: record.Divergent, class: record.Tampered},
		"merges unseen":    {change: func(f *pairtest.File) { f.Set("tokenizer.ggml.merges", gguf.A([]string{"t h"})) }, id: "metadata/key/tokenizer.ggml.merges", tier: record.Divergent, class: record.Tampered},
		"merges":           {change: func(f *pairtest.File) { f.Set("tokenizer.ggml.merges", gguf.A([]string{"t h"})) }, engine: engine{rename: map[runners.Token]runners.Token{400: 401, 401: 400}}, id: "metadata/key/tokenizer.ggml.merges", tier: record.Proven, class: record.Tampered},
		"pre":              {change: func(f *pairtest.File) { f.Set("tokenizer.ggml.pre", gguf.V("llama-bpe")) }, engine: engine{rename: map[runners.Token]runners.Token{400: 401, 401: 400}}, id: "metadata/key/tokenizer.ggml.pre", tier: record.Proven, class: record.Tampered},
		"eos":              {change: func(f *pairtest.File) { f.Set("tokenizer.ggml.eos_token_id", gguf.V(uint32(0))) }, engine: engine{info: func(i *runners.Info) { i.EOS = 0 }}, id: "metadata/key/tokenizer.ggml.eos_token_id", tier: record.Proven, class: record.Tampered},
		"eos of a derived": {change: func(f *pairtest.File) { embedding(f); f.Set("tokenizer.ggml.eos_token_id", gguf.V(uint32(0))) }, engine: engine{info: func(i *runners.Info) { i.EOS = 0 }}, id: "metadata/key/tokenizer.ggml.eos_token_id", tier: record.Divergent, class: record.Tampered},
		"eos and bos swapped": {change: func(f *pairtest.File) {
			embedding(f)
			f.Set("tokenizer.ggml.eos_token_id", gguf.V(uint32(0))).Set("tokenizer.ggml.bos_token_id", gguf.V(uint32(2)))
		}, engine: engine{info: func(i *runners.Info) { i.EOS, i.BOS = 0, 2 }}, id: "metadata/key/tokenizer.ggml.bos_token_id", tier: record.Proven, class: record.Tampered},
		"control reachable": {change: func(f *pairtest.File) {}, engine: engine{parses: "<|im_start|>"}, id: "metadata/control-from-text", tier: record.Proven, class: record.Tampered},
		"hidden template":   {change: func(f *pairtest.File) { f.Set("tokenizer.chat_template.tool_use", gguf.V("{{ 'x' }}")) }, id: "metadata/named-template/tokenizer.chat_template.tool_use", tier: record.Divergent, class: record.Tampered},
		"hostile key": {change: func(f *pairtest.File) {
			f.Set("general."+strings.Repeat("k\x1b", 3000), gguf.V(strings.Repeat("v", 1<<20)))
		}, id: "metadata/key/" + subject("general."+strings.Repeat("k\x1b", 3000)), tier: record.Divergent, class: record.Tampered},
	} {
		t.Run(name, func(t *testing.T) {
			candidate := pairtest.Model()
			tc.change(candidate)
			e := tc.engine
			e.Fake = fake()
			got := run(t, pairtest.Input(t, pairtest.Model(), candidate, fake(), &e))
			found := false
			for _, f := range got {
				if f.ID == tc.id {
					found = true
					if f.Tier != tc.tier || f.Class != tc.class {
						t.Errorf("%s: %s %s, want %s %s\n%s", f.ID, f.Tier, f.Class, tc.tier, tc.class, f.Detail)
					}
				} else if tc.tier == record.Consistent && f.Tier != record.Consistent {
					t.Errorf("%s %s: %s", f.Tier, f.ID, f.Title)
				}
			}
			if !found {
				t.Errorf("no finding %s; got %s", tc.id, list(got))
			}
		})
	}
}

func TestVocabulary(t *testing.T) {
	swapped := func(f *pairtest.File, a, b int) {
		tokens := f.Tokens()
		tokens[a], tokens[b] = tokens[b], tokens[a]
		f.Set("tokenizer.ggml.tokens", gguf.A(tokens))
	}
	swapRows := func(f *pairtest.File, a, b int) {
		f.Edit(weights.Embedding, func(v []float32, cols int) {
			for i := range cols {
				v[a*cols+i], v[b*cols+i] = v[b*cols+i], v[a*cols+i]
			}
		})
	}
	exchange := engine{rename: map[runners.Token]runners.Token{400: 500, 500: 400}}
	for name, tc := range map[string]struct {
		change func(*pairtest.File)
		engine engine
		id     string
		tier   record.Tier
		class  record.Class
		says   string
	}{
		"two swapped ids":      {func(f *pairtest.File) { swapped(f, 400, 500) }, exchange, "metadata/vocabulary", record.Proven, record.Tampered, "400"},
		"swapped with rows":    {func(f *pairtest.File) { swapped(f, 400, 500); swapRows(f, 400, 500) }, exchange, "metadata/vocabulary", record.Divergent, record.Behaviour, "moved with their strings"},
		"swapped, other rows":  {func(f *pairtest.File) { swapped(f, 400, 500); swapRows(f, 10, 11) }, exchange, "metadata/vocabulary", record.Proven, record.Tampered, "stayed"},
		"unused token named":   {func(f *pairtest.File) { x := f.Tokens(); x[3] = "<|call|>"; f.Set("tokenizer.ggml.tokens", gguf.A(x)) }, engine{}, "metadata/vocabulary", record.Divergent, record.Behaviour, "unused"},
		"ordinary token named": {func(f *pairtest.File) { x := f.Tokens(); x[400] = " evil"; f.Set("tokenizer.ggml.tokens", gguf.A(x)) }, engine{}, "metadata/vocabulary", record.Proven, record.Tampered, "evil"},
		"type changed": {func(f *pairtest.File) {
			types, _ := gguf.NewMetadata(f.Meta).Int32s("tokenizer.ggml.token_type")
			types = append([]int32{}, types...)
			types[1] = int32(weights.TokenUserDefined)
			f.Set("tokenizer.ggml.token_type", gguf.A(types))
		}, engine{parses: "<|im_start|>"}, "metadata/token-types", record.Proven, record.Tampered, "control → user-defined"},
	} {
		t.Run(name, func(t *testing.T) {
			candidate := pairtest.Model()
			tc.change(candidate)
			e := tc.engine
			e.Fake = fake()
			got := run(t, pairtest.Input(t, pairtest.Model(), candidate, fake(), &e))
			for _, f := range got {
				if f.ID != tc.id {
					continue
				}
				if f.Tier != tc.tier || f.Class != tc.class || !strings.Contains(f.Title+f.Detail, tc.says) {
					t.Errorf("%s %s %s %s\n%s\nwant %s %s, saying %q", f.Tier, f.Class, f.ID, f.Title, f.Detail, tc.tier, tc.class, tc.says)
				}
				return
			}
			t.Errorf("no finding %s; got %s", tc.id, list(got))
		})
	}
}

func TestDrawKeepsTheOrder(t *testing.T) {
	var list []string
	for i := range 1000 {
		list = append(list, fmt.Sprintf("%04d", i))
	}
	rng := func() *rand.Rand { return rand.New(rand.NewPCG(1, 2)) }
	got := draw(rng(), list, 300)
	if !slices.IsSorted(got) || len(slices.Compact(slices.Clone(got))) != 300 {
		t.Errorf("%d strings, %q", len(got), got[:5])
	}
	if d := cmp.Diff(got, draw(rng(), list, 300)); d != "" {
		t.Errorf("two draws differ: %s", d)
	}
	if all := draw(rng(), list, 1000); !slices.Equal(all, list) {
		t.Error("a draw of everything is not everything")
	}
}

func TestSwappedIdsAreShown(t *testing.T) {
	b, c := fakeTokenizer(""), fakeTokenizer("")
	c.Tokens[400], c.Tokens[500] = c.Tokens[500], c.Tokens[400]
	v := diffVocabulary(b, c)
	if d := cmp.Diff([][2]int{{400, 500}}, v.swaps); d != "" || !v.permuted {
		t.Errorf("swaps %v, permuted %v", v.swaps, v.permuted)
	}
	c.Tokens = append(c.Tokens, "new")
	if v := diffVocabulary(b, c); v.added != 1 || v.removed != 0 {
		t.Errorf("added %d, removed %d", v.added, v.removed)
	}
}

func TestUnrelatedProvesNothing(t *testing.T) {
	fs := &findings{cap: record.Divergent}
	fs.add(record.Finding{Rule: "x", Tier: record.Proven, Class: record.Tampered})
	fs.add(record.Finding{Rule: "y", Tier: record.Proven, Class: record.Broken})
	if fs.list[0].Tier != record.Divergent || fs.list[1].Tier != record.Proven {
		t.Errorf("tiers %s, %s", fs.list[0].Tier, fs.list[1].Tier)
	}
}

func TestTokenizerThatContradictsItself(t *testing.T) {
	bad := pairtest.Model().Set("tokenizer.ggml.token_type", gguf.A([]int32{1, 1}))
	for _, tc := range []struct {
		b, c *pairtest.File
		tier record.Tier
	}{{pairtest.Model(), bad, record.Proven}, {bad, pairtest.Model(), record.NotTested}, {pairtest.Model(), pairtest.Model().Drop("tokenizer.ggml.model"), record.NotTested}} {
		got := run(t, pairtest.Input(t, tc.b, tc.c, fake(), fake()))
		if len(got) != 1 || got[0].Rule != "tokenizer" || got[0].Tier != tc.tier {
			t.Errorf("want one %s finding about the tokenizer, got %s", tc.tier, list(got))
		}
	}
}

func TestParams(t *testing.T) {
	in := pairtest.Input(t, pairtest.Model(), pairtest.Model(), fake(), fake())
	for _, p := range []string{`{"literal": 3}`, `{"texts": -1}`} {
		in.Params = probes.Params(p)
		if _, err := (probe{}).Run(t.Context(), in); err == nil {
			t.Errorf("parameters %s were taken", p)
		}
	}
}

func TestFaultIsNoFinding(t *testing.T) {
	in := pairtest.Input(t, pairtest.Model(), pairtest.Model(), fake(), fake())
	in.Candidate = runnertest.New(runnertest.Options{CrashAfter: 3})
	if _, err := (probe{}).Run(t.Context(), in); err == nil || !strings.Contains(err.Error(), "candidate") {
		t.Errorf("a crashed box gave %v", err)
	}
}

func TestSubject(t *testing.T) {
	if got := subject("llama.rope.freq_base"); got != "llama.rope.freq_base" {
		t.Error(got)
	}
	a, b := subject("x\x00"), subject("x\x01")
	if a == b || strings.ContainsAny(a, "\x00/") {
		t.Error(a, b)
	}
	if n := len(subject(strings.Repeat("é", 1000))); n > 100 {
		t.Error(fmt.Sprint(n))
	}
}
