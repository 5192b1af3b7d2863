package tiles

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/weighbridge/weighbridge/supply/ledger/proof"
)

// stateFile is where Tessera (POSIX driver, version 1 of its folder) keeps size
// and root of what is on disk, which may be ahead of the checkpoint.
const stateFile = ".state/treeState"

// Stored is the tree on disk, in the writer's own account of it. A ledger that
// never had an entry has an empty one.
func (d Dir) Stored() (tlog.Tree, error) {
	empty, err := tlog.TreeHash(0, nil)
	if err != nil {
		return tlog.Tree{}, err
	}
	b, err := d.read(stateFile)
	if errors.Is(err, fs.ErrNotExist) {
		raw, err := d.Checkpoint()
		if err != nil {
			return tlog.Tree{}, err
		}
		c, err := proof.ParseCheckpoint(raw)
		if err != nil {
			return tlog.Tree{}, err
		}
		if c.N > 0 {
			return tlog.Tree{}, &Damage{stateFile, fmt.Sprintf("missing, and the checkpoint has %d entries", c.N)}
		}
		return tlog.Tree{Hash: empty}, nil
	}
	if err != nil {
		return tlog.Tree{}, err
	}
	var s struct {
		Size int64  `json:"size"`
		Root []byte `json:"root"`
	}
	if err := json.Unmarshal(b, &s); err != nil || s.Size < 0 || len(s.Root) != tlog.HashSize {
		return tlog.Tree{}, &Damage{stateFile, "not a size and a root"}
	}
	if s.Size == 0 {
		return tlog.Tree{Hash: empty}, nil
	}
	return tlog.Tree{N: s.Size, Hash: tlog.Hash(s.Root)}, nil
}

// CheckExtends shows from the tiles that now extends old.
func (d Dir) CheckExtends(old, now tlog.Tree) error {
	var path tlog.TreeProof
	if 0 < old.N && old.N < now.N {
		var err error
		if path, err = tlog.ProveTree(now.N, old.N, d.Hashes(now)); err != nil {
			return err
		}
	}
	return proof.CheckExtends(old, now, path)
}

// CheckEdge reads what the next append builds on: the tiles along the right
// edge have to lead to the tree's root, the last bundle to its tile.
func (d Dir) CheckEdge(t tlog.Tree) error {
	if t.N == 0 {
		return nil
	}
	hashes := d.Hashes(t)
	if _, err := tlog.TreeHash(t.N, hashes); err != nil {
		return err
	}
	n := (t.N - 1) / Width
	es, err := d.Bundle(n, int(t.N-n*Width))
	if err != nil {
		return err
	}
	want := make([]int64, len(es))
	for i := range es {
		want[i] = tlog.StoredHashIndex(0, n*Width+int64(i))
	}
	hs, err := hashes.ReadHashes(want)
	if err != nil {
		return err
	}
	for i, e := range es {
		if tlog.RecordHash(e) != hs[i] {
			return &Damage{BundlePath(n, len(es)), fmt.Sprintf("entry %d is not the one that was appended", n*Width+int64(i))}
		}
	}
	return nil
}
