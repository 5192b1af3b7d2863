package jinja

import (
	"errors"
	"strings"
)

type forStmt struct {
	target     []*nameRef
	iter, cond expr
	recursive  bool
	body       []stmt
	other      []stmt
	line       int
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
		if items, err = f.filtered(r, s, items); err != nil {
			return at(f.line, err)
		}
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

// filtered gives the items that the condition of the loop holds for.
func (f *forStmt) filtered(r *run, s *scope, items []any) ([]any, error) {
	var kept []any
	for _, x := range items {
		in := inner(s)
		if err := r.assign(f.target, x, in); err != nil {
			return nil, err
		}
		ok, err := r.eval(f.cond, in)
		if err != nil {
			return nil, err
		}
		if truth(ok) {
			kept = append(kept, x)
		}
	}
	return kept, nil
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

var errBreak, errContinue = errors.New("break"), errors.New("continue")

type jumpStmt struct{ stop bool }

func (j *jumpStmt) exec(*run, *scope, *strings.Builder) error {
	if j.stop {
		return errBreak
	}
	return errContinue
}
