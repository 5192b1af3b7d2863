package decide

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/overloads"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/interpreter"
)

// costLimit bounds the evaluation of one expression, in CEL's cost units. A
// scan of 1,000 findings stays far below it.
const costLimit = 1_000_000

// subjects are what a rule may be asked of each of.
var subjects = map[string]*objectType{
	"finding": findingType, "probe": probeType, "evidence": evidenceType, "link": linkType,
}

// subjectName is the variable that holds one of them. The set of evidence has
// taken the name of its elements.
func subjectName(each string) string {
	if each == "evidence" {
		return "piece"
	}
	return each
}

// environments holds one for each subject, and one for none.
var environments = sync.OnceValues(func() (map[string]*cel.Env, error) {
	list := func(t *objectType) *cel.Type { return cel.ListType(t.cel) }
	base, err := cel.NewEnv(
		cel.CustomTypeProvider(provider{}), cel.CustomTypeAdapter(provider{}),
		cel.CrossTypeNumericComparisons(true),
		cel.Variable("run", runType.cel), cel.Variable("evidence", setType.cel),
		cel.Variable("findings", list(findingType)), cel.Variable("probes", list(probeType)),
		cel.Variable("lineage", list(linkType)), cel.Variable("artifacts", list(artifactType)),
		cel.Variable("boxes", list(boxType)),
	)
	if err != nil {
		return nil, err
	}
	envs := map[string]*cel.Env{"": base}
	for each, t := range subjects {
		if envs[each], err = base.Extend(cel.Variable(subjectName(each), t.cel)); err != nil {
			return nil, err
		}
	}
	return envs, nil
})

// variables are the names that an expression may begin with.
func variables(each string) []string {
	v := []string{"run", "evidence", "findings", "probes", "lineage", "artifacts", "boxes"}
	if each != "" {
		v = append(v, subjectName(each))
	}
	return v
}

// program is a checked expression, ready to run.
type program struct {
	// metered stops at the limit of the cost. free has no meter, which takes
	// half of the time; it is there for an expression that cannot reach the
	// limit with inputs inside the bounds.
	metered, free cel.Program

	ast   *ast.AST
	text  string // for comparing
	reads []Read
	asks  []Read // with has()
}

// fault is what is wrong with an expression, at a place in it: line from 1,
// column from 1, both 0 where the whole is meant.
type fault struct {
	line, column int
	message      string
}

// compile checks an expression against the input types. kind names the type
// that it must have.
func compile(each, src string, kind *cel.Type) (*program, []fault) {
	whole := func(err error) []fault { return []fault{{message: err.Error()}} }
	envs, err := environments()
	if err != nil {
		return nil, whole(err)
	}
	env := envs[each]
	checked, issues := env.Compile(src)
	if issues.Err() != nil {
		var fs []fault
		for _, e := range issues.Errors() {
			fs = append(fs, fault{e.Location.Line(), e.Location.Column() + 1, suggest(each, e.Message)})
		}
		return nil, fs
	}
	if kind != nil && !checked.OutputType().IsExactType(kind) {
		what := "truth value"
		if kind != cel.BoolType {
			what = kind.String()
		}
		return nil, whole(fmt.Errorf("the expression gives %s, not a %s", checked.OutputType(), what))
	}
	p := &program{ast: checked.NativeRep(), text: strings.TrimSpace(src)}
	var fs []fault
	if p.reads, p.asks, fs = inspect(p.ast); len(fs) > 0 {
		return nil, fs
	}
	strict, unseen := strictly(p.ast)
	if p.metered, err = env.Program(checked, cel.CostLimit(costLimit), cel.EvalOptions(cel.OptOptimize), strict); err != nil {
		return nil, whole(err)
	}
	if cost, err := env.EstimateCost(checked, bounds{}); err == nil && cost.Max <= costLimit {
		if p.free, err = env.Program(checked, cel.EvalOptions(cel.OptOptimize), constantPatterns, strict); err != nil {
			return nil, whole(err)
		}
	}
	if len(unseen) > 0 {
		return nil, whole(fmt.Errorf("%d operands of && and || are not watched", len(unseen)))
	}
	return p, nil
}

