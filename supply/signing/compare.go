package signing

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/weighbridge/weighbridge/record"
	"github.com/weighbridge/weighbridge/supply/manifest"
)

// The rules of Compare's problems, besides those of manifest.FolderError.
const (
	RuleMissing  = "file-missing"  // signed and not there
	RuleChanged  = "file-changed"  // there with other content
	RuleUnsigned = "file-unsigned" // there and not signed
)

// Options say how a folder is signed or compared. The zero value is right for
// both.
type Options struct {
	// SignatureFile is where the signature lies or will lie, inside the folder
	// or not; "" means manifest.SignatureFile in the folder.
	SignatureFile string

	// Ignore are paths that Sign leaves out beyond the usual ones. They are
	// part of the signature, for everyone to see.
	Ignore []string
	// Name is what Sign calls the model; "" means the folder's base name.
	Name string

	// IgnoreUnsigned makes Compare look at the signed files only.
	IgnoreUnsigned bool
	// Extra are paths that Compare leaves out although the signature does not
	// say so. It exists for the conformance verb; a gate must not set it.
	Extra []string
	// Manifest, if not nil, is the folder as manifest.Dir reads it with no
	// options. Compare takes its digests where it can, rather than read again.
	Manifest *manifest.Manifest
}

// signatureName is the name of the signature's file relative to dir, or "".
func (o Options) signatureName(dir string) string {
	if o.SignatureFile == "" {
		return manifest.SignatureFile
	}
	rel, err := relative(dir, o.SignatureFile)
	if err != nil || !filepath.IsLocal(rel) {
		return ""
	}
	return filepath.ToSlash(rel)
}

func relative(dir, file string) (string, error) {
	d, err := resolved(dir)
	if err != nil {
		return "", err
	}
	parent, err := resolved(filepath.Dir(file))
	if err != nil {
		return "", err
	}
	return filepath.Rel(d, filepath.Join(parent, filepath.Base(file)))
}

func resolved(path string) (string, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	return filepath.EvalSymlinks(abs)
}

// Compare reads the folder, or single file, as the signature says and lists
// every difference, by name. No problems means that the folder holds exactly
// what was signed.
//
// It gives the manifest of what was compared, in the signature's own method
// and hash; nil where the folder cannot be one, which is then among the
// problems. Files that the signature ignores are not in it. Errors are those of
// the file system, and ctx's own.
func Compare(ctx context.Context, dir string, s *Signature, o Options) (*manifest.Manifest, []record.Problem, error) {
	m, err := s.read(ctx, dir, o)
	if folder := (*manifest.FolderError)(nil); errors.As(err, &folder) {
		return nil, folder.Problems, nil
	}
	if err != nil {
		return nil, nil, err
	}
	want := make(map[string]manifest.Resource, len(s.Resources))
	for _, r := range s.Resources {
		want[r.Name] = r
	}
	if s.Single() && len(m.Resources) == 1 {
		want = map[string]manifest.Resource{m.Resources[0].Name: s.Resources[0]}
	}
	var problems []record.Problem
	add := func(rule, name, format string, args ...any) {
		problems = append(problems, record.Problem{Rule: rule, Subject: name, Detail: fmt.Sprintf(format, args...)})
	}
	have := make(map[string]bool, len(m.Resources))
	for _, r := range m.Resources {
		have[r.Name] = true
		w, signed := want[r.Name]
		switch {
		case !signed && (!o.IgnoreUnsigned || m.Method == manifest.Shards): // a signed file's further shard is not an unsigned file
			add(RuleUnsigned, r.Name, "it is not in the signature; remove it, or have the folder signed again")
		case signed && !bytes.Equal(w.Digest, r.Digest):
			add(RuleChanged, r.Name, "its %s is %x, and %x was signed", m.Hash, r.Digest, w.Digest)
		}
	}
	for name := range want {
		if !have[name] {
			add(RuleMissing, name, "it was signed and is not there")
		}
	}
	slices.SortFunc(problems, func(a, b record.Problem) int {
		return strings.Compare(a.Subject+"\x00"+a.Rule, b.Subject+"\x00"+b.Rule)
	})
	return m, problems, nil
}

// read enumerates the folder as the signer did.
func (s *Signature) read(ctx context.Context, dir string, o Options) (*manifest.Manifest, error) {
	info, err := os.Stat(dir)
	if err != nil {
		return nil, err
	}
	mo := manifest.Options{
		Method: s.Serialization.Method, Hash: s.Serialization.Hash, ShardSize: s.Serialization.ShardSize, AllowSymlinks: s.Serialization.AllowSymlinks,
	}
	if !info.IsDir() {
		return manifest.File(ctx, dir, mo)
	}
	mo.Ignore = slices.Concat(s.IgnorePaths, o.Extra)
	own := o.signatureName(dir)
	if own != "" {
		mo.Ignore = append(mo.Ignore, own)
	}
	// Whoever signed a file that lies where we keep evidence meant a part of
	// the model. It has to be compared, and so has what lies in git's folders.
	signed := make([]string, 0, len(s.Resources))
	for _, r := range s.Resources {
		name := s.Serialization.Method.FileOf(r.Name)
		signed = append(signed, name)
		if top, _, _ := strings.Cut(name, "/"); top != own && (slices.Contains(manifest.GitPaths, top) || slices.Contains(manifest.EvidenceFiles, top)) {
			mo.Keep = append(mo.Keep, top)
		}
	}
	mo.Ignore = slices.DeleteFunc(mo.Ignore, func(p string) bool { return slices.Contains(mo.Keep, p) })
	if o.IgnoreUnsigned && !s.Single() {
		mo.Only = slices.Compact(slices.Sorted(slices.Values(signed)))
	}
	if m := o.Manifest; m != nil && mo.Only == nil && mo.Keep == nil && mo.Method == m.Method && mo.Hash == m.Hash && !mo.AllowSymlinks {
		return m.Without(mo.Ignore), nil
	}
	return manifest.Dir(ctx, dir, mo)
}
