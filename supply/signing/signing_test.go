package signing

import (
	"bytes"
	"crypto/elliptic"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weighbridge/weighbridge/record"
	"github.com/weighbridge/weighbridge/supply/bundle"
	"github.com/weighbridge/weighbridge/supply/bundle/bundletest"
	"github.com/weighbridge/weighbridge/supply/manifest"
)

type object = bundletest.Object

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func put(t testing.TB, dir, name, content string) {
	t.Helper()
	path := filepath.Join(dir, name)
	check(t, os.MkdirAll(filepath.Dir(path), 0o755))
	check(t, os.WriteFile(path, []byte(content), 0o644))
}

// files make the two orders differ.
func files() map[string]string {
	return map[string]string{"a/b": "1", "a-b": "2", "a.b": "3", "config.json": "{}", "weights/1.safetensors": strings.Repeat("w", 3000), "empty": ""}
}

func signer(t testing.TB) (*bundle.Signer, bundletest.Key) {
	t.Helper()
	key := bundletest.NewKey(t, elliptic.P256())
	s, err := bundle.LoadSigner(bundle.SignerConfig{Key: key.File})
	check(t, err)
	return s, key
}

func sign(t testing.TB, dir string, s *bundle.Signer, o Options) *Signature {
	t.Helper()
	signed, err := Sign(t.Context(), dir, s, o)
	check(t, err)
	return open(t, signed.Bundle)
}

func open(t testing.TB, raw []byte) *Signature {
	t.Helper()
	s, err := Open(raw)
	check(t, err)
	return s
}

func rules(problems []record.Problem) []string {
	var out []string
	for _, p := range problems {
		out = append(out, p.Subject+": "+p.Rule)
	}
	return out
}

func compare(t testing.TB, dir string, s *Signature, o Options, want ...string) {
	t.Helper()
	_, problems, err := Compare(t.Context(), dir, s, o)
	check(t, err)
	if d := cmp.Diff(want, rules(problems)); d != "" {
		t.Errorf("problems (-want +got):\n%s", d)
	}
}

func TestSignAndCompare(t *testing.T) {
	dir := bundletest.Folder(t, files())
	key, _ := signer(t)
	signed, err := Sign(t.Context(), dir, key, Options{})
	check(t, err)
	check(t, signed.Write(t.Context()))
	raw, err := os.ReadFile(filepath.Join(dir, manifest.SignatureFile))
	check(t, err)
	s := open(t, raw)
	check(t, s.Bundle.VerifyKey(key.Public()))
	if s.Name != "model" || s.Root != signed.Manifest.Root() || s.Hidden("") != nil {
		t.Errorf("name %q, root %s, hidden %q", s.Name, s.Root, s.Hidden(""))
	}
	m, problems, err := Compare(t.Context(), dir, s, Options{})
	if err != nil || problems != nil || m.Root() != s.Root {
		t.Fatalf("%v, %v", problems, err)
	}
	check(t, m.Recheck(t.Context(), dir))

	// The same with a manifest at hand: nothing is read.
	check(t, os.Chmod(filepath.Join(dir, "config.json"), 0)) // root may read it all the same; the stamp would differ
	compare(t, dir, s, Options{Manifest: m})
	check(t, os.Chmod(filepath.Join(dir, "config.json"), 0o644))

	// Renamed in the same order: the roots are equal, the names are not.
	check(t, os.Rename(filepath.Join(dir, "config.json"), filepath.Join(dir, "confih.json")))
	compare(t, dir, s, Options{}, "config.json: file-missing", "confih.json: file-unsigned")
}

func TestSignedStatementIsDeterministic(t *testing.T) {
	dir := bundletest.Folder(t, files())
	key, _ := signer(t)
	a, b := sign(t, dir, key, Options{Ignore: []string{"z", "b/"}}), sign(t, dir, key, Options{Ignore: []string{"b", "z", "z"}})
	if !bytes.Equal(a.Bundle.Payload, b.Bundle.Payload) {
		t.Errorf("two payloads for the same files:\n%s\n%s", a.Bundle.Payload, b.Bundle.Payload)
	}
	if d := cmp.Diff([]string{"b", "z"}, a.Hidden("")); d != "" {
		t.Error(d)
	}
}

