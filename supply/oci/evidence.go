package oci

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/weighbridge/weighbridge/supply/bundle"
	"github.com/weighbridge/weighbridge/supply/manifest"
)

// What refers to a model. Bundles are as cosign writes and finds them; the
// drafts are ours.
const (
	typeBundle       = bundle.MediaType
	typeBundleFamily = "application/vnd.dev.sigstore.bundle"
	typeBOM          = "application/vnd.cyclonedx+json"
	typeProvenance   = bundle.PayloadType

	annotationContent   = "dev.sigstore.bundle.content"
	annotationPredicate = "dev.sigstore.bundle.predicateType"
	// annotationLine is the line of claims.jsonl, from 1, so that the file
	// comes back as it was. Nothing vouches for it.
	annotationLine = "io.github.weighbridge.claims.line"
)

// gathered is what becomes of the documents that refer to a model.
type gathered struct {
	files   map[string][]byte
	claims  int
	skipped []Skipped
}

// attachment is one of those documents.
type attachment struct {
	digest  digest.Digest // of its manifest; empty for a file of the model
	kind    string
	line    int
	content []byte
}

// evidence fetches what refers to the model and sorts it into evidence files,
// after those that came as layers (held). roots are the model's.
func (s *Source) evidence(ctx context.Context, held map[string][]byte, roots []string) (*gathered, error) {
	list, err := s.origin.referrers(ctx, s.chosen.Descriptor)
	if err != nil {
		return nil, fmt.Errorf("listing what refers to it: %w", err)
	}
	g := &gathered{files: map[string][]byte{}}
	all := fromLayers(held, g)
	seen := map[digest.Digest]bool{}
	var total int64
	for _, d := range list {
		if seen[d.Digest] {
			continue
		}
		seen[d.Digest] = true
		a, err := s.attachment(ctx, d)
		var skip *skipError
		if errors.As(err, &skip) {
			g.skipped = append(g.skipped, Skipped{d.Digest, skip.why})
			continue
		} else if err != nil {
			return nil, fmt.Errorf("referrer %.100q: %w", d.Digest, err)
		}
		if total += int64(len(a.content)); total > s.limits.Evidence*4 {
			return nil, fmt.Errorf("%w: the referrers have more than %d bytes together", ErrLimit, s.limits.Evidence*4)
		}
		all = append(all, *a)
	}
	g.sort(all, roots)
	slices.SortFunc(g.skipped, func(a, b Skipped) int { return cmp.Compare(a.Digest, b.Digest) })
	return g, nil
}

// fromLayers takes evidence files apart that were part of the artifact.
func fromLayers(held map[string][]byte, g *gathered) []attachment {
	var all []attachment
	for name, kind := range map[string]string{manifest.BOMFile: typeBOM, manifest.ProvenanceFile: typeProvenance, manifest.SignatureFile: typeBundle} {
		if src, ok := held[name]; ok {
			all = append(all, attachment{kind: kind, content: src})
		}
	}
	for i, line := range bytes.Split(held[manifest.ClaimsFile], []byte("\n")) {
		if len(bytes.TrimSpace(line)) > 0 {
			all = append(all, attachment{kind: typeBundle, line: i + 1, content: line})
		}
	}
	return all
}

type skipError struct{ why string }

func (e *skipError) Error() string { return e.why }

func skipf(format string, args ...any) error { return &skipError{fmt.Sprintf(format, args...)} }

// attachment fetches one referrer. A *skipError is one that says nothing; other
// errors are the registry's, and end the pull: evidence that cannot be had is
// not evidence that is absent.
func (s *Source) attachment(ctx context.Context, d ocispec.Descriptor) (*attachment, error) {
	if err := descriptor(d); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrReferrers, err)
	}
	switch {
	case d.MediaType != ocispec.MediaTypeImageManifest:
		return nil, skipf("media type %.100q", d.MediaType)
	case d.ArtifactType != "" && !known(d.ArtifactType):
		return nil, skipf("artifact type %.100q", d.ArtifactType)
	}
	doc, err := fetchDocument(ctx, s.origin, d.Digest.String(), s.limits)
	if err != nil {
		return nil, err
	}
	m, err := doc.manifest(s.limits)
	if err != nil {
		return nil, err
	}
	kind := cmp.Or(m.ArtifactType, m.Config.MediaType)
	switch {
	case m.Subject == nil || m.Subject.Digest != s.chosen.Digest:
		return nil, skipf("its subject is not this model")
	case !known(kind):
		return nil, skipf("artifact type %.100q", kind)
	case len(m.Layers) != 1:
		return nil, skipf("it has %d layers where one document is expected", len(m.Layers))
	}
	a := &attachment{digest: d.Digest, kind: kind}
	if n, err := strconv.Atoi(m.Annotations[annotationLine]); err == nil && n > 0 {
		a.line = n
	}
	a.content, err = fetchSmall(ctx, s.origin, m.Layers[0], s.limits)
	return a, err
}

