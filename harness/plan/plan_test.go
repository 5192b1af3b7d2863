package plan

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weighbridge/weighbridge/probes"
	"github.com/weighbridge/weighbridge/suites"
)

func suite(name string, ids ...string) *suites.Suite {
	s := &suites.Suite{Name: name, Level: probes.Quick, Sources: []suites.Source{{Name: name, Digest: "d-" + name}}}
	for _, id := range ids {
		s.Entries = append(s.Entries, suites.Entry{ID: id, Probe: id, Budget: 10, Params: probes.Params(`{"n":1}`)})
	}
	return s
}

func TestSeedsAreIndependentOfTheOtherSteps(t *testing.T) {
	one, err := Make(Input{Seed: 1, Suite: suite("s", "a", "b")})
	if err != nil {
		t.Fatal(err)
	}
	two, err := Make(Input{Seed: 1, Suite: suite("s", "x", "b", "a")})
	if err != nil {
		t.Fatal(err)
	}
	if one.Steps[1].Seed != two.Steps[1].Seed || one.Steps[0].Seed != two.Steps[2].Seed {
		t.Error("a step's seed moved when another step came in")
	}
	if one.Steps[0].Seed == one.Steps[1].Seed {
		t.Error("two steps share a seed")
	}
}

func TestDigestCoversEveryInput(t *testing.T) {
	in := Input{Seed: 1, Baseline: "b", Candidate: "c", Engine: "e", Canaries: "k", Suite: suite("s", "a")}
	seen := map[string]string{}
	for name, change := range map[string]func(*Input){
		"nothing":   func(*Input) {},
		"seed":      func(i *Input) { i.Seed = 2 },
		"baseline":  func(i *Input) { i.Baseline = "x" },
		"candidate": func(i *Input) { i.Candidate = "x" },
		"engine":    func(i *Input) { i.Engine = "x" },
		"canaries":  func(i *Input) { i.Canaries = "x" },
		"documents": func(i *Input) { i.Documents = "x" },
		"suite":     func(i *Input) { i.Suite = suite("t", "a") },
		"steps":     func(i *Input) { i.Suite = suite("s", "a", "b") },
		"params":    func(i *Input) { i.Suite.Entries[0].Params = probes.Params(`{"n":2}`) },
	} {
		x := in
		x.Suite = suite("s", "a")
		change(&x)
		p, err := Make(x)
		if err != nil {
			t.Fatal(err)
		}
		d, err := p.Digest()
		if err != nil {
			t.Fatal(err)
		}
		if other, dup := seen[d]; dup {
			t.Errorf("changing %s and %s gives the same digest", name, other)
		}
		seen[d] = name
		again, _ := Make(x)
		if diff := cmp.Diff(p, again); diff != "" {
			t.Error(diff)
		}
	}
}

func TestMakeRefuses(t *testing.T) {
	for name, s := range map[string]*suites.Suite{
		"no suite":      nil,
		"empty suite":   suite("s"),
		"the same step": suite("s", "a", "b", "a"),
	} {
		if _, err := Make(Input{Suite: s}); !errors.Is(err, ErrPlan) {
			t.Errorf("%s: got %v, want ErrPlan", name, err)
		}
	}
}
