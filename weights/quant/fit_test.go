package quant

import (
	"errors"
	"slices"
	"testing"
)

// codeBytes are where the codes of a block lie.
var codeBytes = map[Type][2]int{
	Q4_0: {2, 18}, Q4_1: {4, 20}, Q5_0: {2, 22}, Q5_1: {4, 24}, Q8_0: {2, 34},
	Q2_K: {16, 80}, Q3_K: {0, 96}, Q4_K: {16, 144}, Q5_K: {16, 176}, Q6_K: {0, 192},
}

func fit(t testing.TB, typ Type, blocks []byte, x []float32) *Fit {
	t.Helper()
	var f Fit
	if err := f.Add(typ, blocks, x); err != nil {
		t.Fatal(err)
	}
	return &f
}

// TestFitOfOthers: what ggml makes with an importance matrix, or in a build
// whose sums round otherwise, is settled, though it has other bits.
func TestFitOfOthers(t *testing.T) {
	for _, g := range goldens(t, "ggml.jsonl") {
		if g.Op == "decode" {
			continue
		}
		typ, blocks, x := g.parse(t)
		f := fit(t, typ, blocks, x)
		if !f.Settled() || f.Exact() != (g.Op == "encode" || g.Op == "fused" && f.Unequal == 0) || f.Blocks != int64(len(x)/typ.BlockValues()) {
			t.Errorf("%s %s: settled %v, %d of %d blocks differ, %d foreign, %d astray, %d coarse, error %.3f of rounding",
				g.Op, g.Type, f.Settled(), f.Unequal, f.Blocks, f.Foreign, f.Astray, f.Coarse, f.Error/f.Rounding)
		}
	}
}

// TestFitOfOneCode changes bits of codes, one at a time. None may pass unless
// the value lay half way between two codes, and of those of formats whose codes
// another quantiser may choose for another scale than it stores, few.
func TestFitOfOneCode(t *testing.T) {
	for _, g := range goldens(t, "ggml.jsonl") {
		if g.Op == "decode" {
			continue
		}
		typ, blocks, x := g.parse(t)
		v, n, at := typ.BlockValues(), typ.BlockBytes(), codeBytes[typ]
		before, after, steps := make([]float32, v), make([]float32, v), make([]float32, v)
		tried, missed := 0, 0
		for i := 0; i < len(blocks); i += n {
			block, values := blocks[i:i+n], x[i/n*v:i/n*v+v]
			whole := slices.Clone(block)
			if err := errors.Join(Dequantize(typ, before, block), Steps(typ, steps, block)); err != nil {
				t.Fatal(err)
			}
			for bit := 8 * at[0]; bit < 8*at[1]; bit += 7 {
				copy(block, whole)
				block[bit/8] ^= 1 << (bit % 8)
				if err := Dequantize(typ, after, block); err != nil {
					t.Fatal(err)
				}
				if halfWay(before, after, steps, values) {
					continue
				}
				tried++
				// Among blocks that were left alone.
				if fit(t, typ, slices.Concat(block, whole, whole), slices.Concat(values, values, values)).Settled() {
					missed++
				}
			}
			copy(block, whole)
		}
		if loose := g.Op == "weighed" && !typ.Searched(); missed > 0 && !loose || missed > tried/25 {
			t.Errorf("%s %s: %d of %d changes are settled", g.Op, g.Type, missed, tried)
		}
	}
}

// halfWay reports that no value became another one, or one as near.
func halfWay(before, after, steps, x []float32) bool {
	for i, w := range before {
		// A scale is rounded to half precision after the codes were chosen.
		if d := abs32(after[i]-x[i]) - abs32(w-x[i]); d > 0.002*steps[i] {
			return false
		}
	}
	return true
}
