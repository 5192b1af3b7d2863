package weights

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/weighbridge/weighbridge/weights/gguf"
	"github.com/weighbridge/weighbridge/weights/quant"
)

// fallbacks are llama.cpp's types for rows that are no whole blocks of 256. For
// Q2_K and Q3_K it takes IQ4_NL, of the same size as Q4_0, which quant lacks.
var fallbacks = map[quant.Type]quant.Type{
	quant.Q2_K: quant.Q4_0, quant.Q3_K: quant.Q4_0, quant.Q4_K: quant.Q5_0, quant.Q5_K: quant.Q5_1, quant.Q6_K: quant.Q8_0,
}

// Requantise writes a copy of the model to w with its matrices as t, which must
// be a type that quant can encode: every tensor of two or more dimensions whose
// rows are whole blocks of t or of the type that llama.cpp takes instead (Q5_0
// for Q4_K, Q5_1 for Q5_K, Q8_0 for Q6_K). Others, such as norms, and all
// metadata are copied as they are, general.file_type too. An adapter is not
// applied. Equal arguments give equal bytes.
func (m *Model) Requantise(ctx context.Context, w io.Writer, t quant.Type) error {
	return m.requantise(ctx, w, func(gguf.Tensor) quant.Type { return t })
}

// RequantiseMix is Requantise to a type by its name, or to one of the mixtures
// Q4_K_M and Q5_K_M, as llama.cpp makes them of a dense model: the head, and
// attn_v and ffn_down of the first and last eighth of the layers and of every
// third between them, as Q6_K.
func (m *Model) RequantiseMix(ctx context.Context, w io.Writer, name string) error {
	base, mixed := strings.CutSuffix(name, "_M")
	t, err := quant.ParseType(base)
	if err != nil {
		return err
	}
	if !mixed {
		return m.Requantise(ctx, w, t)
	}
	if t != quant.Q4_K && t != quant.Q5_K {
		return fmt.Errorf("requantising to %s: the mixtures are Q4_K_M and Q5_K_M: %w", name, ErrUnsupported)
	}
	layers := 0
	for _, x := range m.Tensors() {
		layers = max(layers, ParseTensorName(x.Name).Layer+1)
	}
	head, _ := m.OutputHead()
	return m.requantise(ctx, w, func(x gguf.Tensor) quant.Type {
		n := ParseTensorName(x.Name)
		more := n.Layer < layers/8 || n.Layer >= 7*layers/8 || (n.Layer-layers/8)%3 == 2
		if x.Name == head || (n.Kind == "attn_v" || n.Kind == "ffn_down") && more {
			return quant.Q6_K
		}
		return t
	})
}

func (m *Model) requantise(ctx context.Context, w io.Writer, as func(gguf.Tensor) quant.Type) error {
	return m.Rewrite(ctx, w, func(x gguf.Tensor) (*Edit, error) {
		if len(x.Shape) < 2 {
			return nil, nil
		}
		t := as(x)
		if !t.CanQuantize() {
			return nil, fmt.Errorf("requantising to %s: %w", t, ErrUnsupported)
		}
		if x.Shape[0]%uint64(t.BlockValues()) != 0 && t.BlockValues() == 256 {
			t = fallbacks[t]
		}
		if x.Type == t || x.Shape[0]%uint64(t.BlockValues()) != 0 {
			return nil, nil
		}
		return &Edit{Type: t}, nil
	})
}

// Edit says what becomes of a tensor.
type Edit struct {
	Type quant.Type // of the tensor that is written; quant must be able to encode it
	// Rows changes whole rows in place, from the first on, in order. Nil leaves
	// the values.
	Rows func(first int, values []float32) error
}

// Rewrite writes a copy of the model to w in which the tensors that edit gives
// an Edit for are changed; the others and all metadata are copied as they are.
// edit is called for every tensor in file order before anything is written. An
// adapter is not applied. It holds a run of rows at a time, and where edit is a
// function of its arguments equal arguments give equal bytes.
func (m *Model) Rewrite(ctx context.Context, w io.Writer, edit func(gguf.Tensor) (*Edit, error)) error {
	f := m.base.gguf
	sources := make([]gguf.Source, len(f.Tensors))
	for i, x := range f.Tensors {
		sources[i] = f.Copy(x)
		e, err := edit(x)
		if err != nil {
			return err
		}
		if e == nil {
			continue
		}
		if err := m.base.readable(x); err != nil {
			return err
		}
		if !e.Type.CanQuantize() {
			return fmt.Errorf("writing tensor %q as %s: %w", x.Name, e.Type, ErrUnsupported)
		}
		sources[i].Type = e.Type
		sources[i].Data = func(w io.Writer) error {
			var buf []byte
			return m.base.chunks(ctx, x, func(first int, _ []byte, values []float32) error {
				if e.Rows != nil {
					if err := e.Rows(first, values); err != nil {
						return err
					}
				}
				n, _ := e.Type.RowBytes(uint64(len(values)))
				buf = sized(buf, int(n))
				if err := quant.Quantize(e.Type, buf, values); err != nil {
					return err
				}
				_, err := w.Write(buf)
				return err
			})
		}
	}
	return gguf.Write(w, f.Meta.Entries(), sources)
}
