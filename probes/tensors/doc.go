// Package tensors is the probe of the weights themselves: what the candidate's
// tensors are to the baseline's, which of them moved, and which tokens the
// update reads and writes. It asks the engine for nothing but the spelling of
// tokens, and decodes none.
//
// In: the comparison that was made when the pair was identified, and bounded
// reads of both files. Out: one row per tensor, findings, and leads for the
// probes that search with tokens.
//
// # What its tiers mean
//
// A change of weights is what a fine-tune is, so it convicts nobody:
//
//   - CONSISTENT: the relation of a pair that is the same bits, requantised or
//     derived; where the update sits; what the lenses show. An ordinary
//     fine-tune or adapter gives nothing else.
//   - DIVERGENT: what ordinary training does not do: one or two matrices of
//     many edited, a few rows of an otherwise untouched embedding, tensors that
//     one side lacks, and models that are unrelated.
//   - PROVEN: values that are no numbers (broken), and a file whose matrices
//     equal the requantised baseline to the bit but for one or two, which are
//     named (tampered).
//
// # Lenses
//
// The left singular vectors of ΔW of attn_output and ffn_down point to what an
// update writes into the residual stream; seen through the last norm and the
// head they are tokens (facts of this kind: WeightWatch, arXiv:2508.00161). The
// right ones of layer 0 point to the embeddings it listens to. Both are guides
// for a search: a harmless format shows up like a payload.
//
// It will not judge behaviour, and cannot see a change below a quantisation
// step.
package tensors
