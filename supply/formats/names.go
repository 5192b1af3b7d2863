package formats

import (
	"path"
	"regexp"
	"strings"
)

func ext(name string) string  { return strings.ToLower(path.Ext(name)) }
func base(name string) string { return strings.ToLower(path.Base(name)) }

// pickled are names that loaders unpickle without a look at the content.
var pickled = set(".pkl", ".pickle", ".pt", ".pth", ".pt2", ".ptl", ".ckpt", ".joblib", ".dill", ".cloudpickle", ".nemo", ".mar", ".p")

// claims are names that promise one format.
var claims = map[string]string{".safetensors": "safetensors", ".gguf": "gguf", ".onnx": "onnx", ".json": "json"}

// programs are names of code, with what they are.
var programs = map[string]string{}

func init() {
	for what, names := range map[string]string{
		"Python code":       ".py .pyw .pyx .pyi .pyc .pyo .pyd .ipynb .whl .egg",
		"a shell script":    ".sh .bash .zsh .ksh .csh .fish .command",
		"a Windows script":  ".bat .cmd .ps1 .psm1 .vbs .wsf .hta .lnk .reg",
		"a script":          ".js .mjs .cjs .ts .rb .pl .pm .lua .php .r .jl .tcl .desktop",
		"a program":         ".exe .com .msi .scr .dll .dylib .jar .class .wasm .dex .apk .deb .rpm .appimage .llamafile .node .o .a .ko .bc",
		"compiled GPU code": ".engine .plan .trt .cubin .fatbin .hsaco .ptx",
		"a Keras or HDF5 model, which may hold Lambda layers (pickled code)": ".h5 .hdf5 .keras .he5",
		"a TorchScript or Torch package":                                     ".torchscript .jit",
		"R data, whose loader evaluates promises":                            ".rds .rda .rdata",
	} {
		for n := range strings.FieldsSeq(names) {
			programs[n] = what
		}
	}
}

// sharedObject are ELF libraries with or without their version.
var sharedObject = regexp.MustCompile(`\.so(\.[0-9]+)*$`)

// magic is a format that is known by some bytes at a place.
type magic struct {
	at     int
	magic  string
	format string
	rule   string
	detail string
}

var magics = []magic{
	{0, "\x89PNG\r\n\x1a\n", "image", "", "PNG"},
	{0, "\xff\xd8\xff", "image", "", "JPEG"},
	{0, "GIF8", "image", "", "GIF"},
	{8, "WEBP", "image", "", "WebP"},
	{8, "WAVE", "audio", "", "WAVE"},
	{0, "fLaC", "audio", "", "FLAC"},
	{0, "OggS", "audio", "", "Ogg"},
	{0, "%PDF-", "document", "", "PDF"},
	{0, "PAR1", "parquet", "", "Parquet"},
	{0, "ARROW1\x00\x00", "arrow", "", "Arrow"},
	{4, "TFL3", "tflite", "", "TensorFlow Lite"},
	{0, "\x1f\x8b", "gzip", RuleArchive, "gzip; unpack it so that it can be looked at"},
	{0, "BZh", "bzip2", RuleArchive, "bzip2; unpack it so that it can be looked at"},
	{0, "\xfd7zXZ\x00", "xz", RuleArchive, "xz; unpack it so that it can be looked at"},
	{0, "\x5d\x00\x00", "lzma", RuleArchive, "lzma; unpack it so that it can be looked at"},
	{0, "\x28\xb5\x2f\xfd", "zstd", RuleArchive, "zstd; unpack it so that it can be looked at"},
	{0, "\x04\x22\x4d\x18", "lz4", RuleArchive, "lz4; unpack it so that it can be looked at"},
	{0, "7z\xbc\xaf\x27\x1c", "7z", RuleArchive, "7z; unpack it so that it can be looked at"},
	{0, "Rar!\x1a\x07", "rar", RuleArchive, "rar; unpack it so that it can be looked at"},
}

func set(names ...string) map[string]bool {
	m := map[string]bool{}
	for _, n := range names {
		m[n] = true
	}
	return m
}
