package measure

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sync/singleflight"

	"github.com/weighbridge/weighbridge/internal/durable"
)

// Key is the content address of a measurement.
type Key [sha256.Size]byte

// KeyOf addresses the answer to one request. Every part goes in with its
// length, so that no two different lists of parts share a key.
func KeyOf(parts ...string) Key {
	h := sha256.New()
	fmt.Fprintf(h, "weighbridge measurement 1\n%d\n", len(parts))
	for _, p := range parts {
		fmt.Fprintf(h, "%d\n", len(p))
		io.WriteString(h, p)
	}
	return Key(h.Sum(nil))
}

// Store keeps measurements in a folder, one file each, named by key. Several
// processes may use one folder at once, on any file system whose rename within
// a folder is atomic: an entry appears whole or not at all, and two writers of
// one key write the same bytes.
type Store struct {
	dir    string
	flight singleflight.Group // one measurement of a key at a time
}

// maxEntry bounds what is read back: larger than any answer the wire lets in.
const maxEntry = 1 << 30

// magic starts every entry; the SHA-256 of the rest follows it.
const magic = "weighbridge/m1\n"

// OpenStore makes the folder where needed and checks that it can be written.
func OpenStore(dir string) (*Store, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("measurement store %s cannot be made: %w", dir, err)
	}
	f, err := os.CreateTemp(dir, ".probe-*")
	if err != nil {
		return nil, fmt.Errorf("measurement store %s cannot be written (choose another with --store): %w", dir, err)
	}
	return &Store{dir: dir}, errors.Join(f.Close(), os.Remove(f.Name()))
}

// File is the path of a file that follows from k alone, which fill makes where
// it is not there yet. Two who make one at once both write the same bytes.
func (s *Store) File(k Key, fill func(io.Writer) error) (string, error) {
	path := s.path(k) + ".file"
	switch _, err := os.Stat(path); {
	case err == nil:
		return path, nil
	case !errors.Is(err, fs.ErrNotExist):
		return "", fmt.Errorf("measurement store: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return "", fmt.Errorf("measurement store: %w", err)
	}
	return path, durable.Write(path, 0o644, fill)
}

func (s *Store) path(k Key) string {
	x := hex.EncodeToString(k[:])
	return filepath.Join(s.dir, x[:2], x[2:])
}

// Get returns the entry of k. An entry that is damaged counts as absent: it is
// measured again and replaced.
func (s *Store) Get(k Key) (value []byte, ok bool, err error) {
	f, err := os.Open(s.path(k))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, fmt.Errorf("reading a measurement: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxEntry+1))
	if err != nil {
		return nil, false, fmt.Errorf("reading measurement %s: %w", f.Name(), err)
	}
	head := len(magic) + sha256.Size
	if len(b) > maxEntry || len(b) < head || string(b[:len(magic)]) != magic {
		return nil, false, nil
	}
	sum := sha256.Sum256(b[head:])
	if !bytes.Equal(sum[:], b[len(magic):head]) {
		return nil, false, nil
	}
	return b[head:], true, nil
}

// Put writes the entry of k durably.
func (s *Store) Put(k Key, value []byte) error {
	path := s.path(k)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("remembering a measurement: %w", err)
	}
	err := durable.Write(path, 0o644, func(w io.Writer) error {
		sum := sha256.Sum256(value)
		io.WriteString(w, magic)
		w.Write(sum[:])
		_, err := w.Write(value) // the buffered writer keeps an earlier error
		return err
	})
	if err != nil {
		return fmt.Errorf("remembering a measurement: %w", err)
	}
	return nil
}

// Remember gives accept the entry of k, measuring it first where there is none
// that accept takes. fresh says that it was measured for this call. Calls for
// one key wait for each other, so that the two sides of a pair with the same
// weights do not both measure.
func (s *Store) Remember(k Key, accept func([]byte) bool, measure func() ([]byte, error)) (fresh bool, err error) {
	if b, ok, err := s.Get(k); err != nil || ok && accept(b) {
		return false, err
	}
	v, err, _ := s.flight.Do(string(k[:]), func() (any, error) {
		if b, ok, err := s.Get(k); err != nil || ok && accept(b) {
			return b, err
		}
		fresh = true
		b, err := measure()
		if err != nil {
			return nil, err
		}
		return b, s.Put(k, b)
	})
	if err != nil {
		return false, err
	}
	if b := v.([]byte); !accept(b) {
		return false, fmt.Errorf("measurement %x is not what it should be", k)
	}
	return fresh, nil
}
