package jinja

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
)

// Limits of one Render. Zero values are those of DefaultLimits.
type Limits struct {
	Steps  int // evaluations of expressions and statements
	Depth  int // nested calls of macros and loops
	Output int // bytes of the text
	Memory int // bytes of all strings and lists made on the way
}

// DefaultLimits are far above what a chat template needs.
var DefaultLimits = Limits{Steps: 1_000_000, Depth: 100, Output: 1 << 20, Memory: 128 << 20}

// LimitError ends a template that goes beyond a limit.
type LimitError struct{ Msg string }

func (e *LimitError) Error() string { return e.Msg }

// Raised is what raise_exception was called with.
type Raised struct{ Msg string }

func (e *Raised) Error() string { return "raised: " + e.Msg }

// Render runs the template. vars hold values as [FromJSON] makes them, and
// Funcs. Errors: *LimitError, *Raised, or that of an operation, with its line.
func (t *Template) Render(vars map[string]any, l Limits) (string, error) {
	d := DefaultLimits
	for _, x := range []struct{ have, want *int }{{&l.Steps, &d.Steps}, {&l.Depth, &d.Depth}, {&l.Output, &d.Output}, {&l.Memory, &d.Memory}} {
		if *x.have == 0 {
			*x.have = *x.want
		}
	}
	r := &run{limits: l}
	top := &scope{vars: maps.Clone(globals)}
	maps.Copy(top.vars, vars)
	out := &strings.Builder{}
	if err := r.stmts(t.body, &scope{vars: map[string]any{}, up: top}, out); err != nil {
		return "", err
	}
	return out.String(), nil
}

type scope struct {
	vars map[string]any
	up   *scope
}

func (s *scope) get(name string) (any, bool) {
	for ; s != nil; s = s.up {
		if v, ok := s.vars[name]; ok {
			return v, true
		}
	}
	return nil, false
}

func inner(s *scope) *scope { return &scope{vars: map[string]any{}, up: s} }

// run is one Render under way.
type run struct {
	limits              Limits
	steps, depth, bytes int
}

func (r *run) step() error {
	if r.steps++; r.steps > r.limits.Steps {
		return &LimitError{fmt.Sprintf("the template took more than %d steps", r.limits.Steps)}
	}
	return nil
}

// alloc counts bytes before they are made.
func (r *run) alloc(n int) error {
	if n < 0 || n > r.limits.Memory-r.bytes {
		return &LimitError{fmt.Sprintf("the template made more than %d bytes of values", r.limits.Memory)}
	}
	r.bytes += n
	return nil
}

func (r *run) down() error {
	if r.depth++; r.depth > r.limits.Depth {
		return &LimitError{fmt.Sprintf("the template recursed deeper than %d", r.limits.Depth)}
	}
	return nil
}

func (r *run) write(out *strings.Builder, s string) error {
	if err := r.alloc(len(s)); err != nil {
		return err
	}
	if out.Len()+len(s) > r.limits.Output {
		return &LimitError{fmt.Sprintf("the template wrote more than %d bytes", r.limits.Output)}
	}
	out.WriteString(s)
	return nil
}

// at puts the line to an error that has none.
func at(line int, err error) error {
	var limit *LimitError
	var raised *Raised
	var located *locatedError
	if err == nil || errors.As(err, &limit) || errors.As(err, &raised) || errors.As(err, &located) || err == errBreak || err == errContinue {
		return err
	}
	return &locatedError{line, err}
}

type locatedError struct {
	line int
	err  error
}

func (e *locatedError) Error() string { return fmt.Sprintf("line %d: %v", e.line, e.err) }
func (e *locatedError) Unwrap() error { return e.err }

var errBreak, errContinue = errors.New("break"), errors.New("continue")

type stmt interface {
	exec(r *run, s *scope, out *strings.Builder) error
}

func (r *run) stmts(b []stmt, s *scope, out *strings.Builder) error {
	for _, x := range b {
		if err := r.step(); err != nil {
			return err
		}
		if err := x.exec(r, s, out); err != nil {
			return err
		}
	}
	return nil
}

// capture runs statements into a string.
func (r *run) capture(b []stmt, s *scope) (string, error) {
	var out strings.Builder
	err := r.stmts(b, s, &out)
	return out.String(), err
}

type dataStmt struct{ text string }

func (d *dataStmt) exec(r *run, _ *scope, out *strings.Builder) error { return r.write(out, d.text) }

type printStmt struct {
	e    expr
	line int
}

