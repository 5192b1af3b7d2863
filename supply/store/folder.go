package store

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Dir lays the model and its evidence out as a read-only folder inside the
// store and gives its path. The folder stays as long as the record does.
func (e *Entry) Dir(ctx context.Context) (string, error) {
	name := e.folder()
	path := filepath.Join(e.store.dir, filepath.FromSlash(name))
	if st, err := e.store.root.Lstat(name); err == nil {
		if !st.IsDir() {
			return "", fmt.Errorf("%w: %s is a %s", ErrCorrupt, name, st.Mode().Type())
		}
		return path, nil
	}
	err := e.Materialise(ctx, path)
	if errors.Is(err, fs.ErrExist) {
		return path, nil // another process was quicker
	}
	return path, err
}

func (e *Entry) folder() string {
	return fmt.Sprintf("folders/%s-%06d", strings.TrimPrefix(e.Identity, "sha256:"), e.Version)
}

// Materialise lays the model and its evidence out as the read-only folder dir,
// which must not exist: shared with the store where the file system can
// (reflinks, else hard links), else copied. It is there as a whole or not at all.
func (e *Entry) Materialise(ctx context.Context, dir string) (err error) {
	if _, err := os.Lstat(dir); err == nil {
		return fmt.Errorf("laying out the model: %s: %w", dir, fs.ErrExist)
	}
	tmp, err := os.MkdirTemp(filepath.Dir(dir), ".new-*")
	if err != nil {
		return fmt.Errorf("laying out the model: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("laying out the model: %w", err), removeAll(tmp))
		}
	}()
	for _, f := range slices.Concat(e.Files, e.Evidence) {
		if err := ctx.Err(); err != nil {
			return err
		}
		to := filepath.Join(tmp, filepath.FromSlash(f.Name))
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			return err
		}
		if err := e.store.layOut(ctx, f, to); err != nil {
			return fmt.Errorf("%q: %w", f.Name, err)
		}
	}
	// The top comes last: moving a folder takes the right to write to it.
	err = filepath.WalkDir(tmp, func(p string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && p != tmp {
			err = os.Chmod(p, 0o555)
		}
		return err
	})
	if err != nil {
		return err
	}
	if err := os.Chmod(tmp, 0o755); err != nil {
		return err
	}
	if err := unix.Renameat2(unix.AT_FDCWD, tmp, unix.AT_FDCWD, dir, unix.RENAME_NOREPLACE); err != nil {
		return &os.LinkError{Op: "rename", Old: tmp, New: dir, Err: err}
	}
	return os.Chmod(dir, 0o555)
}

// layOut makes the blob of f appear at the path to.
func (s *Store) layOut(ctx context.Context, f Stored, to string) error {
	src, n, err := s.OpenBlob(f.SHA256)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	if err != nil {
		return err
	}
	defer src.Close()
	if n != f.Bytes {
		return fmt.Errorf("%w: blob %s has %d bytes and not %d; `weighbridge store fsck` says more", ErrCorrupt, f.SHA256, n, f.Bytes)
	}
	dst, err := os.OpenFile(to, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o444)
	if err != nil {
		return err
	}
	if err := unix.IoctlFileClone(int(dst.Fd()), int(src.Fd())); err == nil {
		return dst.Close()
	}
	if err := errors.Join(dst.Close(), os.Remove(to)); err != nil {
		return err
	}
	if os.Link(s.BlobPath(f.SHA256), to) == nil {
		return nil
	}
	if dst, err = os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o444); err != nil {
		return err
	}
	h := sha256.New()
	_, err = stream(ctx, dst, h, src, f.Bytes)
	if got := hex.EncodeToString(h.Sum(nil)); err == nil && got != f.SHA256 {
		err = fmt.Errorf("%w: blob %s holds other bytes; `weighbridge store fsck --repair` moves it aside", ErrCorrupt, f.SHA256)
	}
	return errors.Join(err, dst.Close())
}

// removeAll removes a folder that may be read-only.
func removeAll(dir string) error {
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			err = os.Chmod(p, 0o700)
		}
		return err
	})
	return errors.Join(ignoreMissing(err), os.RemoveAll(dir))
}
