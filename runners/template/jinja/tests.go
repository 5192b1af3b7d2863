package jinja

import (
	"cmp"
	"slices"
	"strings"
	"unicode"
)

// testFunc is what follows "is": it asks something of a value.
type testFunc func(in any, args []any) (bool, error)

var tests = map[string]testFunc{
	"boolean":  isA[bool],
	"callable": isA[Func],
	"defined":  is(func(v any) bool { _, ok := v.(undefined); return !ok }),
	"divisibleby": func(in any, a []any) (bool, error) {
		v, err := (&run{limits: DefaultLimits}).binary("%", in, first(a))
		return err == nil && equal(v, 0), err
	},
	// The operators are names for select and its kin; the parser takes no
	// operator behind "is".
	"==": same(true), "eq": same(true), "equalto": same(true),
	"!=": same(false), "ne": same(false),
	"<": ordered(-1), "lt": ordered(-1), "lessthan": ordered(-1),
	"<=": ordered(-1, 0), "le": ordered(-1, 0),
	">": ordered(1), "gt": ordered(1), "greaterthan": ordered(1),
	">=": ordered(0, 1), "ge": ordered(0, 1),
	"even":    is(func(v any) bool { n, ok := integer(v); return ok && n%2 == 0 }),
	"odd":     is(func(v any) bool { n, ok := integer(v); return ok && n%2 != 0 }),
	"false":   is(func(v any) bool { return v == false }),
	"true":    is(func(v any) bool { return v == true }),
	"float":   isA[float64],
	"in":      func(in any, a []any) (bool, error) { return contains(first(a), in) },
	"integer": isA[int],
	"iterable": is(func(v any) bool {
		_, err := iterate(v)
		return err == nil
	}),
	"lower":   is(func(v any) bool { return cased(str(v), unicode.IsLower, unicode.IsUpper) }),
	"upper":   is(func(v any) bool { return cased(str(v), unicode.IsUpper, unicode.IsLower) }),
	"mapping": isA[*Dict],
	"none":    is(func(v any) bool { return v == nil }),
	"number":  is(func(v any) bool { _, ok := number(v); return ok }),
	"sameas": func(in any, a []any) (bool, error) {
		x := first(a)
		return typeName(in) == typeName(x) && equal(in, x), nil
	},
	"sequence": is(func(v any) bool {
		_, err := length(v)
		return err == nil
	}),
	"string":    isA[string],
	"undefined": isA[undefined],
}

// is makes a test that takes no argument.
func is(f func(any) bool) testFunc {
	return func(in any, _ []any) (bool, error) { return f(in), nil }
}

// isA makes a test of a value's type.
func isA[T any](in any, _ []any) (bool, error) {
	_, ok := in.(T)
	return ok, nil
}

func same(want bool) testFunc {
	return func(in any, a []any) (bool, error) { return equal(in, first(a)) == want, nil }
}

// ordered holds where the value compares to the argument with one of signs.
func ordered(signs ...int) testFunc {
	return func(in any, a []any) (bool, error) {
		c, err := order(in, first(a))
		return slices.Contains(signs, cmp.Compare(c, 0)), err
	}
}

// cased says whether s has a cased character and none of the other case.
func cased(s string, is, other func(rune) bool) bool {
	return strings.IndexFunc(s, is) >= 0 && strings.IndexFunc(s, other) < 0
}
