package quant

import "math"

// The encoders of the k-quants search for the scale of each run of 16 or 32
// values. These follow ggml's quantize_row_*_K_ref operation by operation,
// since the rounding of every sum decides which of two scales wins.

// epsilon is the largest magnitude of a run that counts as nothing.
const epsilon = 1e-15

// nearestInt is ggml's nearest_int: half to even, by the mantissa of a sum,
// with the same outcome for what does not fit.
func nearestInt(f float32) int {
	return int(math.Float32bits(float32(f)+12582912)&0x7fffff) - 0x400000
}

func clamp(l, lo, hi int) int { return max(lo, min(hi, l)) }

func abs32(f float32) float32 { return math.Float32frombits(math.Float32bits(f) &^ (1 << 31)) }

// search are the tries of searchMin: (from + i·by + top) / range for i ≤ tries.
type search struct {
	from, by float32
	tries    int
	mad      bool // minimise absolute errors, not squares
}

// searchMin is make_qkx2_quants: codes 0 to top that stand for
// scale·code − minimum.
func (s search) searchMin(codes []byte, x, weights []float32, top int) (scale, minimum float32) {
	lo, hi := x[0], x[0]
	sumW, sumX := weights[0], float32(weights[0]*x[0])
	for i := 1; i < len(x); i++ {
		v := x[i]
		if v < lo {
			lo = v
		}
		if v > hi {
			hi = v
		}
		sumW += weights[i]
		sumX += float32(weights[i] * v)
	}
	if lo > 0 {
		lo = 0
	}
	if lo == hi {
		clear(codes)
		return 0, -lo
	}
	inverse := float32(top) / (hi - lo)
	scale = 1 / inverse
	for i, v := range x {
		codes[i] = byte(clamp(nearestInt(inverse*(v-lo)), 0, top))
	}
	best := s.error(codes, x, weights, scale, lo)
	var buf [32]byte
	attempt := buf[:len(x)]
	for try := range s.tries + 1 {
		// The best minimum so far, not the smallest value, bounds the range.
		inverse = (s.from + float32(s.by*float32(try)) + float32(top)) / (hi - lo)
		var sumL, sumL2, sumXL float32
		for i, v := range x {
			l := clamp(nearestInt(inverse*(v-lo)), 0, top)
			attempt[i] = byte(l)
			wl := float32(weights[i] * float32(l))
			sumL += wl
			sumL2 += float32(wl * float32(l))
			sumXL += float32(wl * v)
		}
		d := float32(sumW*sumL2) - float32(sumL*sumL)
		if !(d > 0) {
			continue
		}
		thisScale := (float32(sumW*sumXL) - float32(sumX*sumL)) / d
		thisMin := (float32(sumL2*sumX) - float32(sumL*sumXL)) / d
		if thisMin > 0 {
			thisMin, thisScale = 0, sumXL/sumL2
		}
		if e := s.error(attempt, x, weights, thisScale, thisMin); e < best {
			copy(codes, attempt)
			best, scale, lo = e, thisScale, thisMin
		}
	}
	return scale, -lo
}

// error is the weighed error of scale·code + low.
func (s search) error(codes []byte, x, weights []float32, scale, low float32) (sum float32) {
	for i, v := range x {
		d := float32(scale*float32(codes[i])) + low - v
		if s.mad {
			d = abs32(d)
		} else {
			d = float32(d * d)
		}
		sum += float32(weights[i] * d)
	}
	return sum
}

// searchScale is make_qx_quants with squares for weights: codes 0 to 2·top−1
// that stand for scale·(code−top).
func searchScale(codes []byte, x []float32, top int) float32 {
	m := signedMax(x)
	if abs32(m) < epsilon {
		clear(codes)
		return 0
	}
	sums := func(inverse float32) (xl, l2 float32) {
		for _, v := range x {
			l := float32(clamp(nearestInt(inverse*v), -top, top-1))
			w := v * v
			xl += float32(float32(w*v) * l)
			l2 += float32(float32(w*l) * l)
		}
		return xl, l2
	}
	inverse := float32(-top) / m
	at := inverse
	xl, l2 := sums(inverse)
	var scale float32
	if l2 != 0 {
		scale = xl / l2
	}
	best := scale * xl
	for try := -9; try <= 9; try++ {
		if try == 0 {
			continue
		}
		inverse = -(float32(top) + float32(0.1*float32(try))) / m
		if xl, l2 = sums(inverse); l2 > 0 && float32(xl*xl) > float32(best*l2) {
			at, scale = inverse, xl/l2
			best = scale * xl
		}
	}
	for i, v := range x {
		codes[i] = byte(top + clamp(nearestInt(at*v), -top, top-1))
	}
	return scale
}

