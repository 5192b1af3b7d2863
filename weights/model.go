package weights

import (
	"context"
	"errors"
	"iter"

	"github.com/weighbridge/weighbridge/weights/gguf"
)

var errSkeleton = errors.New("not written yet")

// Model is an opened artifact. Its methods are safe for concurrent use.
type Model struct {
	artifact Artifact
}

// Open opens and validates the files of a, reads each of them once to hash it,
// and checks that the adapter fits. The caller closes the model.
func Open(ctx context.Context, a Artifact) (*Model, error) { return nil, errSkeleton }

// Close closes the files.
func (m *Model) Close() error { return errSkeleton }

// Artifact returns what was opened, with the default scale filled in.
func (m *Model) Artifact() Artifact { return m.artifact }

// Identity returns the identity of the weights; see the package comment.
func (m *Model) Identity() Identity { return "" }

// Files returns the files the identity is made of, the adapter last.
func (m *Model) Files() []FileDigest { return nil }

// Recheck returns an error matching ErrChanged when a file was replaced or
// written to since Open. It looks at file attributes, not at the bytes.
func (m *Model) Recheck() error { return errSkeleton }

// Metadata returns the model file's metadata in file order.
func (m *Model) Metadata() *gguf.Metadata { return nil }

// Tensors returns the model file's tensors in file order.
func (m *Model) Tensors() []gguf.Tensor { return nil }

// Tensor returns the tensor called name.
func (m *Model) Tensor(name string) (gguf.Tensor, bool) { return gguf.Tensor{}, false }

// Adapter returns the adapter, or nil.
func (m *Model) Adapter() *Adapter { return nil }

// Rows yields the rows of a tensor as the engine computes with them: the stored
// values, plus the adapter's update where there is one. The slice is reused
// between steps. After an error the sequence ends.
func (m *Model) Rows(ctx context.Context, name string) iter.Seq2[[]float32, error] { return nil }

// StoredRows is Rows without the adapter.
func (m *Model) StoredRows(ctx context.Context, name string) iter.Seq2[[]float32, error] { return nil }

// ReadRows fills dst with whole rows of the named tensor from row first on,
// adapter included; len(dst) is a multiple of the tensor's Cols.
func (m *Model) ReadRows(ctx context.Context, name string, first int, dst []float32) error {
	return errSkeleton
}

// Vector returns all values of a small tensor, such as a norm's weights
// (at most 1<<20 values).
func (m *Model) Vector(ctx context.Context, name string) ([]float32, error) { return nil, errSkeleton }

// Embedding is the name of the tensor with one row per token.
const Embedding = "token_embd.weight"

// OutputHead returns the name of the tensor whose rows score the tokens:
// "output.weight", or Embedding where the two are tied.
func (m *Model) OutputHead() (name string, tied bool) { return "", false }

// Tokenizer returns the tokenizer's view; the error matches ErrMissing where
// the file has none and ErrFormat where its arrays contradict each other.
func (m *Model) Tokenizer() (*Tokenizer, error) { return nil, errSkeleton }

// Hyper returns the hyper-parameters.
func (m *Model) Hyper() Hyper { return Hyper{} }
