package proof

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/tlog"
)

// header is the first line of a receipt.
const header = "c2sp.org/tlog-proof@v1"

// maxHashes bounds a proof: more levels than a tree of 2^63 leaves has.
const maxHashes = 64

// Receipt shows, offline, that an entry is in the ledger
// (https://c2sp.org/tlog-proof; files end in .tlog-proof).
type Receipt struct {
	Index      int64
	Extra      []byte // not authenticated
	Path       tlog.RecordProof
	Checkpoint []byte // verbatim
}

// Marshal gives the receipt's file.
func (r *Receipt) Marshal() []byte {
	var b bytes.Buffer
	fmt.Fprintln(&b, header)
	if len(r.Extra) > 0 {
		fmt.Fprintf(&b, "extra %s\n", base64.StdEncoding.EncodeToString(r.Extra))
	}
	fmt.Fprintf(&b, "index %d\n", r.Index)
	for _, h := range r.Path {
		fmt.Fprintln(&b, h)
	}
	b.WriteByte('\n')
	b.Write(r.Checkpoint)
	return b.Bytes()
}

// ParseReceipt reads a receipt without trusting it.
func ParseReceipt(raw []byte) (*Receipt, error) {
	head, checkpoint, ok := bytes.Cut(raw, []byte("\n\n"))
	if !ok || len(raw) > 2*maxCheckpoint {
		return nil, fmt.Errorf("%w: a receipt has a head, an empty line and a checkpoint, at most %d bytes", ErrFormat, 2*maxCheckpoint)
	}
	lines := strings.Split(string(head), "\n")
	if lines[0] != header {
		return nil, fmt.Errorf("%w: receipt, line 1: %.80q, want %q", ErrFormat, lines[0], header)
	}
	r, at := &Receipt{Checkpoint: checkpoint}, 1
	if at < len(lines) {
		if e, ok := strings.CutPrefix(lines[at], "extra "); ok {
			extra, err := base64.StdEncoding.Strict().DecodeString(e)
			if err != nil || len(extra) == 0 {
				return nil, fmt.Errorf("%w: receipt, line %d: extra is not base64", ErrFormat, at+1)
			}
			r.Extra = extra
			at++
		}
	}
	var index string
	if at < len(lines) {
		index, ok = strings.CutPrefix(lines[at], "index ")
	} else {
		ok = false
	}
	n, err := strconv.ParseInt(index, 10, 64)
	if !ok || err != nil || n < 0 || strconv.FormatInt(n, 10) != index {
		return nil, fmt.Errorf("%w: receipt, line %d: want \"index N\"", ErrFormat, at+1)
	}
	r.Index = n
	if r.Path, err = parseHashes("receipt", lines[at+1:], at+2); err != nil {
		return nil, err
	}
	return r, nil
}

func parseHashes(what string, lines []string, first int) ([]tlog.Hash, error) {
	if len(lines) > maxHashes {
		return nil, fmt.Errorf("%w: %s: %d hashes, and no proof has more than %d", ErrFormat, what, len(lines), maxHashes)
	}
	var out []tlog.Hash
	for i, l := range lines {
		h, err := tlog.ParseHash(l)
		if err != nil || h.String() != l {
			return nil, fmt.Errorf("%w: %s, line %d: %.80q is not a hash", ErrFormat, what, first+i, l)
		}
		out = append(out, h)
	}
	return out, nil
}

// Proven is what a receipt that holds says.
type Proven struct {
	Index      int64
	Checkpoint *Checkpoint
}

// Verify checks that the receipt proves the entry under the policy. entry is
// the entry's exact bytes.
func Verify(receipt, entry []byte, p *Policy) (*Proven, error) {
	r, err := ParseReceipt(receipt)
	if err != nil {
		return nil, err
	}
	return r.Verify(entry, p)
}

// Verify is the function of that name for a receipt already read.
func (r *Receipt) Verify(entry []byte, p *Policy) (*Proven, error) {
	c, err := p.Open(r.Checkpoint)
	if err != nil {
		return nil, err
	}
	if r.Index >= c.N {
		return nil, fmt.Errorf("%w: index %d is outside of the checkpoint's %d entries", ErrProof, r.Index, c.N)
	}
	if err := tlog.CheckRecord(r.Path, c.N, c.Hash, r.Index, tlog.RecordHash(entry)); err != nil {
		return nil, fmt.Errorf("%w: the entry is not at index %d of %s: it, the index or the path was changed: %w", ErrProof, r.Index, c.Origin, err)
	}
	return &Proven{Index: r.Index, Checkpoint: c}, nil
}
