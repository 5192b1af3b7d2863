// Package convert makes GGUF files of admitted safetensors models, by Ollama's
// convert in a sealed box.
//
// In: an entry of the store, the converter program and a host for boxes. Out: an
// [intake.Source], so that the result goes the way of every other model:
// quarantine, judgement, store. The files come into the box read-only, straight
// from the store; the result comes out over the box's only channel, bounded, and
// is parsed by package gguf before anything else looks at it. Beside it lies an
// unsigned provenance statement that names the source by its root and the
// converter by its digest, and the result's record links back.
//
// The converter reads hostile files, so its crash, its refusal and its hang are
// [ErrConvert]: the source stays admitted, and no file is made. The package will
// not convert on the host, and reads no pickles: only safetensors get into the
// box.
package convert
