package decide

import (
	"fmt"
	"slices"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"

	"github.com/weighbridge/weighbridge/record"
)

// Decide applies the policy. It is a pure function of its arguments: a run that
// was read from a report gives the verdict of the run that was written.
func (p *Policy) Decide(run *record.Run) record.Verdict {
	v := record.Verdict{Policy: p.Name, Digest: p.Digest}
	in := newInput(run, p)
	defer in.frame.Close()
	in.groups = map[string]grouping{}
	for each, list := range in.each {
		number, n := groups(list, p.group[each])
		in.groups[each] = grouping{number, n}
	}
	for i := range p.rules {
		r := &p.rules[i]
		if r.each == "" {
			v.Reasons = r.answer(in, v.Reasons, r.ask(in))
			continue
		}
		v.Reasons = r.askEach(in, v.Reasons)
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

// fired is what a rule came to for one subject.
type fired struct {
	known, yes bool
	err        error
}

func (r *rule) askEach(in *input, reasons []record.Reason) []record.Reason {
	in.name = subjectName(r.each)
	defer func() { in.name, in.subject = "", nil }()
	g := in.groups[r.each]
	known := make([]fired, g.n)
	for i, subject := range in.each[r.each] {
		in.subject = subject
		f := &known[g.number[i]]
		if !f.known || !r.grouped {
			*f = r.ask(in)
		}
		reasons = r.answer(in, reasons, *f)
	}
	return reasons
}

// ask evaluates one rule once.
func (r *rule) ask(in *input) fired {
	out, err := in.eval(r.when)
	return fired{true, err == nil && out == ref.Val(types.Bool(r.want)), err}
}

// answer adds the reason of a rule that fired. What cannot be evaluated
// escalates, or rejects where the rule says so.
func (r *rule) answer(in *input, reasons []record.Reason, f fired) []record.Reason {
	if f.err == nil && !f.yes {
		return reasons
	}
	reason := record.Reason{Rule: r.name, Outcome: r.verdict, Findings: findingID(in.subject)}
	if f.err != nil {
		reason.Outcome = r.onError
		reason.Message = fmt.Sprintf("the rule cannot be evaluated: %v", f.err)
		return append(reasons, reason)
	}
	var err error
	if reason.Message, err = r.message.say(in); err != nil {
		if reason.Outcome == record.Approve {
			reason.Outcome = r.onError
		}
		reason.Message += fmt.Sprintf(" (a part of this message cannot be evaluated: %v)", err)
	}
	return append(reasons, reason)
}

// findingID names the finding that a rule was asked of.
func findingID(subject ref.Val) []string {
	o, ok := subject.(*object)
	if !ok || o.of != findingType {
		return nil
	}
	if f := o.v.Addr().Interface().(*record.Finding); f.ID != "" {
		return []string{valid(f.ID)}
	}
	return nil
}

// Reads lists what the policy reads of a run, without what it only asks for
// with has().
func (p *Policy) Reads() []Read {
	var all []Read
	for _, r := range p.rules {
		for _, x := range r.when.reads {
			if !slices.Contains(all, x) {
				all = append(all, x)
			}
		}
	}
	return all
}
