package jinja

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
)

func filterLength(_ *run, in any, _ []any, _ map[string]any) (any, error) { return length(in) }

func filterFirst(l []any) (any, error) {
	if len(l) == 0 {
		return undefined{"no first item, sequence was empty."}, nil
	}
	return l[0], nil
}

func filterLast(l []any) (any, error) {
	if len(l) == 0 {
		return undefined{"no last item, sequence was empty."}, nil
	}
	return l[len(l)-1], nil
}

func filterItems(_ *run, in any, _ []any, _ map[string]any) (any, error) {
	switch v := in.(type) {
	case undefined:
		return []any{}, nil
	case *Dict:
		return v.items(), nil
	}
	return nil, errors.New("can only get item pairs from a mapping")
}

func (d *Dict) items() []any {
	out := make([]any, len(d.keys))
	for i, k := range d.keys {
		out[i] = tuple{k, d.vals[k]}
	}
	return out
}

func filterDictsort(_ *run, in any, a []any, n map[string]any) (any, error) {
	d, ok := in.(*Dict)
	if !ok {
		return nil, fmt.Errorf("dictsort of a '%s'", typeName(in))
	}
	sensitive, _ := arg(a, n, 0, "case_sensitive")
	by, _ := arg(a, n, 1, "by")
	reverse, _ := arg(a, n, 2, "reverse")
	place := 0
	if by == "value" {
		place = 1
	}
	return sorted(d.items(), truth(reverse), truth(sensitive), func(v any) any { return v.(tuple)[place] })
}

// sorted sorts stably by a key; strings without regard to case unless sensitive.
func sorted(l []any, reverse, sensitive bool, key func(any) any) (any, error) {
	out := slices.Clone(l)
	var failed error
	by := key
	if !sensitive {
		by = func(v any) any { return fold(key(v)) }
	}
	slices.SortStableFunc(out, func(a, b any) int {
		c, err := order(by(a), by(b))
		if err != nil {
			failed = err
		}
		if reverse {
			return -c
		}
		return c
	})
	return append([]any{}, out...), failed
}

// fold makes strings that differ in case alone equal.
func fold(v any) any {
	if s, ok := v.(string); ok {
		return strings.ToLower(s)
	}
	return v
}

func unique(l []any) []any {
	out := []any{}
	for _, v := range l {
		if !slices.ContainsFunc(out, func(x any) bool { return equal(fold(x), fold(v)) }) {
			out = append(out, v)
		}
	}
	return out
}

func filterSort(_ *run, in any, a []any, n map[string]any) (any, error) {
	l, err := iterate(in)
	if err != nil {
		return nil, err
	}
	reverse, _ := arg(a, n, 0, "reverse")
	sensitive, _ := arg(a, n, 1, "case_sensitive")
	return sorted(l, truth(reverse), truth(sensitive), byAttribute(a, n, 2))
}

func filterJoin(r *run, in any, a []any, n map[string]any) (any, error) {
	l, err := iterate(in)
	if err != nil {
		return nil, err
	}
	sep := ""
	if v, ok := arg(a, n, 0, "d"); ok {
		sep = str(v)
	}
	of := byAttribute(a, n, 1)
	parts := make([]string, len(l))
	size := 0
	for i, v := range l {
		parts[i] = str(of(v))
		if size += len(parts[i]) + len(sep); size > r.limits.Memory {
			return nil, r.alloc(math.MaxInt)
		}
	}
	return strings.Join(parts, sep), nil
}

func filterMap(r *run, in any, a []any, n map[string]any) (any, error) {
	l, err := iterate(in)
	if err != nil {
		return nil, err
	}
	if name, ok := n["attribute"]; ok {
		return attributes(l, name, n), nil
	}
	if len(a) == 0 {
		return nil, errors.New("map requires a filter argument")
	}
	f, ok := filters[str(a[0])]
	if !ok {
		return nil, fmt.Errorf("no filter named %s", repr(a[0]))
	}
	out := make([]any, len(l))
	for i, v := range l {
		if err := r.step(); err != nil {
			return nil, err
		}
		if out[i], err = f(r, v, a[1:], n); err != nil {
			return nil, err
		}
		if err := r.made(out[i]); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// attributes gives an attribute of each item, or the default of the filter map.
func attributes(l []any, name any, named map[string]any) []any {
	out := make([]any, len(l))
	for i, v := range l {
		out[i] = path(v, name)
		if _, ok := out[i].(undefined); !ok {
			continue
		}
		if d, ok := named["default"]; ok {
			out[i] = d
		}
	}
	return out
}

// pick makes select, reject, selectattr and rejectattr.
func pick(byAttr, keep bool) filterFunc {
	return func(r *run, in any, a []any, _ map[string]any) (any, error) {
		l, err := iterate(in)
		if err != nil {
			return nil, err
		}
		get := func(v any) any { return v }
		if byAttr {
			if len(a) == 0 {
				return nil, errors.New("the name of an attribute is missing")
			}
			name := a[0]
			get, a = func(v any) any { return path(v, name) }, a[1:]
		}
		test := func(v any, _ []any) (bool, error) { return truth(v), nil }
		if len(a) > 0 {
			f, ok := tests[str(a[0])]
			if !ok {
				return nil, fmt.Errorf("no test named %s", repr(a[0]))
			}
			test, a = f, a[1:]
		}
		out := []any{}
		for _, v := range l {
			if err := r.step(); err != nil {
				return nil, err
			}
			ok, err := test(get(v), a)
			if err != nil {
				return nil, err
			}
			if ok == keep {
				out = append(out, v)
			}
		}
		return out, nil
	}
}

func extreme(l []any, sign int) (any, error) {
	if len(l) == 0 {
		return undefined{"No aggregated item, sequence was empty."}, nil
	}
	best := l[0]
	for _, v := range l[1:] {
		c, err := order(v, best)
		if err != nil {
			return nil, err
		}
		if c*sign > 0 {
			best = v
		}
	}
	return best, nil
}

func filterReverse(_ *run, in any, _ []any, _ map[string]any) (any, error) {
	l, err := iterate(in)
	if err != nil {
		return nil, err
	}
	out := append([]any{}, l...)
	slices.Reverse(out)
	if _, ok := in.(string); ok {
		return strings.Join(strs(out), ""), nil
	}
	return out, nil
}

func strs(l []any) []string {
	out := make([]string, len(l))
	for i, v := range l {
		out[i] = str(v)
	}
	return out
}

func filterSum(r *run, in any, a []any, n map[string]any) (any, error) {
	l, err := iterate(in)
	if err != nil {
		return nil, err
	}
	of := byAttribute(a, n, 0)
	total, ok := arg(a, n, 1, "start")
	if !ok {
		total = 0
	}
	for _, v := range l {
		if total, err = r.binary("+", total, of(v)); err != nil {
			return nil, err
		}
	}
	return total, nil
}

func filterBatch(_ *run, in any, a []any, n map[string]any) (any, error) {
	l, err := iterate(in)
	if err != nil {
		return nil, err
	}
	count, _ := arg(a, n, 0, "linecount")
	size, ok := integer(count)
	if !ok || size < 1 || size > maxRange {
		return nil, errors.New("batch: a bad count")
	}
	fill, filled := arg(a, n, 1, "fill_with")
	out := []any{}
	for c := range slices.Chunk(l, size) {
		c = slices.Clone(c)
		for filled && fill != nil && len(c) < size {
			c = append(c, fill)
		}
		out = append(out, c)
	}
	return out, nil
}
