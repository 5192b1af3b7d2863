package wire

import (
	"fmt"

	"github.com/fxamacker/cbor/v2"

	"github.com/weighbridge/weighbridge/runners"
)

// Operations, as in the path.
const (
	opInfo       = "info"
	opTokenize   = "tokenize"
	opDetokenize = "detokenize"
	opRender     = "render"
	opScore      = "score"
	opGenerate   = "generate"
)

const (
	contentType = "application/cbor"
	// 4096 sequences of 4096 tokens of 5 bytes, and some.
	maxRequest = 128 << 20
	maxNesting = 8
)

var enc = func() cbor.EncMode {
	o := cbor.CoreDetEncOptions()
	o.NilContainers = cbor.NilContainerAsEmpty // nil and empty are the same question
	m, err := o.EncMode()
	if err != nil {
		panic(err) // constant options
	}
	return m
}()

// decMode bounds arrays to elements entries.
func decMode(elements int) (cbor.DecMode, error) {
	return cbor.DecOptions{
		DupMapKey:         cbor.DupMapKeyEnforcedAPF,
		MaxNestedLevels:   maxNesting,
		MaxArrayElements:  max(16, elements),
		MaxMapPairs:       64,
		IndefLength:       cbor.IndefLengthForbidden,
		TagsMd:            cbor.TagsForbidden,
		ExtraReturnErrors: cbor.ExtraDecErrorUnknownField,
	}.DecMode()
}

func decode(b []byte, elements int, v any) error {
	m, err := decMode(elements)
	if err != nil {
		return err
	}
	return m.Unmarshal(b, v)
}

// Canonical is the deterministic encoding of a request (a pointer to one of the
// request types of package runners) together with its method. Equal requests
// have equal bytes, so it serves as the key of a measurement. It panics on any
// other type.
func Canonical(request any) []byte {
	op := ""
	switch request.(type) {
	case *runners.TokenizeRequest:
		op = opTokenize
	case *runners.DetokenizeRequest:
		op = opDetokenize
	case *runners.RenderRequest:
		op = opRender
	case *runners.ScoreRequest:
		op = opScore
	case *runners.GenerateRequest:
		op = opGenerate
	default:
		panic(fmt.Sprintf("wire.Canonical: %T is not a request", request))
	}
	b, err := enc.Marshal([]any{op, request})
	if err != nil {
		panic(fmt.Sprintf("wire.Canonical: %v", err)) // the request types always encode
	}
	return b
}
