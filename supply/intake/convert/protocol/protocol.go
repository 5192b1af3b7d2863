// Package protocol is what the host and the converter in its box agree on.
//
// The host puts one request, POST [Path]. The guest answers with the bytes of
// the GGUF file as they are made, and ends them with the trailer [Status], which
// is [Done] or the reason why there is no file. A body without that trailer is
// a file that was cut off.
//
// It will not behave.
package protocol

const (
	Path   = "/convert"
	Status = "Converter-Status"
	Done   = "done"
	// MaxStatus bounds the trailer, in bytes.
	MaxStatus = 1024
)

// Folder is where the guest finds the model's files in its box.
const Folder = "/weights"
