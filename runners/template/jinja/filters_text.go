package jinja

import (
	"errors"
	"math"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/language"
)

func capitalize(s string) string {
	r, n := utf8.DecodeRuneInString(s)
	if n == 0 {
		return ""
	}
	return string(unicode.ToTitle(r)) + strings.ToLower(s[n:])
}

// Casers keep no state between calls with String.
func upper(s string) string { return cases.Upper(language.Und).String(s) }

func lower(s string) string { return cases.Lower(language.Und).String(s) }

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

func filterTrim(_ *run, in any, a []any, n map[string]any) (any, error) {
	if c, ok := arg(a, n, 0, "chars"); ok && c != nil {
		return strings.Trim(str(in), str(c)), nil
	}
	return strings.TrimFunc(str(in), unicode.IsSpace), nil
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
