package ledger

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/transparency-dev/tessera"
	"github.com/transparency-dev/tessera/storage/posix"

	"github.com/weighbridge/weighbridge/supply/ledger/approval"
	"github.com/weighbridge/weighbridge/supply/ledger/entry"
	"github.com/weighbridge/weighbridge/supply/ledger/proof"
	"github.com/weighbridge/weighbridge/supply/ledger/tiles"
)

// Entry is what is appended; see package entry.
type Entry = entry.Entry

// Receipt proves an entry offline; see package proof.
type Receipt = proof.Receipt

// Policy says whom a verifier trusts; see package proof.
type Policy = proof.Policy

// VerifyReceipt checks, offline, that the receipt proves the entry under the
// policy, and gives what it proves. Programs that must stay small import
// package proof, whose Verify this is.
func VerifyReceipt(receipt, entry []byte, p *Policy) (*proof.Proven, error) {
	return proof.Verify(receipt, entry, p)
}

var (
	// ErrLocked says that another writer has the ledger open.
	ErrLocked = errors.New("the ledger has a writer already")
	// ErrClosed says that the ledger was closed.
	ErrClosed = errors.New("the ledger is closed")
	// ErrStale is a move of an alias that does not start where the alias points.
	ErrStale = errors.New("the alias points elsewhere")
	// ErrUnproven is every Unproven.
	ErrUnproven = errors.New("stored in the ledger, and not proven")
	// ErrDurableOnly is an entry that may not do without its proof.
	ErrDurableOnly = errors.New("only a rollback may be stored first and proven later")
	// ErrUnsigned is an entry with a signature that this ledger was not told
	// how to judge.
	ErrUnsigned = errors.New("the ledger was opened without allowed signers")
)

// Unproven says that an entry is on disk, and that no checkpoint covers it
// yet. It must not be appended again: the next checkpoint covers it.
type Unproven struct {
	Index int64
	Why   string
}

func (u *Unproven) Error() string {
	return fmt.Sprintf("entry %d is stored and not proven: %s; do not append it again: the next checkpoint covers it (weighbridge ledger publish)", u.Index, u.Why)
}

// Is makes an Unproven ErrUnproven.
func (u *Unproven) Is(err error) bool { return err == ErrUnproven }

// Options of Open. The zero value of each field but Key is usable.
type Options struct {
	Key Key
	// Witnesses is a C2SP tlog-policy file whose witnesses have URLs. No
	// checkpoint is published before its quorum has cosigned. nil asks nobody.
	Witnesses []byte
	// Signers judges signed entries. nil refuses them.
	Signers *approval.Signers
	// Now is the time at which signers are judged; nil is time.Now.
	Now func() time.Time
	// Timeout bounds the wait for a checkpoint. Default 10 s.
	Timeout time.Duration
	// Batch is how many concurrent appends may share one write, BatchAge how
	// long the first of them waits for the others. Default: 1, no wait.
	Batch    uint
	BatchAge time.Duration
}

// checkpointInterval is the shortest that Tessera's POSIX driver takes.
const checkpointInterval = 100 * time.Millisecond

// Ledger is an open ledger. Its methods may be called concurrently.
type Ledger struct {
	dir     tiles.Dir
	opts    Options
	policy  *proof.Policy // of the ledger's own key
	lock    *os.File
	add     tessera.AddFn
	stop    func(context.Context) error
	watch   *watch
	reader  tessera.LogReader
	cancel  context.CancelFunc
	signer  *gate
	trouble *trouble

	aliasMu sync.Mutex
	aliases *Aliases

	closed    atomic.Bool
	closeOnce sync.Once
	closeErr  error
}

// Open locks the ledger for writing. It checks first that the folder's
// checkpoint was signed by this key and that what is on disk extends it: a
// ledger restored from an older copy of its tiles is refused, not signed anew.
// Close releases it. ctx bounds opening, not the ledger's life.
func Open(ctx context.Context, dir string, o Options) (_ *Ledger, err error) {
	if o.Timeout == 0 {
		o.Timeout = 10 * time.Second
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Batch == 0 {
		o.Batch, o.BatchAge = 1, time.Millisecond
	}
	if o.BatchAge <= 0 {
		o.BatchAge = time.Millisecond
	}
	if o.Key.Signer == nil {
		return nil, fmt.Errorf("%w: none given", ErrKey)
	}
	policy, err := proof.ForKey(o.Key.Verifier)
	if err != nil {
		return nil, err
	}
	l := &Ledger{dir: tiles.Dir(dir), opts: o, policy: policy, trouble: &trouble{}}
	if _, err := l.dir.Checkpoint(); err != nil {
		return nil, err
	}
	if l.lock, err = lockFile(filepath.Join(dir, lock)); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, l.lock.Close())
		}
	}()
	if err := l.checkState(); err != nil {
		return nil, err
	}
	if err := l.sweep(); err != nil {
		return nil, fmt.Errorf("ledger %s: %w", dir, err)
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return l, l.start(dir)
}

