package gguf

import "fmt"

// ValueType is the type of a metadata value as numbered in the file.
type ValueType uint32

// The value types of GGUF.
const (
	Uint8 ValueType = iota
	Int8
	Uint16
	Int16
	Uint32
	Int32
	Float32
	Bool
	String
	Array
	Uint64
	Int64
	Float64
)

var valueNames = [...]string{"uint8", "int8", "uint16", "int16", "uint32", "int32", "float32",
	"bool", "string", "array", "uint64", "int64", "float64"}

// valueSizes holds bytes per scalar on disk; 0 for string and array.
var valueSizes = [...]int{1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8}

// Known reports whether GGUF defines t.
func (t ValueType) Known() bool { return int(t) < len(valueNames) }

// String returns the name the specification uses.
func (t ValueType) String() string {
	if t.Known() {
		return valueNames[t]
	}
	return fmt.Sprintf("type %d", uint32(t))
}

// Value is one metadata value. Data holds the Go type that corresponds to Type
// (uint8 … float64, bool, string) or, for an array, a slice of the type that
// corresponds to Elem.
type Value struct {
	Type ValueType
	Elem ValueType // element type when Type is Array
	Data any
}

// KV is one metadata entry.
type KV struct {
	Key   string
	Value Value
}

// V makes a scalar Value of the GGUF type that corresponds to T.
func V[T uint8 | int8 | uint16 | int16 | uint32 | int32 | float32 | bool | string | uint64 | int64 | float64](v T) Value {
	return Value{Type: typeOf(any(v)), Data: v}
}

// A makes an array Value of the GGUF type that corresponds to T.
func A[T uint8 | int8 | uint16 | int16 | uint32 | int32 | float32 | bool | string | uint64 | int64 | float64](v []T) Value {
	var zero T
	return Value{Type: Array, Elem: typeOf(any(zero)), Data: v}
}

func typeOf(v any) ValueType {
	switch v.(type) {
	case uint8:
		return Uint8
	case int8:
		return Int8
	case uint16:
		return Uint16
	case int16:
		return Int16
	case uint32:
		return Uint32
	case int32:
		return Int32
	case float32:
		return Float32
	case bool:
		return Bool
	case string:
		return String
	case uint64:
		return Uint64
	case int64:
		return Int64
	}
	return Float64
}

// Len returns the number of elements of an array, 1 for a scalar.
func (v Value) Len() int {
	switch d := v.Data.(type) {
	case []uint8:
		return len(d)
	case []int8:
		return len(d)
	case []uint16:
		return len(d)
	case []int16:
		return len(d)
	case []uint32:
		return len(d)
	case []int32:
		return len(d)
	case []float32:
		return len(d)
	case []bool:
		return len(d)
	case []string:
		return len(d)
	case []uint64:
		return len(d)
	case []int64:
		return len(d)
	case []float64:
		return len(d)
	}
	return 1
}

// TypeName returns "uint32" or "array of string".
func (v Value) TypeName() string {
	if v.Type == Array {
		return "array of " + v.Elem.String()
	}
	return v.Type.String()
}
