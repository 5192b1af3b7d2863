package sbom

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/weighbridge/weighbridge/supply/manifest"
)

// Limits of the texts of a folder that are read.
const (
	maxText  = 1 << 20
	maxValue = 400 // bytes of one value
	maxItems = 1000
)

// said is one value and where it comes from.
type said struct{ value, source string }

// folder is what a model folder says of itself. Every text is cut and
// printable.
type folder struct {
	root    *os.Root
	headers map[string]*header // by file
	notes   map[string]string  // file to why it could not be read

	name, version, task, family, architecture []said
	licences, authors, bases, datasets        []said
	libraries                                 []said // name or name@version
	remote                                    []said // repositories whose code the configuration names
	cards                                     []string
	contextLength, tokenizer                  []said
	relation                                  string // of an adapter to its base
}

// describe reads the headers and texts of a folder. What cannot be read is
// noted; the error is ctx's or the file system's.
func describe(ctx context.Context, dir string, m *manifest.Manifest) (_ *folder, err error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	f := &folder{root: root, headers: map[string]*header{}, notes: map[string]string{}}
	for _, r := range m.Resources {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if err := f.file(r.Name); err != nil {
			return nil, fmt.Errorf("describing %s: %w", r.Name, err)
		}
	}
	f.licenceFiles(m)
	return f, nil
}

func (f *folder) file(name string) error {
	base := path.Base(name)
	switch {
	case RoleOf(name).weighty():
		return f.weights(name)
	case name != base:
		return nil // texts count at the top level only
	}
	switch base {
	case "README.md":
		return f.text(name, f.card)
	case "config.json":
		return f.text(name, f.config)
	case "tokenizer_config.json", "processor_config.json", "preprocessor_config.json", "generation_config.json":
		return f.text(name, f.loaderConfig)
	case "adapter_config.json":
		return f.text(name, f.adapterConfig)
	}
	return nil
}

func (f *folder) text(name string, read func(name string, src []byte) error) error {
	file, err := f.root.Open(name)
	if err != nil {
		return err
	}
	defer file.Close()
	src, err := io.ReadAll(io.LimitReader(file, maxText+1))
	if err != nil {
		return err
	}
	if len(src) > maxText {
		f.notes[name] = fmt.Sprintf("larger than %d bytes, not read", maxText)
		return nil
	}
	if err := read(name, src); err != nil {
		f.notes[name] = plain(err.Error(), maxValue)
	}
	return nil
}

func (f *folder) weights(name string) error {
	file, err := f.root.Open(name)
	if err != nil {
		return err
	}
	defer file.Close()
	fi, err := file.Stat()
	if err != nil {
		return err
	}
	h, err := readHeader(name, file, fi.Size())
	if err != nil {
		f.notes[name] = plain(err.Error(), maxValue)
	}
	if h != nil {
		h.adapter = h.adapter || RoleOf(name) == RoleAdapter
		f.headers[name] = h
		f.gguf(name, h)
	}
	return nil
}

// add keeps a value, once per text.
func add(list *[]said, source string, values ...string) {
	for _, v := range values {
		v = plain(strings.TrimSpace(v), maxValue)
		if v == "" || len(*list) >= maxItems || slices.ContainsFunc(*list, func(s said) bool { return s.value == v }) {
			continue
		}
		*list = append(*list, said{v, source})
	}
}

// gguf takes what the general.* keys say
// (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md#general-metadata).
func (f *folder) gguf(name string, h *header) {
	if h.meta == nil {
		return
	}
	get := func(key string) string { s, _ := h.meta.String(key); return s }
	src := name + " "
	add(&f.bases, src+"general.base_model.*", numbered(get, h, "general.base_model")...)
	if h.adapter {
		return // its name and licence are not the model's when both lie here
	}
	add(&f.name, src+"general.name", get("general.name"))
	add(&f.version, src+"general.version", get("general.version"))
	add(&f.licences, src+"general.license", get("general.license"))
	if get("general.license") == "" {
		add(&f.licences, src+"general.license.name", get("general.license.name"))
	}
	add(&f.authors, src+"general.author", get("general.author"))
	add(&f.authors, src+"general.organization", get("general.organization"))
	add(&f.datasets, src+"general.dataset.*", numbered(get, h, "general.dataset")...)
	if list, ok := h.meta.Strings("general.datasets"); ok {
		add(&f.datasets, src+"general.datasets", list[:min(len(list), maxItems)]...)
	}
	arch := get("general.architecture")
	add(&f.family, src+"general.architecture", arch)
	if n, ok := h.meta.Uint(arch + ".context_length"); ok {
		add(&f.contextLength, name, fmt.Sprint(n))
	}
	if t := get("tokenizer.ggml.model"); t != "" {
		tokens, _ := h.meta.Strings("tokenizer.ggml.tokens")
		if pre := get("tokenizer.ggml.pre"); pre != "" {
			t += " (" + pre + ")"
		}
		add(&f.tokenizer, name, fmt.Sprintf("%s, %d tokens", t, len(tokens)))
	}
}

