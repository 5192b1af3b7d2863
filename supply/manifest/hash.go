package manifest

import (
	"cmp"
	"context"
	"crypto/sha256"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	"golang.org/x/crypto/blake2b"
	"golang.org/x/sync/errgroup"
	"lukechampine.com/blake3"
)

// DefaultShard is the shard size of the Python implementation, in bytes.
const DefaultShard = 1_000_000_000

// Options say how a folder is read. The zero value is what weighbridge signs
// with: files, SHA-256, no symlinks, git's and the evidence files left out.
// The rest is for the signatures of others.
type Options struct {
	// Ignore are exact paths relative to the folder that are left out with all
	// that is below them, besides GitPaths and EvidenceFiles.
	Ignore []string
	// Keep are names of GitPaths and EvidenceFiles that are not left out.
	Keep []string
	// Only, where not nil, are the files that are read if they are there; all
	// others are not looked at. A folder that holds none of them is no error.
	Only []string

	Method        Method // "" means Files
	Hash          Hash   // "" means SHA256
	ShardSize     int64  // bytes, for Shards; 0 means DefaultShard
	AllowSymlinks bool   // links are followed, inside the folder

	// Jobs bounds how many files are hashed at once; 0 means all cores.
	// Memory is about 2 MiB for each.
	Jobs int
}

func (o Options) filled() (Options, error) {
	o.Method, o.Hash = cmp.Or(o.Method, Files), cmp.Or(o.Hash, SHA256)
	o.ShardSize, o.Jobs = cmp.Or(o.ShardSize, DefaultShard), cmp.Or(o.Jobs, runtime.GOMAXPROCS(0))
	switch {
	case o.Method != Files && o.Method != Shards:
		return o, fmt.Errorf("unknown method %q; there are files and shards", o.Method)
	case o.Hash.Size() == 0:
		return o, fmt.Errorf("unknown hash %q; there are sha256, blake2b and blake3", o.Hash)
	case o.ShardSize < 0 || o.Jobs < 0:
		return o, fmt.Errorf("shard size %d and jobs %d must not be negative", o.ShardSize, o.Jobs)
	}
	return o, nil
}

// Size is the length of the hash's digests in bytes, 0 for an unknown hash.
func (h Hash) Size() int {
	switch h {
	case SHA256, BLAKE3:
		return 32
	case BLAKE2b:
		return 64
	}
	return 0
}

func (h Hash) new() hash.Hash {
	switch h {
	case BLAKE2b:
		w, err := blake2b.New512(nil)
		if err != nil {
			panic(err) // it fails for keys only
		}
		return w
	case BLAKE3:
		return blake3.New(32, nil)
	}
	return sha256.New()
}

// Dir reads the folder and hashes its files, on all cores.
//
// Errors: *[FolderError] for folders that cannot be a model or that change
// while they are read; those of the file system; ctx's own.
func Dir(ctx context.Context, dir string, o Options) (*Manifest, error) {
	o, err := o.filled()
	if err != nil {
		return nil, err
	}
	if info, err := os.Stat(dir); err != nil {
		return nil, err
	} else if !info.IsDir() {
		return nil, fmt.Errorf("%s: %w", dir, folderFault(RuleFile, filepath.Base(dir), "it is not a directory"))
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	entries, err := list(ctx, root, o)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	m, err := read(ctx, root, entries, o)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	return m, nil
}

// File is the manifest of a model that is one file; its only resource has the
// file's base name.
func File(ctx context.Context, file string, o Options) (*Manifest, error) {
	o, err := o.filled()
	if err != nil {
		return nil, err
	}
	info, err := os.Stat(file)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: %w", file, folderFault(RuleFile, filepath.Base(file), "it is a "+kindOf(info.Mode())+", not a regular file"))
	}
	root, err := os.OpenRoot(filepath.Dir(file))
	if err != nil {
		return nil, err
	}
	defer root.Close()
	base := filepath.Base(file)
	if why := NameFault(base); why != "" {
		return nil, fmt.Errorf("%s: %w", file, folderFault(RuleName, base, why))
	}
	m, err := read(ctx, root, []entry{{name: base, stamp: stampOf(info)}}, o)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	m.single = true
	return m, nil
}

// part is one resource to be: a range of a file.
type part struct {
	entry      entry
	start, end int64
	name       string
}

// maxParts bounds what a signer who chose tiny shards makes a verifier do.
const maxParts = 4_000_000

// parts cuts the files into resources, in the order of the resources' names.
func parts(entries []entry, o Options) ([]part, error) {
	var ps []part
	for _, e := range entries {
		if int64(len(ps))+e.stamp.size/o.ShardSize > maxParts && o.Method == Shards {
			return nil, folderFault(RuleEntries, e.name, fmt.Sprintf("shards of %d bytes would be more than %d", o.ShardSize, maxParts))
		}
		if o.Method == Files {
			ps = append(ps, part{entry: e, end: e.stamp.size, name: e.name})
			continue
		}
		for start := int64(0); start < e.stamp.size; start += o.ShardSize {
			end := min(start+o.ShardSize, e.stamp.size)
			ps = append(ps, part{e, start, end, ShardName(e.name, start, end)})
		}
	}
	slices.SortFunc(ps, func(a, b part) int { return strings.Compare(a.name, b.name) })
	return ps, nil
}

