package oci

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/registry/remote/auth"

	"github.com/weighbridge/weighbridge/supply/bundle"
)

// PushOptions say how a folder is pushed.
type PushOptions struct {
	Client
	// Tags are further tags of the manifest.
	Tags []string
	// Signer, where not nil, also signs the digest of the manifest, so that
	// `cosign verify` finds it. The claim goes to the folder's claims.jsonl too,
	// unless there is one of this signer already.
	Signer *bundle.Signer
	// Created goes into the artifact; see [Created]. Zero leaves it out.
	Created time.Time
}

// Pushed says what lies there now.
type Pushed struct {
	Reference string        `json:"reference"` // with the digest
	Digest    digest.Digest `json:"digest"`    // of the model's manifest
	Layers    int           `json:"layers"`
	Referrers []Attached    `json:"referrers"`
	Written   int           `json:"written"` // blobs and manifests that were not there before
}

// Attached is one document that refers to the model.
type Attached struct {
	Name         string        `json:"name"` // model.sig, bom.json, claims.jsonl:LINE …
	ArtifactType string        `json:"artifact_type"`
	Digest       digest.Digest `json:"digest"` // of its manifest
}

// target is where an export goes.
type target interface {
	has(ctx context.Context, d ocispec.Descriptor) (bool, error)
	put(ctx context.Context, it item) error
	// putManifest stores a manifest, lists it under its subject, and gives it
	// a tag where tag is not empty.
	putManifest(ctx context.Context, it item, subject *ocispec.Descriptor, tag string) error
	// tagged is the digest of a tag, or "".
	tagged(ctx context.Context, tag string) (digest.Digest, error)
	referrers(ctx context.Context, d ocispec.Descriptor) ([]ocispec.Descriptor, error)
	// commit makes what was put last.
	commit(ctx context.Context) error
	io.Closer
}

