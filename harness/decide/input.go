package decide

import (
	"errors"
	"fmt"
	"reflect"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/interpreter"

	"github.com/weighbridge/weighbridge/record"
)

// input is a run as expressions see it. It serves one decision at a time.
type input struct {
	small                                       bool // see bounds
	run, evidence                               ref.Val
	findings, probes, lineage, artifacts, boxes ref.Val
	each                                        map[string][]ref.Val
	groups                                      map[string]grouping
	name                                        string // of the subject
	subject                                     ref.Val
	absorbed                                    error
	frame                                       *interpreter.ExecutionFrame // over this input
	exceeded                                    int                         // evaluations that cost too much
}

// grouping is the group of each subject, by its number.
type grouping struct {
	number []int
	n      int
}

func newInput(run *record.Run, p *Policy) *input {
	evidence := newEvidenceSet(run, p.slots[evidenceType])
	lists := map[string][]ref.Val{
		"finding":  findingType.objects(reflect.ValueOf(run.Findings), p.slots[findingType]),
		"probe":    probeType.objects(reflect.ValueOf(run.Probes), p.slots[probeType]),
		"evidence": evidence.v.Addr().Interface().(*evidenceSet).all,
		"link":     linkType.objects(reflect.ValueOf(run.Lineage), p.slots[linkType]),
	}
	list := func(of []ref.Val) ref.Val { return types.NewRefValList(provider{}, of) }
	in := &input{
		small: p.inBounds(run),
		run:   &object{of: runType, v: reflect.ValueOf(&run.Meta).Elem()}, evidence: evidence, each: lists,
		findings: list(lists["finding"]), probes: list(lists["probe"]), lineage: list(lists["link"]),
		artifacts: artifactType.list(reflect.ValueOf(run.Artifacts)), boxes: boxType.list(reflect.ValueOf(run.Boxes)),
	}
	var err error
	if in.frame, err = interpreter.NewExecutionFrame(in); err != nil {
		panic(fmt.Sprintf("decide: %v", err)) // an input has no functions, which alone can be refused
	}
	return in
}

// ResolveName implements cel.Activation.
func (in *input) ResolveName(name string) (any, bool) {
	switch name {
	case in.name:
		return in.subject, true
	case "findings":
		return in.findings, true
	case "run":
		return in.run, true
	case "probes":
		return in.probes, true
	case "evidence":
		return in.evidence, true
	case "lineage":
		return in.lineage, true
	case "artifacts":
		return in.artifacts, true
	case "boxes":
		return in.boxes, true
	case self:
		return in, true
	}
	return nil, false
}

// Parent implements cel.Activation.
func (in *input) Parent() cel.Activation { return nil }

// absorb keeps the first error that an operand came to.
func (in *input) absorb(v ref.Val) {
	if in.absorbed != nil {
		return
	}
	if err, ok := v.(*types.Err); ok {
		in.absorbed = err
		return
	}
	in.absorbed = fmt.Errorf("%v is no truth value", v.Value())
}

// maxExceeded bounds the time that a policy without bounds can take: after so
// many evaluations that ran into the limit no other is begun.
const maxExceeded = 4

var (
	errCost     = fmt.Errorf("it costs more than %d units", costLimit)
	errExceeded = fmt.Errorf("%d evaluations of this policy cost more than %d units, and no other is made", maxExceeded, costLimit)
)

// eval runs an expression. An error anywhere in it is its error, absorbed or
// not.
func (in *input) eval(p *program) (ref.Val, error) {
	if in.exceeded >= maxExceeded {
		return nil, errExceeded
	}
	in.absorbed = nil
	var vars any = in
	if in.small && p.free != nil {
		vars = in.frame // nothing in it belongs to one evaluation where there is no meter
	}
	v, _, err := p.with(in.small).Eval(vars)
	if cancelled := (interpreter.EvalCancelledError{}); errors.As(err, &cancelled) {
		in.exceeded++
		return nil, errCost
	}
	switch {
	case in.absorbed != nil:
		return nil, in.absorbed
	case err != nil:
		return nil, err
	case types.IsUnknown(v):
		return nil, errors.New("the expression has no value")
	}
	return v, nil
}
