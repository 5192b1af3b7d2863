package oci

import (
	"errors"
	"fmt"
)

// ErrUnusable is what all errors of this package wrap: a reference, a registry
// or an artifact with which nothing can be done. None of them speaks about the
// model's content.
var ErrUnusable = errors.New("unusable OCI artifact")

// The ways in which a registry or an artifact is refused.
var (
	ErrReference   = kind("not a usable reference")
	ErrTarget      = kind("cannot write there")
	ErrDigest      = kind("content is not what its digest says")
	ErrSize        = kind("content is not as long as announced")
	ErrLimit       = kind("a limit is exceeded")
	ErrStalled     = kind("the registry stalled")
	ErrTruncated   = kind("the content ended early")
	ErrRedirect    = kind("a redirect is refused")
	ErrPlainHTTP   = kind("plain http is refused")
	ErrUnreachable = kind("the registry cannot be reached")
	ErrRefused     = kind("the registry refuses")
	ErrServer      = kind("the registry answered with an error")
	ErrAuth        = kind("the registry wants other credentials")
	ErrNotFound    = kind("the registry does not have it")
	ErrContentType = kind("wrong content type")
	ErrManifest    = kind("unusable manifest")
	ErrSeveral     = kind("more than one model")
	ErrMediaType   = kind("media type that no rule of import knows")
	ErrArchive     = kind("unsafe archive")
	ErrCompression = kind("compressed more than is plausible")
	ErrReferrers   = kind("unusable referrers")
	ErrLayout      = kind("not an OCI image layout")
	errNotRanged   = errors.New("the registry ignored the range")
)

func kind(what string) error { return fmt.Errorf("%w: %s", ErrUnusable, what) }

// passing reports whether another try, now or later, could end differently: what
// was fetched so far is then worth keeping.
func passing(err error) bool {
	for _, e := range []error{ErrStalled, ErrTruncated, ErrUnreachable, ErrServer} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}
