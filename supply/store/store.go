package store

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

var (
	// ErrStore is a folder that cannot be used as a store. The message says why.
	ErrStore = errors.New("unusable store")
	// ErrCorrupt is a store whose content is not what its names say.
	ErrCorrupt = errors.New("corrupt store")
	// ErrUnknown is a model that the store does not hold.
	ErrUnknown = errors.New("no such model in the store")
	// ErrAmbiguous is a name that several models of the store answer to.
	ErrAmbiguous = errors.New("ambiguous model")
)

const (
	markerFile = "store.json"
	lockFile   = "lock"
	format     = "weighbridge-store/1"
)

// folders of a store, in the order of their making.
var folders = []string{"blobs", "blobs/sha256", "models", "quarantine", "refused", "folders", "aside", "tmp"}

type marker struct {
	Format string `json:"format"`
}

// Store is an open store. It is safe for concurrent use, and several processes
// may use one folder.
type Store struct {
	dir  string
	root *os.Root // nothing is reached around it, so no symlink leads out
}

// Create opens the store in dir, making it where dir is missing or empty.
// Errors: as Open.
func Create(dir string) (*Store, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the store: %w", err)
	}
	_, err := os.Lstat(filepath.Join(dir, markerFile))
	if !errors.Is(err, fs.ErrNotExist) {
		return Open(dir)
	}
	if err := trusted(dir); err != nil {
		return nil, err
	}
	s, err := attach(dir)
	if err != nil {
		return nil, err
	}
	if err := s.layout(); err != nil {
		s.Close()
		return nil, err
	}
	if err := s.Close(); err != nil {
		return nil, err
	}
	return Open(dir)
}

// layout makes the folders of a new store, its marker last. Two processes may
// do it at the same time.
func (s *Store) layout() error {
	there, err := fs.ReadDir(s.root.FS(), ".")
	if err != nil {
		return err
	}
	ours := map[string]bool{markerFile: true, lockFile: true}
	for _, f := range folders {
		ours[f] = true
	}
	for _, e := range there {
		if !ours[e.Name()] {
			return fmt.Errorf("%w: %s is not empty (%q lies in it) and no store; name an empty or a new folder", ErrStore, s.dir, e.Name())
		}
	}
	for _, f := range folders {
		if err := s.root.Mkdir(f, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("making the store: %w", err)
		}
	}
	b, err := json.Marshal(marker{format})
	if err != nil {
		return err
	}
	return s.writeFile(markerFile, append(b, '\n'))
}

// Open opens an existing store. Errors: ErrStore where dir is no store, holds
// symlinks in its structure, or can be written by others; those of the file system.
func Open(dir string) (*Store, error) {
	if err := trusted(dir); err != nil {
		return nil, err
	}
	s, err := attach(dir)
	if err != nil {
		return nil, err
	}
	if err := s.check(); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

func attach(dir string) (*Store, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(abs)
	if err != nil {
		return nil, fmt.Errorf("opening the store: %w", err)
	}
	return &Store{dir: abs, root: root}, nil
}

func (s *Store) check() error {
	b, err := s.readFile(markerFile, 4096)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: %s has no %s; `weighbridge ingest --store` makes one in an empty folder", ErrStore, s.dir, markerFile)
	}
	if err != nil {
		return err
	}
	var m marker
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&m); err != nil || m.Format != format {
		return fmt.Errorf("%w: %s in %s does not say %q; another version made it", ErrStore, markerFile, s.dir, format)
	}
	for _, f := range folders {
		if err := trusted(filepath.Join(s.dir, f)); err != nil {
			return err
		}
	}
	return nil
}

// trusted refuses what is not a folder of its owner alone.
func trusted(dir string) error {
	st, err := os.Lstat(dir)
	switch {
	case err != nil:
		return fmt.Errorf("opening the store: %w", err)
	case st.Mode()&fs.ModeSymlink != 0:
		return fmt.Errorf("%w: %s is a symlink; name the folder itself", ErrStore, dir)
	case !st.IsDir():
		return fmt.Errorf("%w: %s is no folder", ErrStore, dir)
	case st.Mode().Perm()&0o022 != 0:
		return fmt.Errorf("%w: others may write to %s (mode %04o); chmod go-w it", ErrStore, dir, st.Mode().Perm())
	}
	if sys, ok := st.Sys().(*syscall.Stat_t); ok && int(sys.Uid) != os.Geteuid() && sys.Uid != 0 {
		return fmt.Errorf("%w: %s belongs to user %d, who could change what is in it", ErrStore, dir, sys.Uid)
	}
	return nil
}

// Dir is the store's folder, absolute.
func (s *Store) Dir() string { return s.dir }

// Close ends the use of the store. Intakes and entries of it are void then.
func (s *Store) Close() error { return s.root.Close() }
