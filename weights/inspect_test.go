package weights

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"math"
	"os"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/weighbridge/weighbridge/weights/gguf"
	"github.com/weighbridge/weighbridge/weights/quant"
)

var update = flag.Bool("update", false, "write the golden files")

func golden(t *testing.T, name string, got any) {
	t.Helper()
	b, err := json.MarshalIndent(got, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	b = append(b, '\n')
	path := "testdata/" + name
	if *update {
		if err := os.WriteFile(path, b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(b)); diff != "" {
		t.Errorf("%s (-golden +got), -update writes it:\n%s", path, diff)
	}
}

// hostile metadata: control characters, what is no UTF-8, long values, NaN.
func hostile() *blob {
	b := model(1)
	b.set("general.name", gguf.V("\x1b[2Jname\u202e\U000e0041\x7f\u0085<script>"+strings.Repeat("é", 300)))
	b.set("general.bytes", gguf.V("\xff\xfe"))
	b.set("llama.rope.freq_base", gguf.V(float32(math.NaN())))
	b.set("x.floats", gguf.A([]float64{math.Inf(1), 1}))
	b.set("tokenizer.ggml.bos_token_id", gguf.V(uint32(vocab)))
	b.set("tokenizer.ggml.eot_token_id", gguf.V(int32(-1)))
	b.set("tokenizer.chat_template.tool_use", gguf.V("{{ 1 }}"))
	return b
}

func TestInspect(t *testing.T) {
	s, err := InspectFile(context.Background(), hostile().file(t))
	if err != nil {
		t.Fatal(err)
	}
	if !utf8.ValidString(s.Hyper.Name) || len(s.Hyper.Name) > maxShown+3 {
		t.Errorf("name is not bounded UTF-8: %q", s.Hyper.Name)
	}
	for _, l := range s.Metadata {
		if strings.ContainsFunc(l.Value, invisible) || !json.Valid([]byte(l.Value)) || len(l.Value) > 6*maxShown {
			t.Errorf("%s is shown as %q", l.Key, l.Value)
		}
	}
	s.Path = "model.gguf"
	golden(t, "inspect-model.json", s)

	m := open(t, Artifact{Model: hostile().file(t)})
	again := Inspect(m)
	again.Path = "model.gguf"
	if diff := cmp.Diff(s, again); diff != "" {
		t.Errorf("InspectFile and Inspect differ:\n%s", diff)
	}
	a, err := InspectFile(context.Background(), lora(1).put("blk.0.attn_norm.weight", quant.F32, []uint64{4}, make([]float32, 4)).file(t))
	if err != nil {
		t.Fatal(err)
	}
	a.Path = "adapter.gguf"
	golden(t, "inspect-adapter.json", a)
	if _, err := InspectFile(context.Background(), save(t, []byte("nothing of the kind here"))); !errors.Is(err, ErrFormat) {
		t.Errorf("InspectFile of another file: %v", err)
	}
}

func TestTokenizer(t *testing.T) {
	tok, err := open(t, Artifact{Model: hostile().file(t)}).Tokenizer()
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]int{"eos": 0}
	if diff := cmp.Diff(want, tok.Special); diff != "" {
		t.Errorf("special (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string]int64{"bos": vocab, "eot": -1}, tok.OutOfRange); diff != "" {
		t.Errorf("out of range (-want +got):\n%s", diff)
	}
	if tok.Flags["add_bos_token"] || len(tok.Tokens) != vocab || tok.Types[0] != TokenControl || tok.Templates["tool_use"] != "{{ 1 }}" || tok.Template == "" {
		t.Errorf("tokenizer = %+v", tok)
	}
	twice := make([]string, vocab)
	for i := range twice {
		twice[i] = string(rune('a' + i%40))
	}
	tok, err = open(t, Artifact{Model: model(1).set("tokenizer.ggml.tokens", gguf.A(twice)).file(t)}).Tokenizer()
	if err != nil || len(tok.Duplicates) != vocab-40 || tok.Duplicates[0] != 40 {
		t.Errorf("duplicates = %v, %v", tok.Duplicates, err)
	}
	for name, c := range map[string]struct {
		b  *blob
		is error
	}{
		"no tokens":        {model(1).drop("tokenizer.ggml.tokens"), ErrMissing},
		"tokens are bytes": {model(1).set("tokenizer.ggml.tokens", gguf.A([]uint8{1})), ErrMissing},
		"no model":         {model(1).drop("tokenizer.ggml.model"), ErrMissing},
		"types too short":  {model(1).set("tokenizer.ggml.token_type", gguf.A([]int32{1})), ErrFormat},
		"scores too long":  {model(1).set("tokenizer.ggml.scores", gguf.A(make([]float32, vocab+1))), ErrFormat},
	} {
		m := open(t, Artifact{Model: c.b.file(t)})
		if _, err := m.Tokenizer(); !errors.Is(err, c.is) {
			t.Errorf("%s: %v, want %v", name, err, c.is)
		}
		if s := Inspect(m); s.Tokenizer != nil || s.Problem == "" {
			t.Errorf("%s: the summary does not tell", name)
		}
	}
}

func TestDiffMetadata(t *testing.T) {
	nan := math.Float32frombits(0x7fc00001)
	a := gguf.NewMetadata([]gguf.KV{
		{Key: "z", Value: gguf.V(uint32(1))}, {Key: "same", Value: gguf.A([]string{"x"})}, {Key: "nan", Value: gguf.V(nan)},
		{Key: "list", Value: gguf.A([]string{"ab", "c"})}, {Key: "gone", Value: gguf.V(true)},
	})
	b := gguf.NewMetadata([]gguf.KV{
		{Key: "same", Value: gguf.A([]string{"x"})}, {Key: "z", Value: gguf.V(uint64(1))}, {Key: "nan", Value: gguf.V(nan)},
		{Key: "list", Value: gguf.A([]string{"a", "bc"})}, {Key: "new", Value: gguf.V("v")},
	})
	var got []string
	for _, c := range DiffMetadata(a, b) {
		s := c.Key
		for _, l := range []*MetadataLine{c.Baseline, c.Candidate} {
			if l == nil {
				s += " -"
			} else {
				s += " " + l.Type + "=" + l.Value
			}
		}
		got = append(got, s)
	}
	want := []string{
		`gone bool=true -`, `list array of string=["ab","c"] array of string=["a","bc"]`, `new - string="v"`, `z uint32=1 uint64=1`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestOutputHead(t *testing.T) {
	if name, tied := open(t, Artifact{Model: model(1).file(t)}).OutputHead(); name != Embedding || !tied {
		t.Errorf("tied: %s, %v", name, tied)
	}
	b := model(1).put(Output, quant.F16, []uint64{width, vocab}, values(2, Embedding))
	if name, tied := open(t, Artifact{Model: b.file(t)}).OutputHead(); name != Output || tied {
		t.Errorf("untied: %s, %v", name, tied)
	}
}

// TestBounded: a summary of hostile metadata stays small.
func TestBounded(t *testing.T) {
	b := model(1)
	b.set("big.string", gguf.V(strings.Repeat("\x01", 1<<20))).set("big.array", gguf.A(make([]string, 1<<20)))
	b.set("big.strings", gguf.A([]string{strings.Repeat("\n", 1<<20), "x"}))
	s, err := InspectFile(context.Background(), b.file(t))
	if err != nil {
		t.Fatal(err)
	}
	j, err := json.Marshal(s)
	if err != nil || len(j) > 32<<10 || bytes.ContainsAny(j, "\x01\n") {
		t.Errorf("summary of %d bytes, %v", len(j), err)
	}
}