func (p *printStmt) exec(r *run, s *scope, out *strings.Builder) error {
	v, err := r.eval(p.e, s)
	if err != nil {
		return at(p.line, err)
	}
	return r.write(out, str(v))
}

type doStmt struct{ p *printStmt }

func (d *doStmt) exec(r *run, s *scope, _ *strings.Builder) error {
	_, err := r.eval(d.p.e, s)
	return at(d.p.line, err)
}

type jumpStmt struct{ stop bool }

func (j *jumpStmt) exec(*run, *scope, *strings.Builder) error {
	if j.stop {
		return errBreak
	}
	return errContinue
}

type ifStmt struct {
	conds  []expr
	bodies [][]stmt
	other  []stmt
}

func (i *ifStmt) exec(r *run, s *scope, out *strings.Builder) error {
	for k, c := range i.conds {
		v, err := r.eval(c, s)
		if err != nil {
			return err
		}
		if truth(v) {
			return r.stmts(i.bodies[k], s, out)
		}
	}
	return r.stmts(i.other, s, out)
}

type nameRef struct{ name, attr string }

func (r *run) assign(target []*nameRef, v any, s *scope) error {
	vals := []any{v}
	if len(target) > 1 {
		items, err := iterate(v)
		if err != nil {
			return err
		}
		if len(items) != len(target) {
			return fmt.Errorf("%d values for %d names", len(items), len(target))
		}
		vals = items
	}
	for i, t := range target {
		if t.attr == "" {
			s.vars[t.name] = vals[i]
			continue
		}
		n, _ := s.get(t.name)
		ns, ok := n.(*Namespace)
		if !ok {
			return errors.New("cannot assign attribute on non-namespace object")
		}
		ns.vals[t.attr] = vals[i]
	}
	return nil
}

type setStmt struct {
	target []*nameRef
	value  expr
	body   []stmt // {% set x %}…{% endset %}
	line   int
}

func (t *setStmt) exec(r *run, s *scope, _ *strings.Builder) error {
	from := s
	if t.body != nil {
		text, err := r.capture(t.body, inner(s))
		if err != nil {
			return err
		}
		from = inner(s)
		from.vars[bodyName] = text
	}
	v, err := r.eval(t.value, from)
	if err != nil {
		return at(t.line, err)
	}
	return at(t.line, r.assign(t.target, v, s))
}

// bodyExpr is the text of the block that a filter is applied to.
type bodyExpr struct{}

const bodyName = " body"

type filterStmt struct {
	f    expr
	body []stmt
	line int
}

func (f *filterStmt) exec(r *run, s *scope, out *strings.Builder) error {
	text, err := r.capture(f.body, inner(s))
	if err != nil {
		return err
	}
	in := inner(s)
	in.vars[bodyName] = text
	v, err := r.eval(f.f, in)
	if err != nil {
		return at(f.line, err)
	}
	return r.write(out, str(v))
}

type withStmt struct {
	names  [][]*nameRef
	values []expr
	body   []stmt
	line   int
}

func (w *withStmt) exec(r *run, s *scope, out *strings.Builder) error {
	in := inner(s)
	for i, n := range w.names {
		v, err := r.eval(w.values[i], s)
		if err != nil {
			return at(w.line, err)
		}
		if err := r.assign(n, v, in); err != nil {
			return at(w.line, err)
		}
	}
	return r.stmts(w.body, in, out)
}

type forStmt struct {
	target     []*nameRef
	iter, cond expr
	recursive  bool
	body       []stmt
	other      []stmt
	line       int
}

// loop is the variable of that name.
type loop struct {
	items   []any
	i       int
	depth0  int
	last    any
	changed bool
	recurse Func
}

func (l *loop) member(name string) (any, bool) {
	n := len(l.items)
	switch name {
	case "index":
		return l.i + 1, true
	case "index0":
		return l.i, true
	case "revindex":
		return n - l.i, true
	case "revindex0":
		return n - l.i - 1, true
	case "first":
		return l.i == 0, true
	case "last":
		return l.i == n-1, true
	case "length":
		return n, true
	case "depth":
		return l.depth0 + 1, true
	case "depth0":
		return l.depth0, true
	case "previtem":
		if l.i > 0 {
			return l.items[l.i-1], true
		}
		return undefined{"there is no previous item"}, true
	case "nextitem":
		if l.i+1 < n {
			return l.items[l.i+1], true
		}
		return undefined{"there is no next item"}, true
	case "cycle":
		return Func(func(a []any, _ map[string]any) (any, error) {
			if len(a) == 0 {
				return nil, errors.New("no items for cycling given")
			}
			return a[l.i%len(a)], nil
		}), true
	case "changed":
		return Func(func(a []any, _ map[string]any) (any, error) {
			v := any(tuple(a))
			same := l.changed && equal(l.last, v)
			l.last, l.changed = v, true
			return !same, nil
		}), true
	}
	return nil, false
}

