package jinja

import (
	"fmt"
	"slices"
	"strings"
)

func equal(a, b any) bool {
	if x, ok := number(a); ok {
		y, ok := number(b)
		return ok && x == y
	}
	switch a := a.(type) {
	case nil:
		return b == nil
	case string:
		s, ok := b.(string)
		return ok && a == s
	case undefined:
		_, ok := b.(undefined)
		return ok
	case []any:
		l, ok := b.([]any)
		return ok && slices.EqualFunc(a, l, equal)
	case tuple:
		l, ok := b.(tuple)
		return ok && slices.EqualFunc(a, l, equal)
	case *Dict:
		d, ok := b.(*Dict)
		if !ok || len(a.keys) != len(d.keys) {
			return false
		}
		for _, k := range a.keys {
			if v, ok := d.vals[k]; !ok || !equal(a.vals[k], v) {
				return false
			}
		}
		return true
	case *Namespace:
		return a == b
	case *loop:
		return a == b
	}
	return false
}

// order compares like Python's <, which some types do not have.
func order(a, b any) (int, error) {
	x, ok := number(a)
	y, ok2 := number(b)
	if ok && ok2 {
		switch {
		case x < y:
			return -1, nil
		case x > y:
			return 1, nil
		}
		return 0, nil
	}
	s, ok := a.(string)
	t, ok2 := b.(string)
	if ok && ok2 {
		return strings.Compare(s, t), nil
	}
	if l, m, ok := sequences(a, b); ok {
		for i := range min(len(l), len(m)) {
			if !equal(l[i], m[i]) {
				return order(l[i], m[i])
			}
		}
		return len(l) - len(m), nil
	}
	if u, ok := a.(undefined); ok {
		return 0, u.err()
	}
	if u, ok := b.(undefined); ok {
		return 0, u.err()
	}
	return 0, fmt.Errorf("'<' not supported between instances of '%s' and '%s'", typeName(a), typeName(b))
}

func contains(in, v any) (bool, error) {
	switch in := in.(type) {
	case string:
		s, ok := v.(string)
		if !ok {
			if u, ok := v.(undefined); ok {
				return false, u.err()
			}
			return false, fmt.Errorf("'in <string>' requires string as left operand, not %s", typeName(v))
		}
		return strings.Contains(in, s), nil
	case *Dict:
		_, ok := in.Get(v)
		return ok, nil
	}
	items, err := iterate(in)
	if err != nil {
		return false, fmt.Errorf("argument of type '%s' is not iterable", typeName(in))
	}
	return slices.ContainsFunc(items, func(x any) bool { return equal(x, v) }), nil
}
