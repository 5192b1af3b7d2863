package sbom

import (
	"bytes"
	"encoding/hex"
	"path"
	"strings"

	"golang.org/x/text/unicode/norm"

	"github.com/weighbridge/weighbridge/supply/manifest"
)

func compareStrings(a, b string) int { return strings.Compare(a, b) }

// files is rule (a): every weight file has a file component with its digest,
// and every file component is a file.
func (c *checker) files() {
	byDigest := map[string][]string{} // digest of a resource to its names
	for _, r := range c.m.Resources {
		d := hex.EncodeToString(r.Digest)
		byDigest[d] = append(byDigest[d], r.Name)
	}
	listed := map[string]int{} // name of a resource to components about it
	c.each(func(x *component, around string) {
		if x.Type != typeFile {
			return
		}
		// Files inside a dataset or a library are theirs.
		if around != "" && around != typeFile && around != typeModel {
			c.facts.Unchecked += len(x.Hashes)
			return
		}
		c.file(x, byDigest, listed)
	})
	for _, r := range c.m.Resources {
		n := listed[r.Name]
		role := RoleOf(r.Name)
		switch {
		case n > 1:
			c.problem(RuleFileTwice, r.Name, "%d file components are about it; one is expected", n)
		case n == 1 || c.isBOM(r):
		case role.weighty():
			c.problem(RuleFileMissing, r.Name, "it is part of the model and no file component has its name or its %s %x", c.alg, r.Digest)
		case role == RoleCode:
			c.gap(RuleLoader, r.Name, "it can run when the model is loaded, and the BOM does not list it")
		}
	}
}

func (c *checker) file(x *component, byDigest map[string][]string, listed map[string]int) {
	claims := x.digests(c.alg)
	c.facts.Unchecked += len(x.Hashes) - len(claims)
	name := c.resourceName(x, claims, byDigest)
	if name == "" {
		c.facts.Unchecked += len(claims)
		like := ""
		if c.count[RuleFileExtra] < maxPerRule {
			like = c.lookalike(x.Name)
		}
		c.problem(RuleFileExtra, x.Name, "the BOM lists this file; the model has none of this name or digest%s", like)
		return
	}
	listed[name]++
	r := c.byName[name]
	if len(claims) == 0 {
		if RoleOf(name).weighty() {
			c.gap(RuleFileNoHash, name, "it is listed without a %s to compare", c.alg)
		}
		return
	}
	for _, d := range claims {
		c.facts.Checked++
		if have := hex.EncodeToString(r.Digest); d != have {
			c.problem(RuleHash, name, "the BOM says %s %s, and the file has %s", c.alg, d, have)
		}
	}
}

// resourceName finds the file that a component is about: by its whole name,
// else, where another tool shortened the name, by its digest.
func (c *checker) resourceName(x *component, claims []string, byDigest map[string][]string) string {
	names := []string{strings.TrimPrefix(x.Name, "./")}
	if x.Group != "" {
		names = append(names, x.Group+"/"+x.Name)
	}
	for _, n := range names {
		if _, ok := c.byName[n]; ok {
			return n
		}
	}
	for _, d := range claims {
		found := byDigest[d]
		for _, n := range found {
			if path.Base(n) == path.Base(x.Name) {
				return n
			}
		}
		if len(found) > 0 {
			return found[0]
		}
	}
	return ""
}

// lookalike tells a name that differs from a file's in its bytes only.
func (c *checker) lookalike(name string) string {
	fold := func(s string) string { return strings.ToLower(norm.NFKC.String(plain(s, len(s)))) }
	if len(name) > 4096 {
		return ""
	}
	for _, r := range c.m.Resources {
		if fold(r.Name) == fold(name) {
			return "; it looks like " + shown(r.Name) + ", whose bytes differ"
		}
	}
	return ""
}

// isBOM tells a file that is this BOM or another one: a BOM does not list
// itself, and several beside one model do not list each other.
func (c *checker) isBOM(r manifest.Resource) bool {
	base := strings.ToLower(path.Base(r.Name))
	if base == manifest.BOMFile || strings.HasSuffix(base, ".cdx.json") || base == "sbom.json" {
		return true
	}
	return c.m.Hash == manifest.SHA256 && bytes.Equal(c.self[:], r.Digest)
}
