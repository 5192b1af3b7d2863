package oci

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"
)

// Pull brings an artifact into a new folder. The folder appears when everything
// is there and was verified, or not at all; one that exists must be empty.
//
// What was fetched so far stays beside it, in .NAME.pull, when the fetching
// broke off, and the next Pull goes on from there.
func Pull(ctx context.Context, r Reference, dir string, c Client) (_ *Pulled, err error) {
	if err := vacant(dir); err != nil {
		return nil, err
	}
	s, err := Open(ctx, r, c)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	w, err := newWorkspace(dir)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, w.close(err)) }()
	p, err := s.into(ctx, w)
	if err != nil {
		return nil, err
	}
	return p, w.publish(dir)
}

// vacant refuses a target that holds something.
func vacant(dir string) error {
	list, err := os.ReadDir(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("%w: %w", ErrTarget, err)
	case len(list) > 0:
		return fmt.Errorf("%w: %s is there and not empty; name a new folder", ErrTarget, dir)
	}
	return nil
}

// workspace is a folder beside the target: parts/ holds layers by digest, whole
// or not, tree/ becomes the target.
type workspace struct {
	path  string
	lock  *os.File
	parts *os.Root
	tree  *os.Root
	used  map[string]bool // parts that a file of the tree is made of
}

func newWorkspace(dir string) (_ *workspace, err error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	w := &workspace{path: filepath.Join(filepath.Dir(abs), "."+filepath.Base(abs)+".pull"), used: map[string]bool{}}
	if err := os.MkdirAll(filepath.Join(w.path, "parts"), 0o700); err != nil {
		return nil, err
	}
	if w.lock, err = os.OpenFile(filepath.Join(w.path, "lock"), os.O_CREATE|os.O_RDWR, 0o600); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			w.release()
		}
	}()
	if err := unix.Flock(int(w.lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, fmt.Errorf("%w: another pull into %s is running", ErrTarget, dir)
	}
	tree := filepath.Join(w.path, "tree")
	if err := os.RemoveAll(tree); err != nil {
		return nil, err
	}
	if err := os.Mkdir(tree, 0o755); err != nil {
		return nil, err
	}
	if w.parts, err = os.OpenRoot(filepath.Join(w.path, "parts")); err != nil {
		return nil, err
	}
	w.tree, err = os.OpenRoot(tree)
	return w, err
}

func (w *workspace) release() {
	for _, r := range []*os.Root{w.parts, w.tree} {
		if r != nil {
			r.Close()
		}
	}
	w.lock.Close()
}

// close keeps the parts only where the next pull could go on with them.
func (w *workspace) close(err error) error {
	defer w.release()
	if err != nil && (passing(err) || errors.Is(err, context.Canceled)) {
		return os.RemoveAll(filepath.Join(w.path, "tree"))
	}
	return os.RemoveAll(w.path)
}

func (w *workspace) publish(dir string) error {
	if err := os.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: %w", ErrTarget, err)
	}
	if err := os.Rename(filepath.Join(w.path, "tree"), dir); err != nil {
		return err
	}
	parent, err := os.Open(filepath.Dir(filepath.Clean(dir)))
	if err != nil {
		return err
	}
	return errors.Join(parent.Sync(), parent.Close())
}

// part makes sure that a layer is there, whole and with its digest.
func (w *workspace) part(ctx context.Context, d ocispec.Descriptor, open func(int64) io.ReadCloser) (_ *os.File, err error) {
	name := d.Digest.Encoded()
	f, err := w.parts.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			f.Close()
		}
	}()
	h := sha256.New()
	n, err := io.Copy(h, &cancellable{ctx, f})
	if err != nil {
		return nil, err
	}
	resumed := n > 0
	if n < d.Size || n == 0 {
		more, err := w.fill(ctx, f, h, open(n))
		if n += more; err != nil {
			return nil, errors.Join(err, f.Sync())
		}
	}
	if got := hex.EncodeToString(h.Sum(nil)); n != d.Size || got != name {
		if err := w.parts.Remove(name); err != nil {
			return nil, err
		}
		if resumed { // what an earlier pull left need not be what it fetched
			f.Close()
			return w.part(ctx, d, open)
		}
		return nil, fmt.Errorf("%w: %s holds sha256:%s, %d bytes", ErrDigest, d.Digest, got, n)
	}
	if err := f.Sync(); err != nil {
		return nil, err
	}
	_, err = f.Seek(0, io.SeekStart)
	return f, err
}

func (w *workspace) fill(ctx context.Context, f *os.File, h hash.Hash, body io.ReadCloser) (int64, error) {
	defer body.Close()
	return io.CopyBuffer(io.MultiWriter(f, h), &cancellable{ctx, body}, make([]byte, 1<<20))
}

func (w *workspace) layer(ctx context.Context, name string, d ocispec.Descriptor, open func(int64) io.ReadCloser) error {
	f, err := w.part(ctx, d, open)
	if err != nil {
		return err
	}
	defer f.Close()
	part := d.Digest.Encoded()
	if w.used[part] { // two files of one content are two files
		_, err := w.stream(ctx, name, d.Size, f)
		return err
	}
	w.used[part] = true
	if err := w.above(name); err != nil {
		return err
	}
	err = os.Link(filepath.Join(w.parts.Name(), part), filepath.Join(w.tree.Name(), filepath.FromSlash(name)))
	return twice(err, name)
}

func (w *workspace) packed(ctx context.Context, d ocispec.Descriptor, open func(int64) io.ReadCloser) (io.ReadCloser, error) {
	return w.part(ctx, d, open)
}

func (w *workspace) stream(ctx context.Context, name string, size int64, r io.Reader) (string, error) {
	if err := w.above(name); err != nil {
		return "", err
	}
	f, err := w.tree.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return "", twice(err, name)
	}
	defer f.Close()
	h := sha256.New()
	n, err := io.CopyBuffer(io.MultiWriter(f, h), &cancellable{ctx, r}, make([]byte, 256<<10))
	if err != nil {
		return "", err
	}
	if n != size {
		return "", fmt.Errorf("%w: %q has %d bytes, announced as %d", ErrArchive, name, n, size)
	}
	return hex.EncodeToString(h.Sum(nil)), f.Sync()
}

// above makes the folders of a file.
func (w *workspace) above(name string) error {
	dir := path.Dir(name)
	if dir == "." {
		return nil
	}
	if err := w.tree.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("%w: %q needs a folder where a file of the artifact is: %w", ErrArchive, name, err)
	}
	return nil
}

func twice(err error, name string) error {
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%w: %q comes twice", ErrArchive, name)
	}
	return err
}
