package jinja

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

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
		if err := r.bind(m, in, args, named); err != nil {
			return nil, err
		}
		return r.capture(m.body, in)
	}
}

// bind sets the parameters of a macro in the scope of its body.
func (r *run) bind(m *macro, in *scope, args []any, named map[string]any) error {
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
			return fmt.Errorf("macro '%s' got multiple values for argument '%s'", m.name, k)
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
				return err
			}
		case !ok:
			v = undefined{fmt.Sprintf("parameter '%s' was not provided", p)}
		}
		in.vars[p] = v
	}
	return nil
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
