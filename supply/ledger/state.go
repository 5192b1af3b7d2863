package ledger

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/mod/sumdb/note"
	"k8s.io/klog/v2"

	"github.com/weighbridge/weighbridge/supply/ledger/proof"
	"github.com/weighbridge/weighbridge/supply/ledger/tiles"
)

// checkState refuses to go on from a folder that does not extend what this key
// has signed: Tessera would sign whatever is there.
func (l *Ledger) checkState() error {
	c, err := l.Checkpoint()
	if errors.Is(err, proof.ErrSignature) {
		return fmt.Errorf("ledger %s: %w: %w", string(l.dir), ErrKey, err)
	}
	if err != nil {
		return fmt.Errorf("ledger %s: %w", string(l.dir), err)
	}
	stored, err := l.dir.Stored()
	if err != nil {
		return fmt.Errorf("ledger %s: %w", string(l.dir), err)
	}
	if stored.N == 0 && c.N == 0 {
		return nil
	}
	if err := l.dir.CheckExtends(c.Tree, stored); err != nil {
		return fmt.Errorf("ledger %s: what is on disk does not extend its checkpoint of size %d: restore the whole folder from one copy: %w", string(l.dir), c.N, err)
	}
	if err := l.dir.CheckEdge(stored); err != nil {
		return fmt.Errorf("ledger %s: %w", string(l.dir), err)
	}
	// Tessera publishes when the checkpoint file is older than its interval: a
	// clock that was set back must not stop it.
	name := filepath.Join(string(l.dir), "checkpoint")
	st, err := os.Stat(name)
	if err != nil {
		return err
	}
	if now := time.Now(); st.ModTime().After(now) {
		return os.Chtimes(name, now.Add(-time.Second), now.Add(-time.Second))
	}
	return nil
}

// sweep removes partial tiles and bundles whose full one is there, as tlog-tiles
// allows. Tessera does so once a minute, which a process that appends one entry
// does not live to see; without it each such process leaves a copy of the last
// bundle.
func (l *Ledger) sweep() error {
	c, err := l.Checkpoint()
	if err != nil {
		return err
	}
	kinds := []func(n int64) string{func(n int64) string { return tiles.BundlePath(n, tiles.Width) }}
	for level := range 8 {
		kinds = append(kinds, func(n int64) string { return tiles.TilePath(level, n, tiles.Width) })
	}
	for i, path := range kinds {
		full := c.N >> (8 * max(i, 1)) // entries and level 0 alike
		for n := full - 1; n >= 0; n-- {
			partial := filepath.Join(string(l.dir), filepath.FromSlash(path(n)+".p"))
			if _, err := os.Lstat(partial); errors.Is(err, fs.ErrNotExist) {
				break // those before it were swept earlier
			}
			if err := os.RemoveAll(partial); err != nil {
				return err
			}
		}
	}
	return nil
}

// Pending is an entry on disk that no checkpoint covers.
type Pending struct {
	Index int64
	Raw   []byte
}

// Pending lists the entries that are stored and not proven, oldest first.
func (l *Ledger) Pending() ([]Pending, error) {
	// The checkpoint first: what is stored in between only makes the list longer.
	c, err := l.Checkpoint()
	if err != nil {
		return nil, err
	}
	stored, err := l.dir.Stored()
	if err != nil {
		return nil, err
	}
	var out []Pending
	for i, item := range l.dir.Bundles(c.N, stored.N) {
		if item.Err != nil {
			return nil, item.Err
		}
		out = append(out, Pending{i, item.Raw})
	}
	return out, nil
}

// gate signs checkpoints until the ledger is closed: Tessera's publisher may
// be under way when its context ends, and the folder may be another's by then.
type gate struct {
	note.Signer
	mu     sync.Mutex
	closed bool
}

func (g *gate) Sign(msg []byte) ([]byte, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return nil, ErrClosed
	}
	return g.Signer.Sign(msg)
}

func (g *gate) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = true
}

// trouble is the way to the witnesses. It remembers what went wrong with each,
// because Tessera tells its log alone.
type trouble struct {
	mu   sync.Mutex
	last map[string]string // by URL; empty when it went well
}

// maxAnswer bounds a witness' answer, in bytes.
const maxAnswer = 1 << 20

func (t *trouble) RoundTrip(r *http.Request) (*http.Response, error) {
	res, err := http.DefaultTransport.RoundTrip(r)
	why := ""
	switch {
	case err != nil:
		why = err.Error()
	case res.StatusCode == http.StatusConflict: // the witness says where it stands; Tessera asks again
	case res.StatusCode != http.StatusOK:
		why = res.Status
	}
	if err == nil {
		res.Body = struct {
			io.Reader
			io.Closer
		}{io.LimitReader(res.Body, maxAnswer), res.Body}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.last == nil {
		t.last = map[string]string{}
	}
	t.last[r.URL.String()] = why
	return res, err
}

func (t *trouble) why(waited time.Duration, err error) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var bad []string
	for url, w := range t.last {
		if w != "" {
			bad = append(bad, fmt.Sprintf("witness %s: %s", url, w))
		}
	}
	slices.Sort(bad)
	if len(bad) > 0 {
		return fmt.Sprintf("no checkpoint with its quorum of witnesses within %s: %s", waited, strings.Join(bad, "; "))
	}
	return fmt.Sprintf("no checkpoint within %s: %v", waited, err)
}

// storageError gives back the cause that Tessera flattens into text.
func storageError(err error) error {
	for _, e := range []error{syscall.ENOSPC, syscall.EDQUOT, syscall.EFBIG, syscall.EROFS} {
		if !errors.Is(err, e) && strings.Contains(err.Error(), e.Error()) {
			return fmt.Errorf("%w: %w", e, err)
		}
	}
	return err
}

// quietTessera keeps Tessera from writing to stderr through klog, which is
// global: what matters comes back as an error.
var quietTessera = sync.OnceFunc(func() {
	var flags flag.FlagSet
	klog.InitFlags(&flags)
	for name, value := range map[string]string{"logtostderr": "false", "alsologtostderr": "false", "stderrthreshold": "FATAL"} {
		if err := flags.Set(name, value); err != nil {
			panic(err) // a flag of klog was renamed: the tests see it
		}
	}
	klog.SetOutput(io.Discard)
})
