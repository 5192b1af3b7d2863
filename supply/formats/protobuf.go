package formats

import (
	"encoding/binary"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
)

// binary recognises what has no magic bytes.
func (s *source) binary() (File, error) {
	switch e := ext(s.name); {
	case e == ".model" || e == ".spm":
		var pieces int
		err := s.fields(0, s.size, func(n int, f field) error {
			if n == 1 && f.wire == 2 {
				pieces++
			}
			return nil
		})
		if err == nil && pieces > 0 {
			return s.is("sentencepiece", "%d pieces", pieces), nil
		}
	case e == ".msgpack" && (s.head[0]&0xf0 == 0x80 || s.head[0] == 0xde || s.head[0] == 0xdf):
		return s.is("msgpack", "MessagePack"), nil
	}
	return s.bad(RuleUnknown, "unknown", "not recognised as any format; leave it out of the model if it is not needed"), nil
}

// field is one protobuf field: bytes [from, to) for wire type 2, a number for 0.
type field struct {
	wire     int
	from, to int64
	n        uint64
}

var errProto = errors.New("not a protobuf message")

const maxFields = 4 << 20

// fields walks the fields of the protobuf message in [from, to) without reading
// what is in them (https://protobuf.dev/programming-guides/encoding/).
func (s *source) fields(from, to int64, visit func(number int, f field) error) error {
	r := &window{s: s, to: to}
	at := from
	for range maxFields {
		if at == to {
			return nil
		}
		tag, next, err := r.varint(at)
		if err != nil {
			return err
		}
		f := field{wire: int(tag & 7), from: next}
		switch f.wire {
		case 0:
			f.n, f.to, err = r.varint(next)
		case 1:
			f.to = next + 8
		case 5:
			f.to = next + 4
		case 2:
			var n uint64
			if n, f.from, err = r.varint(next); err == nil {
				if n > uint64(to-f.from) {
					return fmt.Errorf("%w: field %d at %d claims %d bytes", errProto, tag>>3, at, n)
				}
				f.to = f.from + int64(n)
			}
		default:
			return fmt.Errorf("%w: wire type %d at %d", errProto, f.wire, at)
		}
		if err != nil {
			return err
		}
		if f.to > to || tag>>3 == 0 || tag>>3 > 1<<29-1 {
			return fmt.Errorf("%w: field at %d", errProto, at)
		}
		if err := visit(int(tag>>3), f); err != nil {
			return err
		}
		at = f.to
	}
	return fmt.Errorf("%w: more than %d fields", errProto, maxFields)
}

// window reads small pieces through a buffer.
type window struct {
	s    *source
	to   int64
	buf  []byte
	from int64
}

func (w *window) varint(at int64) (uint64, int64, error) {
	if at < w.from || at+binary.MaxVarintLen64 > w.from+int64(len(w.buf)) {
		n := min(4096, w.to-at)
		if n <= 0 {
			return 0, 0, fmt.Errorf("%w: it ends at %d", errProto, at)
		}
		b, err := w.s.read(at, n)
		if err != nil {
			return 0, 0, err
		}
		w.buf, w.from = b, at
	}
	v, n := binary.Uvarint(w.buf[at-w.from:])
	if n <= 0 {
		return 0, 0, fmt.Errorf("%w: number at %d", errProto, at)
	}
	return v, at + int64(n), nil
}

// onnx checks the outline of a ModelProto and where its external data lies
// (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto).
func (s *source) onnx() (File, error) {
	var version uint64
	var graphs int
	var domains, outside []string
	external := func(tensor field) error { // TensorProto
		return s.fields(tensor.from, tensor.to, func(n int, f field) error {
			if n != 13 || f.wire != 2 { // external_data
				return nil
			}
			var key, value string
			err := s.fields(f.from, f.to, func(n int, f field) error {
				if f.wire != 2 || f.to-f.from > 4096 {
					return nil
				}
				b, err := s.read(f.from, f.to-f.from)
				if err != nil {
					return err
				}
				switch n {
				case 1:
					key = string(b)
				case 2:
					value = string(b)
				}
				return nil
			})
			if err == nil && key == "location" && !inside(value) {
				outside = append(outside, value)
			}
			return err
		})
	}
	err := s.fields(0, s.size, func(n int, f field) error {
		switch {
		case n == 1 && f.wire == 0: // ir_version
			version = f.n
		case n == 8 && f.wire == 2: // opset_import
			return s.fields(f.from, f.to, func(n int, f field) error {
				if n == 1 && f.wire == 2 && f.to-f.from <= 256 {
					b, err := s.read(f.from, f.to-f.from)
					if err != nil {
						return err
					}
					domains = append(domains, string(b))
				}
				return nil
			})
		case n == 7 && f.wire == 2: // graph
			graphs++
			return s.fields(f.from, f.to, func(n int, f field) error {
				if n == 5 && f.wire == 2 { // initializer
					return external(f)
				}
				return nil
			})
		}
		return nil
	})
	switch {
	case err != nil:
		return s.bad(RuleMalformed, "onnx", "%v", err), nil
	case version == 0 || graphs != 1:
		return s.bad(RuleMalformed, "onnx", "no ModelProto: IR version %d, %d graphs", version, graphs), nil
	case len(outside) > 0:
		return s.bad(RuleOutside, "onnx", "its weights lie at %.200q, outside the folder", outside[0]), nil
	}
	foreign := slices.DeleteFunc(domains, func(d string) bool {
		return d == "" || d == "ai.onnx" || strings.HasPrefix(d, "ai.onnx.")
	})
	if len(foreign) > 0 {
		slices.Sort(foreign)
		return s.is("onnx", "IR version %d; operators of other domains: %.100q", version, slices.Compact(foreign)), nil
	}
	return s.is("onnx", "IR version %d", version), nil
}

// inside reports whether a location stays below the file's folder.
func inside(location string) bool {
	p := strings.ReplaceAll(location, `\`, "/")
	return p != "" && !path.IsAbs(p) && !strings.Contains(p, ":") && p != ".." && !strings.HasPrefix(path.Clean(p), "../") && path.Clean(p) != ".."
}