func (l *Ledger) start(dir string) error {
	quietTessera()
	l.signer = &gate{Signer: l.opts.Key.Signer}
	options := tessera.NewAppendOptions().
		WithCheckpointSigner(l.signer).
		WithBatching(l.opts.Batch, l.opts.BatchAge).
		WithCheckpointInterval(checkpointInterval).
		WithCheckpointRepublishInterval(0).
		WithShutdownTimeout(l.opts.Timeout)
	if l.opts.Witnesses != nil {
		if _, err := proof.ParsePolicy(l.opts.Witnesses); err != nil {
			return err
		}
		group, err := tessera.NewWitnessGroupFromPolicy(l.opts.Witnesses)
		if err != nil {
			return fmt.Errorf("%w: witnesses: %w", proof.ErrPolicy, err)
		}
		options = options.WithWitnesses(group, &tessera.WitnessOptions{Timeout: l.opts.Timeout / 2, FailOpen: false})
	}
	// Background work of Tessera lives as long as the ledger, not as the call
	// of Open.
	ctx, cancel := context.WithCancel(context.Background())
	driver, err := posix.New(ctx, posix.Config{Path: dir, HTTPClient: &http.Client{Transport: l.trouble}})
	if err == nil {
		var a *tessera.Appender
		if a, l.stop, l.reader, err = tessera.NewAppender(ctx, driver, options); err == nil {
			l.add, l.cancel = a.Add, cancel
			l.watch = newWatch(l.dir, l.policy)
			go l.watch.run(ctx)
			return nil
		}
	}
	cancel()
	return fmt.Errorf("opening ledger %s: %w", dir, err)
}

// lockFile takes the writer's lock. The kernel drops it when the process dies.
func lockFile(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|syscall.O_CLOEXEC, 0o644)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		who, _ := io.ReadAll(io.LimitReader(f, 64)) // for the message alone
		f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("%w: process %s holds %s: wait for it, or let it append for you", ErrLocked, strings.TrimSpace(string(who)), path)
		}
		return nil, fmt.Errorf("locking %s: %w", path, err)
	}
	// For the message above alone: it may fail on a full disk.
	if f.Truncate(0) == nil {
		_, _ = f.WriteAt(fmt.Appendf(nil, "%d\n", os.Getpid()), 0)
	}
	return f, nil
}

// Append adds an entry and returns when it is proven. An error that is
// ErrUnproven means that the entry is in the ledger all the same.
func (l *Ledger) Append(ctx context.Context, e Entry) (*Receipt, error) {
	index, err := l.store(ctx, e)
	if err != nil {
		return nil, err
	}
	return l.prove(ctx, index)
}

// AppendDurable adds a rollback and returns its index when it is on disk: a
// rollback must not wait for witnesses. The caller raises an alert; Pending
// lists the entry until a checkpoint covers it.
func (l *Ledger) AppendDurable(ctx context.Context, e Entry) (int64, error) {
	if e.Type != entry.Rollback {
		return 0, fmt.Errorf("%w: this entry is of type %s", ErrDurableOnly, e.Type)
	}
	return l.store(ctx, e)
}

// store checks an entry and returns when it is on disk.
func (l *Ledger) store(ctx context.Context, e Entry) (int64, error) {
	raw, err := e.Canonical()
	if err != nil {
		return 0, err
	}
	if e.Signature != "" {
		if l.opts.Signers == nil {
			return 0, fmt.Errorf("%w: entry of type %s by %s", ErrUnsigned, e.Type, e.Actor)
		}
		if err := l.opts.Signers.Check(e, l.opts.Now()); err != nil {
			return 0, err
		}
	}
	if !moves(e) {
		return l.put(ctx, raw)
	}
	// One at a time, so that what the alias points to cannot change in between.
	l.aliasMu.Lock()
	defer l.aliasMu.Unlock()
	if err := l.checkAlias(e); err != nil {
		return 0, err
	}
	return l.put(ctx, raw)
}

func (l *Ledger) put(ctx context.Context, raw []byte) (int64, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	if l.closed.Load() {
		return 0, fmt.Errorf("%w: %s", ErrClosed, string(l.dir))
	}
	i, err := l.add(ctx, tessera.NewEntry(raw))()
	if err != nil {
		return 0, fmt.Errorf("appending to ledger %s: %w", string(l.dir), storageError(err))
	}
	return int64(i.Index), nil
}

// prove waits for a checkpoint that covers index and makes the receipt.
func (l *Ledger) prove(ctx context.Context, index int64) (*Receipt, error) {
	ctx, cancel := context.WithTimeout(ctx, l.opts.Timeout)
	defer cancel()
	c, err := l.watch.covers(ctx, index)
	if err != nil {
		return nil, &Unproven{index, l.trouble.why(l.opts.Timeout, err)}
	}
	return l.dir.Prove(c, index)
}

// Publish waits until a checkpoint covers everything on disk.
func (l *Ledger) Publish(ctx context.Context) (*proof.Checkpoint, error) {
	size, err := l.reader.IntegratedSize(ctx)
	if err != nil {
		return nil, fmt.Errorf("ledger %s: %w", string(l.dir), err)
	}
	if size > 0 {
		if _, err := l.prove(ctx, int64(size)-1); err != nil {
			return nil, err
		}
	}
	return l.Checkpoint()
}

// Checkpoint is the published one.
func (l *Ledger) Checkpoint() (*proof.Checkpoint, error) {
	raw, err := l.dir.Checkpoint()
	if err != nil {
		return nil, err
	}
	return l.policy.Open(raw)
}

// Close waits for the checkpoint that covers what was appended, at most
// Options.Timeout, and releases the ledger. ErrUnproven says that there is none
// yet; nothing is lost.
func (l *Ledger) Close() error {
	l.closeOnce.Do(func() {
		l.closed.Store(true)
		err := l.stop(context.Background())
		l.signer.close()
		l.cancel()
		if err != nil {
			if p, perr := l.Pending(); perr == nil && len(p) > 0 {
				err = &Unproven{p[len(p)-1].Index, l.trouble.why(l.opts.Timeout, err)}
			}
		}
		l.closeErr = errors.Join(err, l.lock.Close())
	})
	return l.closeErr
}
