package probes

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/weighbridge/weighbridge/internal/jsonl"
)

// ErrDocuments is a set of documents that cannot be used. The message names the
// file and, where there is one, the line.
var ErrDocuments = errors.New("unusable documents")

// Bounds of a set of documents.
const (
	maxDocument      = 1 << 20  // bytes of one
	maxDocuments     = 10_000   // of a set
	maxDocumentBytes = 64 << 20 // of all of them
)

// The two sets that a document may be of.
const (
	memberSet  = "member"
	heldOutSet = "held-out"
)

// OpenDocuments reads the documents of a user: JSON lines (see [ReadDocuments])
// or a folder of plain text, one document a file. In a folder, what lies below
// a folder called held-out was held out, and files and folders whose names
// begin with a dot are passed over. The digest is over names, sets and texts,
// so both forms of the same documents have the same. Errors wrap ErrDocuments.
func OpenDocuments(name string) (ds []Document, digest string, err error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, "", fmt.Errorf("%w: %w", ErrDocuments, err)
	}
	if info.IsDir() {
		ds, err = readFolder(name)
	} else {
		var f *os.File
		if f, err = os.Open(name); err != nil {
			return nil, "", fmt.Errorf("%w: %w", ErrDocuments, err)
		}
		defer f.Close()
		ds, err = ReadDocuments(name, f)
	}
	if err != nil {
		return nil, "", err
	}
	return ds, digestOf(ds), nil
}

// ReadDocuments reads one JSON object a line: `id`, `text` and, optionally,
// `set`: "member" (the default), or "held-out" for a document of the same kind
// that cannot have been trained on. They come back by ID. name appears in
// errors.
func ReadDocuments(name string, r io.Reader) ([]Document, error) {
	s := newDocuments(name)
	type line struct {
		ID   string `json:"id"`
		Text string `json:"text"`
		Set  string `json:"set"`
	}
	// Escapes make a line longer than its text.
	err := jsonl.Each(r, 2*maxDocument, func(at int, row *line) error {
		s.line = at
		if row.Set != "" && row.Set != memberSet && row.Set != heldOutSet {
			return s.bad("document %q: set is %q; want %s or %s", row.ID, row.Set, memberSet, heldOutSet)
		}
		return s.add(Document{ID: row.ID, Text: row.Text, HeldOut: row.Set == heldOutSet})
	})
	if e := (*jsonl.Error)(nil); errors.As(err, &e) {
		s.line = e.Line
		err = s.bad("%w", e.Err)
	}
	if err != nil {
		return nil, err
	}
	return s.done()
}

// readFolder reads every file below a folder. Links are not followed out of it.
func readFolder(name string) ([]Document, error) {
	root, err := os.OpenRoot(name)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDocuments, err)
	}
	defer root.Close()
	s := newDocuments(name)
	err = fs.WalkDir(root.FS(), ".", func(p string, d fs.DirEntry, err error) error {
		s.file = filepath.Join(name, p)
		switch {
		case err != nil:
			return s.bad("%w", err)
		case p != "." && strings.HasPrefix(path.Base(p), "."):
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		case d.IsDir():
			return nil
		}
		f, err := root.Open(p)
		if err != nil {
			return s.bad("%w", err)
		}
		defer f.Close()
		if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
			return s.bad("is no regular file; give files of plain text")
		}
		text, err := io.ReadAll(io.LimitReader(f, maxDocument+1))
		if err != nil {
			return s.bad("%w", err)
		}
		if !utf8.Valid(text) {
			return s.bad("is not UTF-8; give files of plain text")
		}
		return s.add(Document{ID: p, Text: string(text), HeldOut: slices.Contains(strings.Split(path.Dir(p), "/"), heldOutSet)})
	})
	if err != nil {
		return nil, err
	}
	s.file = name
	return s.done()
}

// documents is a set that is being read.
type documents struct {
	file  string
	line  int // 0 for a folder
	all   []Document
	lines map[string]int
	bytes int
}

func newDocuments(file string) *documents { return &documents{file: file, lines: map[string]int{}} }

func (s *documents) bad(format string, args ...any) error {
	place := s.file
	if s.line > 0 {
		place = fmt.Sprintf("%s:%d", s.file, s.line)
	}
	return fmt.Errorf("%w: %s: %w", ErrDocuments, place, fmt.Errorf(format, args...))
}

func (s *documents) add(d Document) error {
	at, dup := s.lines[d.ID]
	switch {
	case d.ID == "":
		return s.bad("`id` is empty")
	case strings.TrimSpace(d.Text) == "":
		return s.bad("document %q has no text", d.ID)
	case len(d.Text) > maxDocument:
		return s.bad("document %q is larger than %d bytes; split it", d.ID, maxDocument)
	case dup:
		return s.bad("document %q stands already on line %d", d.ID, at)
	case len(s.all) == maxDocuments:
		return s.bad("more than %d documents; give a sample of them", maxDocuments)
	case s.bytes+len(d.Text) > maxDocumentBytes:
		return s.bad("the documents are larger than %d bytes; give a sample of them", maxDocumentBytes)
	}
	s.lines[d.ID] = s.line
	s.bytes += len(d.Text)
	s.all = append(s.all, d)
	return nil
}

func (s *documents) done() ([]Document, error) {
	if len(s.all) == 0 {
		return nil, fmt.Errorf("%w: %s holds no document", ErrDocuments, s.file)
	}
	slices.SortFunc(s.all, func(a, b Document) int { return cmp.Compare(a.ID, b.ID) })
	return s.all, nil
}

// digestOf is SHA-256 over the documents, each part with its length.
func digestOf(ds []Document) string {
	h := sha256.New()
	for _, d := range ds {
		set := memberSet
		if d.HeldOut {
			set = heldOutSet
		}
		fmt.Fprintf(h, "%d %s %s %d %s\n", len(d.ID), d.ID, set, len(d.Text), d.Text)
	}
	return "sha256:" + hex.EncodeToString(h.Sum(nil))
}
