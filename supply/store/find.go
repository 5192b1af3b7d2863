package store

import (
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Entry is an admitted model. Its blobs never change.
type Entry struct {
	*Record
	Version int // of the record, from 1

	store *Store
}

// minPrefix is the least number of digits that a model is looked up by.
const minPrefix = 8

var versionForm = regexp.MustCompile(`^([0-9]{6})\.json$`)

func versionName(dir string, n int) string { return fmt.Sprintf("%s/%06d.json", dir, n) }

// newest reads the newest record in a model's folder; fs.ErrNotExist when it
// has none.
func (s *Store) newest(dir string) (*Entry, error) {
	vs, err := s.versions(dir)
	if err != nil {
		return nil, err
	}
	if len(vs) == 0 {
		return nil, fs.ErrNotExist
	}
	return s.read(dir, vs[len(vs)-1])
}

func (s *Store) versions(dir string) ([]int, error) {
	es, err := fs.ReadDir(s.root.FS(), dir)
	if err != nil {
		return nil, err
	}
	var vs []int
	for _, e := range es {
		if m := versionForm.FindStringSubmatch(e.Name()); m != nil {
			n, err := strconv.Atoi(m[1])
			if err != nil {
				return nil, err
			}
			vs = append(vs, n)
		}
	}
	slices.Sort(vs)
	return vs, nil
}

func (s *Store) read(dir string, version int) (*Entry, error) {
	name := versionName(dir, version)
	b, err := s.readFile(name, maxRecord)
	if err != nil {
		return nil, err
	}
	r, err := parseRecord(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if r.dir() != dir {
		return nil, fmt.Errorf("%s: %w: it is the record of %s", name, ErrCorrupt, r.dir())
	}
	return &Entry{Record: r, Version: version, store: s}, nil
}

// modelDirs lists the folders of models, sorted.
func (s *Store) modelDirs() ([]string, error) {
	dirs, err := fs.Glob(s.root.FS(), "models/*/*")
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(dirs, func(d string) bool {
		return !digestOK(path.Base(d)) || !digestOK(path.Base(path.Dir(d)))
	}), nil
}

// Entries gives the newest record of every admitted model, by root. A record
// that cannot be read is an error in its place, and the others follow.
func (s *Store) Entries() iter.Seq2[*Entry, error] {
	return func(yield func(*Entry, error) bool) {
		dirs, err := s.modelDirs()
		if err != nil {
			yield(nil, err)
			return
		}
		for _, d := range dirs {
			e, err := s.newest(d)
			if errors.Is(err, fs.ErrNotExist) {
				continue // made by an admission that did not get to its record
			}
			if !yield(e, err) {
				return
			}
		}
	}
}

// Find looks a model up by its OMS root in either order, by its identity, or by
// the first digits of one of them, at least eight; "sha256:" may stand before
// it. Errors: ErrAmbiguous where several models answer; ErrCorrupt.
func (s *Store) Find(key string) (*Entry, bool, error) {
	key = strings.ToLower(strings.TrimPrefix(key, "sha256:"))
	if len(key) < minPrefix || strings.Trim(key, "0123456789abcdef") != "" {
		return nil, false, nil
	}
	var found []*Entry
	for e, err := range s.Entries() {
		if err != nil {
			return nil, false, err
		}
		if e.Answers(key) {
			found = append(found, e)
		}
	}
	switch len(found) {
	case 0:
		return nil, false, nil
	case 1:
		return found[0], true, nil
	}
	var ids []string
	for _, e := range found {
		ids = append(ids, e.Identity)
	}
	return nil, false, fmt.Errorf("%w: %d models answer to %s; name one of their identities: %s", ErrAmbiguous, len(found), key, strings.Join(ids, ", "))
}

// Answers says whether key, in hex, begins a name of the model.
func (r *Record) Answers(key string) bool {
	for _, name := range []string{r.Root, r.PythonRoot, strings.TrimPrefix(r.Identity, "sha256:")} {
		if strings.HasPrefix(name, key) {
			return true
		}
	}
	return false
}

// Get is Find for a caller that needs the model. Errors: as Find; ErrUnknown.
func (s *Store) Get(key string) (*Entry, error) {
	e, ok, err := s.Find(key)
	if err == nil && !ok {
		err = fmt.Errorf("%w: %q; `weighbridge store list` shows what there is", ErrUnknown, key)
	}
	return e, err
}

// Made lists the models that were converted from e.
func (e *Entry) Made() ([]*Entry, error) {
	var made []*Entry
	for m, err := range e.store.Entries() {
		if err != nil {
			return nil, err
		}
		if m.Conversion != nil && m.Conversion.Identity == e.Identity {
			made = append(made, m)
		}
	}
	return made, nil
}
