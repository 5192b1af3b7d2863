package intake

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/weighbridge/weighbridge/supply/store"
	"github.com/weighbridge/weighbridge/weights"
)

// The kinds of sources in this package, as Origin.Kind.
const (
	KindFile        = "file"
	KindFolder      = "folder"
	KindOllama      = "ollama"
	KindHuggingFace = "huggingface"
)

// File is a model that is one file. A GGUF file is taken in as "model.gguf",
// since the names of single files do not count; others keep theirs.
type File struct{ Path string }

// Origin implements Source.
func (f File) Origin() store.Origin { return store.Origin{Kind: KindFile, Location: f.Path} }

// Fetch implements Source.
func (f File) Fetch(ctx context.Context, in *store.Intake) error {
	// The user named this very path, so a symlink is followed.
	path, err := filepath.EvalSymlinks(f.Path)
	if err != nil {
		return err
	}
	dir, err := os.OpenRoot(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer dir.Close()
	r, err := openSteady(dir, filepath.Base(path))
	if err != nil {
		return err
	}
	defer r.close()
	name := filepath.Base(f.Path)
	magic := make([]byte, 4)
	if n, err := r.file.ReadAt(magic, 0); err != nil && err != io.EOF {
		return err
	} else if n == 4 && string(magic) == "GGUF" {
		name = weights.ModelPath
	}
	return r.add(ctx, in, name)
}

// Folder is a model's folder. What git keeps at its top is left out, as OMS
// leaves it out of signatures.
type Folder struct{ Path string }

// Origin implements Source.
func (f Folder) Origin() store.Origin { return store.Origin{Kind: KindFolder, Location: f.Path} }

// Fetch implements Source.
func (f Folder) Fetch(ctx context.Context, in *store.Intake) error {
	root, err := os.OpenRoot(f.Path)
	if err != nil {
		return err
	}
	defer root.Close()
	before, err := listing(root)
	if err != nil {
		return err
	}
	for _, x := range before {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := addFrom(ctx, root, x.name, in); err != nil {
			return err
		}
	}
	// A file that was copied early can change while others are copied.
	after, err := listing(root)
	if err != nil {
		return err
	}
	if len(after) != len(before) {
		return fmt.Errorf("%w: %s had %d files and has %d; wait until it is complete", ErrChanged, f.Path, len(before), len(after))
	}
	for i, x := range before {
		if y := after[i]; x.name != y.name || stampOf(x.info) != stampOf(y.info) {
			return fmt.Errorf("%w: %s; wait until it is complete", ErrChanged, path.Join(f.Path, y.name))
		}
	}
	return nil
}

type listed struct {
	name string
	info fs.FileInfo
}

// maxWalk bounds how deep a folder is looked into. Names deeper than the store
// takes are refused before this is reached.
const maxWalk = 64

// listing gives the files below root in the order of a walk. Files only: what
// is neither file nor folder is a violation.
func listing(root *os.Root) ([]listed, error) {
	var all []listed
	err := fs.WalkDir(root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case isGit(name) && d.IsDir():
			return fs.SkipDir
		case isGit(name):
			return nil
		case d.IsDir():
			if strings.Count(name, "/") >= maxWalk {
				return &store.Violation{Rule: store.RuleName, Subject: name, Detail: fmt.Sprintf("folders are more than %d deep", maxWalk)}
			}
			return nil
		case d.Type()&fs.ModeSymlink != 0:
			return &store.Violation{Rule: store.RuleLink, Subject: name, Detail: "it is a symlink; what it leads to is not part of the model"}
		case !d.Type().IsRegular():
			return &store.Violation{Rule: store.RuleSpecial, Subject: name, Detail: fmt.Sprintf("it is no regular file (%s)", d.Type())}
		}
		info, err := d.Info()
		all = append(all, listed{name, info})
		return err
	})
	return all, err
}

func isGit(name string) bool {
	switch name {
	case ".git", ".gitattributes", ".github", ".gitignore": // manifest.GitPaths
		return true
	}
	return false
}

func addFrom(ctx context.Context, root *os.Root, name string, in *store.Intake) error {
	r, err := openSteady(root, name)
	if err != nil {
		return err
	}
	defer r.close()
	return r.add(ctx, in, name)
}

// steady is an open source file that must not change while it is read.
type steady struct {
	file   *os.File
	before fs.FileInfo
	shown  string
}

// openSteady opens a regular file below root, following symlinks that stay
// inside.
func openSteady(root *os.Root, name string) (*steady, error) {
	// Not to wait for ever on a pipe that took the file's place.
	f, err := root.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	st, err := f.Stat()
	if err == nil && !st.Mode().IsRegular() {
		err = &store.Violation{Rule: store.RuleSpecial, Subject: name, Detail: fmt.Sprintf("it is no regular file (%s)", st.Mode().Type())}
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &steady{f, st, filepath.Join(root.Name(), filepath.FromSlash(name))}, nil
}

func (r *steady) close() { r.file.Close() }

// add copies the file into the intake as name.
func (r *steady) add(ctx context.Context, in *store.Intake, name string) error {
	_, err := in.Add(ctx, store.File{Name: name, Size: r.before.Size(), Open: r.open})
	return r.blame(err)
}

func (r *steady) open(_ context.Context, offset int64) (io.ReadCloser, error) {
	_, err := r.file.Seek(offset, io.SeekStart)
	return io.NopCloser(r.file), err
}

// blame says that the source changed where that explains err, or where nothing
// else noticed.
func (r *steady) blame(err error) error {
	after, serr := r.file.Stat()
	if serr == nil && stampOf(after) != stampOf(r.before) {
		return fmt.Errorf("%w: %s; wait until it is complete", ErrChanged, r.shown)
	}
	return errors.Join(err, serr)
}

// stamp changes when a file's content does, unless somebody sets clocks.
type stamp struct {
	size         int64
	mtime, ctime syscall.Timespec
	inode        uint64
}

func stampOf(st fs.FileInfo) stamp {
	s := stamp{size: st.Size()}
	if sys, ok := st.Sys().(*syscall.Stat_t); ok {
		s.mtime, s.ctime, s.inode = sys.Mtim, sys.Ctim, sys.Ino
	}
	return s
}
