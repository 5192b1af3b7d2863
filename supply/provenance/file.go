package provenance

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/weighbridge/weighbridge/supply/bundle"
	"github.com/weighbridge/weighbridge/supply/manifest"
)

// Found is the provenance that lies in a model's folder.
type Found struct {
	Statement bundle.Statement
	Signed    bool   // from claims.jsonl; nobody verified the signature
	File      string // name of the file in the folder
}

// Open reads the provenance in a model's folder: the draft where there is one,
// else the last claim of that kind. Errors: fs.ErrNotExist where there is
// neither; ErrFormat.
func Open(dir string) (*Found, error) {
	raw, err := readBounded(dir, manifest.ProvenanceFile, maxDocument)
	if err == nil {
		st, err := ParseStatement(raw)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", filepath.Join(dir, manifest.ProvenanceFile), err)
		}
		return &Found{Statement: st, File: manifest.ProvenanceFile}, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	path := filepath.Join(dir, manifest.ClaimsFile)
	if fi, lerr := os.Lstat(path); lerr == nil && !fi.Mode().IsRegular() {
		return nil, badFormat("%s is no regular file", manifest.ClaimsFile) // a pipe would keep us waiting
	}
	// Lines that cannot be used are for package trust to complain of.
	claims, cerr := bundle.ReadClaims(path, bundle.StatementTypeV01)
	if cerr != nil && !errors.Is(cerr, bundle.ErrFormat) {
		return nil, cerr
	}
	var last *Found
	for _, b := range claims {
		if t := b.Statement.PredicateType; t == bundle.PredicateProvenance || t == PredicateV02 {
			last = &Found{Statement: b.Statement, Signed: true, File: manifest.ClaimsFile}
		}
	}
	if last == nil {
		return nil, err
	}
	return last, nil
}

// readBounded reads a file of a folder that may be hostile: it follows no link
// and does not wait for pipes.
func readBounded(dir, name string, limit int64) ([]byte, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	if fi, err := root.Lstat(name); err != nil {
		return nil, err
	} else if !fi.Mode().IsRegular() {
		return nil, badFormat("%s is no regular file", name)
	}
	f, err := root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if fi, err := f.Stat(); err != nil {
		return nil, err
	} else if !fi.Mode().IsRegular() {
		return nil, badFormat("%s is no regular file", name)
	}
	raw, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", filepath.Join(dir, name), err)
	}
	if int64(len(raw)) > limit {
		return nil, badFormat("%s has more than %d bytes", name, limit)
	}
	return raw, nil
}

// ParseStatement reads an in-toto statement under the bounds of this package.
// Errors wrap ErrFormat.
func ParseStatement(raw []byte) (bundle.Statement, error) {
	v, err := decode(raw)
	if err != nil {
		return bundle.Statement{}, err
	}
	o, ok := v.(map[string]any)
	if !ok {
		return bundle.Statement{}, badFormat("it is %s, wanted an object", kindOf(v))
	}
	var r reader
	st := bundle.Statement{Type: r.text(o, "", "_type"), PredicateType: r.text(o, "", "predicateType")}
	for i, v := range r.array(o, "", "subject", maxSubjects) {
		at := fmt.Sprintf("/subject/%d", i)
		s, ok := v.(map[string]any)
		if !ok {
			r.fail(at, "%s, wanted an object", kindOf(v))
			break
		}
		st.Subject = append(st.Subject, bundle.Subject{Name: r.text(s, at, "name"), URI: r.text(s, at, "uri"), Digest: r.digests(s, at)})
	}
	if p := o["predicate"]; p != nil {
		if st.Predicate, err = json.Marshal(p); err != nil {
			return st, badFormat("/predicate: %w", err)
		}
	}
	return st, r.err
}

// about reports whether a subject of the statement is one of the digests.
func about(st bundle.Statement, own map[string]bool) bool {
	for _, s := range st.Subject {
		if own[s.Digest["sha256"]] && s.Digest["sha256"] != "" {
			return true
		}
	}
	return false
}
