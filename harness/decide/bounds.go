package decide

import (
	"reflect"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/cost"
	"cel.dev/cel-go/common/types"

	"github.com/weighbridge/weighbridge/record"
)

// maxSmall is the length up to which lists (elements) and texts (bytes) of an
// input are inside the bounds: longer than those of any normal run.
const maxSmall = 512

// bounds estimates what an expression costs at most for an input inside them.
type bounds struct{}

// EstimateSize implements cost.Estimator. What does not come from the input
// has no size here, and an expression over it gets no bound unless CEL knows it.
func (bounds) EstimateSize(n cost.AstNode) *cost.SizeEstimate {
	if len(n.Path()) == 0 {
		return nil
	}
	switch n.Type().Kind() {
	case types.ListKind, types.StringKind:
		return &cost.SizeEstimate{Max: maxSmall}
	}
	return nil
}

// EstimateCallCost implements cost.Estimator.
func (bounds) EstimateCallCost(string, string, *cost.AstNode, []cost.AstNode) *cost.CallEstimate {
	return nil
}

// with gives the program to run.
func (p *program) with(small bool) cel.Program {
	if small && p.free != nil {
		return p.free
	}
	return p.metered
}

// inBounds reports whether a run is inside the bounds in everything that the
// policy reads of it.
func (p *Policy) inBounds(run *record.Run) bool {
	for _, l := range []struct {
		of   *objectType
		list reflect.Value
	}{
		{findingType, reflect.ValueOf(run.Findings)}, {probeType, reflect.ValueOf(run.Probes)},
		{evidenceType, reflect.ValueOf(run.Evidence)}, {linkType, reflect.ValueOf(run.Lineage)},
		{artifactType, reflect.ValueOf(run.Artifacts)}, {boxType, reflect.ValueOf(run.Boxes)},
	} {
		if l.list.Len() > maxSmall {
			return false
		}
		fields := p.sized[l.of]
		for i := range l.list.Len() {
			for _, f := range fields {
				if !small(l.list.Index(i).Field(f)) {
					return false
				}
			}
		}
	}
	for _, f := range p.sized[runType] {
		if !small(reflect.ValueOf(&run.Meta).Elem().Field(f)) {
			return false
		}
	}
	return true
}

// small looks at a value and everything in it.
func small(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.String:
		return v.Len() <= maxSmall
	case reflect.Slice:
		if v.Len() > maxSmall {
			return false
		}
		for i := range v.Len() {
			if !small(v.Index(i)) {
				return false
			}
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if !small(v.Field(i)) {
				return false
			}
		}
	}
	return true
}

// sizes lists, for each type, the fields that the policy reads and whose length
// costs something, by their index in the struct.
func sizes(rules []rule) map[*objectType][]int {
	read := map[*objectType]map[int]bool{}
	note := func(p *program) {
		for _, r := range p.reads {
			t, f := r.resolve()
			if k := f.cel.Kind(); t != setType && (k == types.StringKind || k == types.ListKind) {
				if read[t] == nil {
					read[t] = map[int]bool{}
				}
				read[t][f.index] = true
			}
		}
	}
	for _, r := range rules {
		note(r.when)
		for _, part := range r.message.parts {
			if part.expr != nil {
				note(part.expr)
			}
		}
	}
	sized := map[*objectType][]int{}
	for t, fields := range read {
		for i := range t.names { // fields stand as in the struct
			if fields[i] {
				sized[t] = append(sized[t], i)
			}
		}
	}
	return sized
}

// slotsOf gives a slot to each field that the policy reads of what lists hold.
func slotsOf(reads []Read) map[*objectType]*slots {
	all := map[*objectType]*slots{}
	for _, r := range reads {
		t, f := r.resolve()
		if t != findingType && t != probeType && t != evidenceType && t != linkType {
			continue
		}
		s := all[t]
		if s == nil {
			s = &slots{of: make([]uint8, len(t.names))}
			all[t] = s
		}
		if s.of[f.index] == 0 {
			s.n++
			s.of[f.index] = uint8(s.n)
		}
	}
	return all
}
