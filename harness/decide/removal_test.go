package decide

import (
	"encoding/json"
	"reflect"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weighbridge/weighbridge/policies"
	"github.com/weighbridge/weighbridge/record"
)

// holder gives every struct of one input type in a run.
type holder struct {
	of   *objectType
	name string // as Read.Of has it
	all  func(*record.Run) []reflect.Value
}

func elements(slice any) []reflect.Value {
	v := reflect.ValueOf(slice)
	var list []reflect.Value
	for i := range v.Len() {
		list = append(list, v.Index(i))
	}
	return list
}

func holders() []holder {
	hs := []holder{
		{runType, "Run", func(r *record.Run) []reflect.Value { return []reflect.Value{reflect.ValueOf(&r.Meta).Elem()} }},
		{findingType, "Finding", func(r *record.Run) []reflect.Value { return elements(r.Findings) }},
		{probeType, "Probe", func(r *record.Run) []reflect.Value { return elements(r.Probes) }},
		{linkType, "Link", func(r *record.Run) []reflect.Value { return elements(r.Lineage) }},
		{artifactType, "Artifact", func(r *record.Run) []reflect.Value { return elements(r.Artifacts) }},
		{boxType, "Box", func(r *record.Run) []reflect.Value { return elements(r.Boxes) }},
		{evidenceType, "Evidence", func(r *record.Run) []reflect.Value { return elements(r.Evidence) }},
		{checkType, "Check", func(r *record.Run) (all []reflect.Value) {
			for _, b := range r.Boxes {
				all = append(all, elements(b.Checks)...)
			}
			return all
		}},
		{problemType, "Problem", func(r *record.Run) (all []reflect.Value) {
			for _, e := range r.Evidence {
				all = append(all, elements(e.Problems)...)
			}
			return all
		}},
		{exchangeType, "Exchange", func(r *record.Run) (all []reflect.Value) {
			for _, f := range r.Findings {
				all = append(all, elements(f.Transcript)...)
			}
			return all
		}},
	}
	for _, kind := range record.EvidenceKinds {
		hs = append(hs, holder{evidenceType, "evidence." + string(kind), func(r *record.Run) []reflect.Value {
			i := slices.IndexFunc(r.Evidence, func(e record.Evidence) bool { return e.Kind == kind })
			if i < 0 {
				return nil
			}
			return []reflect.Value{reflect.ValueOf(&r.Evidence[i]).Elem()}
		}})
	}
	return hs
}

// TestEveryFieldRemoved takes every field of every input type away from a run
// that the policy approves. What the policy reads it cannot do without: it
// never approves. What it does not read changes nothing.
func TestEveryFieldRemoved(t *testing.T) {
	tested := 0
	for _, name := range policies.Names() {
		if name == policies.Default {
			continue // it was written for records that are whole
		}
		p, cases := shipped(t, name)
		fresh := approving(t, p, cases)
		reads, asks := p.mentions()
		mentioned := slices.Concat(reads, asks)
		for _, h := range holders() {
			for i, field := range h.of.names {
				t.Run(name+"/"+h.name+"."+field, func(t *testing.T) {
					run := fresh()
					changed := false
					for _, v := range h.all(run) {
						changed = changed || !v.Field(i).IsZero()
						v.Field(i).SetZero()
					}
					r := Read{h.name, field}
					read, asked := slices.Contains(reads, r), slices.Contains(asks, r)
					v := p.Decide(run)
					switch {
					case !changed && read && !asked:
						t.Errorf("the approved run does not have what the policy reads")
					case changed && read && v.Outcome == record.Approve:
						t.Errorf("approved without what the policy reads")
					case !read && !asked && !elsewhere(h, field, mentioned):
						if d := cmp.Diff(p.Decide(fresh()), v); d != "" {
							t.Errorf("the policy does not read it, and the verdict changed: %s", d)
						}
					}
					tested++
				})
			}
		}
		// Whole lists and whole pieces of evidence.
		for list, remove := range map[string]func(*record.Run){
			"findings": func(r *record.Run) { r.Findings = nil }, "probes": func(r *record.Run) { r.Probes = nil },
			"evidence": func(r *record.Run) { r.Evidence = nil }, "boxes": func(r *record.Run) { r.Boxes = nil },
		} {
			run := fresh()
			if remove(run); p.Decide(run).Outcome == record.Approve {
				t.Errorf("%s approves a run without %s", name, list)
			}
		}
		for _, kind := range record.EvidenceKinds {
			run := fresh()
			run.Evidence = slices.DeleteFunc(run.Evidence, func(e record.Evidence) bool { return e.Kind == kind })
			needs := slices.ContainsFunc(reads, func(r Read) bool { return r == Read{"evidence", string(kind)} })
			if got := p.Decide(run).Outcome; (got == record.Approve) == needs {
				t.Errorf("%s, without %s: %s; the policy reads it: %v", name, kind, got, needs)
			}
			run = fresh()
			run.Evidence = append(run.Evidence, record.Evidence{Kind: kind, State: record.Valid})
			if needs && p.Decide(run).Outcome == record.Approve {
				t.Errorf("%s approves with two pieces of %s", name, kind)
			}
		}
	}
	if tested < 500 {
		t.Errorf("only %d fields were removed", tested)
	}
}

// elsewhere reports whether a field is read under another name: of one kind of
// evidence, or of all kinds.
func elsewhere(h holder, field string, reads []Read) bool {
	return h.of == evidenceType && slices.ContainsFunc(reads, func(r Read) bool {
		t, _ := r.resolve()
		return t == evidenceType && r.Field == field
	}) || h.of == evidenceType && field == "kind"
}

// approving makes fresh runs that a policy approves: the base of its cases.
func approving(t *testing.T, p *Policy, cases []Case) func() *record.Run {
	t.Helper()
	if v := p.Decide(cases[0].Run); v.Outcome != record.Approve {
		t.Fatalf("the first case of %s is not approved: %v", p.Name, v.Reasons)
	}
	src, err := json.Marshal(cases[0].Run)
	if err != nil {
		t.Fatal(err)
	}
	return func() *record.Run {
		var run record.Run
		if err := json.Unmarshal(src, &run); err != nil {
			t.Fatal(err)
		}
		return &run
	}
}

func (p *Policy) mentions() (reads, asks []Read) {
	for _, r := range p.rules {
		reads = append(reads, r.when.reads...)
		asks = append(asks, r.when.asks...)
	}
	return reads, asks
}
