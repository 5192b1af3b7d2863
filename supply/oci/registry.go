package oci

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/errdef"
	"oras.land/oras-go/v2/registry"
	"oras.land/oras-go/v2/registry/remote"
	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/credentials"
	"oras.land/oras-go/v2/registry/remote/errcode"
)

// Client says how registries are spoken to. The zero value uses https (plain
// http for this machine), no credentials and the default limits.
type Client struct {
	// PlainHTTP allows registries elsewhere to be spoken to without TLS.
	PlainHTTP bool
	// TLS is for registries on this machine too, which are spoken to in plain
	// http otherwise.
	TLS bool
	// Credentials finds the credentials of a host; see [DockerCredentials].
	Credentials func(ctx context.Context, host string) (auth.Credential, error)
	// RootCAs replaces the system's certificate authorities.
	RootCAs *x509.CertPool
	Limits  Limits
}

// DockerCredentials reads the credentials that `docker login` or `oras login`
// stored, from DOCKER_CONFIG or ~/.docker/config.json and its helpers. Nothing
// is ever written there.
func DockerCredentials() (func(ctx context.Context, host string) (auth.Credential, error), error) {
	store, err := credentials.NewStoreFromDocker(credentials.StoreOptions{})
	if err != nil {
		return nil, fmt.Errorf("%w: reading Docker's config.json: %w", ErrAuth, err)
	}
	return credentials.Credential(store), nil
}

// remoteRepo is a repository of a registry, as an origin and as a target.
type remoteRepo struct {
	*remote.Repository
	client *auth.Client
	ref    registry.Reference
	limits Limits
}

func (c Client) open(r Reference) *remoteRepo {
	l := c.Limits.orDefault()
	ref := registry.Reference{Registry: r.Host, Repository: r.Repository}
	plain := c.PlainHTTP || loopback(r.Host) && !c.TLS
	client := &auth.Client{
		Client:     newHTTPClient(c.PlainHTTP, l, c.RootCAs),
		Header:     http.Header{"User-Agent": {userAgent}},
		Credential: c.Credentials,
		Cache:      auth.NewCache(),
	}
	return &remoteRepo{
		Repository: &remote.Repository{
			Client: client, Reference: ref, PlainHTTP: plain,
			ManifestMediaTypes: manifestTypes, MaxMetadataBytes: l.Manifest, ReferrerListMaxPages: l.Pages,
			// Registries often forbid deletion; a stale list does no harm.
			SkipReferrersGC: true,
		},
		client: client, ref: ref, limits: l,
	}
}

func (r *remoteRepo) Close() error { r.client.Client.CloseIdleConnections(); return nil }

// get asks for /v2/REPOSITORY/what/version.
func (r *remoteRepo) get(ctx context.Context, what, version string, header http.Header) (*http.Response, error) {
	ctx = auth.AppendRepositoryScope(ctx, r.ref, auth.ActionPull)
	u := url.URL{Scheme: "https", Host: r.ref.Host(), Path: "/v2/" + r.ref.Repository + "/" + what + "/" + version}
	if r.PlainHTTP {
		u.Scheme = "http"
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrReference, err)
	}
	for k, v := range header {
		req.Header[k] = v
	}
	resp, err := r.client.Do(req)
	if err != nil {
		return nil, r.named(err)
	}
	switch resp.StatusCode {
	case http.StatusOK, http.StatusPartialContent:
		return resp, nil
	}
	defer resp.Body.Close()
	return nil, fmt.Errorf("%w: %s %s", status(resp.StatusCode), what, version)
}

// status names an HTTP status that is not a success.
func status(code int) error {
	e := ErrServer
	switch {
	case code == http.StatusNotFound:
		e = ErrNotFound
	case code == http.StatusUnauthorized, code == http.StatusForbidden:
		e = ErrAuth
	case code < 500 && code != http.StatusTooManyRequests && code != http.StatusRequestTimeout:
		e = ErrRefused // another try would end alike
	}
	return fmt.Errorf("%w: status %d %s", e, code, http.StatusText(code))
}

// named gives an error of the HTTP stack or of oras a name of ours. Only the
// status of an answer is told on: its text is the registry's.
func (r *remoteRepo) named(err error) error {
	var answer *errcode.ErrorResponse
	var where *url.Error
	switch {
	case err == nil, errors.Is(err, context.Canceled):
		return err
	case errors.Is(err, ErrUnusable):
		if errors.As(err, &where) { // drops net/http's words, which repeat the URL
			return where.Err
		}
		return err
	case errors.As(err, &answer):
		return fmt.Errorf("%w: %s", status(answer.StatusCode), r.ref.Registry)
	case errors.Is(err, auth.ErrBasicCredentialNotFound):
		return fmt.Errorf("%w: %s; log in with `docker login` or `oras login`", ErrAuth, r.ref.Registry)
	case errors.Is(err, errdef.ErrTooManyPages), errors.Is(err, errdef.ErrSizeExceedsLimit):
		return fmt.Errorf("%w: %w", ErrLimit, err)
	case errors.Is(err, errdef.ErrNotFound):
		return fmt.Errorf("%w: %w", ErrNotFound, err)
	}
	return fmt.Errorf("%w: %s: %w", ErrRefused, r.ref.Registry, err)
}

