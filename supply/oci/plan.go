package oci

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/weighbridge/weighbridge/supply/store"
)

// Layer is one layer of an artifact and what becomes of it.
type Layer struct {
	Digest    digest.Digest `json:"digest"`
	Size      int64         `json:"size"`
	MediaType string        `json:"media_type"`
	// Path is the file that a raw layer becomes; empty for archives.
	Path string `json:"path,omitempty"`

	packing packing
}

// selected is the manifest that was chosen, and how.
type selected struct {
	document
	kind   Kind
	layers []Layer
}

// choose reads the document of a version and, where it is an index, the only
// model in it.
func choose(ctx context.Context, o origin, version string, l Limits) (*selected, error) {
	d, err := fetchDocument(ctx, o, version, l)
	if err != nil {
		return nil, err
	}
	if isIndex(d.MediaType) {
		if d, err = only(ctx, o, d, l); err != nil {
			return nil, err
		}
	}
	m, err := d.manifest(l)
	if err != nil {
		return nil, err
	}
	k, ok := kindOf(m)
	if !ok {
		return nil, fmt.Errorf("%w: %s has the artifact type %.100q and the config %.100q; known are ModelPack, KitOps, Docker and Ollama",
			ErrMediaType, d.Digest, m.ArtifactType, m.Config.MediaType)
	}
	layers, err := plan(k, m.Layers)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", d.Digest, err)
	}
	return &selected{document: *d, kind: k, layers: layers}, nil
}

// only is the one model of an index. An index inside an index is not opened.
func only(ctx context.Context, o origin, index *document, l Limits) (*document, error) {
	if err := index.check(); err != nil {
		return nil, err
	}
	var list ocispec.Index
	if err := json.Unmarshal(index.bytes, &list); err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrManifest, index.Digest, err)
	}
	if n := len(list.Manifests); n > l.Referrers {
		return nil, fmt.Errorf("%w: index %s has %d entries, at most %d are looked at; name one by its digest", ErrLimit, index.Digest, n, l.Referrers)
	}
	var found []*document
	var names []string
	for i, e := range list.Manifests {
		if err := descriptor(e); err != nil {
			return nil, fmt.Errorf("%s: manifests[%d]: %w", index.Digest, i, err)
		}
		if e.Digest == index.Digest {
			return nil, fmt.Errorf("%w: %s: manifests[%d] is the index itself", ErrManifest, index.Digest, i)
		}
		same := func(d *document) bool { return d.Digest == e.Digest }
		if isIndex(e.MediaType) || slices.ContainsFunc(found, same) {
			continue
		}
		d, err := fetchDocument(ctx, o, e.Digest.String(), l)
		if err != nil {
			return nil, fmt.Errorf("index %s: manifests[%d]: %w", index.Digest, i, err)
		}
		if d.Size != e.Size {
			return nil, fmt.Errorf("%w: %s has %d bytes, the index announces %d", ErrSize, d.Digest, d.Size, e.Size)
		}
		m, err := d.manifest(l)
		if err != nil {
			return nil, fmt.Errorf("index %s: manifests[%d]: %w", index.Digest, i, err)
		}
		if _, ok := kindOf(m); !ok || m.Subject != nil {
			continue
		}
		found = append(found, d)
		names = append(names, d.Digest.String())
	}
	switch len(found) {
	case 0:
		return nil, fmt.Errorf("%w: index %s lists no model of a known kind", ErrMediaType, index.Digest)
	case 1:
		return found[0], nil
	}
	return nil, fmt.Errorf("%w: index %s; name one by its digest: %s", ErrSeveral, index.Digest, strings.Join(names, ", "))
}

// plan gives every layer its rule and every raw layer its path.
func plan(k Kind, layers []ocispec.Descriptor) ([]Layer, error) {
	out := make([]Layer, len(layers))
	taken := map[string]int{}
	standard := map[string]int{}
	for i, d := range layers {
		r, ok := layerRule(k, d.MediaType)
		if !ok {
			return nil, fmt.Errorf("%w: layers[%d] is %.200q, in an artifact of kind %s", ErrMediaType, i, d.MediaType, k)
		}
		out[i] = Layer{Digest: d.Digest, Size: d.Size, MediaType: d.MediaType, packing: r.packing}
		if r.packing != raw {
			continue
		}
		name := d.Annotations[annotationPath]
		if name == "" && k != Ollama {
			name = d.Annotations[ocispec.AnnotationTitle]
		}
		if name == "" && r.name != "" {
			if standard[r.name]++; k == Ollama && standard[r.name] > 1 && r.name != "LICENSE" { // as package intake
				return nil, fmt.Errorf("%w: layers[%d] is the second %s", ErrManifest, i, d.MediaType)
			}
			name = numbered(r.name, standard[r.name])
		}
		if name == "" {
			return nil, fmt.Errorf("%w: layers[%d] has no annotation %s, so its file has no name", ErrManifest, i, annotationPath)
		}
		if err := safe(name); err != nil {
			return nil, fmt.Errorf("%w: layers[%d]: %w", ErrManifest, i, err)
		}
		if first, twice := taken[name]; twice {
			return nil, fmt.Errorf("%w: layers[%d] and layers[%d] are both %.200q", ErrManifest, first, i, name)
		}
		taken[name] = i
		out[i].Path = name
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%w: it has no layers", ErrManifest)
	}
	return out, nil
}

// safe refuses paths that the store refuses, and what git would take for its
// own.
func safe(name string) error {
	if err := store.CheckName(name); err != nil {
		return err
	}
	for part := range strings.SplitSeq(name, "/") {
		if strings.EqualFold(part, ".git") {
			return &store.Violation{Rule: store.RuleName, Subject: name, Detail: "a part is .git, where programs could hide"}
		}
	}
	return nil
}
