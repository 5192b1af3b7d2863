package quant

import (
	"errors"
	"fmt"
	"math"
)

// Type is a ggml tensor type as numbered in a GGUF file.
type Type uint32

// The types this package decodes.
const (
	F32  Type = 0
	F16  Type = 1
	Q4_0 Type = 2
	Q4_1 Type = 3
	Q5_0 Type = 6
	Q5_1 Type = 7
	Q8_0 Type = 8
	Q2_K Type = 10
	Q3_K Type = 11
	Q4_K Type = 12
	Q5_K Type = 13
	Q6_K Type = 14
	BF16 Type = 30
)

// ErrUnsupported is wrapped by errors about a type that is known but that the
// asked function cannot convert.
var ErrUnsupported = errors.New("unsupported tensor type")

type layout struct {
	name   string
	values int // values in a block
	bytes  int // bytes in a block
}

// layouts follows enum ggml_type. The missing numbers belonged to formats that
// ggml has removed.
var layouts = map[Type]layout{
	F32: {"F32", 1, 4}, F16: {"F16", 1, 2}, BF16: {"BF16", 1, 2},
	Q4_0: {"Q4_0", 32, 18}, Q4_1: {"Q4_1", 32, 20},
	Q5_0: {"Q5_0", 32, 22}, Q5_1: {"Q5_1", 32, 24},
	Q8_0: {"Q8_0", 32, 34}, 9: {"Q8_1", 32, 36},
	Q2_K: {"Q2_K", 256, 84}, Q3_K: {"Q3_K", 256, 110}, Q4_K: {"Q4_K", 256, 144}, Q5_K: {"Q5_K", 256, 176}, Q6_K: {"Q6_K", 256, 210},
	15: {"Q8_K", 256, 292},
	16: {"IQ2_XXS", 256, 66}, 17: {"IQ2_XS", 256, 74}, 18: {"IQ3_XXS", 256, 98},
	19: {"IQ1_S", 256, 50}, 20: {"IQ4_NL", 32, 18}, 21: {"IQ3_S", 256, 110},
	22: {"IQ2_S", 256, 82}, 23: {"IQ4_XS", 256, 136}, 29: {"IQ1_M", 256, 56},
	24: {"I8", 1, 1}, 25: {"I16", 1, 2}, 26: {"I32", 1, 4}, 27: {"I64", 1, 8}, 28: {"F64", 1, 8},
	34: {"TQ1_0", 256, 54}, 35: {"TQ2_0", 256, 66}, 39: {"MXFP4", 32, 17},
}

// Known reports whether ggml defines t.
func (t Type) Known() bool { _, ok := layouts[t]; return ok }

// String returns ggml's name, or "type N" for a number ggml does not define.
func (t Type) String() string {
	if l, ok := layouts[t]; ok {
		return l.name
	}
	return fmt.Sprintf("type %d", uint32(t))
}

// BlockValues returns the number of values in one block, 0 for an unknown type.
func (t Type) BlockValues() int { return layouts[t].values }

// BlockBytes returns the number of bytes in one block, 0 for an unknown type.
func (t Type) BlockBytes() int { return layouts[t].bytes }

// RowBytes returns the bytes that n values occupy. ok is false for an unknown
// type, for n that is no whole number of blocks, and where the result would
// overflow an int64.
func (t Type) RowBytes(n uint64) (size int64, ok bool) {
	l, known := layouts[t]
	if !known || n%uint64(l.values) != 0 {
		return 0, false
	}
	blocks := n / uint64(l.values)
	if blocks > math.MaxInt64/uint64(l.bytes) {
		return 0, false
	}
	return int64(blocks) * int64(l.bytes), true
}

// CanDequantize reports whether Dequantize accepts t.
func (t Type) CanDequantize() bool {
	switch t {
	case F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q2_K, Q3_K, Q4_K, Q5_K, Q6_K:
		return true
	}
	return false
}

// CanQuantize reports whether Quantize accepts t: so far, what Dequantize does.
func (t Type) CanQuantize() bool { return t.CanDequantize() }

// Searched reports whether the scales of t are found by a search, whose outcome
// can depend on the program that made it, in the last bits at least.
func (t Type) Searched() bool {
	switch t {
	case Q2_K, Q3_K, Q4_K, Q5_K, Q6_K:
		return true
	}
	return false
}

// ParseType returns the type with ggml's name s, such as "Q4_1".
func ParseType(s string) (Type, error) {
	for t, l := range layouts {
		if l.name == s {
			return t, nil
		}
	}
	return 0, fmt.Errorf("quant: no tensor type is called %q", s)
}
