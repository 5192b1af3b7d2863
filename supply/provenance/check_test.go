package provenance

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weighbridge/weighbridge/record"
	"github.com/weighbridge/weighbridge/supply/bundle"
	"github.com/weighbridge/weighbridge/supply/manifest"
)

// negative is one document that is not good, and what it ends in.
type negative struct {
	name  string
	state record.EvidenceState
	rules []string
	kind  Kind
	deps  func() []any
	edit  func(st o)
	at    map[string]string
}

func without(role Role) func() []any {
	return func() []any {
		return slices.DeleteFunc(complete(), func(d any) bool { return d.(o)["annotations"].(o)[AnnotationRole] == string(role) })
	}
}

func with(more ...any) func() []any { return func() []any { return append(complete(), more...) } }

func negatives(t testing.TB, m *manifest.Manifest) []negative {
	other := folder(t, "other", map[string]string{"f": "another corpus"})
	repo := repository(t, map[string]string{"train.py": "print(1)"})
	predicate := func(src string) func(st o) {
		return func(st o) { st["predicate"] = rawJSON(src) }
	}
	return []negative{
		{name: "predicate type of a VSA", state: record.Bad, rules: []string{RulePredicateType}, edit: func(st o) { st["predicateType"] = bundle.PredicateVSA }},
		{name: "statement type of a link", state: record.Bad, rules: []string{RuleStatementType}, edit: func(st o) { st["_type"] = "link" }},
		{name: "subject is another model", state: record.Bad, rules: []string{RuleSubjectMismatch}, edit: func(st o) { st["subject"] = []any{o{"digest": o{"sha256": hexA}}} }},
		{name: "same root, other names", state: record.Bad, rules: []string{RuleSubjectMismatch}, edit: func(st o) {
			st["subject"] = []any{o{"digest": o{"sha256": m.Root(), IdentityKey: hexA}}}
		}},
		{name: "no subject", state: record.Bad, rules: []string{RuleSubjectMismatch}, edit: func(st o) { st["subject"] = []any{} }},
		{name: "1025 subjects", state: record.Bad, rules: []string{RuleSubjectMismatch}, edit: func(st o) {
			st["subject"] = slices.Repeat([]any{o{"digest": o{"sha256": m.Root()}}}, maxSubjects+1)
		}},
		{name: "subject is one of two files", state: record.Ambiguous, rules: []string{RuleSubjectPartial}, edit: func(st o) {
			st["subject"] = []any{o{"digest": o{"sha256": fmt.Sprintf("%x", m.Resources[0].Digest)}}}
		}},
		{name: "build type of others", state: record.Ambiguous, rules: []string{RuleBuildType}, edit: func(st o) {
			definition(st)["buildType"] = "https://slsa-framework.github.io/github-actions-buildtypes/workflow/v1"
		}},
		{name: "no build type", state: record.Ambiguous, rules: []string{RuleBuildType}, edit: func(st o) { delete(definition(st), "buildType") }},
		{name: "build type of a later version", state: record.Ambiguous, rules: []string{RuleBuildType}, edit: func(st o) {
			definition(st)["buildType"] = "https://weighbridge.dev/buildtypes/training/v2"
		}},
		{name: "no builder", state: record.Ambiguous, rules: []string{RuleBuilder}, edit: func(st o) { delete(runDetails(st), "builder") }},
		{name: "no dataset", state: record.Ambiguous, rules: []string{RuleLinkMissing}, deps: without(Dataset)},
		{name: "no base model", state: record.Ambiguous, rules: []string{RuleLinkMissing}, deps: without(BaseModel)},
		{name: "no code", state: record.Ambiguous, rules: []string{RuleLinkMissing}, deps: without(Code)},
		{name: "no environment", state: record.Ambiguous, rules: []string{RuleLinkMissing}, deps: without(Environment)},
		{name: "no dependency at all", state: record.Ambiguous, rules: []string{RuleLinkMissing, RuleLinkMissing, RuleLinkMissing, RuleLinkMissing}, deps: func() []any { return nil }},
		{name: "training without data", state: record.Ambiguous, kind: Training, rules: []string{RuleLinkMissing}, deps: without(Dataset)},
		{name: "quantisation without a base", state: record.Ambiguous, kind: Quantisation, rules: []string{RuleLinkMissing}, deps: without(BaseModel)},
		{name: "dataset without a digest", state: record.Ambiguous, rules: []string{RuleLinkUndigested}, deps: with(dep(Dataset, "more", o{}))},
		{name: "one name, two digests", state: record.Ambiguous, rules: []string{RuleLinkAmbiguous, RuleLinkAmbiguous}, deps: with(dep(Dataset, "corpus", o{"sha256": hexA}))},
		{name: "dirty working tree", state: record.Ambiguous, rules: []string{RuleDirty}, deps: func() []any {
			d := complete()
			d[2].(o)["annotations"].(o)[AnnotationDirty] = 3
			return d
		}},
		{name: "dataset at hand is another", state: record.Bad, rules: []string{RuleLinkMismatch}, at: map[string]string{"corpus": other}},
		{name: "commit not in the repository", state: record.Ambiguous, rules: []string{RuleLinkAmbiguous}, at: map[string]string{"trainer": repo}},
		{name: "made from itself", state: record.Bad, rules: []string{RuleLoop}, deps: with(dep(BaseModel, "me", o{"sha256": m.Root()}))},
		{name: "finished before it started", state: record.Bad, rules: []string{RuleTime}, edit: func(st o) {
			runDetails(st)["metadata"] = o{"startedOn": "2026-02-01T00:00:00Z", "finishedOn": "2026-01-01T00:00:00Z"}
		}},
		{name: "finished in the future", state: record.Bad, rules: []string{RuleTime}, edit: func(st o) { runDetails(st)["metadata"] = o{"finishedOn": "2027-01-01T00:00:00Z"} }},
		{name: "started in 1970", state: record.Bad, rules: []string{RuleTime}, edit: func(st o) { runDetails(st)["metadata"] = o{"startedOn": "1970-01-01T00:00:00Z"} }},
		{name: "a time that is none", state: record.Bad, rules: []string{RulePredicateInvalid}, edit: func(st o) { runDetails(st)["metadata"] = o{"startedOn": "yesterday"} }},
		{name: "NaN", state: record.Bad, rules: []string{RulePredicateInvalid}, edit: predicate(`{"buildDefinition":{"externalParameters":{"lr":NaN}}}`)},
		{name: "number out of range", state: record.Bad, rules: []string{RulePredicateInvalid}, edit: predicate(`{"buildDefinition":{"externalParameters":{"lr":1e999}}}`)},
		{name: "negative number of bytes", state: record.Bad, rules: []string{RulePredicateInvalid}, deps: with(o{"name": "x", "digest": o{"sha256": hexA}, "annotations": o{AnnotationBytes: -1}})},
		{name: "a key twice", state: record.Bad, rules: []string{RulePredicateInvalid}, edit: predicate(`{"buildDefinition":{"buildType":"a","buildType":"b"}}`)},
		{name: "keys that differ in case", state: record.Bad, rules: []string{RulePredicateInvalid}, edit: predicate(`{"buildDefinition":{},"BuildDefinition":{}}`)},
		{name: "keys that fold to one", state: record.Bad, rules: []string{RulePredicateInvalid}, edit: predicate("{\"k\":1,\"\u212a\":2}")},
		{name: "an array for an object", state: record.Bad, rules: []string{RulePredicateInvalid}, edit: predicate(`[]`)},
		{name: "dependencies as an object", state: record.Bad, rules: []string{RulePredicateInvalid}, edit: predicate(`{"buildDefinition":{"resolvedDependencies":{}}}`)},
		{name: "null predicate", state: record.Bad, rules: []string{RulePredicateInvalid}, edit: predicate(`null`)},
		{name: "nested 100 deep", state: record.Bad, rules: []string{RulePredicateInvalid}, edit: predicate(strings.Repeat(`{"a":`, 100) + "1" + strings.Repeat("}", 100))},
		{name: "1025 dependencies", state: record.Bad, rules: []string{RulePredicateInvalid}, deps: func() []any {
			return slices.Repeat([]any{dep(Dataset, "x", o{"sha256": hexA})}, maxDependencies+1)
		}},
		{name: "33 digests of one thing", state: record.Bad, rules: []string{RulePredicateInvalid}, deps: func() []any {
			d := o{}
			for i := range maxDigests + 1 {
				d[fmt.Sprint("alg", i)] = "00"
			}
			return []any{dep(Dataset, "x", d)}
		}},
		{name: "huge statement", state: record.Bad, rules: []string{RulePredicateInvalid}, edit: func(st o) {
			definition(st)["externalParameters"] = o{"text": strings.Repeat("x", maxDocument)}
		}},
		{name: "name of 9 KiB", state: record.Bad, rules: []string{RulePredicateInvalid}, deps: with(dep(Dataset, strings.Repeat("x", 9<<10), o{"sha256": hexA}))},
		{name: "upper-case digest", state: record.Bad, rules: []string{RulePredicateInvalid}, deps: with(dep(Dataset, "x", o{"sha256": strings.ToUpper(hexA)}))},
		{name: "short digest", state: record.Bad, rules: []string{RulePredicateInvalid}, deps: with(dep(Dataset, "x", o{"sha256": "abcd"}))},
		{name: "a role that is none", state: record.Bad, rules: []string{RulePredicateInvalid}, deps: with(dep("oracle", "x", o{"sha256": hexA}))},
	}
}

