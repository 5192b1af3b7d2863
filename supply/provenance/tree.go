package provenance

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// ErrFormat is a document that cannot be read as provenance; the message names
// the field.
var ErrFormat = errors.New("not usable provenance")

// Bounds on one document. Published statements have a few hundred dependencies
// at most; in-toto's verifiers stop at 1024 subjects and 32 digests.
const (
	maxDocument     = 8 << 20
	maxDepth        = 64
	maxValues       = 200_000
	maxText         = 8 << 10 // of a field that is shown or compared
	maxDependencies = 1024
	maxSubjects     = 1024
	maxDigests      = 32
)

func badFormat(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrFormat, fmt.Errorf(format, args...))
}

// decode reads one JSON value into maps, slices, strings, json.Number, bools
// and nil. Unlike encoding/json alone it refuses what parsers disagree on: keys
// that are there twice or differ in case only, and bytes that are not UTF-8.
func decode(src []byte) (any, error) {
	switch {
	case len(src) > maxDocument:
		return nil, badFormat("%d bytes, more than %d", len(src), maxDocument)
	case !utf8.Valid(src):
		return nil, badFormat("it is not UTF-8")
	}
	d := &decoder{json.NewDecoder(bytes.NewReader(src)), 0}
	d.UseNumber()
	v, err := d.value("", 0)
	if err != nil {
		return nil, err
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, badFormat("byte %d: text after the end", d.InputOffset())
	}
	return v, nil
}

type decoder struct {
	*json.Decoder
	values int
}

func (d *decoder) value(at string, depth int) (any, error) {
	t, err := d.Token()
	if err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return nil, badFormat("byte %d: %w", d.InputOffset(), err)
	}
	return d.rest(t, at, depth)
}

func (d *decoder) rest(t json.Token, at string, depth int) (any, error) {
	if d.values++; d.values > maxValues {
		return nil, badFormat("more than %d values", maxValues)
	}
	if depth > maxDepth {
		return nil, badFormat("nested deeper than %d", maxDepth)
	}
	switch t := t.(type) {
	case json.Number:
		if _, err := strconv.ParseFloat(t.String(), 64); err != nil {
			return nil, badFormat("%s: the number %.40s is out of range", place(at), t)
		}
	case json.Delim:
		if t == '[' {
			return d.array(at, depth)
		}
		return d.object(at, depth)
	}
	return t, nil
}

func (d *decoder) array(at string, depth int) (any, error) {
	list := []any{}
	for d.More() {
		v, err := d.value(at+"/"+strconv.Itoa(len(list)), depth+1)
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	return list, d.end(at)
}

func (d *decoder) object(at string, depth int) (any, error) {
	o, folded := map[string]any{}, map[string]string{}
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return nil, badFormat("%s: byte %d: %w", place(at), d.InputOffset(), err)
		}
		key := t.(string) // the tokenizer lets nothing else through here
		fold := foldKey(key)
		if old, twice := folded[fold]; twice {
			return nil, badFormat("%s: the keys %.60q and %.60q are the same to some readers", place(at), old, key)
		}
		folded[fold] = key
		if o[key], err = d.value(at+"/"+key, depth+1); err != nil {
			return nil, err
		}
	}
	return o, d.end(at)
}

// foldKey maps keys that encoding/json takes for each other to one: it compares
// by Unicode's simple folding, in which a Kelvin sign is a k.
func foldKey(key string) string {
	return strings.Map(func(r rune) rune {
		least := r
		for f := unicode.SimpleFold(r); f != r; f = unicode.SimpleFold(f) {
			least = min(least, f)
		}
		return least
	}, key)
}

func (d *decoder) end(at string) error {
	if _, err := d.Token(); err != nil {
		return badFormat("%s: byte %d: %w", place(at), d.InputOffset(), err)
	}
	return nil
}

// place names a field by its JSON pointer.
func place(at string) string {
	if at == "" {
		return "the document"
	}
	if len(at) > 120 {
		at = strings.ToValidUTF8(at[:120], "") + "…"
	}
	return at
}

// reader takes fields out of a decoded tree and keeps the first error.
type reader struct{ err error }

func (r *reader) fail(at, format string, args ...any) {
	if r.err == nil {
		r.err = badFormat("%s: %w", place(at), fmt.Errorf(format, args...))
	}
}

// object gives the object at o[key], nil where it is absent or null.
func (r *reader) object(o map[string]any, at, key string) map[string]any {
	switch v := o[key].(type) {
	case nil:
		return nil
	case map[string]any:
		return v
	default:
		r.fail(at+"/"+key, "%s, wanted an object", kindOf(v))
		return nil
	}
}

func (r *reader) array(o map[string]any, at, key string, limit int) []any {
	switch v := o[key].(type) {
	case nil:
		return nil
	case []any:
		if len(v) > limit {
			r.fail(at+"/"+key, "%d entries, more than %d", len(v), limit)
			return nil
		}
		return v
	default:
		r.fail(at+"/"+key, "%s, wanted an array", kindOf(v))
		return nil
	}
}

func (r *reader) text(o map[string]any, at, key string) string {
	switch v := o[key].(type) {
	case nil:
		return ""
	case string:
		if len(v) > maxText {
			r.fail(at+"/"+key, "%d bytes, more than %d", len(v), maxText)
			return ""
		}
		return v
	default:
		r.fail(at+"/"+key, "%s, wanted a string", kindOf(v))
		return ""
	}
}

// count gives a whole number that is not negative; nil where it is absent.
func (r *reader) count(o map[string]any, at, key string) *int64 {
	v, ok := o[key]
	if !ok || v == nil {
		return nil
	}
	n, isNumber := v.(json.Number)
	i, err := n.Int64()
	if !isNumber || err != nil || i < 0 {
		r.fail(at+"/"+key, "%.40v, wanted a whole number from 0 on", v)
		return nil
	}
	return &i
}

func kindOf(v any) string {
	switch v.(type) {
	case map[string]any:
		return "an object"
	case []any:
		return "an array"
	case string:
		return "a string"
	case json.Number:
		return "a number"
	case bool:
		return "a bool"
	}
	return "null"
}