// noTypes are what registries write that know no types of manifests (Ollama's).
var noTypes = []string{"", "text/plain", "application/json", "application/octet-stream"}

func (r *remoteRepo) resolve(ctx context.Context, version string) (ocispec.Descriptor, io.ReadCloser, error) {
	resp, err := r.get(ctx, "manifests", version, http.Header{"Accept": {strings.Join(manifestTypes, ", ")}})
	if err != nil {
		return ocispec.Descriptor{}, nil, err
	}
	d := ocispec.Descriptor{Size: resp.ContentLength}
	fail := func(err error) (ocispec.Descriptor, io.ReadCloser, error) {
		resp.Body.Close()
		return ocispec.Descriptor{}, nil, err
	}
	switch d.MediaType = bare(resp.Header.Get("Content-Type")); {
	case slices.Contains(manifestTypes, d.MediaType):
	case slices.Contains(noTypes, d.MediaType):
		d.MediaType = "" // the document has to say it
	default:
		return fail(fmt.Errorf("%w: manifest %s is served as %.100q", ErrContentType, version, resp.Header.Get("Content-Type")))
	}
	if h := resp.Header.Get("Docker-Content-Digest"); h != "" {
		if d.Digest, err = digest.Parse(h); err != nil {
			return fail(fmt.Errorf("%w: manifest %s: Docker-Content-Digest %.100q", ErrDigest, version, h))
		}
	}
	return d, resp.Body, nil
}

func (r *remoteRepo) open(ctx context.Context, d ocispec.Descriptor, offset int64) (io.ReadCloser, error) {
	header := http.Header{}
	if offset > 0 {
		header.Set("Range", fmt.Sprintf("bytes=%d-%d", offset, d.Size-1))
	}
	resp, err := r.get(ctx, "blobs", d.Digest.String(), header)
	if err != nil {
		return nil, err
	}
	switch want := d.Size - offset; {
	case offset > 0 && resp.StatusCode == http.StatusOK:
		err = errNotRanged
	case offset == 0 && resp.StatusCode != http.StatusOK:
		err = fmt.Errorf("%w: blob %s: a part was sent where the whole was asked for", ErrRefused, d.Digest)
	case offset > 0 && !strings.HasPrefix(resp.Header.Get("Content-Range"), fmt.Sprintf("bytes %d-", offset)):
		err = fmt.Errorf("%w: blob %s: asked for bytes from %d on, sent %.100q", ErrSize, d.Digest, offset, resp.Header.Get("Content-Range"))
	case resp.ContentLength >= 0 && resp.ContentLength != want:
		err = fmt.Errorf("%w: blob %s: %d bytes are sent, %d were announced", ErrSize, d.Digest, resp.ContentLength, want)
	default:
		return resp.Body, nil
	}
	resp.Body.Close()
	return nil, err
}

// noReferrers are what registries answer that do not know the referrers API,
// besides the 404 of the specification.
var noReferrers = []int{http.StatusBadRequest, http.StatusMethodNotAllowed, http.StatusNotImplemented}

func (r *remoteRepo) referrers(ctx context.Context, d ocispec.Descriptor) ([]ocispec.Descriptor, error) {
	return retried(ctx, r.limits, func() ([]ocispec.Descriptor, error) {
		var all []ocispec.Descriptor
		list := func() error {
			return r.Referrers(ctx, d, "", func(page []ocispec.Descriptor) error {
				if len(all)+len(page) > r.limits.Referrers {
					return fmt.Errorf("%w: more than %d documents refer to %s", ErrLimit, r.limits.Referrers, d.Digest)
				}
				all = append(all, page...)
				return nil
			})
		}
		err := list()
		var answer *errcode.ErrorResponse
		if errors.As(err, &answer) && slices.Contains(noReferrers, answer.StatusCode) && r.SetReferrersCapability(false) == nil {
			err = list()
		}
		if errors.Is(err, errdef.ErrNotFound) {
			err = nil
		}
		if err = r.named(err); errors.Is(err, ErrRefused) {
			err = fmt.Errorf("%w: %w", ErrReferrers, err)
		}
		return all, err
	})
}
