package ledger

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/mod/sumdb/note"
	"k8s.io/klog/v2"

	"github.com/weighbridge/weighbridge/supply/ledger/entry"
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

// Pending is an entry on disk that no checkpoint covers.
type Pending struct {
	Index int64
	Raw   []byte
}

// PendingIn lists the entries of a ledger's folder that are stored and not
// proven, oldest first. verifier is the ledger's public key.
func PendingIn(dir, verifier string) ([]Pending, error) {
	p, err := proof.ForKey(verifier)
	if err != nil {
		return nil, err
	}
	return pending(tiles.Dir(dir), p)
}

// Pending lists the entries that are stored and not proven, oldest first.
func (l *Ledger) Pending() ([]Pending, error) { return pending(l.dir, l.policy) }

func pending(d tiles.Dir, p *proof.Policy) ([]Pending, error) {
	// The checkpoint first: what is stored in between only makes the list longer.
	raw, err := d.Checkpoint()
	if err != nil {
		return nil, err
	}
	c, err := p.Open(raw)
	if err != nil {
		return nil, err
	}
	stored, err := d.Stored()
	if err != nil {
		return nil, err
	}
	var out []Pending
	for i, item := range d.Bundles(c.N, stored.N) {
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
	var fs flag.FlagSet
	klog.InitFlags(&fs)
	for name, value := range map[string]string{"logtostderr": "false", "alsologtostderr": "false", "stderrthreshold": "FATAL"} {
		if err := fs.Set(name, value); err != nil {
			panic(err) // a flag of klog was renamed: the tests see it
		}
	}
	klog.SetOutput(io.Discard)
})

// Aliases are what each alias points to, after a number of entries.
type Aliases struct {
	Size  int64 // entries seen
	state map[AliasName]string
}

// AliasName is one alias of one model name in one environment.
type AliasName struct{ Name, Environment, Alias string }

// AliasOf gives the alias that an entry moves.
func AliasOf(e Entry) (AliasName, bool) {
	return AliasName{e.Name, e.Environment, e.Alias}, moves(e)
}

func moves(e Entry) bool { return e.Type == entry.AliasMove || e.Type == entry.Rollback }

// Get is the model root that the alias points to, or entry.None.
func (a *Aliases) Get(n AliasName) string {
	if s, ok := a.state[n]; ok {
		return s
	}
	return entry.None
}

// Apply takes the next entry, and reports a move that does not start where the
// alias points.
func (a *Aliases) Apply(e Entry) error {
	a.Size++
	n, ok := AliasOf(e)
	if !ok {
		return nil
	}
	at := a.Get(n)
	if a.state == nil {
		a.state = map[AliasName]string{}
	}
	a.state[n] = e.New
	if at != e.Previous {
		return fmt.Errorf("%w: %s in %s points to %s, not %s", ErrStale, e.Alias, e.Environment, at, e.Previous)
	}
	return nil
}

// readAliases brings a up to size.
func (a *Aliases) read(d tiles.Dir, size int64) error {
	for i, item := range d.Bundles(a.Size, size) {
		if item.Err != nil {
			return item.Err
		}
		e, err := entry.Parse(item.Raw)
		if err != nil {
			return fmt.Errorf("entry %d: %w", i, err)
		}
		if err := a.Apply(e); err != nil {
			return fmt.Errorf("entry %d: %w", i, err)
		}
	}
	return nil
}

// Aliases reads the present state of every alias.
func (l *Ledger) Alias(n AliasName) (string, error) {
	l.aliasMu.Lock()
	defer l.aliasMu.Unlock()
	if err := l.readAliases(); err != nil {
		return "", err
	}
	return l.aliases.Get(n), nil
}

func (l *Ledger) readAliases() error {
	if l.aliases == nil {
		l.aliases = &Aliases{}
	}
	stored, err := l.dir.Stored()
	if err == nil {
		err = l.aliases.read(l.dir, stored.N)
	}
	if err != nil {
		return fmt.Errorf("ledger %s: reading aliases: %w", string(l.dir), err)
	}
	return nil
}

func (l *Ledger) checkAlias(e Entry) error {
	if err := l.readAliases(); err != nil {
		return err
	}
	n, _ := AliasOf(e)
	if at := l.aliases.Get(n); at != e.Previous {
		return fmt.Errorf("%w: %s in %s points to %s, not %s: look again and decide anew", ErrStale, e.Alias, e.Environment, at, e.Previous)
	}
	return nil
}
