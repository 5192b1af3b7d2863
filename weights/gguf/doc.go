// Package gguf reads and writes the GGUF container, versions 2 and 3, little
// endian (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md).
//
// In: an io.ReaderAt of known size that an adversary may have written. Out:
// the metadata in file order and the list of tensors, each proven to lie
// inside the file, aligned and apart from its neighbours. No length in the
// file is believed before it is checked against the file's size and against
// Limits, so memory stays bounded by Limits whatever the file claims.
//
// It is stricter than the format where the engine is: a tensor name that the
// engine would cut, a NUL that would end a C string early, a zero dimension
// that it would divide by, or a bool that is neither 0 nor 1 could be read in
// two ways, and is refused. It does not decode tensor data (package quant) and
// gives metadata no meaning (package weights).
package gguf
