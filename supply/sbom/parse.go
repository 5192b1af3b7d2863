package sbom

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

	"github.com/weighbridge/weighbridge/supply/bundle"
)

// ErrBOM is a document that is no usable CycloneDX BOM. The message names the
// place as a JSON pointer and what was expected there.
var ErrBOM = errors.New("not a usable bill of materials")

// Limits of a BOM. 100,000 files take about 25 MiB.
const (
	MaxBytes  = 32 << 20
	maxDepth  = 128 // nested objects and arrays
	maxNumber = 40  // characters
	// maxValues bounds memory, which "[[],[],…" would make a hundredfold of the
	// document.
	maxValues = 3_000_000
)

// Invalid is a document that cannot be read or breaks its schema. It matches
// ErrBOM.
type Invalid struct {
	Pointer string // JSON pointer (RFC 6901), "" for the whole document
	Want    string // what was expected, or what is wrong
}

func (e *Invalid) Error() string {
	if e.Pointer == "" {
		return fmt.Sprintf("%v: %s", ErrBOM, e.Want)
	}
	return fmt.Sprintf("%v: at %s: %s", ErrBOM, e.Pointer, e.Want)
}

// Is makes errors.Is(err, ErrBOM) hold.
func (e *Invalid) Is(target error) bool { return target == ErrBOM }

// parse reads one JSON document into maps, slices, strings, bools and
// [json.Number]. It refuses what two readers could understand in two ways, or
// what costs more than its size: duplicate keys, text that is not UTF-8, great
// depth, numbers that only big arithmetic could hold.
func parse(src []byte) (any, error) {
	switch {
	case len(src) > MaxBytes:
		return nil, &Invalid{"", fmt.Sprintf("it has %d bytes; %d are read at most", len(src), MaxBytes)}
	case !utf8.Valid(src):
		return nil, &Invalid{"", "it is not UTF-8; only JSON is read"}
	case bytes.HasPrefix(bytes.TrimLeftFunc(src, unicode.IsSpace), []byte("<")):
		return nil, &Invalid{"", "it looks like XML; only JSON is read: convert it with `cyclonedx convert --output-format json`"}
	case bytes.HasPrefix(src, []byte("SPDXVersion:")):
		return nil, &Invalid{"", spdxAdvice}
	}
	// Half of a surrogate pair has no reading in common; the look for one costs
	// a pass, which most documents need not pay.
	if bytes.Contains(src, []byte(`\ud`)) || bytes.Contains(src, []byte(`\uD`)) {
		if err := bundle.Strict(src); err != nil {
			return nil, &Invalid{"", plain(err.Error(), maxShown)}
		}
	}
	d := &decoder{Decoder: json.NewDecoder(bytes.NewReader(src))}
	d.UseNumber()
	v, err := d.value(nil)
	if err != nil {
		return nil, err
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, &Invalid{"", fmt.Sprintf("more follows after the document, at byte %d", d.InputOffset())}
	}
	return v, nil
}

type decoder struct {
	*json.Decoder
	values int
}

func (d *decoder) value(at []string) (any, error) {
	bad := func(format string, args ...any) (any, error) {
		return nil, &Invalid{pointer(at), fmt.Sprintf(format, args...)}
	}
	if len(at) > maxDepth {
		return bad("nested deeper than %d", maxDepth)
	}
	if d.values++; d.values > maxValues {
		return bad("more than %d values", maxValues)
	}
	token, err := d.Token()
	if err != nil {
		return bad("byte %d: %s", d.InputOffset(), plain(jsonReason(err), maxShown))
	}
	switch t := token.(type) {
	case json.Delim:
		if t == '[' {
			return d.array(at)
		}
		return d.object(at)
	case json.Number:
		s := t.String()
		// Beyond this a validator's exact arithmetic would expand 1e999999999.
		if f, err := t.Float64(); len(s) > maxNumber || err != nil || f == 0 && strings.Trim(s, "-0.") != "" {
			return bad("the number %s is out of range", shown(s))
		}
		if _, exp, ok := strings.Cut(strings.ToLower(s), "e"); ok && len(strings.TrimLeft(exp, "+-0")) > 3 {
			return bad("the number %s is out of range", shown(s))
		}
	}
	return token, nil
}

func (d *decoder) array(at []string) (any, error) {
	out := []any{}
	for d.More() {
		v, err := d.value(append(at, strconv.Itoa(len(out))))
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, d.closing(at)
}

func (d *decoder) object(at []string) (any, error) {
	out := map[string]any{}
	for d.More() {
		token, err := d.Token()
		key, ok := token.(string)
		if err != nil || !ok {
			return nil, &Invalid{pointer(at), fmt.Sprintf("byte %d: %s", d.InputOffset(), plain(jsonReason(err), maxShown))}
		}
		if _, twice := out[key]; twice {
			return nil, &Invalid{pointer(at), fmt.Sprintf("the key %s is there twice", shown(key))}
		}
		v, err := d.value(append(at, key))
		if err != nil {
			return nil, err
		}
		out[key] = v
	}
	return out, d.closing(at)
}

func (d *decoder) closing(at []string) error {
	if _, err := d.Token(); err != nil {
		return &Invalid{pointer(at), fmt.Sprintf("byte %d: %s", d.InputOffset(), plain(jsonReason(err), maxShown))}
	}
	return nil
}

func jsonReason(err error) string {
	switch {
	case err == nil:
		return "an object's key is missing"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "the document ends too early"
	}
	return err.Error()
}

// pointer renders a path as a JSON pointer whose parts are safe to show.
func pointer(path []string) string {
	var b strings.Builder
	for _, p := range path {
		p = strings.ReplaceAll(strings.ReplaceAll(p, "~", "~0"), "/", "~1")
		b.WriteString("/" + plain(p, 80))
		if b.Len() > 1000 {
			b.WriteString("/…")
			break
		}
	}
	return b.String()
}

const maxShown = 200 // bytes of foreign text in a message

// shown quotes foreign text for a message.
func shown(s string) string { return strconv.Quote(plain(s, maxShown)) }

// plain makes foreign text one line of at most limit bytes without control and
// format characters, among them those that reverse the writing direction.
func plain(s string, limit int) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if len(s) > limit {
		s = strings.ToValidUTF8(s[:limit], "") + "…"
	}
	return strings.Map(func(r rune) rune {
		if unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp, unicode.Co) {
			return '\uFFFD'
		}
		return r
	}, s)
}