func (f *forStmt) exec(r *run, s *scope, out *strings.Builder) error {
	v, err := r.eval(f.iter, s)
	if err != nil {
		return at(f.line, err)
	}
	return f.over(r, s, out, v, 0)
}

func (f *forStmt) over(r *run, s *scope, out *strings.Builder, v any, depth0 int) error {
	if err := r.down(); err != nil {
		return err
	}
	defer func() { r.depth-- }()
	items, err := iterate(v)
	if err != nil {
		return at(f.line, err)
	}
	if err := r.alloc(16 * len(items)); err != nil {
		return err
	}
	if f.cond != nil {
		var kept []any
		for _, x := range items {
			in := inner(s)
			if err := r.assign(f.target, x, in); err != nil {
				return at(f.line, err)
			}
			ok, err := r.eval(f.cond, in)
			if err != nil {
				return at(f.line, err)
			}
			if truth(ok) {
				kept = append(kept, x)
			}
		}
		items = kept
	}
	l := &loop{items: items, depth0: depth0}
	if f.recursive {
		l.recurse = func(a []any, _ map[string]any) (any, error) {
			if len(a) != 1 {
				return nil, errors.New("loop takes one argument")
			}
			var b strings.Builder
			err := f.over(r, s, &b, a[0], depth0+1)
			return b.String(), err
		}
	}
	for i, x := range items {
		if err := r.step(); err != nil {
			return err
		}
		l.i = i
		in := inner(s)
		in.vars["loop"] = l
		if err := r.assign(f.target, x, in); err != nil {
			return at(f.line, err)
		}
		switch err := r.stmts(f.body, in, out); {
		case err == errBreak:
			return nil
		case err != nil && err != errContinue:
			return err
		}
	}
	if len(items) == 0 {
		return r.stmts(f.other, inner(s), out)
	}
	return nil
}

type macro struct {
	name     string
	params   []string
	defaults []expr // nil where there is none
	body     []stmt
}

type macroStmt struct{ m *macro }

func (m *macroStmt) exec(r *run, s *scope, _ *strings.Builder) error {
	s.vars[m.m.name] = r.closure(m.m, s)
	return nil
}

func (r *run) closure(m *macro, s *scope) Func {
	return func(args []any, named map[string]any) (any, error) {
		if err := r.down(); err != nil {
			return nil, err
		}
		defer func() { r.depth-- }()
		in := inner(s)
		in.vars["varargs"] = tuple{}
		if len(args) > len(m.params) {
			in.vars["varargs"] = tuple(args[len(m.params):])
			args = args[:len(m.params)]
		}
		rest := NewDict()
		for _, k := range slices.Sorted(maps.Keys(named)) {
			switch i := slices.Index(m.params, k); {
			case k == "caller":
				in.vars[k] = named[k]
			case i < 0:
				rest.Set(k, named[k])
			case i < len(args):
				return nil, fmt.Errorf("macro '%s' got multiple values for argument '%s'", m.name, k)
			}
		}
		in.vars["kwargs"] = rest
		for i, p := range m.params {
			v, ok := named[p]
			switch {
			case i < len(args):
				v = args[i]
			case !ok && m.defaults[i] != nil:
				var err error
				if v, err = r.eval(m.defaults[i], in); err != nil {
					return nil, err
				}
			case !ok:
				v = undefined{fmt.Sprintf("parameter '%s' was not provided", p)}
			}
			in.vars[p] = v
		}
		return r.capture(m.body, in)
	}
}

type callStmt struct {
	c    *callExpr
	m    *macro
	line int
}

func (c *callStmt) exec(r *run, s *scope, out *strings.Builder) error {
	v, err := r.call(c.c, s, map[string]any{"caller": r.closure(c.m, s)})
	if err != nil {
		return at(c.line, err)
	}
	return r.write(out, str(v))
}

type expr any

