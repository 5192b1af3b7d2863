package measure

import (
	"math"

	"github.com/fxamacker/cbor/v2"

	"github.com/weighbridge/weighbridge/runners"
)

// entry is what the store keeps of an answer. The client has checked its shape
// before it came here, and the store its bytes.
type entry[A any] struct {
	Answer *A            `cbor:"answer"`
	Usage  runners.Usage `cbor:"usage"`
}

var encoding = func() cbor.EncMode {
	m, err := cbor.CoreDetEncOptions().EncMode()
	if err != nil {
		panic(err) // constant options
	}
	return m
}()

var decoding = func() cbor.DecMode {
	m, err := cbor.DecOptions{MaxArrayElements: math.MaxInt32}.DecMode()
	if err != nil {
		panic(err) // constant options
	}
	return m
}()
