package decide

import (
	"encoding/binary"
	"math"
	"slices"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
)

// Most findings of a run look alike to a policy: they have the same tier and
// class, and differ in what rules do not read. Subjects that are equal in every
// field that the rules read of them form a group, and a rule is evaluated once
// for each group: expressions are pure, so that the others come to the same.

// subjectReads lists the fields that an expression reads or asks for of its
// subject. ok is false where it does anything else with the subject, or reads
// a list of it; then it has to be evaluated for each.
func subjectReads(a *ast.AST, each string) (fields []*field, ok bool) {
	t, name := subjects[each], subjectName(each)
	operand := map[int64]*field{}
	ok = true
	ast.PreOrderVisit(a.Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		switch e.Kind() {
		case ast.SelectKind:
			if s := e.AsSelect(); s.Operand().Kind() == ast.IdentKind && s.Operand().AsIdent() == name {
				operand[s.Operand().ID()] = t.fields[s.FieldName()]
			}
		case ast.IdentKind:
			if e.AsIdent() != name {
				return
			}
			f := operand[e.ID()]
			if f == nil || f.cel.Kind() == types.ListKind {
				ok = false
				return
			}
			if !slices.Contains(fields, f) {
				fields = append(fields, f)
			}
		}
	}))
	return fields, ok
}

// groupFields are the fields that tell groups apart, for each kind of subject.
func groupFields(rules []rule) map[string][]*field {
	all := map[string][]*field{}
	for i := range rules {
		r := &rules[i]
		if r.each == "" {
			continue
		}
		fields, ok := subjectReads(r.when.ast, r.each)
		if r.grouped = ok; !ok {
			continue
		}
		for _, f := range fields {
			if !slices.Contains(all[r.each], f) {
				all[r.each] = append(all[r.each], f)
			}
		}
	}
	return all
}

// groups gives each subject the number of its group, and the number of groups.
func groups(list []ref.Val, fields []*field) ([]int, int) {
	number := make([]int, len(list))
	seen := make(map[string]int, 8)
	var key []byte
	for i, v := range list {
		key = key[:0]
		for _, f := range fields {
			key = appendKey(key, v.(*object), f)
		}
		n, ok := seen[string(key)]
		if !ok {
			n = len(seen)
			seen[string(key)] = n
		}
		number[i] = n
	}
	return number, len(seen)
}

func appendKey(key []byte, o *object, f *field) []byte {
	v, ok := o.get(f)
	if !ok {
		return append(key, 0)
	}
	key = append(key, 1)
	switch v := v.(type) {
	case types.String:
		key = binary.AppendUvarint(key, uint64(len(v)))
		return append(key, v...)
	case types.Bool:
		if v {
			return append(key, 1)
		}
		return append(key, 0)
	case types.Int:
		return binary.BigEndian.AppendUint64(key, uint64(v))
	case types.Uint:
		return binary.BigEndian.AppendUint64(key, uint64(v))
	case types.Double:
		return binary.BigEndian.AppendUint64(key, math.Float64bits(float64(v)))
	}
	panic("decide: a field of a kind that subjectReads does not let pass")
}