// The statement has exactly the fields of the format.
func TestStatementFields(t *testing.T) {
	m := &manifest.Manifest{Method: manifest.Files, Hash: manifest.SHA256, Resources: []manifest.Resource{{Name: "w", Digest: make([]byte, 32)}}}
	st, err := Statement("m", m, []string{"model.sig"})
	check(t, err)
	got, err := json.Marshal(st)
	check(t, err)
	zero := strings.Repeat("0", 64)
	want := `{"_type":"https://in-toto.io/Statement/v1","subject":[{"name":"m","digest":{"sha256":"` + m.Root() + `"}}],` +
		`"predicateType":"https://model_signing/signature/v1.0","predicate":{"resources":[{"name":"w","algorithm":"sha256","digest":"` + zero + `"}],` +
		`"serialization":{"allow_symlinks":false,"hash_type":"sha256","ignore_paths":["model.sig"],"method":"files"}}}`
	if d := cmp.Diff(want, string(got)); d != "" {
		t.Error(d)
	}
}

func TestCompareListsEverything(t *testing.T) {
	dir := bundletest.Folder(t, files())
	key, _ := signer(t)
	s := sign(t, dir, key, Options{})
	put(t, dir, "a-b", "changed")
	put(t, dir, "new", "1")
	put(t, dir, "sub/.git/config", "1") // git's own folder counts at the top only
	put(t, dir, ".gitignore", "1")
	check(t, os.Remove(filepath.Join(dir, "empty")))
	want := []string{"a-b: file-changed", "empty: file-missing", "new: file-unsigned", "sub/.git/config: file-unsigned"}
	compare(t, dir, s, Options{}, want...)
	compare(t, dir, s, Options{IgnoreUnsigned: true}, want[:2]...)
	compare(t, dir, s, Options{Extra: []string{"new", "sub"}}, want[:2]...)
	// Nothing of the last comparison remains for the next one.
	compare(t, dir, s, Options{}, want...)
	m, err := manifest.Dir(t.Context(), dir, manifest.Options{})
	check(t, err)
	compare(t, dir, s, Options{Manifest: m}, want...)

	check(t, syscall.Mkfifo(filepath.Join(dir, "p"), 0o644))
	check(t, os.Symlink("a-b", filepath.Join(dir, "l")))
	compare(t, dir, s, Options{}, "l: folder-symlink", "p: folder-special")
	compare(t, dir, s, Options{IgnoreUnsigned: true}, want[:2]...)
}

// A signer can leave any path out. That is honoured, and said.
func TestIgnorePathsHideFiles(t *testing.T) {
	dir := bundletest.Folder(t, files())
	put(t, dir, "hooks/run.py", "import os")
	key, _ := signer(t)
	s := sign(t, dir, key, Options{Ignore: []string{"hooks"}})
	compare(t, dir, s, Options{})
	if d := cmp.Diff([]string{"hooks"}, s.Hidden("")); d != "" {
		t.Error(d)
	}
	put(t, dir, "hooks/more.py", "x")
	put(t, dir, "hooks2", "x")
	compare(t, dir, s, Options{}, "hooks2: file-unsigned")
	m, err := manifest.Dir(t.Context(), dir, manifest.Options{})
	check(t, err)
	compare(t, dir, s, Options{Manifest: m}, "hooks2: file-unsigned")
	// The next signature knows nothing of this one's ignore paths.
	other := sign(t, bundletest.Folder(t, files()), key, Options{})
	compare(t, dir, other, Options{}, "hooks/more.py: file-unsigned", "hooks/run.py: file-unsigned", "hooks2: file-unsigned")
}

func TestSignatureOutsideAndByAnotherName(t *testing.T) {
	dir := bundletest.Folder(t, files())
	key, _ := signer(t)
	for _, path := range []string{filepath.Join(dir, "sub", "my.sig"), filepath.Join(t.TempDir(), "my.sig")} {
		check(t, os.MkdirAll(filepath.Dir(path), 0o755))
		o := Options{SignatureFile: path}
		signed, err := Sign(t.Context(), dir, key, o)
		check(t, err)
		check(t, signed.Write(t.Context()))
		raw, err := os.ReadFile(path)
		check(t, err)
		s := open(t, raw)
		compare(t, dir, s, o)
		if h := s.Hidden("sub/my.sig"); h != nil {
			t.Errorf("hidden %q", h)
		}
		check(t, os.RemoveAll(filepath.Join(dir, "sub")))
	}
}