// read hashes the entries. The largest parts go first, so that no core idles
// at the end while another one has a big file to itself.
func read(ctx context.Context, root *os.Root, entries []entry, o Options) (*Manifest, error) {
	ps, err := parts(entries, o)
	if err != nil {
		return nil, err
	}
	m := &Manifest{Method: o.Method, Hash: o.Hash, Resources: make([]Resource, len(ps)), entries: entries, options: o}
	if len(ps) == 0 && o.Only == nil {
		return nil, folderFault(RuleEmpty, ".", "all its files are empty, and shards leave empty files out")
	}
	order := make([]int, len(ps))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(ps[b].end-ps[b].start, ps[a].end-ps[a].start) })
	stamps := make([]stamp, len(ps))
	var next atomic.Int64
	g, ctx := errgroup.WithContext(ctx)
	for range min(o.Jobs, len(ps)) {
		g.Go(func() error {
			r := newReader(o.Hash)
			for {
				n := int(next.Add(1)) - 1
				if n >= len(order) {
					return nil
				}
				p := ps[order[n]]
				sum, at, err := r.sum(ctx, root, p)
				if err != nil {
					return err
				}
				m.Resources[order[n]] = Resource{Name: p.name, Digest: sum, Size: p.end - p.start}
				stamps[order[n]] = at
			}
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	if err := m.settle(ps, stamps); err != nil {
		return nil, err
	}
	return m, nil
}

// settle keeps what was seen of each file while it was hashed; the shards of one
// file have to have seen the same.
func (m *Manifest) settle(ps []part, stamps []stamp) error {
	first := map[string]stamp{}
	for i, p := range ps {
		s, ok := first[p.entry.name]
		if ok && s != stamps[i] {
			return changed(p.entry.name, "it changed between the reading of its shards")
		}
		first[p.entry.name] = stamps[i]
	}
	for i := range m.entries {
		if s, ok := first[m.entries[i].name]; ok { // an empty file has no shard
			m.entries[i].stamp = s
		}
	}
	return nil
}

// ShardName is the name of a shard of a file: bytes start up to, and without, end.
func ShardName(file string, start, end int64) string {
	return file + ":" + strconv.FormatInt(start, 10) + ":" + strconv.FormatInt(end, 10)
}

// FileOf is the file that a resource of the method lies in.
func (m Method) FileOf(name string) string {
	if m != Shards {
		return name
	}
	rest, _, _ := cutLast(name)
	file, _, _ := cutLast(rest)
	return file
}

// ParseShard splits a shard's name at its last two colons, as OMS says; the
// file's own name may have some.
func ParseShard(name string) (file string, start, end int64, err error) {
	rest, last, ok := cutLast(name)
	file, first, ok2 := cutLast(rest)
	if !ok || !ok2 {
		return "", 0, 0, fmt.Errorf("%q is not of the form path:start:end", name)
	}
	start, err1 := strconv.ParseInt(first, 10, 64)
	end, err2 := strconv.ParseInt(last, 10, 64)
	if err1 != nil || err2 != nil || start < 0 || end <= start || ShardName(file, start, end) != name {
		return "", 0, 0, fmt.Errorf("%q does not name a range of bytes as path:start:end", name)
	}
	return file, start, end, nil
}

func cutLast(s string) (before, after string, ok bool) {
	i := strings.LastIndexByte(s, ':')
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+1:], true
}

const (
	chunk = 512 << 10 // fits the second-level cache beside the hash's state
	// readAhead is the size from which reading and hashing go on two cores.
	readAhead = 4 * chunk
)

// reader hashes parts one after the other with the same buffers.
type reader struct {
	h    hash.Hash
	bufs [3][]byte
}

func newReader(h Hash) *reader {
	r := &reader{h: h.new()}
	for i := range r.bufs {
		r.bufs[i] = make([]byte, chunk)
	}
	return r
}

// sum hashes a part, and gives what was seen of its file before and after, which
// is the same: where it is not, it reads again, a few times.
func (r *reader) sum(ctx context.Context, root *os.Root, p part) ([]byte, stamp, error) {
	f, before, err := openEntry(root, p.entry)
	if err != nil {
		return nil, stamp{}, err
	}
	defer f.Close()
	for range 5 {
		r.h.Reset()
		src := io.NewSectionReader(f, p.start, p.end-p.start)
		if src.Size() < readAhead {
			err = r.straight(ctx, src)
		} else {
			err = r.ahead(ctx, src)
		}
		if err != nil {
			return nil, stamp{}, fmt.Errorf("reading %s: %w", p.entry.name, err)
		}
		after, err := seen(f, p.entry)
		if err != nil {
			return nil, stamp{}, err
		}
		if after == before {
			return r.h.Sum(nil), after, nil
		}
		before = after
	}
	return nil, stamp{}, changed(p.entry.name, "it changed again and again while it was read")
}

func (r *reader) straight(ctx context.Context, src *io.SectionReader) error {
	for left := src.Size(); left > 0; {
		if err := ctx.Err(); err != nil {
			return err
		}
		p := r.bufs[0][:min(left, chunk)]
		if _, err := io.ReadFull(src, p); err != nil {
			return err
		}
		r.h.Write(p)
		left -= int64(len(p))
	}
	return nil
}

// ahead reads the next chunk while this one is hashed.
func (r *reader) ahead(ctx context.Context, src *io.SectionReader) error {
	free, full := make(chan []byte, len(r.bufs)), make(chan []byte, len(r.bufs))
	for _, b := range r.bufs {
		free <- b
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		defer close(full)
		for left := src.Size(); left > 0; {
			var p []byte
			select {
			case p = <-free:
			case <-ctx.Done():
				return ctx.Err()
			}
			p = p[:min(left, chunk)]
			if _, err := io.ReadFull(src, p); err != nil {
				return err
			}
			left -= int64(len(p))
			full <- p
		}
		return nil
	})
	for p := range full {
		r.h.Write(p)
		free <- p[:chunk]
	}
	return g.Wait()
}