// rawJSON stands for text that json.Marshal would refuse; statement hands it on.
type rawJSON string

func (n *negative) statement(t testing.TB, m *manifest.Manifest) bundle.Statement {
	kind, deps := n.kind, n.deps
	if kind == "" {
		kind = FineTune
	}
	if deps == nil {
		deps = complete
	}
	var raw *rawJSON
	st := statement(t, m, kind, deps(), func(st o) {
		if n.edit == nil {
			return
		}
		n.edit(st)
		if r, ok := st["predicate"].(rawJSON); ok {
			raw = &r
			delete(st, "predicate")
		}
	})
	if raw != nil {
		st.Predicate = []byte(*raw)
	}
	return st
}

func TestNegativeMatrix(t *testing.T) {
	model := folder(t, "m", map[string]string{"a.gguf": "weights", "b.json": "{}"})
	m := read(t, model)
	for _, n := range negatives(t, m) {
		t.Run(n.name, func(t *testing.T) {
			f, links, problems := check(t, n.statement(t, m), m, n.at)
			t.Logf("%-28s %-44s -> %s", "provenance", n.name, fmt.Sprint(f.State, " ", strings.Join(rules(problems), " ")))
			if f.State != n.state {
				t.Errorf("state %s, want %s", f.State, n.state)
			}
			if d := cmp.Diff(n.rules, rules(problems)); d != "" {
				t.Errorf("%s\n%v", d, problems)
			}
			if f.State == record.Ambiguous && len(f.Gaps) == 0 {
				t.Error("an ambiguous document without a named gap")
			}
			if e := f.Evidence(problems); e.Detail == "" || e.State != n.state || e.Kind != record.Provenance {
				t.Errorf("evidence %+v", e)
			}
			if len(links) > 0 && f.State == record.Valid {
				t.Error("valid")
			}
		})
	}
	for _, n := range usageNegatives(t) {
		t.Run(n.name, func(t *testing.T) {
			err := n.run()
			t.Logf("%-28s %-44s -> %s", "provenance", n.name, fmt.Sprint("error: ", n.want))
			if !errors.Is(err, n.want) {
				t.Errorf("%v, want %v", err, n.want)
			}
		})
	}
	t.Run("rebuild", rebuildNegatives)
}

