package suites_test

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/weighbridge/weighbridge/probes"
	"github.com/weighbridge/weighbridge/suites"
	"github.com/weighbridge/weighbridge/suites/task"
)

// named stands for a probe of which suites know the ID and the parameters.
type named struct{ about probes.About }

func (n named) About() probes.About { return n.about }
func (n named) Run(context.Context, *probes.Input) (*probes.Output, error) {
	return nil, errors.New("not to be run")
}

func init() {
	params := map[string][]probes.Param{
		"benchmark": {{Name: "margin"}, {Name: "task_margin"}, {Name: "nats"}, {Name: "limit"}},
		"refusal":   {{Name: "margin"}, {Name: "max_tokens"}, {Name: "requests"}},
	}
	for _, id := range []string{"metadata", "tensors", "payload", "null", "amplification", "leakage", "code", "documents", "trigger-strings", "trigger-vocabulary", "canary-known", "contexts", "canary-formats", "benchmark", "refusal"} {
		probes.Register(named{probes.About{ID: id, Params: params[id]}})
	}
}

func TestBuiltin(t *testing.T) {
	for i, name := range suites.Builtin() {
		s, err := suites.Load(name)
		if err != nil {
			t.Fatal(err)
		}
		level := probes.Level(name)
		if s.Name != name || s.Level != level || s.Budget != suites.Budgets[level] || s.Description == "" || s.Version == "" {
			t.Errorf("%+v", s)
		}
		total := 0
		ids := map[string]suites.Entry{}
		for _, e := range s.Entries {
			total += e.Budget
			ids[e.ID] = e
		}
		if total > s.Budget || total < s.Budget*9/10 {
			t.Errorf("%s: the entries have %d of %d tokens", name, total, s.Budget)
		}
		if len(s.Entries) < 9 || !ids["benchmark"].Required || !ids["metadata"].Required || ids["metadata"].Budget != 0 {
			t.Errorf("%s: entries %v", name, ids)
		}
		n := 0
		err = fs.WalkDir(ids["benchmark"].Data, ".", func(path string, d fs.DirEntry, err error) error {
			if filepath.Ext(path) == ".yaml" {
				x, err := task.Parse(ids["benchmark"].Data, path)
				if err != nil {
					return err
				}
				n += len(x.Items)
			}
			return err
		})
		if err != nil || n < 1800 {
			t.Errorf("%s: %d questions, %v", name, n, err)
		}
		if _, err := fs.Stat(ids["refusal"].Data, "refusals.jsonl"); err != nil {
			t.Error(err)
		}
		again, err := suites.Load(name)
		if err != nil || again.Digest != s.Digest || !strings.HasPrefix(s.Digest, "sha256:") {
			t.Errorf("digests %s and %s, %v", s.Digest, again.Digest, err)
		}
		if i > 0 {
			if other, err := suites.Load(suites.Builtin()[i-1]); err != nil || other.Digest == s.Digest {
				t.Errorf("two suites have one digest: %v", err)
			}
		}
	}
}