func TestFolderThatChangesIsNotSigned(t *testing.T) {
	dir := bundletest.Folder(t, files())
	key, _ := signer(t)
	signed, err := Sign(t.Context(), dir, key, Options{})
	check(t, err)
	put(t, dir, "a-b", "9")
	if err := signed.Write(t.Context()); !errors.Is(err, manifest.ErrFolder) || !strings.Contains(err.Error(), "a-b") {
		t.Fatalf("got %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, manifest.SignatureFile)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a signature was written: %v", err)
	}
}

// What others sign: shards, other hashes, any order, the single file ".", and
// the fields that only they write.
func TestOthersSignatures(t *testing.T) {
	key, _ := signer(t)
	resign := func(t *testing.T, change func(predicate, subject object), m *manifest.Manifest, ignore ...string) *Signature {
		t.Helper()
		var rs []any
		for _, r := range m.Resources {
			rs = append(rs, object{"name": r.Name, "algorithm": string(m.Hash), "digest": hexOf(r.Digest), "more": 1})
		}
		ser := object{"method": string(m.Method), "hash_type": string(m.Hash), "allow_symlinks": false}
		if ignore != nil {
			ser["ignore_paths"] = ignore
		}
		subject := object{"name": "x", "digest": object{"sha256": m.Root()}}
		predicate := object{"serialization": ser, "resources": rs, "unknown": 1}
		if change != nil {
			change(predicate, subject)
		}
		st, err := json.MarshalIndent(object{"_type": bundle.StatementType, "predicateType": bundle.PredicateOMS, "subject": []any{subject}, "predicate": predicate}, "", "  ")
		check(t, err)
		raw, err := key.SignPayload(st)
		check(t, err)
		s := open(t, raw)
		check(t, s.Bundle.VerifyKey(key.Public()))
		return s
	}
	read := func(dir string, o manifest.Options) *manifest.Manifest {
		m, err := manifest.Dir(t.Context(), dir, o)
		check(t, err)
		return m
	}
	t.Run("hashes and shards", func(t *testing.T) {
		for _, h := range []manifest.Hash{manifest.SHA256, manifest.BLAKE2b, manifest.BLAKE3} {
			for _, method := range []manifest.Method{manifest.Files, manifest.Shards} {
				dir := bundletest.Folder(t, files())
				m := read(dir, manifest.Options{Method: method, Hash: h, ShardSize: 1000})
				s := resign(t, func(p, _ object) {
					p["serialization"].(object)["shard_size"] = 1000
					if method == manifest.Shards { // as the Python implementation writes it
						for _, r := range p["resources"].([]any) {
							r.(object)["algorithm"] = string(h) + "-sharded-1000"
						}
					}
				}, m)
				compare(t, dir, s, Options{})
				content := []byte(strings.Repeat("w", 3000))
				content[1500] = 'v'
				put(t, dir, "weights/1.safetensors", string(content))
				want := "weights/1.safetensors: file-changed"
				if method == manifest.Shards {
					want = "weights/1.safetensors:1000:2000: file-changed"
				}
				compare(t, dir, s, Options{}, want)
				put(t, dir, "weights/1.safetensors", string(content)+"more")
				wants := []string{want}
				if method == manifest.Shards {
					wants = append(wants, "weights/1.safetensors:3000:3004: file-unsigned")
				}
				compare(t, dir, s, Options{}, wants...)
				put(t, dir, "unsigned", "")
				compare(t, dir, s, Options{IgnoreUnsigned: true}, wants...)
			}
		}
	})
	t.Run("any order", func(t *testing.T) {
		dir := bundletest.Folder(t, files())
		m := read(dir, manifest.Options{})
		slices.Reverse(m.Resources)
		compare(t, dir, resign(t, nil, m), Options{})
	})
	t.Run("single file", func(t *testing.T) {
		dir := bundletest.Folder(t, map[string]string{"model.gguf": "1"})
		s := resign(t, func(p, _ object) { p["resources"].([]any)[0].(object)["name"] = "." }, read(dir, manifest.Options{}))
		if !s.Single() {
			t.Fatal("not single")
		}
		file := filepath.Join(dir, "model.gguf")
		put(t, dir, "model.sig", "x")
		compare(t, dir, s, Options{})
		compare(t, file, s, Options{})
		byName := resign(t, nil, read(dir, manifest.Options{}))
		compare(t, file, byName, Options{})
		put(t, dir, "model.gguf", "2")
		compare(t, dir, s, Options{}, "model.gguf: file-changed")
		compare(t, file, s, Options{}, "model.gguf: file-changed")
		put(t, dir, "other", "2")
		compare(t, dir, s, Options{}, ".: file-missing", "model.gguf: file-unsigned", "other: file-unsigned")
	})
	// A folder from elsewhere may hold a bom.json that is part of the model,
	// or be signed with git's files.
	t.Run("evidence names and git's files signed", func(t *testing.T) {
		dir := bundletest.Folder(t, map[string]string{"w": "1", "bom.json": "2", ".gitattributes": "3", ".git/config": "4"})
		m := read(dir, manifest.Options{Keep: []string{"bom.json", ".gitattributes", ".git"}})
		s := resign(t, nil, m)
		compare(t, dir, s, Options{})
		put(t, dir, "bom.json", "9")
		put(t, dir, ".git/hooks", "9")
		compare(t, dir, s, Options{}, ".git/hooks: file-unsigned", "bom.json: file-changed")
		compare(t, dir, s, Options{Manifest: read(dir, manifest.Options{})}, ".git/hooks: file-unsigned", "bom.json: file-changed")
	})
	t.Run("symlinks allowed by the signer", func(t *testing.T) {
		dir := bundletest.Folder(t, map[string]string{"w": "1"})
		check(t, os.Symlink("w", filepath.Join(dir, "l")))
		m := read(dir, manifest.Options{AllowSymlinks: true})
		s := resign(t, func(p, _ object) { p["serialization"].(object)["allow_symlinks"] = true }, m)
		compare(t, dir, s, Options{})
		check(t, os.Remove(filepath.Join(dir, "l")))
		check(t, os.Symlink("/etc/hostname", filepath.Join(dir, "l")))
		compare(t, dir, s, Options{}, "l: folder-escape")
		compare(t, dir, resign(t, nil, m), Options{}, "l: folder-symlink")
	})
}

