package formats

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/weighbridge/weighbridge/supply/formats/pickle"
	"github.com/weighbridge/weighbridge/weights/gguf"
)

// maxHeader is the limit of safetensors' own loader.
const maxHeader = 100_000_000

func (s *source) gguf() (File, error) {
	g, err := gguf.Read(s.name, s.r, s.size, gguf.Limits{})
	switch {
	case err != nil:
		return s.bad(RuleMalformed, "gguf", "%v", err), nil
	case g.Unclaimed > 0:
		return s.bad(RuleUnclaimed, "gguf", "%d bytes belong to no tensor: no engine loads them, and they can hold anything", g.Unclaimed), nil
	}
	return s.is("gguf", "version %d, %d tensors", g.Version, len(g.Tensors)), nil
}

func (s *source) looksSafetensors() bool {
	if len(s.head) < 10 {
		return false
	}
	n := binary.LittleEndian.Uint64(s.head)
	return n >= 2 && n <= maxHeader && s.head[8] == '{' && (s.head[9] == '"' || s.head[9] == '}' || s.head[9] == ' ' || s.head[9] == '\n')
}

// elements are the sizes of safetensors' types in bits.
var elements = map[string]uint64{
	"BOOL": 8, "U8": 8, "I8": 8, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8, "U16": 16, "I16": 16,
	"F16": 16, "BF16": 16, "U32": 32, "I32": 32, "F32": 32, "U64": 64, "I64": 64, "F64": 64, "C64": 64,
	"F4": 4, "F6_E2M3": 6, "F6_E3M2": 6,
}

type tensor struct {
	name    string
	Dtype   string
	Shape   []uint64
	Offsets [2]uint64
}

// safetensors checks the header as the format's own loader does: tensors lie
// back to back in the data and fill it (https://github.com/huggingface/safetensors, "Format").
func (s *source) safetensors() (File, error) {
	bad := func(format string, args ...any) (File, error) {
		return s.bad(RuleMalformed, "safetensors", format, args...), nil
	}
	n := binary.LittleEndian.Uint64(s.head)
	if n > uint64(s.size-8) {
		return bad("its header claims %d bytes, and the file has %d", n, s.size)
	}
	header, err := s.read(8, int64(n))
	if err != nil {
		return File{}, err
	}
	tensors, err := parseHeader(header)
	if err != nil {
		return bad("header: %v", err)
	}
	slices.SortFunc(tensors, func(a, b tensor) int {
		if a.Offsets != b.Offsets {
			return slices.Compare(a.Offsets[:], b.Offsets[:])
		}
		return strings.Compare(a.name, b.name)
	})
	data := uint64(s.size) - 8 - n
	next := uint64(0)
	for _, t := range tensors {
		bits, known := elements[t.Dtype]
		switch {
		case !known:
			return bad("tensor %.100q has the unknown type %.20q", t.name, t.Dtype)
		case t.Offsets[0] > t.Offsets[1] || t.Offsets[1] > data:
			return bad("tensor %.100q claims bytes %d to %d of %d", t.name, t.Offsets[0], t.Offsets[1], data)
		case t.Offsets[0] < next:
			return bad("tensor %.100q begins at %d, inside the one before it, which ends at %d", t.name, t.Offsets[0], next)
		case t.Offsets[0] > next:
			return bad("%d bytes before tensor %.100q belong to none", t.Offsets[0]-next, t.name)
		}
		size, ok := bytesOf(t.Shape, bits)
		if !ok || size != t.Offsets[1]-t.Offsets[0] {
			return bad("tensor %.100q of type %s and shape %v does not fill its %d bytes", t.name, t.Dtype, t.Shape, t.Offsets[1]-t.Offsets[0])
		}
		next = t.Offsets[1]
	}
	if next != data {
		return bad("%d bytes behind the last tensor belong to none", data-next)
	}
	return s.is("safetensors", "%d tensors", len(tensors)), nil
}

func bytesOf(shape []uint64, bits uint64) (uint64, bool) {
	n := bits
	for _, d := range shape {
		if d != 0 && n > (1<<63)/d {
			return 0, false
		}
		n *= d
	}
	return n / 8, n%8 == 0
}

// parseHeader reads the JSON of a header and refuses names given twice, which
// loaders resolve in different ways.
func parseHeader(src []byte) (out []tensor, err error) {
	d := json.NewDecoder(bytes.NewReader(src))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, errors.New("no JSON object")
	}
	seen := map[string]bool{}
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return nil, err
		}
		name, _ := key.(string)
		if seen[name] {
			return nil, fmt.Errorf("the name %.100q is given twice", name)
		}
		seen[name] = true
		if name == "__metadata__" {
			var m map[string]string
			if err := d.Decode(&m); err != nil {
				return nil, fmt.Errorf("__metadata__: %w", err)
			}
			continue
		}
		var fields map[string]json.RawMessage
		if err := d.Decode(&fields); err != nil {
			return nil, fmt.Errorf("tensor %.100q: %w", name, err)
		}
		t := tensor{name: name}
		var offsets []uint64
		for _, f := range []struct {
			name string
			into any
		}{{"dtype", &t.Dtype}, {"shape", &t.Shape}, {"data_offsets", &offsets}} {
			if err := json.Unmarshal(fields[f.name], f.into); err != nil {
				return nil, fmt.Errorf("tensor %.100q: %s: %w", name, f.name, err)
			}
		}
		if len(offsets) != 2 || len(fields) != 3 {
			return nil, fmt.Errorf("tensor %.100q: it has to have dtype, shape and two data_offsets, and nothing else", name)
		}
		t.Offsets = [2]uint64(offsets)
		out = append(out, t)
	}
	if _, err := d.Token(); err != nil {
		return nil, err
	}
	if tail := bytes.TrimRight(src[d.InputOffset():], " "); len(tail) > 0 {
		return nil, fmt.Errorf("%d bytes behind the object", len(tail))
	}
	return out, nil
}

// npy reads the header of a NumPy array (NEP 1) and lists the pickle behind it
// where the elements are objects.
func (s *source) npy() (File, error) {
	bad := func(format string, args ...any) (File, error) {
		return s.bad(RuleMalformed, "npy", format, args...), nil
	}
	h := s.head
	if len(h) < 12 {
		return bad("cut short")
	}
	var n, start int
	switch h[6] {
	case 1:
		n, start = int(binary.LittleEndian.Uint16(h[8:])), 10
	case 2, 3:
		n, start = int(binary.LittleEndian.Uint32(h[8:])), 12
	default:
		return bad("version %d is not known", h[6])
	}
	if n > len(h)-start {
		return bad("its header claims %d bytes", n)
	}
	text := string(h[start : start+n])
	_, after, ok := strings.Cut(text, "descr")
	if !ok {
		return bad("its header names no descr")
	}
	if i := strings.Index(after, "fortran_order"); i >= 0 {
		after = after[:i]
	}
	// A type string of objects is '|O' or 'O', with or without a size, or one of
	// several fields.
	if !strings.Contains(after, "O") {
		return s.is("npy", "NumPy array"), nil
	}
	l, err := pickle.All(s.r, int64(start+n), s.size)
	if err != nil && !errors.Is(err, pickle.ErrMalformed) {
		return File{}, err
	}
	f := s.unpickled("npy", "", l, err)
	f.Detail = "a NumPy array of objects: " + f.Detail
	return f, nil
}
