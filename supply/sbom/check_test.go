package sbom

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weighbridge/weighbridge/record"
	"github.com/weighbridge/weighbridge/supply/manifest"
)

type node = map[string]any

// tree is a BOM to be spoilt.
func tree(t testing.TB, src []byte) node {
	t.Helper()
	var v node
	if err := json.Unmarshal(src, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

func encode(t testing.TB, v any) []byte {
	t.Helper()
	src, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return src
}

// at walks to a value of a tree: strings are keys, ints are indices.
func at(v any, path ...any) any {
	for _, p := range path {
		switch p := p.(type) {
		case string:
			v = v.(node)[p]
		case int:
			v = v.([]any)[p]
		}
	}
	return v
}

// named gives the component of that bom-ref.
func named(bom node, ref string) node {
	for _, c := range bom["components"].([]any) {
		if c.(node)["bom-ref"] == ref {
			return c.(node)
		}
	}
	panic(ref)
}

func model(bom node) node { return at(bom, "metadata", "component").(node) }

func remove(bom node, ref string) {
	drop := func(list []any, key string) []any {
		return slices.DeleteFunc(list, func(x any) bool {
			o, ok := x.(node)
			return ok && o[key] == ref || x == ref
		})
	}
	bom["components"] = drop(bom["components"].([]any), "bom-ref")
	graph := drop(bom["dependencies"].([]any), "ref")
	bom["dependencies"] = graph
	for _, d := range graph {
		if on, ok := d.(node)["dependsOn"].([]any); ok {
			d.(node)["dependsOn"] = drop(on, "")
		}
	}
}

// include lists a component that the model depends on.
func include(bom node, c node) {
	bom["components"] = append(bom["components"].([]any), c)
	bom["dependencies"] = append(bom["dependencies"].([]any), node{"ref": c["bom-ref"]})
}

func hashes(alg, content string) []any { return []any{node{"alg": alg, "content": content}} }

const (
	shard = "file:model-00001-of-00002.safetensors"
	other = "0000000000000000000000000000000000000000000000000000000000000000"
)

// negatives are all ways in which a BOM can be wrong or prove too little. raw
// changes the bytes, change the tree.
var negatives = []struct {
	name   string
	change func(bom node)
	raw    func(src []byte) []byte
	rule   string
	detail string // a part of it
}{
	// The document.
	{name: "empty", raw: func([]byte) []byte { return nil }, rule: RuleSchema, detail: "ends too early"},
	{name: "cut off", raw: func(src []byte) []byte { return src[:len(src)/2] }, rule: RuleSchema, detail: "byte"},
	{name: "two documents", raw: func(src []byte) []byte { return append(src, src...) }, rule: RuleSchema, detail: "more follows"},
	{name: "a list", raw: func(src []byte) []byte { return fmt.Appendf(nil, "[%s]", src) }, rule: RuleSchema, detail: "expected an object"},
	{name: "not UTF-8", raw: func(src []byte) []byte { return append(src, 0xff) }, rule: RuleSchema, detail: "UTF-8"},
	{name: "XML", raw: func([]byte) []byte { return []byte(`<?xml version="1.0"?><bom/>`) }, rule: RuleSchema, detail: "XML"},
	{name: "SPDX 2.3", raw: func([]byte) []byte { return []byte(`{"spdxVersion": "SPDX-2.3", "SPDXID": "SPDXRef-DOCUMENT"}`) }, rule: RuleSchema, detail: "convert it to CycloneDX"},
	{name: "SPDX 3.0", raw: func([]byte) []byte { return []byte(`{"@context": "https://spdx.org/rdf/3.0.1/spdx-context.jsonld"}`) }, rule: RuleSchema, detail: "convert it to CycloneDX"},
	{name: "SPDX tag-value", raw: func([]byte) []byte { return []byte("SPDXVersion: SPDX-2.3\n") }, rule: RuleSchema, detail: "convert it to CycloneDX"},
	{name: "a key twice", raw: func(src []byte) []byte {
		return bytes.Replace(src, []byte(`"version":1`), []byte(`"version":1,"version":2`), 1)
	}, rule: RuleSchema, detail: "twice"},
	{name: "a key twice, escaped", raw: func(src []byte) []byte {
		return bytes.Replace(src, []byte(`"version":1`), []byte(`"version":1,"versio\u006e":2`), 1)
	}, rule: RuleSchema, detail: "twice"},
	{name: "half a surrogate pair", raw: func(src []byte) []byte {
		return bytes.Replace(src, []byte(`"tiny-helper"`), []byte(`"tiny\ud800"`), 1)
	}, rule: RuleSchema, detail: "surrogate"},
	{name: "endless nesting", raw: func([]byte) []byte { return bytes.Repeat([]byte(`{"a":[`), 1_000_000) }, rule: RuleSchema, detail: "nested deeper"},
	{name: "millions of values", raw: func([]byte) []byte {
		return fmt.Appendf(nil, `{"a":[%s[]]}`, bytes.Repeat([]byte("[],"), maxValues))
	}, rule: RuleSchema, detail: "more than 3000000 values"},
	{name: "components nested 100 deep", change: func(bom node) {
		c := node{"type": "file", "name": "x"}
		for range 100 {
			c = node{"type": "file", "name": "x", "components": []any{c}}
		}
		bom["components"] = []any{c}
	}, rule: RuleSchema, detail: "nested deeper"},
	{name: "endless number", raw: func(src []byte) []byte {
		return bytes.Replace(src, []byte(`"version":1`), []byte(`"version":1e999999999`), 1)
	}, rule: RuleSchema, detail: "out of range"},
	{name: "endless small number", raw: func(src []byte) []byte {
		return bytes.Replace(src, []byte(`"version":1`), []byte(`"version":0e-999999999`), 1)
	}, rule: RuleSchema, detail: "out of range"},
	{name: "too large", raw: func([]byte) []byte { return make([]byte, MaxBytes+1) }, rule: RuleSchema, detail: "are read at most"},
	{name: "another format", change: func(bom node) { bom["bomFormat"] = "Else" }, rule: RuleSchema, detail: `expected "CycloneDX"`},
	{name: "version 1.4", change: func(bom node) { bom["specVersion"] = "1.4" }, rule: RuleSchema, detail: "1.5, 1.6, 1.7"},
	{name: "version as a number", change: func(bom node) { bom["specVersion"] = 1.6 }, rule: RuleSchema, detail: "is not read"},
	{name: "unknown field", change: func(bom node) { model(bom)["extra"] = 1 }, rule: RuleSchema, detail: "extra"},
	{name: "field in other case", change: func(bom node) { c := named(bom, shard); c["Hashes"] = hashes("SHA-256", other) }, rule: RuleSchema, detail: "Hashes"},
	{name: "unknown component type", change: func(bom node) { named(bom, shard)["type"] = "weights" }, rule: RuleSchema, detail: "weights"},
	{name: "hash is no hex", change: func(bom node) { named(bom, shard)["hashes"] = hashes("SHA-256", strings.Repeat("z", 64)) }, rule: RuleSchema, detail: "does not match"},
	{name: "licence id that SPDX lacks", change: func(bom node) { model(bom)["licenses"] = []any{node{"license": node{"id": "Free-For-All"}}} }, rule: RuleSchema, detail: "Free-For-All"},
	{name: "serial number is no UUID", change: func(bom node) { bom["serialNumber"] = "urn:uuid:1" }, rule: RuleSchema, detail: "does not match"},

	// (a) The files.
	{name: "lies about a hash", change: func(bom node) { named(bom, shard)["hashes"] = hashes("SHA-256", other) }, rule: RuleHash, detail: other},
	{name: "two hashes, one lies", change: func(bom node) {
		c := named(bom, shard)
		c["hashes"] = append(c["hashes"].([]any), hashes("SHA-256", other)...)
	}, rule: RuleHash, detail: other},
	{name: "hides a weight file", change: func(bom node) { remove(bom, shard) }, rule: RuleFileMissing, detail: "no file component"},
	{name: "hides code", change: func(bom node) { remove(bom, "file:configuration_tiny.py") }, rule: RuleLoader, detail: "can run"},
	{name: "lists a file that is not there", change: func(bom node) {
		include(bom, node{"type": "file", "bom-ref": "x", "name": "model-00003-of-00003.safetensors", "hashes": hashes("SHA-256", other)})
	}, rule: RuleFileExtra, detail: "none of this name"},
	{name: "a Cyrillic letter in a name", change: func(bom node) {
		include(bom, node{"type": "file", "bom-ref": "x", "name": "сonfig.json", "hashes": hashes("SHA-256", other)})
	}, rule: RuleFileExtra, detail: "none of this name"},
	{name: "a full-width letter in a name", change: func(bom node) {
		include(bom, node{"type": "file", "bom-ref": "x", "name": "ｃonfig.json", "hashes": hashes("SHA-256", other)})
	}, rule: RuleFileExtra, detail: `looks like "config.json"`},
	{name: "a name that turns the writing", change: func(bom node) { named(bom, shard)["name"] = "model\u202efug.exe" }, rule: RuleText, detail: `\u202e`},
	{name: "a ref without ink", change: func(bom node) { include(bom, node{"type": "data", "bom-ref": "dataset:a\u200b", "name": "a"}) }, rule: RuleText, detail: `\u200b`},
	{name: "one file twice", change: func(bom node) {
		c := maps.Clone(named(bom, shard))
		c["bom-ref"] = "again"
		include(bom, c)
	}, rule: RuleFileTwice, detail: "2 file components"},
	{name: "weights without a hash", change: func(bom node) { delete(named(bom, shard), "hashes") }, rule: RuleFileNoHash, detail: "SHA-256"},
	{name: "weights with MD5 only", change: func(bom node) { named(bom, shard)["hashes"] = hashes("MD5", other[:32]) }, rule: RuleFileNoHash, detail: "SHA-256"},

	// (b) The root.
	{name: "another model's hash", change: func(bom node) { model(bom)["hashes"] = hashes("SHA-256", other) }, rule: RuleRoot, detail: "OMS root"},
	{name: "another root in the property", change: func(bom node) { at(model(bom), "properties", 0).(node)["value"] = other }, rule: RuleRoot, detail: "OMS root"},
	{name: "another identity", change: func(bom node) { at(model(bom), "properties", 1).(node)["value"] = "sha256:" + other }, rule: RuleIdentity, detail: "renamed"},
	{name: "nothing ties the model", change: func(bom node) { delete(model(bom), "hashes"); delete(model(bom), "properties") }, rule: RuleRootAbsent, detail: PropertyRoot},
	{name: "the model's hash is one file's", change: func(bom node) {
		delete(model(bom), "properties")
		model(bom)["hashes"] = named(bom, shard)["hashes"]
	}, rule: RuleRootAbsent, detail: "model-00001"},
	{name: "no model at all", change: func(bom node) { model(bom)["type"] = "application"; delete(model(bom), "modelCard") }, rule: RuleNoModel, detail: "0 are listed"},
	{name: "two models, neither this", change: func(bom node) {
		delete(bom["metadata"].(node), "component")
		include(bom, node{"type": "machine-learning-model", "bom-ref": "a", "name": "a"})
		include(bom, node{"type": "machine-learning-model", "bom-ref": "b", "name": "b"})
	}, rule: RuleNoModel, detail: "2 are listed"},

	// (c) The datasets, and what else is claimed.
	{name: "dataset ref leads nowhere", change: func(bom node) {
		at(model(bom), "modelCard", "modelParameters", "datasets", 0).(node)["ref"] = "dataset:gone"
	}, rule: RuleDatasetDangling, detail: "no component of type data"},
	{name: "dataset ref leads to a file", change: func(bom node) {
		at(model(bom), "modelCard", "modelParameters", "datasets", 0).(node)["ref"] = shard
	}, rule: RuleDatasetDangling, detail: "no component of type data"},
	{name: "dataset in another BOM", change: func(bom node) {
		at(model(bom), "modelCard", "modelParameters", "datasets", 0).(node)["ref"] = "urn:cdx:f08a6ccd-4dce-4759-bd84-c626675d60a7/1#a"
	}, rule: RuleDatasetDangling, detail: "another BOM"},
	{name: "dataset without a hash", change: func(bom node) { delete(named(bom, "dataset:example/polite-letters"), "hashes") }, rule: RuleDatasetNoHash, detail: "without a digest"},
	{name: "dataset with SHA-1 only", change: func(bom node) {
		named(bom, "dataset:example/polite-letters")["hashes"] = hashes("SHA-1", other[:40])
	}, rule: RuleDatasetNoHash, detail: "without a digest"},
	{name: "dataset inline", change: func(bom node) {
		at(model(bom), "modelCard", "modelParameters").(node)["datasets"] = []any{node{"type": "dataset", "name": "inline"}}
	}, rule: RuleDatasetNoHash, detail: "inline"},
	{name: "base model without a digest", change: func(bom node) { delete(at(model(bom), "pedigree", "ancestors", 0).(node), "hashes") }, rule: RuleBaseNoDigest, detail: "without a digest"},
	{name: "no licence", change: func(bom node) { delete(model(bom), "licenses") }, rule: RuleLicence, detail: "not named"},
	{name: "licence other", change: func(bom node) { model(bom)["licenses"] = []any{node{"license": node{"name": "Other"}}} }, rule: RuleLicence, detail: "says nothing"},
	{name: "licence NOASSERTION", change: func(bom node) { model(bom)["licenses"] = []any{node{"expression": "NOASSERTION"}} }, rule: RuleLicence, detail: "says nothing"},
	{name: "code of another repository", change: func(node) {}, rule: RuleRemoteCode, detail: "not in the folder"},

	// (d) The graph.
	{name: "depends on nothing known", change: func(bom node) {
		d := at(bom, "dependencies", 0).(node)
		d["dependsOn"] = append(d["dependsOn"].([]any), "gone")
	}, rule: RuleGraph, detail: "depends on it"},
	{name: "a node that is nothing", change: func(bom node) { bom["dependencies"] = append(bom["dependencies"].([]any), node{"ref": "gone"}) }, rule: RuleGraph, detail: "no component"},
	{name: "two entries for one", change: func(bom node) {
		bom["dependencies"] = append(bom["dependencies"].([]any), node{"ref": shard, "dependsOn": []any{"model"}})
	}, rule: RuleGraph, detail: "two entries"},
	{name: "a circle", change: func(bom node) {
		for _, d := range bom["dependencies"].([]any) {
			if d.(node)["ref"] == shard {
				d.(node)["dependsOn"] = []any{"model"}
			}
		}
	}, rule: RuleGraph, detail: `"model" -> "` + shard + `" -> "model"`},
	{name: "depends on itself", change: func(bom node) {
		d := at(bom, "dependencies", 0).(node)
		d["dependsOn"] = append(d["dependsOn"].([]any), d["ref"])
	}, rule: RuleGraph, detail: "circle"},
	{name: "no graph", change: func(bom node) { delete(bom, "dependencies") }, rule: RuleGraphIncomplete, detail: "no dependency graph"},
	{name: "left out of the graph", change: func(bom node) {
		bom["dependencies"] = slices.DeleteFunc(bom["dependencies"].([]any), func(d any) bool { return d.(node)["ref"] == shard })
	}, rule: RuleGraphIncomplete, detail: "leaves it out"},
	{name: "no bom-ref", change: func(bom node) {
		bom["components"] = append(bom["components"].([]any), node{"type": "library", "name": "torch"})
	}, rule: RuleGraphIncomplete, detail: "no bom-ref"},
	{name: "one bom-ref, two owners", change: func(bom node) { include(bom, node{"type": "library", "bom-ref": "model", "name": "x"}) }, rule: RuleRefTwice, detail: "2 parts"},
}

func TestNegativeMatrix(t *testing.T) {
	good, m := mustMake(t, complete(t))
	seen := map[string]bool{}
	for _, tc := range negatives {
		t.Run(tc.name, func(t *testing.T) {
			bom := tree(t, good)
			if tc.change != nil {
				tc.change(bom)
			}
			src := encode(t, bom)
			if tc.raw != nil {
				src = tc.raw(src)
			}
			facts, problems, err := Check(src, m)
			if err != nil {
				t.Fatal(err)
			}
			i := slices.IndexFunc(problems, func(p record.Problem) bool { return p.Rule == tc.rule && strings.Contains(p.Detail, tc.detail) })
			if i < 0 {
				t.Fatalf("no problem %s with %q: %+v", tc.rule, tc.detail, problems)
			}
			want := Rules()[tc.rule]
			if got := State(problems); got != want && got != record.Bad {
				t.Errorf("state %s, want %s", got, want)
			}
			if invalid := Validate(src); (invalid != nil) != (tc.rule == RuleSchema) || (facts == nil) != (tc.rule == RuleSchema) {
				t.Errorf("the schema says %v, facts %+v", invalid, facts)
			} else if invalid != nil && !errors.Is(invalid, ErrBOM) {
				t.Errorf("%v is no ErrBOM", invalid)
			}
			seen[tc.rule] = true
			t.Logf("%-28s %-44s -> %s", "sbom", tc.name, tc.rule)
		})
	}
	for rule := range Rules() {
		if !seen[rule] {
			t.Errorf("no case ends in %s", rule)
		}
	}
}

// One flaw gives the problems of one rule, besides what the good BOM has.
func TestNoFollowUps(t *testing.T) {
	good, m := mustMake(t, complete(t))
	for _, tc := range negatives {
		switch tc.name {
		case "two models, neither this", "one bom-ref, two owners": // two flaws each
			continue
		}
		if tc.change == nil {
			continue
		}
		bom := tree(t, good)
		tc.change(bom)
		_, problems, err := Check(encode(t, bom), m)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range problems {
			if p.Rule != tc.rule && p.Rule != RuleRemoteCode {
				t.Errorf("%s also gives %+v", tc.name, p)
			}
		}
	}
}

func TestCheckNeedsWholeFiles(t *testing.T) {
	src, m := mustMake(t, complete(t))
	for name, m := range map[string]*manifest.Manifest{"none": nil, "shards": {Method: manifest.Shards, Hash: manifest.SHA256, Resources: m.Resources}} {
		if _, _, err := Check(src, m); !errors.Is(err, ErrManifest) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// BOMs of other tools: older versions, nested components, short names, hashes
// in upper case, the OMS root in the other order.
func TestForeignBOMs(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, "a/b.safetensors", "one")
	put(t, dir, "a-b.safetensors", "two")
	put(t, dir, "README.md", "words")
	m := list(t, dir)
	if m.Root() == m.PythonRoot() {
		t.Fatal("the two orders agree; the test needs names that tell them apart")
	}
	hash := func(name string) string {
		r, _ := m.Find(name)
		return strings.ToUpper(fmt.Sprintf("%x", r.Digest))
	}
	for name, tc := range map[string]struct {
		bom   string
		rules []string
		facts Facts
	}{
		"1.5, nested, upper case, no model card": {
			bom: fmt.Sprintf(`{"bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1,
				"metadata": {"component": {"type": "machine-learning-model", "bom-ref": "m", "name": "m", "licenses": [{"expression": "MIT OR Apache-2.0"}],
					"hashes": [{"alg": "SHA-256", "content": "%s"}],
					"components": [
						{"type": "file", "bom-ref": "1", "name": "b.safetensors", "hashes": [{"alg": "SHA-256", "content": "%s"}, {"alg": "MD5", "content": "d41d8cd98f00b204e9800998ecf8427e"}]},
						{"type": "file", "bom-ref": "2", "name": "./a-b.safetensors", "hashes": [{"alg": "SHA-256", "content": "%s"}]}]}},
				"dependencies": [{"ref": "m", "dependsOn": ["1", "2"]}, {"ref": "1"}, {"ref": "2"}]}`,
				strings.ToUpper(m.PythonRoot()), hash("a/b.safetensors"), hash("a-b.safetensors")),
			facts: Facts{Spec: "1.5", Licences: []string{"MIT OR Apache-2.0"}, Checked: 3, Unchecked: 1},
		},
		"1.7, the model among others, licence by name, SHA-512": {
			bom: fmt.Sprintf(`{"bomFormat": "CycloneDX", "specVersion": "1.7", "version": 1,
				"metadata": {"component": {"type": "application", "bom-ref": "app", "name": "app"}},
				"components": [
					{"type": "machine-learning-model", "bom-ref": "base", "name": "base"},
					{"type": "machine-learning-model", "bom-ref": "m", "name": "m", "licenses": [{"license": {"name": "House licence"}}],
						"properties": [{"name": "weighbridge:oms-root", "value": "%s"}]},
					{"type": "framework", "bom-ref": "f", "name": "torch", "version": "2.9", "components": [{"type": "file", "bom-ref": "own", "name": "libtorch.so"}]},
					{"type": "file", "bom-ref": "1", "group": "a", "name": "b.safetensors", "hashes": [{"alg": "SHA-512", "content": "%[2]s%[2]s"}]},
					{"type": "file", "bom-ref": "2", "name": "a-b.safetensors", "hashes": [{"alg": "SHA-256", "content": "%[3]s"}]}],
				"dependencies": [{"ref": "app", "dependsOn": ["m"]}, {"ref": "m", "dependsOn": ["1", "2", "f", "base"]}, {"ref": "1"}, {"ref": "2"}, {"ref": "f", "dependsOn": ["own"]}, {"ref": "own"}, {"ref": "base"}]}`,
				m.Root(), strings.Repeat("0", 64), hash("a-b.safetensors")),
			rules: []string{RuleFileNoHash},
			facts: Facts{Spec: "1.7", Licences: []string{"House licence"}, Loaders: []string{"libtorch.so", "torch@2.9"}, Checked: 2, Unchecked: 1,
				Gaps: []string{"a/b.safetensors: it is listed without a SHA-256 to compare"}},
		},
		"1.6, nothing but a name": {
			bom:   `{"bomFormat": "CycloneDX", "specVersion": "1.6", "metadata": {"component": {"type": "machine-learning-model", "bom-ref": "m", "name": "m"}}}`,
			rules: []string{RuleFileMissing, RuleGraphIncomplete, RuleLicence, RuleRootAbsent},
			facts: Facts{Spec: "1.6", Gaps: []string{
				"dependencies: the BOM has no dependency graph", "licenses: the model's licence is not named",
				"m: it has no SHA-256; expected the OMS root " + m.Root() + " there or in the property weighbridge:oms-root",
			}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			facts, problems, err := Check([]byte(tc.bom), m)
			if err != nil || facts == nil {
				t.Fatal(err, problems)
			}
			var rules []string
			for _, p := range problems {
				rules = append(rules, p.Rule)
			}
			if d := cmp.Diff(tc.rules, slices.Compact(rules)); d != "" {
				t.Errorf("%s%+v", d, problems)
			}
			if d := cmp.Diff(tc.facts, *facts); d != "" {
				t.Error(d)
			}
		})
	}
}

// A BOM that is part of the manifest neither lists itself nor spoils the root.
func TestBOMInsideTheManifest(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, "w.safetensors", "weights")
	src, _ := mustMake(t, Input{Dir: dir, Licences: []string{"MIT"}})
	for _, name := range []string{"sbom/bom.json", "model.cdx.json", "evidence.dat"} {
		put(t, dir, name, string(src))
		m := list(t, dir)
		if len(m.Resources) < 2 {
			t.Fatalf("%s is not part of the manifest", name)
		}
		_, problems, err := Check(src, m)
		if err != nil || len(problems) != 0 {
			t.Errorf("%s: %+v, %v", name, problems, err)
		}
	}
}

// BLAKE3 manifests of others' signatures are compared with BLAKE3 hashes.
func TestOtherHashes(t *testing.T) {
	m := &manifest.Manifest{Method: manifest.Files, Hash: manifest.BLAKE3, Resources: []manifest.Resource{{Name: "w.gguf", Digest: bytes.Repeat([]byte{1}, 32)}}}
	bom := fmt.Sprintf(`{"bomFormat": "CycloneDX", "specVersion": "1.6", "metadata": {"component": {"type": "machine-learning-model", "bom-ref": "m", "name": "m",
		"licenses": [{"license": {"id": "MIT"}}], "hashes": [{"alg": "SHA-256", "content": "%s"}]}},
		"components": [{"type": "file", "bom-ref": "w", "name": "w.gguf", "hashes": [{"alg": "BLAKE3", "content": "%s"}]}],
		"dependencies": [{"ref": "m", "dependsOn": ["w"]}, {"ref": "w"}]}`, m.Root(), strings.Repeat("01", 32))
	facts, problems, err := Check([]byte(bom), m)
	if err != nil || len(problems) != 0 || facts.Checked != 2 {
		t.Errorf("%+v %+v %v", facts, problems, err)
	}
	_, problems, _ = Check([]byte(strings.Replace(bom, "0101", "0202", 1)), m)
	if State(problems) != record.Bad {
		t.Errorf("a lie in BLAKE3 gives %+v", problems)
	}
}
