package jinja

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
)

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
		if l, m, ok := sequences(a, b); ok {
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
			if err := r.copies(y, len(s)); err != nil {
				return nil, err
			}
			return strings.Repeat(s, max(0, y)), nil
		}
		if l, ok := a.([]any); ok && yi {
			if err := r.copies(y, 16*len(l)); err != nil {
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