func known(artifactType string) bool {
	return artifactType == typeBOM || artifactType == typeProvenance || strings.HasPrefix(artifactType, typeBundleFamily)
}

// sort makes files of the attachments. The order does not depend on that in
// which the registry lists them.
func (g *gathered) sort(all []attachment, roots []string) {
	rank := func(a attachment) int {
		switch {
		case a.digest == "":
			return 0
		case a.line > 0:
			return 1
		}
		return 2
	}
	slices.SortStableFunc(all, func(a, b attachment) int {
		return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(a.line, b.line), cmp.Compare(a.digest, b.digest))
	})
	var claims, models, others [][]byte // others: model signatures with a root that is not this model's
	drafts := map[string][]attachment{}
	for _, a := range all {
		switch a.kind {
		case typeBOM, typeProvenance:
			drafts[a.kind] = append(drafts[a.kind], a)
			continue
		}
		b, err := bundle.Parse(a.content, bundle.StatementTypeV01)
		switch {
		case err != nil && a.digest == "" && a.line > 0: // part of the artifact: it has to show as bad
			claims = append(claims, a.content)
			continue
		case err != nil && a.digest == "":
			others = append(others, a.content)
			continue
		case err != nil:
			g.skipped = append(g.skipped, Skipped{a.digest, fmt.Sprintf("%.300s", err.Error())})
			continue
		}
		switch {
		case b.Statement.PredicateType != bundle.PredicateOMS && b.Statement.PredicateType != bundle.PredicateOMSv02:
			claims = append(claims, a.content)
		case len(b.Statement.Subject) == 1 && slices.Contains(roots, b.Statement.Subject[0].Digest["sha256"]):
			models = append(models, a.content)
		default:
			others = append(others, a.content)
		}
	}
	g.draft(manifest.BOMFile, drafts[typeBOM])
	g.draft(manifest.ProvenanceFile, drafts[typeProvenance])
	// A signature over something else is kept, for it has to show as bad; but
	// one over this model goes first.
	models = append(models, others...)
	if len(models) > 0 {
		g.files[manifest.SignatureFile] = models[0]
		claims = append(claims, models[1:]...)
	}
	var lines bytes.Buffer
	seen := map[string]bool{}
	for _, c := range claims {
		line := oneLine(c)
		if key := sum(line); !seen[key] {
			seen[key] = true
			lines.Write(line)
			lines.WriteByte('\n')
			g.claims++
		}
	}
	if g.claims > 0 {
		g.files[manifest.ClaimsFile] = lines.Bytes()
	}
}

// draft keeps an unsigned document. Where several different ones are attached
// nobody can say which is meant, and none is kept; one that is a file of the
// artifact goes before all.
func (g *gathered) draft(name string, all []attachment) {
	for _, a := range all {
		if a.digest == "" || bytes.Equal(a.content, all[0].content) {
			g.files[name] = a.content
			continue
		}
		g.skipped = append(g.skipped, Skipped{a.digest, "there is more than one " + name})
		if all[0].digest != "" {
			delete(g.files, name)
			g.skipped = append(g.skipped, Skipped{all[0].digest, "there is more than one " + name})
			return
		}
	}
}

// oneLine is a bundle without line breaks: only JSON's white space goes, and
// what is signed lies in it as base64.
func oneLine(raw []byte) []byte {
	if !bytes.ContainsAny(raw, "\n\r") {
		return raw
	}
	var b bytes.Buffer
	if err := json.Compact(&b, raw); err != nil {
		return raw // not reached: it was parsed
	}
	return b.Bytes()
}
