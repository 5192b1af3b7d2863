package manifest

import (
	"context"
	"fmt"
	"io/fs"
	"os"
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

func changed(name, what string) error {
	return &FolderError{Problems: []record.Problem{{Rule: RuleChanged, Subject: name, Detail: what + "; nothing was concluded, try again when nobody writes there"}}}
}

// Recheck proves that the folder still holds what was hashed: the same names,
// and files of the same inode, size, modification and change time. It reads no
// contents. Its error is a [FolderError] with rule folder-changed.
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
		if stampOf(info) != m.entries[0].stamp {
			return changed(dir, "it changed after it was hashed")
		}
		return nil
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
		case now[i].stamp != m.entries[i].stamp:
			return fmt.Errorf("%s: %w", dir, changed(now[i].name, "it changed after it was hashed"))
		}
	}
	return nil
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
	f, err := openEntry(root, m.entries[i])
	if err != nil {
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	return f, nil
}

// openEntry opens the very file that the walk found. O_NONBLOCK keeps a fifo
// that took its place from blocking; for regular files it means nothing.
func openEntry(root *os.Root, e entry) (*os.File, error) {
	f, err := root.OpenFile(e.name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	if err := unchanged(f, e); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func unchanged(f *os.File, e entry) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if stampOf(info) != e.stamp {
		return changed(e.name, "it changed while it was read")
	}
	return nil
}
