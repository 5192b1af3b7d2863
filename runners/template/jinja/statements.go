package jinja

import (
	"errors"
	"fmt"
	"strings"
)

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
