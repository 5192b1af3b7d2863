package signing

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/weighbridge/weighbridge/supply/bundle"
	"github.com/weighbridge/weighbridge/supply/manifest"
)

// ErrDraft is a draft beside the weights that cannot be signed.
var ErrDraft = errors.New("not a draft that can be signed")

// MaxDraft bounds a BOM or a provenance statement, in bytes.
const MaxDraft = 32 << 20

// Draft is an unsigned document beside the weights.
type Draft struct {
	File      string // base name, one of manifest.EvidenceFiles
	Statement bundle.Statement
}

// Drafts reads bom.json and provenance.json, where they exist, and makes the
// statements that sign them: about this model, by root and identity. A
// provenance draft that is about another model is an ErrDraft.
func Drafts(dir, name string, m *manifest.Manifest) ([]Draft, error) {
	subject, err := Subject(name, m)
	if err != nil {
		return nil, err
	}
	var drafts []Draft
	for _, d := range []struct{ file, predicateType string }{
		{manifest.BOMFile, bundle.PredicateCycloneDX}, {manifest.ProvenanceFile, bundle.PredicateProvenance},
	} {
		path := filepath.Join(dir, d.file)
		src, err := readDraft(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		bad := func(format string, args ...any) ([]Draft, error) {
			return nil, fmt.Errorf("%s: %w: %w", path, ErrDraft, fmt.Errorf(format, args...))
		}
		if err := bundle.Strict(src); err != nil {
			return bad("%w", err)
		}
		body := json.RawMessage(src)
		if d.predicateType == bundle.PredicateProvenance {
			st, err := bundle.ParseStatement(src)
			if err != nil {
				return bad("%w", err)
			}
			if st.PredicateType != d.predicateType {
				return bad("predicateType is %.200q, wanted %q", st.PredicateType, d.predicateType)
			}
			for i, s := range st.Subject {
				for key, want := range subject.Digest {
					if got, ok := s.Digest[key]; ok && got != want && (key != "sha256" || got != m.PythonRoot()) {
						return bad("subject[%d].digest.%s is %.200q, and this folder has %s: the files changed after the draft was made; make it again", i, key, got, want)
					}
				}
			}
			body = st.Predicate
		}
		if !bytes.HasPrefix(bytes.TrimSpace(body), []byte("{")) {
			return bad("it holds no JSON object to sign")
		}
		drafts = append(drafts, Draft{File: d.file, Statement: bundle.Statement{
			Type: bundle.StatementType, Subject: []bundle.Subject{subject}, PredicateType: d.predicateType, Predicate: body,
		}})
	}
	return drafts, nil
}

// SignDrafts signs the drafts and appends them to the claims file. A claim that
// the same signer has made already, byte for byte, is not made again. It gives
// the files that were newly signed.
func (s *Signed) SignDrafts(drafts []Draft) (made []string, err error) {
	path := filepath.Join(s.Dir, manifest.ClaimsFile)
	old, err := bundle.ReadClaims(path, bundle.StatementTypeV01)
	if err != nil {
		return nil, err
	}
	for _, d := range drafts {
		raw, err := s.signer.Sign(d.Statement)
		if err != nil {
			return made, fmt.Errorf("%s: %w", filepath.Join(s.Dir, d.File), err)
		}
		b, err := bundle.Parse(raw)
		if err != nil {
			return made, err
		}
		if s.made(old, b) {
			continue
		}
		if err := bundle.AppendClaim(path, raw); err != nil {
			return made, err
		}
		made = append(made, d.File)
	}
	return made, nil
}

// made finds the newest claim of the kind and says whether it is this one.
func (s *Signed) made(old []*bundle.Bundle, b *bundle.Bundle) bool {
	for i := len(old) - 1; i >= 0; i-- {
		if old[i].Statement.PredicateType == b.Statement.PredicateType {
			return bytes.Equal(old[i].Payload, b.Payload) && old[i].Kind == b.Kind && s.signer.Made(old[i])
		}
	}
	return false
}

func readDraft(path string) ([]byte, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: %w: not a regular file", path, ErrDraft)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	src, err := io.ReadAll(io.LimitReader(f, MaxDraft+1))
	if err == nil && len(src) > MaxDraft {
		err = fmt.Errorf("%s: %w: more than %d bytes", path, ErrDraft, MaxDraft)
	}
	return src, err
}
