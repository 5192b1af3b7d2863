package sbom

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/weighbridge/weighbridge/supply/manifest"
)

// The property names that weighbridge writes into a BOM.
const (
	PropertyRoot       = "weighbridge:oms-root"        // the model's OMS root
	PropertyPythonRoot = "weighbridge:oms-root-python" // where the Python implementation's order gives another
	PropertyIdentity   = "weighbridge:identity"        // the weighbridge identity, which binds names
	PropertyRole       = "weighbridge:role"            // what a component is for; see Role
	PropertyClaimed    = "weighbridge:claimed"         // "FIELD from SOURCE": the author's text, not checked
	PropertyRead       = "weighbridge:read"            // "FIELD from FILE": read from the weights' own headers
	PropertyUnknown    = "weighbridge:unknown"         // "FIELD: WHERE IT WAS LOOKED FOR": left out rather than guessed
)

// The parts of a BOM that Check reads. The schema has been held against the
// document before: it forbids unknown properties wherever these stand, so that
// encoding/json's tolerance of upper and lower case finds nothing to tolerate.
type bomDoc struct {
	SpecVersion string `json:"specVersion"`
	Metadata    struct {
		Component *component `json:"component"`
	} `json:"metadata"`
	Components   []component  `json:"components"`
	Dependencies []dependency `json:"dependencies"`
}

type component struct {
	Ref        string      `json:"bom-ref"`
	Type       string      `json:"type"`
	Group      string      `json:"group"`
	Name       string      `json:"name"`
	Version    string      `json:"version"`
	Hashes     []digest    `json:"hashes"`
	Licenses   []licence   `json:"licenses"`
	Properties []property  `json:"properties"`
	Components []component `json:"components"`
	Data       []struct {
		Ref string `json:"bom-ref"`
	} `json:"data"`
	ModelCard struct {
		Parameters struct {
			Datasets []struct {
				Ref  string `json:"ref"`
				Name string `json:"name"`
				Own  string `json:"bom-ref"`
			} `json:"datasets"`
		} `json:"modelParameters"`
	} `json:"modelCard"`
	Pedigree struct {
		Ancestors []component `json:"ancestors"`
	} `json:"pedigree"`
}

type digest struct {
	Alg     string `json:"alg"`
	Content string `json:"content"`
}

type property struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

type licence struct {
	Expression string `json:"expression"`
	License    struct {
		ID   string `json:"id"`
		Name string `json:"name"`
	} `json:"license"`
}

type dependency struct {
	Ref       string   `json:"ref"`
	DependsOn []string `json:"dependsOn"`
	Provides  []string `json:"provides"`
}

const (
	typeModel = "machine-learning-model"
	typeFile  = "file"
	typeData  = "data"
)

// full is how messages call the component.
func (c *component) full() string {
	s := c.Name
	if c.Group != "" {
		s = c.Group + "/" + s
	}
	if c.Version != "" {
		s += "@" + c.Version
	}
	return s
}

func (c *component) property(name string) []string {
	var out []string
	for _, p := range c.Properties {
		if p.Name == name {
			out = append(out, p.Value)
		}
	}
	return out
}

// digests gives the hashes of one algorithm, in lower case.
func (c *component) digests(alg string) []string {
	var out []string
	for _, h := range c.Hashes {
		if h.Alg == alg {
			out = append(out, strings.ToLower(h.Content))
		}
	}
	return out
}

// algorithms maps CycloneDX's names to those of digests elsewhere.
var algorithms = map[string]string{
	"SHA-256": "sha256", "SHA-384": "sha384", "SHA-512": "sha512",
	"SHA3-256": "sha3-256", "SHA3-384": "sha3-384", "SHA3-512": "sha3-512",
	"BLAKE2b-256": "blake2b-256", "BLAKE2b-384": "blake2b-384", "BLAKE2b-512": "blake2b", "BLAKE3": "blake3",
}

// named gives the digests that identify content, as algorithm:hex. MD5 and
// SHA-1 do not: two contents with one digest can be made.
func (c *component) named() []string {
	var out []string
	for _, h := range c.Hashes {
		if a, ok := algorithms[h.Alg]; ok {
			out = append(out, a+":"+strings.ToLower(h.Content))
		}
	}
	return out
}

// hashNames maps the hash of a manifest to CycloneDX's name.
var hashNames = map[manifest.Hash]string{manifest.SHA256: "SHA-256", manifest.BLAKE2b: "BLAKE2b-512", manifest.BLAKE3: "BLAKE3"}

// read validates and decodes. refs counts every bom-ref of the document,
// wherever it stands.
func read(src []byte) (*bomDoc, map[string]int, error) {
	tree, err := validated(src)
	if err != nil {
		return nil, nil, err
	}
	refs := map[string]int{}
	countRefs(tree, refs)
	var b bomDoc
	if err := json.Unmarshal(src, &b); err != nil {
		return nil, nil, &Invalid{"", fmt.Sprintf("decoding: %s", plain(err.Error(), maxShown))}
	}
	return &b, refs, nil
}

func countRefs(v any, refs map[string]int) {
	switch v := v.(type) {
	case []any:
		for _, x := range v {
			countRefs(x, refs)
		}
	case map[string]any:
		if r, ok := v["bom-ref"].(string); ok {
			refs[r]++
		}
		for _, x := range v {
			countRefs(x, refs)
		}
	}
}
