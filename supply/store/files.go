package store

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"time"

	"golang.org/x/sys/unix"
)

// open opens a regular file of the store and no symlink. Others put new files in
// the place of old ones at any time, so it looks again where that happened.
func (s *Store) open(name string) (f *os.File, info fs.FileInfo, err error) {
	for range 5 {
		if f, info, err = s.openOnce(name); !errors.Is(err, errExchanged) {
			return f, info, err
		}
	}
	return nil, nil, err
}

var errExchanged = errors.New("exchanged while it was opened")

func (s *Store) openOnce(name string) (*os.File, fs.FileInfo, error) {
	before, err := s.root.Lstat(name)
	if err != nil {
		return nil, nil, err
	}
	if !before.Mode().IsRegular() {
		return nil, nil, fmt.Errorf("%w: %s is a %s, not a file", ErrCorrupt, name, before.Mode().Type())
	}
	// Not to wait for ever on what became a pipe meanwhile.
	f, err := s.root.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, err
	}
	after, err := f.Stat()
	if err == nil && !os.SameFile(before, after) {
		err = fmt.Errorf("%w: %s: %w", ErrCorrupt, name, errExchanged)
	}
	if err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	return f, after, nil
}

func (s *Store) readFile(name string, limit int64) ([]byte, error) {
	f, _, err := s.open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = fmt.Errorf("%w: %s is larger than %d bytes", ErrCorrupt, name, limit)
	}
	return b, err
}

// writeFile puts b at name, whole or not at all.
func (s *Store) writeFile(name string, b []byte) (err error) {
	tmp := tempName()
	f, err := s.root.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o444)
	if err != nil {
		return fmt.Errorf("writing %s: %w", name, err)
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = s.root.Rename(tmp, name)
	}
	if err != nil {
		return fmt.Errorf("writing %s: %w", name, errors.Join(err, ignoreMissing(s.root.Remove(tmp))))
	}
	return s.syncDir(path.Dir(name))
}

func (s *Store) syncDir(name string) error {
	d, err := s.root.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// mkdir makes a folder that lasts, and the folders above it.
func (s *Store) mkdir(name string) error {
	if st, err := s.root.Lstat(name); err == nil {
		if !st.IsDir() {
			return fmt.Errorf("%w: %s is a %s, not a folder", ErrCorrupt, name, st.Mode().Type())
		}
		return nil
	}
	if parent := path.Dir(name); parent != "." {
		if err := s.mkdir(parent); err != nil {
			return err
		}
	}
	if err := s.root.Mkdir(name, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return s.syncDir(path.Dir(name))
}

// lock takes the lock file name, exclusive or shared, and waits for it until ctx
// ends. Closing the file, also by dying, releases it.
func (s *Store) lock(ctx context.Context, name string, how int) (*os.File, error) {
	f, err := s.root.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("locking the store: %w", err)
	}
	for {
		err := unix.Flock(int(f.Fd()), how|unix.LOCK_NB)
		if err == nil {
			return f, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			return nil, errors.Join(fmt.Errorf("locking %s: %w", name, err), f.Close())
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(fmt.Errorf("waiting for the lock %s: %w", name, ctx.Err()), f.Close())
		case <-time.After(lockPause):
		}
	}
}

// Locks are held for milliseconds.
const lockPause = 5 * time.Millisecond

// removeTree removes a folder that may be read-only.
func (s *Store) removeTree(name string) error {
	err := fs.WalkDir(s.root.FS(), name, func(p string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			err = s.root.Chmod(p, 0o700)
		}
		return err
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return errors.Join(err, s.root.RemoveAll(name))
}

func tempName() string { return "tmp/" + randomHex() }

func randomHex() string {
	var b [12]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// kindOf names what st is, for people.
func kindOf(st fs.FileInfo) string {
	switch m := st.Mode(); {
	case m.IsRegular():
		return "file"
	case m&fs.ModeSymlink != 0:
		return "symlink"
	case m.IsDir():
		return "folder"
	}
	return "special file"
}
