package quant

import (
	"fmt"
	"math"
)

// Quantize encodes src as blocks of type t into dst, to the bits that ggml's
// quantize_row_*_ref functions give without an importance matrix. The lengths
// must correspond as for Dequantize. The error matches ErrUnsupported for types
// whose encoding is a search. Values that are not finite give the bits of the
// x86-64 build, where C leaves them undefined.
func Quantize(t Type, dst []byte, src []float32) error {
	if err := lengths(t, len(src), len(dst)); err != nil {
		return err
	}
	switch t {
	case F32:
		for i, v := range src {
			le.PutUint32(dst[4*i:], math.Float32bits(v))
		}
	case F16:
		for i, v := range src {
			le.PutUint16(dst[2*i:], F32ToF16(v))
		}
	case BF16:
		for i, v := range src {
			le.PutUint16(dst[2*i:], F32ToBF16(v))
		}
	default:
		encode := encoders[t]
		if encode == nil {
			return fmt.Errorf("quant: encoding %s: %w", t, ErrUnsupported)
		}
		v, n := t.BlockValues(), t.BlockBytes()
		for ; len(src) > 0; dst, src = dst[n:], src[v:] {
			encode(dst[:n], src[:v])
		}
	}
	return nil
}

var encoders = map[Type]func(b []byte, x []float32){
	Q4_0: encodeQ4_0, Q4_1: encodeQ4_1, Q5_0: encodeQ5_0, Q5_1: encodeQ5_1, Q8_0: encodeQ8_0,
	Q2_K: encodeQ2K, Q3_K: encodeQ3K, Q4_K: encodeQ4K, Q5_K: encodeQ5K, Q6_K: encodeQ6K,
}

func inverse(d float32) float32 {
	if d == 0 {
		return 0
	}
	return 1 / d
}

// low8 is (int8_t) of a float as x86-64 code does it: truncated to 32 bits,
// which for what does not fit is 1<<31, then cut to 8.
func low8(f float32) int8 {
	if !(f > -1<<31 && f < 1<<31) {
		return 0
	}
	return int8(int32(f))
}

// signedMax returns the value of largest magnitude, the first of equals.
func signedMax(x []float32) float32 {
	var amax, m float32
	for _, v := range x {
		if a := float32(math.Abs(float64(v))); a > amax {
			amax, m = a, v
		}
	}
	return m
}

func minMax(x []float32) (lo, hi float32) {
	lo, hi = math.MaxFloat32, -math.MaxFloat32
	for _, v := range x {
		if v < lo {
			lo = v
		}
		if v > hi {
			hi = v
		}
	}
	return lo, hi
}

func encodeQ4_0(b []byte, x []float32) {
	d := signedMax(x) / -8
	id := inverse(d)
	le.PutUint16(b, F32ToF16(d))
	q := func(v float32) byte { return byte(min(15, low8(float32(v*id)+8.5))) }
	for j := range 16 {
		b[2+j] = q(x[j]) | q(x[j+16])<<4
	}
}

func encodeQ4_1(b []byte, x []float32) {
	lo, hi := minMax(x)
	d := (hi - lo) / 15
	id := inverse(d)
	le.PutUint16(b, F32ToF16(d))
	le.PutUint16(b[2:], F32ToF16(lo))
	q := func(v float32) byte { return byte(min(15, low8(float32((v-lo)*id)+0.5))) }
	for j := range 16 {
		b[4+j] = q(x[j]) | q(x[j+16])<<4
	}
}

func encodeQ5_0(b []byte, x []float32) {
	d := signedMax(x) / -16
	id := inverse(d)
	le.PutUint16(b, F32ToF16(d))
	encode5(b[2:], x, func(v float32) byte { return byte(min(31, low8(float32(v*id)+16.5))) })
}

func encodeQ5_1(b []byte, x []float32) {
	lo, hi := minMax(x)
	d := (hi - lo) / 31
	id := inverse(d)
	le.PutUint16(b, F32ToF16(d))
	le.PutUint16(b[2:], F32ToF16(lo))
	encode5(b[4:], x, func(v float32) byte { return byte(low8(float32((v-lo)*id) + 0.5)) })
}

// encode5 writes 32 fifth bits, then 16 pairs of low nibbles.
func encode5(b []byte, x []float32, q func(float32) byte) {
	var h uint32
	for j := range 16 {
		lo, hi := q(x[j]), q(x[j+16])
		b[4+j] = lo&15 | hi<<4
		h |= uint32(lo>>4&1)<<j | uint32(hi>>4&1)<<(j+16)
	}
	le.PutUint32(b, h)
}

func encodeQ8_0(b []byte, x []float32) {
	var amax float32
	for _, v := range x {
		if a := float32(math.Abs(float64(v))); a > amax {
			amax = a
		}
	}
	d := amax / 127
	id := inverse(d)
	le.PutUint16(b, F32ToF16(d))
	for j, v := range x {
		// Half away from zero; the sum is exact in float64.
		b[2+j] = byte(low8(float32(math.Trunc(float64(v*id) + math.Copysign(0.5, float64(v))))))
	}
}
