package weights

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weighbridge/weighbridge/weights/gguf"
	"github.com/weighbridge/weighbridge/weights/quant"
)

// as re-encodes the matrices of b.
func (b *blob) as(t quant.Type, seed uint64) *blob {
	for _, name := range order {
		if shape, ok := matrices()[name]; ok {
			b.put(name, t, shape[:], halved(values(seed, name)))
		}
	}
	return b
}

// tokens makes the vocabulary n tokens long: new ones get rows of their own.
func (b *blob) tokens(n int) *blob {
	names, kinds := make([]string, n), make([]int32, n)
	for i := range names {
		names[i], kinds[i] = fmt.Sprintf("new %d", i), int32(TokenNormal)
	}
	copy(names, b.get("tokenizer.ggml.tokens").([]string))
	copy(kinds, b.get("tokenizer.ggml.token_type").([]int32))
	b.set("tokenizer.ggml.tokens", gguf.A(names)).set("tokenizer.ggml.token_type", gguf.A(kinds))
	rows := gaussian(77, n*width, 0.05)
	copy(rows, halved(values(1, Embedding)))
	return b.put(Embedding, quant.F16, []uint64{width, uint64(n)}, rows)
}

// zeros empties the factors of an adapter.
func zeros(b *blob) *blob {
	for _, x := range b.tensors {
		n := uint64(1)
		for _, d := range x.Shape {
			n *= d
		}
		b.put(x.Name, x.Type, x.Shape, make([]float32, n))
	}
	return b
}

// halved rounds to what the fixture's F16 tensors hold.
func halved(v []float32) []float32 {
	for i := range v {
		v[i] = quant.F16ToF32(quant.F32ToF16(v[i]))
	}
	return v
}

// noisy adds noise to the named matrix, or to all for "".
func (b *blob) noisy(only string, scale float64) *blob {
	for i, name := range order {
		shape, ok := matrices()[name]
		if !ok || (only != "" && only != name) {
			continue
		}
		v := halved(values(1, name))
		for j, n := range gaussian(uint64(900+i), len(v), scale) {
			v[j] += n
		}
		b.put(name, quant.F16, shape[:], v)
	}
	return b
}

// q6k encodes rows as Q6_K with the plainest choice of scales: one per block of
// 256, rounding to nearest. Another choice than ggml's, within the same bounds.
func q6k(v []float32) []byte {
	var out []byte
	for ; len(v) > 0; v = v[256:] {
		var amax float64
		for _, x := range v[:256] {
			amax = max(amax, math.Abs(float64(x)))
		}
		h := quant.F32ToF16(float32(amax / 31 / 64))
		step := float64(quant.F16ToF32(h)) * 64
		b := make([]byte, 210)
		for i := range 16 {
			b[192+i] = 64
		}
		binary.LittleEndian.PutUint16(b[208:], h)
		for i, x := range v[:256] {
			q := byte(max(0, min(63, math.Round(float64(x)/step)+32)))
			n, l, part := i/128, i%32, i%128/32
			b[64*n+l+32*(part%2)] |= q & 15 << (4 * (part / 2))
			b[128+32*n+l] |= q >> 4 << (2 * part)
		}
		out = append(out, b...)
	}
	return out
}

// asQ6K re-encodes the matrices with rows of 256 values.
func (b *blob) asQ6K(noise float64) *blob {
	for _, name := range order {
		if shape, ok := matrices()[name]; ok && shape[0] == hidden {
			v := halved(values(1, name))
			for j, n := range gaussian(77, len(v), noise) {
				v[j] += n
			}
			b.putRaw(name, quant.Q6_K, shape[:], q6k(v))
		}
	}
	return b
}

