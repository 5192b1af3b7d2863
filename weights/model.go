package weights

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/weighbridge/weighbridge/weights/gguf"
)

// Model is an opened artifact. Its methods are safe for concurrent use.
type Model struct {
	artifact Artifact
	base     *source
	lora     *source // nil without an adapter
	adapter  *Adapter
	id       Identity

	mu       sync.Mutex // guards the factors read last
	lastName string
	last     *LowRank
}

// Open opens and validates the files of a, reads each of them once to hash it,
// and checks that the adapter fits. The caller closes the model.
func Open(ctx context.Context, a Artifact) (_ *Model, err error) {
	if a, err = a.normal(); err != nil {
		return nil, err
	}
	m := &Model{artifact: a}
	defer func() {
		if err != nil {
			err = errors.Join(err, m.Close())
		}
	}()
	if m.base, err = openSource(ctx, a.Model); err != nil {
		return nil, err
	}
	if err = checkModel(m.base.gguf); err != nil {
		return nil, err
	}
	if a.Adapter != "" {
		if m.lora, err = openSource(ctx, a.Adapter); err != nil {
			return nil, err
		}
		if m.adapter, err = newAdapter(m.lora.gguf, a.Scale); err != nil {
			return nil, err
		}
		if err = m.adapter.fits(m.lora.gguf, m.base.gguf); err != nil {
			return nil, err
		}
	}
	files := m.Files()
	var adapter *FileDigest
	if m.lora != nil {
		adapter = &files[1]
	}
	m.id = identity(files[:1], adapter, a.Scale)
	return m, nil
}

func checkModel(f *gguf.File) error {
	if kind, _ := f.Meta.String("general.type"); kind == "adapter" {
		return fmt.Errorf("%w: %s is an adapter; name the model that it belongs to, and give this file as its adapter", ErrArtifact, f.Name)
	}
	if n, ok := f.Meta.Uint("split.count"); ok && n > 1 {
		return fmt.Errorf("%w: %s is one of %d parts of a model; join them with llama-gguf-split --merge", ErrUnsupported, f.Name, n)
	}
	if arch, _ := f.Meta.String("general.architecture"); arch == "" {
		return fmt.Errorf("%s: metadata key %q: %w", f.Name, "general.architecture", ErrMissing)
	}
	if len(f.Tensors) == 0 {
		return fmt.Errorf("%s: tensors: %w", f.Name, ErrMissing)
	}
	return nil
}

// Close closes the files.
func (m *Model) Close() error {
	var errs []error
	for _, s := range []*source{m.base, m.lora} {
		if s != nil {
			errs = append(errs, s.f.Close())
		}
	}
	return errors.Join(errs...)
}

// Artifact returns what was opened, with the default scale filled in.
func (m *Model) Artifact() Artifact { return m.artifact }

// Identity returns the identity of the weights; see the package comment.
func (m *Model) Identity() Identity { return m.id }

// Files returns the files the identity is made of, the adapter last.
func (m *Model) Files() []FileDigest {
	files := []FileDigest{m.base.digest(ModelPath)}
	if m.lora != nil {
		files = append(files, m.lora.digest(AdapterPath))
	}
	return files
}

// Recheck returns an error matching ErrChanged when a file was replaced or
// written to since Open. It looks at file attributes first, and reads the bytes
// again only where those are ambiguous.
func (m *Model) Recheck() error {
	if err := m.base.unchanged(); err != nil {
		return err
	}
	if m.lora != nil {
		return m.lora.unchanged()
	}
	return nil
}

// Metadata returns the model file's metadata in file order.
func (m *Model) Metadata() *gguf.Metadata { return m.base.gguf.Meta }

// Tensors returns the model file's tensors in file order. The caller must not
// change them.
func (m *Model) Tensors() []gguf.Tensor { return m.base.gguf.Tensors }

// Tensor returns the tensor called name.
func (m *Model) Tensor(name string) (gguf.Tensor, bool) { return m.base.gguf.Tensor(name) }

// Adapter returns the adapter, or nil.
func (m *Model) Adapter() *Adapter { return m.adapter }

// The tensors that lenses need.
const (
	Embedding  = "token_embd.weight"  // one row per token
	Output     = "output.weight"      // one row per token; absent when tied to Embedding
	OutputNorm = "output_norm.weight" // weights of the last norm, one row
)

// OutputHead returns the name of the tensor whose rows score the tokens:
// Output, or Embedding where the two are tied.
func (m *Model) OutputHead() (name string, tied bool) {
	if _, ok := m.Tensor(Output); ok {
		return Output, false
	}
	return Embedding, true
}
