package decide

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/goccy/go-yaml"

	"github.com/weighbridge/weighbridge/record"
)

// Case is one run and what a policy has to say of it.
type Case struct {
	Name   string
	Run    *record.Run
	Expect record.Outcome
	// Rules are the names of the rules that must be among the reasons, in any
	// order.
	Rules []string
}

// Result is what became of a case. Why is empty when it came out as expected.
type Result struct {
	Case    Case
	Verdict record.Verdict
	Why     string
}

// caseFile is a file of cases. Each input is laid over base: what it names
// replaces, null removes, and what it does not name stays (RFC 7396).
type caseFile struct {
	Base  map[string]any `yaml:"base"`
	Cases []struct {
		Name   string         `yaml:"name"`
		Input  map[string]any `yaml:"input"`
		Expect record.Outcome `yaml:"expect"`
		Rules  []string       `yaml:"rules"`
	} `yaml:"cases"`
}

// keyed are the lists of a run that a file of cases writes as mappings, so that
// a case can change one entry: by which field, in which order.
var keyed = map[string]struct {
	by    string
	order []string
}{
	"findings": {by: "id"}, "probes": {by: "probe"},
	"evidence": {by: "kind", order: words(record.EvidenceKinds...)},
}

// ParseCases reads a file of cases. Its inputs are records in YAML, under the
// names of package record; findings, probes and evidence are mappings by id,
// probe and kind. Errors wrap ErrPolicy and name the file and the case.
func ParseCases(name string, src []byte) ([]Case, error) {
	fail := func(format string, args ...any) error {
		return fmt.Errorf("%w: %s: %w", ErrPolicy, name, fmt.Errorf(format, args...))
	}
	if len(src) > maxPolicy {
		return nil, fail("%d bytes, at most %d are read", len(src), maxPolicy)
	}
	var f caseFile
	if err := yaml.NewDecoder(bytes.NewReader(src), yaml.Strict()).Decode(&f); err != nil {
		line, column, message := yamlFault(err)
		return nil, fmt.Errorf("%w: %s", ErrPolicy, Problem{name, line, column, message})
	}
	if len(f.Cases) == 0 {
		return nil, fail("it has no cases")
	}
	var cases []Case
	seen := map[string]bool{}
	for i, y := range f.Cases {
		if y.Name == "" || seen[y.Name] {
			return nil, fail("case %d: the name %q is empty or taken", i+1, y.Name)
		}
		seen[y.Name] = true
		if y.Expect != record.Approve && y.Expect != record.Reject && y.Expect != record.Escalate {
			return nil, fail("case %s: expect: %q is none of approve, reject, escalate", y.Name, y.Expect)
		}
		run, err := runOf(merge(clone(f.Base), y.Input))
		if err != nil {
			return nil, fail("case %s: %w", y.Name, err)
		}
		cases = append(cases, Case{y.Name, run, y.Expect, y.Rules})
	}
	return cases, nil
}

// Test applies the policy to the cases.
func (p *Policy) Test(cases []Case) []Result {
	var out []Result
	for _, c := range cases {
		r := Result{Case: c, Verdict: p.Decide(c.Run)}
		var fired []string
		for _, reason := range r.Verdict.Reasons {
			fired = append(fired, reason.Rule)
		}
		if r.Verdict.Outcome != c.Expect {
			r.Why = fmt.Sprintf("expected %s, got %s by %s", c.Expect, r.Verdict.Outcome, quoted(fired))
		} else if i := slices.IndexFunc(c.Rules, func(rule string) bool { return !slices.Contains(fired, rule) }); i >= 0 {
			r.Why = fmt.Sprintf("%s as expected, but not by %q: %s", c.Expect, c.Rules[i], quoted(fired))
		}
		out = append(out, r)
	}
	return out
}

// clone copies a tree of mappings.
func clone(m map[string]any) map[string]any {
	out := maps.Clone(m)
	for k, v := range out {
		if sub, ok := v.(map[string]any); ok {
			out[k] = clone(sub)
		}
	}
	return out
}

// merge lays over onto m.
func merge(m, over map[string]any) map[string]any {
	if m == nil {
		m = map[string]any{}
	}
	for k, v := range over {
		sub, isMap := v.(map[string]any)
		switch {
		case v == nil:
			delete(m, k)
		case isMap:
			old, _ := m[k].(map[string]any)
			m[k] = merge(clone(old), sub)
		default:
			m[k] = v
		}
	}
	return m
}

// runOf makes a record of a tree.
func runOf(m map[string]any) (*record.Run, error) {
	for name, k := range keyed {
		entries, ok := m[name].(map[string]any)
		if !ok {
			continue
		}
		order := slices.Sorted(maps.Keys(entries))
		slices.SortStableFunc(order, func(a, b string) int { return slices.Index(k.order, a) - slices.Index(k.order, b) })
		var list []any
		for _, key := range order {
			e, ok := entries[key].(map[string]any)
			if !ok {
				return nil, fmt.Errorf("%s: %s: a mapping of fields is wanted", name, key)
			}
			e = clone(e)
			e[k.by] = key
			list = append(list, e)
		}
		m[name] = list
	}
	src, err := json.Marshal(m)
	if err != nil {
		return nil, err
	}
	var run record.Run
	d := json.NewDecoder(bytes.NewReader(src))
	d.DisallowUnknownFields()
	if err := d.Decode(&run); err != nil {
		return nil, fmt.Errorf("input: %w", err)
	}
	return &run, nil
}
