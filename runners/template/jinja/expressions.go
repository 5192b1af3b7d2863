package jinja

import "fmt"

type expr any

// arguments of a call: those by place, then those by name.
type arguments struct {
	placed []expr
	names  []string
	named  []expr // one per name
}

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
		f    expr
		args arguments
		line int
	}
	filterExpr struct {
		in   expr
		name string
		args arguments
		line int
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
		a, b, err := r.evalTwo(e.l, e.r, s)
		if err != nil {
			return nil, err
		}
		v, err := r.binary(e.op, a, b)
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
		v, k, err := r.evalTwo(e.e, e.key, s)
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

func (r *run) evalTwo(e, f expr, s *scope) (v, w any, err error) {
	if v, err = r.eval(e, s); err != nil {
		return nil, nil, err
	}
	w, err = r.eval(f, s)
	return v, w, err
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