func TestRelation(t *testing.T) {
	base := func() *blob { return model(1) }
	swapped := func() gguf.Value {
		tokens := slices.Clone(base().get("tokenizer.ggml.tokens").([]string))
		tokens[3], tokens[4] = tokens[4], tokens[3]
		return gguf.A(tokens)
	}
	renamed := make([]string, vocab)
	for i := range renamed {
		renamed[i] = "z" + string(rune('a'+i))
	}
	q := "blk.0.attn_q.weight"
	poison := func(v float32) []float32 {
		w := halved(values(1, q))
		w[130] = v
		return w
	}
	reordered := func() []float32 { // as llama.cpp's converter reorders heads
		v := halved(values(1, q))
		out := make([]float32, 0, len(v))
		for i := range width {
			row := i%2*(width/2) + i/2
			out = append(out, v[row*width:(row+1)*width]...)
		}
		return out
	}
	// weighed encodes one tensor as Q4_0 with scales 2 % smaller than ggml's own,
	// as an importance matrix may choose them.
	weighed := func() []byte {
		v := halved(values(1, q))
		var out []byte
		for ; len(v) > 0; v = v[32:] {
			var top float64
			for _, x := range v[:32] {
				if math.Abs(float64(x)) > math.Abs(top) {
					top = float64(x)
				}
			}
			h := quant.F32ToF16(float32(top / -8 * 0.98))
			d := float64(quant.F16ToF32(h))
			b := binary.LittleEndian.AppendUint16(nil, h)
			for j := range 16 {
				nib := func(x float32) byte { return byte(max(0, min(15, math.Round(float64(x)/d)+8))) }
				b = append(b, nib(v[j])|nib(v[j+16])<<4)
			}
			out = append(out, b...)
		}
		return out
	}
	oneBlock := func(t quant.Type) []byte {
		raw := make([]byte, width*width/32*t.BlockBytes())
		if err := quant.Quantize(t, raw, halved(values(1, q))); err != nil {
			panic(err)
		}
		raw[len(raw)-1] ^= 0x10
		return raw
	}
	shape := []uint64{width, width}
	tests := []struct {
		name          string
		base, cand    *blob
		baseAd, candA *blob
		kind          RelationKind
		exact         bool
		reason        string
	}{
		{"same file", base(), base(), nil, nil, SameBits, false, "byte for byte"},
		{"metadata only", base(), base().set("general.name", gguf.V("other")), nil, nil, SameBits, false, "what stands around"},
		{"two tokens swapped", base(), base().set("tokenizer.ggml.tokens", swapped()), nil, nil, SameBits, false, "what stands around"},
		{"Q8_0", base(), base().as(quant.Q8_0, 1), nil, nil, Requantised, true, "9 tensors equal the requantised baseline to the bit, 3 are unchanged"},
		{"Q4_0", base(), base().as(quant.Q4_0, 1), nil, nil, Requantised, true, "to the bit"},
		{"Q4_1", base(), base().as(quant.Q4_1, 1), nil, nil, Requantised, true, "to the bit"},
		{"Q5_0", base(), base().as(quant.Q5_0, 1), nil, nil, Requantised, true, "to the bit"},
		{"Q5_1", base(), base().as(quant.Q5_1, 1), nil, nil, Requantised, true, "to the bit"},
		{"BF16", base(), base().as(quant.BF16, 1), nil, nil, Requantised, true, "to the bit"},
		{"widened to F32", base(), base().as(quant.F32, 1), nil, nil, Requantised, true, "to the bit"},
		{"Q6_K", base(), base().asQ6K(0), nil, nil, Requantised, false, "2 tensors lie within rounding"},
		{"Q6_K of something else", base(), base().asQ6K(0.002), nil, nil, Derived, false, "2 of 12"},
		{"Q8_0 with one other value", base(), base().as(quant.Q8_0, 1).putRaw(q, quant.Q8_0, shape, oneBlock(quant.Q8_0)), nil, nil, Derived, false, "1 of 12"},
		{"Q4_0 with one value one step off", base(), base().as(quant.Q4_0, 1).putRaw(q, quant.Q4_0, shape, oneBlock(quant.Q4_0)), nil, nil, Derived, false, "1 of 12"},
		{"Q4_0 by an encoder that weighs values", base(), base().as(quant.Q4_0, 1).putRaw(q, quant.Q4_0, shape, weighed()), nil, nil, Requantised, false, "only 1 of 9 are another quantiser's"},
		{"F16 with one other value", base(), base().put(q, quant.F16, shape, poison(0.5)), nil, nil, Derived, false, "1 of 12"},
		{"BF16 with one other value", base(), base().as(quant.BF16, 1).put(q, quant.BF16, shape, poison(0.5)), nil, nil, Derived, false, "1 of 12"},
		{"Q8_0 of a fine-tune", base(), base().as(quant.Q8_0, 1).put(q, quant.Q8_0, shape, func() []float32 {
			v := halved(values(1, q))
			for j, n := range gaussian(5, len(v), 0.001) {
				v[j] += n
			}
			return v
		}()), nil, nil, Derived, false, "1 of 12"},
		{"fine-tune of everything", base(), base().noisy("", 0.005), nil, nil, Derived, false, "9 of 12"},
		{"heavy fine-tune", base(), base().noisy("", 0.04), nil, nil, Derived, false, "9 of 12"},
		{"adapter", base(), base(), nil, lora(1), Derived, false, "exactly what the adapters say"},
		{"other adapter", base(), base(), lora(2), lora(1), Derived, false, "3 of 12"},
		{"other seed", base(), model(2), nil, nil, Unrelated, false, "median cosine"},
		{"other architecture", base(), base().set("general.architecture", gguf.V("qwen2")), nil, nil, Unrelated, false, `"qwen2"`},
		{"other vocabulary", base(), base().set("tokenizer.ggml.tokens", gguf.A(renamed)), nil, nil, Unrelated, false, "0 of 48"},
		{"other shape", base(), base().put(q, quant.F16, []uint64{width, 32}, make([]float32, width*32)), nil, nil, Unrelated, false, "shape"},
		{"tokens more", base(), base().tokens(vocab + 5), nil, nil, Derived, false, "same architecture, the same shapes but for 5 tokens more, compared with nothing; 1 of 12 tensors have other values"},
		{"tokens more, requantised", base(), base().as(quant.Q8_0, 1).tokens(vocab + 5), nil, nil, Derived, false, "5 tokens more"},
		{"tokens fewer", base(), base().tokens(vocab - 5), nil, nil, Derived, false, "but for the last 5 tokens, which the candidate lacks"},
		{"tokens doubled", base(), base().tokens(2*vocab + 1), nil, nil, Unrelated, false, "only 48 of 97"},
		{"adapter of zeros", base(), base(), nil, zeros(lora(1)), Derived, false, "name 3 of 12 tensors and add nothing"},
		{"half of the layers", base(), base().dropTensor("blk.1.attn_q.weight").dropTensor("blk.1.ffn_up.weight").dropTensor("blk.1.ffn_down.weight"), nil, nil, Unrelated, false, "one side only"},
		{"a bias more", base(), base().put("blk.0.attn_q.bias", quant.F32, []uint64{width}, make([]float32, width)), nil, nil, Derived, false, "1 tensors exist on one side only"},
		{"untied head of equal values", base(), base().put(Output, quant.F16, []uint64{width, vocab}, values(1, Embedding)), nil, nil, SameBits, false, "13 tensors"},
		{"tied again", base().put(Output, quant.F16, []uint64{width, vocab}, values(1, Embedding)), base(), nil, nil, SameBits, false, "13 tensors"},
		{"untied head of other values", base(), base().put(Output, quant.F16, []uint64{width, vocab}, values(9, Embedding)), nil, nil, Derived, false, "1 of 13"},
		{"Q4_0 of the candidate", base().as(quant.Q4_0, 1), base(), nil, nil, Derived, false, "too coarse to tell"},
		{"coarse, and something else", base().as(quant.Q4_0, 1), base().noisy("", 0.01), nil, nil, Derived, false, "9 of 12 tensors have other values (median cosine between matrices 0.9"},
		{"rows in another order", base(), base().put(q, quant.F16, shape, reordered()), nil, nil, Derived, false, "1 tensors hold the baseline's rows in another order"},
		{"NaN", base(), base().put(q, quant.F16, shape, poison(float32(math.NaN()))), nil, nil, Derived, false, "1 tensors hold NaN"},
		{"infinity", base(), base().put(q, quant.F16, shape, poison(float32(math.Inf(1)))), nil, nil, Derived, false, "1 tensors hold NaN"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ba, ca := Artifact{Model: tt.base.file(t)}, Artifact{Model: tt.cand.file(t)}
			if tt.baseAd != nil {
				ba.Adapter = tt.baseAd.file(t)
			}
			if tt.candA != nil {
				ca.Adapter = tt.candA.file(t)
			}
			c, err := Compare(context.Background(), open(t, ba), open(t, ca))
			if err != nil {
				t.Fatal(err)
			}
			r := c.Relation
			if r.Kind != tt.kind || r.Exact != tt.exact || !strings.Contains(r.Reason, tt.reason) {
				t.Errorf("relation = %+v\nwant %s, exact %v, with %q", r, tt.kind, tt.exact, tt.reason)
			}
			if _, err := json.Marshal(c); err != nil {
				t.Errorf("not JSON-able: %v", err)
			}
		})
	}
}

