package jinja

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Methods that change a dict or list are those that Jinja2's immutable sandbox
// refuses, and are not here.
var dictMethods = map[string]func(d *Dict, a []any) (any, error){
	"items":  func(d *Dict, _ []any) (any, error) { return d.items(), nil },
	"keys":   func(d *Dict, _ []any) (any, error) { return append([]any{}, d.keys...), nil },
	"values": func(d *Dict, _ []any) (any, error) { return d.values(), nil },
	"copy":   func(d *Dict, _ []any) (any, error) { return d, nil },
	"get": func(d *Dict, a []any) (any, error) {
		if len(a) == 0 || len(a) > 2 {
			return nil, fmt.Errorf("get expected 1 or 2 arguments, got %d", len(a))
		}
		if v, ok := d.Get(a[0]); ok {
			return v, nil
		}
		if len(a) == 2 {
			return a[1], nil
		}
		return nil, nil
	},
}

func (d *Dict) values() []any {
	out := make([]any, len(d.keys))
	for i, k := range d.keys {
		out[i] = d.vals[k]
	}
	return out
}

type strMethod func(s string, a []any, n map[string]any) (any, error)

func plain(f func(string) string) strMethod {
	return func(s string, _ []any, _ map[string]any) (any, error) { return f(s), nil }
}

func every(f func(rune) bool) strMethod {
	return func(s string, _ []any, _ map[string]any) (any, error) {
		return s != "" && strings.IndexFunc(s, func(r rune) bool { return !f(r) }) < 0, nil
	}
}

func strip(left, right bool) strMethod {
	return func(s string, a []any, _ map[string]any) (any, error) {
		in := unicode.IsSpace
		if len(a) > 0 && a[0] != nil {
			set := str(a[0])
			in = func(r rune) bool { return strings.ContainsRune(set, r) }
		}
		if left {
			s = strings.TrimLeftFunc(s, in)
		}
		if right {
			s = strings.TrimRightFunc(s, in)
		}
		return s, nil
	}
}

// affix makes startswith and endswith, which take a string or a tuple.
func affix(has func(s, x string) bool) strMethod {
	return func(s string, a []any, _ map[string]any) (any, error) {
		if len(a) != 1 {
			return nil, fmt.Errorf("one argument expected, got %d", len(a))
		}
		all, ok := a[0].(tuple)
		if !ok {
			all = tuple{a[0]}
		}
		for _, x := range all {
			t, ok := x.(string)
			if !ok {
				return nil, fmt.Errorf("first arg must be str or a tuple of str, not %s", typeName(x))
			}
			if has(s, t) {
				return true, nil
			}
		}
		return false, nil
	}
}

// where makes find, rfind, index and rindex, in characters.
func where(f func(s, x string) int, must bool) strMethod {
	return func(s string, a []any, _ map[string]any) (any, error) {
		if len(a) != 1 {
			return nil, fmt.Errorf("one argument expected, got %d", len(a))
		}
		i := f(s, str(a[0]))
		if i < 0 {
			if must {
				return nil, errors.New("substring not found")
			}
			return -1, nil
		}
		return utf8.RuneCountInString(s[:i]), nil
	}
}

// align makes ljust, rjust and center.
func align(left, right bool) strMethod {
	return func(s string, a []any, _ map[string]any) (any, error) {
		width, ok := integer(first(a))
		if !ok || width > 1<<20 {
			return nil, errors.New("a bad width")
		}
		fill := " "
		if len(a) > 1 {
			fill = str(a[1])
		}
		n := max(0, width-utf8.RuneCountInString(s))
		before := 0
		switch {
		case left && right:
			before = n/2 + n&width&1
		case left:
			before = n
		}
		return strings.Repeat(fill, before) + s + strings.Repeat(fill, n-before), nil
	}
}

var strMethods map[string]strMethod

