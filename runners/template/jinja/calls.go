package jinja

import (
	"fmt"
	"maps"
)

func (r *run) call(e *callExpr, s *scope, extra map[string]any) (any, error) {
	f, err := r.eval(e.f, s)
	if err != nil {
		return nil, err
	}
	args, named, err := r.args(e.args, s)
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

func (r *run) args(a arguments, s *scope) (placed []any, named map[string]any, err error) {
	if placed, err = r.evals(a.placed, s); err != nil {
		return nil, nil, err
	}
	named = map[string]any{}
	for i, n := range a.names {
		if named[n], err = r.eval(a.named[i], s); err != nil {
			return nil, nil, err
		}
	}
	return placed, named, nil
}

func (r *run) filter(e *filterExpr, s *scope) (any, error) {
	in, err := r.eval(e.in, s)
	if err != nil {
		return nil, err
	}
	args, named, err := r.args(e.args, s)
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
