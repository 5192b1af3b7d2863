// Package quant knows the block formats in which ggml stores tensor rows.
//
// In: bytes of whole blocks. Out: float32 values, the way back, and whether
// blocks are a rounding of given values. Values and blocks are bit-identical to
// ggml's reference functions without importance matrix, compiled without fused
// multiply-add as in llama.cpp's releases for x86-64, on every architecture;
// testdata holds what ggml gave. Other builds sum in another order of rounding
// and may choose another scale for a k-quant block: up to 1 in 50 is different.
//
// # A rounding, whoever made it
//
// [Fit] does not ask which program encoded. A block counts as a rounding of
// given values if each has the nearest code of the block's own grid (ties and
// clipped ends go either way), and if the grid is one that a quantiser would
// choose: a block's squared error stays below 4 times, that of a tensor below
// 1.1 times what plain rounding leaves in a grid that just spans the values.
// In Q4_0 to Q5_1 codes may have been chosen for another scale than the stored
// one, as ggml does with an importance matrix, so that there 1 in 30 changes of
// one code of such a file still is a rounding; elsewhere none is.
//
// What is left is the choice of scales. An attacker who may choose all of them
// freely can make the rounding error point, in part, in one direction. Trying
// all grids of all runs of normal values carries a change of rank one as large
// as 3 % of the tensor's norm in Q4_K, 2.8 % in Q4_0, 1.6 % in Q5_K, 0.8 % in
// Q6_K and 0.2 % in Q8_0 (TestFreedom); nothing is left where the bits are
// those of Quantize.
//
// It reads no files and does not decode or encode i-quants.
package quant