type (
	constExpr struct{ v any }
	nameExpr  struct{ name string }
	listExpr  struct {
		items []expr
		tuple bool
	}
	dictExpr struct{ keys, values []expr }
	condExpr struct{ yes, cond, no expr }
	// logicExpr is or, or and.
	logicExpr struct {
		l, r expr
		or   bool
	}
	notExpr struct{ e expr }
	negExpr struct {
		e    expr
		neg  bool
		line int
	}
	compareExpr struct {
		first expr
		ops   []string
		rest  []expr
		line  int
	}
	binExpr struct {
		op   string
		l, r expr
		line int
	}
	attrExpr struct {
		e    expr
		name string
		line int
	}
	itemExpr struct {
		e, key expr
		line   int
	}
	sliceExpr struct {
		e     expr
		parts [3]expr
		line  int
	}
	callExpr struct {
		f      expr
		args   []expr
		names  []string
		values []expr
		line   int
	}
	filterExpr struct {
		in     expr
		name   string
		args   []expr
		names  []string
		values []expr
		line   int
	}
	testExpr struct {
		in   expr
		name string
		args []expr
		line int
	}
)

func (r *run) eval(e expr, s *scope) (any, error) {
	if err := r.step(); err != nil {
		return nil, err
	}
	switch e := e.(type) {
	case *constExpr:
		return e.v, nil
	case *nameExpr:
		if v, ok := s.get(e.name); ok {
			return v, nil
		}
		return undefined{fmt.Sprintf("'%s' is undefined", e.name)}, nil
	case *bodyExpr:
		v, _ := s.get(bodyName)
		return v, nil
	case *listExpr:
		vs, err := r.evals(e.items, s)
		if e.tuple {
			return tuple(vs), err
		}
		return vs, err
	case *dictExpr:
		return r.dict(e, s)
	case *condExpr:
		c, err := r.eval(e.cond, s)
		switch {
		case err != nil:
			return nil, err
		case truth(c):
			return r.eval(e.yes, s)
		case e.no == nil:
			return undefined{"the inline if-expression evaluated to false and no else section was defined."}, nil
		}
		return r.eval(e.no, s)
	case *logicExpr:
		v, err := r.eval(e.l, s)
		if err != nil || truth(v) == e.or {
			return v, err
		}
		return r.eval(e.r, s)
	case *notExpr:
		v, err := r.eval(e.e, s)
		return !truth(v), err
	case *negExpr:
		v, err := r.eval(e.e, s)
		if err != nil {
			return nil, err
		}
		return negate(v, e.neg)
	case *compareExpr:
		return r.compare(e, s)
	case *binExpr:
		l, err := r.eval(e.l, s)
		if err != nil {
			return nil, err
		}
		x, err := r.eval(e.r, s)
		if err != nil {
			return nil, err
		}
		v, err := r.binary(e.op, l, x)
		return v, at(e.line, err)
	case *attrExpr:
		v, err := r.eval(e.e, s)
		if err != nil {
			return nil, err
		}
		if u, ok := v.(undefined); ok {
			return nil, at(e.line, u.err())
		}
		return attr(v, e.name), nil
	case *itemExpr:
		v, err := r.eval(e.e, s)
		if err != nil {
			return nil, err
		}
		k, err := r.eval(e.key, s)
		if err != nil {
			return nil, err
		}
		if u, ok := v.(undefined); ok {
			return nil, at(e.line, u.err())
		}
		return item(v, k), nil
	case *sliceExpr:
		return r.slice(e, s)
	case *callExpr:
		v, err := r.call(e, s, nil)
		return v, at(e.line, err)
	case *filterExpr:
		return r.filter(e, s)
	case *testExpr:
		return r.test(e, s)
	}
	return nil, fmt.Errorf("jinja: unknown expression %T", e)
}