func hexOf(p []byte) string {
	const digits = "0123456789abcdef"
	var out []byte
	for _, c := range p {
		out = append(out, digits[c>>4], digits[c&15])
	}
	return string(out)
}

func TestNegativeMatrix(t *testing.T) {
	dir := bundletest.Folder(t, files())
	key, _ := signer(t)
	signed, err := Sign(t.Context(), dir, key, Options{})
	check(t, err)
	serialization := func(st object) object { return st["predicate"].(object)["serialization"].(object) }
	resource := func(st object) object { return st["predicate"].(object)["resources"].([]any)[0].(object) }
	for _, c := range []struct {
		name, rule string
		change     func(st object)
	}{
		{"wrong predicateType", RulePredicateType, func(st object) { st["predicateType"] = bundle.PredicateProvenance }},
		{"two subjects", RuleSubjects, func(st object) { st["subject"] = append(st["subject"].([]any), st["subject"].([]any)[0]) }},
		{"root missing", RuleSubjects, func(st object) {
			st["subject"].([]any)[0].(object)["digest"] = object{"sha512": strings.Repeat("0", 128)}
		}},
		{"root in capitals", RuleSubjects, func(st object) {
			d := st["subject"].([]any)[0].(object)["digest"].(object)
			d["sha256"] = "A" + d["sha256"].(string)[1:]
		}},
		{"another root", RuleRoot, func(st object) {
			st["subject"].([]any)[0].(object)["digest"] = object{"sha256": strings.Repeat("0", 64)}
		}},
		{"predicate missing", RulePredicate, func(st object) { delete(st, "predicate") }},
		{"predicate with keys in two cases", RulePredicate, func(st object) { st["predicate"].(object)["Resources"] = []any{} }},
		{"serialization missing", RuleSerialization, func(st object) { delete(st["predicate"].(object), "serialization") }},
		{"unknown method", RuleSerialization, func(st object) { serialization(st)["method"] = "tensors" }},
		{"unknown hash", RuleSerialization, func(st object) { serialization(st)["hash_type"] = "md5" }},
		{"shards of 0 bytes", RuleSerialization, func(st object) { serialization(st)["method"], serialization(st)["shard_size"] = "shards", 0 }},
		{"shards of half a byte", RulePredicate, func(st object) { serialization(st)["method"], serialization(st)["shard_size"] = "shards", 0.5 }},
		{"files listed as shards", RuleResources, func(st object) { serialization(st)["method"] = "shards" }},
		{"ignore path ..", RuleIgnorePaths, func(st object) { serialization(st)["ignore_paths"] = []any{"../x"} }},
		{"ignore path absolute", RuleIgnorePaths, func(st object) { serialization(st)["ignore_paths"] = []any{"/x"} }},
		{"ignore everything", RuleIgnorePaths, func(st object) { serialization(st)["ignore_paths"] = []any{"."} }},
		{"empty resources", RuleResources, func(st object) { st["predicate"].(object)["resources"] = []any{} }},
		{"resource twice", RuleResources, func(st object) {
			p := st["predicate"].(object)
			p["resources"] = append(p["resources"].([]any), p["resources"].([]any)[0])
		}},
		{"name with ..", RuleResources, func(st object) { resource(st)["name"] = "../a-b" }},
		{"name with .. inside", RuleResources, func(st object) { resource(st)["name"] = "a/../b" }},
		{"absolute name", RuleResources, func(st object) { resource(st)["name"] = "/a-b" }},
		{"name with NUL", RuleResources, func(st object) { resource(st)["name"] = "a\x00b" }},
		{"name with a backslash", RuleResources, func(st object) { resource(st)["name"] = `a\b` }},
		{"empty name", RuleResources, func(st object) { resource(st)["name"] = "" }},
		{"name . among others", RuleResources, func(st object) { resource(st)["name"] = "." }},
		{"endless name", RuleResources, func(st object) { resource(st)["name"] = strings.Repeat("a", 5000) }},
		{"another algorithm", RuleResources, func(st object) { resource(st)["algorithm"] = "sha512" }},
		{"sharded algorithm for files", RuleResources, func(st object) { resource(st)["algorithm"] = "sha256-sharded-1000000000" }},
		{"short digest", RuleResources, func(st object) { resource(st)["digest"] = "00" }},
		{"digest in capitals", RuleResources, func(st object) { resource(st)["digest"] = strings.Repeat("AB", 32) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Open(bundletest.Edit(t, signed.Bundle, func(_, st object) { c.change(st) }))
			if bundle.Rule(err) != c.rule || !errors.Is(err, bundle.ErrFormat) {
				t.Fatalf("got rule %q (%v), want %q", bundle.Rule(err), err, c.rule)
			}
			t.Logf("%-28s %-44s -> %s", "model signature", c.name, c.rule)
		})
	}
	t.Run("name that is not UTF-8", func(t *testing.T) {
		st, err := Statement("m", signed.Manifest, nil)
		check(t, err)
		st.Predicate = bytes.Replace(st.Predicate, []byte("a-b"), []byte("a\xffb"), 1)
		// The signer refuses such a statement, and so does the reader.
		if _, err := key.SignPayload(append(append([]byte(`{"_type":"`+bundle.StatementType+`","predicateType":"x","subject":[{"digest":{"a":"b"}}],"predicate":`), st.Predicate...), '}')); bundle.Rule(err) != bundle.RuleStatement {
			t.Fatalf("got %v", err)
		}
		t.Logf("%-28s %-44s -> %s", "model signature", "name that is not UTF-8", bundle.RuleStatement)
	})
	s := open(t, signed.Bundle)
	for _, c := range []struct {
		name, want string
		do         func(t *testing.T, dir string)
		o          Options
	}{
		{name: "tampered file", want: "a-b: file-changed", do: func(t *testing.T, dir string) { put(t, dir, "a-b", "9") }},
		{name: "tampered file, unsigned ignored", want: "a-b: file-changed", o: Options{IgnoreUnsigned: true}, do: func(t *testing.T, dir string) { put(t, dir, "a-b", "9") }},
		{name: "missing file", want: "a-b: file-missing", do: func(t *testing.T, dir string) { check(t, os.Remove(filepath.Join(dir, "a-b"))) }},
		{name: "missing file, unsigned ignored", want: "a-b: file-missing", o: Options{IgnoreUnsigned: true}, do: func(t *testing.T, dir string) { check(t, os.Remove(filepath.Join(dir, "a-b"))) }},
		{name: "extra file", want: "x: file-unsigned", do: func(t *testing.T, dir string) { put(t, dir, "x", "") }},
		{name: "nested .git", want: "a/.git/hooks/x: file-unsigned", do: func(t *testing.T, dir string) { put(t, dir, "a/.git/hooks/x", "") }},
		{name: "file replaced by a link to a copy", want: "a-b: folder-symlink", do: func(t *testing.T, dir string) {
			check(t, os.Rename(filepath.Join(dir, "a-b"), filepath.Join(dir, "..", "copy")))
			check(t, os.Symlink("../copy", filepath.Join(dir, "a-b")))
		}},
		{name: "same, unsigned ignored", want: "a-b: folder-symlink", o: Options{IgnoreUnsigned: true}, do: func(t *testing.T, dir string) {
			check(t, os.Rename(filepath.Join(dir, "a-b"), filepath.Join(dir, "..", "copy")))
			check(t, os.Symlink("../copy", filepath.Join(dir, "a-b")))
		}},
		{name: "folder replaced by a link, unsigned ignored", want: "a: folder-symlink", o: Options{IgnoreUnsigned: true}, do: func(t *testing.T, dir string) {
			check(t, os.Rename(filepath.Join(dir, "a"), filepath.Join(dir, "..", "a")))
			check(t, os.Symlink("../a", filepath.Join(dir, "a")))
		}},
		{name: "name in another case", want: "A-b: file-unsigned", do: func(t *testing.T, dir string) {
			check(t, os.Rename(filepath.Join(dir, "a-b"), filepath.Join(dir, "A-b")))
		}},
		{name: "empty folder", want: ".: folder-empty", do: func(t *testing.T, dir string) {
			check(t, os.RemoveAll(dir))
			check(t, os.Mkdir(dir, 0o755))
		}},
	} {
		t.Run("compare "+c.name, func(t *testing.T) {
			dir := bundletest.Folder(t, files())
			c.do(t, dir)
			_, problems, err := Compare(t.Context(), dir, s, c.o)
			check(t, err)
			if len(problems) == 0 || !slices.Contains(rules(problems), c.want) {
				t.Fatalf("got %q, want %q", rules(problems), c.want)
			}
			t.Logf("%-28s %-44s -> %s", "files against signature", c.name, problems[0].Rule)
		})
	}
}

