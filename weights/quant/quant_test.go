package quant

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
)

type golden struct{ Op, Type, Blocks, Values string }

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// goldens reads the lines of a file in testdata.
func goldens(t testing.TB, file string) (list []golden) {
	t.Helper()
	f, err := os.Open("testdata/" + file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var g golden
		if err := json.Unmarshal(lines.Bytes(), &g); err != nil {
			t.Fatal(err)
		}
		if g.Values == "" {
			g.Values = list[0].Values
		}
		list = append(list, g)
	}
	return list
}

func (g golden) parse(t testing.TB) (typ Type, blocks []byte, values []float32) {
	t.Helper()
	typ, err := ParseType(g.Type)
	if err != nil {
		t.Fatal(err)
	}
	values = make([]float32, len(g.Values)/8)
	if err := Dequantize(F32, values, unhex(t, g.Values)); err != nil {
		t.Fatal(err)
	}
	return typ, unhex(t, g.Blocks), values
}

// TestGolden compares with what the Python package gguf and ggml itself
// computed, bit for bit; golden.py and ggml.c in testdata make the files.
func TestGolden(t *testing.T) {
	seen := map[string]bool{}
	for _, g := range slices.Concat(goldens(t, "golden.jsonl"), goldens(t, "ggml.jsonl")) {
		if g.Op != "encode" && g.Op != "decode" {
			continue
		}
		seen[g.Op+g.Type] = true
		t.Run(g.Op+"/"+g.Type, func(t *testing.T) {
			typ, blocks, values := g.parse(t)
			if g.Op == "encode" {
				got := make([]byte, len(blocks))
				if err := Quantize(typ, got, values); err != nil {
					t.Fatal(err)
				}
				n := typ.BlockBytes()
				for i := 0; i < len(got); i += n {
					if !bytes.Equal(got[i:i+n], blocks[i:i+n]) {
						t.Errorf("block %d = %x, want %x", i/n, got[i:i+n], blocks[i:i+n])
					}
				}
				return
			}
			got := make([]float32, len(values))
			if err := Dequantize(typ, got, blocks); err != nil {
				t.Fatal(err)
			}
			for i := range got {
				if math.Float32bits(got[i]) != math.Float32bits(values[i]) {
					t.Fatalf("value %d = %v (%08x), want %v (%08x)", i, got[i], math.Float32bits(got[i]), values[i], math.Float32bits(values[i]))
				}
			}
		})
	}
	for typ, l := range layouts {
		if typ.CanDequantize() && !seen["decode"+l.name] || typ.CanQuantize() && typ != F32 && !seen["encode"+l.name] {
			t.Errorf("no golden vector for %s", typ)
		}
	}
}

func TestHalfExhaustive(t *testing.T) {
	for i := range 1 << 16 {
		h := uint16(i)
		f := F16ToF32(h)
		if f != f {
			if h&0x7c00 != 0x7c00 || h&0x3ff == 0 {
				t.Fatalf("%04x became NaN", h)
			}
			continue
		}
		exp, frac := int(h>>10&31), float64(h&0x3ff)
		want := math.Ldexp(frac, -24)
		if exp == 31 {
			want = math.Inf(1)
		} else if exp > 0 {
			want = math.Ldexp(1024+frac, exp-25)
		}
		if h>>15 == 1 {
			want = -want
		}
		if float64(f) != want {
			t.Fatalf("F16ToF32(%04x) = %v, want %v", h, f, want)
		}
		if back := F32ToF16(f); back != h {
			t.Fatalf("%04x -> %v -> %04x", h, f, back)
		}
		if b := F32ToBF16(BF16ToF32(h)); BF16ToF32(h) == BF16ToF32(h) && b != h {
			t.Fatalf("bfloat16 %04x -> %04x", h, b)
		}
	}
}

func TestHalfRounding(t *testing.T) {
	for _, c := range []struct {
		f    float32
		want uint16
	}{
		{65519.996, 0x7bff}, {65520, 0x7c00}, {-65520, 0xfc00}, {1e30, 0x7c00},
		{1 + 0x1p-11, 0x3c00}, {1 + 0x3p-11, 0x3c02}, {1 + 0x1.1p-11, 0x3c01}, // ties to even
		{0x1p-25, 0}, {0x1.8p-25, 1}, {0x1p-24, 1}, {0x1.8p-24, 2}, {0x1p-14, 0x0400},
		{float32(math.NaN()), 0x7e00}, {float32(math.Copysign(0, -1)), 0x8000},
	} {
		if got := F32ToF16(c.f); got != c.want {
			t.Errorf("F32ToF16(%v) = %04x, want %04x", c.f, got, c.want)
		}
	}
}

