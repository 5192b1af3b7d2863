package quant

import "math"

// halves holds every binary16 value: looking one up takes a third of the time
// of computing it, and F16 tensors have one per value.
var halves = func() (t [1 << 16]float32) {
	for i := range t {
		t[i] = widen(uint16(i))
	}
	return t
}()

// F16ToF32 widens an IEEE binary16 value.
func F16ToF32(h uint16) float32 { return halves[h] }

func widen(h uint16) float32 {
	sign := uint32(h&0x8000) << 16
	mag := uint32(h&0x7fff) << 13
	if h&0x7c00 == 0x7c00 {
		return math.Float32frombits(sign | 0x7f800000 | mag)
	}
	// Exponent biases differ by 127-15; the product is exact, subnormals too.
	f := math.Float32frombits(mag) * 0x1p112
	return math.Float32frombits(sign | math.Float32bits(f))
}

// F32ToF16 rounds to nearest, ties to even; NaN becomes 0x7e00 with its sign,
// as in ggml.
func F32ToF16(f float32) uint16 {
	bits := math.Float32bits(f)
	sign := uint16(bits >> 16 & 0x8000)
	mag := bits & 0x7fffffff
	switch {
	case mag > 0x7f800000:
		return sign | 0x7e00
	case mag >= 0x477ff000: // 65520, half way to what would be 65536
		return sign | 0x7c00
	case mag < 0x38800000: // 2⁻¹⁴: subnormal; the last bit of 0.5+x counts 2⁻²⁴
		return sign | uint16(math.Float32bits(0.5+math.Float32frombits(mag))-math.Float32bits(0.5))
	}
	mag += 0xfff + mag>>13&1
	return sign | uint16((mag-0x38000000)>>13)
}

// BF16ToF32 widens a bfloat16 value.
func BF16ToF32(h uint16) float32 { return math.Float32frombits(uint32(h) << 16) }

// F32ToBF16 rounds to nearest, ties to even; NaN stays a quiet NaN.
func F32ToBF16(f float32) uint16 {
	bits := math.Float32bits(f)
	if bits&0x7fffffff > 0x7f800000 {
		return uint16(bits>>16) | 0x40
	}
	return uint16((bits + 0x7fff + bits>>16&1) >> 16)
}
