package weights

import (
	"strconv"
	"strings"
)

// TensorName is a tensor's name taken apart.
type TensorName struct {
	Layer int    `json:"layer"` // block index, -1 outside of the blocks
	Kind  string `json:"kind"`  // "attn_q", "ffn_down", "token_embd", "output", …
	Part  string `json:"part"`  // "weight", "bias" or ""
}

// ParseTensorName takes "blk.12.attn_q.weight" apart. A name of another form
// becomes the Kind as a whole.
func ParseTensorName(name string) TensorName {
	n := TensorName{Layer: -1, Kind: name}
	if rest, ok := strings.CutPrefix(name, "blk."); ok {
		num, kind, _ := strings.Cut(rest, ".")
		if layer, err := strconv.ParseUint(num, 10, 31); err == nil && kind != "" {
			n.Layer, n.Kind = int(layer), kind
		}
	}
	for _, part := range []string{"weight", "bias"} {
		if kind, ok := strings.CutSuffix(n.Kind, "."+part); ok {
			n.Kind, n.Part = kind, part
			break
		}
	}
	return n
}