// descend is make_q3_quants: codes as of searchScale, improved one at a time.
func descend(codes []byte, x []float32, top int) float32 {
	m := signedMax(x)
	if abs32(m) < epsilon {
		clear(codes)
		return 0
	}
	inverse := float32(-top) / m
	var buf [16]int
	l := buf[:len(x)]
	var xl, l2 float32
	add := func(v float32, code int) (dxl, dl2 float32) {
		w, c := v*v, float32(code)
		return float32(w*v) * c, float32(w*c) * c
	}
	for i, v := range x {
		l[i] = clamp(nearestInt(inverse*v), -top, top-1)
		a, b := add(v, l[i])
		xl, l2 = xl+float32(a), l2+float32(b)
	}
	for range 5 {
		changed := false
		for i, v := range x {
			a, b := add(v, l[i])
			xl1, l21 := xl-float32(a), l2-float32(b)
			if !(xl1 > 0) {
				continue
			}
			code := clamp(nearestInt(float32(v*l21)/xl1), -top, top-1)
			if code == l[i] {
				continue
			}
			a, b = add(v, code)
			xl1, l21 = xl1+float32(a), l21+float32(b)
			if l21 > 0 && float32(float32(xl1*xl1)*l2) > float32(float32(xl*xl)*l21) {
				l[i], xl, l2, changed = code, xl1, l21, true
			}
		}
		if !changed {
			break
		}
	}
	for i := range l {
		codes[i] = byte(l[i] + top)
	}
	if l2 > 0 {
		return xl / l2
	}
	return 0
}

// weigh fills w with ggml's weights of a run: its root mean square plus |x|.
func weigh(w, x []float32) {
	var sum float32
	for _, v := range x {
		sum += float32(v * v)
	}
	mean := float32(math.Sqrt(float64(sum / float32(len(x)))))
	for i, v := range x {
		w[i] = mean + abs32(v)
	}
}

// scalesMins searches the runs of a Q4_K or Q5_K block, writes its scales and
// leaves the codes that go with them.
func scalesMins(b []byte, codes []byte, x []float32, top int, s search) {
	var scales, mins [8]float32
	var w [32]float32
	var maxScale, maxMin float32
	for j := range 8 {
		run := x[32*j : 32*j+32]
		weigh(w[:], run)
		scales[j], mins[j] = s.searchMin(codes[32*j:32*j+32], run, w[:], top)
		if scales[j] > maxScale {
			maxScale = scales[j]
		}
		if mins[j] > maxMin {
			maxMin = mins[j]
		}
	}
	var inverseScale, inverseMin float32
	if maxScale > 0 {
		inverseScale = 63 / maxScale
	}
	if maxMin > 0 {
		inverseMin = 63 / maxMin
	}
	packed := b[4:16]
	clear(packed)
	for j := range 8 {
		ls := min(63, byte(nearestInt(inverseScale*scales[j])))
		lm := min(63, byte(nearestInt(inverseMin*mins[j])))
		if j < 4 {
			packed[j], packed[j+4] = ls, lm
			continue
		}
		packed[j+4] = ls&15 | lm&15<<4
		packed[j-4] |= ls >> 4 << 6
		packed[j] |= lm >> 4 << 6
	}
	le.PutUint16(b, F32ToF16(maxScale/63))
	le.PutUint16(b[2:], F32ToF16(maxMin/63))
	for j := range 8 {
		ls, lm := scaleMin(packed, j)
		recode(codes[32*j:32*j+32], x[32*j:32*j+32], half(b)*float32(ls), half(b[2:])*float32(lm), 0, top)
	}
}

// recode rounds x to the grid d·code − m; codes are stored from lo on. A run
// whose scale is 0 keeps its codes.
func recode(codes []byte, x []float32, d, m float32, lo, hi int) {
	if d == 0 {
		return
	}
	for i, v := range x {
		codes[i] = byte(clamp(nearestInt((v+m)/d), lo, hi) - lo)
	}
}

func encodeQ4K(b []byte, x []float32) {
	var codes [256]byte
	scalesMins(b, codes[:], x, 15, search{-1, 0.1, 20, false})
	for j := range 4 {
		for l := range 32 {
			b[16+32*j+l] = codes[64*j+l] | codes[64*j+l+32]<<4
		}
	}
}

func encodeQ5K(b []byte, x []float32) {
	var codes [256]byte
	scalesMins(b, codes[:], x, 31, search{-0.5, 0.1, 15, false})
	qh, qs := b[16:48], b[48:176]
	clear(qh)
	for j := range 4 {
		for l := range 32 {
			lo, hi := codes[64*j+l], codes[64*j+l+32]
			qs[32*j+l] = lo&15 | hi<<4
			qh[l] |= lo>>4<<(2*j) | hi>>4<<(2*j+1)
		}
	}
}

