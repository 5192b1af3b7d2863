package formats

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// maxJSON bounds what is read of one configuration; the largest tokenizers
// known to us have 35 MB.
const maxJSON = 128 << 20

func (s *source) isText() bool {
	h := s.head
	if bytes.IndexByte(h, 0) >= 0 {
		return false
	}
	if int64(len(h)) < s.size { // the last character may be cut
		for range utf8.UTFMax {
			if r, _ := utf8.DecodeLastRune(h); r != utf8.RuneError || len(h) == 0 {
				break
			}
			h = h[:len(h)-1]
		}
	}
	return utf8.Valid(h)
}

func (s *source) text() (File, error) {
	switch e := ext(s.name); {
	case e == ".json" || strings.HasSuffix(base(s.name), ".json.txt"):
		return s.json()
	case e == ".yaml" || e == ".yml":
		return s.yaml()
	}
	return s.is("text", "text"), nil
}

func (s *source) all(limit int64) ([]byte, error) { return s.read(0, min(s.size, limit)) }

// json checks that it is JSON and looks for code that loaders import because
// a configuration says so.
func (s *source) json() (File, error) {
	if s.size > maxJSON {
		return s.bad(RuleMalformed, "json", "%d bytes, at most %d are read", s.size, int64(maxJSON)), nil
	}
	src, err := s.all(maxJSON)
	if err != nil {
		return File{}, err
	}
	if !json.Valid(src) {
		return s.bad(RuleMalformed, "json", "not one JSON value"), nil
	}
	// Only what could hold one of the names, in plain or escaped letters, is
	// walked: tokenizers are large and hold none.
	if !suspicious(src) {
		return s.is("json", "JSON"), nil
	}
	if code := customCode(src); len(code) > 0 {
		f := s.bad(RuleCustomCode, "json", "it names code that a loader imports: %s; remove it, or convert the model to a format that needs no code", strings.Join(code[:min(len(code), 5)], ", "))
		f.Opcodes = code
		return f, nil
	}
	return s.is("json", "JSON"), nil
}

// suspicious reports whether a watched name may be in the text; letters of it
// may be written as escapes of ASCII.
func suspicious(src []byte) bool {
	for name := range watched {
		if bytes.Contains(src, []byte(name)) {
			return true
		}
	}
	for rest := src; ; {
		i := bytes.Index(rest, []byte(`\u00`))
		if i < 0 || i+4 >= len(rest) {
			return false
		}
		if c := rest[i+4]; c >= '2' && c <= '7' {
			return true
		}
		rest = rest[i+4:]
	}
}

// customCode lists what a configuration names as code: auto_map of transformers
// and diffusers, wherever it stands.
func customCode(src []byte) (out []string) {
	d := json.NewDecoder(bytes.NewReader(src))
	d.UseNumber()
	walk(d, "", func(key string, value any) {
		switch key {
		case "trust_remote_code":
			if value == true {
				out = append(out, "trust_remote_code")
			}
		case "auto_map", "custom_pipeline", "custom_pipelines":
			out = append(out, named(key, value)...)
		}
	})
	return out
}

func named(key string, value any) (out []string) {
	m, ok := value.(map[string]any)
	if !ok {
		if value == nil {
			return nil
		}
		return []string{fmt.Sprintf("%s: %.200q", key, fmt.Sprint(value))}
	}
	for k, v := range m {
		out = append(out, fmt.Sprintf("%s.%.60s: %.200q", key, readableName(k), fmt.Sprint(v)))
	}
	slices.Sort(out)
	return out
}

// walk calls visit for each key of each object, with doubled keys each time.
// Objects below an asked key come whole.
func walk(d *json.Decoder, key string, visit func(string, any)) {
	if watched[key] {
		var v any
		if d.Decode(&v) == nil {
			visit(key, v)
		}
		return
	}
	t, err := d.Token()
	if err != nil {
		return
	}
	switch t {
	case json.Delim('{'):
		for d.More() {
			k, err := d.Token()
			if err != nil {
				return
			}
			name, _ := k.(string)
			walk(d, name, visit)
		}
		_, _ = d.Token()
	case json.Delim('['):
		for d.More() {
			walk(d, "", visit)
		}
		_, _ = d.Token()
	}
}

var watched = set("auto_map", "trust_remote_code", "custom_pipeline", "custom_pipelines")

// kerasCode lists Lambda layers and classes from outside Keras in a config.json
// of a .keras archive.
func kerasCode(src []byte) (out []string) {
	var v any
	if json.Unmarshal(src, &v) != nil {
		return nil
	}
	var visit func(v any)
	visit = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			class, _ := v["class_name"].(string)
			module, _ := v["module"].(string)
			if class == "Lambda" || class == "__lambda__" || module != "" && module != "keras" && !strings.HasPrefix(module, "keras.") && module != "builtins" {
				out = append(out, fmt.Sprintf("class %.100s.%.100s", readableName(module), readableName(class)))
			}
			for _, k := range slices.Sorted(maps.Keys(v)) {
				visit(v[k])
			}
		case []any:
			for _, x := range v {
				visit(x)
			}
		}
	}
	visit(v)
	return out[:min(len(out), 1000)]
}

// Tags by which YAML loaders of Python make objects: PyYAML's own, and those of
// hyperpyyaml.
var yamlTag = regexp.MustCompile(`(?:^|[\s\[{,:-])(!!python/|!python/|!<tag:yaml\.org,2002:python/|!new:|!apply:|!applyref:|!name:|!module:)[^\s,\]}]*|^%TAG`)

func (s *source) yaml() (File, error) {
	src, err := s.all(maxJSON)
	if err != nil {
		return File{}, err
	}
	var code []string
	for _, l := range bytes.Split(src, []byte("\n")) {
		if m := yamlTag.Find(l); m != nil {
			code = append(code, readableName(strings.TrimSpace(string(m))))
		}
	}
	if len(code) > 0 {
		f := s.bad(RuleCustomCode, "yaml", "its tags make a loader call code: %s", strings.Join(code[:min(len(code), 5)], ", "))
		f.Opcodes = code[:min(len(code), 1000)]
		return f, nil
	}
	if s.size > maxJSON {
		return s.bad(RuleMalformed, "yaml", "%d bytes, at most %d are read", s.size, int64(maxJSON)), nil
	}
	return s.is("yaml", "YAML"), nil
}
