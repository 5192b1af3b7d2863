package template

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/nikolalohinski/gonja/v2/exec"
)

// orders remembers the order of keys of the maps that came from JSON: gonja
// wants map[string]any, and Python's dict keeps its order.
type orders map[uintptr][]string

// object is a new map whose keys are in the order given.
func (o orders) object(keys []string, values map[string]any) map[string]any {
	o[reflect.ValueOf(values).Pointer()] = keys
	return values
}

// keys gives the keys of a map: known ones in their order, others sorted
// behind them.
func (o orders) keys(m map[string]any) []string {
	var out []string
	for _, k := range o[reflect.ValueOf(m).Pointer()] {
		if _, ok := m[k]; ok && !slices.Contains(out, k) {
			out = append(out, k)
		}
	}
	known := len(out)
	for k := range m {
		if !slices.Contains(out[:known], k) {
			out = append(out, k)
		}
	}
	slices.Sort(out[known:])
	return out
}

const maxDepth = 64

// parse decodes JSON the way Python's json.loads does: integers stay integers.
func (o orders) parse(raw []byte) (any, error) {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	v, err := o.value(d, 0)
	if err != nil {
		return nil, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("more than one JSON value")
	}
	return v, nil
}

func (o orders) value(d *json.Decoder, depth int) (any, error) {
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
				v, err := o.value(d, depth+1)
				if err != nil {
					return nil, err
				}
				list = append(list, v)
			}
			_, err := d.Token()
			return list, err
		}
		var keys []string
		m := map[string]any{}
		for d.More() {
			k, err := d.Token()
			if err != nil {
				return nil, err
			}
			v, err := o.value(d, depth+1)
			if err != nil {
				return nil, err
			}
			name := k.(string)
			if _, ok := m[name]; !ok {
				keys = append(keys, name)
			}
			m[name] = v
		}
		_, err := d.Token()
		return o.object(keys, m), err
	default:
		return t, nil
	}
}

// dumps is Python's json.dumps.
type dumps struct {
	orders
	ascii    bool
	sorted   bool
	indent   string // "" is none
	pretty   bool
	item, kv string // separators
	b        strings.Builder
}

var errCircular = errors.New("tojson: nested too deep")

func (d *dumps) write(v any, depth int) error {
	if depth > maxDepth {
		return errCircular
	}
	switch v := v.(type) {
	case nil:
		d.b.WriteString("null")
	case *exec.Value:
		if v.IsNil() {
			d.b.WriteString("null")
			return nil
		}
		if v.IsError() {
			return v
		}
		return d.write(v.Interface(), depth)
	case bool:
		d.b.WriteString(strconv.FormatBool(v))
	case string:
		d.quote(v)
	case map[string]any:
		keys := d.keys(v)
		return d.dict(len(keys), depth, keys, func(k string) any { return v[k] })
	case *exec.Dict:
		var keys []string
		values := map[string]any{}
		for _, p := range v.Pairs {
			k := p.Key.String()
			if _, ok := values[k]; !ok {
				keys = append(keys, k)
			}
			values[k] = p.Value
		}
		return d.dict(len(keys), depth, keys, func(k string) any { return values[k] })
	default:
		r := reflect.ValueOf(v)
		switch r.Kind() {
		case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
			d.b.WriteString(strconv.FormatInt(r.Int(), 10))
		case reflect.Float32, reflect.Float64:
			d.b.WriteString(float(r.Float()))
		case reflect.Slice, reflect.Array:
			return d.list(r, depth)
		default:
			return fmt.Errorf("tojson: a value of type %T", v)
		}
	}
	return nil
}

func (d *dumps) list(r reflect.Value, depth int) error {
	if r.Len() == 0 {
		d.b.WriteString("[]")
		return nil
	}
	d.b.WriteByte('[')
	for i := range r.Len() {
		d.next(i, depth+1)
		if err := d.write(r.Index(i).Interface(), depth+1); err != nil {
			return err
		}
	}
	d.line(depth)
	d.b.WriteByte(']')
	return nil
}

func (d *dumps) dict(n, depth int, keys []string, value func(string) any) error {
	if n == 0 {
		d.b.WriteString("{}")
		return nil
	}
	if d.sorted {
		keys = slices.Sorted(slices.Values(keys))
	}
	d.b.WriteByte('{')
	for i, k := range keys {
		d.next(i, depth+1)
		d.quote(k)
		d.b.WriteString(d.kv)
		if err := d.write(value(k), depth+1); err != nil {
			return err
		}
	}
	d.line(depth)
	d.b.WriteByte('}')
	return nil
}

// next goes to entry i.
func (d *dumps) next(i, depth int) {
	if i > 0 {
		d.b.WriteString(d.item)
	}
	d.line(depth)
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
		switch r {
		case '"':
			d.b.WriteString(`\"`)
		case '\\':
			d.b.WriteString(`\\`)
		case '\n':
			d.b.WriteString(`\n`)
		case '\r':
			d.b.WriteString(`\r`)
		case '\t':
			d.b.WriteString(`\t`)
		case '\b':
			d.b.WriteString(`\b`)
		case '\f':
			d.b.WriteString(`\f`)
		default:
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
	}
	d.b.WriteByte('"')
}

// float is Python's repr of a float.
func float(f float64) string {
	s := strconv.FormatFloat(f, 'e', -1, 64)
	i := strings.IndexByte(s, 'e')
	if i < 0 {
		return map[string]string{"NaN": "NaN", "+Inf": "Infinity", "-Inf": "-Infinity"}[s]
	}
	if exp, err := strconv.Atoi(s[i+1:]); err == nil && exp >= -4 && exp < 16 {
		s = strconv.FormatFloat(f, 'f', -1, 64)
		if !strings.Contains(s, ".") {
			s += ".0"
		}
	}
	return s
}
