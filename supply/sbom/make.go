package sbom

import (
	"bytes"
	"context"
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	cdx "github.com/CycloneDX/cyclonedx-go"

	"github.com/weighbridge/weighbridge/supply/manifest"
)

// modelRef is the bom-ref of the model. Those of files and others begin with
// their kind, so that no name can collide with it.
const modelRef = "model"

// Make writes a CycloneDX 1.6 BOM of a model folder: its files with their
// digests, the model with its root, and what the folder and the caller say of
// it, each marked with its source. Weight files are read as far as their
// headers. Errors match ErrInput where the caller can mend them.
func Make(ctx context.Context, in Input) ([]byte, error) {
	if err := in.check(); err != nil {
		return nil, err
	}
	f, err := describe(ctx, in.Dir, in.Manifest)
	if err != nil {
		return nil, err
	}
	b := builder{in: in, f: f, model: &cdx.Component{BOMRef: modelRef, Type: cdx.ComponentTypeMachineLearningModel}}
	if err := b.build(); err != nil {
		return nil, err
	}
	var out bytes.Buffer
	if err := cdx.NewBOMEncoder(&out, cdx.BOMFileFormatJSON).SetPretty(true).SetEscapeHTML(false).EncodeVersion(b.bom(), cdx.SpecVersion1_6); err != nil {
		return nil, fmt.Errorf("encoding the BOM: %w", err)
	}
	if out.Len() > MaxBytes {
		return nil, fmt.Errorf("%w: %d files make a BOM of %d bytes; %d are allowed", ErrInput, len(in.Manifest.Resources), out.Len(), MaxBytes)
	}
	if err := Validate(out.Bytes()); err != nil {
		return nil, fmt.Errorf("the BOM that was made does not hold against the schema: %w", err)
	}
	return out.Bytes(), nil
}

type builder struct {
	in         Input
	f          *folder
	model      *cdx.Component
	components []cdx.Component
	refs       []string // that the model depends on
}

func (b *builder) build() error {
	root := b.in.Manifest.Root()
	b.model.Hashes = &[]cdx.Hash{{Algorithm: cdx.HashAlgoSHA256, Value: root}}
	b.mark(b.model, PropertyRoot, root)
	if p := b.in.Manifest.PythonRoot(); p != root {
		b.mark(b.model, PropertyPythonRoot, p)
	}
	id, _ := b.in.Manifest.Identity()
	b.mark(b.model, PropertyIdentity, string(id))

	base, err := filepath.Abs(b.in.Dir)
	if err != nil {
		return err
	}
	b.model.Name = b.one("name", b.in.Name, b.f.name)
	if b.model.Name == "" {
		b.model.Name = plain(filepath.Base(base), maxValue)
		b.claim("name", "the folder's name")
	}
	b.model.Version = b.one("version", b.in.Version, b.f.version)
	b.licences()
	b.authors()
	b.card()
	b.files()
	b.bases()
	b.datasets()
	b.loaders()
	for _, name := range slices.Sorted(maps.Keys(b.f.notes)) {
		b.mark(b.model, PropertyUnknown, plain(name, maxValue)+": "+b.f.notes[name])
	}
	return nil
}

func (b *builder) mark(c *cdx.Component, name, value string) {
	if c.Properties == nil {
		c.Properties = &[]cdx.Property{}
	}
	*c.Properties = append(*c.Properties, cdx.Property{Name: name, Value: value})
}

func (b *builder) claim(field, source string) {
	b.mark(b.model, PropertyClaimed, field+" from "+source)
}

// one gives a field's value where the sources agree on it; the caller's wins.
func (b *builder) one(field, given string, found []said) string {
	switch {
	case given != "":
		b.claim(field, "the command line")
		return given
	case len(found) == 1:
		b.claim(field, found[0].source)
		return found[0].value
	case len(found) > 1:
		b.mark(b.model, PropertyUnknown, fmt.Sprintf("%s: %s says %q and %s says %q", field, found[0].source, found[0].value, found[1].source, found[1].value))
	}
	return ""
}

func (b *builder) licences() {
	found := b.f.licences
	if len(b.in.Licences) > 0 {
		found = nil
		for _, l := range b.in.Licences {
			found = append(found, said{l, "the command line"})
		}
	}
	var list []string
	for _, s := range found {
		if id, ok := spdx()[strings.ToLower(s.value)]; ok {
			s.value = id
		}
		if !slices.Contains(list, s.value) {
			list = append(list, s.value)
			b.claim("licenses "+s.value, s.source)
		}
	}
	if b.model.Licenses = licenceChoices(list); b.model.Licenses == nil {
		b.mark(b.model, PropertyUnknown, "licenses: neither the command line, the weights, README.md nor a licence file names one")
	}
}

