// Package witness is a small C2SP tlog-witness: it cosigns the checkpoints of
// the logs it knows as long as each extends the one before, and so keeps a
// ledger's operator from showing different histories to different people.
//
// In: POST add-checkpoint requests. Out: cosignatures (type 0x04), and one file
// per log with the last checkpoint that was cosigned. Run it where the
// ledger's operator cannot reach.
//
// It will not fetch entries, judge them, or serve anything but add-checkpoint.
package witness

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/weighbridge/weighbridge/internal/durable"
	"github.com/weighbridge/weighbridge/supply/ledger/proof"
)

// maxBody bounds a request, in bytes: 63 hashes and a checkpoint with many
// cosignatures.
const maxBody = 256 << 10

// Witness answers add-checkpoint. It is an http.Handler.
type Witness struct {
	dir    string
	signer *proof.Cosigner
	logs   *proof.Policy
	mux    *http.ServeMux
	report func(error)

	mu sync.Mutex // one request is judged, kept and signed at a time
}

// New makes a witness that knows the policy's logs and keeps what it cosigned
// in dir. report is told of faults of the witness itself.
func New(dir string, signer *proof.Cosigner, logs *proof.Policy, report func(error)) (*Witness, error) {
	if len(logs.Logs()) == 0 {
		return nil, fmt.Errorf("%w: a witness has to know a log", proof.ErrPolicy)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	w := &Witness{dir: dir, signer: signer, logs: logs, mux: http.NewServeMux(), report: report}
	w.mux.HandleFunc("POST /add-checkpoint", w.addCheckpoint)
	return w, nil
}

func (w *Witness) ServeHTTP(rw http.ResponseWriter, r *http.Request) { w.mux.ServeHTTP(rw, r) }

// refusal is an answer other than a cosignature.
type refusal struct {
	status int
	known  int64 // size to tell, with 409
	why    error
}

func (r *refusal) Error() string { return r.why.Error() }

func refuse(status int, format string, args ...any) error {
	return &refusal{status, -1, fmt.Errorf(format, args...)}
}

func (w *Witness) addCheckpoint(rw http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(rw, r.Body, maxBody))
	if err != nil {
		http.Error(rw, err.Error(), http.StatusBadRequest)
		return
	}
	lines, err := w.judge(body)
	var no *refusal
	switch {
	case err == nil:
		rw.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = rw.Write(lines) // the client may be gone; the state is kept
	case errors.As(err, &no) && no.known >= 0:
		rw.Header().Set("Content-Type", "text/x.tlog.size")
		rw.WriteHeader(no.status)
		fmt.Fprintf(rw, "%d\n", no.known)
	case errors.As(err, &no):
		http.Error(rw, no.Error(), no.status)
	default:
		w.report(err)
		http.Error(rw, "the witness has a fault of its own", http.StatusInternalServerError)
	}
}

// judge holds a request against what was cosigned before, keeps the new
// checkpoint, and only then signs it.
func (w *Witness) judge(body []byte) ([]byte, error) {
	x, err := proof.ParseExtension(body)
	if err != nil {
		return nil, refuse(http.StatusBadRequest, "%w", err)
	}
	claimed, err := proof.ParseCheckpoint(x.Checkpoint)
	if err != nil {
		return nil, refuse(http.StatusBadRequest, "%w", err)
	}
	if !slices.Contains(w.logs.Logs(), claimed.Origin) {
		return nil, refuse(http.StatusNotFound, "unknown log %.200q", claimed.Origin)
	}
	c, err := w.logs.Open(x.Checkpoint)
	switch {
	case errors.Is(err, proof.ErrSignature):
		return nil, refuse(http.StatusForbidden, "%w", err)
	case err != nil:
		return nil, refuse(http.StatusBadRequest, "%w", err)
	case x.Old > c.N:
		return nil, refuse(http.StatusBadRequest, "old size %d is above the checkpoint's %d", x.Old, c.N)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	known, err := w.load(c.Origin)
	if err != nil {
		return nil, err
	}
	if x.Old != known.N {
		return nil, &refusal{http.StatusConflict, known.N, fmt.Errorf("the last checkpoint cosigned has size %d", known.N)}
	}
	if known.N > 0 && known.N == c.N && known.Hash != c.Hash { // tlog-witness asks for 409 here
		return nil, &refusal{http.StatusConflict, known.N, fmt.Errorf("another root for the same size %d", c.N)}
	}
	if err := proof.CheckExtends(known, c.Tree, x.Path); err != nil {
		return nil, refuse(http.StatusUnprocessableEntity, "%w", err)
	}
	if err := w.keep(c); err != nil {
		return nil, err
	}
	text, _, _ := bytes.Cut(x.Checkpoint, []byte("\n\n"))
	signed, err := note.Sign(&note.Note{Text: string(text) + "\n"}, w.signer)
	if err != nil {
		return nil, fmt.Errorf("signing a checkpoint of %s: %w", c.Origin, err)
	}
	return signed[len(text)+2:], nil
}

func (w *Witness) file(origin string) string {
	h := sha256.Sum256([]byte(origin))
	return filepath.Join(w.dir, hex.EncodeToString(h[:])+".checkpoint")
}

// load reads the last checkpoint cosigned; an empty tree if there is none.
func (w *Witness) load(origin string) (tlog.Tree, error) {
	raw, err := os.ReadFile(w.file(origin))
	if errors.Is(err, fs.ErrNotExist) {
		return tlog.Tree{}, nil
	}
	if err != nil {
		return tlog.Tree{}, err
	}
	c, err := w.logs.Open(raw)
	if err == nil && c.Origin != origin {
		err = fmt.Errorf("it is of %.200q", c.Origin)
	}
	if err != nil {
		return tlog.Tree{}, fmt.Errorf("the last checkpoint of %s, in %s: %w", origin, w.file(origin), err)
	}
	return c.Tree, nil
}

func (w *Witness) keep(c *proof.Checkpoint) error {
	return durable.Write(w.file(c.Origin), 0o644, func(out io.Writer) error {
		_, err := out.Write(c.Raw)
		return err
	})
}
