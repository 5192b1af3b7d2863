package quanttest

import (
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/weighbridge/weighbridge/weights/quant"
)

// TestEncode: what is decoded is what was meant, within a step.
func TestEncode(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	x := make([]float32, 4096)
	for i := range x {
		x[i] = float32(rng.NormFloat64() * 0.05)
	}
	for _, typ := range Types() {
		for name, q := range map[string]Quantiser{"plain": {}, "weighed": {Importance: func(col int) float64 { return math.Exp(math.Sin(float64(col))) }}, "stretched": {Stretch: 2}} {
			raw, y, steps := q.Encode(typ, x, 1024), make([]float32, len(x)), make([]float32, len(x))
			if err := quant.Dequantize(typ, y, raw); err != nil {
				t.Fatal(err)
			}
			if err := quant.Steps(typ, steps, raw); err != nil {
				t.Fatal(err)
			}
			var f quant.Fit
			if err := f.Add(typ, raw, x); err != nil {
				t.Fatal(err)
			}
			if f.Exact() || f.Astray > 0 || f.Settled() != (name != "stretched") {
				t.Errorf("%s %s: settled %v, %d of %d blocks, %d astray, %d coarse, %.3f of rounding", name, typ, f.Settled(), f.Unequal, f.Blocks, f.Astray, f.Coarse, f.Error/f.Rounding)
			}
			for i := range x {
				// The last code on one side may be missing.
				if d := math.Abs(float64(y[i] - x[i])); d > 1.02*float64(steps[i]) && name != "weighed" {
					t.Errorf("%s %s: value %d is off by %v, a step is %v", name, typ, i, d, steps[i])
					break
				}
			}
		}
	}
}

// TestOneBlock: one block with scales that no quantiser chooses, among blocks of
// ggml's encoder or of another, each value rounded to the nearest.
func TestOneBlock(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	x := make([]float32, 8192)
	for i := range x {
		x[i] = float32(rng.NormFloat64() * 0.05)
	}
	for _, typ := range Types() {
		v, n := typ.BlockValues(), typ.BlockBytes()
		own := make([]byte, len(x)/v*n)
		if err := quant.Quantize(typ, own, x); err != nil {
			t.Fatal(err)
		}
		other := Quantiser{Importance: func(col int) float64 { return math.Exp(math.Sin(float64(col))) }}.Encode(typ, x, 1024)
		for name, blocks := range map[string][]byte{"ggml's": own, "another's": other} {
			for _, stretch := range []float64{0.3, 2.5} {
				raw := slices.Clone(blocks)
				copy(raw[3*n:], Quantiser{Stretch: stretch}.Encode(typ, x[3*v:4*v], v))
				var before, after quant.Fit
				if err := errors.Join(before.Add(typ, blocks, x), after.Add(typ, raw, x)); err != nil {
					t.Fatal(err)
				}
				if !before.Settled() || after.Settled() {
					t.Errorf("%s %s, one block × %v: settled %v before and %v after; %d of %d, %d astray, %d coarse, %.3f", name, typ, stretch, before.Settled(), after.Settled(), before.Unequal, before.Blocks, before.Astray, before.Coarse, before.Error/before.Rounding)
				}
			}
		}
	}
}

// TestLateChange: a code that changes after most blocks have shown whose they
// are unsettles a long tensor too, when it is added in parts.
func TestLateChange(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	x := make([]float32, 1024*256)
	for i := range x {
		x[i] = float32(rng.NormFloat64() * 0.05)
	}
	n := quant.Q4_K.BlockBytes()
	own := make([]byte, 1024*n)
	if err := quant.Quantize(quant.Q4_K, own, x); err != nil {
		t.Fatal(err)
	}
	for name, blocks := range map[string][]byte{"ggml's": own, "another's": Quantiser{}.Encode(quant.Q4_K, x, 4096)} {
		for _, changed := range []bool{false, true} {
			if changed {
				blocks[1000*n+50] ^= 0x10
			}
			var f quant.Fit
			for at := 0; at < 1024; at += 64 {
				if err := f.Add(quant.Q4_K, blocks[at*n:(at+64)*n], x[at*256:(at+64)*256]); err != nil {
					t.Fatal(err)
				}
			}
			if f.Blocks != 1024 || f.Settled() == changed || f.Exact() != (!changed && name == "ggml's") {
				t.Errorf("%s, changed %v: settled %v, %d of %d blocks differ, %d foreign, %d astray", name, changed, f.Settled(), f.Unequal, f.Blocks, f.Foreign, f.Astray)
			}
		}
	}
}
