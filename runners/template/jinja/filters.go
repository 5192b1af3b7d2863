package jinja

import (
	"errors"
	"fmt"
	"html"
	"math"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/language"
)

type filterFunc func(r *run, in any, args []any, named map[string]any) (any, error)

type testFunc func(in any, args []any) (bool, error)

var (
	filters map[string]filterFunc
	tests   map[string]testFunc
	globals map[string]any
)

// maxRange is that of Jinja2's sandbox.
const maxRange = 100000

// arg gives an argument by place or name.
func arg(args []any, named map[string]any, i int, name string) (any, bool) {
	if v, ok := named[name]; ok {
		return v, true
	}
	if i < len(args) {
		return args[i], true
	}
	return nil, false
}

// Filters that only look at the text of a value.
func text(f func(string) string) filterFunc {
	return func(_ *run, in any, _ []any, _ map[string]any) (any, error) { return f(str(in)), nil }
}

// Filters that only look at the items of a value.
func list(f func([]any) (any, error)) filterFunc {
	return func(_ *run, in any, _ []any, _ map[string]any) (any, error) {
		items, err := iterate(in)
		if err != nil {
			return nil, err
		}
		return f(items)
	}
}

func init() {
	filters = map[string]filterFunc{
		"abs":        filterAbs,
		"attr":       func(_ *run, in any, a []any, _ map[string]any) (any, error) { return attr(in, str(first(a))), nil },
		"batch":      filterBatch,
		"capitalize": text(capitalize),
		"count":      filterLength,
		"d":          filterDefault,
		"default":    filterDefault,
		"dictsort":   filterDictsort,
		"e":          text(html.EscapeString),
		"escape":     text(html.EscapeString),
		"first": list(func(l []any) (any, error) {
			if len(l) == 0 {
				return undefined{"no first item, sequence was empty."}, nil
			}
			return l[0], nil
		}),
		"float":  filterFloat,
		"format": func(r *run, in any, a []any, _ map[string]any) (any, error) { return r.percent(str(in), a) },
		"indent": filterIndent,
		"int":    filterInt,
		"items":  filterItems,
		"join":   filterJoin,
		"last": list(func(l []any) (any, error) {
			if len(l) == 0 {
				return undefined{"no last item, sequence was empty."}, nil
			}
			return l[len(l)-1], nil
		}),
		"length":     filterLength,
		"list":       list(func(l []any) (any, error) { return slices.Clone(append([]any{}, l...)), nil }),
		"lower":      text(lower),
		"map":        filterMap,
		"max":        list(func(l []any) (any, error) { return extreme(l, 1) }),
		"min":        list(func(l []any) (any, error) { return extreme(l, -1) }),
		"reject":     pick(false, false),
		"rejectattr": pick(true, false),
		"replace":    filterReplace,
		"reverse":    filterReverse,
		"round":      filterRound,
		"safe":       func(_ *run, in any, _ []any, _ map[string]any) (any, error) { return in, nil },
		"select":     pick(false, true),
		"selectattr": pick(true, true),
		"sort":       filterSort,
		"string":     text(func(s string) string { return s }),
		"sum":        filterSum,
		"title":      text(titleCase),
		"tojson":     filterJSON,
		"trim": func(_ *run, in any, a []any, n map[string]any) (any, error) {
			if c, ok := arg(a, n, 0, "chars"); ok && c != nil {
				return strings.Trim(str(in), str(c)), nil
			}
			return strings.TrimFunc(str(in), unicode.IsSpace), nil
		},
		"truncate":  filterTruncate,
		"unique":    list(func(l []any) (any, error) { return unique(l), nil }),
		"upper":     text(upper),
		"urlencode": text(func(s string) string { return strings.ReplaceAll(url.QueryEscape(s), "+", "%20") }),
		"wordcount": func(_ *run, in any, _ []any, _ map[string]any) (any, error) { return len(strings.Fields(str(in))), nil },
	}
	is := func(f func(any) bool) testFunc { return func(in any, _ []any) (bool, error) { return f(in), nil } }
	compare := func(f func(int) bool) testFunc {
		return func(in any, a []any) (bool, error) { c, err := order(in, first(a)); return f(c), err }
	}
	eq := func(in any, a []any) (bool, error) { return equal(in, first(a)), nil }
	ne := func(in any, a []any) (bool, error) { return !equal(in, first(a)), nil }
	lt, le := compare(func(c int) bool { return c < 0 }), compare(func(c int) bool { return c <= 0 })
	gt, ge := compare(func(c int) bool { return c > 0 }), compare(func(c int) bool { return c >= 0 })
	tests = map[string]testFunc{
		"boolean":  is(func(v any) bool { _, ok := v.(bool); return ok }),
		"callable": is(func(v any) bool { _, ok := v.(Func); return ok }),
		"defined":  is(func(v any) bool { _, ok := v.(undefined); return !ok }),
		"divisibleby": func(in any, a []any) (bool, error) {
			v, err := (&run{limits: DefaultLimits}).binary("%", in, first(a))
			return err == nil && equal(v, 0), err
		},
		"eq": eq, "equalto": eq, "ne": ne,
		"lt": lt, "lessthan": lt, "le": le, "gt": gt, "greaterthan": gt, "ge": ge,
		"even":    is(func(v any) bool { n, ok := integer(v); return ok && n%2 == 0 }),
		"odd":     is(func(v any) bool { n, ok := integer(v); return ok && n%2 != 0 }),
		"false":   is(func(v any) bool { return v == false }),
		"true":    is(func(v any) bool { return v == true }),
		"float":   is(func(v any) bool { _, ok := v.(float64); return ok }),
		"in":      func(in any, a []any) (bool, error) { return contains(first(a), in) },
		"integer": is(func(v any) bool { _, ok := v.(int); return ok }),
		"iterable": is(func(v any) bool {
			_, err := iterate(v)
			return err == nil
		}),
		"lower":   is(func(v any) bool { return cased(str(v), unicode.IsLower, unicode.IsUpper) }),
		"upper":   is(func(v any) bool { return cased(str(v), unicode.IsUpper, unicode.IsLower) }),
		"mapping": is(func(v any) bool { _, ok := v.(*Dict); return ok }),
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
		"string":    is(func(v any) bool { _, ok := v.(string); return ok }),
		"undefined": is(func(v any) bool { _, ok := v.(undefined); return ok }),
	}
	globals = map[string]any{
		"dict": Func(func(a []any, n map[string]any) (any, error) {
			d := NewDict()
			for _, v := range a {
				if from, ok := v.(*Dict); ok {
					for _, k := range from.keys {
						d.Set(k, from.vals[k])
					}
				}
			}
			for _, k := range sortedKeys(n) {
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
}

func first(a []any) any {
	if len(a) == 0 {
		return undefined{"an argument is missing"}
	}
	return a[0]
}

func sortedKeys(n map[string]any) []string {
	var out []string
	for k := range n {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

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

func filterAbs(_ *run, in any, _ []any, _ map[string]any) (any, error) {
	switch v := in.(type) {
	case int:
		return max(v, -v), nil
	case float64:
		return math.Abs(v), nil
	}
	return nil, fmt.Errorf("bad operand type for abs(): '%s'", typeName(in))
}

func filterLength(_ *run, in any, _ []any, _ map[string]any) (any, error) { return length(in) }

func filterDefault(_ *run, in any, a []any, n map[string]any) (any, error) {
	def, ok := arg(a, n, 0, "default_value")
	if !ok {
		def = ""
	}
	falsy, _ := arg(a, n, 1, "boolean")
	if _, ok := in.(undefined); ok || truth(falsy) && !truth(in) {
		return def, nil
	}
	return in, nil
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
	fold := func(v any) any {
		v = key(v)
		if s, ok := v.(string); ok && !sensitive {
			return strings.ToLower(s)
		}
		return v
	}
	slices.SortStableFunc(out, func(a, b any) int {
		c, err := order(fold(a), fold(b))
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

func filterSort(_ *run, in any, a []any, n map[string]any) (any, error) {
	l, err := iterate(in)
	if err != nil {
		return nil, err
	}
	reverse, _ := arg(a, n, 0, "reverse")
	sensitive, _ := arg(a, n, 1, "case_sensitive")
	key := func(v any) any { return v }
	if name, ok := arg(a, n, 2, "attribute"); ok && name != nil {
		key = func(v any) any { return path(v, name) }
	}
	return sorted(l, truth(reverse), truth(sensitive), key)
}

// path follows a dotted attribute.
func path(v, name any) any {
	if n, ok := integer(name); ok {
		return item(v, n)
	}
	for _, p := range strings.Split(str(name), ".") {
		if n, err := strconv.Atoi(p); err == nil {
			v = item(v, n)
		} else {
			v = item(v, p)
		}
	}
	return v
}

func filterFloat(_ *run, in any, a []any, n map[string]any) (any, error) {
	if f, ok := number(in); ok {
		return f, nil
	}
	if f, err := strconv.ParseFloat(strings.TrimSpace(str(in)), 64); err == nil {
		return f, nil
	}
	if d, ok := arg(a, n, 0, "default"); ok {
		return d, nil
	}
	return 0.0, nil
}

func filterInt(_ *run, in any, a []any, n map[string]any) (any, error) {
	if f, ok := number(in); ok && math.Abs(f) < 1<<62 {
		if i, ok := in.(int); ok {
			return i, nil
		}
		return int(f), nil
	}
	s := strings.TrimSpace(str(in))
	if i, err := strconv.Atoi(s); err == nil {
		return i, nil
	}
	if f, err := strconv.ParseFloat(s, 64); err == nil && math.Abs(f) < 1<<62 {
		return int(f), nil
	}
	if d, ok := arg(a, n, 0, "default"); ok {
		return d, nil
	}
	return 0, nil
}

func filterIndent(r *run, in any, a []any, n map[string]any) (any, error) {
	width, pad := 4, ""
	if v, ok := arg(a, n, 0, "width"); ok {
		if s, ok := v.(string); ok {
			pad = s
		} else if i, ok := integer(v); ok && i <= 1000 {
			width = max(0, i)
		} else {
			return nil, errors.New("a bad width")
		}
	}
	if pad == "" {
		pad = strings.Repeat(" ", width)
	}
	head, _ := arg(a, n, 1, "first")
	blank, _ := arg(a, n, 2, "blank")
	lines := strings.Split(str(in), "\n")
	if err := r.alloc(len(lines) * len(pad)); err != nil {
		return nil, err
	}
	for i := range lines {
		if (i > 0 || truth(head)) && (lines[i] != "" || truth(blank)) {
			lines[i] = pad + lines[i]
		}
	}
	return strings.Join(lines, "\n"), nil
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
	name, by := arg(a, n, 1, "attribute")
	parts := make([]string, len(l))
	size := 0
	for i, v := range l {
		if by && name != nil {
			v = path(v, name)
		}
		parts[i] = str(v)
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
	out := make([]any, len(l))
	if name, ok := n["attribute"]; ok {
		for i, v := range l {
			out[i] = path(v, name)
			if d, ok := n["default"]; ok {
				if _, un := out[i].(undefined); un {
					out[i] = d
				}
			}
		}
		return out, nil
	}
	if len(a) == 0 {
		return nil, errors.New("map requires a filter argument")
	}
	f, ok := filters[str(a[0])]
	if !ok {
		return nil, fmt.Errorf("no filter named %s", repr(a[0]))
	}
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
			name := map[any]string{"==": "eq", "!=": "ne", "<": "lt", "<=": "le", ">": "gt", ">=": "ge"}[hashKeyOrNil(a[0])]
			if name == "" {
				name = str(a[0])
			}
			f, ok := tests[name]
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

func hashKeyOrNil(v any) any {
	if hashable(v) {
		return v
	}
	return nil
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

func filterReplace(r *run, in any, a []any, n map[string]any) (any, error) {
	old, _ := arg(a, n, 0, "old")
	with, ok := arg(a, n, 1, "new")
	if !ok {
		return nil, errors.New("replace takes two arguments")
	}
	count := -1
	if v, ok := arg(a, n, 2, "count"); ok && v != nil {
		count, _ = integer(v)
	}
	return r.replace(str(in), str(old), str(with), count)
}

func (r *run) replace(s, old, with string, count int) (any, error) {
	hits := strings.Count(s, old)
	if len(with) > 0 && hits > r.limits.Memory/len(with) {
		return nil, r.alloc(math.MaxInt)
	}
	return strings.Replace(s, old, with, count), nil
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

func filterRound(_ *run, in any, a []any, n map[string]any) (any, error) {
	f, ok := number(in)
	if !ok {
		return nil, fmt.Errorf("type %s doesn't define __round__ method", typeName(in))
	}
	places, _ := arg(a, n, 0, "precision")
	p, _ := integer(places)
	scale := math.Pow(10, float64(p))
	switch method, _ := arg(a, n, 1, "method"); method {
	case "ceil":
		return math.Ceil(f*scale) / scale, nil
	case "floor":
		return math.Floor(f*scale) / scale, nil
	}
	if p < 0 || p > 300 {
		return math.RoundToEven(f*scale) / scale, nil
	}
	v, err := strconv.ParseFloat(strconv.FormatFloat(f, 'f', p, 64), 64)
	return v, err
}

func filterSum(r *run, in any, a []any, n map[string]any) (any, error) {
	l, err := iterate(in)
	if err != nil {
		return nil, err
	}
	name, by := arg(a, n, 0, "attribute")
	total, ok := arg(a, n, 1, "start")
	if !ok {
		total = 0
	}
	for _, v := range l {
		if by && name != nil {
			v = path(v, name)
		}
		if total, err = r.binary("+", total, v); err != nil {
			return nil, err
		}
	}
	return total, nil
}

func filterTruncate(_ *run, in any, a []any, n map[string]any) (any, error) {
	most, end, leeway := 255, "...", 5
	if v, ok := arg(a, n, 0, "length"); ok {
		most, _ = integer(v)
	}
	kill, _ := arg(a, n, 1, "killwords")
	if v, ok := arg(a, n, 2, "end"); ok {
		end = str(v)
	}
	if v, ok := arg(a, n, 3, "leeway"); ok && v != nil {
		leeway, _ = integer(v)
	}
	s := []rune(str(in))
	if len(s) <= most+leeway {
		return string(s), nil
	}
	keep := string(s[:max(0, min(len(s), most-utf8.RuneCountInString(end)))])
	if i := strings.LastIndexByte(keep, ' '); !truth(kill) && i >= 0 {
		keep = keep[:i]
	}
	return keep + end, nil
}

func unique(l []any) []any {
	out := []any{}
	fold := func(v any) any {
		if s, ok := v.(string); ok {
			return strings.ToLower(s)
		}
		return v
	}
	for _, v := range l {
		if !slices.ContainsFunc(out, func(x any) bool { return equal(fold(x), fold(v)) }) {
			out = append(out, v)
		}
	}
	return out
}

// Casers keep no state between calls with String.
func upper(s string) string { return cases.Upper(language.Und).String(s) }
func lower(s string) string { return cases.Lower(language.Und).String(s) }

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

func capitalize(s string) string {
	r, n := utf8.DecodeRuneInString(s)
	if n == 0 {
		return ""
	}
	return string(unicode.ToTitle(r)) + strings.ToLower(s[n:])
}

// titleCase is the filter: words begin after space, hyphen and brackets.
func titleCase(s string) string {
	var b strings.Builder
	start := true
	for _, r := range s {
		switch {
		case strings.ContainsRune("-({[<", r) || unicode.IsSpace(r):
			start = true
			b.WriteRune(r)
		case start:
			start = false
			b.WriteRune(unicode.ToTitle(r))
		default:
			b.WriteRune(unicode.ToLower(r))
		}
	}
	return b.String()
}

// cased says whether s has a cased character and none of the other case.
func cased(s string, is, other func(rune) bool) bool {
	return strings.IndexFunc(s, is) >= 0 && strings.IndexFunc(s, other) < 0
}
