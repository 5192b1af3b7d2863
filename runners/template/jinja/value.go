package jinja

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Values are nil, bool, int, float64, string, []any (list), tuple, *Dict,
// undefined, Func, *Namespace and *loop.

// Func is a function that a template may call.
type Func func(args []any, named map[string]any) (any, error)

type tuple []any

// undefined is what a name or attribute that does not exist gives. why is the
// error of using it.
type undefined struct{ why string }

func (u undefined) err() error { return errors.New(u.why) }

// Dict is a Python dict: it keeps the order of its keys.
type Dict struct {
	keys []any
	vals map[any]any
}

// NewDict gives an empty dict.
func NewDict() *Dict { return &Dict{vals: map[any]any{}} }

// Set adds or replaces an entry. The key must be nil, bool, int, float64 or string.
func (d *Dict) Set(k, v any) {
	k = hashKey(k)
	if _, ok := d.vals[k]; !ok {
		d.keys = append(d.keys, k)
	}
	d.vals[k] = v
}

// Get gives an entry.
func (d *Dict) Get(k any) (any, bool) {
	if !hashable(k) {
		return nil, false
	}
	v, ok := d.vals[hashKey(k)]
	return v, ok
}

func hashable(k any) bool {
	switch k.(type) {
	case nil, bool, int, float64, string:
		return true
	}
	return false
}

// hashKey makes equal numbers equal keys.
func hashKey(k any) any {
	switch k := k.(type) {
	case bool:
		if k {
			return 1
		}
		return 0
	case float64:
		if k == math.Trunc(k) && math.Abs(k) < 1<<53 {
			return int(k)
		}
	}
	return k
}

// Namespace is what namespace() makes.
type Namespace struct{ vals map[string]any }

func truth(v any) bool {
	switch v := v.(type) {
	case nil, undefined:
		return false
	case bool:
		return v
	case int:
		return v != 0
	case float64:
		return v != 0
	case string:
		return v != ""
	case []any:
		return len(v) > 0
	case tuple:
		return len(v) > 0
	case *Dict:
		return len(v.keys) > 0
	}
	return true
}

func typeName(v any) string {
	switch v.(type) {
	case nil:
		return "NoneType"
	case bool:
		return "bool"
	case int:
		return "int"
	case float64:
		return "float"
	case string:
		return "str"
	case []any:
		return "list"
	case tuple:
		return "tuple"
	case *Dict:
		return "dict"
	case undefined:
		return "Undefined"
	case Func:
		return "function"
	}
	return "object"
}

// str is Python's str().
func str(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case undefined:
		return ""
	}
	return repr(v)
}

// repr is Python's repr(). Values are never cyclic: nothing that they hold can
// be changed, but by way of a namespace, which is not shown.
func repr(v any) string {
	switch v := v.(type) {
	case nil:
		return "None"
	case bool:
		if v {
			return "True"
		}
		return "False"
	case int:
		return strconv.Itoa(v)
	case float64:
		return float(v)
	case string:
		return quote(v)
	case []any:
		return "[" + reprs(v) + "]"
	case tuple:
		if len(v) == 1 {
			return "(" + repr(v[0]) + ",)"
		}
		return "(" + reprs(v) + ")"
	case *Dict:
		parts := make([]string, len(v.keys))
		for i, k := range v.keys {
			parts[i] = repr(k) + ": " + repr(v.vals[k])
		}
		return "{" + strings.Join(parts, ", ") + "}"
	case undefined:
		return "Undefined"
	}
	return "<" + typeName(v) + ">"
}

func reprs(vs []any) string {
	parts := make([]string, len(vs))
	for i, v := range vs {
		parts[i] = repr(v)
	}
	return strings.Join(parts, ", ")
}

func quote(s string) string {
	q := byte('\'')
	if strings.Contains(s, "'") && !strings.Contains(s, `"`) {
		q = '"'
	}
	var b strings.Builder
	b.WriteByte(q)
	for _, r := range s {
		switch {
		case r == rune(q) || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\t':
			b.WriteString(`\t`)
		case r == '\r':
			b.WriteString(`\r`)
		case unicode.IsPrint(r):
			b.WriteRune(r)
		case r < 0x100:
			fmt.Fprintf(&b, `\x%02x`, r)
		case r < 0x10000:
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			fmt.Fprintf(&b, `\U%08x`, r)
		}
	}
	b.WriteByte(q)
	return b.String()
}

// float is Python's repr of a float.
func float(f float64) string {
	switch {
	case math.IsNaN(f):
		return "nan"
	case math.IsInf(f, 1):
		return "inf"
	case math.IsInf(f, -1):
		return "-inf"
	}
	s := strconv.FormatFloat(f, 'e', -1, 64)
	i := strings.IndexByte(s, 'e')
	if exp, err := strconv.Atoi(s[i+1:]); err == nil && exp >= -4 && exp < 16 {
		s = strconv.FormatFloat(f, 'f', -1, 64)
		if !strings.Contains(s, ".") {
			s += ".0"
		}
	}
	return s
}

// number gives a bool, int or float64 as a float64.
func number(v any) (float64, bool) {
	switch v := v.(type) {
	case bool:
		if v {
			return 1, true
		}
		return 0, true
	case int:
		return float64(v), true
	case float64:
		return v, true
	}
	return 0, false
}

func integer(v any) (int, bool) {
	switch v := v.(type) {
	case bool:
		if v {
			return 1, true
		}
		return 0, true
	case int:
		return v, true
	}
	return 0, false
}

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
	l, ok := sequence(a)
	m, ok2 := sequence(b)
	if ok && ok2 && typeName(a) == typeName(b) {
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

func sequence(v any) ([]any, bool) {
	switch v := v.(type) {
	case []any:
		return v, true
	case tuple:
		return v, true
	}
	return nil, false
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
