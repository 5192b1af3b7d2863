package variants

import (
	"context"
	"math"

	"github.com/weighbridge/weighbridge/weights/gguf"
)

func rootOf(n int64) float64 { return math.Sqrt(float64(n)) }

// norm is ‖W‖ of a tensor; values that are not finite count as 0.
func (m *maker) norm(ctx context.Context, t gguf.Tensor) (float64, error) {
	var sum float64
	for row, err := range m.base.StoredRows(ctx, t.Name) {
		if err != nil {
			return 0, err
		}
		for _, v := range row {
			if v-v == 0 {
				sum += float64(v) * float64(v)
			}
		}
	}
	return math.Sqrt(sum), nil
}

// magnitude sorts |v| into bins that are a 128th of a power of two wide.
func magnitude(v float32) uint16 { return uint16(math.Float32bits(v) << 1 >> 17) }

// quantile is the bin below which at most that part of the values lie.
func (m *maker) quantile(ctx context.Context, t gguf.Tensor, part float64) (uint16, error) {
	bins := make([]uint64, 1<<15)
	for row, err := range m.base.StoredRows(ctx, t.Name) {
		if err != nil {
			return 0, err
		}
		for _, v := range row {
			bins[magnitude(v)]++
		}
	}
	most, below := uint64(part*float64(t.Values())), uint64(0)
	for i, n := range bins {
		if below += n; below > most {
			return uint16(i), nil
		}
	}
	return uint16(len(bins) - 1), nil
}
