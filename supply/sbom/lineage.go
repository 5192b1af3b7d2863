package sbom

import (
	"slices"
	"strings"
)

// nothing are the licences that say nothing.
var nothing = []string{"", "noassertion", "none", "other", "unknown", "see license", "see licence"}

func (c *checker) licences() {
	for _, l := range c.model.Licenses {
		s := strings.TrimSpace(l.Expression + l.License.ID + l.License.Name)
		if slices.Contains(nothing, strings.ToLower(s)) {
			c.gap(RuleLicence, "licenses", "the licence %s says nothing", shown(s))
			continue
		}
		c.facts.Licences = append(c.facts.Licences, plain(s, maxShown))
	}
	if len(c.model.Licenses) == 0 {
		c.gap(RuleLicence, "licenses", "the model's licence is not named")
	}
}

func (c *checker) ancestors() {
	for i := range c.model.Pedigree.Ancestors {
		a := &c.model.Pedigree.Ancestors[i]
		digests := a.named()
		if len(digests) == 0 {
			c.gap(RuleBaseNoDigest, a.full(), "the base model is named without a digest")
			continue
		}
		c.facts.Unchecked += len(digests)
		c.facts.BaseModels = append(c.facts.BaseModels, digests...)
	}
}

// datasets is rule (c): every dataset resolves to a data component with a
// digest.
func (c *checker) datasets() {
	byRef := map[string]*component{}
	c.each(func(x *component, _ string) {
		if x.Type != typeData {
			return
		}
		byRef[x.Ref] = x
		for _, d := range x.Data {
			byRef[d.Ref] = x
		}
	})
	delete(byRef, "")
	for _, d := range c.model.ModelCard.Parameters.Datasets {
		if d.Ref == "" {
			name := d.Name
			if name == "" {
				name = d.Own
			}
			c.gap(RuleDatasetNoHash, name, "the dataset is described inline, where CycloneDX has no place for a digest; use a component of type data and refer to it")
			continue
		}
		x, ok := byRef[d.Ref]
		switch {
		case !ok && strings.HasPrefix(d.Ref, "urn:cdx:"):
			c.problem(RuleDatasetDangling, d.Ref, "the dataset is in another BOM, which is not at hand; list it here as a component of type data")
		case !ok:
			c.problem(RuleDatasetDangling, d.Ref, "no component of type data has this bom-ref")
		case len(x.named()) == 0:
			c.gap(RuleDatasetNoHash, x.full(), "the dataset is named without a digest")
		default:
			c.facts.Unchecked += len(x.named())
			c.facts.Datasets++
		}
	}
}

// loaders gathers what runs to load the model.
func (c *checker) loaders() {
	c.each(func(x *component, _ string) {
		roles := x.property(PropertyRole)
		code := slices.Contains(roles, string(RoleCode))
		if x.Type == typeFile && !code && RoleOf(x.Name) != RoleCode {
			return
		}
		if !code && !slices.Contains(roles, string(RoleLoader)) && x.Type != "library" && x.Type != "framework" && x.Type != typeFile {
			return
		}
		c.facts.Loaders = append(c.facts.Loaders, plain(x.full(), maxShown))
		if code && x.Type != typeFile && len(x.named()) == 0 {
			c.gap(RuleRemoteCode, x.full(), "the model's configuration names this code, which is not in the folder and has no digest")
		}
	})
}
