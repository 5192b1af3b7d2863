package jinja

import (
	"html"
	"net/url"
	"strconv"
	"strings"
)

type filterFunc func(r *run, in any, args []any, named map[string]any) (any, error)

// filters by name. They are set by init, since some of them look others up.
var filters map[string]filterFunc

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
		"first":      list(filterFirst),
		"float":      filterFloat,
		"format":     func(r *run, in any, a []any, _ map[string]any) (any, error) { return r.percent(str(in), a) },
		"indent":     filterIndent,
		"int":        filterInt,
		"items":      filterItems,
		"join":       filterJoin,
		"last":       list(filterLast),
		"length":     filterLength,
		"list":       list(func(l []any) (any, error) { return append([]any{}, l...), nil }),
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
		"trim":       filterTrim,
		"truncate":   filterTruncate,
		"unique":     list(func(l []any) (any, error) { return unique(l), nil }),
		"upper":      text(upper),
		"urlencode":  text(func(s string) string { return strings.ReplaceAll(url.QueryEscape(s), "+", "%20") }),
		"wordcount":  func(_ *run, in any, _ []any, _ map[string]any) (any, error) { return len(strings.Fields(str(in))), nil },
	}
}

func first(a []any) any {
	if len(a) == 0 {
		return undefined{"an argument is missing"}
	}
	return a[0]
}

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

// byAttribute gives what a filter looks at in an item: the attribute that its
// argument i names, or the item itself where it names none.
func byAttribute(a []any, n map[string]any, i int) func(any) any {
	if name, ok := arg(a, n, i, "attribute"); ok && name != nil {
		return func(v any) any { return path(v, name) }
	}
	return func(v any) any { return v }
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
