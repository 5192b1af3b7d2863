package sbom

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Whatever the document: no panic, the same answer twice, bounded and
// printable text, and facts unless the schema is broken.
func FuzzCheck(f *testing.F) {
	src, m := mustMake(f, complete(f))
	f.Add(src)
	for _, tc := range negatives {
		bom := tree(f, src)
		if tc.change != nil {
			tc.change(bom)
		}
		seed := encode(f, bom)
		if tc.raw != nil {
			seed = tc.raw(seed)
		}
		if len(seed) < 1<<20 {
			f.Add(seed)
		}
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		facts, problems, err := Check(src, m)
		if err != nil {
			t.Fatal(err)
		}
		again, problemsAgain, _ := Check(src, m)
		if d := cmp.Diff(facts, again) + cmp.Diff(problems, problemsAgain); d != "" {
			t.Fatal(d)
		}
		if (facts == nil) != (Validate(src) != nil) {
			t.Fatalf("facts %+v, schema %v", facts, Validate(src))
		}
		if limit := (maxPerRule + 1) * len(Rules()); len(problems) > limit {
			t.Fatalf("%d problems", len(problems))
		}
		for _, p := range problems {
			if _, ok := Rules()[p.Rule]; !ok {
				t.Fatalf("unknown rule %s", p.Rule)
			}
			for _, s := range []string{p.Subject, p.Detail} {
				if len(s) > 4000 || plain(s, len(s)) != s {
					t.Fatalf("%d bytes, or not printable: %q", len(s), s)
				}
			}
		}
		if facts == nil {
			return
		}
		for _, s := range append(append(facts.Licences, facts.Loaders...), facts.Gaps...) {
			if plain(s, len(s)) != s {
				t.Fatalf("not printable: %q", s)
			}
		}
	})
}

// What a folder says of itself never breaks the BOM that is made of it.
func FuzzFolder(f *testing.F) {
	for _, name := range []string{"README.md", "config.json", "tokenizer.json"} {
		src, err := os.ReadFile("testdata/tiny-helper/" + name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(src, src)
	}
	f.Add([]byte("---\nlicense: \"\\u202e\"\nbase_model: ['', ' ']\ndatasets:\n- a\n- a\nlibrary_name: '@x'\n---\n"), []byte(`{"auto_map": {"a": ["--", "x--y", null]}, "architectures": [1]}`))
	f.Fuzz(func(t *testing.T, readme, config []byte) {
		dir := t.TempDir()
		put(t, dir, "w.gguf", "no GGUF")
		put(t, dir, "README.md", string(readme))
		put(t, dir, "config.json", string(config))
		put(t, dir, "adapter_config.json", string(config))
		put(t, dir, "LICENSE", string(readme))
		src, m := mustMake(t, Input{Dir: dir})
		if _, problems, err := Check(src, m); err != nil || State(problems) == "bad" {
			t.Fatalf("%v %+v\n%s", err, problems, src)
		}
	})
}

func FuzzSafetensors(f *testing.F) {
	for _, name := range []string{"tiny-helper/model-00002-of-00002.safetensors", "tiny-adapter/adapter_model.safetensors"} {
		src, err := os.ReadFile("testdata/" + name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(src)
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		h, err := readSafetensors(bytes.NewReader(src), int64(len(src)))
		if (h == nil) == (err == nil) {
			t.Fatalf("%+v, %v", h, err)
		}
		if h != nil && h.parameters < 0 {
			t.Fatalf("%d parameters", h.parameters)
		}
	})
}

func TestSafetensors(t *testing.T) {
	file := func(header string, data int) []byte {
		return append(append(binary.LittleEndian.AppendUint64(nil, uint64(len(header))), header...), make([]byte, data)...)
	}
	for name, tc := range map[string]struct {
		src  []byte
		want string // parameters and quantisation, or a part of the error
	}{
		"good":            {file(`{"__metadata__":{"a":"b"},"x":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]},"y":{"dtype":"BF16","shape":[],"data_offsets":[16,18]}}`, 18), "5 F32"},
		"empty":           {nil, "0 bytes"},
		"long":            {binary.LittleEndian.AppendUint64(nil, 1<<63), "does not fit"},
		"list":            {file(`[]`, 0), "no JSON object"},
		"cut":             {file(`{"x":`, 0), "byte"},
		"shape overflows": {file(`{"x":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]}}`, 0), "shape"},
		"negative":        {file(`{"x":{"dtype":"F32","shape":[-1],"data_offsets":[0,0]}}`, 0), "shape"},
		"outside":         {file(`{"x":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}`, 3), "outside"},
	} {
		t.Run(name, func(t *testing.T) {
			h, err := readSafetensors(bytes.NewReader(tc.src), int64(len(tc.src)))
			got := ""
			if err != nil {
				got = err.Error()
			} else {
				got = fmt.Sprint(h.parameters, " ", h.quantisation())
			}
			if !strings.Contains(got, tc.want) {
				t.Errorf("got %q, want %q in it", got, tc.want)
			}
		})
	}
}
