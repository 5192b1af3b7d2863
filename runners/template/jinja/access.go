package jinja

import (
	"fmt"
	"unicode/utf8"
)

func sequence(v any) ([]any, bool) {
	switch v := v.(type) {
	case []any:
		return v, true
	case tuple:
		return v, true
	}
	return nil, false
}

// sequences gives two lists, or two tuples.
func sequences(a, b any) (l, m []any, ok bool) {
	l, okA := sequence(a)
	m, okB := sequence(b)
	return l, m, okA && okB && typeName(a) == typeName(b)
}

// iterate gives what a for loop goes through.
func iterate(v any) ([]any, error) {
	switch v := v.(type) {
	case []any:
		return v, nil
	case tuple:
		return v, nil
	case undefined:
		return nil, nil
	case *Dict:
		return v.keys, nil
	case string:
		out := make([]any, 0, len(v))
		for _, r := range v {
			out = append(out, string(r))
		}
		return out, nil
	}
	return nil, fmt.Errorf("'%s' object is not iterable", typeName(v))
}

func length(v any) (int, error) {
	switch v := v.(type) {
	case string:
		return utf8.RuneCountInString(v), nil
	case *Dict:
		return len(v.keys), nil
	case undefined:
		return 0, nil
	}
	if l, ok := sequence(v); ok {
		return len(l), nil
	}
	return 0, fmt.Errorf("object of type '%s' has no len()", typeName(v))
}

// item is v[k] in a template: an item, else an attribute.
func item(v, k any) any {
	if n, ok := integer(k); ok {
		if s, ok := v.(string); ok {
			r := []rune(s)
			if n < 0 {
				n += len(r)
			}
			if n >= 0 && n < len(r) {
				return string(r[n])
			}
			return undefined{"str object has no element " + str(k)}
		}
		if l, ok := sequence(v); ok {
			if n < 0 {
				n += len(l)
			}
			if n >= 0 && n < len(l) {
				return l[n]
			}
			return undefined{typeName(v) + " object has no element " + str(k)}
		}
	}
	if d, ok := v.(*Dict); ok {
		if x, ok := d.Get(k); ok {
			return x
		}
	}
	if name, ok := k.(string); ok {
		if x, ok := member(v, name); ok {
			return x
		}
		return missing(v, name)
	}
	return undefined{fmt.Sprintf("'%s object' has no attribute %s", typeName(v), repr(k))}
}

// attr is v.name in a template: an attribute, else an item.
func attr(v any, name string) any {
	if x, ok := member(v, name); ok {
		return x
	}
	if d, ok := v.(*Dict); ok {
		if x, ok := d.Get(name); ok {
			return x
		}
	}
	return missing(v, name)
}

func missing(v any, name string) any {
	if v == nil {
		return undefined{fmt.Sprintf("'None' has no attribute '%s'", name)}
	}
	return undefined{fmt.Sprintf("'%s object' has no attribute '%s'", typeName(v), name)}
}

// member gives an attribute of a value: a method, a field of a namespace or of
// a loop.
func member(v any, name string) (any, bool) {
	switch v := v.(type) {
	case *Namespace:
		x, ok := v.vals[name]
		return x, ok
	case *loop:
		return v.member(name)
	case *Dict:
		if f, ok := dictMethods[name]; ok {
			return Func(func(a []any, n map[string]any) (any, error) { return f(v, a) }), true
		}
	case string:
		if f, ok := strMethods[name]; ok {
			return Func(func(a []any, n map[string]any) (any, error) { return f(v, a, n) }), true
		}
	}
	if l, ok := sequence(v); ok {
		switch name {
		case "index", "count":
			return Func(func(a []any, _ map[string]any) (any, error) { return find(l, a, name) }), true
		}
	}
	return nil, false
}

func find(l []any, a []any, name string) (any, error) {
	if len(a) != 1 {
		return nil, fmt.Errorf("%s takes one argument", name)
	}
	n := 0
	for i, x := range l {
		if equal(x, a[0]) {
			if name == "index" {
				return i, nil
			}
			n++
		}
	}
	if name == "index" {
		return nil, fmt.Errorf("%s is not in list", repr(a[0]))
	}
	return n, nil
}
