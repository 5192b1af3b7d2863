package decide

import (
	"fmt"
	"slices"
	"strings"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
)

// Read is a field that an expression reads. Of is the type that it belongs to
// (Finding, Probe, Run …), or evidence.KIND where it is read of one kind alone.
type Read struct{ Of, Field string }

// resolve finds the field.
func (r Read) resolve() (*objectType, *field) {
	for _, t := range inputTypes {
		if t.name == r.Of || t == evidenceType && strings.HasPrefix(r.Of, "evidence.") {
			return t, t.fields[r.Field]
		}
	}
	return nil, nil
}

// inspect goes through a checked expression. It lists what is read and what is
// asked for with has(), and finds what CEL's checker lets pass and
// a policy must not: literals that can never match, and values whose type is
// not known, behind which a misspelt field would hide until it is needed.
func inspect(a *ast.AST) (reads, asks []Read, faults []fault) {
	blame := func(e ast.Expr, format string, args ...any) {
		f := fault{message: fmt.Sprintf(format, args...)}
		if at := a.SourceInfo().GetStartLocation(e.ID()); at.Line() > 0 {
			f.line, f.column = at.Line(), at.Column()+1
		}
		faults = append(faults, f)
	}
	ast.PreOrderVisit(a.Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		switch e.Kind() {
		case ast.SelectKind:
			s := e.AsSelect()
			t := operandType(a, s.Operand())
			if t == nil {
				blame(e, "the type of what .%s is read of is not known here", s.FieldName())
				return
			}
			r := Read{t.name, s.FieldName()}
			if kind := kindOf(a, s.Operand()); kind != "" {
				r.Of = "evidence." + kind
			}
			list := &reads
			if s.IsTestOnly() {
				list = &asks
			}
			if !slices.Contains(*list, r) {
				*list = append(*list, r)
			}
		case ast.StructKind:
			blame(e, "a policy makes no objects")
		case ast.CallKind:
			c := e.AsCall()
			switch name := c.FunctionName(); name {
			case "dyn":
				blame(e, "dyn() takes the type away that fields are checked by")
			case operators.Equals, operators.NotEquals:
				compareWords(a, c.Args()[0], []ast.Expr{c.Args()[1]}, blame)
				compareWords(a, c.Args()[1], []ast.Expr{c.Args()[0]}, blame)
			case operators.In:
				if list := c.Args()[1]; list.Kind() == ast.ListKind {
					compareWords(a, c.Args()[0], list.AsList().Elements(), blame)
				}
			}
		}
	}))
	return reads, asks, faults
}

// operandType is the input type of an expression, nil where it has none.
func operandType(a *ast.AST, e ast.Expr) *objectType {
	t := a.GetType(e.ID())
	if t == nil || t.Kind() != types.StructKind {
		return nil
	}
	return inputTypes[t.TypeName()]
}

// kindOf is KIND where e is evidence.KIND.
func kindOf(a *ast.AST, e ast.Expr) string {
	if e.Kind() == ast.SelectKind && operandType(a, e.AsSelect().Operand()) == setType && e.AsSelect().FieldName() != "list" {
		return e.AsSelect().FieldName()
	}
	return ""
}

// compareWords finds literals that a field of a closed list never equals.
func compareWords(a *ast.AST, e ast.Expr, with []ast.Expr, blame func(ast.Expr, string, ...any)) {
	if e.Kind() != ast.SelectKind {
		return
	}
	t := operandType(a, e.AsSelect().Operand())
	if t == nil || t.fields[e.AsSelect().FieldName()] == nil {
		return
	}
	f := t.fields[e.AsSelect().FieldName()]
	if f.words == nil {
		return
	}
	for _, w := range with {
		if w.Kind() != ast.LiteralKind {
			continue
		}
		s, ok := w.AsLiteral().Value().(string)
		if !ok || slices.Contains(f.words, s) {
			continue
		}
		message := fmt.Sprintf("%q is no %s that %s can have", s, f.name, t.name)
		if near := nearest(s, f.words); near != "" {
			message += fmt.Sprintf(" (did you mean %q?)", near)
		}
		blame(w, "%s; there are %s", message, quoted(f.words))
	}
}
