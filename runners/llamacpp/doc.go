// Package llamacpp runs weights with llama.cpp, as carried by the Go module
// github.com/ollama/ollama, and answers [runners.Model] requests about them.
//
// In go a GGUF file, LoRA adapters with their scales, a context length and a
// number of threads; out comes a Model. Requests are served one after the
// other through one context whose cache starts empty, and the geometry of
// every batch is a function of the request alone, so that the same build on
// the same machine gives the same bits whatever else is asked.
//
// Prefixes that the sequences of a request share are decoded once (file
// plan.go, pure). Rows of logits are reduced in C and never copied.
//
// The package will not open a network, fetch weights, render chat templates by
// itself (package template does, in a process of its own) or survive a fault
// inside llama.cpp: an assertion there ends the process. Weights are hostile
// input, so the package belongs inside a box (package sandbox).
//
// It needs cgo and the build tag "engine"; mk/engine.mk has the flags. Without
// the tag only the pure parts are compiled.
package llamacpp
