package reports

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// The Parquet library sets memory aside for whatever length a list or string
// of the footer states. This file walks the same bytes first, in the compact
// protocol of Apache Thrift (thrift-compact-protocol.md), and finds lengths
// that the bytes cannot hold.

// Element types of the compact protocol.
const (
	tStop   = 0
	tTrue   = 1
	tFalse  = 2
	tByte   = 3
	tI16    = 4
	tI32    = 5
	tI64    = 6
	tDouble = 7
	tBinary = 8
	tList   = 9
	tSet    = 10
	tMap    = 11
	tStruct = 12
)

// Nothing in a Parquet footer is nested deeper than a dozen structs.
const thriftDepth = 32

var errThrift = errors.New("malformed metadata")

// thriftWalk reads compact Thrift from b, from the front.
type thriftWalk struct {
	b []byte
	// elements is the number of list elements that may still come.
	elements int
}

// fields are the scalars and structs of a struct by field number; lists and
// strings are checked and left out.
type fields struct {
	num map[int16]int64
	sub map[int16]fields
}

func (w *thriftWalk) uvarint() (uint64, error) {
	u, n := binary.Uvarint(w.b)
	if n <= 0 {
		return 0, fmt.Errorf("%w: bad number", errThrift)
	}
	w.b = w.b[n:]
	return u, nil
}

func (w *thriftWalk) varint() (int64, error) {
	u, err := w.uvarint()
	return int64(u>>1) ^ -int64(u&1), err
}

func (w *thriftWalk) take(n uint64) error {
	if n > uint64(len(w.b)) {
		return fmt.Errorf("%w: %d bytes are announced and %d are left", errThrift, n, len(w.b))
	}
	w.b = w.b[n:]
	return nil
}

func (w *thriftWalk) byte() (byte, error) {
	if len(w.b) == 0 {
		return 0, fmt.Errorf("%w: it ends early", errThrift)
	}
	c := w.b[0]
	w.b = w.b[1:]
	return c, nil
}

// structure walks one struct. keep says whether its fields are wanted.
func (w *thriftWalk) structure(depth int, keep bool) (f fields, err error) {
	if depth == 0 {
		return f, fmt.Errorf("%w: nested too deep", errThrift)
	}
	if keep {
		f = fields{map[int16]int64{}, map[int16]fields{}}
	}
	var id int64
	for {
		head, err := w.byte()
		if err != nil {
			return f, err
		}
		typ := head & 15
		if typ == tStop {
			return f, nil
		}
		if delta := head >> 4; delta != 0 {
			id += int64(delta)
		} else if id, err = w.varint(); err != nil {
			return f, err
		}
		if id < 0 || id > 1<<15-1 {
			return f, fmt.Errorf("%w: field number %d", errThrift, id)
		}
		switch typ {
		case tTrue, tFalse: // a field's truth is in its type
			if keep {
				f.num[int16(id)] = int64(2 - typ)
			}
		case tI16, tI32, tI64:
			n, err := w.varint()
			if err != nil {
				return f, err
			}
			if keep {
				f.num[int16(id)] = n
			}
		case tStruct:
			sub, err := w.structure(depth-1, keep)
			if err != nil {
				return f, err
			}
			if keep {
				f.sub[int16(id)] = sub
			}
		default:
			if err := w.value(typ, depth-1); err != nil {
				return f, err
			}
		}
	}
}

func (w *thriftWalk) value(typ byte, depth int) error {
	switch typ {
	case tTrue, tFalse, tByte:
		_, err := w.byte()
		return err
	case tI16, tI32, tI64:
		_, err := w.varint()
		return err
	case tDouble:
		return w.take(8)
	case tBinary:
		n, err := w.uvarint()
		if err != nil {
			return err
		}
		return w.take(n)
	case tStruct:
		_, err := w.structure(depth, false)
		return err
	case tList, tSet:
		return w.list(depth)
	}
	// Parquet's metadata has no maps.
	return fmt.Errorf("%w: type %d", errThrift, typ)
}

func (w *thriftWalk) list(depth int) error {
	if depth == 0 {
		return fmt.Errorf("%w: nested too deep", errThrift)
	}
	head, err := w.byte()
	if err != nil {
		return err
	}
	n := uint64(head >> 4)
	if n == 15 {
		if n, err = w.uvarint(); err != nil {
			return err
		}
	}
	// Every element takes a byte at least.
	if n > uint64(len(w.b)) || n > uint64(w.elements) {
		return fmt.Errorf("%w: a list of %d elements", errThrift, n)
	}
	w.elements -= int(n)
	for range n {
		if err := w.value(head&15, depth-1); err != nil {
			return err
		}
	}
	return nil
}