func TestCompleteAndAtHand(t *testing.T) {
	m := read(t, folder(t, "m", map[string]string{"a.gguf": "weights"}))
	corpus := folder(t, "corpus", map[string]string{"x/a": "1", "x-a": "2"}) // the two orders differ
	repo := repository(t, map[string]string{"train.py": "print(1)"})
	lock := folder(t, "locks", map[string]string{"req.lock": "a==1"})
	var deps []any
	for _, d := range []struct {
		role Role
		arg  string
	}{{BaseModel, "base=sha256:" + hexA}, {Dataset, corpus}, {Code, repo}, {Environment, lock + "/req.lock"}} {
		x, err := Describe(context.Background(), d.role, d.arg)
		if err != nil {
			t.Fatal(err)
		}
		deps = append(deps, x.tree())
	}
	st := statement(t, m, FineTune, deps)
	f, _, problems := check(t, st, m, nil)
	if f.State != record.Valid || len(problems) > 0 || f.Checked != 0 || f.Unchecked != 4 || f.Datasets != 1 {
		t.Errorf("nothing at hand: %+v %v", f, problems)
	}
	if d := cmp.Diff([]string{"sha256:" + hexA}, f.BaseModels); d != "" {
		t.Error(d)
	}
	at := map[string]string{"corpus": corpus, "req.lock": lock + "/req.lock", lastElement(repo): repo}
	f, links, problems := check(t, st, m, at)
	if f.State != record.Valid || len(problems) > 0 || f.Checked != 3 || f.Unchecked != 1 {
		t.Errorf("at hand: %+v %v", f, problems)
	}
	states := map[string]record.EvidenceState{}
	for _, l := range links {
		states[l.Role] = l.State
	}
	want := map[string]record.EvidenceState{"builder": record.Ambiguous, "base-model": record.Ambiguous, "dataset": record.Valid, "code": record.Valid, "environment": record.Valid}
	if d := cmp.Diff(want, states); d != "" {
		t.Error(d)
	}
	// The root in the order of the Python implementation names the same folder.
	for i, x := range deps {
		if x.(o)["name"] == "corpus" {
			deps[i].(o)["digest"] = o{"sha256": read(t, corpus).PythonRoot()}
		}
	}
	if f, _, problems = check(t, statement(t, m, FineTune, deps), m, at); f.State != record.Valid || f.Checked != 3 {
		t.Errorf("other order: %v", problems)
	}
}

