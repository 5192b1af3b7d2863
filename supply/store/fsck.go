package store

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// What Fsck finds wrong, a closed list.
const (
	BlobDamaged     = "blob-damaged"     // its bytes are not those of its name
	BlobMissing     = "blob-missing"     // a record needs it, and there is none
	BlobStray       = "blob-stray"       // something that is no blob lies among them
	RecordDamaged   = "record-damaged"   // not a record of this model
	ModelIncomplete = "model-incomplete" // its blobs are missing, damaged or of another size
	FolderDamaged   = "folder-damaged"   // a laid-out folder is not the model
)

// Bad is one thing wrong with a store.
type Bad struct {
	Rule     string `json:"rule"`
	Path     string `json:"path"` // inside the store
	Detail   string `json:"detail"`
	Repaired bool   `json:"repaired,omitempty"` // it was moved aside, or was only a copy and is removed
}

// Health is what Fsck saw.
type Health struct {
	Blobs   int   `json:"blobs"`
	Bytes   int64 `json:"bytes"`
	Models  int   `json:"models"`
	Records int   `json:"records"`
	Bad     []Bad `json:"bad"` // sorted by path
}

type checker struct {
	*Store
	repair bool
	mu     sync.Mutex
	health Health
	sizes  map[string]int64 // of the sound blobs
}

// Fsck hashes every blob and reads every record. With repair it moves what is
// bad aside; a model that thereby misses something is no longer admitted, and
// bringing it in again mends it. The error says that the check could not be
// made; what it finds is in Health.
func (s *Store) Fsck(ctx context.Context, repair bool) (*Health, error) {
	c := &checker{Store: s, repair: repair, sizes: map[string]int64{}}
	if err := c.blobs(ctx); err != nil {
		return nil, fmt.Errorf("checking the blobs: %w", err)
	}
	if err := c.records(ctx); err != nil {
		return nil, fmt.Errorf("checking the records: %w", err)
	}
	if err := c.folders(ctx); err != nil {
		return nil, fmt.Errorf("checking the folders: %w", err)
	}
	slices.SortFunc(c.health.Bad, func(a, b Bad) int { return strings.Compare(a.Path+a.Detail, b.Path+b.Detail) })
	return &c.health, nil
}

// found notes something bad. seen is the file that was looked at: only that one
// is moved aside, and not what took its place meanwhile.
func (c *checker) found(ctx context.Context, rule, name, detail string, seen fs.FileInfo) error {
	b := Bad{Rule: rule, Path: name, Detail: detail}
	if c.repair && seen != nil {
		lock, err := c.lock(ctx, lockFile, unix.LOCK_EX)
		if err != nil {
			return err
		}
		defer lock.Close()
		if now, err := c.root.Lstat(name); err == nil && os.SameFile(seen, now) {
			to := "aside/" + strings.ReplaceAll(name, "/", "_") + "-" + randomHex()[:8]
			if err := c.root.Rename(name, to); err != nil {
				return fmt.Errorf("moving %s aside: %w", name, err)
			}
			if err := errors.Join(c.syncDir(path.Dir(name)), c.syncDir("aside")); err != nil {
				return err
			}
			b.Repaired = true
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.health.Bad = append(c.health.Bad, b)
	return nil
}

func (c *checker) blobs(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	err := fs.WalkDir(c.root.FS(), "blobs", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		seen, err := c.root.Lstat(name)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		digest := path.Base(name)
		if !digestOK(digest) || blobName(digest) != name || !seen.Mode().IsRegular() {
			return c.found(ctx, BlobStray, name, fmt.Sprintf("a %s of mode %s is no blob", kindOf(seen), seen.Mode()), seen)
		}
		g.Go(func() error { return c.blob(ctx, name, digest) })
		return nil
	})
	return errors.Join(g.Wait(), err)
}

func (c *checker) blob(ctx context.Context, name, digest string) error {
	f, seen, err := c.open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // collected meanwhile
	}
	if err != nil {
		return err
	}
	defer f.Close()
	h := sha256.New()
	n, err := stream(ctx, io.Discard, h, f, math.MaxInt64)
	if err != nil && ctx.Err() != nil {
		return ctx.Err()
	}
	got := hex.EncodeToString(h.Sum(nil))
	c.mu.Lock()
	c.health.Blobs++
	c.health.Bytes += n
	if err == nil && got == digest {
		c.sizes[digest] = n
	}
	c.mu.Unlock()
	switch {
	case err != nil: // a disk that cannot read it is as bad as wrong bytes
		return c.found(ctx, BlobDamaged, name, err.Error(), seen)
	case got != digest:
		return c.found(ctx, BlobDamaged, name, fmt.Sprintf("its %d bytes have the SHA-256 %s", n, got), seen)
	}
	return nil
}