// Push writes the folder, its signature and its claims to a registry, a layout
// or an archive. What is there already is not written again.
func Push(ctx context.Context, dir string, r Reference, o PushOptions) (_ *Pushed, err error) {
	if r.Digest != "" {
		return nil, fmt.Errorf("%w: %s: the digest follows from the content; name a tag", ErrReference, r)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	e, err := prepare(ctx, root, dir, o.Created)
	if err != nil {
		return nil, err
	}
	if o.Signer != nil {
		if err := e.endorse(dir, o.Signer, o.Created); err != nil {
			return nil, err
		}
	}
	var t target
	switch r.Transport {
	case Registry:
		t = o.open(r)
	default:
		if t, err = newLayoutWriter(r, o.Limits.orDefault()); err != nil {
			return nil, err
		}
	}
	defer func() { err = errors.Join(err, t.Close()) }()
	p := &push{target: t, limits: o.Limits.orDefault()}
	tags := slices.Clone(o.Tags)
	if v := r.version(); v != "" {
		tags = append(tags, v)
	}
	if err := p.all(ctx, e, tags); err != nil {
		return nil, fmt.Errorf("pushing to %s: %w", r, err)
	}
	r.Digest = e.manifest.Digest
	out := &Pushed{Reference: r.String(), Digest: r.Digest, Layers: len(e.blobs) - 1, Referrers: []Attached{}, Written: p.written}
	for _, x := range e.referrers {
		out.Referrers = append(out.Referrers, Attached{x.name, x.manifest.ArtifactType, x.manifest.Digest})
	}
	return out, nil
}

type push struct {
	target  target
	limits  Limits
	written int
	looked  int // how often the list of referrers was looked at
}

// all writes blobs before the manifests that name them, and the tags last: a
// tag never leads to what is not whole.
func (p *push) all(ctx context.Context, e *export, tags []string) error {
	for _, b := range e.blobs {
		if err := p.blob(ctx, b); err != nil {
			return err
		}
	}
	if err := p.manifest(ctx, e.manifest, nil); err != nil {
		return err
	}
	if len(e.referrers) > 0 {
		if err := p.blob(ctx, emptyConfig); err != nil {
			return err
		}
	}
	subject := e.manifest.Descriptor
	for _, x := range e.referrers {
		if err := p.blob(ctx, x.blob); err != nil {
			return fmt.Errorf("%s: %w", x.name, err)
		}
	}
	for missing := e.referrers; len(missing) > 0; {
		for _, x := range missing {
			if err := p.manifest(ctx, x.manifest, &subject); err != nil {
				return fmt.Errorf("%s: %w", x.name, err)
			}
		}
		var err error
		if missing, err = p.unlisted(ctx, e); err != nil {
			return err
		}
	}
	for _, tag := range tags {
		have, err := p.target.tagged(ctx, tag)
		if err != nil {
			return err
		}
		if have == e.manifest.Digest {
			continue
		}
		if err := p.again(ctx, func() error { return p.target.putManifest(ctx, e.manifest, nil, tag) }); err != nil {
			return fmt.Errorf("tag %s: %w", tag, err)
		}
		p.written++
	}
	return p.target.commit(ctx)
}

func (p *push) blob(ctx context.Context, it item) error {
	return p.again(ctx, func() error {
		if ok, err := p.target.has(ctx, it.Descriptor); ok || err != nil {
			return err
		}
		if err := p.target.put(ctx, it); err != nil {
			return err
		}
		p.written++
		return nil
	})
}

// manifest puts a manifest that is not there or, having a subject, is not
// listed.
func (p *push) manifest(ctx context.Context, it item, subject *ocispec.Descriptor) error {
	return p.again(ctx, func() error {
		ok, err := p.target.has(ctx, it.Descriptor)
		if err != nil {
			return err
		}
		if ok && subject != nil {
			list, err := p.target.referrers(ctx, *subject)
			if err != nil {
				return err
			}
			ok = listed(list, it.Digest)
		}
		if ok {
			return nil
		}
		if err := p.target.putManifest(ctx, it, subject, ""); err != nil {
			return err
		}
		p.written++
		return nil
	})
}

// unlisted are the referrers that the target does not name. A registry without
// the referrers API keeps the list under a tag, which two pushes at once read and
// rewrite; there is no way to do it in one step.
func (p *push) unlisted(ctx context.Context, e *export) ([]referrer, error) {
	list, err := p.target.referrers(ctx, e.manifest.Descriptor)
	if err != nil {
		return nil, err
	}
	var missing []referrer
	for _, x := range e.referrers {
		if !listed(list, x.manifest.Digest) {
			missing = append(missing, x)
		}
	}
	if p.looked++; len(missing) > 0 && p.looked >= p.limits.Tries {
		return nil, fmt.Errorf("%w: the registry does not list %s (%s) under the model", ErrReferrers, missing[0].name, missing[0].manifest.Digest)
	}
	return missing, nil
}

func listed(list []ocispec.Descriptor, d digest.Digest) bool {
	return slices.ContainsFunc(list, func(x ocispec.Descriptor) bool { return x.Digest == d })
}

func (p *push) again(ctx context.Context, f func() error) error {
	_, err := retried(ctx, p.limits, func() (struct{}, error) { return struct{}{}, f() })
	return err
}

// A repository as a target.

func (r *remoteRepo) has(ctx context.Context, d ocispec.Descriptor) (bool, error) {
	ok, err := r.Exists(ctx, d)
	return ok, r.named(err)
}

func (r *remoteRepo) put(ctx context.Context, it item) error {
	body, err := it.open()
	if err != nil {
		return err
	}
	defer body.Close()
	return r.named(r.Blobs().Push(ctx, it.Descriptor, body))
}

func (r *remoteRepo) putManifest(ctx context.Context, it item, _ *ocispec.Descriptor, tag string) error {
	body, err := it.open()
	if err != nil {
		return err
	}
	defer body.Close()
	if tag == "" {
		tag = it.Digest.String()
	}
	return r.named(r.Manifests().PushReference(ctx, it.Descriptor, body, tag))
}

func (r *remoteRepo) tagged(ctx context.Context, tag string) (digest.Digest, error) {
	ctx = auth.AppendRepositoryScope(ctx, r.ref, auth.ActionPull, auth.ActionPush)
	d, err := fetchDocument(ctx, r, tag, r.limits)
	if errors.Is(err, ErrNotFound) {
		return "", nil
	} else if err != nil {
		return "", err
	}
	return d.Digest, nil
}

func (r *remoteRepo) commit(context.Context) error { return nil }
