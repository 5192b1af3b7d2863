// Package weights opens model weights, says what they are, and says how two
// sets of them are related. It is stage "identify" of the pipeline, and the
// source of tensor values for every later stage that looks at weights.
//
// In: an [Artifact], the paths of a GGUF model and optionally of a GGUF LoRA
// adapter with its scale. Out: a [Model] with an identity, metadata, tensors as
// float32 rows, tokenizer and hyper-parameter views; and from two models a
// [Comparison] with their [Relation].
//
// Files are hostile: everything is checked before use (package gguf), memory is
// bounded whatever the file claims, nothing is mapped into memory, and nothing
// in a file is executed. Text that comes from a file is returned as it is; who
// shows it escapes it.
//
// # Identity
//
// An identity names weights by content. It is "sha256:" and the lower-case hex
// SHA-256 of this text, in which every line ends with one line feed:
//
//	weighbridge identity v1
//	file HEX PATH
//	adapter HEX scale S
//
// There is one file line per file of the model, sorted by PATH as bytes. HEX is
// the SHA-256 of the file's bytes, PATH is the slash-separated path inside the
// model, quoted as by [strconv.Quote]; a model that is one GGUF file is always
// "model.gguf". The adapter line is there when an adapter is. S is the scale as
// the shortest decimal that gives the same float32 (strconv 'g', -1, 32).
// Names, folders, times and owners of files do not count.
//
// # Relations
//
// [Compare] finds the closest relation that the bytes prove. A "requantised"
// pair is exact where every block equals the requantised baseline, as package
// quant encodes it. It is settled also where another quantiser chose the scales:
// every value then is the nearest that its block can express, and the scales
// are such as a quantiser chooses; package quant says what that leaves to an
// attacker. Otherwise "requantised" means that the errors look like rounding in
// the candidate's own steps: a change smaller than that rounding hides in it,
// whatever its purpose. A candidate made from a finer source than the baseline
// is never "requantised", for what lies below the baseline's steps is unknown;
// [TensorDelta].Under says whether that source could be the baseline's too.
//
// # Not here
//
// Running models, judging what a difference means, and showing it. Safetensors
// directories are refused with a hint how to convert them.
package weights
