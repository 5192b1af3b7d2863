package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Collection says what a garbage collection may take.
type Collection struct {
	Now    time.Time
	Grace  time.Duration // what was written to later than this before Now stays
	DryRun bool          // only say what would go
}

// Collected lists what went, or would go, as paths inside the store, sorted.
type Collected struct {
	Paths []string `json:"paths"`
	Bytes int64    `json:"bytes"` // of the blobs and files among them
}

type collector struct {
	*Store
	Collection
	got Collected
}

// Collect removes what nothing refers to: blobs that no record names, intakes
// that died, the bytes (not the reasons) of refused ones, and leftovers of
// killed processes. Running intakes hold what they use themselves, and
// admissions wait for the few moments that this takes. A store with a record
// that cannot be read is not collected, since nobody knows what it refers to.
func (s *Store) Collect(ctx context.Context, o Collection) (*Collected, error) {
	if o.Grace < 0 {
		return nil, fmt.Errorf("a grace of %v is negative", o.Grace)
	}
	lock, err := s.lock(ctx, lockFile, unix.LOCK_EX)
	if err != nil {
		return nil, err
	}
	defer lock.Close()
	c := &collector{Store: s, Collection: o}
	for _, step := range []func(context.Context) error{c.blobs, c.quarantines, c.refused, c.temporary, c.folders} {
		if err := step(ctx); err != nil {
			return nil, fmt.Errorf("collecting garbage: %w", err)
		}
	}
	slices.Sort(c.got.Paths)
	return &c.got, nil
}

func (c *collector) old(st fs.FileInfo) bool { return st.ModTime().Before(c.Now.Add(-c.Grace)) }

// drop removes one file or folder.
func (c *collector) drop(name string, size int64) error {
	c.got.Paths = append(c.got.Paths, name)
	c.got.Bytes += size
	if c.DryRun {
		return nil
	}
	return c.removeTree(name)
}

func (c *collector) blobs(ctx context.Context) error {
	used := map[string]bool{}
	dirs, err := c.modelDirs()
	if err != nil {
		return err
	}
	for _, dir := range dirs {
		vs, err := c.versions(dir)
		if err != nil {
			return err
		}
		for _, v := range vs {
			e, err := c.read(dir, v)
			if err != nil {
				return err
			}
			for _, d := range e.blobs() {
				used[d] = true
			}
		}
	}
	return fs.WalkDir(c.root.FS(), "blobs", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || ctx.Err() != nil {
			return errors.Join(err, ctx.Err())
		}
		st, err := d.Info()
		if err != nil {
			return err
		}
		if digest := path.Base(name); used[digest] || !c.old(st) {
			return nil
		}
		return c.drop(name, st.Size())
	})
}

// quarantines removes those whose intake is dead and old.
func (c *collector) quarantines(context.Context) error {
	return c.each("quarantine", func(name string) error {
		age, size, err := c.newestBelow(name)
		if err != nil || !c.old(age) {
			return err
		}
		f, err := c.root.OpenFile(name+"/"+lockFile, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
			return nil // at work
		}
		return c.drop(name, size)
	})
}

// refused removes the bytes of refused models and leaves the reasons.
func (c *collector) refused(context.Context) error {
	return c.each("refused", func(name string) error {
		st, err := c.root.Lstat(name + "/" + reasonFile)
		if err != nil || !c.old(st) {
			return ignoreMissing(err)
		}
		for _, d := range []string{modelDir, partialDir} {
			_, size, err := c.newestBelow(name + "/" + d)
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				return err
			}
			if err := c.drop(name+"/"+d, size); err != nil {
				return err
			}
		}
		return nil
	})
}

func (c *collector) temporary(context.Context) error {
	return c.each("tmp", c.leftover)
}

// folders removes laid-out models that lost their record, and unfinished ones.
func (c *collector) folders(context.Context) error {
	k := &checker{Store: c.Store}
	return c.each("folders", func(name string) error {
		if strings.HasPrefix(path.Base(name), ".new-") {
			return c.leftover(name)
		}
		e, err := k.ownerOf(path.Base(name))
		if err != nil || e != nil {
			return err
		}
		return c.leftover(name)
	})
}

func (c *collector) leftover(name string) error {
	age, size, err := c.newestBelow(name)
	if err != nil || !c.old(age) {
		return ignoreMissing(err)
	}
	return c.drop(name, size)
}

func (c *collector) each(dir string, f func(name string) error) error {
	es, err := fs.ReadDir(c.root.FS(), dir)
	if err != nil {
		return err
	}
	for _, e := range es {
		if err := f(dir + "/" + e.Name()); err != nil {
			return err
		}
	}
	return nil
}

// newestBelow gives what was written to last at or below name, and the size of
// all files there.
func (c *collector) newestBelow(name string) (newest fs.FileInfo, size int64, err error) {
	err = fs.WalkDir(c.root.FS(), name, func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		st, err := d.Info()
		if err != nil {
			return err
		}
		if newest == nil || st.ModTime().After(newest.ModTime()) {
			newest = st
		}
		if !d.IsDir() {
			size += st.Size()
		}
		return nil
	})
	return newest, size, err
}
