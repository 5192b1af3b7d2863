package jinja

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

const maxDepth = 64

// FromJSON gives the value that Python's json.loads gives: integers stay
// integers and objects keep the order of their keys.
func FromJSON(raw []byte) (any, error) {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	v, err := decode(d, 0)
	if err != nil {
		return nil, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("more than one JSON value")
	}
	return v, nil
}

func decode(d *json.Decoder, depth int) (any, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("JSON nested deeper than %d", maxDepth)
	}
	t, err := d.Token()
	if err != nil {
		return nil, err
	}
	switch t := t.(type) {
	case json.Number:
		if i, err := strconv.Atoi(t.String()); err == nil {
			return i, nil
		}
		return t.Float64()
	case json.Delim:
		if t == '[' {
			list := []any{}
			for d.More() {
				v, err := decode(d, depth+1)
				if err != nil {
					return nil, err
				}
				list = append(list, v)
			}
			_, err := d.Token()
			return list, err
		}
		m := NewDict()
		for d.More() {
			k, err := d.Token()
			if err != nil {
				return nil, err
			}
			v, err := decode(d, depth+1)
			if err != nil {
				return nil, err
			}
			m.Set(k, v)
		}
		_, err := d.Token()
		return m, err
	}
	return t, nil
}

// filterJSON is transformers' tojson: json.dumps, ensure_ascii off unless asked.
func filterJSON(r *run, in any, a []any, n map[string]any) (any, error) {
	d := dumps{r: r, item: ", ", kv: ": "}
	ascii, _ := arg(a, n, 0, "ensure_ascii")
	d.ascii = truth(ascii)
	if v, ok := arg(a, n, 1, "indent"); ok && v != nil {
		d.pretty, d.item = true, ","
		if s, ok := v.(string); ok {
			d.indent = s
		} else if i, ok := integer(v); ok && i <= maxDepth {
			d.indent = strings.Repeat(" ", max(0, i))
		} else {
			return nil, errors.New("tojson: a bad indent")
		}
	}
	if v, ok := arg(a, n, 2, "separators"); ok && v != nil {
		l, ok := sequence(v)
		if !ok || len(l) != 2 {
			return nil, errors.New("tojson: separators are a pair")
		}
		d.item, d.kv = str(l[0]), str(l[1])
	}
	keys, _ := arg(a, n, 3, "sort_keys")
	d.sorted = truth(keys)
	if err := d.write(in, 0); err != nil {
		return nil, err
	}
	return d.b.String(), nil
}

type dumps struct {
	r        *run
	ascii    bool
	sorted   bool
	pretty   bool
	indent   string
	item, kv string
	b        strings.Builder
}

func (d *dumps) write(v any, depth int) error {
	if depth > maxDepth {
		return errors.New("tojson: nested too deep")
	}
	if d.b.Len() > d.r.limits.Memory {
		return d.r.alloc(d.b.Len())
	}
	if err := d.r.step(); err != nil {
		return err
	}
	if l, ok := sequence(v); ok {
		return d.each('[', ']', len(l), depth, func(i int) error { return d.write(l[i], depth+1) })
	}
	switch v := v.(type) {
	case nil:
		d.b.WriteString("null")
	case bool:
		d.b.WriteString(strconv.FormatBool(v))
	case int:
		d.b.WriteString(strconv.Itoa(v))
	case float64:
		s := float(v)
		if alt, ok := map[string]string{"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}[s]; ok {
			s = alt
		}
		d.b.WriteString(s)
	case string:
		d.quote(v)
	case *Dict:
		keys := v.keys
		if d.sorted {
			keys = slices.Clone(keys)
			slices.SortStableFunc(keys, func(a, b any) int { return strings.Compare(jsonKey(a), jsonKey(b)) })
		}
		return d.each('{', '}', len(keys), depth, func(i int) error {
			d.quote(jsonKey(keys[i]))
			d.b.WriteString(d.kv)
			return d.write(v.vals[keys[i]], depth+1)
		})
	default:
		return fmt.Errorf("object of type %s is not JSON serializable", typeName(v))
	}
	return nil
}

func jsonKey(k any) string {
	switch k := k.(type) {
	case nil:
		return "null"
	case bool:
		return strconv.FormatBool(k)
	}
	return str(k)
}

func (d *dumps) each(open, end byte, n, depth int, one func(int) error) error {
	d.b.WriteByte(open)
	for i := range n {
		if i > 0 {
			d.b.WriteString(d.item)
		}
		d.line(depth + 1)
		if err := one(i); err != nil {
			return err
		}
	}
	if n > 0 {
		d.line(depth)
	}
	d.b.WriteByte(end)
	return nil
}

func (d *dumps) line(depth int) {
	if d.pretty {
		d.b.WriteByte('\n')
		d.b.WriteString(strings.Repeat(d.indent, depth))
	}
}

func (d *dumps) quote(s string) {
	d.b.WriteByte('"')
	for _, r := range s {
		if e, ok := map[rune]string{'"': `\"`, '\\': `\\`, '\n': `\n`, '\r': `\r`, '\t': `\t`, '\b': `\b`, '\f': `\f`}[r]; ok {
			d.b.WriteString(e)
			continue
		}
		switch {
		case r < 0x20 || d.ascii && r >= 0x7f && r < 0x10000:
			fmt.Fprintf(&d.b, `\u%04x`, r)
		case d.ascii && r >= 0x10000:
			r -= 0x10000
			fmt.Fprintf(&d.b, `\u%04x\u%04x`, 0xd800+r>>10, 0xdc00+r&0x3ff)
		default:
			d.b.WriteRune(r)
		}
	}
	d.b.WriteByte('"')
}
