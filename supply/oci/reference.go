package oci

import (
	"fmt"
	"net"
	"strings"

	"github.com/opencontainers/go-digest"
	"oras.land/oras-go/v2/registry"
)

// Transport is where a reference leads.
type Transport string

// The transports. Archive is a tar of a layout.
const (
	Registry Transport = "registry"
	Layout   Transport = "layout"
	Archive  Transport = "archive"
)

const (
	schemeRegistry = "oci://"
	schemeLayout   = "oci:"
	schemeArchive  = "oci-archive:"
)

// Reference names a model: HOST/REPOSITORY[:TAG|@DIGEST], with or without
// "oci://" before it, oci:PATH[:TAG|@DIGEST] for a layout, and
// oci-archive:FILE[:TAG|@DIGEST] for a tar of one.
type Reference struct {
	Transport  Transport
	Host       string // of the registry, with the port where one is given
	Repository string
	Path       string        // of the layout or archive
	Tag        string        // may be empty
	Digest     digest.Digest // may be empty; wins over Tag
}

// ParseReference reads a reference. Errors wrap ErrReference.
func ParseReference(s string) (Reference, error) {
	bad := func(why string) (Reference, error) {
		return Reference{}, fmt.Errorf("%w: %q: %s; write HOST/REPOSITORY:TAG, oci:FOLDER or oci-archive:FILE.tar", ErrReference, s, why)
	}
	if len(s) > 4096 || strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return bad("it is longer than 4096 bytes or has control characters")
	}
	var r Reference
	rest := s
	switch {
	case strings.HasPrefix(s, schemeRegistry):
		r.Transport, rest = Registry, s[len(schemeRegistry):]
	case strings.HasPrefix(s, schemeLayout):
		r.Transport, rest = Layout, s[len(schemeLayout):]
	case strings.HasPrefix(s, schemeArchive):
		r.Transport, rest = Archive, s[len(schemeArchive):]
	default:
		r.Transport = Registry
	}
	if before, after, ok := strings.Cut(rest, "@"); ok && strings.HasPrefix(after, "sha") {
		d, err := digest.Parse(after)
		if err != nil || d.Algorithm() != digest.SHA256 {
			return bad("the digest is not sha256 and 64 hex digits")
		}
		r.Digest, rest = d, before
	}
	// A colon before the last slash belongs to the port or the path.
	if i := strings.LastIndexByte(rest, ':'); i > strings.LastIndexByte(rest, '/') {
		r.Tag, rest = rest[i+1:], rest[:i]
		if err := (registry.Reference{Reference: r.Tag}).ValidateReferenceAsTag(); err != nil {
			return bad(fmt.Sprintf("the tag %q", r.Tag))
		}
	}
	if r.Transport != Registry {
		if r.Path = rest; rest == "" {
			return bad("the path is empty")
		}
		return r, nil
	}
	var ok bool
	if r.Host, r.Repository, ok = strings.Cut(rest, "/"); !ok {
		return bad("there is no repository")
	}
	ref := registry.Reference{Registry: r.Host, Repository: r.Repository}
	if err := ref.ValidateRegistry(); err != nil {
		return bad("the registry's host")
	}
	if err := ref.ValidateRepository(); err != nil {
		return bad("the repository's name")
	}
	return r, nil
}

// String writes the reference so that ParseReference reads it again.
func (r Reference) String() string {
	var s string
	switch r.Transport {
	case Layout:
		s = schemeLayout + r.Path
	case Archive:
		s = schemeArchive + r.Path
	default:
		s = r.Host + "/" + r.Repository
	}
	if r.Tag != "" {
		s += ":" + r.Tag
	}
	if r.Digest != "" {
		s += "@" + r.Digest.String()
	}
	return s
}

// version is the tag or digest to ask for.
func (r Reference) version() string {
	switch {
	case r.Digest != "":
		return r.Digest.String()
	case r.Tag != "":
		return r.Tag
	case r.Transport == Registry:
		return "latest"
	}
	return ""
}

// loopback reports whether a host, with or without port, is this machine.
func loopback(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.Trim(host, "[]")
	ip := net.ParseIP(host)
	return strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback()
}