// TestDelta checks the figures against sums over whole tensors in memory.
func TestDelta(t *testing.T) {
	ctx := context.Background()
	name := "blk.1.ffn_down.weight"
	ad := lora(1)
	cand := model(1).noisy(name, 0.01)
	b, c := open(t, Artifact{Model: model(1).file(t)}), open(t, Artifact{Model: cand.file(t), Adapter: ad.file(t)})
	cmp, err := Compare(ctx, b, c)
	if err != nil {
		t.Fatal(err)
	}
	x, err := b.Vector(ctx, name)
	if err != nil {
		t.Fatal(err)
	}
	y, err := c.Vector(ctx, name)
	if err != nil {
		t.Fatal(err)
	}
	var w2, d2, c2, wc, top float64
	for i := range x {
		w, v := float64(x[i]), float64(y[i])
		w2, c2, wc, d2 = w2+w*w, c2+v*v, wc+w*v, d2+(v-w)*(v-w)
		top = max(top, math.Abs(v-w))
	}
	var d TensorDelta
	for _, d = range cmp.Tensors {
		if d.Name == name {
			break
		}
	}
	for what, pair := range map[string][2]float64{
		"norm": {d.Norm, math.Sqrt(w2)}, "delta norm": {d.DeltaNorm, math.Sqrt(d2)}, "relative": {d.Relative, math.Sqrt(d2 / w2)},
		"cosine": {d.Cosine, wc / math.Sqrt(w2*c2)}, "largest": {d.MaxAbs, top},
	} {
		if math.Abs(pair[0]-pair[1]) > 1e-5*pair[1] {
			t.Errorf("%s = %v, want %v", what, pair[0], pair[1])
		}
	}
	if d.Layer != 1 || d.Kind != "ffn_down" || d.LowRank != rank || d.SameBits || d.Differing != d.Values || d.Values != width*hidden {
		t.Errorf("delta = %+v", d)
	}
}

