// Package quanttest is a quantiser of its own for tests of comparisons: it makes
// blocks of ggml's formats with other scales than ggml chooses.
//
// It will not make good models, and not the bits of any program in use.
package quanttest

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/weighbridge/weighbridge/weights/quant"
)

// Quantiser chooses scales. The zero value takes the grid that just spans the
// values.
type Quantiser struct {
	// Importance of a column. With it, scales are searched for the least
	// weighed error.
	Importance func(col int) float64
	// Stretch multiplies the chosen scales where it is not 0.
	Stretch float64
}

// format of a block: runs of values with codes from lo to hi, and how many
// units of the block's scale and minimum a run's can have.
type format struct{ run, lo, hi, units, minimums int }

var formats = map[quant.Type]format{
	quant.Q4_0: {32, -8, 7, 1, 0}, quant.Q5_0: {32, -16, 15, 1, 0}, quant.Q8_0: {32, -127, 127, 1, 0},
	quant.Q4_1: {32, 0, 15, 1, 1}, quant.Q5_1: {32, 0, 31, 1, 1},
	quant.Q2_K: {16, 0, 3, 15, 15}, quant.Q3_K: {16, -4, 3, 31, 0}, quant.Q6_K: {16, -32, 31, 127, 0},
	quant.Q4_K: {32, 0, 15, 63, 63}, quant.Q5_K: {32, 0, 31, 63, 63},
}

// Types are those that Encode knows.
func Types() []quant.Type {
	return []quant.Type{quant.Q8_0, quant.Q4_0, quant.Q4_1, quant.Q5_0, quant.Q5_1, quant.Q2_K, quant.Q3_K, quant.Q4_K, quant.Q5_K, quant.Q6_K}
}

// Encode encodes rows of cols values.
func (q Quantiser) Encode(t quant.Type, x []float32, cols int) []byte {
	f, ok := formats[t]
	n := t.BlockValues()
	if !ok || cols%n != 0 || len(x)%cols != 0 {
		panic(fmt.Sprintf("quanttest: %d values in rows of %d as %s", len(x), cols, t))
	}
	var out []byte
	for at := 0; at < len(x); at += n {
		out = append(out, q.block(t, f, x[at:at+n], at%cols)...)
	}
	return out
}

func (q Quantiser) block(t quant.Type, f format, x []float32, col int) []byte {
	steps, mins := make([]float64, len(x)/f.run), make([]float64, len(x)/f.run)
	var step, low float64
	for j := range steps {
		steps[j], mins[j] = q.grid(f, x[j*f.run:(j+1)*f.run], col+j*f.run)
		step, low = max(step, steps[j]), max(low, math.Abs(mins[j]))
	}
	if f.units == 1 && f.minimums == 1 {
		low = mins[0]
	}
	if f.minimums > 1 {
		low = low / float64(f.minimums)
	}
	d, m := quant.F32ToF16(float32(step/float64(f.units))), quant.F32ToF16(float32(low))
	step, low = float64(quant.F16ToF32(d)), float64(quant.F16ToF32(m))
	b := block{t: t, raw: make([]byte, t.BlockBytes())}
	for j := range steps {
		s, o := 1.0, 0.0
		if f.units > 1 && step > 0 {
			s = min(float64(f.units), math.Round(steps[j]/step))
		}
		offset := 0.0
		switch {
		case f.minimums == 1:
			offset = low
		case f.minimums > 1 && low > 0:
			o = min(float64(f.minimums), math.Round(-mins[j]/low))
			offset = -low * o
		}
		b.scale(j, int(s), int(o))
		for i := j * f.run; i < (j+1)*f.run; i++ {
			code := 0
			if s*step > 0 {
				code = nearest(f, (float64(x[i])-offset)/(s*step))
			}
			b.code(i, code, code-f.lo)
		}
	}
	b.head(d, m)
	return b.raw
}

func nearest(f format, u float64) int {
	return int(max(float64(f.lo), min(float64(f.hi), math.RoundToEven(u))))
}

