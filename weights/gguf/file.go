package gguf

import (
	"io"

	"github.com/weighbridge/weighbridge/weights/quant"
)

// Limits bounds what the reader allocates. A zero field means the value in
// DefaultLimits.
type Limits struct {
	MetadataBytes int64  // header, metadata and tensor list together
	Keys          uint64 // metadata entries
	KeyBytes      uint64
	StringBytes   uint64 // one metadata string
	ArrayLen      uint64 // elements in one array
	Tensors       uint64
	NameBytes     uint64 // a tensor's name; ggml cuts names at 63 bytes
	Alignment     uint64
}

// DefaultLimits has room for every published model known to us several times
// over: the largest vocabularies have about 262,000 tokens and 580,000 merges
// (20 MB), the largest tensor lists a few thousand entries.
var DefaultLimits = Limits{
	MetadataBytes: 128 << 20,
	Keys:          8192,
	KeyBytes:      1<<16 - 1,
	StringBytes:   32 << 20,
	ArrayLen:      4 << 20,
	Tensors:       64 << 10,
	NameBytes:     63,
	Alignment:     64 << 10,
}

// Tensor is one entry of the tensor list, checked against the file.
type Tensor struct {
	Name string
	Type quant.Type
	// Shape is in ggml's order: Shape[0] (ne[0]) is the length of a row, the
	// dimension that is contiguous in memory; Shape[1] is the number of rows. A
	// PyTorch matrix of shape [out, in] is Shape [in, out]. 1 to 4 dimensions,
	// each at least 1.
	Shape  []uint64
	Offset int64 // of the first byte, from the start of the file
	Size   int64 // in bytes, without padding
}

// Cols returns the length of a row.
func (t Tensor) Cols() int { return int(t.Shape[0]) }

// Rows returns the number of rows, all outer dimensions multiplied.
func (t Tensor) Rows() int {
	n := 1
	for _, d := range t.Shape[1:] {
		n *= int(d)
	}
	return n
}

// Values returns the number of values.
func (t Tensor) Values() int64 { return int64(t.Rows()) * int64(t.Cols()) }

// RowBytes returns the size of one row in bytes.
func (t Tensor) RowBytes() int { return int(t.Size / int64(t.Rows())) }

// File is a parsed GGUF file.
type File struct {
	Name      string // as given to Read; used in errors only
	Version   uint32
	Alignment int64
	Meta      *Metadata
	Tensors   []Tensor // in file order
	DataStart int64    // offset of the data section
	Size      int64    // of the whole file
	// Unclaimed counts bytes of the data section that belong to no tensor and
	// are more than alignment padding: room where a file can carry something
	// that no engine loads.
	Unclaimed int64

	r     io.ReaderAt
	index map[string]int
}

// Tensor returns the tensor called name.
func (f *File) Tensor(name string) (Tensor, bool) {
	i, ok := f.index[name]
	if !ok {
		return Tensor{}, false
	}
	return f.Tensors[i], true
}

// Data returns a reader over the bytes of t.
func (f *File) Data(t Tensor) *io.SectionReader {
	return io.NewSectionReader(f.r, t.Offset, t.Size)
}
