package decide

import (
	"testing"

	"github.com/weighbridge/weighbridge/policies"
)

// Every policy that is shipped loads, without a warning.
func TestShippedPolicies(t *testing.T) {
	for _, name := range policies.Names() {
		p, err := Load(name)
		if err != nil {
			t.Error(err)
			continue
		}
		if p.Name != name {
			t.Errorf("%s.yaml calls itself %s", name, p.Name)
		}
		for _, w := range p.Warnings {
			t.Error(w)
		}
	}
}

// Every policy that is shipped does what its cases say, and every one of its
// rules decides at least one of them.
func TestShippedCases(t *testing.T) {
	for _, name := range policies.Names() {
		t.Run(name, func(t *testing.T) {
			p, cases := shipped(t, name)
			fired := map[string]bool{}
			for _, r := range p.Test(cases) {
				if r.Why != "" {
					t.Errorf("%s: %s\n%v", r.Case.Name, r.Why, r.Verdict.Reasons)
				}
				for _, reason := range r.Verdict.Reasons {
					fired[reason.Rule] = true
				}
			}
			for _, r := range p.rules {
				if !fired[r.name] {
					t.Errorf("no case has the rule %s fire", r.name)
				}
			}
		})
	}
}

func shipped(t *testing.T, name string) (*Policy, []Case) {
	t.Helper()
	p, err := Load(name)
	if err != nil {
		t.Fatal(err)
	}
	src, err := policies.Cases(name)
	if err != nil {
		t.Fatal(err)
	}
	cases, err := ParseCases(name+".cases.yaml", src)
	if err != nil {
		t.Fatal(err)
	}
	return p, cases
}
