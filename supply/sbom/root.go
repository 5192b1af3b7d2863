package sbom

import (
	"encoding/hex"
	"slices"
	"strings"

	"github.com/weighbridge/weighbridge/supply/manifest"
)

// findModel picks the component that is the model: the BOM's subject, else the
// only model that is listed, else the one whose digest or property is a root.
func (c *checker) findModel() {
	if m := c.bom.Metadata.Component; m != nil && m.Type == typeModel {
		c.model = m
		return
	}
	var models []*component
	c.each(func(x *component, _ string) {
		if x.Type == typeModel {
			models = append(models, x)
		}
	})
	if len(models) == 1 {
		c.model = models[0]
		return
	}
	roots := c.roots()
	for _, x := range models {
		if slices.ContainsFunc(append(x.digests("SHA-256"), x.property(PropertyRoot)...), func(d string) bool { return roots[bare(d)] }) {
			c.model = x
			return
		}
	}
	c.problem(RuleNoModel, "metadata.component", "the BOM's subject is no %s, and %d are listed, none of them with this model's root; one is expected", typeModel, len(models))
}

// roots are the OMS roots under which these files are known: in both orders,
// with and without the BOMs among them, for a BOM cannot hold its own digest.
func (c *checker) roots() map[string]bool {
	out := map[string]bool{c.m.Root(): true, c.m.PythonRoot(): true}
	if w := c.withoutBOMs(); w != nil {
		out[w.Root()], out[w.PythonRoot()] = true, true
	}
	return out
}

func (c *checker) withoutBOMs() *manifest.Manifest {
	rest := slices.DeleteFunc(slices.Clone(c.m.Resources), c.isBOM)
	if len(rest) == len(c.m.Resources) || len(rest) == 0 {
		return nil
	}
	return &manifest.Manifest{Method: c.m.Method, Hash: c.m.Hash, Resources: rest}
}

// bare strips "sha256:" and the case.
func bare(d string) string { return strings.TrimPrefix(strings.ToLower(d), "sha256:") }

// root is rule (b): the model component's SHA-256, or its documented property,
// is the root.
func (c *checker) root() {
	roots := c.roots()
	tied := false
	for _, name := range []string{PropertyRoot, PropertyPythonRoot} {
		for _, v := range c.model.property(name) {
			c.facts.Checked++
			if roots[bare(v)] {
				tied = true
			} else {
				c.problem(RuleRoot, name, "it is %s, and the model's OMS root is %s", shown(v), c.m.Root())
			}
		}
	}
	hashes := c.model.digests("SHA-256")
	c.facts.Unchecked += len(c.model.Hashes) - len(hashes)
	for _, d := range hashes {
		c.facts.Checked++
		file := c.fileWith(d)
		switch {
		case roots[d]:
			tied = true
		case file == "":
			c.problem(RuleRoot, c.model.Name, "its SHA-256 is %s, and the model's OMS root is %s", d, c.m.Root())
		case !tied:
			c.gap(RuleRootAbsent, c.model.Name, "its SHA-256 is that of %s alone; put the OMS root %s into the property %s", shown(file), c.m.Root(), PropertyRoot)
			tied = true // said
		}
	}
	if !tied && c.count[RuleRoot] == 0 {
		c.gap(RuleRootAbsent, c.model.Name, "it has no SHA-256; expected the OMS root %s there or in the property %s", c.m.Root(), PropertyRoot)
	}
	c.identity()
}

func (c *checker) fileWith(digest string) string {
	if c.m.Hash != manifest.SHA256 {
		return ""
	}
	for _, r := range c.m.Resources {
		if hex.EncodeToString(r.Digest) == digest {
			return r.Name
		}
	}
	return ""
}

func (c *checker) identity() {
	claims := c.model.property(PropertyIdentity)
	want, ok := c.m.Identity()
	if len(claims) == 0 {
		return
	}
	if !ok {
		c.facts.Unchecked += len(claims)
		return
	}
	accepted := []string{bare(string(want))}
	if w := c.withoutBOMs(); w != nil {
		id, _ := w.Identity()
		accepted = append(accepted, bare(string(id)))
	}
	for _, v := range claims {
		c.facts.Checked++
		if !slices.Contains(accepted, bare(v)) {
			c.problem(RuleIdentity, PropertyIdentity, "it is %s, and the model's identity is %s; files were renamed, or the BOM is another model's", shown(v), want)
		}
	}
}