func TestBadValues(t *testing.T) {
	name := "blk.0.attn_q.weight"
	v := halved(values(1, name))
	v[70], v[200] = float32(math.NaN()), float32(math.Inf(1))
	cand := model(1).put(name, quant.F16, []uint64{width, width}, v)
	c, err := Compare(context.Background(), open(t, Artifact{Model: model(1).file(t)}), open(t, Artifact{Model: cand.file(t)}))
	if err != nil {
		t.Fatal(err)
	}
	d := c.Tensors[2]
	if d.Name != name || d.BadBaseline != 0 || d.BadCandidate != 2 || d.FirstBad != 70 || d.RowsChanged != 2 || d.DeltaNorm != 0 || d.Requant.OK {
		t.Errorf("delta = %+v", d)
	}
}

// TestUnreadable: a type without decoder is still compared by its bytes.
func TestUnreadable(t *testing.T) {
	raw := make([]byte, 136*4)
	with := func(last byte) *blob {
		r := slices.Clone(raw)
		r[len(r)-1] = last
		return model(1).putRaw("blk.0.ffn_gate.weight", quant.Type(23), []uint64{256, 4}, r)
	}
	for _, tt := range []struct {
		last byte
		kind RelationKind
	}{{0, SameBits}, {1, Derived}} {
		b := with(0).set("general.name", gguf.V("b"))
		c, err := Compare(context.Background(), open(t, Artifact{Model: b.file(t)}), open(t, Artifact{Model: with(tt.last).file(t)}))
		if err != nil {
			t.Fatal(err)
		}
		if c.Relation.Kind != tt.kind || !slices.Equal(c.Unreadable, []string{"blk.0.ffn_gate.weight"}) {
			t.Errorf("relation %+v, unreadable %q", c.Relation, c.Unreadable)
		}
	}
}