// In CEL `&&` and `||` absorb an error of one side when the other side decides:
// `absent || true` is true. For a gate an error is an error, whatever stands
// beside it. strictly has every operand of them watched, and with them the
// steps of exists() and all(), which are made of them. What the left side
// decides alone is not evaluated on the right, so that has(x) && x > 1 asks
// first; everything that is evaluated has to succeed.
//
// unseen lists the operands that the planner has not shown to the decorator;
// it is empty when the program is made.
func strictly(a *ast.AST) (option cel.ProgramOption, unseen map[int64]bool) {
	operands := map[int64]bool{}
	ast.PreOrderVisit(a.Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		if e.Kind() != ast.CallKind {
			return
		}
		switch e.AsCall().FunctionName() {
		case operators.LogicalAnd, operators.LogicalOr, operators.NotStrictlyFalse:
			for _, arg := range e.AsCall().Args() {
				operands[arg.ID()] = true
			}
		}
	}))
	unseen = map[int64]bool{}
	for id := range operands {
		unseen[id] = true
	}
	return cel.CustomDecoratorV2(func(i interpreter.InterpretableV2) (interpreter.InterpretableV2, error) {
		if !operands[i.ID()] {
			return i, nil
		}
		delete(unseen, i.ID())
		return &watched{i}, nil
	}), unseen
}

// watched is an operand whose errors are told to the input.
type watched struct{ interpreter.InterpretableV2 }

// Exec implements interpreter.InterpretableV2.
func (w *watched) Exec(frame *interpreter.ExecutionFrame) ref.Val {
	v := w.InterpretableV2.Exec(frame)
	if _, ok := v.(types.Bool); !ok {
		if in, found := frame.ResolveName(self); found {
			in.(*input).absorb(v)
		}
	}
	return v
}

// Eval implements interpreter.Interpretable.
func (w *watched) Eval(vars interpreter.Activation) ref.Val {
	return interpreter.EvalActivation(vars, w.Exec)
}

// constantPatterns compiles patterns that are literals once. CEL does so too,
// but only after strictly has hidden the call from it. Only a program without a
// meter may use it, because a call that was replaced costs nothing.
var constantPatterns = cel.CustomDecoratorV2(func(i interpreter.InterpretableV2) (interpreter.InterpretableV2, error) {
	call, ok := i.(interpreter.InterpretableCall)
	if !ok || call.OverloadID() != overloads.MatchesString || len(call.Args()) != 2 {
		return i, nil
	}
	pattern, ok := call.Args()[1].(interpreter.InterpretableConst)
	if !ok {
		return i, nil
	}
	s, _ := pattern.Value().Value().(string)
	re, err := regexp.Compile(s)
	if err != nil {
		return nil, err
	}
	return &match{i, call.Args()[0], re}, nil
})

// match is a call of matches() with a pattern that was compiled before.
type match struct {
	interpreter.InterpretableV2
	text interpreter.InterpretableV2
	re   *regexp.Regexp
}

// Exec implements interpreter.InterpretableV2.
func (m *match) Exec(frame *interpreter.ExecutionFrame) ref.Val {
	v := m.text.Exec(frame)
	if s, ok := v.(types.String); ok {
		return types.Bool(m.re.MatchString(string(s)))
	}
	return types.MaybeNoSuchOverloadErr(v)
}

// Eval implements interpreter.Interpretable.
func (m *match) Eval(vars interpreter.Activation) ref.Val {
	return interpreter.EvalActivation(vars, m.Exec)
}

// self is the name under which an input finds itself. No expression can spell it.
const self = "@input"

var (
	undefinedField = regexp.MustCompile(`undefined field '(\w+)'`)
	undeclared     = regexp.MustCompile(`undeclared reference to '(\w+)'`)
)

// suggest adds what was probably meant to a message of CEL's checker.
func suggest(each, message string) string {
	var known []string
	var name string
	if m := undefinedField.FindStringSubmatch(message); m != nil {
		name = m[1]
		for _, t := range inputTypes {
			known = append(known, t.names...)
		}
	} else if m := undeclared.FindStringSubmatch(message); m != nil {
		name, known = m[1], variables(each)
	}
	if near := nearest(name, known); near != "" {
		message += fmt.Sprintf(" (did you mean %s?)", near)
	}
	return message
}

// nearest is the known word at most two edits from s, the first of the nearest.
func nearest(s string, known []string) string {
	known = slices.Clone(known)
	slices.Sort(known)
	best, distance := "", 3
	for _, k := range known {
		if d := edits(s, k); d < distance && d < len(s) {
			best, distance = k, d
		}
	}
	return best
}

// edits is the Levenshtein distance, with a swap of neighbours as one edit.
func edits(a, b string) int {
	d := make([][]int, len(a)+1)
	for i := range d {
		d[i] = make([]int, len(b)+1)
		d[i][0] = i
		for j := range d[i] {
			if i == 0 {
				d[i][j] = j
				continue
			}
			if j == 0 {
				continue
			}
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			d[i][j] = min(d[i-1][j]+1, d[i][j-1]+1, d[i-1][j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				d[i][j] = min(d[i][j], d[i-2][j-2]+1)
			}
		}
	}
	return d[len(a)][len(b)]
}

func quoted(words []string) string {
	q := make([]string, len(words))
	for i, w := range words {
		q[i] = fmt.Sprintf("%q", w)
	}
	return strings.Join(q, ", ")
}
