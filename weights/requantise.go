package weights

import (
	"context"
	"fmt"
	"io"

	"github.com/weighbridge/weighbridge/weights/gguf"
	"github.com/weighbridge/weighbridge/weights/quant"
)

// Requantise writes a copy of the model to w with its matrices as t, which must
// be a type that quant can encode: every tensor of two or more dimensions whose
// rows are whole blocks. Others, such as norms, and all metadata are copied as
// they are, general.file_type too. An adapter is not applied. Equal arguments
// give equal bytes.
func (m *Model) Requantise(ctx context.Context, w io.Writer, t quant.Type) error {
	if !t.CanQuantize() {
		return fmt.Errorf("requantising to %s: %w", t, ErrUnsupported)
	}
	f := m.base.gguf
	sources := make([]gguf.Source, len(f.Tensors))
	for i, x := range f.Tensors {
		sources[i] = f.Copy(x)
		if len(x.Shape) < 2 || x.Type == t || x.Shape[0]%uint64(t.BlockValues()) != 0 {
			continue
		}
		if err := m.base.readable(x); err != nil {
			return err
		}
		sources[i].Type = t
		sources[i].Data = func(w io.Writer) error {
			var buf []byte
			return m.base.chunks(ctx, x, func(_ int, _ []byte, values []float32) error {
				n, _ := t.RowBytes(uint64(len(values)))
				buf = sized(buf, int(n))
				if err := quant.Quantize(t, buf, values); err != nil {
					return err
				}
				_, err := w.Write(buf)
				return err
			})
		}
	}
	return gguf.Write(w, f.Meta.Entries(), sources)
}
