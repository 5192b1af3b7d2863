package all

import (
	"bytes"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weighbridge/weighbridge/probes"
)

// Every folder below probes that registers a probe is linked here.
func TestEveryProbeIsLinked(t *testing.T) {
	imports, err := os.ReadFile("all.go")
	if err != nil {
		t.Fatal(err)
	}
	tree := os.DirFS("..")
	err = fs.WalkDir(tree, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") || path.Dir(name) == "." {
			return err
		}
		text, err := fs.ReadFile(tree, name)
		if err != nil {
			return err
		}
		if bytes.Contains(text, []byte("probes.Register(")) && !bytes.Contains(imports, []byte("/probes/"+path.Dir(name)+`"`)) {
			t.Errorf("probes/%s registers a probe and is not imported in probes/all", path.Dir(name))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// What a probe says of itself is complete and contradicts nothing.
func TestAbout(t *testing.T) {
	known := []probes.Family{probes.TOK, probes.PHR, probes.CMP, probes.SYN, probes.SEM, probes.CTX, probes.REF, probes.OVR, probes.DOS,
		probes.TGT, probes.STR, probes.COD, probes.CAN, probes.QNT, probes.TPL, probes.TKZ, probes.EDT, probes.CAP}
	if len(probes.All()) == 0 {
		t.Fatal("no probes")
	}
	for _, p := range probes.All() {
		a := p.About()
		if a.Method == "" || a.Null == "" || a.Cost == "" || !strings.HasSuffix(a.Question, "?") {
			t.Errorf("%s: question %q, method %q, null %q, cost %q", a.ID, a.Question, a.Method, a.Null, a.Cost)
		}
		if a.ID != strings.ToLower(a.ID) || strings.ContainsAny(a.ID, " _/") {
			t.Errorf("ID %q", a.ID)
		}
		for _, f := range slices.Concat(a.Sees, a.Blind) {
			if !slices.Contains(known, f) {
				t.Errorf("%s: family %q", a.ID, f)
			}
		}
		for _, f := range a.Sees {
			if slices.Contains(a.Blind, f) {
				t.Errorf("%s both sees %s and is blind to it", a.ID, f)
			}
		}
		seen := map[string]bool{}
		for _, q := range a.Params {
			if q.Name == "" || q.Default == "" || q.Meaning == "" || seen[q.Name] {
				t.Errorf("%s: parameter %+v", a.ID, q)
			}
			seen[q.Name] = true
		}
	}
}

// The table of the threat model is what the probes say of themselves.
func TestThreatModelNamesTheProbes(t *testing.T) {
	doc, err := os.ReadFile("../../docs/threat-model.md")
	if err != nil {
		t.Fatal(err)
	}
	sees := map[string]string{}
	for line := range strings.Lines(string(doc)) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if len(cells) == 4 && strings.HasPrefix(strings.TrimSpace(cells[0]), "`") {
			sees[strings.Trim(strings.TrimSpace(cells[0]), "`")] = strings.TrimSpace(cells[2])
		}
	}
	want := map[string]string{}
	for _, p := range probes.All() {
		for _, f := range p.About().Sees {
			want[string(f)] = strings.TrimPrefix(want[string(f)]+", `"+p.About().ID+"`", ", ")
		}
	}
	for f, list := range want {
		if d := cmp.Diff(list, sees[f]); d != "" {
			t.Errorf("docs/threat-model.md, family %s (-probes +document):\n%s", f, d)
		}
	}
}
