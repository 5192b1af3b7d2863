package quant

import (
	"math"
	"math/rand/v2"
	"testing"
)

// TestFreedom is the attacker that Fit leaves: one who may choose every scale,
// within the limits, to carry a change of rank one. For each run it tries all
// grids, rounds to the nearest, and takes what goes furthest in the direction
// of the change for the error that it costs.
func TestFreedom(t *testing.T) {
	const rows, cols = 64, 256
	rng := rand.New(rand.NewPCG(5, 6))
	w, u, v := make([]float32, rows*cols), make([]float64, rows), make([]float64, cols)
	var norm float64
	for i := range w {
		w[i] = float32(rng.NormFloat64() * 0.05)
		norm += float64(w[i]) * float64(w[i])
	}
	for i := range u {
		u[i] = rng.NormFloat64() / math.Sqrt(rows)
	}
	for i := range v {
		v[i] = rng.NormFloat64() / math.Sqrt(cols)
	}
	for _, tt := range []struct {
		typ   Type
		limit float64 // stated in doc.go, of ‖W‖
	}{{Q4_0, 0.028}, {Q8_0, 0.002}, {Q4_K, 0.03}, {Q5_K, 0.016}, {Q6_K, 0.008}} {
		g := rulers[tt.typ]
		raw := make([]byte, len(w)/tt.typ.BlockValues()*tt.typ.BlockBytes())
		if err := Quantize(tt.typ, raw, w); err != nil {
			t.Fatal(err)
		}
		// The grids that the runs may have.
		type choice struct{ along, cost float64 }
		var runs [][]choice
		var budget float64
		var codes [256]int8
		var grids [16]grid
		b, n := tt.typ.BlockValues(), tt.typ.BlockBytes()
		for i := range len(w) / b {
			x := w[i*b : i*b+b]
			budget += maxExcess * g.rounding(x)
			block := raw[i*n : i*n+n]
			unpack(tt.typ, block, &codes, &grids)
			for j := 0; j < b; j += g.run {
				var list []choice
				for _, at := range nearby(tt.typ, block, grids[j/g.run]) {
					var c choice
					for k, y := range x[j : j+g.run] {
						q := max(float64(g.lo), min(float64(g.hi), math.RoundToEven((float64(y)-at.offset)/at.step)))
						e := at.step*q + at.offset - float64(y)
						c.cost += e * e
						c.along += e * u[(i*b+j+k)/cols] * v[(i*b+j+k)%cols]
					}
					if c.cost <= maxCoarse*g.rounding(x)*float64(g.run)/float64(b) {
						list = append(list, c)
					}
				}
				runs = append(runs, list)
			}
		}
		pick := func(price float64) (along, cost float64) {
			for _, list := range runs {
				var best choice
				top := math.Inf(-1)
				for _, c := range list {
					if s := c.along - price*c.cost; s > top {
						top, best = s, c
					}
				}
				along, cost = along+best.along, cost+best.cost
			}
			return along, cost
		}
		lo, hi := 0.0, 1e6
		for range 60 {
			if _, cost := pick((lo + hi) / 2); cost > budget {
				lo = (lo + hi) / 2
			} else {
				hi = (lo + hi) / 2
			}
		}
		along, cost := pick(hi)
		if along /= math.Sqrt(norm); along > tt.limit || along < tt.limit/2 || cost > budget {
			t.Errorf("%s: a change of %.2f %% of the norm, stated are %.2f %%", tt.typ, 100*along, 100*tt.limit)
		}
	}
}

// nearby are the grids that a run may get while its block keeps its scale.
func nearby(t Type, block []byte, at grid) (list []grid) {
	switch t {
	case Q4_K, Q5_K:
		d, m := float64(half(block)), float64(half(block[2:]))
		for s := -16; s <= 16; s++ {
			for o := -16; o <= 16; o += 2 {
				if step := at.step + d*float64(s); step > 0 {
					list = append(list, grid{step, min(0, at.offset+m*float64(o))})
				}
			}
		}
	case Q6_K:
		d := float64(half(block[208:]))
		for s := -128; s < 128; s++ {
			if s != 0 {
				list = append(list, grid{d * float64(s), 0})
			}
		}
	default:
		h := F32ToF16(float32(at.step))
		for k := -1024; k <= 1024; k += 4 {
			list = append(list, grid{float64(F16ToF32(h + uint16(k))), 0})
		}
	}
	return list
}
