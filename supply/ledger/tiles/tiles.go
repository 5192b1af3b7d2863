// Package tiles reads a ledger's folder (C2SP tlog-tiles): checkpoint, hash
// tiles, entry bundles.
//
// In: a folder that nobody has to be trusted with. Out: hashes that are checked
// against a checkpoint's root on the way, entries, proofs. What does not fit is
// a *Damage that names the file.
//
// It will not write, lock, or judge signatures (package proof does).
package tiles

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/weighbridge/weighbridge/supply/ledger/proof"
)

// Width is how many hashes a tile and how many entries a bundle holds.
const Width = 256

const height = 8 // log2 of Width

// maxFile bounds a file of the folder: a bundle of the longest entries.
const maxFile = Width * (2 + 65535)

// ErrNotLedger says that a folder holds no ledger.
var ErrNotLedger = errors.New("not a ledger folder")

// ErrDamaged is every Damage.
var ErrDamaged = errors.New("damaged ledger")

// Damage is a file of the ledger that is missing, cut or changed.
type Damage struct {
	File string // inside the folder
	Why  string
}

func (d *Damage) Error() string { return fmt.Sprintf("damaged ledger: %s: %s", d.File, d.Why) }

// Is makes a Damage ErrDamaged.
func (d *Damage) Is(err error) bool { return err == ErrDamaged }

// Dir is a ledger's folder.
type Dir string

func (d Dir) read(name string) ([]byte, error) {
	f, err := os.Open(filepath.Join(string(d), filepath.FromSlash(name)))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, err
	}
	if len(b) > maxFile {
		return nil, &Damage{name, fmt.Sprintf("longer than the %d bytes of the longest bundle", maxFile)}
	}
	return b, nil
}

// Checkpoint reads the published checkpoint, unverified.
func (d Dir) Checkpoint() ([]byte, error) {
	b, err := d.read("checkpoint")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %s has no checkpoint (weighbridge ledger init makes one)", ErrNotLedger, string(d))
	}
	return b, err
}

// number spells a tile's number as tlog-tiles does: x001/x234/067.
func number(n int64) string {
	s := fmt.Sprintf("%03d", n%1000)
	for n /= 1000; n > 0; n /= 1000 {
		s = fmt.Sprintf("x%03d/%s", n%1000, s)
	}
	return s
}

// TilePath and BundlePath name a file; width Width means a full one.
func TilePath(level int, n int64, width int) string {
	return partial(path.Join("tile", strconv.Itoa(level), number(n)), width)
}

// BundlePath names the file of entries n*Width and after.
func BundlePath(n int64, width int) string {
	return partial(path.Join("tile", "entries", number(n)), width)
}

func partial(p string, width int) string {
	if width == Width {
		return p
	}
	return fmt.Sprintf("%s.p/%d", p, width)
}

// either reads a partial file, or the full one that took its place: partial
// ones may be removed once the full one is there (tlog-tiles).
func (d Dir) either(name func(width int) string, width int) (b []byte, file string, err error) {
	for _, w := range []int{width, Width} {
		file = name(w)
		b, err = d.read(file)
		if err == nil || !errors.Is(err, fs.ErrNotExist) {
			return b, file, err
		}
	}
	return nil, name(width), &Damage{name(width), "missing"}
}

// Tile reads the first width hashes of a tile, unverified.
func (d Dir) Tile(level int, n int64, width int) ([]byte, error) {
	b, file, err := d.either(func(w int) string { return TilePath(level, n, w) }, width)
	if err != nil {
		return nil, err
	}
	if len(b) < width*tlog.HashSize || len(b)%tlog.HashSize != 0 {
		return nil, &Damage{file, fmt.Sprintf("%d bytes, and %d hashes of %d are needed: cut or grown", len(b), width, tlog.HashSize)}
	}
	return b[:width*tlog.HashSize], nil
}

