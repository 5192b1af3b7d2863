package manifest

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/weighbridge/weighbridge/record"
)

// stamp is what a file system says about a file's content without reading it.
// The change time moves with every write, truncation, rename over and chmod,
// and cannot be set back without the rights of the system's administrator.
type stamp struct {
	dev, ino     uint64
	size         int64
	mtime, ctime syscall.Timespec
}

func stampOf(info fs.FileInfo) stamp {
	s := stamp{size: info.Size()}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		s.dev, s.ino, s.mtime, s.ctime = uint64(st.Dev), st.Ino, st.Mtim, st.Ctim
	}
	return s
}

// same says that two stamps are of one file of one size. Its times move with a
// new hard link, a chmod or a touch, as in a store, whose models share content;
// and with a write, which is why the content then has to be read again.
func (s stamp) same(o stamp) bool { return s.dev == o.dev && s.ino == o.ino && s.size == o.size }

func changed(name, what string) error {
	return &FolderError{Problems: []record.Problem{{Rule: RuleChanged, Subject: name, Detail: what + "; nothing was concluded, try again when nobody writes there"}}}
}

// Recheck proves that the folder still holds what was hashed: the same names,
// and files of the same inode, size, modification and change time. It reads only
// contents whose times alone have moved. Its error is a [FolderError] with
// rule folder-changed.
//
// A manifest that was not made by [Dir] or [File] has no stamps; Recheck then
// fails.
func (m *Manifest) Recheck(ctx context.Context, dir string) error {
	if m.entries == nil {
		return fmt.Errorf("%s: this manifest was not read from a folder", dir)
	}
	if m.single {
		info, err := os.Stat(dir)
		if err != nil {
			return err
		}
		folder, err := os.OpenRoot(filepath.Dir(dir))
		if err != nil {
			return err
		}
		defer folder.Close()
		return m.again(ctx, folder, m.entries[0], stampOf(info))
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	now, err := list(ctx, root, m.options)
	if err != nil {
		return fmt.Errorf("%s: %w", dir, err)
	}
	for i := 0; i < len(now) || i < len(m.entries); i++ {
		switch {
		case i >= len(now) || i < len(m.entries) && m.entries[i].name < now[i].name:
			return fmt.Errorf("%s: %w", dir, changed(m.entries[i].name, "it vanished after it was hashed"))
		case i >= len(m.entries) || now[i].name < m.entries[i].name:
			return fmt.Errorf("%s: %w", dir, changed(now[i].name, "it came after the folder was hashed"))
		}
		if err := m.again(ctx, root, m.entries[i], now[i].stamp); err != nil {
			return fmt.Errorf("%s: %w", dir, err)
		}
	}
	return nil
}

// again proves that a file of the manifest is what it was, from what is now
// seen of it, or from its bytes where that leaves it open.
func (m *Manifest) again(ctx context.Context, root *os.Root, e entry, now stamp) error {
	if now == e.stamp {
		return nil
	}
	what := changed(e.name, "it changed after it was hashed")
	was, ok := m.Find(e.name)
	if !ok || m.Method != Files || !now.same(e.stamp) {
		return what
	}
	sum, _, err := newReader(m.Hash).sum(ctx, root, part{entry: e, end: e.stamp.size, name: e.name})
	if err == nil && !bytes.Equal(sum, was.Digest) {
		err = what
	}
	return err
}

// Open opens a file of the manifest for reading and proves that it is the one
// that was hashed, unchanged at this moment. dir is the folder of [Dir].
func (m *Manifest) Open(dir, name string) (*os.File, error) {
	i, ok := slices.BinarySearchFunc(m.entries, name, func(e entry, name string) int { return strings.Compare(e.name, name) })
	if !ok || m.single {
		return nil, fmt.Errorf("%s: %s is not in the manifest: %w", dir, name, fs.ErrNotExist)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	f, now, err := openEntry(root, m.entries[i])
	if err != nil {
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	if err := m.again(context.Background(), root, m.entries[i], now); err != nil {
		f.Close()
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	return f, nil
}

// openEntry opens the very file that the walk found, as far as all but its
// times tells. O_NONBLOCK keeps a fifo that took its place from blocking;
// for regular files it means nothing.
func openEntry(root *os.Root, e entry) (*os.File, stamp, error) {
	f, err := root.OpenFile(e.name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, stamp{}, err
	}
	now, err := seen(f, e)
	if err != nil {
		f.Close()
		return nil, stamp{}, err
	}
	return f, now, nil
}

// seen is what is now seen of an open file.
func seen(f *os.File, e entry) (stamp, error) {
	info, err := f.Stat()
	if err != nil {
		return stamp{}, err
	}
	now := stampOf(info)
	if !now.same(e.stamp) {
		return now, changed(e.name, "it changed while it was read")
	}
	return now, nil
}
