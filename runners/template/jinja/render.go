package jinja

import (
	"errors"
	"fmt"
	"maps"
	"strings"
)

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
