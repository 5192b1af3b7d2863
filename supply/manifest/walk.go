package manifest

import (
	"context"
	"crypto/sha256"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/sync/errgroup"
)

// Options say how a folder is read. The zero value is what weighbridge signs
// with: files, SHA-256, no symlinks, git's and the evidence files left out.
type Options struct {
	// Ignore are exact paths relative to the folder that are left out with all
	// that is below them, besides GitPaths and EvidenceFiles.
	Ignore []string
	// Jobs bounds how many files are hashed at once; 0 means all cores.
	Jobs int
}

// Dir reads the folder and hashes its files.
//
// Errors: ErrFolder for folders that cannot be a model; those of the file
// system; ctx's own.
func Dir(ctx context.Context, dir string, o Options) (*Manifest, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	names, err := list(root.FS(), o)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	m := &Manifest{Method: Files, Hash: SHA256, Resources: make([]Resource, len(names))}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(max(o.Jobs, 1))
	for i, name := range names {
		g.Go(func() error {
			r, err := hashFile(ctx, root, name)
			m.Resources[i] = r
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	return m, nil
}

// list names the regular files in the order of their names as bytes.
func list(fsys fs.FS, o Options) ([]string, error) {
	skip := slices.Concat(GitPaths, EvidenceFiles, o.Ignore)
	var names []string
	err := fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case slices.Contains(skip, name):
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		case d.IsDir():
			return nil
		case !d.Type().IsRegular():
			return fmt.Errorf("%w: %s is a %s, not a regular file", ErrFolder, name, d.Type())
		case !utf8.ValidString(name) || strings.ContainsRune(name, 0) || path.Clean(name) != name:
			return fmt.Errorf("%w: the name %q cannot be signed", ErrFolder, name)
		}
		names = append(names, name)
		return nil
	})
	if err != nil {
		return nil, err
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("%w: it holds no files", ErrFolder)
	}
	slices.Sort(names)
	return names, nil
}

func hashFile(ctx context.Context, root *os.Root, name string) (Resource, error) {
	f, err := root.Open(name)
	if err != nil {
		return Resource{}, err
	}
	defer f.Close()
	var h hash.Hash = sha256.New()
	n, err := io.CopyBuffer(h, readerFunc(func(p []byte) (int, error) {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		return f.Read(p)
	}), make([]byte, 1<<20))
	if err != nil {
		return Resource{}, fmt.Errorf("reading %s: %w", name, err)
	}
	return Resource{Name: name, Digest: h.Sum(nil), Size: n}, nil
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }
