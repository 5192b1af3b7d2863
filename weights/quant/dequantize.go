package quant

import (
	"encoding/binary"
	"fmt"
	"math"
)

// The products below stand in float32(…) so that no compiler fuses them with
// the addition that follows: a fused result differs in the last bit between
// architectures.

var le = binary.LittleEndian

func half(b []byte) float32 { return F16ToF32(le.Uint16(b)) }

// Dequantize fills dst with the values of the blocks in src. The lengths must
// correspond: len(dst) is a multiple of t.BlockValues() and src holds exactly
// those blocks. The error matches ErrUnsupported for types without a decoder.
func Dequantize(t Type, dst []float32, src []byte) error {
	if err := lengths(t, len(dst), len(src)); err != nil {
		return err
	}
	switch t {
	case F32:
		for i := range dst {
			dst[i] = math.Float32frombits(le.Uint32(src[4*i:]))
		}
	case F16:
		for i := range dst {
			dst[i] = F16ToF32(le.Uint16(src[2*i:]))
		}
	case BF16:
		for i := range dst {
			dst[i] = BF16ToF32(le.Uint16(src[2*i:]))
		}
	default:
		decode := decoders[t]
		if decode == nil {
			return fmt.Errorf("quant: decoding %s: %w", t, ErrUnsupported)
		}
		v, n := t.BlockValues(), t.BlockBytes()
		for len(dst) > 0 {
			decode(dst[:v], src[:n])
			dst, src = dst[v:], src[n:]
		}
	}
	return nil
}

func lengths(t Type, values, bytes int) error {
	if n, ok := t.RowBytes(uint64(values)); !ok || n != int64(bytes) {
		return fmt.Errorf("quant: %d values of %s do not occupy %d bytes", values, t, bytes)
	}
	return nil
}

var decoders = map[Type]func(dst []float32, b []byte){
	Q4_0: decodeQ4_0, Q4_1: decodeQ4_1, Q5_0: decodeQ5_0, Q5_1: decodeQ5_1,
	Q8_0: decodeQ8_0, Q2_K: decodeQ2K, Q3_K: decodeQ3K, Q4_K: decodeQ4K, Q5_K: decodeQ5K, Q6_K: decodeQ6K,
}

func decodeQ4_0(dst []float32, b []byte) {
	d := half(b)
	lo, hi := dst[:16:16], dst[16:32:32]
	for j, q := range b[2:18] {
		lo[j] = float32(int(q&15)-8) * d
		hi[j] = float32(int(q>>4)-8) * d
	}
}

func decodeQ4_1(dst []float32, b []byte) {
	d, m := half(b), half(b[2:])
	lo, hi := dst[:16:16], dst[16:32:32]
	for j, q := range b[4:20] {
		lo[j] = float32(float32(q&15)*d) + m
		hi[j] = float32(float32(q>>4)*d) + m
	}
}

func decodeQ5_0(dst []float32, b []byte) {
	d, h := half(b), le.Uint32(b[2:])
	lo, hi := dst[:16:16], dst[16:32:32]
	for j, q := range b[6:22] {
		lo[j] = float32(int(uint32(q&15)|h>>j<<4&16)-16) * d
		hi[j] = float32(int(uint32(q>>4)|h>>(j+16)<<4&16)-16) * d
	}
}

func decodeQ5_1(dst []float32, b []byte) {
	d, m, h := half(b), half(b[2:]), le.Uint32(b[4:])
	lo, hi := dst[:16:16], dst[16:32:32]
	for j, q := range b[8:24] {
		lo[j] = float32(float32(uint32(q&15)|h>>j<<4&16)*d) + m
		hi[j] = float32(float32(uint32(q>>4)|h>>(j+16)<<4&16)*d) + m
	}
}

func decodeQ8_0(dst []float32, b []byte) {
	d := half(b)
	dst = dst[:32:32]
	for j, q := range b[2:34] {
		dst[j] = float32(int8(q)) * d
	}
}

func decodeQ2K(dst []float32, b []byte) {
	d, dmin := half(b[80:]), half(b[82:])
	for j := range 16 {
		step, m := d*float32(b[j]&15), dmin*float32(b[j]>>4)
		qs, shift := b[16+j/8*32+j%2*16:], j%8/2*2
		for l := range 16 {
			dst[16*j+l] = float32(step*float32(qs[l]>>shift&3)) - m
		}
	}
}

func decodeQ3K(dst []float32, b []byte) {
	d, packed := half(b[108:]), b[96:108]
	for j := range 16 {
		step := d * float32(scale3(packed, j))
		high, qs, shift := b[j%2*16:], b[32+j/8*32+j%2*16:], j%8/2*2
		for l := range 16 {
			dst[16*j+l] = step * float32(int(qs[l]>>shift&3|high[l]>>(j/2)&1<<2)-4)
		}
	}
}

// scaleMin unpacks the 6-bit scale and minimum of sub-block j (0 to 7) of a
// Q4_K or Q5_K block.
func scaleMin(s []byte, j int) (scale, minimum byte) {
	if j < 4 {
		return s[j] & 63, s[j+4] & 63
	}
	return s[j+4]&15 | s[j-4]>>6<<4, s[j+4]>>4 | s[j]>>6<<4
}

func decodeQ4K(dst []float32, b []byte) {
	d, dmin, scales, qs := half(b), half(b[2:]), b[4:16], b[16:144]
	for j := range 4 {
		s1, m1 := scaleMin(scales, 2*j)
		s2, m2 := scaleMin(scales, 2*j+1)
		d1, o1, d2, o2 := d*float32(s1), dmin*float32(m1), d*float32(s2), dmin*float32(m2)
		lo, hi := dst[64*j:64*j+32], dst[64*j+32:64*j+64]
		for l, q := range qs[32*j : 32*j+32] {
			lo[l] = float32(d1*float32(q&15)) - o1
			hi[l] = float32(d2*float32(q>>4)) - o2
		}
	}
}

func decodeQ5K(dst []float32, b []byte) {
	d, dmin, scales, qh, qs := half(b), half(b[2:]), b[4:16], b[16:48], b[48:176]
	for j := range 4 {
		s1, m1 := scaleMin(scales, 2*j)
		s2, m2 := scaleMin(scales, 2*j+1)
		d1, o1, d2, o2 := d*float32(s1), dmin*float32(m1), d*float32(s2), dmin*float32(m2)
		lo, hi := dst[64*j:64*j+32], dst[64*j+32:64*j+64]
		for l, q := range qs[32*j : 32*j+32] {
			lo[l] = float32(d1*float32(q&15|qh[l]>>(2*j)&1<<4)) - o1
			hi[l] = float32(d2*float32(q>>4|qh[l]>>(2*j+1)&1<<4)) - o2
		}
	}
}

func decodeQ6K(dst []float32, b []byte) {
	d := half(b[208:])
	for n := range 2 {
		ql, qh, sc := b[64*n:64*n+64], b[128+32*n:160+32*n], b[192+8*n:200+8*n]
		y := dst[128*n : 128*n+128]
		for l := range 32 {
			is := l / 16
			h := qh[l]
			y[l] = d * float32(int8(sc[is])) * float32(int(ql[l]&15|h&3<<4)-32)
			y[l+32] = d * float32(int8(sc[is+2])) * float32(int(ql[l+32]&15|h>>2&3<<4)-32)
			y[l+64] = d * float32(int8(sc[is+4])) * float32(int(ql[l]>>4|h>>4&3<<4)-32)
			y[l+96] = d * float32(int8(sc[is+6])) * float32(int(ql[l+32]>>4|h>>6<<4)-32)
		}
	}
}

// Steps fills dst with the step of each value in src: the distance between two
// neighbouring values that its block can express. It accepts the block formats
// that Dequantize accepts; lengths as there.
func Steps(t Type, dst []float32, src []byte) error {
	if err := lengths(t, len(dst), len(src)); err != nil {
		return err
	}
	if decoders[t] == nil {
		return fmt.Errorf("quant: block steps of %s: %w", t, ErrUnsupported)
	}
	v, n := t.BlockValues(), t.BlockBytes()
	for ; len(dst) > 0; dst, src = dst[v:], src[n:] {
		switch t {
		case Q2_K:
			for j := range 16 {
				fill(dst[16*j:16*j+16], half(src[80:])*float32(src[j]&15))
			}
		case Q3_K:
			for j := range 16 {
				fill(dst[16*j:16*j+16], half(src[108:])*float32(scale3(src[96:108], j)))
			}
		case Q4_K, Q5_K:
			for j := range 8 {
				s, _ := scaleMin(src[4:16], j)
				fill(dst[32*j:32*j+32], half(src)*float32(s))
			}
		case Q6_K:
			for j := range 16 {
				fill(dst[16*j:16*j+16], half(src[208:])*float32(int8(src[192+j])))
			}
		default:
			fill(dst[:v], half(src))
		}
	}
	return nil
}

func fill(dst []float32, step float32) {
	step = float32(math.Abs(float64(step)))
	for i := range dst {
		dst[i] = step
	}
}

// NonFinite counts the NaN and infinite values of row and returns the index of
// the first, -1 when there is none.
func NonFinite(row []float32) (count, first int) {
	first = -1
	for i, v := range row {
		if v-v != 0 { // NaN for NaN and ±Inf
			if count == 0 {
				first = i
			}
			count++
		}
	}
	return count, first
}
