package intake

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/weighbridge/weighbridge/supply/store"
)

// Ollama is a model of an Ollama store: a manifest below
// manifests/HOST/NAMESPACE/NAME/TAG, whose layers lie in blobs/sha256-HEX. Every
// layer becomes a file; the manifest names its digest, which is checked.
type Ollama struct {
	Dir  string // the store, holding manifests/ and blobs/
	Name string // as Ollama writes it: [[HOST/]NAMESPACE/]NAME[:TAG]
}

// The parts of a name that Ollama leaves out when it writes one.
const (
	ollamaHost      = "registry.ollama.ai"
	ollamaNamespace = "library"
	ollamaTag       = "latest"
)

const (
	maxOllamaManifest = 4 << 20
	ollamaPrefix      = "application/vnd.ollama.image."
)

// ollamaFiles names the file that each kind of layer becomes; package oci uses
// the same names. A model may have several licences.
var ollamaFiles = map[string]string{
	"model": "model.gguf", "adapter": "adapter.gguf", "projector": "projector.gguf",
	"template": "template", "params": "params.json", "system": "system",
	"messages": "messages.json", "license": "LICENSE",
}

type ollamaManifest struct {
	SchemaVersion int           `json:"schemaVersion"`
	Config        ollamaLayer   `json:"config"`
	Layers        []ollamaLayer `json:"layers"`
}

type ollamaLayer struct {
	MediaType string `json:"mediaType"`
	Digest    string `json:"digest"`
	Size      int64  `json:"size"`
}

// Origin implements Source.
func (o Ollama) Origin() store.Origin {
	return store.Origin{Kind: KindOllama, Location: o.Name + "@" + o.Dir}
}

// Fetch implements Source.
func (o Ollama) Fetch(ctx context.Context, in *store.Intake) error {
	file, err := ollamaPath(o.Name)
	if err != nil {
		return err
	}
	root, err := os.OpenRoot(o.Dir)
	if err != nil {
		return err
	}
	defer root.Close()
	b, err := readBounded(root, file, maxOllamaManifest)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: the Ollama store %s has no model %q; it has %s", ErrSource, o.Dir, o.Name, o.others(root))
	}
	if err != nil {
		return err
	}
	var m ollamaManifest
	if err := json.Unmarshal(b, &m); err != nil {
		return fmt.Errorf("%w: %s: %w", ErrSource, file, err)
	}
	if m.SchemaVersion != 2 || len(m.Layers) == 0 || len(m.Layers) > 1000 {
		return fmt.Errorf("%w: %s has schema version %d and %d layers, which is no model", ErrSource, file, m.SchemaVersion, len(m.Layers))
	}
	seen := map[string]int{}
	for i, l := range m.Layers {
		kind, ok := strings.CutPrefix(l.MediaType, ollamaPrefix)
		name := ollamaFiles[kind]
		if !ok || name == "" {
			return fmt.Errorf("%w: %s: layers[%d] has the media type %q, which is not known", ErrSource, file, i, l.MediaType)
		}
		if seen[name]++; seen[name] > 1 {
			if kind != "license" {
				return &store.Violation{Rule: store.RuleDuplicate, Subject: name, Detail: fmt.Sprintf("the manifest has several layers of type %s", kind)}
			}
			name += "-" + strconv.Itoa(seen[name])
		}
		if err := o.layer(ctx, root, l, name, in); err != nil {
			return err
		}
	}
	return nil
}

func (o Ollama) layer(ctx context.Context, root *os.Root, l ollamaLayer, name string, in *store.Intake) error {
	hex, ok := strings.CutPrefix(l.Digest, "sha256:")
	if !ok || !isHex(hex, 64) || l.Size < 0 {
		return &store.Violation{Rule: store.RuleDigest, Subject: name, Detail: fmt.Sprintf("the manifest names it by %q with %d bytes", l.Digest, l.Size)}
	}
	blob := "blobs/sha256-" + hex
	st, err := root.Lstat(blob)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: %s: the blob of %s is missing; `ollama pull` the model again", ErrSource, path.Join(o.Dir, blob), name)
	}
	if err != nil {
		return err
	}
	if st.Mode()&fs.ModeSymlink != 0 {
		return &store.Violation{Rule: store.RuleLink, Subject: name, Detail: blob + " is a symlink"}
	}
	r, err := openSteady(root, blob)
	if err != nil {
		return err
	}
	defer r.close()
	_, err = in.Add(ctx, store.File{Name: name, Size: l.Size, SHA256: hex, Open: r.open, Resumable: true})
	if errors.Is(err, io.ErrUnexpectedEOF) && r.before.Size() < l.Size {
		return &store.Violation{Rule: store.RuleSize, Subject: name, Detail: fmt.Sprintf("its blob has %d bytes and the manifest names %d", r.before.Size(), l.Size)}
	}
	return r.blame(err)
}

// ollamaPath gives the path of a model's manifest.
func ollamaPath(name string) (string, error) {
	bad := func() (string, error) {
		return "", fmt.Errorf("%w: %q is no name of an Ollama model; write [[HOST/]NAMESPACE/]NAME[:TAG]", ErrSource, name)
	}
	rest, tag := name, ollamaTag
	if i := strings.LastIndexByte(name, ':'); i > strings.LastIndexByte(name, '/') {
		rest, tag = name[:i], name[i+1:]
	}
	parts := strings.Split(rest, "/")
	switch len(parts) {
	case 1:
		parts = []string{ollamaHost, ollamaNamespace, parts[0]}
	case 2:
		parts = []string{ollamaHost, parts[0], parts[1]}
	case 3:
	default:
		return bad()
	}
	for _, p := range append(parts, tag) {
		if p == "" || p == "." || p == ".." || strings.Trim(p, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-:") != "" {
			return bad()
		}
	}
	return path.Join("manifests", path.Join(parts...), tag), nil
}

// others lists the models that the store does have.
func (o Ollama) others(root *os.Root) string {
	found, err := fs.Glob(root.FS(), "manifests/*/*/*/*")
	if err != nil || len(found) == 0 {
		return "none"
	}
	for i, f := range found {
		p := strings.Split(f, "/")
		found[i] = strings.TrimPrefix(strings.TrimPrefix(path.Join(p[1], p[2], p[3]), ollamaHost+"/"), ollamaNamespace+"/") + ":" + p[4]
	}
	slices.Sort(found)
	if len(found) > 10 {
		found = append(found[:10], "…")
	}
	return strings.Join(found, ", ")
}

func readBounded(root *os.Root, name string, limit int64) ([]byte, error) {
	r, err := openSteady(root, name)
	if err != nil {
		return nil, err
	}
	defer r.close()
	b, err := io.ReadAll(io.LimitReader(r.file, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = fmt.Errorf("%w: %s has more than %d bytes", ErrSource, name, limit)
	}
	return b, err
}

func isHex(s string, digits int) bool {
	return len(s) == digits && strings.Trim(s, "0123456789abcdef") == ""
}
