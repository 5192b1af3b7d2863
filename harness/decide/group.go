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

// groupField is a field that tells groups apart: by its value, or by its
// presence alone where that is all that rules ask for.
type groupField struct {
	*field
	value bool
}

// addField adds a field, or makes more of what is there.
func addField(list []groupField, f groupField) []groupField {
	i := slices.IndexFunc(list, func(g groupField) bool { return g.field == f.field })
	if i < 0 {
		return append(list, f)
	}
	list[i].value = list[i].value || f.value
	return list
}

// subjectReads lists the fields that an expression reads or asks for of its
// subject. ok is false where it does anything else with the subject, or reads
// a list of it; then it has to be evaluated for each.
func subjectReads(a *ast.AST, each string) (fields []groupField, ok bool) {
	t, name := subjects[each], subjectName(each)
	operand := map[int64]groupField{}
	ok = true
	ast.PreOrderVisit(a.Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		switch e.Kind() {
		case ast.SelectKind:
			if s := e.AsSelect(); s.Operand().Kind() == ast.IdentKind && s.Operand().AsIdent() == name {
				operand[s.Operand().ID()] = groupField{t.fields[s.FieldName()], !s.IsTestOnly()}
			}
		case ast.IdentKind:
			if e.AsIdent() != name {
				return
			}
			f := operand[e.ID()]
			if f.field == nil || f.value && f.cel.Kind() == types.ListKind {
				ok = false
				return
			}
			fields = addField(fields, f)
		}
	}))
	return fields, ok
}

// groupFields are the fields that tell groups apart, for each kind of subject.
func groupFields(rules []rule) map[string][]groupField {
	all := map[string][]groupField{}
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
			all[r.each] = addField(all[r.each], f)
		}
	}
	return all
}

// groups gives each subject the number of its group, and the number of groups.
func groups(list []ref.Val, fields []groupField) ([]int, int) {
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

func appendKey(key []byte, o *object, f groupField) []byte {
	v, ok := o.get(f.field)
	if !ok {
		return append(key, 0)
	}
	key = append(key, 1)
	if !f.value {
		return key
	}
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
