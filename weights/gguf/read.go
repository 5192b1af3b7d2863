package gguf

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"unicode/utf8"

	"github.com/weighbridge/weighbridge/weights/quant"
)

const (
	magic            = "GGUF"
	defaultAlignment = 32
	// Least bytes an entry can take on disk: a key of one byte with its length,
	// a type and a one-byte value; a name of one byte, one dimension, type, offset.
	minEntry  = 8 + 1 + 4 + 1
	minTensor = 8 + 1 + 4 + 8 + 4 + 8
	chunk     = 64 << 10
)

// Read parses the header, metadata and tensor list of a file of size bytes.
// name stands for the file in errors. r is read forward only, from byte 0 and
// without gaps, by Read itself; File.Data reads it at random later. Every error
// about the contents matches ErrFormat.
func Read(name string, r io.ReaderAt, size int64, lim Limits) (*File, error) {
	lim = lim.withDefaults()
	d := &decoder{
		file: name, size: size, lim: lim,
		end: min(size, lim.MetadataBytes),
		r:   bufio.NewReaderSize(io.NewSectionReader(r, 0, size), chunk),
	}
	f := &File{Name: name, Size: size, r: r}
	if err := d.header(f); err != nil {
		return nil, err
	}
	return f, nil
}

func (l Limits) withDefaults() Limits {
	def := DefaultLimits
	pick(&l.MetadataBytes, def.MetadataBytes)
	pick(&l.Keys, def.Keys)
	pick(&l.KeyBytes, def.KeyBytes)
	pick(&l.StringBytes, def.StringBytes)
	pick(&l.ArrayLen, def.ArrayLen)
	pick(&l.Tensors, def.Tensors)
	pick(&l.NameBytes, def.NameBytes)
	pick(&l.Alignment, def.Alignment)
	return l
}

func pick[T int64 | uint64](v *T, def T) {
	if *v == 0 {
		*v = def
	}
}

type decoder struct {
	file      string
	size, end int64 // of the file; of what metadata may occupy
	pos       int64
	lim       Limits
	r         *bufio.Reader
	buf       [chunk]byte
}

func (d *decoder) fail(at int64, item, format string, args ...any) error {
	return &FormatError{File: d.file, Offset: at, Item: item, Reason: fmt.Sprintf(format, args...)}
}

// need checks that n more bytes of metadata can exist. All allocation is done
// after it.
func (d *decoder) need(item string, n uint64) error {
	switch {
	case n > uint64(d.size-d.pos):
		return d.fail(d.pos, item, "truncated: needs %d bytes where the file has %d left", n, d.size-d.pos)
	case n > uint64(max(0, d.end-d.pos)):
		return d.fail(d.pos, item, "needs %d bytes, which exceeds the limit of %d bytes of metadata", n, d.lim.MetadataBytes)
	}
	return nil
}

// read fills p, whose size need has approved.
func (d *decoder) read(item string, p []byte) error {
	n, err := io.ReadFull(d.r, p)
	at := d.pos
	d.pos += int64(n)
	if err != nil {
		return &FormatError{File: d.file, Offset: at, Item: item, Reason: "reading failed", Err: err}
	}
	return nil
}

func (d *decoder) bytes(item string, n int) ([]byte, error) {
	if err := d.need(item, uint64(n)); err != nil {
		return nil, err
	}
	b := d.buf[:n]
	return b, d.read(item, b)
}

func (d *decoder) u32(item string) (uint32, error) {
	b, err := d.bytes(item, 4)
	if err != nil {
		return 0, err
	}
	return binary.LittleEndian.Uint32(b), nil
}

func (d *decoder) u64(item string) (uint64, error) {
	b, err := d.bytes(item, 8)
	if err != nil {
		return 0, err
	}
	return binary.LittleEndian.Uint64(b), nil
}

func (d *decoder) str(item string, limit uint64) (string, error) {
	at := d.pos
	n, err := d.u64(item)
	if err != nil {
		return "", err
	}
	if n > limit {
		return "", d.fail(at, item, "a length of %d bytes exceeds the limit of %d", n, limit)
	}
	if err := d.need(item, n); err != nil {
		return "", err
	}
	p := d.buf[:]
	if n > chunk {
		p = make([]byte, n)
	}
	if err := d.read(item, p[:n]); err != nil {
		return "", err
	}
	return string(p[:n]), nil
}

