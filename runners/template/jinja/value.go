package jinja

import (
	"errors"
	"math"
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

// number gives a bool, int or float64 as a float64.
func number(v any) (float64, bool) {
	if n, ok := integer(v); ok {
		return float64(n), true
	}
	f, ok := v.(float64)
	return f, ok
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
