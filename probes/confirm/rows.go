package confirm

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/weighbridge/weighbridge/weights/quant"
)

// LogProbs normalises a row of binary16 logits.
func LogProbs(row []byte, vocab int) ([]float64, error) {
	if len(row) != 2*vocab {
		return nil, fmt.Errorf("a row of logits has %d bytes for a vocabulary of %d", len(row), vocab)
	}
	out := make([]float64, vocab)
	top := math.Inf(-1)
	for i := range out {
		out[i] = float64(quant.F16ToF32(binary.LittleEndian.Uint16(row[2*i:])))
		if math.IsNaN(out[i]) {
			return nil, fmt.Errorf("logit %d is not a number", i)
		}
		top = max(top, out[i])
	}
	var sum float64
	for _, x := range out {
		sum += math.Exp(x - top)
	}
	z := top + math.Log(sum)
	for i := range out {
		out[i] = max(out[i]-z, -60) // −Inf would make a ratio of two impossible tokens meaningless
	}
	return out, nil
}