func (b *builder) authors() {
	found := b.f.authors
	if len(b.in.Authors) > 0 {
		found = nil
		for _, a := range b.in.Authors {
			found = append(found, said{a, "the command line"})
		}
	}
	var list []cdx.OrganizationalContact
	for _, a := range found {
		list = append(list, cdx.OrganizationalContact{Name: a.value})
		b.claim("authors "+a.value, a.source)
	}
	if len(list) > 0 {
		b.model.Authors = &list
	}
}

// card fills the model card from the headers and the configuration. What only
// the property list has room for goes there.
func (b *builder) card() {
	p := &cdx.MLModelParameters{
		Task:               b.one("task", "", b.f.task),
		ArchitectureFamily: b.one("architectureFamily", "", b.f.family),
		ModelArchitecture:  b.one("modelArchitecture", "", b.f.architecture),
	}
	b.model.ModelCard = &cdx.MLModelCard{ModelParameters: p}
	if v := b.one("weighbridge:context-length", "", b.f.contextLength); v != "" {
		b.mark(b.model, "weighbridge:context-length", v)
	}
	if v := b.one("weighbridge:tokenizer", "", b.f.tokenizer); v != "" {
		b.mark(b.model, "weighbridge:tokenizer", v)
	}
	b.parameters()
	for _, name := range b.f.cards {
		r, _ := b.in.Manifest.Find(name)
		ref := cdx.ExternalReference{Type: cdx.ERTypeModelCard, URL: name, Hashes: &[]cdx.Hash{sha256Hash(r)}}
		b.model.ExternalReferences = &[]cdx.ExternalReference{ref}
	}
}

// parameters counts over the files of one format. Several formats, or several
// whole GGUF models, are alternatives of one model: then only the files'
// components carry counts.
func (b *builder) parameters() {
	var total int64
	types := map[string]int64{}
	formats := map[string]bool{}
	whole := 0
	base := false // whether anything but adapters lies here
	for _, h := range b.f.headers {
		base = base || !h.adapter
	}
	for _, h := range b.f.headers {
		if h.adapter && base {
			continue
		}
		formats[h.format] = true
		if n, _ := metaUint(h, "split.count"); h.format == "gguf" && n <= 1 {
			whole++
		}
		total += h.parameters
		for t, n := range h.types {
			types[t] += n
		}
	}
	if total == 0 || len(formats) != 1 || whole > 1 {
		return
	}
	b.mark(b.model, "weighbridge:parameters", strconv.FormatInt(total, 10))
	b.mark(b.model, "weighbridge:quantisation", (&header{types: types}).quantisation())
	b.mark(b.model, PropertyRead, "weighbridge:parameters, weighbridge:quantisation from the weight files' headers")
}

func metaUint(h *header, key string) (uint64, bool) {
	if h.meta == nil {
		return 0, false
	}
	return h.meta.Uint(key)
}

func sha256Hash(r manifest.Resource) cdx.Hash {
	return cdx.Hash{Algorithm: cdx.HashAlgoSHA256, Value: hex.EncodeToString(r.Digest)}
}

func (b *builder) add(c cdx.Component) {
	b.components = append(b.components, c)
	b.refs = append(b.refs, c.BOMRef)
}

func (b *builder) files() {
	for _, r := range b.in.Manifest.Resources {
		c := cdx.Component{BOMRef: "file:" + r.Name, Type: cdx.ComponentTypeFile, Name: r.Name, Hashes: &[]cdx.Hash{sha256Hash(r)}}
		role := RoleOf(r.Name)
		h := b.f.headers[r.Name]
		if h != nil && h.adapter {
			role = RoleAdapter
		}
		b.mark(&c, PropertyRole, string(role))
		b.mark(&c, "weighbridge:bytes", strconv.FormatInt(r.Size, 10))
		if h != nil {
			b.mark(&c, "weighbridge:format", h.format)
			b.mark(&c, "weighbridge:parameters", strconv.FormatInt(h.parameters, 10))
			if q := h.quantisation(); q != "" {
				b.mark(&c, "weighbridge:quantisation", q)
			}
		}
		b.add(c)
	}
}

