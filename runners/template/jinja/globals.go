package jinja

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
)

// globals are the names that every template sees.
var globals = map[string]any{
	"dict": Func(func(a []any, n map[string]any) (any, error) {
		d := NewDict()
		for _, v := range a {
			if from, ok := v.(*Dict); ok {
				for _, k := range from.keys {
					d.Set(k, from.vals[k])
				}
			}
		}
		for _, k := range slices.Sorted(maps.Keys(n)) {
			d.Set(k, n[k])
		}
		return d, nil
	}),
	"namespace": Func(func(a []any, n map[string]any) (any, error) {
		ns := &Namespace{map[string]any{}}
		for _, v := range a {
			if d, ok := v.(*Dict); ok {
				for _, k := range d.keys {
					ns.vals[str(k)] = d.vals[k]
				}
			}
		}
		for k, v := range n {
			ns.vals[k] = v
		}
		return ns, nil
	}),
	"raise_exception": Func(func(a []any, _ map[string]any) (any, error) { return nil, &Raised{str(first(a))} }),
	"range":           Func(span),
}

// maxRange is that of Jinja2's sandbox.
const maxRange = 100000

func span(a []any, _ map[string]any) (any, error) {
	p := [3]int{0, 0, 1}
	if len(a) == 0 || len(a) > 3 {
		return nil, fmt.Errorf("range expected 1 to 3 arguments, got %d", len(a))
	}
	for i, v := range a {
		n, ok := integer(v)
		if !ok {
			return nil, fmt.Errorf("'%s' object cannot be interpreted as an integer", typeName(v))
		}
		p[i] = n
	}
	if len(a) == 1 {
		p[0], p[1] = 0, p[0]
	}
	if p[2] == 0 {
		return nil, errors.New("range() arg 3 must not be zero")
	}
	n := math.Ceil((float64(p[1]) - float64(p[0])) / float64(p[2]))
	if n > maxRange {
		return nil, fmt.Errorf("range of %.0f items; the sandbox allows %d", n, maxRange)
	}
	out := make([]any, max(0, int(n)))
	for i := range out {
		out[i] = p[0] + i*p[2]
	}
	return out, nil
}
