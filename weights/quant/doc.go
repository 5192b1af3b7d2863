// Package quant knows the block formats in which ggml stores tensor rows.
//
// In: bytes of whole blocks. Out: float32 values, or the way back for the
// formats whose quantisation is a closed formula (no search over scales).
// Every result is bit-identical to ggml's reference functions compiled without
// fused multiply-add, on every architecture.
//
// It reads no files, allocates nothing, and does not search: the k-quants and
// i-quants choose their scales by search over an importance matrix, so it
// decodes the k-quants and leaves their encoding alone.
package quant