// TestEverySubjectThatIsThisModel accepts each name of a model, and one subject
// for each file, as attestation tools for files write.
func TestEverySubjectThatIsThisModel(t *testing.T) {
	m := read(t, folder(t, "m", map[string]string{"x/a": "1", "x-a": "2"}))
	id, _ := m.Identity()
	hex := strings.TrimPrefix(string(id), "sha256:")
	file := func(i int) any { return o{"digest": o{"sha256": fmt.Sprintf("%x", m.Resources[i].Digest)}} }
	for name, subject := range map[string][]any{
		"root": {o{"digest": o{"sha256": m.Root()}}}, "python root": {o{"digest": o{"sha256": m.PythonRoot()}}},
		"identity": {o{"digest": o{"sha256": hex}}}, "both": {o{"digest": o{"sha256": m.Root(), IdentityKey: hex}}},
		"second subject": {o{"digest": o{"sha256": hexA}}, o{"digest": o{"sha256": m.Root()}}}, "files": {file(1), file(0)},
	} {
		st := statement(t, m, FineTune, complete(), func(st o) { st["subject"] = subject })
		if f, _, problems := check(t, st, m, nil); f.State != record.Valid {
			t.Errorf("%s: %v", name, problems)
		}
	}
}

// TestLineage follows base models through their own provenance.
func TestLineage(t *testing.T) {
	dirs := make([]string, 3)
	for i := range dirs {
		dirs[i] = folder(t, fmt.Sprint("gen", i), map[string]string{"w": fmt.Sprint("weights ", i)})
	}
	m := read(t, dirs[0])
	root := func(i int) o { return o{"sha256": read(t, dirs[i]).Root()} }
	base := func(i int) []any {
		d := complete()
		d[0] = dep(BaseModel, fmt.Sprint("gen", i), root(i))
		return d
	}
	st := statement(t, m, FineTune, base(1))
	put(t, dirs[1], statement(t, read(t, dirs[1]), FineTune, base(2)))
	run := func() (*Facts, []record.Link, []record.Problem) {
		f, l, p, err := Check(context.Background(), st, m, Options{Lookup: byDigest(t, dirs...), Now: now})
		if err != nil {
			t.Fatal(err)
		}
		return f, l, p
	}

	t.Run("chain", func(t *testing.T) {
		f, links, problems := run()
		if f.State != record.Valid || f.Checked != 2 || len(f.BaseModels) != 2 {
			t.Errorf("%+v %v", f, problems)
		}
		var got []string
		for _, l := range links {
			if l.Role == string(BaseModel) {
				got = append(got, fmt.Sprint(l.From, " from ", l.Name, " ", l.State))
			}
		}
		if d := cmp.Diff([]string{"model from gen1 valid", "gen1 from gen2 valid"}, got); d != "" {
			t.Error(d)
		}
		for i, l := range links {
			if l.From != Candidate && slices.ContainsFunc(links[i:], func(l record.Link) bool { return l.From == Candidate }) {
				t.Fatal("the candidate's own links do not come first")
			}
		}
	})
	t.Run("gap of an ancestor", func(t *testing.T) {
		put(t, dirs[1], statement(t, read(t, dirs[1]), FineTune, base(2)[:1]))
		f, links, problems := run()
		if f.State != record.Valid || len(f.Gaps) > 0 {
			t.Errorf("%+v %v", f, problems)
		}
		missing := 0
		for _, l := range links {
			if l.State == record.Absent && l.From == "gen1" {
				missing++
			}
		}
		if missing != 3 {
			t.Errorf("%d missing links of gen1, want 3", missing)
		}
	})
	t.Run("loop", func(t *testing.T) {
		put(t, dirs[1], statement(t, read(t, dirs[1]), FineTune, base(2)))
		put(t, dirs[2], statement(t, read(t, dirs[2]), FineTune, base(0)))
		f, _, problems := run()
		t.Logf("%-28s %-44s -> %s", "provenance", "a model is its own great-grandmother", rules(problems))
		if f.State != record.Bad || !slices.Equal(rules(problems), []string{RuleLoop}) {
			t.Errorf("%v", problems)
		}
	})
	t.Run("loop above the candidate", func(t *testing.T) {
		put(t, dirs[2], statement(t, read(t, dirs[2]), FineTune, base(1)))
		if f, _, problems := run(); f.State != record.Bad || !slices.Equal(rules(problems), []string{RuleLoop}) {
			t.Errorf("%v", problems)
		}
	})
	t.Run("provenance of another model beside the base", func(t *testing.T) {
		put(t, dirs[1], statement(t, m, FineTune, base(0)))
		f, links, _ := run()
		if f.State != record.Valid || !slices.ContainsFunc(links, func(l record.Link) bool { return strings.Contains(l.Detail, "of another model") }) {
			t.Errorf("%+v %v", f, links)
		}
	})
	t.Run("names go for the candidate only", func(t *testing.T) {
		put(t, dirs[1], statement(t, read(t, dirs[1]), FineTune, base(2)))
		other := folder(t, "other", map[string]string{"f": "not gen2"})
		f, _, p, err := Check(context.Background(), st, m, Options{Lookup: First(nil, At(map[string]string{"gen2": other}), byDigest(t, dirs[:2]...))})
		if err != nil || f.State != record.Valid {
			t.Errorf("%v %v", p, err)
		}
	})
}

