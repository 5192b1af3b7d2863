// Package formats says of every file of a model folder what it is, and which of
// them could execute code when a program loads them.
//
// In: a folder and its manifest. Out: one [File] per file, recognised by its
// content first and its name second, because loaders do either. GGUF,
// safetensors, ONNX, NumPy arrays without objects, SentencePiece, JSON, YAML
// and text are read with bounds and checked: lengths, offsets, overlaps. What
// executes is refused, whatever it would execute: pickles and everything that
// holds them (PyTorch's .pt and .bin of every age, joblib, object arrays), HDF5
// and Keras files, TorchScript, programs and libraries, scripts, configurations
// that name code to load, and files that are two formats at once. Nothing is
// executed to find out, and archives are unpacked within bounds only.
//
// A file that is recognised as none of these is "unknown": that is not proof of
// anything, and the problem says so.
//
// The package will not judge the weights in a file, nor the text of templates;
// both happen later, and the templates inside a box.
package formats