// numbered gives the names of general.base_model.0.* and their like.
func numbered(get func(string) string, h *header, prefix string) (out []string) {
	n, _ := h.meta.Uint(prefix + ".count")
	for i := range min(n, maxItems) {
		p := fmt.Sprintf("%s.%d.", prefix, i)
		name := get(p + "name")
		if org := get(p + "organization"); org != "" && name != "" {
			name = org + "/" + name
		}
		if v := get(p + "version"); v != "" && name != "" {
			name += "@" + v
		}
		if name == "" {
			name = get(p + "repo_url")
		}
		out = append(out, name)
	}
	return out
}

// card reads a Hugging Face model card
// (https://huggingface.co/docs/hub/model-cards#model-card-metadata).
func (f *folder) card(name string, src []byte) error {
	f.cards = append(f.cards, name)
	meta, err := frontMatter(src)
	if err != nil {
		return err
	}
	source := name + " front matter"
	for _, l := range meta["license"] {
		// "other" stands for the text in license_name.
		if named := meta["license_name"]; strings.EqualFold(l, "other") && len(named) > 0 {
			l = named[0]
		}
		add(&f.licences, source, l)
	}
	add(&f.bases, source, meta["base_model"]...)
	add(&f.datasets, source, meta["datasets"]...)
	add(&f.task, source, meta["pipeline_tag"]...)
	add(&f.libraries, source, meta["library_name"]...)
	if r := meta["base_model_relation"]; len(r) == 1 {
		f.relation = plain(r[0], maxValue)
	}
	return nil
}

func (f *folder) config(name string, src []byte) error {
	c, err := parseObject(src)
	if err != nil {
		return err
	}
	add(&f.architecture, name+" architectures", texts(c["architectures"])...)
	add(&f.family, name+" model_type", texts(c["model_type"])...)
	if v := texts(c["transformers_version"]); len(v) == 1 {
		add(&f.libraries, name, "transformers@"+v[0])
	}
	if n, ok := c["max_position_embeddings"].(fmt.Stringer); ok {
		add(&f.contextLength, name, n.String())
	}
	f.autoMap(name, c)
	return nil
}

func (f *folder) loaderConfig(name string, src []byte) error {
	c, err := parseObject(src)
	if err != nil {
		return err
	}
	f.autoMap(name, c)
	return nil
}

// autoMap notes the code of other repositories: transformers runs
// "owner/name--module.Class" from there.
func (f *folder) autoMap(name string, c map[string]any) {
	m, _ := c["auto_map"].(map[string]any)
	for _, key := range slices.Sorted(maps.Keys(m)) {
		for _, s := range texts(m[key]) {
			if repo, _, ok := strings.Cut(s, "--"); ok {
				add(&f.remote, name+" auto_map", repo)
			}
		}
	}
}

// adapterConfig reads a PEFT adapter's configuration.
func (f *folder) adapterConfig(name string, src []byte) error {
	c, err := parseObject(src)
	if err != nil {
		return err
	}
	f.relation = "adapter"
	for _, base := range texts(c["base_model_name_or_path"]) {
		if rev := texts(c["revision"]); len(rev) == 1 && rev[0] != "" {
			base += "@" + rev[0]
		}
		add(&f.bases, name+" base_model_name_or_path", base)
	}
	add(&f.libraries, name, "peft")
	f.autoMap(name, c)
	return nil
}

// licenceFiles looks for an SPDX-License-Identifier in the licence files. What
// else their text might mean is not guessed.
func (f *folder) licenceFiles(m *manifest.Manifest) {
	for _, r := range m.Resources {
		base := strings.ToLower(strings.TrimSuffix(r.Name, path.Ext(r.Name)))
		if base != "license" && base != "licence" && base != "copying" {
			continue
		}
		found := false
		err := f.text(r.Name, func(_ string, src []byte) error {
			for line := range bytes.Lines(src) {
				if _, id, ok := bytes.Cut(line, []byte("SPDX-License-Identifier:")); ok {
					add(&f.licences, r.Name, string(id))
					found = true
				}
			}
			return nil
		})
		if err != nil {
			f.notes[r.Name] = plain(err.Error(), maxValue)
		} else if !found && f.notes[r.Name] == "" {
			f.notes[r.Name] = "holds a licence's text without an SPDX-License-Identifier line; name it with --licence"
		}
	}
}

func parseObject(src []byte) (map[string]any, error) {
	v, err := parse(src)
	if invalid, ok := err.(*Invalid); ok {
		return nil, fmt.Errorf("at %s: %s", cmp.Or(invalid.Pointer, "/"), invalid.Want)
	}
	c, ok := v.(map[string]any)
	if !ok {
		return nil, errors.New("expected a JSON object")
	}
	return c, nil
}

// texts gives a string, or the strings of a list.
func texts(v any) []string {
	switch v := v.(type) {
	case string:
		return []string{v}
	case []any:
		var out []string
		for _, x := range v[:min(len(v), maxItems)] {
			if s, ok := x.(string); ok {
				out = append(out, s)
			}
		}
		return out
	}
	return nil
}
