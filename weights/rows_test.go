package weights

import (
	"context"
	"errors"
	"math"
	"testing"

	"github.com/weighbridge/weighbridge/weights/gguf"
	"github.com/weighbridge/weighbridge/weights/quant"
)

// dense computes scale·B·A of an adapter tensor by the definition.
func dense(t *testing.T, b *blob, name string, scale float64) []float64 {
	t.Helper()
	in, out := int(matrices()[name][0]), int(matrices()[name][1])
	seed := map[string]uint64{"blk.0.attn_q.weight": 0, "blk.1.ffn_down.weight": 1, Embedding: 2}[name]
	a, bb := gaussian(1+seed, in*rank, 0.1), gaussian(51+seed, out*rank, 0.1)
	d := make([]float64, in*out)
	for i := range out {
		for j := range in {
			for r := range rank {
				av := a[r*in+j]
				if name == Embedding {
					av = a[j*rank+r]
				}
				d[i*in+j] += scale * float64(bb[i*rank+r]) * float64(av)
			}
		}
	}
	return d
}

func TestRowsWithAdapter(t *testing.T) {
	ctx := context.Background()
	ad := lora(1)
	m := open(t, Artifact{model(1).file(t), ad.file(t), 0.5})
	for _, name := range order {
		want := values(1, name)
		for i, v := range want {
			if _, ok := matrices()[name]; ok {
				want[i] = quant.F16ToF32(quant.F32ToF16(v))
			}
		}
		var stored []float32
		for row, err := range m.StoredRows(ctx, name) {
			if err != nil {
				t.Fatal(err)
			}
			stored = append(stored, row...)
		}
		var up []float64
		if _, ok, _ := m.Factors(ctx, name); ok {
			up = dense(t, ad, name, 0.5*6/rank)
		}
		tensor, _ := m.Tensor(name)
		i := 0
		for row, err := range m.Rows(ctx, name) {
			if err != nil || len(row) != tensor.Cols() {
				t.Fatalf("%s: row of %d values, %v", name, len(row), err)
			}
			for _, v := range row {
				w := float64(want[i])
				if stored[i] != want[i] {
					t.Fatalf("%s: stored value %d = %v, want %v", name, i, stored[i], want[i])
				}
				if up != nil {
					w += up[i]
				}
				if math.Abs(float64(v)-w) > 1e-6 {
					t.Fatalf("%s: value %d = %v, want %v", name, i, v, w)
				}
				i++
			}
		}
		if i != len(want) {
			t.Errorf("%s: %d values, want %d", name, i, len(want))
		}
		last := make([]float32, 2*tensor.Cols())
		if tensor.Rows() > 1 {
			if err := m.ReadRows(ctx, name, tensor.Rows()-2, last); err != nil {
				t.Fatal(err)
			}
			v, err := m.Vector(ctx, name)
			if err != nil {
				t.Fatal(err)
			}
			for j := range last {
				if last[j] != v[len(v)-len(last)+j] {
					t.Fatalf("%s: ReadRows and Vector differ at %d", name, j)
				}
			}
		}
	}
}

func TestRowsRefuses(t *testing.T) {
	ctx := context.Background()
	b := model(1).putRaw("blk.0.odd.weight", quant.Type(23), []uint64{256, 2}, make([]byte, 272))
	m := open(t, Artifact{Model: b.file(t)})
	row := make([]float32, width)
	for name, c := range map[string]struct {
		err error
		is  error
	}{
		"no such tensor":  {m.ReadRows(ctx, "nope", 0, row), ErrMissing},
		"no decoder":      {m.ReadRows(ctx, "blk.0.odd.weight", 0, make([]float32, 256)), ErrUnsupported},
		"row after last":  {m.ReadRows(ctx, Embedding, vocab, row), nil},
		"row before 0":    {m.ReadRows(ctx, Embedding, -1, row), nil},
		"part of a row":   {m.ReadRows(ctx, Embedding, 0, row[:5]), nil},
		"row overflows":   {m.ReadRows(ctx, Embedding, math.MaxInt, row), nil},
		"too many values": {m.ReadRows(ctx, OutputNorm, 0, make([]float32, 2*width)), nil},
	} {
		if c.err == nil || (c.is != nil && !errors.Is(c.err, c.is)) {
			t.Errorf("%s: error = %v, want %v", name, c.err, c.is)
		}
	}
	for _, name := range []string{"nope", "blk.0.odd.weight"} {
		n := 0
		for row, err := range m.Rows(ctx, name) {
			n++
			if err == nil || row != nil {
				t.Errorf("%s: row %v, error %v", name, row, err)
			}
		}
		if n != 1 {
			t.Errorf("%s: %d steps, want one with an error", name, n)
		}
	}
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	for _, err := range m.Rows(cancelled, Embedding) {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled: %v", err)
		}
	}
	n := 0
	for range m.Rows(ctx, Embedding) {
		if n++; n == 3 {
			break // must not panic or go on
		}
	}
}

func TestParseTensorName(t *testing.T) {
	for name, want := range map[string]TensorName{
		"blk.12.attn_q.weight":         {12, "attn_q", "weight"},
		"blk.0.attn_q.bias":            {0, "attn_q", "bias"},
		"token_embd.weight":            {-1, "token_embd", "weight"},
		"output.weight":                {-1, "output", "weight"},
		"rope_freqs.weight":            {-1, "rope_freqs", "weight"},
		"blk.3.ssm_a":                  {3, "ssm_a", ""},
		"blk.x.attn_q.weight":          {-1, "blk.x.attn_q", "weight"},
		"blk.99999999999.attn.weight":  {-1, "blk.99999999999.attn", "weight"},
		"blk.-1.attn.weight":           {-1, "blk.-1.attn", "weight"},
		"blk.7.ffn_gate_exps.weight":   {7, "ffn_gate_exps", "weight"},
		"blk.7.":                       {-1, "blk.7.", ""},
		"blk.1.attn_q.weight.lora_a":   {1, "attn_q.weight.lora_a", ""},
		"weight":                       {-1, "weight", ""},
		"blk.1.layer_output_scale.bla": {1, "layer_output_scale.bla", ""},
	} {
		if got := ParseTensorName(name); got != want {
			t.Errorf("ParseTensorName(%q) = %+v, want %+v", name, got, want)
		}
	}
}

// FuzzAdapter: no bytes make the adapter reader panic, and what fits the model
// has factors of the model's shapes.
func FuzzAdapter(f *testing.F) {
	base, err := gguf.Read("base", readerAt(model(1).bytes(f)), int64(len(model(1).bytes(f))), gguf.Limits{})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(lora(1).bytes(f))
	f.Fuzz(func(t *testing.T, b []byte) {
		g, err := gguf.Read("lora", readerAt(b), int64(len(b)), gguf.Limits{MetadataBytes: 1 << 20})
		if err != nil {
			return
		}
		a, err := newAdapter(g, 1)
		if err != nil {
			return
		}
		if a.fits(g, base) != nil {
			return
		}
		for _, p := range a.Pairs {
			w, _ := base.Tensor(p.Tensor)
			if rows, cols := p.shape(); rows != w.Rows() || cols != w.Cols() || p.Rank < 1 {
				t.Fatalf("pair %+v for tensor %+v", p, w)
			}
		}
		a.summary()
	})
}
