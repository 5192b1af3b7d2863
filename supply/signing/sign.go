package signing

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"github.com/weighbridge/weighbridge/internal/durable"
	"github.com/weighbridge/weighbridge/supply/bundle"
	"github.com/weighbridge/weighbridge/supply/manifest"
)

// Signed is a folder that was signed.
type Signed struct {
	Dir      string
	Name     string
	Manifest *manifest.Manifest
	Bundle   []byte // the OMS signature, not yet written

	options Options
	signer  *bundle.Signer
}

// Sign hashes the folder and signs its manifest. Nothing is written; see
// [Signed.Write]. A folder that changes meanwhile is a manifest.FolderError.
func Sign(ctx context.Context, dir string, signer *bundle.Signer, o Options) (*Signed, error) {
	ignore, err := ignorePaths(dir, o)
	if err != nil {
		return nil, err
	}
	m, err := manifest.Dir(ctx, dir, manifest.Options{Ignore: ignore})
	if err != nil {
		return nil, err
	}
	name := o.Name
	if name == "" {
		abs, err := filepath.Abs(dir)
		if err != nil {
			return nil, err
		}
		name = filepath.Base(abs)
	}
	st, err := Statement(name, m, ignore)
	if err != nil {
		return nil, err
	}
	raw, err := signer.Sign(st)
	if err != nil {
		return nil, err
	}
	s := &Signed{Dir: dir, Name: name, Manifest: m, Bundle: raw, options: o, signer: signer}
	if err := m.Recheck(ctx, dir); err != nil {
		return nil, err
	}
	return s, nil
}

// ignorePaths are all paths that the signature says were left out: the usual
// ones, too, since other verifiers have no notion of our evidence files.
func ignorePaths(dir string, o Options) ([]string, error) {
	paths := slices.Concat(manifest.GitPaths, manifest.EvidenceFiles)
	if own := o.signatureName(dir); own != "" {
		paths = append(paths, own)
	}
	for _, p := range o.Ignore {
		clean, err := manifest.CleanIgnore(p)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", manifest.ErrFolder, err)
		}
		paths = append(paths, clean)
	}
	slices.Sort(paths)
	return slices.Compact(paths), nil
}

// Statement is the OMS statement over a manifest, with the ignore paths that it
// was made with.
func Statement(name string, m *manifest.Manifest, ignore []string) (bundle.Statement, error) {
	if m.Method != manifest.Files || m.Hash != manifest.SHA256 {
		return bundle.Statement{}, fmt.Errorf("a manifest by %s with %s; weighbridge signs files with sha256", m.Method, m.Hash)
	}
	rs := make([]resource, len(m.Resources))
	for i, r := range m.Resources {
		rs[i] = resource{Name: r.Name, Algorithm: string(m.Hash), Digest: hex.EncodeToString(r.Digest)}
	}
	body, err := json.Marshal(map[string]any{
		"serialization": map[string]any{
			"method": m.Method, "hash_type": m.Hash, "allow_symlinks": false, "ignore_paths": ignore,
		},
		"resources": rs,
	})
	if err != nil {
		return bundle.Statement{}, err
	}
	return bundle.Statement{
		Type:          bundle.StatementType,
		Subject:       []bundle.Subject{{Name: name, Digest: map[string]string{"sha256": m.Root()}}},
		PredicateType: bundle.PredicateOMS,
		Predicate:     body,
	}, nil
}

// Subject is the subject of every other statement of weighbridge about a model:
// its root and, since that does not bind the names of the files, its identity.
func Subject(name string, m *manifest.Manifest) (bundle.Subject, error) {
	id, ok := m.Identity()
	if !ok {
		return bundle.Subject{}, fmt.Errorf("a manifest by %s with %s has no identity", m.Method, m.Hash)
	}
	return bundle.Subject{Name: name, Digest: map[string]string{
		"sha256": m.Root(), bundle.IdentityDigest: strings.TrimPrefix(string(id), "sha256:"),
	}}, nil
}

// Path is where Write puts the signature.
func (s *Signed) Path() string {
	if s.options.SignatureFile != "" {
		return s.options.SignatureFile
	}
	return filepath.Join(s.Dir, manifest.SignatureFile)
}

// Write proves that the folder is still as it was signed, and then writes the
// signature, whole or not at all.
func (s *Signed) Write(ctx context.Context) error {
	if err := s.Manifest.Recheck(ctx, s.Dir); err != nil {
		return err
	}
	return durable.Write(s.Path(), 0o644, func(w io.Writer) error {
		_, err := w.Write(append(s.Bundle, '\n'))
		return err
	})
}