func init() {
	strMethods = map[string]strMethod{
		"strip": strip(true, true), "lstrip": strip(true, false), "rstrip": strip(false, true),
		"split": split, "rsplit": rsplit, "splitlines": splitlines,
		"startswith": affix(strings.HasPrefix), "endswith": affix(strings.HasSuffix),
		"find": where(strings.Index, false), "rfind": where(strings.LastIndex, false),
		"index": where(strings.Index, true), "rindex": where(strings.LastIndex, true),
		"upper": plain(upper), "lower": plain(lower), "casefold": plain(lower),
		"capitalize": plain(capitalize), "title": plain(pyTitle),
		"isdigit": every(unicode.IsDigit), "isalpha": every(unicode.IsLetter), "isspace": every(unicode.IsSpace),
		"isnumeric": every(unicode.IsNumber), "isdecimal": every(unicode.IsDigit),
		"isalnum": every(func(r rune) bool { return unicode.IsLetter(r) || unicode.IsNumber(r) }),
		"isupper": func(s string, _ []any, _ map[string]any) (any, error) {
			return cased(s, unicode.IsUpper, unicode.IsLower), nil
		},
		"islower": func(s string, _ []any, _ map[string]any) (any, error) {
			return cased(s, unicode.IsLower, unicode.IsUpper), nil
		},
		"ljust": align(false, true), "rjust": align(true, false), "center": align(true, true),
		"zfill": func(s string, a []any, _ map[string]any) (any, error) {
			v, err := align(true, false)(s, append(a[:min(1, len(a))], "0"), nil)
			if t, ok := v.(string); ok && len(s) > 0 && (s[0] == '-' || s[0] == '+') && t != s {
				return s[:1] + strings.Replace(t, s[:1], "0", 1), err
			}
			return v, err
		},
		"count": func(s string, a []any, _ map[string]any) (any, error) { return strings.Count(s, str(first(a))), nil },
		"replace": func(s string, a []any, n map[string]any) (any, error) {
			return filterReplace(&run{limits: DefaultLimits}, s, a, n)
		},
		"join": func(s string, a []any, _ map[string]any) (any, error) {
			l, err := iterate(first(a))
			if err != nil {
				return nil, err
			}
			for i, v := range l {
				if _, ok := v.(string); !ok {
					return nil, fmt.Errorf("sequence item %d: expected str instance, %s found", i, typeName(v))
				}
			}
			return filterJoin(&run{limits: DefaultLimits}, l, []any{s}, nil)
		},
		"removeprefix": func(s string, a []any, _ map[string]any) (any, error) {
			return strings.TrimPrefix(s, str(first(a))), nil
		},
		"removesuffix": func(s string, a []any, _ map[string]any) (any, error) {
			return strings.TrimSuffix(s, str(first(a))), nil
		},
		"partition": func(s string, a []any, _ map[string]any) (any, error) {
			sep := str(first(a))
			l, r, ok := strings.Cut(s, sep)
			if !ok {
				sep = ""
			}
			return tuple{l, sep, r}, nil
		},
		"rpartition": func(s string, a []any, _ map[string]any) (any, error) {
			sep := str(first(a))
			i := strings.LastIndex(s, sep)
			if i < 0 {
				return tuple{"", "", s}, nil
			}
			return tuple{s[:i], sep, s[i+len(sep):]}, nil
		},
		"format": format,
	}
}

// pyTitle is str.title: words are runs of letters.
func pyTitle(s string) string {
	var b strings.Builder
	in := false
	for _, r := range s {
		if in {
			b.WriteRune(unicode.ToLower(r))
		} else {
			b.WriteRune(unicode.ToTitle(r))
		}
		in = unicode.IsLetter(r)
	}
	return b.String()
}

// separator gives the first two arguments of split: sep, nil for white space,
// and maxsplit.
func separator(a []any, n map[string]any) (sep string, space bool, most int, err error) {
	most, space = -1, true
	if v, ok := arg(a, n, 0, "sep"); ok && v != nil {
		if sep, space = str(v), false; sep == "" {
			return "", false, 0, errors.New("empty separator")
		}
	}
	if v, ok := arg(a, n, 1, "maxsplit"); ok {
		most, _ = integer(v)
	}
	return sep, space, most, nil
}

func anys(l []string) []any {
	out := make([]any, len(l))
	for i, s := range l {
		out[i] = s
	}
	return out
}

func split(s string, a []any, n map[string]any) (any, error) {
	sep, space, most, err := separator(a, n)
	switch {
	case err != nil:
		return nil, err
	case space && most < 0:
		return anys(strings.Fields(s)), nil
	case space:
		out := []any{}
		s = strings.TrimLeftFunc(s, unicode.IsSpace)
		for s != "" {
			i := strings.IndexFunc(s, unicode.IsSpace)
			if i < 0 || len(out) == most {
				return append(out, s), nil
			}
			out = append(out, s[:i])
			s = strings.TrimLeftFunc(s[i:], unicode.IsSpace)
		}
		return out, nil
	case most < 0:
		return anys(strings.Split(s, sep)), nil
	}
	return anys(strings.SplitN(s, sep, most+1)), nil
}

