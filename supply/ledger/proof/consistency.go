package proof

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/tlog"
)

// Extension shows that a checkpoint extends the one of size Old: nothing was
// changed or removed. Its form is the body of C2SP tlog-witness' add-checkpoint.
type Extension struct {
	Old        int64
	Path       tlog.TreeProof
	Checkpoint []byte // the newer one, verbatim
}

// Marshal gives the body.
func (x *Extension) Marshal() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "old %d\n", x.Old)
	for _, h := range x.Path {
		fmt.Fprintln(&b, h)
	}
	b.WriteByte('\n')
	b.Write(x.Checkpoint)
	return b.Bytes()
}

// ParseExtension reads a body without trusting it.
func ParseExtension(raw []byte) (*Extension, error) {
	head, checkpoint, ok := bytes.Cut(raw, []byte("\n\n"))
	if !ok || len(raw) > 2*maxCheckpoint {
		return nil, fmt.Errorf("%w: want \"old N\", hashes, an empty line and a checkpoint, at most %d bytes", ErrFormat, 2*maxCheckpoint)
	}
	lines := strings.Split(string(head), "\n")
	size, ok := strings.CutPrefix(lines[0], "old ")
	n, err := strconv.ParseInt(size, 10, 64)
	if !ok || err != nil || n < 0 || strconv.FormatInt(n, 10) != size {
		return nil, fmt.Errorf("%w: line 1: want \"old N\"", ErrFormat)
	}
	if len(lines)-1 > 63 { // tlog-witness: MUST NOT send more
		return nil, fmt.Errorf("%w: %d hashes, at most 63", ErrFormat, len(lines)-1)
	}
	x := &Extension{Old: n, Checkpoint: checkpoint}
	if x.Path, err = parseHashes("consistency proof", lines[1:], 2); err != nil {
		return nil, err
	}
	return x, nil
}

// CheckExtends holds an old state against a new one. Equal sizes need equal
// roots; a smaller new tree is never an extension.
func CheckExtends(old, now tlog.Tree, path tlog.TreeProof) error {
	switch {
	case now.N < old.N:
		return fmt.Errorf("%w: rolled back: %d entries, and there were %d", ErrProof, now.N, old.N)
	case now.N == old.N && now.Hash != old.Hash:
		return fmt.Errorf("%w: forked: another root for the same %d entries", ErrProof, now.N)
	case now.N == old.N || old.N == 0:
		if len(path) > 0 {
			return fmt.Errorf("%w: a path where none is needed", ErrProof)
		}
		return nil
	}
	if err := tlog.CheckTree(path, now.N, now.Hash, old.N, old.Hash); err != nil {
		return fmt.Errorf("%w: forked: the %d entries of before are not the first of the %d now: %w", ErrProof, old.N, now.N, err)
	}
	return nil
}
