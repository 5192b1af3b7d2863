package jinja

import (
	"errors"
	"fmt"
	"strings"
)

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
