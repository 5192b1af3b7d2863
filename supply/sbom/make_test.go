package sbom

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weighbridge/weighbridge/record"
	"github.com/weighbridge/weighbridge/supply/manifest"
	"github.com/weighbridge/weighbridge/weights/gguf"
	"github.com/weighbridge/weighbridge/weights/quant"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func list(t testing.TB, dir string) *manifest.Manifest {
	t.Helper()
	m, err := manifest.Dir(t.Context(), dir, manifest.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func mustMake(t testing.TB, in Input) ([]byte, *manifest.Manifest) {
	t.Helper()
	if in.Manifest == nil {
		in.Manifest = list(t, in.Dir)
	}
	src, err := Make(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	return src, in.Manifest
}

func mustRef(t testing.TB, s string) Ref {
	t.Helper()
	r, err := ParseRef(s)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

const aDigest = "b923b890b833f20d136825a055883b67f68b487793c62f8b116264893d30c2d3"

// complete is an input that leaves nothing open for tiny-helper but the code of
// another repository.
func complete(t testing.TB) Input {
	return Input{
		Dir: "testdata/tiny-helper", Name: "tiny-helper", Version: "1.2.0", Licences: []string{"apache-2.0"}, Authors: []string{"Example Labs"},
		BaseModels: []Ref{mustRef(t, "example/tiny-base=sha256:"+aDigest)},
		Datasets:   []Ref{mustRef(t, "example/polite-letters=sha256:"+aDigest), mustRef(t, "example/opening-hours=sha256:"+strings.ToUpper(aDigest))},
		Tool:       "0.1.0",
	}
}

// ggufFolder writes a folder with one GGUF model that says much of itself.
func ggufFolder(t testing.TB) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "gguf-model")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(filepath.Join(dir, "model.gguf"))
	if err != nil {
		t.Fatal(err)
	}
	meta := []gguf.KV{
		{Key: "general.architecture", Value: gguf.V("llama")},
		{Key: "general.name", Value: gguf.V("Said \u202ename")},
		{Key: "general.version", Value: gguf.V("v2")},
		{Key: "general.license", Value: gguf.V("llama3.1")},
		{Key: "general.author", Value: gguf.V("A. Nobody")},
		{Key: "general.base_model.count", Value: gguf.V(uint32(1))},
		{Key: "general.base_model.0.name", Value: gguf.V("Base")},
		{Key: "general.base_model.0.organization", Value: gguf.V("Org")},
		{Key: "general.base_model.0.version", Value: gguf.V("v1")},
		{Key: "general.datasets", Value: gguf.A([]string{"example/a", "example/b"})},
		{Key: "llama.context_length", Value: gguf.V(uint32(4096))},
		{Key: "tokenizer.ggml.model", Value: gguf.V("gpt2")},
		{Key: "tokenizer.ggml.pre", Value: gguf.V("smollm")},
		{Key: "tokenizer.ggml.tokens", Value: gguf.A([]string{"a", "b", "c"})},
	}
	err = gguf.Write(f, meta, []gguf.Source{{Name: "token_embd.weight", Type: quant.F32, Shape: []uint64{4, 3}, Data: func(w io.Writer) error { _, err := w.Write(make([]byte, 48)); return err }}})
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestMakeGolden(t *testing.T) {
	for name, in := range map[string]Input{
		"tiny-helper":          {Dir: "testdata/tiny-helper"},
		"tiny-helper-complete": complete(t),
		"tiny-adapter":         {Dir: "testdata/tiny-adapter", Time: time.Unix(1_700_000_000, 0)},
		"gguf":                 {Dir: ggufFolder(t)},
	} {
		t.Run(name, func(t *testing.T) {
			got, m := mustMake(t, in)
			again, _ := mustMake(t, in)
			if !bytes.Equal(got, again) {
				t.Error("two runs give two BOMs")
			}
			golden := filepath.Join("testdata", name+".cdx.json")
			if *update {
				if err := os.WriteFile(golden, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(string(want), string(got)); d != "" {
				t.Error(d)
			}
			facts, problems, err := Check(got, m)
			if err != nil {
				t.Fatal(err)
			}
			if s := State(problems); s == record.Bad {
				t.Errorf("our own BOM is bad: %+v", problems)
			}
			if want := len(m.Resources) + 3; facts.Checked < want {
				t.Errorf("%d digests were checked, want at least %d", facts.Checked, want)
			}
		})
	}
}

func TestFactsOfOurOwn(t *testing.T) {
	src, m := mustMake(t, complete(t))
	facts, problems, err := Check(src, m)
	if err != nil {
		t.Fatal(err)
	}
	want := &Facts{
		Spec: "1.6", Licences: []string{"Apache-2.0"}, BaseModels: []string{"sha256:" + aDigest}, Datasets: 2,
		Loaders: []string{"configuration_tiny.py", "example/tiny-code", "transformers@4.55.0"},
		Checked: len(m.Resources) + 3, Unchecked: 3,
		Gaps: []string{"example/tiny-code: the model's configuration names this code, which is not in the folder and has no digest"},
	}
	if d := cmp.Diff(want, facts); d != "" {
		t.Error(d)
	}
	if len(problems) != 1 || problems[0].Rule != RuleRemoteCode || State(problems) != record.Ambiguous {
		t.Errorf("got %+v", problems)
	}
}

// Without flags nothing is invented: each thing that is not known is a named gap.
func TestUnknownStaysUnknown(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "w.safetensors"), []byte("no header"), 0o644); err != nil {
		t.Fatal(err)
	}
	src, m := mustMake(t, Input{Dir: dir})
	facts, problems, err := Check(src, m)
	if err != nil {
		t.Fatal(err)
	}
	if State(problems) != record.Ambiguous || len(facts.Licences) != 0 || len(problems) != 1 || problems[0].Rule != RuleLicence {
		t.Errorf("got %+v %+v", facts, problems)
	}
	for _, part := range []string{`"weighbridge:unknown"`, "neither the command line", "malformed safetensors header"} {
		if !bytes.Contains(src, []byte(part)) {
			t.Errorf("the BOM does not say %q:\n%s", part, src)
		}
	}
}

func TestTime(t *testing.T) {
	in := complete(t)
	without, _ := mustMake(t, in)
	in.Time = time.Unix(1_700_000_000, 0)
	with, _ := mustMake(t, in)
	if bytes.Contains(without, []byte("timestamp")) || !bytes.Contains(with, []byte(`"timestamp": "2023-11-14T22:13:20Z"`)) {
		t.Errorf("time:\n%s", with)
	}
}

func TestMakeRefuses(t *testing.T) {
	good := complete(t)
	good.Manifest = list(t, good.Dir)
	for name, change := range map[string]func(in *Input){
		"no manifest":            func(in *Input) { in.Manifest = nil },
		"shards":                 func(in *Input) { m := *in.Manifest; m.Method = manifest.Shards; in.Manifest = &m },
		"name turns the writing": func(in *Input) { in.Name = "a\u202eb" },
		"long version":           func(in *Input) { in.Version = strings.Repeat("1", 500) },
		"empty author":           func(in *Input) { in.Authors = []string{""} },
		"dataset twice":          func(in *Input) { in.Datasets = append(in.Datasets, in.Datasets[0]) },
		"expression in a list":   func(in *Input) { in.Licences = []string{"MIT OR Apache-2.0", "MIT"} },
	} {
		t.Run(name, func(t *testing.T) {
			in := good
			change(&in)
			if _, err := Make(t.Context(), in); !errors.Is(err, ErrInput) {
				t.Errorf("got %v", err)
			}
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Make(ctx, good); !errors.Is(err, context.Canceled) {
		t.Errorf("after a cancel: %v", err)
	}
}

func TestParseRef(t *testing.T) {
	for s, want := range map[string]Ref{
		"a":                          {Name: "a"},
		"a=b=sha256:" + aDigest:      {Name: "a=b", Alg: "SHA-256", Hex: aDigest},
		"x/y@main=blake3:" + aDigest: {Name: "x/y@main", Alg: "BLAKE3", Hex: aDigest},
	} {
		if got, err := ParseRef(s); err != nil || got != want {
			t.Errorf("%s: %+v, %v", s, got, err)
		}
	}
	for _, s := range []string{"", "=sha256:" + aDigest, "a=", "a=b", "a=sha256:12", "a=md5:" + aDigest, "a=sha256:" + strings.Repeat("g", 64), "a\x00"} {
		if got, err := ParseRef(s); !errors.Is(err, ErrInput) {
			t.Errorf("%q: %+v, %v", s, got, err)
		}
	}
}

func TestLicences(t *testing.T) {
	for _, tc := range []struct {
		in   []string
		want string
	}{
		{[]string{"apache-2.0"}, "id Apache-2.0"},
		{[]string{"mit OR (apache-2.0 and gpl-2.0-or-later with Classpath-exception-2.0)"}, "expression MIT OR (Apache-2.0 AND GPL-2.0-or-later WITH Classpath-exception-2.0)"},
		{[]string{"LicenseRef-own AND MIT"}, "expression LicenseRef-own AND MIT"},
		{[]string{"llama3.1"}, "name llama3.1"},
		{[]string{"MIT", "other"}, "id MIT, name other"},
		{[]string{"MIT OR nonsense"}, "name MIT OR nonsense"},
		{[]string{"MIT AND"}, "name MIT AND"},
		{[]string{"MIT ) OR ( MIT"}, "name MIT ) OR ( MIT"},
	} {
		var got []string
		for _, l := range *licenceChoices(tc.in) {
			switch {
			case l.Expression != "":
				got = append(got, "expression "+l.Expression)
			case l.License.ID != "":
				got = append(got, "id "+l.License.ID)
			default:
				got = append(got, "name "+l.License.Name)
			}
		}
		if s := strings.Join(got, ", "); s != tc.want {
			t.Errorf("%q: %s, want %s", tc.in, s, tc.want)
		}
	}
}

func TestFrontMatter(t *testing.T) {
	for name, tc := range map[string]struct {
		in   string
		want map[string][]string
		bad  bool
	}{
		"none":        {in: "# A model\n"},
		"not closed":  {in: "---\nlicense: mit\n"},
		"one key":     {in: "---\nlicense: mit\n---\n", want: map[string][]string{"license": {"mit"}}},
		"at the end":  {in: "---\nlicense: mit\n---", want: map[string][]string{"license": {"mit"}}},
		"windows":     {in: "---\r\nlicense: mit\r\n---\r\n", want: map[string][]string{"license": {"mit"}}},
		"lists":       {in: "---\na: [x, y]\nb:\n- z\n- {k: v}\nc: {k: v}\nd: 1.5\n---\n", want: map[string][]string{"a": {"x", "y"}, "b": {"z"}, "d": {"1.5"}}},
		"aliases":     {in: "---\na: &a [x]\nb: *a\n---\n", bad: true},
		"deep":        {in: "---\na: " + strings.Repeat("[", 100) + strings.Repeat("]", 100) + "\n---\n", bad: true},
		"deep dashes": {in: "---\na:\n" + strings.Repeat("- ", 5000) + "x\n---\n", bad: true},
		"large":       {in: "---\na: " + strings.Repeat("x", maxFrontMatter) + "\n---\n", bad: true},
		"not YAML":    {in: "---\na: [\n---\n", bad: true},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := frontMatter([]byte(tc.in))
			if (err != nil) != tc.bad {
				t.Fatalf("%v, %v", got, err)
			}
			if d := cmp.Diff(tc.want, got); d != "" {
				t.Error(d)
			}
		})
	}
}

// What the folder says of a base model is one with the flag that adds its
// digest, at whatever revision.
func TestFlagsWin(t *testing.T) {
	src, m := mustMake(t, Input{Dir: "testdata/tiny-adapter", BaseModels: []Ref{mustRef(t, "example/tiny-base=sha256:"+aDigest)}, Licences: []string{"BSD-3-Clause"}})
	facts, problems, err := Check(src, m)
	if err != nil || len(problems) != 0 {
		t.Fatalf("%+v, %v", problems, err)
	}
	if d := cmp.Diff([]string{"sha256:" + aDigest}, facts.BaseModels) + cmp.Diff([]string{"BSD-3-Clause"}, facts.Licences); d != "" {
		t.Error(d)
	}
}

// Sources that contradict each other leave the field out, and the BOM says so.
func TestSourcesDisagree(t *testing.T) {
	dir := ggufFolder(t)
	put(t, dir, "README.md", "---\nlicense: mit\npipeline_tag: text-generation\n---\n")
	put(t, dir, "config.json", `{"model_type": "gpt2", "max_position_embeddings": 1024}`)
	src, _ := mustMake(t, Input{Dir: dir})
	for _, part := range []string{
		`architectureFamily: config.json model_type says \"gpt2\" and model.gguf general.architecture says \"llama\"`,
		`weighbridge:context-length: config.json says \"1024\" and model.gguf says \"4096\"`,
		`"value": "licenses MIT from README.md front matter"`, `"value": "licenses llama3.1 from model.gguf general.license"`,
	} {
		if !bytes.Contains(src, []byte(part)) {
			t.Errorf("the BOM does not hold %s", part)
		}
	}
	if bytes.Contains(src, []byte(`"architectureFamily": `)) {
		t.Error("one of two answers was chosen")
	}
}

// An adapter beside a model changes neither its name nor its parameters.
func TestAdapterBesideModel(t *testing.T) {
	dir := ggufFolder(t)
	adapter, err := os.ReadFile("../../testdata/models/lora-benign.gguf")
	if err != nil {
		t.Fatal(err)
	}
	alone, _ := mustMake(t, Input{Dir: dir})
	put(t, dir, "lora.gguf", string(adapter))
	both, m := mustMake(t, Input{Dir: dir})
	for _, name := range []string{"name", "parameters"} {
		if a, b := fact(t, alone, name), fact(t, both, name); a == "" || a != b {
			t.Errorf("%s is %q alone and %q beside an adapter", name, a, b)
		}
	}
	if !bytes.Contains(both, []byte(`"value": "adapter"`)) {
		t.Error("the adapter has not that role")
	}
	if _, problems, err := Check(both, m); err != nil || State(problems) == record.Bad {
		t.Errorf("%+v, %v", problems, err)
	}
}

func fact(t *testing.T, src []byte, name string) string {
	t.Helper()
	b, _, err := read(src)
	if err != nil {
		t.Fatal(err)
	}
	if name == "name" {
		return b.Metadata.Component.Name
	}
	return strings.Join(b.Metadata.Component.property("weighbridge:"+name), " ")
}

// Where the two orders of names give two roots, the BOM holds both.
func TestBothRoots(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, "a/b.safetensors", "one")
	put(t, dir, "a-b.safetensors", "two")
	src, m := mustMake(t, Input{Dir: dir, Licences: []string{"MIT"}})
	if got := fact(t, src, "oms-root"); got != m.Root() {
		t.Errorf("root %s, want %s", got, m.Root())
	}
	if got := fact(t, src, "oms-root-python"); got != m.PythonRoot() || got == m.Root() {
		t.Errorf("root in the other order %s, want %s", got, m.PythonRoot())
	}
	if _, problems, err := Check(src, m); err != nil || len(problems) > 0 {
		t.Errorf("%+v, %v", problems, err)
	}
}

// Code that only the tokenizer's configuration names is listed too; a text that
// is too large is not read, and the BOM says so.
func TestTexts(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, "w.safetensors", "")
	put(t, dir, "tokenizer_config.json", `{"auto_map": {"AutoTokenizer": ["owner/code--tokenization_x.X", null]}}`)
	put(t, dir, "config.json", `{"model_type": "a", "model_type": "b"}`)
	put(t, dir, "README.md", "---\nlicense: mit\n---\n"+strings.Repeat("x", maxText))
	src, m := mustMake(t, Input{Dir: dir})
	facts, _, err := Check(src, m)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"owner/code"}, facts.Loaders); d != "" {
		t.Error(d)
	}
	if len(facts.Licences) != 0 {
		t.Errorf("licences %q out of a README that was not read", facts.Licences)
	}
	for _, part := range []string{"README.md: larger than 1048576 bytes", `config.json: at /: the key \"model_type\" is there twice`} {
		if !bytes.Contains(src, []byte(part)) {
			t.Errorf("the BOM does not say %q:\n%s", part, src)
		}
	}
}