func TestLengths(t *testing.T) {
	for _, c := range []struct {
		typ           Type
		values, bytes int
	}{{Q8_0, 32, 33}, {Q8_0, 31, 34}, {F32, 1, 3}, {Type(99), 32, 34}, {Q4_K, 32, 18}} {
		if Dequantize(c.typ, make([]float32, c.values), make([]byte, c.bytes)) == nil {
			t.Errorf("Dequantize(%s, %d values, %d bytes) gives no error", c.typ, c.values, c.bytes)
		}
		if Quantize(c.typ, make([]byte, c.bytes), make([]float32, c.values)) == nil {
			t.Errorf("Quantize(%s, %d values, %d bytes) gives no error", c.typ, c.values, c.bytes)
		}
	}
	if err := Dequantize(Type(23), make([]float32, 256), make([]byte, 136)); !errors.Is(err, ErrUnsupported) {
		t.Errorf("IQ4_XS: %v, want ErrUnsupported", err)
	}
	if err := Quantize(Type(23), make([]byte, 136), make([]float32, 256)); !errors.Is(err, ErrUnsupported) {
		t.Errorf("encoding IQ4_XS: %v, want ErrUnsupported", err)
	}
	if err := new(Fit).Add(F16, make([]byte, 2), make([]float32, 1)); !errors.Is(err, ErrUnsupported) {
		t.Errorf("the fit of F16: %v, want ErrUnsupported", err)
	}
	if _, ok := F32.RowBytes(1 << 62); ok {
		t.Error("RowBytes overflows")
	}
}

// TestRoundingBound: what Quantize writes is within half a step of what it was
// given, but for the rounding of the block's own scale to half precision and,
// in the formats with 8 or 16 as their largest magnitude on one side only, for
// the clipped value at the other end.
func TestRoundingBound(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, typ := range []Type{Q4_0, Q4_1, Q5_0, Q5_1, Q8_0} {
		x, y, s := make([]float32, 3200), make([]float32, 3200), make([]float32, 3200)
		for i := range x {
			x[i] = float32(rng.NormFloat64()) * 0.1
		}
		b := make([]byte, len(x)/32*typ.BlockBytes())
		if err := errors.Join(Quantize(typ, b, x), Dequantize(typ, y, b), Steps(typ, s, b)); err != nil {
			t.Fatal(err)
		}
		limit := 0.52
		if typ == Q4_0 || typ == Q5_0 {
			limit = 1.01
		}
		if typ == Q8_0 {
			limit = 0.57 // 127 × half an ulp of the scale
		}
		for i := range x {
			if d := math.Abs(float64(x[i]-y[i])) / float64(s[i]); d > limit {
				t.Errorf("%s: value %d is off by %.3f steps", typ, i, d)
			}
		}
	}
}

func TestNonFinite(t *testing.T) {
	inf := float32(math.Inf(-1))
	if n, first := NonFinite([]float32{1, math.MaxFloat32, inf, float32(math.NaN())}); n != 2 || first != 2 {
		t.Errorf("NonFinite = %d, %d, want 2, 2", n, first)
	}
	if n, first := NonFinite([]float32{0}); n != 0 || first != -1 {
		t.Errorf("NonFinite = %d, %d, want 0, -1", n, first)
	}
}

// FuzzCodec: no bytes make the decoders, encoders or the fit panic, and what
// Quantize gives is a fit to the bit.
func FuzzCodec(f *testing.F) {
	f.Add(uint32(Q4_K), make([]byte, 144))
	f.Add(uint32(Q6_K), bytes.Repeat([]byte{0x12, 0x7b, 0x93}, 70))
	f.Add(uint32(F32), bytes.Repeat([]byte{0xff, 0x7b, 0x13, 0x3d}, 256))
	f.Add(uint32(Q8_0), bytes.Repeat([]byte{0xff, 0x7b, 3}, 34))
	f.Fuzz(func(t *testing.T, id uint32, b []byte) {
		typ := Type(id % 40)
		n := typ.BlockBytes()
		if n == 0 || len(b) < n {
			return
		}
		b = b[:len(b)/n*n]
		x := make([]float32, len(b)/n*typ.BlockValues())
		if err := Dequantize(typ, x, b); err != nil {
			if typ.CanDequantize() {
				t.Fatal(err)
			}
			return
		}
		if len(x)%32 != 0 {
			return
		}
		_ = Steps(typ, make([]float32, len(x)), b)
		for to := range layouts {
			size, ok := to.RowBytes(uint64(len(x)))
			if !ok || !to.CanQuantize() {
				continue
			}
			encoded := make([]byte, size)
			if err := Quantize(to, encoded, x); err != nil {
				t.Fatal(err)
			}
			var fit Fit
			if err := fit.Add(to, encoded, x); to.BlockValues() > 1 && (err != nil || !fit.Exact()) {
				t.Fatalf("what Quantize gives as %s is not itself: %+v, %v", to, fit, err)
			}
		}
	})
}

func BenchmarkDequantize(b *testing.B) {
	for _, typ := range []Type{F16, Q4_1, Q8_0, Q4_K, Q6_K} {
		b.Run(typ.String(), func(b *testing.B) {
			dst := make([]float32, 4096)
			src := make([]byte, len(dst)/typ.BlockValues()*typ.BlockBytes())
			b.SetBytes(int64(4 * len(dst)))
			for range b.N {
				if err := Dequantize(typ, dst, src); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