// grid chooses step and offset of one run.
func (q Quantiser) grid(f format, x []float32, col int) (step, offset float64) {
	lo, hi := float64(x[0]), float64(x[0])
	for _, v := range x {
		lo, hi = min(lo, float64(v)), max(hi, float64(v))
	}
	if f.minimums > 1 {
		lo = min(lo, 0)
	}
	step, offset = max(hi, -lo)/float64(f.hi), 0
	if f.minimums > 0 {
		step, offset = (hi-lo)/float64(f.hi), lo
	}
	if q.Importance != nil {
		first, start, best := step, offset, math.Inf(1)
		for k := range 8 {
			for o := range 3 {
				s, low := first*(0.79+0.03*float64(k)), start*(0.92+0.04*float64(o))
				if o > 0 && f.minimums == 0 {
					break
				}
				var e float64
				for i, v := range x {
					if s > 0 {
						d := s*float64(nearest(f, (float64(v)-low)/s)) + low - float64(v)
						e += q.Importance(col+i) * d * d
					}
				}
				if e < best {
					best, step, offset = e, s, low
				}
			}
		}
	}
	if q.Stretch != 0 {
		step *= q.Stretch
	}
	return step, offset
}

// block is being written.
type block struct {
	t   quant.Type
	raw []byte
}

// set writes bits from a bit of a byte on.
func (b *block) set(at, bit, width, v int) {
	for k := range width {
		b.raw[at+(bit+k)/8] |= byte(v >> k & 1 << ((bit + k) % 8))
	}
}

// head writes the scale of the block, and its minimum.
func (b *block) head(d, m uint16) {
	at := map[quant.Type]int{quant.Q2_K: 80, quant.Q3_K: 108, quant.Q6_K: 208}[b.t]
	binary.LittleEndian.PutUint16(b.raw[at:], d)
	if formats[b.t].minimums > 0 {
		binary.LittleEndian.PutUint16(b.raw[at+2:], m)
	}
}

// scale writes those of run j in units.
func (b *block) scale(j, s, m int) {
	switch b.t {
	case quant.Q2_K:
		b.raw[j] = byte(s | m<<4)
	case quant.Q3_K:
		b.set(96+j%8, j/8*4, 4, s+32)
		b.set(104+j%4, j/4*2, 2, (s+32)>>4)
	case quant.Q6_K:
		b.raw[192+j] = byte(s)
	case quant.Q4_K, quant.Q5_K:
		if j < 4 {
			b.set(4+j, 0, 6, s)
			b.set(8+j, 0, 6, m)
			return
		}
		b.set(8+j, 0, 4, s)
		b.set(8+j, 4, 4, m)
		b.set(j, 6, 2, s>>4)
		b.set(4+j, 6, 2, m>>4)
	}
}

// code writes the code of value i; u is the code from 0 on.
func (b *block) code(i, code, u int) {
	halves := i/128*32 + i%32 // of two bits for each of four runs of 32
	switch b.t {
	case quant.Q8_0:
		b.raw[2+i] = byte(int8(code))
	case quant.Q4_0:
		b.set(2+i%16, i/16*4, 4, u)
	case quant.Q4_1:
		b.set(4+i%16, i/16*4, 4, u)
	case quant.Q5_0:
		b.set(2, i, 1, u>>4)
		b.set(6+i%16, i/16*4, 4, u)
	case quant.Q5_1:
		b.set(4, i, 1, u>>4)
		b.set(8+i%16, i/16*4, 4, u)
	case quant.Q2_K:
		b.set(16+halves, i%128/32*2, 2, u)
	case quant.Q3_K:
		b.set(i%32, i/32, 1, u>>2)
		b.set(32+halves, i%128/32*2, 2, u)
	case quant.Q4_K:
		b.set(16+i/64*32+i%32, i%64/32*4, 4, u)
	case quant.Q5_K:
		b.set(16+i%32, i/32, 1, u>>4)
		b.set(48+i/64*32+i%32, i%64/32*4, 4, u)
	case quant.Q6_K:
		b.set(i/128*64+i%64, i%128/64*4, 4, u)
		b.set(128+halves, i%128/32*2, 2, u>>4)
	}
}
