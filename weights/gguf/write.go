package gguf

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"math"

	"github.com/weighbridge/weighbridge/weights/quant"
)

// Source is a tensor to write. Data must write exactly as many bytes as Type
// and Shape say.
type Source struct {
	Name  string
	Type  quant.Type
	Shape []uint64 // ggml order, as in Tensor
	Data  func(io.Writer) error
}

// Copy makes a Source of a tensor of f.
func (f *File) Copy(t Tensor) Source {
	return Source{t.Name, t.Type, t.Shape, func(w io.Writer) error {
		_, err := io.Copy(w, f.Data(t))
		return err
	}}
}

// Write writes a version 3 file: the entries and tensors in the order given,
// tensors back to back with zero padding to the alignment (general.alignment
// among the entries, else 32). Equal arguments give equal bytes. What Write
// accepts, Read reads back within DefaultLimits or names the limit.
func Write(w io.Writer, meta []KV, tensors []Source) error {
	e := &encoder{w: bufio.NewWriterSize(w, chunk)}
	align := int64(defaultAlignment)
	seen := map[string]bool{}
	for _, kv := range meta {
		if seen[kv.Key] || kv.Key == "" {
			return fmt.Errorf("gguf: writing: key %q is empty or a duplicate", kv.Key)
		}
		seen[kv.Key] = true
		if kv.Key == "general.alignment" {
			a, ok := kv.Value.Data.(uint32)
			if !ok || a == 0 || a&(a-1) != 0 {
				return fmt.Errorf("gguf: writing: alignment %v is not a uint32 power of two", kv.Value.Data)
			}
			align = int64(a)
		}
	}
	e.raw([]byte(magic))
	e.u32(3)
	e.u64(uint64(len(tensors)))
	e.u64(uint64(len(meta)))
	for _, kv := range meta {
		e.str(kv.Key)
		if err := e.value(kv.Value); err != nil {
			return fmt.Errorf("gguf: writing key %q: %w", kv.Key, err)
		}
	}
	sizes, err := e.list(tensors, align)
	if err != nil {
		return err
	}
	for i, t := range tensors {
		e.pad(align)
		if e.err != nil {
			break
		}
		start := e.n
		if err := t.Data(e); err != nil {
			return fmt.Errorf("gguf: writing tensor %q: %w", t.Name, err)
		}
		if got := e.n - start; got != sizes[i] {
			return fmt.Errorf("gguf: writing tensor %q: %d bytes of data where type and shape make %d", t.Name, got, sizes[i])
		}
	}
	e.pad(align)
	if e.err == nil {
		e.err = e.w.Flush()
	}
	if e.err != nil {
		return fmt.Errorf("gguf: writing: %w", e.err)
	}
	return nil
}

// encoder counts what it writes and keeps the first error.
type encoder struct {
	w   *bufio.Writer
	n   int64
	err error
}

// Write lets a Source's Data write through the count.
func (e *encoder) Write(p []byte) (int, error) {
	if e.err != nil {
		return 0, e.err
	}
	n, err := e.w.Write(p)
	e.n += int64(n)
	e.err = err
	return n, err
}

func (e *encoder) raw(p []byte) { _, _ = e.Write(p) } // the error is kept in e.err
func (e *encoder) u32(v uint32) { e.raw(binary.LittleEndian.AppendUint32(nil, v)) }
func (e *encoder) u64(v uint64) { e.raw(binary.LittleEndian.AppendUint64(nil, v)) }
func (e *encoder) str(s string) { e.u64(uint64(len(s))); e.raw([]byte(s)) }
func (e *encoder) pad(a int64)  { e.raw(make([]byte, alignUp(e.n, a)-e.n)) }
func (e *encoder) bool(b bool)  { e.raw([]byte{map[bool]byte{true: 1}[b]}) }
func (e *encoder) num(v any)    { e.err = firstErr(e.err, binary.Write(e, binary.LittleEndian, v)) }
func firstErr(a, b error) error {
	if a != nil {
		return a
	}
	return b
}

func (e *encoder) value(v Value) error {
	if v.Type != Array {
		e.u32(uint32(v.Type))
		switch d := v.Data.(type) {
		case string:
			e.str(d)
		case bool:
			e.bool(d)
		default:
			if typeOf(d) != v.Type || v.Len() != 1 {
				return fmt.Errorf("%T is not the data of a %s", d, v.Type)
			}
			e.num(d)
		}
		return nil
	}
	e.u32(uint32(Array))
	e.u32(uint32(v.Elem))
	e.u64(uint64(v.Len()))
	switch d := v.Data.(type) {
	case []string:
		for _, s := range d {
			e.str(s)
		}
	case []bool:
		for _, b := range d {
			e.bool(b)
		}
	case []uint8, []int8, []uint16, []int16, []uint32, []int32, []float32, []uint64, []int64, []float64:
		e.num(d)
	default:
		return fmt.Errorf("%T is not the data of an array", d)
	}
	return nil
}

// list writes the tensor list and returns the sizes in bytes.
func (e *encoder) list(tensors []Source, align int64) ([]int64, error) {
	sizes := make([]int64, len(tensors))
	seen := map[string]bool{}
	var off int64
	for i, t := range tensors {
		if seen[t.Name] || t.Name == "" || len(t.Shape) < 1 || len(t.Shape) > 4 {
			return nil, fmt.Errorf("gguf: writing tensor %q: empty or duplicate name, or %d dimensions", t.Name, len(t.Shape))
		}
		seen[t.Name] = true
		size, ok := t.Type.RowBytes(t.Shape[0])
		for _, d := range t.Shape[1:] {
			ok = ok && d > 0 && uint64(size) <= math.MaxInt64/d
			size *= int64(d)
		}
		if !ok || size <= 0 || off > math.MaxInt64-size-align {
			return nil, fmt.Errorf("gguf: writing tensor %q: no size for shape %v of %s", t.Name, t.Shape, t.Type)
		}
		e.str(t.Name)
		e.u32(uint32(len(t.Shape)))
		for _, d := range t.Shape {
			e.u64(d)
		}
		e.u32(uint32(t.Type))
		e.u64(uint64(off))
		sizes[i] = size
		off = alignUp(off+size, align)
	}
	return sizes, nil
}
