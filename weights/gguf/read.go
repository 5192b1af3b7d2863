package gguf

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"unicode/utf8"
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