// name reads a key or tensor name, which C code will see as a C string.
func (d *decoder) name(item string, limit uint64) (string, error) {
	at := d.pos
	s, err := d.str(item, limit)
	if err != nil {
		return "", err
	}
	switch {
	case s == "":
		return "", d.fail(at, item, "empty name")
	case !utf8.ValidString(s):
		return "", d.fail(at, item, "name %q is not UTF-8", s)
	}
	for i := range len(s) {
		if s[i] == 0 {
			return "", d.fail(at, item, "name %q holds a NUL byte, where the engine would cut it", s)
		}
	}
	return s, nil
}

func (d *decoder) header(f *File) error {
	b, err := d.bytes("magic", len(magic))
	if err != nil {
		return err
	}
	if string(b) != magic {
		return d.fail(0, "magic", "%q instead of %q: not a GGUF file", b, magic)
	}
	if f.Version, err = d.u32("version"); err != nil {
		return err
	}
	switch {
	case f.Version == 2 || f.Version == 3:
	case f.Version&0xffff == 0 && f.Version != 0:
		return d.fail(4, "version", "big-endian file; convert it with gguf_convert_endian.py of the Python package gguf")
	default:
		return d.fail(4, "version", "%d is not supported, 2 and 3 are; convert the file with a current llama.cpp", f.Version)
	}
	tensors, err := d.u64("tensor count")
	if err != nil {
		return err
	}
	keys, err := d.u64("metadata count")
	if err != nil {
		return err
	}
	if err := d.count(8, "tensor count", tensors, d.lim.Tensors, minTensor); err != nil {
		return err
	}
	if err := d.count(16, "metadata count", keys, d.lim.Keys, minEntry); err != nil {
		return err
	}
	if err := d.metadata(f, int(keys)); err != nil {
		return err
	}
	return d.tensors(f, int(tensors))
}

func (d *decoder) count(at int64, item string, n, limit, least uint64) error {
	if n > limit {
		return d.fail(at, item, "%d exceeds the limit of %d", n, limit)
	}
	if left := uint64(d.size - d.pos); n*least > left {
		return d.fail(at, item, "%d entries need %d bytes or more where the file has %d left", n, n*least, left)
	}
	return nil
}

func (d *decoder) metadata(f *File, n int) error {
	entries := make([]KV, 0, n)
	seen := make(map[string]int, n)
	for i := range n {
		at := d.pos
		key, err := d.name(fmt.Sprintf("metadata entry %d", i), d.lim.KeyBytes)
		if err != nil {
			return err
		}
		item := fmt.Sprintf("metadata key %q", key)
		if j, dup := seen[key]; dup {
			return d.fail(at, item, "duplicate: entries %d and %d", j, i)
		}
		seen[key] = i
		v, err := d.value(item)
		if err != nil {
			return err
		}
		entries = append(entries, KV{key, v})
	}
	f.Meta = NewMetadata(entries)

	f.Alignment = defaultAlignment
	if v, ok := f.Meta.Get("general.alignment"); ok {
		a, isU32 := v.Data.(uint32)
		if !isU32 || a == 0 || a&(a-1) != 0 || uint64(a) > d.lim.Alignment {
			return d.fail(d.pos, `metadata key "general.alignment"`, "%s %v is not a uint32 power of two up to %d", v.TypeName(), v.Data, d.lim.Alignment)
		}
		f.Alignment = int64(a)
	}
	return nil
}

func (d *decoder) value(item string) (Value, error) {
	at := d.pos
	t, err := d.u32(item)
	if err != nil {
		return Value{}, err
	}
	switch vt := ValueType(t); {
	case !vt.Known():
		return Value{}, d.fail(at, item, "unknown value type %d", t)
	case vt == Array:
		return d.array(item)
	case vt == String:
		s, err := d.str(item, d.lim.StringBytes)
		return Value{Type: String, Data: s}, err
	default:
		b, err := d.bytes(item, valueSizes[vt])
		if err != nil {
			return Value{}, err
		}
		if vt == Bool && b[0] > 1 {
			return Value{}, d.fail(d.pos-1, item, "bool with the value %d", b[0])
		}
		return Value{Type: vt, Data: scalar(vt, b)}, nil
	}
}

