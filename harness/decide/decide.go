package decide

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/weighbridge/weighbridge/record"
)

// fields are the names that a message and an expression may use of each kind.
var fields = map[string]map[string]bool{
	"":        {},
	"finding": keys(view(record.Finding{})),
	"probe":   keys(view(record.ProbeRun{})),
}

func keys(m map[string]any) map[string]bool {
	k := map[string]bool{}
	for name := range m {
		k[name] = true
	}
	return k
}

// Decide applies the policy. It is a pure function of its arguments.
func (p *Policy) Decide(run *record.Run) record.Verdict {
	v := record.Verdict{Policy: p.Name, Digest: p.Digest}
	findings, probes, evidence := views(run.Findings), views(run.Probes), views(run.Evidence)
	for _, r := range p.rules {
		vars := map[string]any{
			"run": view(run.Meta), "findings": findings, "probes": probes, "evidence": evidence,
			"finding": map[string]any{}, "probe": map[string]any{},
		}
		switch r.Each {
		case "finding":
			for i, f := range findings {
				vars["finding"] = f
				v.Reasons = append(v.Reasons, r.ask(vars, f, run.Findings[i].ID)...)
			}
		case "probe":
			for _, x := range probes {
				vars["probe"] = x
				v.Reasons = append(v.Reasons, r.ask(vars, x, "")...)
			}
		default:
			v.Reasons = append(v.Reasons, r.ask(vars, nil, "")...)
		}
	}
	v.Outcome = record.Escalate
	for _, o := range []record.Outcome{record.Reject, record.Escalate, record.Approve} {
		if slices.ContainsFunc(v.Reasons, func(r record.Reason) bool { return r.Outcome == o }) {
			v.Outcome = o
			break
		}
	}
	if v.Outcome != record.Approve { // what would have approved is no reason for anything else
		v.Reasons = slices.DeleteFunc(v.Reasons, func(r record.Reason) bool { return r.Outcome == record.Approve })
	}
	if len(v.Reasons) == 0 {
		v.Reasons = []record.Reason{{Rule: "none", Outcome: record.Escalate, Message: "no rule of the policy speaks for this run"}}
	}
	rank := map[record.Outcome]int{record.Reject: 0, record.Escalate: 1, record.Approve: 2}
	slices.SortStableFunc(v.Reasons, func(a, b record.Reason) int { return rank[a.Outcome] - rank[b.Outcome] })
	return v
}

// ask evaluates one rule once. What cannot be evaluated escalates.
func (r *rule) ask(vars, subject map[string]any, id string) []record.Reason {
	reason := record.Reason{Rule: r.Name, Outcome: r.Verdict}
	if id != "" {
		reason.Findings = []string{id}
	}
	out, _, err := r.program.Eval(vars)
	if err != nil {
		reason.Outcome = record.Escalate
		reason.Message = fmt.Sprintf("the rule cannot be evaluated: %v", err)
		return []record.Reason{reason}
	}
	if fired, ok := out.Value().(bool); !ok || !fired {
		return nil
	}
	reason.Message = placeholder.ReplaceAllStringFunc(r.Message, func(s string) string {
		return fmt.Sprint(subject[strings.Trim(s, "{}")])
	})
	return []record.Reason{reason}
}

// view is a struct as CEL sees it: its JSON names, with every field present.
func view(x any) map[string]any {
	b, err := json.Marshal(x)
	if err != nil {
		panic(fmt.Sprintf("decide: %T does not marshal: %v", x, err)) // plain data always does
	}
	m := map[string]any{}
	if err := json.Unmarshal(b, &m); err != nil {
		panic(fmt.Sprintf("decide: %T: %v", x, err))
	}
	for name, zero := range zeros(x) {
		if _, ok := m[name]; !ok {
			m[name] = zero
		}
	}
	return m
}

func views[T any](xs []T) []map[string]any {
	vs := make([]map[string]any, len(xs))
	for i, x := range xs {
		vs[i] = view(x)
	}
	return vs
}

// zeros gives the fields of a struct that JSON leaves out when empty: absent
// numbers are null, so that an expression that needs one fails and escalates.
func zeros(x any) map[string]any {
	z := map[string]any{}
	t := reflect.TypeOf(x)
	for i := range t.NumField() {
		name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		switch t.Field(i).Type.Kind() {
		case reflect.String:
			z[name] = ""
		case reflect.Slice:
			z[name] = []any{}
		case reflect.Int:
			z[name] = 0.0
		default:
			z[name] = nil
		}
	}
	return z
}
