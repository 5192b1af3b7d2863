package weights

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"

	"github.com/weighbridge/weighbridge/weights/gguf"
	"github.com/weighbridge/weighbridge/weights/quant"
)

const (
	// maxCols bounds one row in memory (64 MiB of float32). The longest rows of
	// published models have about 60,000 values.
	maxCols = 16 << 20
	// chunkValues is how many values are held at once, whole rows but at least one.
	chunkValues = 128 << 10
	// maxVector bounds Vector.
	maxVector = 1 << 20
)

// chunkRows returns how many rows of t are handled at once.
func chunkRows(t gguf.Tensor) int {
	return min(t.Rows(), max(1, chunkValues/t.Cols()))
}

func (s *source) tensor(name string) (gguf.Tensor, error) {
	t, ok := s.gguf.Tensor(name)
	if !ok {
		return t, fmt.Errorf("%s: tensor %q: %w", s.path, name, ErrMissing)
	}
	return t, s.readable(t)
}

// readable says why the values of t cannot be had.
func (s *source) readable(t gguf.Tensor) error {
	if !t.Type.CanDequantize() {
		return fmt.Errorf("%s: tensor %q of %s: %w", s.path, t.Name, t.Type, ErrUnsupported)
	}
	if t.Cols() > maxCols {
		return fmt.Errorf("%s: tensor %q with rows of %d values, more than %d: %w", s.path, t.Name, t.Cols(), maxCols, ErrUnsupported)
	}
	return nil
}

// raw fills p with the bytes of t from row first on.
func (s *source) raw(t gguf.Tensor, first int, p []byte) error {
	return s.rawAt(t, int64(first)*int64(t.RowBytes()), p)
}

// rawAt fills p with the bytes of t from byte off on.
func (s *source) rawAt(t gguf.Tensor, off int64, p []byte) error {
	n, err := s.f.ReadAt(p, t.Offset+off)
	if n == len(p) {
		return nil
	}
	if errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: %s ends inside of tensor %q", ErrChanged, s.path, t.Name)
	}
	return fmt.Errorf("reading tensor %q of %s: %w", t.Name, s.path, err)
}

// chunks calls do with successive runs of rows: the index of the first, its
// bytes and its values, both reused.
func (s *source) chunks(ctx context.Context, t gguf.Tensor, do func(first int, raw []byte, values []float32) error) error {
	n := chunkRows(t)
	raw, values := make([]byte, n*t.RowBytes()), make([]float32, n*t.Cols())
	for first := 0; first < t.Rows(); first += n {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("reading tensor %q of %s: %w", t.Name, s.path, err)
		}
		k := min(n, t.Rows()-first)
		r, v := raw[:k*t.RowBytes()], values[:k*t.Cols()]
		if err := s.raw(t, first, r); err != nil {
			return err
		}
		if err := quant.Dequantize(t.Type, v, r); err != nil {
			return fmt.Errorf("%s: tensor %q: %w", s.path, t.Name, err)
		}
		if err := do(first, r, v); err != nil {
			return err
		}
	}
	return nil
}

// Rows yields the rows of a tensor as the engine computes with them: the stored
// values, plus the adapter's update where there is one. The slice is reused
// between steps. After an error the sequence ends.
func (m *Model) Rows(ctx context.Context, name string) iter.Seq2[[]float32, error] {
	return func(yield func([]float32, error) bool) {
		up, _, err := m.Factors(ctx, name)
		if err != nil {
			yield(nil, err)
			return
		}
		m.rows(ctx, name, up, yield)
	}
}

// StoredRows is Rows without the adapter.
func (m *Model) StoredRows(ctx context.Context, name string) iter.Seq2[[]float32, error] {
	return func(yield func([]float32, error) bool) { m.rows(ctx, name, nil, yield) }
}

var errStopped = errors.New("stopped by the caller")

func (m *Model) rows(ctx context.Context, name string, up *LowRank, yield func([]float32, error) bool) {
	t, err := m.base.tensor(name)
	if err == nil {
		err = m.base.chunks(ctx, t, func(first int, _ []byte, values []float32) error {
			for i := 0; len(values) > 0; i, values = i+1, values[t.Cols():] {
				row := values[:t.Cols()]
				if up != nil {
					up.AddRow(first+i, row)
				}
				if !yield(row, nil) {
					return errStopped
				}
			}
			return nil
		})
	}
	if err != nil && err != errStopped {
		yield(nil, err)
	}
}

// ReadRows fills dst with whole rows of the named tensor from row first on,
// adapter included; len(dst) is a multiple of the tensor's Cols.
func (m *Model) ReadRows(ctx context.Context, name string, first int, dst []float32) error {
	t, err := m.base.tensor(name)
	if err != nil {
		return err
	}
	n := len(dst) / t.Cols()
	if first < 0 || len(dst)%t.Cols() != 0 || n > t.Rows() || first > t.Rows()-n {
		return fmt.Errorf("%s: tensor %q has %d rows of %d: no %d values from row %d on", m.base.path, name, t.Rows(), t.Cols(), len(dst), first)
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("reading tensor %q of %s: %w", name, m.base.path, err)
	}
	raw := make([]byte, n*t.RowBytes())
	if err := m.base.raw(t, first, raw); err != nil {
		return err
	}
	if err := quant.Dequantize(t.Type, dst, raw); err != nil {
		return fmt.Errorf("%s: tensor %q: %w", m.base.path, name, err)
	}
	up, ok, err := m.Factors(ctx, name)
	if !ok || err != nil {
		return err
	}
	for i := range n {
		up.AddRow(first+i, dst[i*t.Cols():(i+1)*t.Cols()])
	}
	return nil
}

// Vector returns all values of a small tensor, such as a norm's weights
// (at most 1<<20 values), adapter included.
func (m *Model) Vector(ctx context.Context, name string) ([]float32, error) {
	t, err := m.base.tensor(name)
	if err != nil {
		return nil, err
	}
	if t.Values() > maxVector {
		return nil, fmt.Errorf("%s: tensor %q has %d values, more than %d: %w", m.base.path, name, t.Values(), maxVector, ErrUnsupported)
	}
	v := make([]float32, t.Values())
	return v, m.ReadRows(ctx, name, 0, v)
}
