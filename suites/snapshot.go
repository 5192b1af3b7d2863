package suites

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"
)

// snapshot is a read-only file system in memory: the files of a suite as they
// were when it was loaded.
type snapshot map[string][]byte

func (s snapshot) Open(name string) (fs.File, error) {
	if !fs.ValidPath(name) {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrInvalid}
	}
	if b, ok := s[name]; ok {
		return &file{info{path.Base(name), int64(len(b)), 0o444}, bytes.NewReader(b)}, nil
	}
	if entries := s.list(name); entries != nil || name == "." {
		return &folder{info{path.Base(name), 0, fs.ModeDir | 0o555}, entries}, nil
	}
	return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
}

// list has what lies directly in a folder, by name.
func (s snapshot) list(dir string) []fs.DirEntry {
	prefix := dir + "/"
	if dir == "." {
		prefix = ""
	}
	seen := map[string]info{}
	for name, b := range s {
		rest, ok := strings.CutPrefix(name, prefix)
		if !ok {
			continue
		}
		if first, _, deeper := strings.Cut(rest, "/"); deeper {
			seen[first] = info{first, 0, fs.ModeDir | 0o555}
		} else {
			seen[first] = info{first, int64(len(b)), 0o444}
		}
	}
	var all []fs.DirEntry
	for _, i := range seen {
		all = append(all, fs.FileInfoToDirEntry(i))
	}
	slices.SortFunc(all, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return all
}

type info struct {
	name string
	size int64
	mode fs.FileMode
}

func (i info) Name() string       { return i.name }
func (i info) Size() int64        { return i.size }
func (i info) Mode() fs.FileMode  { return i.mode }
func (i info) ModTime() time.Time { return time.Time{} }
func (i info) IsDir() bool        { return i.mode.IsDir() }
func (i info) Sys() any           { return nil }

type file struct {
	info
	*bytes.Reader
}

func (f *file) Stat() (fs.FileInfo, error) { return f.info, nil }
func (f *file) Size() int64                { return f.info.size }
func (f *file) Close() error               { return nil }

type folder struct {
	info
	left []fs.DirEntry
}

func (f *folder) Stat() (fs.FileInfo, error) { return f.info, nil }
func (f *folder) Close() error               { return nil }
func (f *folder) Read([]byte) (int, error) {
	return 0, &fs.PathError{Op: "read", Path: f.name, Err: fs.ErrInvalid}
}

func (f *folder) ReadDir(n int) ([]fs.DirEntry, error) {
	if n <= 0 || n > len(f.left) {
		if n > 0 && len(f.left) == 0 {
			return nil, io.EOF
		}
		n = len(f.left)
	}
	out := f.left[:n]
	f.left = f.left[n:]
	return out, nil
}

// maxTotal bounds what one suite may hold in memory, bytes.
const maxTotal = 256 << 20

// recorder hands files of a folder out and keeps them.
type recorder struct {
	under fs.FS
	limit int64 // of one file
	kept  snapshot
	total int64
}

func (r *recorder) Open(name string) (fs.File, error) {
	if b, ok := r.kept[name]; ok {
		return snapshot{name: b}.Open(name)
	}
	f, err := r.under.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	bad := func(err error) error { return &fs.PathError{Op: "read", Path: name, Err: err} }
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() {
		return nil, bad(fmt.Errorf("not a regular file"))
	}
	b, err := io.ReadAll(io.LimitReader(f, r.limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(b)) > r.limit {
		return nil, bad(fmt.Errorf("more than %d bytes", r.limit))
	}
	if r.total += int64(len(b)); r.total > maxTotal {
		return nil, bad(fmt.Errorf("the suite's files have more than %d bytes together", int64(maxTotal)))
	}
	r.kept[name] = b
	return snapshot{name: b}.Open(name)
}
