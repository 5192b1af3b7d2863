package ledger

import (
	"bytes"
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/weighbridge/weighbridge/supply/ledger/proof"
	"github.com/weighbridge/weighbridge/supply/ledger/tiles"
)

// pollInterval is how often the checkpoint's file is read while somebody waits.
const pollInterval = 10 * time.Millisecond

// watch tells those who wait when a checkpoint was published. Each is verified
// once, however many wait, and wakes them once: thousands may.
type watch struct {
	dir     tiles.Dir
	policy  *proof.Policy
	waiting atomic.Int64
	now     atomic.Pointer[published]
}

// published is a checkpoint; next is closed when there is another.
type published struct {
	c    *proof.Checkpoint
	err  error // the file could not be read or trusted
	next chan struct{}
}

func newWatch(d tiles.Dir, p *proof.Policy) *watch {
	w := &watch{dir: d, policy: p}
	w.now.Store(&published{err: errors.New("no checkpoint was read yet"), next: make(chan struct{})})
	return w
}

// run polls until ctx ends.
func (w *watch) run(ctx context.Context) {
	t := time.NewTicker(pollInterval)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		if w.waiting.Load() == 0 {
			continue
		}
		last := w.now.Load()
		raw, err := w.dir.Checkpoint()
		if err == nil && last.c != nil && bytes.Equal(raw, last.c.Raw) {
			continue
		}
		p := &published{err: err, next: make(chan struct{})}
		if err == nil {
			p.c, p.err = w.policy.Open(raw)
		}
		w.now.Store(p)
		close(last.next)
	}
}

// covers waits for a checkpoint that covers index.
func (w *watch) covers(ctx context.Context, index int64) (*proof.Checkpoint, error) {
	w.waiting.Add(1)
	defer w.waiting.Add(-1)
	for {
		p := w.now.Load()
		if p.c != nil && p.c.N > index {
			return p.c, nil
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(ctx.Err(), p.err)
		case <-p.next:
		}
	}
}