func rsplit(s string, a []any, n map[string]any) (any, error) {
	sep, space, most, err := separator(a, n)
	if err != nil || space || most < 0 {
		if space && most >= 0 {
			return nil, errors.New("rsplit by white space with a maximum is not supported")
		}
		return split(s, a, n)
	}
	var tail []string
	for len(tail) < most {
		i := strings.LastIndex(s, sep)
		if i < 0 {
			break
		}
		tail = append([]string{s[i+len(sep):]}, tail...)
		s = s[:i]
	}
	return anys(append([]string{s}, tail...)), nil
}

func splitlines(s string, _ []any, _ map[string]any) (any, error) {
	s = strings.ReplaceAll(strings.ReplaceAll(s, "\r\n", "\n"), "\r", "\n")
	if s = strings.TrimSuffix(s, "\n"); s == "" {
		return []any{}, nil
	}
	return anys(strings.Split(s, "\n")), nil
}

// format is str.format with {}, {0} and {name}.
func format(s string, a []any, n map[string]any) (any, error) {
	var b strings.Builder
	next := 0
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c != '{' && c != '}' {
			b.WriteByte(c)
			continue
		}
		if i+1 < len(s) && s[i+1] == c {
			b.WriteByte(c)
			i++
			continue
		}
		end := strings.IndexByte(s[i:], '}')
		if c == '}' || end < 0 {
			return nil, errors.New("single '}' encountered in format string")
		}
		name := s[i+1 : i+end]
		i += end
		if name == "" {
			name = strconv.Itoa(next)
			next++
		}
		if k, err := strconv.Atoi(name); err == nil {
			if k < 0 || k >= len(a) {
				return nil, fmt.Errorf("replacement index %d out of range for positional args tuple", k)
			}
			b.WriteString(str(a[k]))
		} else if v, ok := n[name]; ok {
			b.WriteString(str(v))
		} else {
			return nil, fmt.Errorf("format field %q is not supported or not there", name)
		}
	}
	return b.String(), nil
}

// percent is Python's % on strings, for %s %r %d %i %f %x and %%.
func (r *run) percent(s string, a []any) (any, error) {
	var b strings.Builder
	next := 0
	for i := 0; i < len(s); i++ {
		if s[i] != '%' {
			b.WriteByte(s[i])
			continue
		}
		j := i + 1
		for j < len(s) && strings.IndexByte("0123456789.+- #", s[j]) >= 0 {
			j++
		}
		if j == len(s) {
			return nil, errors.New("incomplete format")
		}
		spec, verb := s[i+1:j], s[j]
		i = j
		if verb == '%' {
			b.WriteByte('%')
			continue
		}
		if next == len(a) {
			return nil, errors.New("not enough arguments for format string")
		}
		v := a[next]
		next++
		if len(spec) > 6 {
			return nil, fmt.Errorf("a format of width %s", spec)
		}
		switch verb {
		case 's':
			fmt.Fprintf(&b, "%"+spec+"s", str(v))
		case 'r':
			fmt.Fprintf(&b, "%"+spec+"s", repr(v))
		case 'd', 'i', 'x', 'X':
			f, ok := number(v)
			if !ok {
				return nil, fmt.Errorf("%%%c format: a real number is required, not %s", verb, typeName(v))
			}
			if verb == 'i' {
				verb = 'd'
			}
			fmt.Fprintf(&b, "%"+spec+string(verb), int(f))
		case 'f', 'F', 'e', 'g':
			f, ok := number(v)
			if !ok {
				return nil, fmt.Errorf("must be real number, not %s", typeName(v))
			}
			fmt.Fprintf(&b, "%"+spec+string(verb), f)
		default:
			return nil, fmt.Errorf("unsupported format character '%c'", verb)
		}
		if b.Len() > r.limits.Memory {
			return nil, r.alloc(b.Len())
		}
	}
	if next < len(a) {
		return nil, errors.New("not all arguments converted during string formatting")
	}
	return b.String(), nil
}
