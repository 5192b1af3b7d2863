package quant

import (
	"bytes"
	"fmt"
	"math"
)

// ruler describes the grids of a block format. Values that share one are a run.
type ruler struct {
	run      int     // values in a run
	lo, hi   int     // smallest and largest code
	scales   float64 // units of the block's scale in its largest run's; 1 where the block is the run
	minimums float64 // units in the largest minimum; 0 without minimums
}

var rulers = map[Type]ruler{
	Q4_0: {32, -8, 7, 1, 0}, Q5_0: {32, -16, 15, 1, 0}, Q8_0: {32, -127, 127, 1, 0},
	Q4_1: {32, 0, 15, 1, 1 << 11}, Q5_1: {32, 0, 31, 1, 1 << 11},
	Q3_K: {16, -4, 3, 32, 0}, Q6_K: {16, -32, 31, 128, 0},
	Q2_K: {16, 0, 3, 15, 15}, Q4_K: {32, 0, 15, 63, 63}, Q5_K: {32, 0, 31, 63, 63},
}

// grid is a run's: the values step·code + offset.
type grid struct{ step, offset float64 }

// unpack fills codes and grids from one block.
func unpack(t Type, b []byte, codes *[256]int8, grids *[16]grid) {
	nibbles := func(qs []byte, less int8) {
		for j, q := range qs {
			codes[j], codes[j+16] = int8(q&15)-less, int8(q>>4)-less
		}
	}
	fifth := func(h uint32) {
		for j := range 32 {
			codes[j] += int8(h>>j&1) << 4
		}
	}
	f := func(b []byte) float64 { return float64(half(b)) }
	switch t {
	case Q4_0:
		grids[0] = grid{f(b), 0}
		nibbles(b[2:18], 8)
	case Q4_1:
		grids[0] = grid{f(b), f(b[2:])}
		nibbles(b[4:20], 0)
	case Q5_0:
		grids[0] = grid{f(b), 0}
		nibbles(b[6:22], 16)
		fifth(le.Uint32(b[2:]))
	case Q5_1:
		grids[0] = grid{f(b), f(b[2:])}
		nibbles(b[8:24], 0)
		fifth(le.Uint32(b[4:]))
	case Q8_0:
		grids[0] = grid{f(b), 0}
		for j, q := range b[2:34] {
			codes[j] = int8(q)
		}
	case Q2_K:
		d, m := f(b[80:]), f(b[82:])
		for j := range 16 {
			grids[j] = grid{d * float64(b[j]&15), -m * float64(b[j]>>4)}
		}
		twos(b[16:80], codes)
	case Q3_K:
		d := f(b[108:])
		for j := range 16 {
			grids[j] = grid{d * float64(scale3(b[96:108], j)), 0}
		}
		twos(b[32:96], codes)
		for i := range codes {
			codes[i] += int8(b[i%32]>>(i/32)&1)<<2 - 4
		}
	case Q4_K, Q5_K:
		d, m := f(b), f(b[2:])
		for j := range 8 {
			ls, lm := scaleMin(b[4:16], j)
			grids[j] = grid{d * float64(ls), -m * float64(lm)}
		}
		qs := b[len(b)-128:]
		for j := range 4 {
			for l, q := range qs[32*j : 32*j+32] {
				codes[64*j+l], codes[64*j+l+32] = int8(q&15), int8(q>>4)
			}
		}
		if t == Q5_K {
			for i := range codes {
				codes[i] += int8(b[16+i%32]>>(i/32)&1) << 4
			}
		}
	case Q6_K:
		d := f(b[208:])
		for j := range 16 {
			grids[j] = grid{d * float64(int8(b[192+j])), 0}
		}
		for n := range 2 {
			ql, qh, c := b[64*n:64*n+64], b[128+32*n:160+32*n], codes[128*n:128*n+128]
			for l, h := range qh {
				c[l], c[l+32] = int8(ql[l]&15|h&3<<4)-32, int8(ql[l+32]&15|h>>2&3<<4)-32
				c[l+64], c[l+96] = int8(ql[l]>>4|h>>4&3<<4)-32, int8(ql[l+32]>>4|h>>6<<4)-32
			}
		}
	}
}

