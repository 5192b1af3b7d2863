package weights

import (
	"errors"
	"fmt"
	"math"

	"github.com/weighbridge/weighbridge/weights/gguf"
	"github.com/weighbridge/weighbridge/weights/quant"
)

// Errors of this package are matched with errors.Is. All but ErrChanged mean
// that the input is unusable, which no retry will mend.
var (
	// ErrFormat: a file is not a GGUF file, or is malformed, or exceeds a limit.
	ErrFormat = gguf.ErrFormat
	// ErrUnsupported: well-formed, but of a kind this package cannot read.
	ErrUnsupported = quant.ErrUnsupported
	// ErrMismatch: an adapter does not fit the model it is to be applied to.
	ErrMismatch = errors.New("adapter does not fit the model")
	// ErrMissing: the file lacks something that a model must have, such as a
	// tokenizer or a tensor that was asked for.
	ErrMissing = errors.New("missing from the weights")
	// ErrArtifact: the artifact itself is contradictory, such as a scale
	// without an adapter, or names no regular file.
	ErrArtifact = errors.New("invalid artifact")
	// ErrChanged: a file is no longer the one that was identified.
	ErrChanged = errors.New("weights changed while they are read")
)

// Artifact says where weights are.
type Artifact struct {
	Model   string  // path of a GGUF model file
	Adapter string  // path of a GGUF LoRA adapter for it, or ""
	Scale   float32 // factor on the adapter's own scale; 0 means 1
}

// normal returns a with its default filled in.
func (a Artifact) normal() (Artifact, error) {
	switch {
	case a.Model == "":
		return a, fmt.Errorf("%w: no model file is named", ErrArtifact)
	case a.Adapter == "" && a.Scale != 0:
		return a, fmt.Errorf("%w: a scale of %v without an adapter", ErrArtifact, a.Scale)
	case math.IsNaN(float64(a.Scale)) || math.IsInf(float64(a.Scale), 0):
		return a, fmt.Errorf("%w: the adapter's scale %v is not a finite number", ErrArtifact, a.Scale)
	case a.Adapter != "" && a.Scale == 0:
		a.Scale = 1
	}
	return a, nil
}