func TestDeepLineageEnds(t *testing.T) {
	const n = 40
	dirs := make([]string, n)
	for i := range dirs {
		dirs[i] = folder(t, fmt.Sprint("gen", i), map[string]string{"w": fmt.Sprint("weights ", i)})
	}
	for i := range n - 1 {
		d := complete()
		d[0] = dep(BaseModel, fmt.Sprint("gen", i+1), o{"sha256": read(t, dirs[i+1]).Root()})
		put(t, dirs[i], statement(t, read(t, dirs[i]), FineTune, d))
	}
	found, err := Open(dirs[0])
	if err != nil {
		t.Fatal(err)
	}
	f, _, problems, err := Check(context.Background(), found.Statement, read(t, dirs[0]), Options{Lookup: byDigest(t, dirs...)})
	if err != nil || f.State != record.Ambiguous || !slices.Equal(rules(problems), []string{RuleDeep}) {
		t.Errorf("%+v %v %v", f, problems, err)
	}
}

// TestForeignDocuments reads what other tools attest: no crash, and never valid,
// for nobody knows what their build types require.
func TestForeignDocuments(t *testing.T) {
	m := read(t, folder(t, "m", map[string]string{"model.safetensors": "weights"}))
	for name, c := range map[string]struct {
		predicateType, predicate string
		roles                    []string
	}{
		"generator on GitHub, v0.2": {PredicateV02, `{"builder":{"id":"https://github.com/slsa-framework/slsa-github-generator/.github/workflows/generator_generic_slsa3.yml@refs/tags/v2.0.0"},
			"buildType":"https://github.com/slsa-framework/slsa-github-generator/generic@v1",
			"invocation":{"configSource":{"uri":"git+https://github.com/o/r@refs/heads/main","digest":{"sha1":"` + hexC + `"},"entryPoint":".github/workflows/r.yml"},"parameters":{},"environment":{"github_run_id":"1"}},
			"metadata":{"buildInvocationId":"1-1","completeness":{"parameters":true},"reproducible":false},
			"materials":[{"uri":"git+https://github.com/o/r@refs/heads/main","digest":{"sha1":"` + hexC + `"}}]}`, []string{"builder", "code"}},
		"workflow on GitHub, v1": {bundle.PredicateProvenance, `{"buildDefinition":{"buildType":"https://actions.github.io/buildtypes/workflow/v1",
			"externalParameters":{"workflow":{"ref":"refs/heads/main","repository":"https://github.com/o/r","path":".github/workflows/b.yml"}},
			"internalParameters":{"github":{"event_name":"push"}},
			"resolvedDependencies":[{"uri":"git+https://github.com/o/r@refs/heads/main","digest":{"gitCommit":"` + hexC + `"}},{"uri":"pkg:docker/python@3.12","digest":{"sha256":"` + hexA + `"}}]},
			"runDetails":{"builder":{"id":"https://github.com/o/r/.github/workflows/b.yml@refs/heads/main"},"metadata":{"invocationId":"https://github.com/o/r/actions/runs/1/attempts/1"}}}`, []string{"builder", "code", "environment"}},
		"bare minimum": {bundle.PredicateProvenance, `{}`, nil},
	} {
		t.Run(name, func(t *testing.T) {
			st := bundle.Statement{Type: bundle.StatementTypeV01, PredicateType: c.predicateType, Predicate: []byte(c.predicate),
				Subject: []bundle.Subject{{Name: "model.safetensors", Digest: map[string]string{"sha256": fmt.Sprintf("%x", m.Resources[0].Digest)}}}}
			f, links, problems := check(t, st, m, nil)
			if f.State != record.Ambiguous {
				t.Errorf("%s: %v", f.State, problems)
			}
			var roles []string
			for _, l := range links {
				roles = append(roles, l.Role)
			}
			if d := cmp.Diff(c.roles, roles); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestNamesOfLinksAreUnique(t *testing.T) {
	m := read(t, folder(t, "m", map[string]string{"a": "1"}))
	deps := append(complete(), dep(Dataset, Candidate, o{"sha256": hexA}), dep(Dataset, "", o{"sha256": hexA}), dep(Dataset, "corpus", o{"sha256": hexA}), dep(Dataset, "https://ci.example.org", o{"sha256": hexA}))
	_, links, _ := check(t, statement(t, m, FineTune, deps), m, nil)
	seen := map[string]bool{Candidate: true}
	for _, l := range links {
		if seen[l.Name] {
			t.Errorf("two things are called %q", l.Name)
		}
		seen[l.Name] = true
	}
}