func twos(qs []byte, codes *[256]int8) {
	for i := range codes {
		codes[i] = int8(qs[i/128*32+i%32] >> (i % 128 / 32 * 2) & 3)
	}
}

// The limits of Fit.Settled, from ggml's encoders with and without importance
// matrix and with and without fused multiply-add, and from plain ones, on
// normal values, values with outliers, of one sign, sparse, and with scales
// that vary by e⁶.
const (
	// maxCoarse bounds a block's Error over its Rounding. Without importance
	// matrix it stays below 1.3 in the k-quants and 2.2 elsewhere, with one whose
	// logarithm has a standard deviation of 1 below 2.7.
	maxCoarse = 4
	// maxExcess bounds the same of all measured blocks: below 1 in all of these
	// cases, and up to 1.03 in plain ones of trained weights. It is what limits a
	// choice of scales for another purpose.
	maxExcess = 1.1
	// maxNear bounds the error of a k-quant block over that of ggml's. Builds
	// with fused multiply-add differ in up to 1 % of the blocks (16 % in Q2_K)
	// and stay below 1.55.
	maxNear = 2
	// maxDrift is by how much of itself the scale for which the codes of a Q4_1
	// or Q5_1 block were chosen may differ from the stored one, which ggml fits
	// to the codes where it has an importance matrix.
	maxDrift = 1. / 8
	// halfUlp is the rounding to half precision, relative.
	halfUlp = 0x1p-11
	// tiny is the rounding of float32 arithmetic in a quantiser, relative.
	tiny = 0x1p-22
	// trial is how many blocks of a k-quant show whether they are ggml's.
	trial = 512
)

// Fit finds out whether blocks are a rounding of given values, whoever made
// them. Each block either has the bits that Quantize gives, or every value has
// the nearest code of the block's own grid and the grid is no coarser than a
// quantiser would choose it.
type Fit struct {
	Blocks  int64
	Unequal int64 // blocks with other bits than Quantize gives; all further ones where most are
	Foreign int64 // unequal blocks that builds of the same encoder do not explain
	Astray  int64 // values that are nearer to another code
	Coarse  int64 // blocks whose error is beyond what a quantiser leaves
	// Error is Σ(w−x)² over the blocks that were measured, among them all unequal
	// ones. Rounding is what plain rounding leaves there: of each value in a grid
	// that spans its run, and of the run's scale and minimum in the block's.
	Error, Rounding float64

	stray bool // a block of 32 is not nearest in its stored grid, or one of 256 is foreign
	want  [256]byte
}

// Exact reports that all blocks have the bits that Quantize gives.
func (f *Fit) Exact() bool { return f.Unequal == 0 }

// Settled reports that the blocks are a rounding of the values. Where most
// blocks are Quantize's, so must the others be, but for the last bits of its
// arithmetic, or all must be the nearest in the grids as stored: few blocks of
// another kind were changed afterwards.
func (f *Fit) Settled() bool {
	few := 2*f.Unequal <= f.Blocks
	if few && f.Foreign == 0 {
		return true
	}
	return !(few && f.stray) && f.Astray == 0 && f.Coarse == 0 && f.Error <= maxExcess*f.Rounding
}

