package audit

import (
	"golang.org/x/mod/sumdb/tlog"

	"github.com/weighbridge/weighbridge/supply/ledger/tiles"
)

// tree recomputes tiles and root from leaf hashes, in memory of a few tiles.
type tree struct {
	n    int64
	open [][]tlog.Hash // per level, the hashes of the tile that is not full yet
	// stack holds the roots of the complete subtrees, largest first (RFC 6962,
	// section 2.1).
	stack []subtree
}

type subtree struct {
	hash tlog.Hash
	size int64
}

// add takes the next leaf hash, and hands over each tile that it fills.
func (t *tree) add(h tlog.Hash, full func(level int, n int64, hs []tlog.Hash) error) error {
	t.stack = append(t.stack, subtree{h, 1})
	for i := len(t.stack) - 1; i > 0 && t.stack[i-1].size == t.stack[i].size; i-- {
		t.stack[i-1] = subtree{tlog.NodeHash(t.stack[i-1].hash, t.stack[i].hash), 2 * t.stack[i].size}
		t.stack = t.stack[:i]
	}
	t.n++
	for level := 0; ; level++ {
		if level == len(t.open) {
			t.open = append(t.open, nil)
		}
		t.open[level] = append(t.open[level], h)
		if len(t.open[level]) < tiles.Width {
			return nil
		}
		if err := full(level, t.done(level)-1, t.open[level]); err != nil {
			return err
		}
		h = fold(t.open[level])
		t.open[level] = t.open[level][:0]
	}
}

// done is the number of full tiles at a level, counting one just filled.
func (t *tree) done(level int) int64 { return t.n >> (8 * (level + 1)) }

// fold is the root of a full tile.
func fold(hs []tlog.Hash) tlog.Hash {
	level := append([]tlog.Hash(nil), hs...)
	for len(level) > 1 {
		for i := range len(level) / 2 {
			level[i] = tlog.NodeHash(level[2*i], level[2*i+1])
		}
		level = level[:len(level)/2]
	}
	return level[0]
}

func (t *tree) root() tlog.Hash {
	if len(t.stack) == 0 {
		h, err := tlog.TreeHash(0, nil)
		if err != nil {
			panic(err) // the empty tree needs no reader
		}
		return h
	}
	h := t.stack[len(t.stack)-1].hash
	for i := len(t.stack) - 2; i >= 0; i-- {
		h = tlog.NodeHash(t.stack[i].hash, h)
	}
	return h
}
