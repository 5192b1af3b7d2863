package oci

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	specs "github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/weighbridge/weighbridge/supply/bundle"
	"github.com/weighbridge/weighbridge/supply/manifest"
)

// item is one blob or manifest to push. open may be called again.
type item struct {
	ocispec.Descriptor
	open func() (io.ReadCloser, error)
}

// export is a model folder as an artifact.
type export struct {
	blobs     []item // files, then the config
	manifest  item
	referrers []referrer
	files     *manifest.Manifest
	claims    []*bundle.Bundle
}

// referrer is a document that refers to the model.
type referrer struct {
	blob, manifest item
	name           string // of the evidence file, for messages
}

// modelConfig is a ModelPack config. It holds nothing but what the files say,
// so that the same files give the same digest wherever they lie.
type modelConfig struct {
	Descriptor struct {
		CreatedAt string `json:"createdAt,omitempty"`
	} `json:"descriptor"`
	Config struct {
		Format string `json:"format,omitempty"`
	} `json:"config"`
	ModelFS struct {
		Type    string          `json:"type"`
		DiffIDs []digest.Digest `json:"diffIds"`
	} `json:"modelfs"`
}

// Created says when an artifact was made, from the value of SOURCE_DATE_EPOCH
// (seconds since 1970, https://reproducible-builds.org/specs/source-date-epoch/).
// The zero time, for an empty value, leaves it out of the artifact.
func Created(epoch string) (time.Time, error) {
	if epoch == "" {
		return time.Time{}, nil
	}
	var seconds int64
	if _, err := fmt.Sscanf(epoch+"\n", "%d\n", &seconds); err != nil || seconds < 0 || seconds > 1<<40 {
		return time.Time{}, fmt.Errorf("%w: SOURCE_DATE_EPOCH is %q, wanted seconds since 1970", ErrTarget, epoch)
	}
	return time.Unix(seconds, 0).UTC(), nil
}

// prepare reads a folder into an export. The files stay where they are; root
// has to stay open until they were pushed.
func prepare(ctx context.Context, root *os.Root, dir string, created time.Time) (*export, error) {
	m, err := manifest.Dir(ctx, dir, manifest.Options{})
	if err != nil {
		return nil, err
	}
	if n, most := len(m.Resources), DefaultLimits.Layers; n > most {
		return nil, fmt.Errorf("%w: %s has %d files, each a layer, and at most %d are pulled; pack small files together", ErrLimit, dir, n, most)
	}
	for _, r := range m.Resources {
		if err := safe(r.Name); err != nil {
			return nil, fmt.Errorf("%w: %s: %w", ErrTarget, dir, err)
		}
	}
	e := &export{files: m}
	var c modelConfig
	c.ModelFS.Type = "layers"
	annotations := map[string]string{}
	if !created.IsZero() {
		c.Descriptor.CreatedAt = created.Format(time.RFC3339)
		annotations[ocispec.AnnotationCreated] = c.Descriptor.CreatedAt
	}
	doc := ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest,
		ArtifactType: modelPackArtifact, Annotations: annotations,
	}
	formats := map[string]bool{}
	for _, r := range m.Resources {
		d := ocispec.Descriptor{
			MediaType: layerType(r.Name), Size: r.Size,
			Digest:      digest.NewDigestFromEncoded(digest.SHA256, hex.EncodeToString(r.Digest)),
			Annotations: map[string]string{annotationPath: r.Name, ocispec.AnnotationTitle: r.Name},
		}
		if strings.HasPrefix(d.MediaType, modelPackPrefix+"weight.v1.") {
			formats[strings.TrimPrefix(path.Ext(r.Name), ".")] = true
		}
		c.ModelFS.DiffIDs = append(c.ModelFS.DiffIDs, d.Digest)
		doc.Layers = append(doc.Layers, d)
		name := r.Name
		e.blobs = append(e.blobs, item{d, func() (io.ReadCloser, error) { return root.Open(name) }})
	}
	if len(formats) == 1 {
		for f := range formats {
			c.Config.Format = f
		}
	}
	config, err := inMemory(modelPackConfig, c)
	if err != nil {
		return nil, err
	}
	e.blobs = append(e.blobs, config)
	doc.Config = config.Descriptor
	if e.manifest, err = inMemory(ocispec.MediaTypeImageManifest, doc); err != nil {
		return nil, err
	}
	e.manifest.ArtifactType = modelPackArtifact
	if n, most := e.manifest.Size, DefaultLimits.Manifest; n > most {
		return nil, fmt.Errorf("%w: %s: the manifest has %d bytes, and registries take at most %d; use shorter names", ErrLimit, dir, n, most)
	}
	return e, e.refer(root, dir, created)
}

