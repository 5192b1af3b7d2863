package task

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// template is text with {{ … }} expressions.
type template struct{ parts []part }

type part struct {
	text    string // literal, when path is empty
	path    []step
	filters []string
	source  string
}

type step struct {
	name  string // field of an object
	index int    // element of a list, when name is empty
}

var (
	expression = regexp.MustCompile(`^\s*([A-Za-z_][A-Za-z0-9_]*)((?:\.[A-Za-z_][A-Za-z0-9_]*|\[(?:[0-9]{1,6}|"[^"\\]*"|'[^'\\]*')\])*)((?:\s*\|\s*[a-z_]+)*)\s*$`)
	oneStep    = regexp.MustCompile(`\.[A-Za-z_][A-Za-z0-9_]*|\[[0-9]{1,6}\]|\["[^"\\]*"\]|\['[^'\\]*'\]`)
)

// parseTemplate reads the subset of Jinja that doc.go names.
func parseTemplate(s string) (*template, error) {
	if len(s) > maxText {
		return nil, fmt.Errorf("the template has %d bytes, more than %d", len(s), maxText)
	}
	t := &template{}
	for s != "" {
		i := strings.IndexByte(s, '{')
		for i >= 0 && i+1 < len(s) && !strings.ContainsRune("{%#", rune(s[i+1])) {
			next := strings.IndexByte(s[i+1:], '{')
			if next < 0 {
				i = -1
				break
			}
			i += 1 + next
		}
		if i < 0 || i+1 >= len(s) {
			t.parts = append(t.parts, part{text: s})
			break
		}
		if i > 0 {
			t.parts = append(t.parts, part{text: s[:i]})
		}
		if s[i+1] != '{' {
			return nil, fmt.Errorf("statements and comments of Jinja ({%%, {#) are not supported; write the result into the data")
		}
		end := strings.Index(s[i:], "}}")
		if end < 0 {
			return nil, fmt.Errorf("{{ without }}")
		}
		source := s[i+2 : i+end]
		p, err := parseExpression(source)
		if err != nil {
			return nil, err
		}
		t.parts = append(t.parts, p)
		s = s[i+end+2:]
	}
	return t, nil
}

func parseExpression(source string) (part, error) {
	m := expression.FindStringSubmatch(source)
	if m == nil {
		return part{}, fmt.Errorf("the expression {{%.60s}} is not supported; there are {{field}}, {{field.sub}}, {{field[0]}} and the filters trim, lower, upper", source)
	}
	p := part{source: strings.TrimSpace(source), path: []step{{name: m[1]}}}
	for _, s := range oneStep.FindAllString(m[2], -1) {
		switch {
		case s[0] == '.':
			p.path = append(p.path, step{name: s[1:]})
		case s[1] == '"' || s[1] == '\'':
			p.path = append(p.path, step{name: s[2 : len(s)-2]})
		default:
			n, err := strconv.Atoi(s[1 : len(s)-1])
			if err != nil {
				return part{}, err
			}
			p.path = append(p.path, step{index: n})
		}
	}
	for _, f := range strings.FieldsFunc(m[3], func(r rune) bool { return r == '|' || r == ' ' || r == '\t' || r == '\n' }) {
		if f != "trim" && f != "lower" && f != "upper" {
			return part{}, fmt.Errorf("the filter %q in {{%.60s}} is not supported; there are trim, lower and upper", f, source)
		}
		p.filters = append(p.filters, f)
	}
	return p, nil
}

// single is the value of a template that is one expression without filters,
// or false.
func (t *template) single(record map[string]any) (any, bool, error) {
	if len(t.parts) != 1 || t.parts[0].path == nil || t.parts[0].filters != nil {
		return nil, false, nil
	}
	v, err := t.parts[0].lookup(record)
	return v, true, err
}

// text fills the template in from a record.
func (t *template) text(record map[string]any) (string, error) {
	var b strings.Builder
	for _, p := range t.parts {
		if p.path == nil {
			b.WriteString(p.text)
			continue
		}
		v, err := p.lookup(record)
		if err != nil {
			return "", err
		}
		s, err := printed(v)
		if err != nil {
			return "", fmt.Errorf("{{%s}}: %w", p.source, err)
		}
		for _, f := range p.filters {
			switch f {
			case "trim":
				s = strings.TrimSpace(s)
			case "lower":
				s = strings.ToLower(s)
			case "upper":
				s = strings.ToUpper(s)
			}
		}
		if b.WriteString(s); b.Len() > maxText {
			return "", fmt.Errorf("the text grows beyond %d bytes", maxText)
		}
	}
	return b.String(), nil
}

func (p *part) lookup(record map[string]any) (any, error) {
	var v any = record
	for _, s := range p.path {
		switch x := v.(type) {
		case map[string]any:
			if s.name == "" {
				return nil, fmt.Errorf("{{%s}}: [%d] of an object", p.source, s.index)
			}
			next, ok := x[s.name]
			if !ok {
				return nil, fmt.Errorf("{{%s}}: there is no field %q", p.source, s.name)
			}
			v = next
		case []any:
			if s.name != "" || s.index >= len(x) {
				return nil, fmt.Errorf("{{%s}}: the list has %d elements", p.source, len(x))
			}
			v = x[s.index]
		default:
			return nil, fmt.Errorf("{{%s}}: neither an object nor a list", p.source)
		}
	}
	return v, nil
}

// printed is a value as Jinja prints it.
func printed(v any) (string, error) {
	switch v := v.(type) {
	case string:
		return v, nil
	case json.Number:
		return v.String(), nil
	case bool:
		if v {
			return "True", nil
		}
		return "False", nil
	case nil:
		return "", fmt.Errorf("the value is null")
	}
	return "", fmt.Errorf("a list or an object cannot be printed into text")
}