// Bundle reads the first width entries of a bundle, unverified.
func (d Dir) Bundle(n int64, width int) ([][]byte, error) {
	b, file, err := d.either(func(w int) string { return BundlePath(n, w) }, width)
	if err != nil {
		return nil, err
	}
	out := make([][]byte, 0, width)
	for len(out) < width {
		if len(b) < 2 || len(b)-2 < int(binary.BigEndian.Uint16(b)) {
			return nil, &Damage{file, fmt.Sprintf("it ends inside of entry %d", n*Width+int64(len(out)))}
		}
		end := 2 + int(binary.BigEndian.Uint16(b))
		out = append(out, b[2:end:end])
		b = b[end:]
	}
	if strings.HasSuffix(file, partialSuffix(width)) && len(b) > 0 {
		return nil, &Damage{file, fmt.Sprintf("%d bytes follow its last entry", len(b))}
	}
	return out, nil
}

func partialSuffix(width int) string {
	if width == Width {
		return ""
	}
	return fmt.Sprintf(".p/%d", width)
}

// Bundles gives every entry below size with its index, in order, unverified.
func (d Dir) Bundles(from, size int64) iter.Seq2[int64, Item] {
	return func(yield func(int64, Item) bool) {
		for n := from / Width; n*Width < size; n++ {
			es, err := d.Bundle(n, int(min(Width, size-n*Width)))
			if err != nil {
				yield(n*Width, Item{Err: err})
				return
			}
			for i, e := range es {
				if at := n*Width + int64(i); at >= from && !yield(at, Item{Raw: e}) {
					return
				}
			}
		}
	}
}

// Item is an entry's bytes, or why there are none.
type Item struct {
	Raw []byte
	Err error
}

// Entry reads one entry, unverified.
func (d Dir) Entry(index, size int64) ([]byte, error) {
	n := index / Width
	es, err := d.Bundle(n, int(min(Width, size-n*Width)))
	if err != nil {
		return nil, err
	}
	return es[index%Width], nil
}

// Hashes reads hashes of the tree, each checked against its root.
func (d Dir) Hashes(t tlog.Tree) tlog.HashReader {
	return damaged{tlog.TileHashReader(t, tileReader{d}), t}
}

// damaged turns what tlog finds in the tiles into Damage.
type damaged struct {
	tlog.HashReader
	tree tlog.Tree
}

func (r damaged) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	hs, err := r.HashReader.ReadHashes(indexes)
	var path *fs.PathError
	if err == nil || errors.Is(err, ErrDamaged) || errors.As(err, &path) {
		return hs, err
	}
	return nil, &Damage{"tile", fmt.Sprintf("the hash tiles do not lead to the root of the checkpoint of size %d: %v (weighbridge ledger audit names the file)", r.tree.N, err)}
}

type tileReader struct{ d Dir }

func (tileReader) Height() int                     { return height }
func (tileReader) SaveTiles([]tlog.Tile, [][]byte) {}
func (r tileReader) ReadTiles(ts []tlog.Tile) (out [][]byte, err error) {
	for _, t := range ts {
		b, err := r.d.Tile(t.L, t.N, t.W)
		if err != nil {
			return nil, err
		}
		out = append(out, b)
	}
	return out, nil
}

// Prove makes the receipt of an entry under a checkpoint that the caller has
// verified.
func (d Dir) Prove(c *proof.Checkpoint, index int64) (*proof.Receipt, error) {
	if index < 0 || index >= c.N {
		return nil, fmt.Errorf("%w: no entry %d is covered by the checkpoint of size %d", proof.ErrProof, index, c.N)
	}
	p, err := tlog.ProveRecord(c.N, index, d.Hashes(c.Tree))
	if err != nil {
		return nil, err
	}
	return &proof.Receipt{Index: index, Path: p, Checkpoint: c.Raw}, nil
}

// Extension shows that c extends the tree of size old.
func (d Dir) Extension(c *proof.Checkpoint, old int64) (*proof.Extension, error) {
	x := &proof.Extension{Old: old, Checkpoint: c.Raw}
	if old <= 0 || old >= c.N {
		return x, nil
	}
	var err error
	x.Path, err = tlog.ProveTree(c.N, old, d.Hashes(c.Tree))
	return x, err
}