// refer adds the evidence files as referrers.
func (e *export) refer(root *os.Root, dir string, created time.Time) error {
	for _, f := range []struct{ name, kind string }{
		{manifest.SignatureFile, typeBundle}, {manifest.BOMFile, typeBOM}, {manifest.ProvenanceFile, typeProvenance},
	} {
		src, err := readEvidence(root, f.name)
		if err != nil {
			return fmt.Errorf("%s: %w", dir, err)
		}
		if src == nil {
			continue
		}
		var b *bundle.Bundle
		if f.kind == typeBundle {
			if b, err = bundle.Parse(src); err != nil {
				return fmt.Errorf("%s: %w", path.Join(dir, f.name), err)
			}
		}
		if err := e.attach(f.name, f.kind, src, b, 0, created); err != nil {
			return err
		}
	}
	claims, err := bundle.ReadClaims(path.Join(dir, manifest.ClaimsFile), bundle.StatementTypeV01)
	if err != nil {
		return err
	}
	e.claims = claims
	for _, b := range claims {
		if err := e.attach(fmt.Sprintf("%s:%d", manifest.ClaimsFile, b.Line), typeBundle, b.Raw, b, b.Line, created); err != nil {
			return err
		}
	}
	if n := len(e.referrers); n > DefaultLimits.Referrers {
		return fmt.Errorf("%w: %s: %d documents would refer to the model, at most %d are pulled", ErrLimit, dir, n, DefaultLimits.Referrers)
	}
	return nil
}

// predicateCosign is what `cosign verify` looks for.
const predicateCosign = "https://sigstore.dev/cosign/sign/v1"

// endorse signs the manifest's digest together with the model's root and
// identity.
func (e *export) endorse(dir string, s *bundle.Signer, created time.Time) error {
	for _, b := range e.claims {
		if b.Statement.PredicateType == predicateCosign && s.Made(b) && slices.ContainsFunc(b.Statement.Subject, func(x bundle.Subject) bool {
			return x.Digest["sha256"] == e.manifest.Digest.Encoded()
		}) {
			return nil
		}
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	name := filepath.Base(abs)
	id, _ := e.files.Identity()
	raw, err := s.Sign(bundle.Statement{
		Type: bundle.StatementType, PredicateType: predicateCosign, Predicate: json.RawMessage("{}"),
		Subject: []bundle.Subject{
			{Name: name, Digest: map[string]string{"sha256": e.files.Root(), "weighbridgeIdentity": strings.TrimPrefix(string(id), "sha256:")}},
			{Name: name, Digest: map[string]string{"sha256": e.manifest.Digest.Encoded()}},
		},
	})
	if err != nil {
		return err
	}
	file := filepath.Join(dir, manifest.ClaimsFile)
	if err := bundle.AppendClaim(file, raw); err != nil {
		return err
	}
	e.referrers = nil
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	return e.refer(root, dir, created)
}

// ManifestDigest is the digest under which Push would store the folder, for
// statements that name it as a subject besides the root.
func ManifestDigest(ctx context.Context, dir string, created time.Time) (digest.Digest, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return "", err
	}
	defer root.Close()
	e, err := prepare(ctx, root, dir, created)
	if err != nil {
		return "", err
	}
	return e.manifest.Digest, nil
}

// readEvidence reads an evidence file; nil where there is none.
func readEvidence(root *os.Root, name string) ([]byte, error) {
	f, err := root.Open(name)
	if os.IsNotExist(err) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	defer f.Close()
	limit := DefaultLimits.Evidence
	src, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(src)) > limit {
		err = fmt.Errorf("%w: %s has more than %d bytes", ErrLimit, name, limit)
	}
	return src, err
}

// attach makes the manifest of a referrer in the shape of cosign 3's.
func (e *export) attach(name, kind string, src []byte, b *bundle.Bundle, line int, created time.Time) error {
	annotations := map[string]string{}
	if !created.IsZero() {
		annotations[ocispec.AnnotationCreated] = created.Format(time.RFC3339)
	}
	layer := fixed(kind, src)
	if b != nil {
		annotations[annotationContent] = "dsse-envelope"
		annotations[annotationPredicate] = b.Statement.PredicateType
	} else {
		layer.Annotations = map[string]string{ocispec.AnnotationTitle: name}
	}
	if line > 0 {
		annotations[annotationLine] = fmt.Sprint(line)
	}
	subject := e.manifest.Descriptor
	subject.ArtifactType = ""
	m, err := inMemory(ocispec.MediaTypeImageManifest, ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest,
		ArtifactType: kind, Config: emptyConfig.Descriptor, Layers: []ocispec.Descriptor{layer.Descriptor},
		Subject: &subject, Annotations: annotations,
	})
	m.ArtifactType = kind
	e.referrers = append(e.referrers, referrer{layer, m, name})
	return err
}

var emptyConfig = fixed(ocispec.MediaTypeEmptyJSON, []byte("{}"))

// inMemory is v as compact JSON; struct fields keep their order and maps are
// sorted, so the bytes depend on v alone.
func inMemory(mediaType string, v any) (item, error) {
	src, err := json.Marshal(v)
	return fixed(mediaType, src), err
}

func fixed(mediaType string, src []byte) item {
	return item{
		ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(src), Size: int64(len(src))},
		func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(string(src))), nil },
	}
}
