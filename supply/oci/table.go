package oci

import (
	"mime"
	"strconv"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Kind is whose conventions an artifact follows.
type Kind string

// The kinds that are imported. Only ModelPack is written.
const (
	ModelPack Kind = "modelpack"
	ModelKit  Kind = "modelkit"
	Docker    Kind = "docker"
	Ollama    Kind = "ollama"
)

// CNCF ModelPack v0.0.7 (https://github.com/modelpack/model-spec).
const (
	modelPackArtifact = "application/vnd.cncf.model.manifest.v1+json"
	modelPackConfig   = "application/vnd.cncf.model.config.v1+json"
	modelPackPrefix   = "application/vnd.cncf.model."
	annotationPath    = "org.cncf.model.filepath"
)

const dockerManifest = "application/vnd.docker.distribution.manifest.v2+json"
const dockerList = "application/vnd.docker.distribution.manifest.list.v2+json"

// packing is how the files lie in a layer.
type packing int

const (
	raw packing = iota
	tarred
	gzipped
	zstandard
)

// rule says what becomes of layers of one media type. name is the file's name
// where the layer does not tell one; empty means that it has to.
type rule struct {
	mediaType string
	packing   packing
	name      string
}

// rules are those of the kinds other than ModelPack and ModelKit, whose media
// types are made of parts: see layerRule.
var rules = map[Kind][]rule{
	Docker: {
		{"application/vnd.docker.ai.gguf.v3", raw, "model.gguf"},
		{"application/vnd.docker.ai.safetensors", raw, "model.safetensors"},
		{"application/vnd.docker.ai.dduf", raw, "model.dduf"},
		{"application/vnd.docker.ai.mmproj", raw, "mmproj.gguf"},
		{"application/vnd.docker.ai.license", raw, "LICENSE"},
		{"application/vnd.docker.ai.chat.template.jinja", raw, "chat_template.jinja"},
		{"application/vnd.docker.ai.model.file", raw, ""},
		{"application/vnd.docker.ai.vllm.config.tar", tarred, ""},
		{"application/vnd.docker.ai.dir.tar", tarred, ""},
	},
	Ollama: {
		{"application/vnd.ollama.image.model", raw, "model.gguf"},
		{"application/vnd.ollama.image.adapter", raw, "adapter.gguf"},
		{"application/vnd.ollama.image.projector", raw, "projector.gguf"},
		{"application/vnd.ollama.image.template", raw, "template"},
		{"application/vnd.ollama.image.params", raw, "params.json"},
		{"application/vnd.ollama.image.system", raw, "system"},
		{"application/vnd.ollama.image.messages", raw, "messages.json"},
		{"application/vnd.ollama.image.license", raw, "LICENSE"},
	},
}

// modelPackTypes and modelKitTypes are what stands between prefix and version.
var (
	modelPackTypes = []string{"weight", "weight.config", "doc", "code", "dataset"}
	modelKitTypes  = []string{"model", "modelpart", "dataset", "code", "docs", "prompt"}
	packings       = map[string]packing{"raw": raw, "tar": tarred, "tar+gzip": gzipped, "tar+zstd": zstandard}
	// Written by Docker's tools into ModelPacks, outside of the specification.
	modelPackExtra = []rule{
		{"application/vnd.cncf.model.weight.v1.gguf", raw, "model.gguf"},
		{"application/vnd.cncf.model.weight.v1.safetensors", raw, "model.safetensors"},
	}
)

// kindOf tells the kind by artifact type, config and layers, in this order.
func kindOf(m *ocispec.Manifest) (Kind, bool) {
	config := bare(m.Config.MediaType)
	switch {
	case m.ArtifactType == modelPackArtifact || config == modelPackConfig:
		return ModelPack, true
	case strings.HasPrefix(config, "application/vnd.kitops.modelkit.config."):
		return ModelKit, true
	case strings.HasPrefix(config, "application/vnd.docker.ai.model.config."):
		return Docker, true
	}
	for _, l := range m.Layers {
		if strings.HasPrefix(l.MediaType, "application/vnd.ollama.image.") {
			return Ollama, true
		}
	}
	return "", false
}

// layerRule finds what to do with a layer.
func layerRule(k Kind, mediaType string) (rule, bool) {
	mediaType = bare(mediaType)
	list := rules[k]
	switch k {
	case ModelPack:
		if r, ok := composed(mediaType, modelPackPrefix, modelPackTypes); ok {
			return r, true
		}
		list = modelPackExtra
	case ModelKit:
		// Since 1.10 kits may hold ModelPack layers.
		if r, ok := composed(mediaType, modelPackPrefix, modelPackTypes); ok {
			return r, true
		}
		return composed(mediaType, "application/vnd.kitops.modelkit.", modelKitTypes)
	}
	for _, r := range list {
		if r.mediaType == mediaType {
			return r, true
		}
	}
	return rule{}, false
}

// composed reads PREFIX + TYPE + ".v1." + PACKING.
func composed(mediaType, prefix string, types []string) (rule, bool) {
	rest, ok := strings.CutPrefix(mediaType, prefix)
	if !ok {
		return rule{}, false
	}
	for _, t := range types {
		if p, ok := strings.CutPrefix(rest, t+".v1."); ok {
			how, ok := packings[p]
			return rule{mediaType: mediaType, packing: how}, ok
		}
	}
	return rule{}, false
}

// bare is the media type without parameters.
func bare(mediaType string) string {
	if m, _, err := mime.ParseMediaType(mediaType); err == nil {
		return m
	}
	return mediaType
}

// numbered gives the n-th file of one name its own: LICENSE, LICENSE-2, …
func numbered(name string, n int) string {
	if n < 2 {
		return name
	}
	stem, ext, dot := strings.Cut(name, ".")
	name = stem + "-" + strconv.Itoa(n)
	if dot {
		name += "." + ext
	}
	return name
}

// weightSuffixes, docNames and the like sort a file into ModelPack's layer types
// by its name alone: the content is for others to judge.
var (
	weightSuffixes = []string{".gguf", ".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".onnx", ".h5", ".npz", ".pkl", ".tflite", ".dduf", ".msgpack"}
	docSuffixes    = []string{".md", ".pdf", ".rst", ".html"}
	docNames       = []string{"license", "notice", "readme", "usage", "copying"}
	codeSuffixes   = []string{".py", ".sh", ".ipynb", ".js", ".c", ".cc", ".cpp", ".cu", ".rs", ".go"}
)

// layerType is the media type under which a file of that name is exported.
func layerType(name string) string {
	base := strings.ToLower(name[strings.LastIndexByte(name, '/')+1:])
	stem, _, _ := strings.Cut(base, ".")
	t := "weight.config"
	switch {
	case hasSuffix(base, weightSuffixes):
		t = "weight"
	case hasSuffix(base, codeSuffixes):
		t = "code"
	case hasSuffix(base, docSuffixes) || contains(docNames, stem):
		t = "doc"
	}
	return modelPackPrefix + t + ".v1.raw"
}

func hasSuffix(s string, suffixes []string) bool {
	for _, x := range suffixes {
		if strings.HasSuffix(s, x) {
			return true
		}
	}
	return false
}

func contains(list []string, s string) bool {
	for _, x := range list {
		if x == s {
			return true
		}
	}
	return false
}