func (c *checker) records(ctx context.Context) error {
	dirs, err := c.modelDirs()
	if err != nil {
		return err
	}
	for _, dir := range dirs {
		vs, err := c.versions(dir)
		if err != nil {
			return err
		}
		if len(vs) > 0 {
			c.health.Models++
		}
		for _, v := range vs {
			if err := c.record(ctx, dir, v); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *checker) record(ctx context.Context, dir string, version int) error {
	c.health.Records++
	name := versionName(dir, version)
	seen, err := c.root.Lstat(name)
	if err != nil {
		return err
	}
	e, err := c.read(dir, version)
	if errors.Is(err, ErrCorrupt) {
		return c.found(ctx, RecordDamaged, name, err.Error(), seen)
	}
	if err != nil {
		return err
	}
	for _, d := range e.blobs() {
		if _, ok := c.sizes[d]; ok {
			continue
		}
		bad := c.wasBad(d)
		ok, err := c.HasBlob(d)
		switch {
		case err != nil && !errors.Is(err, ErrCorrupt):
			return err
		case ok && !bad:
			continue // it came while the check ran
		case !bad:
			if err := c.found(ctx, BlobMissing, blobName(d), "the record "+name+" names it", nil); err != nil {
				return err
			}
		}
		return c.found(ctx, ModelIncomplete, name, "blob "+d+" is missing or damaged; bring the model in again", seen)
	}
	for _, f := range slices.Concat(e.Files, e.Evidence) {
		if n, ok := c.sizes[f.SHA256]; ok && n != f.Bytes {
			return c.found(ctx, ModelIncomplete, name, fmt.Sprintf("%q has %d bytes and its blob %d", f.Name, f.Bytes, n), seen)
		}
	}
	return nil
}

func (c *checker) wasBad(digest string) bool {
	return slices.ContainsFunc(c.health.Bad, func(b Bad) bool { return b.Path == blobName(digest) })
}

// folders checks the laid-out models. They are copies: a bad one is removed.
func (c *checker) folders(ctx context.Context) error {
	es, err := fs.ReadDir(c.root.FS(), "folders")
	if err != nil {
		return err
	}
	for _, d := range es {
		name := "folders/" + d.Name()
		if strings.HasPrefix(d.Name(), ".new-") {
			continue // being made, or left for the garbage collection
		}
		why, err := c.folder(ctx, d.Name())
		if err != nil {
			return err
		}
		if why == "" {
			continue
		}
		b := Bad{Rule: FolderDamaged, Path: name, Detail: why}
		if c.repair {
			if err := c.removeTree(name); err != nil {
				return err
			}
			b.Repaired = true
		}
		c.health.Bad = append(c.health.Bad, b)
	}
	return nil
}

// folder says what is wrong with a laid-out model, or "".
func (c *checker) folder(ctx context.Context, name string) (string, error) {
	e, err := c.ownerOf(name)
	if err != nil {
		return "", err
	}
	if e == nil {
		return "no record belongs to it", nil
	}
	want := map[string]Stored{}
	for _, f := range slices.Concat(e.Files, e.Evidence) {
		want[f.Name] = f
	}
	var why string
	top := "folders/" + name
	err = fs.WalkDir(c.root.FS(), top, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel := strings.TrimPrefix(p, top+"/")
		f, ok := want[rel]
		delete(want, rel)
		if !ok {
			why = fmt.Sprintf("%q is not of the model", rel)
			return fs.SkipAll
		}
		why, err = c.copyOf(ctx, p, f)
		if why != "" {
			return fs.SkipAll
		}
		return err
	})
	if err == nil && why == "" && len(want) > 0 {
		why = fmt.Sprintf("%d files are missing", len(want))
	}
	return why, err
}

func (c *checker) copyOf(ctx context.Context, p string, f Stored) (string, error) {
	file, st, err := c.open(p)
	if errors.Is(err, ErrCorrupt) {
		return err.Error(), nil
	}
	if err != nil {
		return "", err
	}
	defer file.Close()
	if blob, err := c.root.Lstat(blobName(f.SHA256)); err == nil && os.SameFile(st, blob) {
		return "", nil // hashed as a blob
	}
	h := sha256.New()
	if _, err := stream(ctx, io.Discard, h, file, math.MaxInt64); err != nil {
		return "", err
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != f.SHA256 {
		return fmt.Sprintf("%q has the SHA-256 %s and not %s", f.Name, got, f.SHA256), nil
	}
	return "", nil
}

// ownerOf finds the record of a laid-out folder, nil when there is none.
func (c *checker) ownerOf(name string) (*Entry, error) {
	id, v, ok := strings.Cut(name, "-")
	n, err := strconv.Atoi(v)
	if !ok || err != nil || !digestOK(id) {
		return nil, nil
	}
	dirs, err := fs.Glob(c.root.FS(), "models/*/"+id)
	if err != nil || len(dirs) != 1 {
		return nil, err
	}
	e, err := c.read(dirs[0], n)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, ErrCorrupt) {
		return nil, nil
	}
	return e, err
}