func (r *run) evals(es []expr, s *scope) ([]any, error) {
	if err := r.alloc(16 * len(es)); err != nil {
		return nil, err
	}
	out := make([]any, len(es))
	for i, e := range es {
		var err error
		if out[i], err = r.eval(e, s); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (r *run) dict(e *dictExpr, s *scope) (any, error) {
	d := NewDict()
	for i := range e.keys {
		k, err := r.eval(e.keys[i], s)
		if err != nil {
			return nil, err
		}
		if !hashable(k) {
			return nil, fmt.Errorf("unhashable type: '%s'", typeName(k))
		}
		v, err := r.eval(e.values[i], s)
		if err != nil {
			return nil, err
		}
		d.Set(k, v)
	}
	return d, r.alloc(64 * len(e.keys))
}

func negate(v any, neg bool) (any, error) {
	if n, ok := integer(v); ok {
		if neg {
			return -n, nil
		}
		return n, nil
	}
	if f, ok := v.(float64); ok {
		if neg {
			return -f, nil
		}
		return f, nil
	}
	if u, ok := v.(undefined); ok {
		return nil, u.err()
	}
	return nil, fmt.Errorf("bad operand type for unary -: '%s'", typeName(v))
}

func (r *run) compare(e *compareExpr, s *scope) (any, error) {
	l, err := r.eval(e.first, s)
	if err != nil {
		return nil, err
	}
	for i, op := range e.ops {
		x, err := r.eval(e.rest[i], s)
		if err != nil {
			return nil, err
		}
		var ok bool
		switch op {
		case "==":
			ok = equal(l, x)
		case "!=":
			ok = !equal(l, x)
		case "in", "not in":
			ok, err = contains(x, l)
			ok = ok == (op == "in")
		default:
			var c int
			c, err = order(l, x)
			ok = map[string]bool{"<": c < 0, "<=": c <= 0, ">": c > 0, ">=": c >= 0}[op]
		}
		if err != nil || !ok {
			return false, at(e.line, err)
		}
		l = x
	}
	return true, nil
}

func (r *run) binary(op string, a, b any) (any, error) {
	if op == "~" {
		s, t := str(a), str(b)
		return s + t, r.alloc(len(s) + len(t))
	}
	for _, v := range []any{a, b} {
		if u, ok := v.(undefined); ok {
			return nil, u.err()
		}
	}
	x, xi := integer(a)
	y, yi := integer(b)
	if xi && yi {
		return intOp(op, x, y)
	}
	f, fo := number(a)
	g, gok := number(b)
	if fo && gok {
		return floatOp(op, f, g)
	}
	switch op {
	case "+":
		if s, ok := a.(string); ok {
			t, ok := b.(string)
			if !ok {
				return nil, fmt.Errorf("can only concatenate str (not \"%s\") to str", typeName(b))
			}
			if err := r.alloc(len(s) + len(t)); err != nil {
				return nil, err
			}
			return s + t, nil
		}
		l, ok := sequence(a)
		m, ok2 := sequence(b)
		if ok && ok2 && typeName(a) == typeName(b) {
			if err := r.alloc(16 * (len(l) + len(m))); err != nil {
				return nil, err
			}
			sum := slices.Concat(l, m)
			if _, ok := a.(tuple); ok {
				return tuple(sum), nil
			}
			return sum, nil
		}
	case "*":
		if xi {
			a, b, y, yi = b, a, x, true
		}
		if s, ok := a.(string); ok && yi {
			if y > 0 && len(s) > r.limits.Memory/y {
				return nil, r.alloc(math.MaxInt)
			}
			if err := r.alloc(len(s) * max(0, y)); err != nil {
				return nil, err
			}
			return strings.Repeat(s, max(0, y)), nil
		}
		if l, ok := a.([]any); ok && yi {
			if y > 0 && 16*len(l) > r.limits.Memory/y {
				return nil, r.alloc(math.MaxInt)
			}
			if err := r.alloc(16 * len(l) * max(0, y)); err != nil {
				return nil, err
			}
			return slices.Repeat(l, max(0, y)), nil
		}
	case "%":
		if s, ok := a.(string); ok {
			args, ok := b.(tuple)
			if !ok {
				args = tuple{b}
			}
			return r.percent(s, args)
		}
	}
	return nil, fmt.Errorf("unsupported operand type(s) for %s: '%s' and '%s'", op, typeName(a), typeName(b))
}

func intOp(op string, x, y int) (any, error) {
	switch op {
	case "+":
		return x + y, nil
	case "-":
		return x - y, nil
	case "*":
		return x * y, nil
	case "//", "%":
		if y == 0 {
			return nil, errors.New("integer division or modulo by zero")
		}
		q, m := x/y, x%y
		if m != 0 && (m < 0) != (y < 0) {
			q, m = q-1, m+y
		}
		if op == "%" {
			return m, nil
		}
		return q, nil
	case "**":
		if y < 0 {
			return floatOp(op, float64(x), float64(y))
		}
		n := 1
		for ; y > 0; y >>= 1 {
			if y&1 == 1 {
				n *= x
			}
			x *= x
		}
		return n, nil
	}
	return floatOp(op, float64(x), float64(y))
}

func floatOp(op string, x, y float64) (any, error) {
	switch op {
	case "+":
		return x + y, nil
	case "-":
		return x - y, nil
	case "*":
		return x * y, nil
	case "**":
		return math.Pow(x, y), nil
	}
	if y == 0 {
		return nil, errors.New("division by zero")
	}
	switch op {
	case "/":
		return x / y, nil
	case "//":
		return math.Floor(x / y), nil
	}
	return x - y*math.Floor(x/y), nil
}

func (r *run) slice(e *sliceExpr, s *scope) (any, error) {
	v, err := r.eval(e.e, s)
	if err != nil {
		return nil, err
	}
	var at3 [3]*int
	for i, p := range e.parts {
		if p == nil {
			continue
		}
		x, err := r.eval(p, s)
		if err != nil {
			return nil, err
		}
		if x == nil {
			continue
		}
		n, ok := integer(x)
		if !ok {
			return nil, at(e.line, errors.New("slice indices must be integers or None"))
		}
		at3[i] = &n
	}
	var items []any
	text, isText := v.(string)
	if isText {
		items, _ = iterate(text)
	} else if l, ok := sequence(v); ok {
		items = l
	} else if u, ok := v.(undefined); ok {
		return nil, at(e.line, u.err())
	} else {
		return nil, at(e.line, fmt.Errorf("'%s' object cannot be sliced", typeName(v)))
	}
	if err := r.alloc(16 * len(items)); err != nil {
		return nil, err
	}
	out, err := cut(items, at3)
	if err != nil {
		return nil, at(e.line, err)
	}
	switch {
	case isText:
		var b strings.Builder
		for _, x := range out {
			b.WriteString(x.(string))
		}
		return b.String(), nil
	case typeName(v) == "tuple":
		return tuple(out), nil
	}
	return out, nil
}

// cut is Python's extended slicing.
func cut(l []any, p [3]*int) ([]any, error) {
	step, n := 1, len(l)
	if p[2] != nil {
		step = *p[2]
	}
	if step == 0 {
		return nil, errors.New("slice step cannot be zero")
	}
	lo, hi := 0, n // bounds that an index is clamped to
	if step < 0 {
		lo, hi = -1, n-1
	}
	clamp := func(v *int, def int) int {
		if v == nil {
			return def
		}
		i := *v
		if i < 0 {
			i += n
		}
		return min(max(i, lo), hi)
	}
	start, stop := clamp(p[0], lo), clamp(p[1], hi)
	if step < 0 {
		start, stop = clamp(p[0], hi), clamp(p[1], lo)
	}
	out := []any{}
	for i := start; step > 0 && i < stop || step < 0 && i > stop; i += step {
		out = append(out, l[i])
		if step > n || step < -n {
			break
		}
	}
	return out, nil
}

func (r *run) call(e *callExpr, s *scope, extra map[string]any) (any, error) {
	f, err := r.eval(e.f, s)
	if err != nil {
		return nil, err
	}
	args, named, err := r.args(e.args, e.names, e.values, s)
	if err != nil {
		return nil, err
	}
	maps.Copy(named, extra)
	switch f := f.(type) {
	case Func:
		v, err := f(args, named)
		if err != nil {
			return nil, err
		}
		return v, r.made(v)
	case *loop:
		if f.recurse != nil {
			return f.recurse(args, named)
		}
	case undefined:
		return nil, f.err()
	}
	return nil, fmt.Errorf("'%s' object is not callable", typeName(f))
}

// made counts what a function, filter or method has given.
func (r *run) made(v any) error {
	switch v := v.(type) {
	case string:
		return r.alloc(len(v))
	case []any:
		return r.alloc(16 * len(v))
	}
	return nil
}

func (r *run) args(es []expr, names []string, values []expr, s *scope) ([]any, map[string]any, error) {
	args, err := r.evals(es, s)
	if err != nil {
		return nil, nil, err
	}
	named := map[string]any{}
	for i, n := range names {
		if named[n], err = r.eval(values[i], s); err != nil {
			return nil, nil, err
		}
	}
	return args, named, nil
}

func (r *run) filter(e *filterExpr, s *scope) (any, error) {
	in, err := r.eval(e.in, s)
	if err != nil {
		return nil, err
	}
	args, named, err := r.args(e.args, e.names, e.values, s)
	if err != nil {
		return nil, err
	}
	v, err := filters[e.name](r, in, args, named)
	if err == nil {
		err = r.made(v)
	}
	return v, at(e.line, err)
}

func (r *run) test(e *testExpr, s *scope) (any, error) {
	in, err := r.eval(e.in, s)
	if err != nil {
		return nil, err
	}
	args, err := r.evals(e.args, s)
	if err != nil {
		return nil, err
	}
	ok, err := tests[e.name](in, args)
	return ok, at(e.line, err)
}