// TestCompareDeterministic: processors do not count.
func TestCompareDeterministic(t *testing.T) {
	b, c := open(t, Artifact{Model: model(1).file(t)}), open(t, Artifact{Model: model(1).noisy("", 0.01).file(t), Adapter: lora(1).file(t)})
	var results []*Comparison
	for _, n := range []int{1, 4, 4} {
		old := runtime.GOMAXPROCS(n)
		r, err := Compare(context.Background(), b, c)
		runtime.GOMAXPROCS(old)
		if err != nil {
			t.Fatal(err)
		}
		results = append(results, r)
	}
	for _, r := range results[1:] {
		if diff := cmp.Diff(results[0], r); diff != "" {
			t.Errorf("results differ:\n%s", diff)
		}
	}
}

func TestCompareCancelled(t *testing.T) {
	b := open(t, Artifact{Model: model(1).file(t)})
	c := open(t, Artifact{Model: model(2).file(t)})
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if r, err := Compare(ctx, b, c); err == nil {
		t.Errorf("Compare = %+v, want an error", r)
	}
}

// TestChunks: what spans several runs of rows gives what one run would.
func TestChunks(t *testing.T) {
	const cols, rows = 1024, 700
	v := gaussian(3, cols*rows, 1)
	w := slices.Clone(v)
	rng := rand.New(rand.NewPCG(1, 1))
	changed := map[int]bool{}
	for len(changed) < 100 {
		i := rng.IntN(len(w))
		changed[i] = true
		w[i] += 1
	}
	b := model(1).put("big.weight", quant.F32, []uint64{cols, rows}, v)
	c := model(1).put("big.weight", quant.F32, []uint64{cols, rows}, w)
	r, err := Compare(context.Background(), open(t, Artifact{Model: b.file(t)}), open(t, Artifact{Model: c.file(t)}))
	if err != nil {
		t.Fatal(err)
	}
	d := r.Tensors[len(r.Tensors)-1]
	if d.Differing != 100 || math.Abs(d.DeltaNorm-10) > 1e-4 {
		t.Errorf("differing %d, norm %v, want 100 and 10", d.Differing, d.DeltaNorm)
	}
}

func TestRequantise(t *testing.T) {
	m := open(t, Artifact{Model: model(1).file(t)})
	path := func(typ quant.Type) string {
		var raw sliceWriter
		if err := m.Requantise(context.Background(), &raw, typ); err != nil {
			t.Fatal(err)
		}
		return save(t, raw)
	}
	a, b := open(t, Artifact{Model: path(quant.Q8_0)}), open(t, Artifact{Model: path(quant.Q8_0)})
	if a.Identity() != b.Identity() {
		t.Error("requantising twice gives two identities")
	}
	c, err := Compare(context.Background(), m, a)
	if err != nil {
		t.Fatal(err)
	}
	if !c.Relation.Exact || len(c.Metadata) != 0 {
		t.Errorf("relation = %+v, metadata = %v", c.Relation, c.Metadata)
	}
	if err := m.Requantise(context.Background(), io.Discard, quant.Type(23)); err == nil {
		t.Error("IQ4_XS has no encoder, and Requantise no error")
	}
	if err := m.RequantiseMix(context.Background(), io.Discard, "Q6_K_M"); err == nil {
		t.Error("there is no mixture Q6_K_M, and RequantiseMix makes one")
	}
}