func encodeQ6K(b []byte, x []float32) {
	var codes [256]byte
	var scales [16]float32
	var maxScale float32
	for j := range scales {
		scales[j] = searchScale(codes[16*j:16*j+16], x[16*j:16*j+16], 32)
		if abs32(scales[j]) > abs32(maxScale) {
			maxScale = scales[j]
		}
	}
	if abs32(maxScale) < epsilon {
		clear(b)
		return
	}
	inverse := -128 / maxScale
	le.PutUint16(b[208:], F32ToF16(1/inverse))
	for j, s := range scales {
		l := int8(min(127, nearestInt(inverse*s)))
		b[192+j] = byte(l)
		recode(codes[16*j:16*j+16], x[16*j:16*j+16], half(b[208:])*float32(l), 0, -32, 31)
	}
	for n := range 2 {
		ql, qh, c := b[64*n:64*n+64], b[128+32*n:160+32*n], codes[128*n:128*n+128]
		for l := range 32 {
			ql[l] = c[l]&15 | c[l+64]<<4
			ql[l+32] = c[l+32]&15 | c[l+96]<<4
			qh[l] = c[l]>>4 | c[l+32]>>4<<2 | c[l+64]>>4<<4 | c[l+96]>>4<<6
		}
	}
}

// pack2 stores the two low bits of 256 codes.
func pack2(qs, codes []byte) {
	for n := range 2 {
		for l := range 32 {
			c := codes[128*n+l:]
			qs[32*n+l] = c[0]&3 | c[32]&3<<2 | c[64]&3<<4 | c[96]&3<<6
		}
	}
}

func encodeQ2K(b []byte, x []float32) {
	var codes [256]byte
	var scales, mins [16]float32
	var w [16]float32
	var maxScale, maxMin float32
	for j := range 16 {
		run := x[16*j : 16*j+16]
		for l, v := range run {
			w[l] = abs32(v)
		}
		scales[j], mins[j] = search{-0.5, 0.1, 15, true}.searchMin(codes[16*j:16*j+16], run, w[:], 3)
		if scales[j] > maxScale {
			maxScale = scales[j]
		}
		if mins[j] > maxMin {
			maxMin = mins[j]
		}
	}
	clear(b)
	if maxScale > 0 {
		inverse := 15 / maxScale
		for j, s := range scales {
			b[j] = byte(nearestInt(inverse * s))
		}
		le.PutUint16(b[80:], F32ToF16(maxScale/15))
	}
	if maxMin > 0 {
		inverse := 15 / maxMin
		for j, m := range mins {
			b[j] |= byte(nearestInt(inverse*m) << 4)
		}
		le.PutUint16(b[82:], F32ToF16(maxMin/15))
	}
	for j := range 16 {
		recode(codes[16*j:16*j+16], x[16*j:16*j+16], half(b[80:])*float32(b[j]&15), half(b[82:])*float32(b[j]>>4), 0, 3)
	}
	pack2(b[16:80], codes[:])
}

func encodeQ3K(b []byte, x []float32) {
	var codes [256]byte
	var scales [16]float32
	var maxScale float32
	for j := range scales {
		scales[j] = descend(codes[16*j:16*j+16], x[16*j:16*j+16], 4)
		if abs32(scales[j]) > abs32(maxScale) {
			maxScale = scales[j]
		}
	}
	clear(b)
	packed := b[96:108]
	if maxScale != 0 {
		inverse := -32 / maxScale
		for j, s := range scales {
			l := byte(clamp(int(int8(nearestInt(inverse*s))), -32, 31) + 32)
			packed[j%8] |= l & 15 << (j / 8 * 4)
			packed[8+j%4] |= l >> 4 << (j / 4 * 2)
		}
		le.PutUint16(b[108:], F32ToF16(1/inverse))
	}
	for j := range 16 {
		recode(codes[16*j:16*j+16], x[16*j:16*j+16], half(b[108:])*float32(scale3(packed, j)), 0, -4, 3)
	}
	for i, c := range codes {
		b[i%32] |= c >> 2 << (i / 32)
	}
	pack2(b[32:96], codes[:])
}

// scale3 unpacks the 6-bit scale of run j (0 to 15) of a Q3_K block.
func scale3(packed []byte, j int) int {
	return int(packed[j%8]>>(j/8*4)&15|packed[8+j%4]>>(j/4*2)&3<<4) - 32
}
