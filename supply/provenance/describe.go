package provenance

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"unicode"
)

var claimedDigest = regexp.MustCompile(`^(?:[A-Za-z0-9]+):[0-9a-f]+$`)

// Describe makes the descriptor of a dependency from what a user says of it.
//
//	base-model, adapter, dataset   PATH, NAME=PATH, or NAME=ALGORITHM:HEX
//	recipe, environment            the same; a file's digest is its SHA-256
//	environment                    also REFERENCE@sha256:HEX, an OCI image
//	code                           a working tree, or URI@COMMIT
//
// A path is read and hashed. Errors: ErrUsage, ErrGit, those of reading.
func Describe(ctx context.Context, role Role, arg string) (Descriptor, error) {
	d, err := describe(ctx, role, arg)
	if err == nil {
		err = checkName(d.Name)
	}
	return d, err
}

func describe(ctx context.Context, role Role, arg string) (Descriptor, error) {
	if role == Code {
		return describeCode(ctx, arg)
	}
	if name, digest, ok := cutLast(arg, "@"); ok && role == Environment && strings.HasPrefix(digest, "sha256:") {
		h := strings.TrimPrefix(digest, "sha256:")
		if err := checkDigest("sha256", h); err != nil {
			return Descriptor{}, fmt.Errorf("%w: image %q: %w", ErrUsage, arg, err)
		}
		return Descriptor{Name: name, URI: "oci://" + arg, Role: role, Digest: map[string]string{"sha256": h}}, nil
	}
	if name, claim, ok := cutLast(arg, "="); ok && claimedDigest.MatchString(claim) {
		alg, hex, _ := strings.Cut(claim, ":")
		if err := checkDigest(alg, hex); err != nil {
			return Descriptor{}, fmt.Errorf("%w: %q: %w", ErrUsage, arg, err)
		}
		return Descriptor{Name: name, Role: role, Digest: map[string]string{alg: hex}}, nil
	}
	name, path := filepath.Base(filepath.Clean(arg)), arg
	if _, err := os.Stat(arg); err != nil {
		if before, after, ok := strings.Cut(arg, "="); ok {
			name, path = before, after
		}
	}
	if name == "." || name == ".." || name == string(filepath.Separator) {
		abs, err := filepath.Abs(path)
		if err != nil {
			return Descriptor{}, err
		}
		name = filepath.Base(abs)
	}
	c, err := Read(ctx, path)
	if err != nil {
		return Descriptor{}, absent(err, string(role), path)
	}
	return c.descriptor(role, name), nil
}

// descriptor names the content by the digest that its role is named by: models
// and datasets by their OMS root, so that a signature over the same folder is
// found by it, single files by their own SHA-256.
func (c *Content) descriptor(role Role, name string) Descriptor {
	d := Descriptor{Name: name, Role: role, Bytes: &c.Bytes, Digest: map[string]string{"sha256": c.Digests["sha256"][0]}}
	if c.Folder {
		files := int64(c.Files)
		d.Files = &files
	}
	if id := c.Digests[IdentityKey]; (role == BaseModel || role == AdapterRole) && len(id) > 0 {
		d.Digest[IdentityKey] = id[0]
	}
	return d
}

var commitAtEnd = regexp.MustCompile(`^(.+)@([0-9a-f]{40}|[0-9a-f]{64})$`)

func describeCode(ctx context.Context, arg string) (Descriptor, error) {
	if m := commitAtEnd.FindStringSubmatch(arg); m != nil {
		uri := m[1]
		if strings.HasPrefix(uri, "https://") || strings.HasPrefix(uri, "ssh://") {
			uri = "git+" + uri
		}
		return Descriptor{Name: nameOf(uri), URI: uri, Role: Code, Digest: map[string]string{"gitCommit": m[2]}}, nil
	}
	if fi, err := os.Stat(arg); err != nil || !fi.IsDir() {
		return Descriptor{}, fmt.Errorf("%w: the code %q is neither a folder nor URI@COMMIT with all 40 digits of the commit", ErrUsage, arg)
	}
	r, err := ReadRepository(ctx, arg)
	if err != nil {
		return Descriptor{}, err
	}
	abs, err := filepath.Abs(arg)
	if err != nil {
		return Descriptor{}, err
	}
	d := Descriptor{Name: filepath.Base(abs), URI: r.URI, Role: Code, Digest: map[string]string{"gitCommit": r.Commit}}
	if r.URI != "" {
		d.Name = nameOf(r.URI)
	}
	if r.Dirty > 0 {
		n := int64(r.Dirty)
		d.Dirty, d.Changed = &n, r.Changed
	}
	return d, nil
}

// nameOf is the last element of a repository's URI.
func nameOf(uri string) string {
	return strings.TrimSuffix(uri[strings.LastIndex(uri, "/")+1:], ".git")
}

func cutLast(s, sep string) (before, after string, ok bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}

func checkName(name string) error {
	switch {
	case name == "" || len(name) > maxText || strings.ContainsFunc(name, unicode.IsControl):
		return fmt.Errorf("%w: %.100q cannot be a dependency's name; give it one as NAME=…", ErrUsage, name)
	case name == Candidate:
		return fmt.Errorf("%w: %q is what the made model itself is called; give another name as NAME=…", ErrUsage, name)
	}
	return nil
}
