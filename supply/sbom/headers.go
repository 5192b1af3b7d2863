package sbom

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/weighbridge/weighbridge/weights/gguf"
)

// header is what the head of a weight file says. It is the file's own text,
// apart from format, parameters and types, which its loader depends on.
type header struct {
	format     string
	parameters int64
	types      map[string]int64 // values per element type
	meta       *gguf.Metadata   // GGUF only
	adapter    bool
}

// quantisation names the type that most parameters have.
func (h *header) quantisation() string {
	best := ""
	for _, t := range slices.Sorted(maps.Keys(h.types)) {
		if best == "" || h.types[t] > h.types[best] {
			best = t
		}
	}
	return best
}

func readHeader(name string, r io.ReaderAt, size int64) (*header, error) {
	switch lower := strings.ToLower(name); {
	case strings.HasSuffix(lower, ".gguf"):
		return readGGUF(name, r, size)
	case strings.HasSuffix(lower, ".safetensors"):
		return readSafetensors(r, size)
	}
	return nil, nil
}

func readGGUF(name string, r io.ReaderAt, size int64) (*header, error) {
	f, err := gguf.Read(name, r, size, gguf.Limits{})
	if err != nil {
		return nil, err
	}
	h := &header{format: "gguf", types: map[string]int64{}, meta: f.Meta}
	for _, t := range f.Tensors {
		h.types[t.Type.String()] += t.Values()
		h.parameters += t.Values()
	}
	kind, _ := f.Meta.String("general.type")
	h.adapter = kind == "adapter"
	return h, nil
}

var errSafetensors = errors.New("malformed safetensors header")

// maxSafetensors is the limit of the reference implementation for a header.
const maxSafetensors = 100_000_000

// readSafetensors reads the 8-byte little-endian length and the JSON that
// follows it, tensor by tensor.
func readSafetensors(r io.ReaderAt, size int64) (*header, error) {
	bad := func(format string, args ...any) (*header, error) {
		return nil, fmt.Errorf("%w: %s", errSafetensors, fmt.Sprintf(format, args...))
	}
	var head [8]byte
	if _, err := r.ReadAt(head[:], 0); err != nil {
		return bad("it has %d bytes, fewer than its length takes", size)
	}
	n := binary.LittleEndian.Uint64(head[:])
	if n > maxSafetensors || int64(n) > size-8 {
		return bad("a header of %d bytes does not fit into %d, or exceeds %d", n, size, maxSafetensors)
	}
	d := json.NewDecoder(io.NewSectionReader(r, 8, int64(n)))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return bad("it is no JSON object")
	}
	h := &header{format: "safetensors", types: map[string]int64{}}
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return bad("byte %d: %v", d.InputOffset(), err)
		}
		if key == "__metadata__" {
			var skip map[string]string
			if err := d.Decode(&skip); err != nil {
				return bad("__metadata__: %v", err)
			}
			continue
		}
		var t struct {
			DType   string   `json:"dtype"`
			Shape   []int64  `json:"shape"`
			Offsets [2]int64 `json:"data_offsets"`
		}
		if err := d.Decode(&t); err != nil {
			return bad("byte %d: %v", d.InputOffset(), err)
		}
		values := int64(1)
		for _, x := range t.Shape {
			if x < 0 || x > 0 && values > math.MaxInt64/8/x {
				return bad("tensor %s has the shape %v", shown(fmt.Sprint(key)), t.Shape)
			}
			values *= x
		}
		if t.Offsets[0] < 0 || t.Offsets[1] < t.Offsets[0] || t.Offsets[1] > size-8-int64(n) {
			return bad("tensor %s lies at %v, outside the file", shown(fmt.Sprint(key)), t.Offsets)
		}
		if len(t.DType) > 16 || h.parameters > math.MaxInt64-values {
			return bad("tensor %s: more values than can be counted, or no type", shown(fmt.Sprint(key)))
		}
		h.types[plain(t.DType, 16)] += values
		h.parameters += values
	}
	if _, err := d.Token(); err != nil {
		return bad("byte %d: %v", d.InputOffset(), err)
	}
	return h, nil
}
