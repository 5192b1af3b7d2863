package gguf

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

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