func FuzzOpen(f *testing.F) {
	key, _ := signer(f)
	m := &manifest.Manifest{Method: manifest.Files, Hash: manifest.SHA256, Resources: []manifest.Resource{{Name: "w", Digest: make([]byte, 32)}}}
	st, err := Statement("m", m, []string{".git"})
	check(f, err)
	payload, err := json.Marshal(st)
	check(f, err)
	f.Add(payload)
	f.Add(bytes.Replace(payload, []byte(`"files"`), []byte(`"shards"`), 1))
	f.Add([]byte(`{"_type":"https://in-toto.io/Statement/v1","predicateType":"https://model_signing/Digests/v0.1","subject":[{"name":"w","digest":{"sha256":"` + strings.Repeat("0", 64) + `"}}]}`))
	f.Fuzz(func(t *testing.T, payload []byte) {
		raw, err := key.SignPayload(payload)
		if err != nil {
			return
		}
		s, err := Open(raw)
		if err != nil {
			if !errors.Is(err, bundle.ErrFormat) || bundle.Rule(err) == "" {
				t.Fatalf("%v has no rule", err)
			}
			return
		}
		if len(s.Resources) == 0 || s.Root != "" && s.Root != manifest.Root(s.Resources) {
			t.Fatalf("accepted %+v", s)
		}
		for _, r := range s.Resources {
			if len(r.Digest) != s.Serialization.Hash.Size() || strings.Contains(r.Name, "..") && manifest.NameFault(r.Name) != "" && s.Serialization.Method == manifest.Files {
				t.Fatalf("accepted resource %+v", r)
			}
		}
	})
}

func BenchmarkOpen(b *testing.B) {
	key, _ := signer(b)
	m := &manifest.Manifest{Method: manifest.Files, Hash: manifest.SHA256}
	for i := range 10_000 {
		m.Resources = append(m.Resources, manifest.Resource{Name: fmt.Sprintf("part-%05d.safetensors", i), Digest: make([]byte, 32)})
	}
	st, err := Statement("m", m, nil)
	check(b, err)
	raw, err := key.Sign(st)
	check(b, err)
	b.SetBytes(int64(len(raw)))
	for b.Loop() {
		_, err := Open(raw)
		check(b, err)
	}
}
