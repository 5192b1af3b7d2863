package weights

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Identity names weights by content: "sha256:" and 64 hex digits. The package
// comment has its definition.
type Identity string

// FileDigest is one file of an artifact.
type FileDigest struct {
	Path   string `json:"path"`   // inside the model; AdapterPath for the adapter
	SHA256 string `json:"sha256"` // 64 hex digits
	Bytes  int64  `json:"bytes"`
}

// ModelPath and AdapterPath stand for the paths of single files, whose own
// names do not count.
const (
	ModelPath   = "model.gguf"
	AdapterPath = "adapter.gguf"
)

// identity hashes the canonical text. adapter is nil when there is none.
func identity(files []FileDigest, adapter *FileDigest, scale float32) Identity {
	files = slices.SortedFunc(slices.Values(files), func(a, b FileDigest) int { return strings.Compare(a.Path, b.Path) })
	var b strings.Builder
	b.WriteString("weighbridge identity v1\n")
	for _, f := range files {
		fmt.Fprintf(&b, "file %s %s\n", f.SHA256, strconv.Quote(f.Path))
	}
	if adapter != nil {
		fmt.Fprintf(&b, "adapter %s scale %s\n", adapter.SHA256, strconv.FormatFloat(float64(scale), 'g', -1, 32))
	}
	sum := sha256.Sum256([]byte(b.String()))
	return Identity("sha256:" + hex.EncodeToString(sum[:]))
}

func (s *source) digest(path string) FileDigest {
	return FileDigest{Path: path, SHA256: hex.EncodeToString(s.sha256[:]), Bytes: s.gguf.Size}
}

// Identify is the identity of a model made of these files: the paths count,
// except where there is only one file.
func Identify(files []FileDigest) Identity {
	if len(files) == 1 {
		files = []FileDigest{{Path: ModelPath, SHA256: files[0].SHA256, Bytes: files[0].Bytes}}
	}
	return identity(files, nil, 0)
}