func scalar(t ValueType, b []byte) any {
	le := binary.LittleEndian
	switch t {
	case Uint8:
		return b[0]
	case Int8:
		return int8(b[0])
	case Uint16:
		return le.Uint16(b)
	case Int16:
		return int16(le.Uint16(b))
	case Uint32:
		return le.Uint32(b)
	case Int32:
		return int32(le.Uint32(b))
	case Float32:
		return math.Float32frombits(le.Uint32(b))
	case Bool:
		return b[0] == 1
	case Uint64:
		return le.Uint64(b)
	case Int64:
		return int64(le.Uint64(b))
	}
	return math.Float64frombits(le.Uint64(b))
}

func (d *decoder) array(item string) (Value, error) {
	at := d.pos
	t, err := d.u32(item)
	if err != nil {
		return Value{}, err
	}
	n, err := d.u64(item)
	if err != nil {
		return Value{}, err
	}
	elem := ValueType(t)
	switch {
	case !elem.Known():
		return Value{}, d.fail(at, item, "array of unknown value type %d", t)
	case elem == Array:
		// The engine refuses these too, and no published model has one.
		return Value{}, d.fail(at, item, "array of arrays")
	case n > d.lim.ArrayLen:
		return Value{}, d.fail(at+4, item, "an array of %d elements exceeds the limit of %d", n, d.lim.ArrayLen)
	}
	least := uint64(valueSizes[elem])
	if elem == String {
		least = 8
	}
	if err := d.need(item, n*least); err != nil {
		return Value{}, err
	}
	v := Value{Type: Array, Elem: elem}
	v.Data, err = d.elements(item, elem, int(n))
	return v, err
}

func (d *decoder) elements(item string, elem ValueType, n int) (any, error) {
	le := binary.LittleEndian
	switch elem {
	case Uint8:
		return numbers(d, item, n, 1, func(b []byte) uint8 { return b[0] })
	case Int8:
		return numbers(d, item, n, 1, func(b []byte) int8 { return int8(b[0]) })
	case Uint16:
		return numbers(d, item, n, 2, le.Uint16)
	case Int16:
		return numbers(d, item, n, 2, func(b []byte) int16 { return int16(le.Uint16(b)) })
	case Uint32:
		return numbers(d, item, n, 4, le.Uint32)
	case Int32:
		return numbers(d, item, n, 4, func(b []byte) int32 { return int32(le.Uint32(b)) })
	case Float32:
		return numbers(d, item, n, 4, func(b []byte) float32 { return math.Float32frombits(le.Uint32(b)) })
	case Uint64:
		return numbers(d, item, n, 8, le.Uint64)
	case Int64:
		return numbers(d, item, n, 8, func(b []byte) int64 { return int64(le.Uint64(b)) })
	case Float64:
		return numbers(d, item, n, 8, func(b []byte) float64 { return math.Float64frombits(le.Uint64(b)) })
	case Bool:
		return d.bools(item, n)
	}
	out := make([]string, n)
	for i := range out {
		s, err := d.str(item, d.lim.StringBytes)
		if err != nil {
			var fe *FormatError
			if errors.As(err, &fe) {
				fe.Item = fmt.Sprintf("%s, element %d", item, i)
			}
			return nil, err
		}
		out[i] = s
	}
	return out, nil
}

func numbers[T any](d *decoder, item string, n, size int, decode func([]byte) T) ([]T, error) {
	out := make([]T, n)
	for i := 0; i < n; {
		b := d.buf[:min(n-i, chunk/size)*size]
		if err := d.read(item, b); err != nil {
			return nil, err
		}
		for ; len(b) > 0; b = b[size:] {
			out[i] = decode(b)
			i++
		}
	}
	return out, nil
}

func (d *decoder) bools(item string, n int) ([]bool, error) {
	start := d.pos
	raw, err := numbers(d, item, n, 1, func(b []byte) uint8 { return b[0] })
	if err != nil {
		return nil, err
	}
	out := make([]bool, n)
	for i, b := range raw {
		if b > 1 {
			return nil, d.fail(start+int64(i), item, "element %d is a bool with the value %d", i, b)
		}
		out[i] = b == 1
	}
	return out, nil
}