// TestRequantiseMix: which type a tensor gets, that of llama.cpp where its rows
// are no whole blocks.
func TestRequantiseMix(t *testing.T) {
	b := model(1)
	for i := range 16 {
		b.put("blk."+strconv.Itoa(i)+".attn_v.weight", quant.F16, []uint64{256, 1}, gaussian(uint64(i), 256, 1))
	}
	m := open(t, Artifact{Model: b.file(t)})
	for _, tt := range []struct {
		name string
		want map[string]string
	}{
		{"Q4_K", map[string]string{Embedding: "Q5_0", "blk.0.ffn_down.weight": "Q4_K", "blk.0.attn_q.weight": "Q5_0", OutputNorm: "F32"}},
		{"Q5_K", map[string]string{Embedding: "Q5_1", "blk.0.ffn_down.weight": "Q5_K"}},
		{"Q6_K", map[string]string{Embedding: "Q8_0", "blk.0.ffn_down.weight": "Q6_K"}},
		{"Q2_K", map[string]string{Embedding: "Q4_0", "blk.0.ffn_down.weight": "Q2_K"}},
		{"Q4_K_M", map[string]string{Embedding: "Q8_0", "blk.0.attn_q.weight": "Q5_0", "blk.0.ffn_down.weight": "Q6_K", "blk.1.ffn_down.weight": "Q6_K",
			"blk.2.attn_v.weight": "Q4_K", "blk.3.attn_v.weight": "Q4_K", "blk.4.attn_v.weight": "Q6_K", "blk.13.attn_v.weight": "Q6_K", "blk.15.attn_v.weight": "Q6_K", "blk.12.attn_v.weight": "Q4_K"}},
		{"Q5_K_M", map[string]string{"blk.2.attn_v.weight": "Q5_K", "blk.15.attn_v.weight": "Q6_K"}},
	} {
		var raw sliceWriter
		if err := m.RequantiseMix(context.Background(), &raw, tt.name); err != nil {
			t.Fatal(err)
		}
		c := open(t, Artifact{Model: save(t, raw)})
		for name, want := range tt.want {
			if x, _ := c.Tensor(name); x.Type.String() != want {
				t.Errorf("%s: %s is %s, want %s", tt.name, name, x.Type, want)
			}
		}
		if r, err := Compare(context.Background(), m, c); err != nil || !r.Relation.Exact || !r.Relation.Settled {
			t.Errorf("%s: %+v, %v", tt.name, r, err)
		}
	}
}

type sliceWriter []byte

func (s *sliceWriter) Write(p []byte) (int, error) { *s = append(*s, p...); return len(p), nil }

// Values that are no numbers are found wherever they are: in a tensor that was
// compared, in one without a partner, in rows that only one side has, in an
// adapter, and beside a stranger. The baseline's are told apart.
func TestNotFinite(t *testing.T) {
	nan := float32(math.NaN())
	broken := func(b *blob, name string, at int) *blob {
		for _, x := range b.tensors {
			if x.Name != name {
				continue
			}
			n := uint64(1)
			for _, d := range x.Shape {
				n *= d
			}
			v := make([]float32, n)
			v[at], v[at+2] = nan, float32(math.Inf(-1))
			return b.put(name, x.Type, x.Shape, v)
		}
		panic("no tensor " + name)
	}
	const q, extra = "blk.1.attn_q.weight", "blk.0.extra.weight"
	base := func() *blob { return model(1) }
	for name, tt := range map[string]struct {
		base, cand *blob
		adapter    *blob
		want       []NotFinite
	}{
		"none":                      {base(), base().noisy("", 0.01), nil, []NotFinite{}},
		"compared":                  {base(), broken(base(), q, 3), nil, []NotFinite{{true, q, 2, 3}}},
		"both":                      {broken(base(), q, 3), broken(base(), q, 3), nil, []NotFinite{{false, q, 2, 3}, {true, q, 2, 3}}},
		"the baseline's":            {broken(base(), OutputNorm, 1), base(), nil, []NotFinite{{false, OutputNorm, 2, 1}}},
		"without a partner":         {base(), broken(base().put(extra, quant.F32, []uint64{8}, make([]float32, 8)), extra, 5), nil, []NotFinite{{true, extra, 2, 5}}},
		"in a new row":              {base(), broken(base().tokens(vocab+5), Embedding, width*(vocab+2)), nil, []NotFinite{{true, Embedding, 2, width * (vocab + 2)}}},
		"in an adapter":             {base(), base(), broken(lora(1), "blk.0.attn_q.weight.lora_b", 0), []NotFinite{{true, "blk.0.attn_q.weight", width, 0}}},
		"beside a stranger":         {base(), broken(model(2).set("general.architecture", gguf.V("qwen2")), q, 3), nil, []NotFinite{{true, q, 2, 3}}},
		"in a stranger as baseline": {broken(model(2).set("general.architecture", gguf.V("qwen2")), q, 3), base(), nil, []NotFinite{{false, q, 2, 3}}},
	} {
		t.Run(name, func(t *testing.T) {
			ca := Artifact{Model: tt.cand.file(t)}
			if tt.adapter != nil {
				ca.Adapter = tt.adapter.file(t)
			}
			c, err := Compare(context.Background(), open(t, Artifact{Model: tt.base.file(t)}), open(t, ca))
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(tt.want, c.NotFinite); d != "" {
				t.Error(d)
			}
		})
	}
}