// outside makes components for what is named but not in the folder: the
// caller's first, then those found that the caller did not name.
func (b *builder) outside(kind string, given []Ref, found []said, each func(c *cdx.Component)) []cdx.Component {
	var out []cdx.Component
	names := map[string]bool{}
	add := func(r Ref, source string) {
		name, version := atVersion(r.Name)
		// The caller's "owner/name=DIGEST" is also the folder's "owner/name@main".
		if names[r.Name] || r.Alg == "" && names[name] {
			return
		}
		names[r.Name] = true
		c := cdx.Component{BOMRef: kind + ":" + r.Name, Name: name, Version: version}
		if r.Alg != "" {
			c.Hashes = &[]cdx.Hash{{Algorithm: cdx.HashAlgorithm(r.Alg), Value: r.Hex}}
		}
		each(&c)
		b.mark(&c, PropertyClaimed, "name from "+source)
		out = append(out, c)
	}
	for _, r := range given {
		add(r, "the command line")
	}
	for _, s := range found {
		add(Ref{Name: s.value}, s.source)
	}
	return out
}

// atVersion splits name@version.
func atVersion(s string) (name, version string) {
	if name, version, ok := strings.Cut(s, "@"); ok && name != "" && version != "" {
		return name, version
	}
	return s, ""
}

func (b *builder) bases() {
	list := b.outside("base-model", b.in.BaseModels, b.f.bases, func(c *cdx.Component) {
		c.Type = cdx.ComponentTypeMachineLearningModel
		if b.f.relation != "" {
			b.mark(c, "weighbridge:relation", b.f.relation)
		}
	})
	if len(list) == 0 {
		return
	}
	b.model.Pedigree = &cdx.Pedigree{Ancestors: &list}
	for _, c := range list {
		b.refs = append(b.refs, c.BOMRef)
	}
}

func (b *builder) datasets() {
	list := b.outside("dataset", b.in.Datasets, b.f.datasets, func(c *cdx.Component) {
		c.Type = cdx.ComponentTypeData
		c.Data = &[]cdx.ComponentData{{Type: cdx.ComponentDataTypeDataset, Name: c.Name}}
	})
	var choices []cdx.MLDatasetChoice
	for _, c := range list {
		b.add(c)
		choices = append(choices, cdx.MLDatasetChoice{Ref: c.BOMRef})
	}
	if len(choices) > 0 {
		b.model.ModelCard.ModelParameters.Datasets = &choices
	}
}

// loaders lists the libraries that the configuration names, and the code of
// other repositories that it would have them run.
func (b *builder) loaders() {
	libraries := slices.Clone(b.f.libraries)
	for _, l := range b.f.libraries { // "transformers" beside "transformers@4.55.0" adds nothing
		if name, version := atVersion(l.value); version != "" {
			libraries = slices.DeleteFunc(libraries, func(s said) bool { return s.value == name })
		}
	}
	for _, group := range []struct {
		role  Role
		found []said
	}{{RoleLoader, libraries}, {RoleCode, b.f.remote}} {
		for _, c := range b.outside(string(group.role), nil, group.found, func(c *cdx.Component) {
			c.Type = cdx.ComponentTypeLibrary
			b.mark(c, PropertyRole, string(group.role))
		}) {
			b.add(c)
		}
	}
}

func (b *builder) bom() *cdx.BOM {
	bom := cdx.NewBOM()
	bom.SerialNumber = "urn:uuid:" + uuid5(b.in.Manifest.Root())
	bom.Metadata = &cdx.Metadata{Component: b.model}
	if b.in.Tool != "" {
		bom.Metadata.Tools = &cdx.ToolsChoice{Components: &[]cdx.Component{{Type: cdx.ComponentTypeApplication, Name: "weighbridge", Version: b.in.Tool}}}
	}
	if !b.in.Time.IsZero() {
		bom.Metadata.Timestamp = b.in.Time.UTC().Format(time.RFC3339)
	}
	bom.Components = &b.components
	slices.Sort(b.refs)
	graph := []cdx.Dependency{{Ref: modelRef, Dependencies: &b.refs}}
	for _, r := range b.refs {
		graph = append(graph, cdx.Dependency{Ref: r})
	}
	bom.Dependencies = &graph
	return bom
}

// uuid5 is the name-based UUID (RFC 9562, version 5) of the URN of a root.
func uuid5(root string) string {
	urlSpace := []byte{0x6b, 0xa7, 0xb8, 0x11, 0x9d, 0xad, 0x11, 0xd1, 0x80, 0xb4, 0x00, 0xc0, 0x4f, 0xd4, 0x30, 0xc8}
	sum := sha1.Sum(append(urlSpace, "urn:weighbridge:oms-root:"+root...))
	u := sum[:16]
	u[6], u[8] = u[6]&0x0f|0x50, u[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", u[:4], u[4:6], u[6:8], u[8:10], u[10:])
}