func (d *decoder) tensors(f *File, n int) error {
	f.Tensors = make([]Tensor, 0, n)
	f.index = make(map[string]int, n)
	at := make([]int64, n) // where each entry starts, for errors
	for i := range n {
		at[i] = d.pos
		name, err := d.name(fmt.Sprintf("tensor %d", i), d.lim.NameBytes)
		if err != nil {
			return err
		}
		if j, dup := f.index[name]; dup {
			return d.fail(at[i], fmt.Sprintf("tensor %q", name), "duplicate: tensors %d and %d", j, i)
		}
		f.index[name] = i
		t, err := d.tensor(name, f.Alignment)
		if err != nil {
			return err
		}
		f.Tensors = append(f.Tensors, t)
	}
	f.DataStart = alignUp(d.pos, f.Alignment)
	return d.place(f, at)
}

// tensor reads one entry; Offset is left relative to the data section.
func (d *decoder) tensor(name string, alignment int64) (Tensor, error) {
	item := fmt.Sprintf("tensor %q", name)
	at := d.pos
	dims, err := d.u32(item)
	if err != nil {
		return Tensor{}, err
	}
	if dims < 1 || dims > 4 {
		return Tensor{}, d.fail(at, item, "%d dimensions, 1 to 4 are possible", dims)
	}
	t := Tensor{Name: name, Shape: make([]uint64, dims)}
	outer := uint64(1)
	for i := range t.Shape {
		at := d.pos
		n, err := d.u64(item)
		if err != nil {
			return Tensor{}, err
		}
		if n == 0 {
			return Tensor{}, d.fail(at, item, "dimension %d is 0", i)
		}
		if n > math.MaxInt64 || (i > 0 && n > math.MaxInt64/outer) {
			return Tensor{}, d.fail(at, item, "dimension %d of %d overflows the number of values", i, n)
		}
		t.Shape[i] = n
		if i > 0 {
			outer *= n
		}
	}
	at = d.pos
	id, err := d.u32(item)
	if err != nil {
		return Tensor{}, err
	}
	t.Type = quant.Type(id)
	if !t.Type.Known() {
		return Tensor{}, d.fail(at, item, "unknown tensor type %d", id)
	}
	row, ok := t.Type.RowBytes(t.Shape[0])
	if !ok {
		return Tensor{}, d.fail(at, item, "a row of %d values is no whole number of %s blocks of %d", t.Shape[0], t.Type, t.Type.BlockValues())
	}
	if outer > uint64(math.MaxInt64/row) || outer > uint64(math.MaxInt64)/t.Shape[0] {
		return Tensor{}, d.fail(at, item, "shape %v of %s overflows", t.Shape, t.Type)
	}
	t.Size = row * int64(outer)
	at = d.pos
	off, err := d.u64(item)
	if err != nil {
		return Tensor{}, err
	}
	if off > math.MaxInt64 || off%uint64(alignment) != 0 {
		return Tensor{}, d.fail(at, item, "offset %d is not a multiple of the alignment %d", off, alignment)
	}
	t.Offset = int64(off)
	return t, nil
}

// place makes offsets absolute and proves that the tensors lie inside the file
// and apart from each other.
func (d *decoder) place(f *File, at []int64) error {
	order := make([]int, len(f.Tensors))
	for i := range f.Tensors {
		order[i] = i
		t := &f.Tensors[i]
		if room := f.Size - f.DataStart; t.Size > room || t.Offset > room-t.Size {
			return d.fail(at[i], fmt.Sprintf("tensor %q", t.Name), "data at %d+%d, %d bytes long, ends outside of the file of %d bytes", f.DataStart, t.Offset, t.Size, f.Size)
		}
		t.Offset += f.DataStart
	}
	slices.SortStableFunc(order, func(a, b int) int {
		return int(min(1, max(-1, f.Tensors[a].Offset-f.Tensors[b].Offset)))
	})
	end := f.DataStart
	var prev string
	for _, i := range order {
		t := f.Tensors[i]
		if t.Offset < end {
			return d.fail(at[i], fmt.Sprintf("tensor %q", t.Name), "its data overlap those of tensor %q", prev)
		}
		f.Unclaimed += max(0, t.Offset-alignUp(end, f.Alignment))
		end, prev = t.Offset+t.Size, t.Name
	}
	f.Unclaimed += max(0, f.Size-alignUp(end, f.Alignment))
	return nil
}

func alignUp(n, a int64) int64 { return (n + a - 1) / a * a }