// write makes a folder of files and gives its path.
func write(t *testing.T, pairs ...string) string {
	t.Helper()
	dir := t.TempDir()
	for i := 0; i < len(pairs); i += 2 {
		p := filepath.Join(dir, filepath.FromSlash(pairs[i]))
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(pairs[i+1]), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

const taskYAML = `task: sums
dataset_path: json
dataset_kwargs: {data_files: sums.jsonl}
output_type: generate_until
doc_to_text: "{{q}}"
doc_to_target: a
`

const taskData = `{"q": "1+1", "a": "2"}` + "\n"

const suiteYAML = `suite: mine
version: "3"
level: quick
budget: 1000
probes:
  - probe: metadata
    required: true
    budget: 0
  - probe: benchmark
    id: sums
    budget: 0.5
    files: [t/sums.yaml, more.txt]
    params: {task_margin: 0.2, margin: 0.1}
  - probe: refusal
  - probe: "null"
`

func TestSuiteFile(t *testing.T) {
	dir := write(t, "s.yaml", suiteYAML, "t/sums.yaml", taskYAML, "t/sums.jsonl", taskData, "more.txt", "x", "other.txt", "not asked for")
	s, err := suites.Load(filepath.Join(dir, "s.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	type short struct {
		ID, Probe, Params string
		Required          bool
		Budget, Line      int
	}
	var got []short
	for _, e := range s.Entries {
		got = append(got, short{e.ID, e.Probe, string(e.Params), e.Required, e.Budget, e.Line})
	}
	want := []short{
		{"metadata", "metadata", "", true, 0, 6},
		{"sums", "benchmark", `{"margin":0.1,"task_margin":0.2}`, false, 500, 9},
		{"refusal", "refusal", "", false, 250, 14},
		{"null", "null", "", false, 250, 15},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if err := fstest.TestFS(s.Entries[1].Data, "t/sums.yaml", "t/sums.jsonl", "more.txt"); err != nil {
		t.Error(err)
	}
	if _, err := fs.Stat(s.Entries[1].Data, "other.txt"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file that is not named: %v", err)
	}

	// What is loaded is a copy; another byte anywhere is another digest.
	change := func(name, data string) string {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(data), 0o644); err != nil {
			t.Fatal(err)
		}
		n, err := suites.Load(filepath.Join(dir, "s.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		return n.Digest
	}
	if d := change("other.txt", "changed"); d != s.Digest {
		t.Error("a file that is not used changes the digest")
	}
	if d := change("t/sums.jsonl", taskData+`{"q": "2+2", "a": "4"}`); d == s.Digest {
		t.Error("other data, same digest")
	}
	if b, err := fs.ReadFile(s.Entries[1].Data, "t/sums.jsonl"); err != nil || string(b) != taskData {
		t.Errorf("the loaded suite changed: %q, %v", b, err)
	}
	// Where it lies does not matter.
	elsewhere := write(t, "renamed.yaml", suiteYAML, "t/sums.yaml", taskYAML, "t/sums.jsonl", taskData, "more.txt", "x")
	if n, err := suites.Load(filepath.Join(elsewhere, "renamed.yaml")); err != nil || n.Digest != s.Digest {
		t.Errorf("moved: %v", err)
	}
}

func TestTaskFile(t *testing.T) {
	dir := write(t, "sums.yaml", taskYAML, "sums.jsonl", taskData)
	s, err := suites.Load("quick", filepath.Join(dir, "sums.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	last := s.Entries[len(s.Entries)-1]
	if s.Name != "quick+sums" || s.Level != probes.Standard || last.ID != "sums" || last.Probe != "benchmark" || !last.Required || len(s.Sources) != 2 {
		t.Errorf("%+v", s)
	}
	if _, err := task.Parse(last.Data, "sums.yaml"); err != nil {
		t.Error(err)
	}
	if _, err := suites.Load("quick", "quick"); err == nil || !strings.Contains(err.Error(), "another id") {
		t.Errorf("the same ids twice: %v", err)
	}
}

func TestMistakes(t *testing.T) {
	swap := func(old, new string) string {
		if !strings.Contains(suiteYAML, old) {
			t.Fatalf("%q is not there", old)
		}
		return strings.Replace(suiteYAML, old, new, 1)
	}
	for name, c := range map[string]struct{ yaml, want string }{
		"unknown field":     {suiteYAML + "colour: red\n", `s.yaml:16: unknown field "colour"`},
		"unknown in entry":  {swap("required: true", "requird: true"), `s.yaml:7: unknown field "requird" of an entry of probes`},
		"unknown probe":     {swap("probe: refusal", "probe: refusals"), `s.yaml:14: no probe has the ID "refusals"`},
		"unknown parameter": {swap("task_margin: 0.2", "taskmargin: 0.2"), `s.yaml:13: unknown field "taskmargin" of params: the probe benchmark has [margin`},
		"duplicate id":      {swap("id: sums", "id: metadata"), `s.yaml:9: the id "metadata" is also that of line 6`},
		"default id twice":  {suiteYAML + "  - probe: refusal\n", `s.yaml:16: the id "refusal" is also that of line 14`},
		"field twice":       {suiteYAML + "level: deep\n", `s.yaml:16: the field "level" is given twice`},
		"level":             {swap("level: quick", "level: fast"), `s.yaml:3: the level "fast"`},
		"budget":            {swap("budget: 1000", "budget: -1"), "s.yaml:4: a whole number"},
		"share":             {swap("budget: 0.5", "budget: 1.5"), "s.yaml:11: budget is the entry's share"},
		"shares":            {swap("budget: 0\n", "budget: 0.7\n"), "s.yaml:6: the shares of the budget add up to 1.2"},
		"name":              {swap("suite: mine", "suite: ../x"), "s.yaml:1: the suite name"},
		"number for text":   {swap(`version: "3"`, "version: 3"), "s.yaml:2: text is expected"},
		"null unquoted":     {swap(`probe: "null"`, "probe: null"), "s.yaml:15: text is expected here, not nothing; put it in quotes"},
		"missing file":      {swap("more.txt", "none.txt"), `s.yaml:12: the file "none.txt" cannot be read`},
		"file outside":      {swap("more.txt", "../more.txt"), "s.yaml:12: the file"},
		"absolute file":     {swap("more.txt", "/etc/passwd"), "s.yaml:12: the file"},
		"link outside":      {swap("more.txt", "link.txt"), "s.yaml:12: "},
		"folder":            {swap("more.txt", "t"), "s.yaml:12: "},
		"bad task":          {swap("t/sums.yaml", "bad.yaml"), "bad.yaml:6: "},
		"no probes":         {"suite: x\n", "s.yaml:1: the field probes"},
		"no name":           {"level: quick\nprobes: [{probe: metadata}]\n", "s.yaml:1: the field suite"},
		"not a mapping":     {"- a\n", "s.yaml:1: a suite is a mapping"},
		"alias":             {suiteYAML + "description: *x\n", "s.yaml:16: YAML anchors"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := write(t, "s.yaml", c.yaml, "t/sums.yaml", taskYAML, "t/sums.jsonl", taskData, "more.txt", "x",
				"bad.yaml", strings.Replace(taskYAML, "doc_to_target: a", "doc_to_target: !function f.g", 1), "sums.jsonl", taskData)
			if err := os.Symlink("/etc/hostname", filepath.Join(dir, "link.txt")); err != nil {
				t.Fatal(err)
			}
			s, err := suites.Load(filepath.Join(dir, "s.yaml"))
			var p *suites.Problem
			if s != nil || !errors.As(err, &p) || !strings.Contains(err.Error(), filepath.Join(dir, c.want)) && !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
			lint := suites.Lint(filepath.Join(dir, "s.yaml"))
			if !slices.ContainsFunc(lint, func(p suites.Problem) bool { return strings.Contains(p.Error(), c.want) }) {
				t.Errorf("lint gives %v", lint)
			}
		})
	}
}

func TestLintTellsAll(t *testing.T) {
	dir := write(t, "s.yaml", "suite: x\ncolour: 1\nprobes:\n  - probe: none\n  - probe: metadata\n    params: {a: 1}\n  - probe: metadata\n")
	var lines []int
	for _, p := range suites.Lint(filepath.Join(dir, "s.yaml")) {
		lines = append(lines, p.Line)
	}
	if d := cmp.Diff([]int{2, 4, 6, 7}, lines); d != "" {
		t.Error(d)
	}
	good := write(t, "s.yaml", "suite: x\nprobes: [{probe: metadata}]\n")
	if p := suites.Lint(filepath.Join(good, "s.yaml")); p != nil {
		t.Errorf("a good suite: %v", p)
	}
}

func TestReferences(t *testing.T) {
	for ref, want := range map[string]string{
		"fast":            "neither a built-in suite (quick, standard, deep)",
		"/none/here.yaml": "/none/here.yaml: cannot be opened",
		"none-here.yaml":  "none-here.yaml: ",
	} {
		_, err := suites.Load(ref)
		var p *suites.Problem
		if !errors.As(err, &p) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", ref, err)
		}
	}
	if _, err := suites.Load(); err == nil {
		t.Error("no suite at all is accepted")
	}
}

func FuzzSuite(f *testing.F) {
	f.Add(suiteYAML, taskYAML)
	f.Add(taskYAML, "")
	f.Fuzz(func(t *testing.T, suite, taskFile string) {
		dir := t.TempDir()
		for name, data := range map[string]string{"s.yaml": suite, "sums.jsonl": taskData} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(data), 0o644); err != nil {
				t.Skip()
			}
		}
		if os.Mkdir(filepath.Join(dir, "t"), 0o755) != nil || os.WriteFile(filepath.Join(dir, "t", "sums.yaml"), []byte(taskFile), 0o644) != nil {
			t.Skip()
		}
		s, err := suites.Load(filepath.Join(dir, "s.yaml"))
		var p *suites.Problem
		if err != nil {
			if !errors.As(err, &p) {
				t.Fatal(err)
			}
			return
		}
		total, ids := 0, map[string]bool{}
		for _, e := range s.Entries {
			if ids[e.ID] || e.Budget < 0 {
				t.Fatalf("%+v", e)
			}
			ids[e.ID] = true
			total += e.Budget
			if len(e.Params) > 0 && !json.Valid(e.Params) {
				t.Fatalf("params %q", e.Params)
			}
		}
		if total > s.Budget+len(s.Entries) {
			t.Fatalf("%d tokens of %d", total, s.Budget)
		}
	})
}
