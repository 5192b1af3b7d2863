//go:build engine

package llamacpp

// #include "shim.h"
import "C"

import (
	"context"
	"time"

	"github.com/weighbridge/weighbridge/runners"
)

// RawLoop is the yardstick of bench/engine: llama_decode on the same sequences
// in the same batches, each sequence by itself, with logits where Score wants
// them and nothing done to them. It gives the number of tokens decoded.
func (m *Model) RawLoop(ctx context.Context, r *runners.ScoreRequest) (int, error) {
	release, err := m.acquire(ctx)
	if err != nil {
		return 0, err
	}
	defer release()
	w := &walk{trie: newTrie(r.Sequences, m.share), m: &rawLoop{m, ctx}, size: m.batch, seqs: maxSeqs}
	if err := w.run(); err != nil {
		return 0, err
	}
	return len(w.token), nil
}

type rawLoop struct {
	*Model
	ctx context.Context
}

func (l *rawLoop) decode(b *batch) error {
	if err := l.Model.decode(l.ctx, b); err != nil {
		return err
	}
	C.wb_logits(l.e) // waits for the computation
	return nil
}

// Reduced is the time that Score spent on rows since ResetReduced.
func (m *Model) Reduced() time.Duration { return m.reduced }

// ResetReduced starts the count anew.
func (m *Model) ResetReduced() { m.reduced = 0 }