// Add measures the blocks in raw against x; lengths as for Dequantize. It is
// for block formats.
func (f *Fit) Add(t Type, raw []byte, x []float32) error {
	if err := lengths(t, len(x), len(raw)); err != nil {
		return err
	}
	g, ok := rulers[t]
	if !ok {
		return fmt.Errorf("quant: grid of %s: %w", t, ErrUnsupported)
	}
	v, n := t.BlockValues(), t.BlockBytes()
	encode, want := encoders[t], f.want[:n]
	for ; len(x) > 0; x, raw = x[v:], raw[n:] {
		f.Blocks++
		encoded := !t.Searched() || f.Blocks <= trial || 2*f.Unequal <= f.Blocks
		same := false
		if encoded {
			encode(want, x[:v])
			same = bytes.Equal(want, raw[:n])
		}
		if same && (f.stray || t.Searched()) {
			continue
		}
		astray, e := g.block(t, raw[:n], x[:v])
		r := g.rounding(x[:v])
		f.Error += e
		f.Rounding += r
		if same {
			f.stray = astray > 0
			continue
		}
		f.Unequal++
		var foreign bool
		if t.Searched() {
			foreign = true
			if encoded {
				_, own := g.block(t, want, x[:v])
				foreign = astray > 0 || !(e <= maxNear*own)
			}
			f.stray = f.stray || foreign
		} else {
			foreign = !g.tie(t, raw[:n], want, x[:v])
			f.stray = f.stray || astray > 0
		}
		if foreign {
			f.Foreign++
		}
		if !(e <= maxCoarse*r) {
			f.Coarse++
		}
		if astray > 0 && f.Astray == 0 && g.drifted(t, raw[:n], x[:v]) {
			astray = 0
		}
		f.Astray += int64(astray)
	}
	return nil
}

// block measures one block in its own grids.
func (g *ruler) block(t Type, raw []byte, x []float32) (astray int, sum float64) {
	var codes [256]int8
	var grids [16]grid
	unpack(t, raw, &codes, &grids)
	for j := 0; j < len(x); j += g.run {
		a, e := g.measure(grids[j/g.run], codes[j:j+g.run], x[j:j+g.run])
		astray, sum = astray+a, sum+e
	}
	return astray, sum
}

// measure counts the values of a run that are nearer to another code, and sums
// the squares of the errors.
func (g *ruler) measure(at grid, codes []int8, x []float32) (astray int, sum float64) {
	for i, v := range x {
		x, q := float64(v), float64(codes[i])
		e := x - (float64(at.step*q) + at.offset)
		sum += float64(e * e)
		if math.Abs(e) <= math.Abs(at.step)/2+tiny*(math.Abs(x)+math.Abs(at.offset)) {
			continue
		}
		up := e > 0 == (at.step > 0)
		if at.step == 0 || up && int(codes[i]) >= g.hi || !up && int(codes[i]) <= g.lo {
			continue // there is no other code on that side
		}
		astray++
	}
	return astray, sum
}

// rounding is the squared error of a plain quantiser: rounding to a step of s
// gives s²/12 per value, and an error of e in a scale e² times the squares.
func (g *ruler) rounding(x []float32) float64 {
	top := float64(g.hi)
	var scale, minimum, sum float64
	for j := 0; j < len(x); j += g.run {
		lo, hi := float64(x[j]), float64(x[j])
		for _, v := range x[j : j+g.run] {
			lo, hi = min(lo, float64(v)), max(hi, float64(v))
		}
		step := max(hi, -lo) / top
		if g.minimums > 0 {
			if g.scales > 1 {
				lo = min(lo, 0) // the k-quants have no other minimums
			}
			step = (hi - lo) / top
			minimum = max(minimum, math.Abs(lo))
		}
		scale = max(scale, step)
		sum += float64(g.run) * float64(step*step)
	}
	n, squares := float64(len(x)), sum*top*top/3
	unit := scale / g.scales
	if g.scales > 1 {
		sum += float64(n * unit * unit * top * top / 3)
	}
	if g.minimums > 0 {
		m := max(minimum/g.minimums, 0x1p-24)
		sum += float64(n * m * m)
	}
	sum /= 12
	if 0 < unit && unit < 0x1p-14 { // subnormal as a binary16, which is in steps of 2⁻²⁴
		lost := min(1, 0x1p-25/unit)
		sum += float64(squares * lost * lost)
	}
	return sum
}

// tie reports whether a block has the scale that Quantize gives it, and codes
// that are the nearest but for ties, which quantisers break either way.
func (g *ruler) tie(t Type, raw, want []byte, x []float32) bool {
	header := 2
	if g.minimums > 0 {
		header = 4
	}
	if !bytes.Equal(raw[:header], want[:header]) {
		return false
	}
	lo, hi := minMax(x)
	at := grid{step: float64(max(hi, -lo) / 127)}
	switch t {
	case Q4_0, Q5_0:
		at.step = float64(signedMax(x) / float32(g.lo))
	case Q4_1, Q5_1:
		at = grid{float64((hi - lo) / float32(g.hi)), float64(lo)}
	}
	var codes [256]int8
	var grids [16]grid
	unpack(t, raw, &codes, &grids)
	astray, _ := g.measure(at, codes[:len(x)], x)
	return astray == 0
}

// drifted reports whether the codes of a block of 32 are the nearest of another
// grid than the stored: its scale was rounded to half precision, or ggml had an
// importance matrix and fitted it to the codes. For Q4_0 and Q5_0 it chooses the
// codes with one of 19 scales.
func (g *ruler) drifted(t Type, raw []byte, x []float32) bool {
	if g.scales != 1 {
		return false
	}
	var codes [256]int8
	var grids [16]grid
	unpack(t, raw, &codes, &grids)
	codes32 := codes[:len(x)]
	step := grids[0].step
	if step == 0 {
		return false
	}
	switch t {
	case Q4_0, Q5_0:
		m := signedMax(x)
		for try := -9; try <= 9; try++ {
			inverse := -(float32(-g.lo) + float32(0.1*float32(try))) / m
			if astray, _ := g.measure(grid{1 / float64(inverse), 0}, codes32, x); astray == 0 {
				return true
			}
		}
	case Q4_1, Q5_1:
		_, hi := minMax(x)
		for try := -1; try <= 36; try++ {
			top := float64(g.hi)
			if try >= 0 {
				top += -0.9 + 0.05*float64(try)
			}
			a, b := g.inverses(codes32, x, float64(hi), top)
			if a <= b && a <= (1+maxDrift)/step && b >= (1-maxDrift)/step {
				return true
			}
		}
	}
	// Scale and minimum before their rounding; the smallest binary16 is 2⁻²⁴.
	size, offset := math.Abs(step), grids[0].offset
	from, to := 1/(size*(1+halfUlp)+0x1p-25), 1/(size*(1-halfUlp)-0x1p-25)
	if step < 0 {
		from, to = -to, -from
	}
	slack := math.Abs(offset)*halfUlp + 0x1p-25
	if offset == 0 {
		slack = 0
	}
	for _, shift := range []float64{offset, offset - slack, offset + slack, offset - slack/2, offset + slack/2} {
		if a, b := g.inverses(codes32, x, shift, 0); max(a, from) <= min(b, to) {
			return true
		}
	}
	return false
}

// inverses are the scales i for which the codes are the nearest to
// (x−zero)·i + at; a > b where there is none.
func (g *ruler) inverses(codes []int8, x []float32, zero, at float64) (a, b float64) {
	a, b = math.Inf(-1), math.Inf(1)
	for k, v := range x {
		q, y := float64(codes[k])-at, float64(v)-zero
		slack := 256 * tiny * max(1, math.Abs(q))
		lo, hi := q-0.5-slack, q+0.5+slack
		if int(codes[k]) <= g.lo {
			lo = math.Inf(-1)
		}
		if int(codes[k]) >= g.hi {
			hi = math.Inf(1)
		}
		switch {
		case y > 0:
			a, b = max(a, lo/y), min(b, hi/y)
		case y < 0:
			a, b = max(a, hi/y), min(b, lo/y)
		case lo > 0 || hi < 0:
			return 1, 0
		}
	}
	return a, b
}
