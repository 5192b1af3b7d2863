package provenance

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"

	"github.com/weighbridge/weighbridge/record"
)

// origin is the model whose document is followed.
type origin struct {
	name string
	// chain are the digests of the model and of all that were made from it.
	chain []map[string]bool
}

func (o origin) own() bool { return len(o.chain) == 1 }

// follow adds the edges of one document, and of the documents of the base
// models that are at hand.
func (c *checker) follow(ctx context.Context, d *Document, from origin) error {
	conflicts := conflicting(d.Dependencies)
	have := map[Role]bool{}
	var older []*generation
	for i := range d.Dependencies {
		x := &d.Dependencies[i]
		have[x.Role] = true
		if len(c.links) >= maxLinks {
			c.problem(RuleDeep, from.name, "the lineage has more than %d links; what lies beyond was not followed", maxLinks)
			return nil
		}
		next, err := c.dependency(ctx, x, from, conflicts[x.Label()])
		if err != nil {
			return err
		}
		if next != nil {
			older = append(older, next)
		}
	}
	kind, _ := KindOf(d.BuildType)
	for _, role := range kind.Requires() {
		if have[role] {
			continue
		}
		c.link(record.Link{From: from.name, Role: string(role), Name: c.name(fmt.Sprintf("(no %s)", role), from.name+"\x00missing\x00"+string(role)),
			State: record.Absent, Detail: fmt.Sprintf("a %s has to name one", kind)})
		if from.own() {
			c.gap(RuleLinkMissing, string(role), "a build of type %s has to name its %s; add it with `weighbridge provenance add`", kind, role)
		}
	}
	for _, g := range older {
		if err := c.follow(ctx, g.doc, g.from); err != nil {
			return err
		}
	}
	return nil
}

// conflicting finds names under which two digests of one algorithm are claimed.
func conflicting(deps []Descriptor) map[string]bool {
	first, out := map[string]map[string]string{}, map[string]bool{}
	for i := range deps {
		d := &deps[i]
		seen := first[d.Label()]
		if seen == nil {
			first[d.Label()] = maps.Clone(d.Digest)
			continue
		}
		for alg, hex := range d.Digest {
			if seen[alg] != "" && seen[alg] != hex {
				out[d.Label()] = true
			}
			seen[alg] = hex
		}
	}
	return out
}

// edge is one dependency on its way into the links.
type edge struct {
	*checker
	from    origin
	d       *Descriptor
	link    record.Link
	settled bool // a gap was found, so that equal bytes do not make it valid
}

func (e *edge) gap(rule, format string, args ...any) {
	e.settled, e.link.Detail = true, fmt.Sprintf(format, args...)
	if e.from.own() {
		e.checker.gap(rule, e.link.Name, format, args...)
	}
}

func (e *edge) bad(rule, detail, format string, args ...any) {
	e.settled, e.link.State, e.link.Detail = true, record.Bad, detail
	e.problem(rule, e.link.Name, format, args...)
}

// model reports whether the dependency is one that weights come from.
func (e *edge) model() bool { return e.d.Role == BaseModel || e.d.Role == AdapterRole }

// generation is the provenance of a base model that is at hand.
type generation struct {
	doc  *Document
	from origin
}

// dependency adds one edge; next is the base model's own provenance, if any.
func (c *checker) dependency(ctx context.Context, d *Descriptor, from origin, conflict bool) (next *generation, err error) {
	label := d.Label()
	if label == "" {
		label = fmt.Sprintf("(%s without a name)", d.Role)
	}
	e := &edge{checker: c, from: from, d: d, link: record.Link{From: from.name, Role: string(d.Role), Digest: d.String(),
		State: record.Ambiguous, Detail: "claimed; not at hand"}}
	e.link.Name = c.name(label, e.link.Digest)
	defer func() { c.link(e.link) }()
	if len(d.Digest) == 0 {
		e.gap(RuleLinkUndigested, "the %s is named without a digest, so nothing can be compared with it", d.Role)
		return nil, nil
	}
	if from.own() && d.Role == Dataset {
		c.facts.Datasets++
	}
	if conflict {
		e.gap(RuleLinkAmbiguous, "two different digests go by this name")
	}
	if d.Dirty != nil && *d.Dirty > 0 {
		e.gap(RuleDirty, "the working tree differed from the commit in %d files (%s); commit them and add the code again", *d.Dirty, someOf(d.Changed))
	}
	if e.model() {
		c.facts.BaseModels = append(c.facts.BaseModels, e.link.Digest)
		for _, made := range from.chain {
			if made[d.Digest["sha256"]] || made[d.Digest[IdentityKey]] {
				e.bad(RuleLoop, "this model is among those that were made from it",
					"%s names as its %s a model that was made from it", from.name, d.Role)
				return nil, nil
			}
		}
	}
	return e.compare(ctx)
}

func (e *edge) compare(ctx context.Context) (*generation, error) {
	path, content, err := e.find(ctx)
	if err != nil {
		return nil, err
	}
	if content == nil {
		e.facts.Unchecked++
		return nil, nil
	}
	v, alg, err := content.compare(ctx, e.d.Digest)
	if err != nil {
		return nil, err
	}
	switch v {
	case differs:
		e.facts.Checked++
		e.bad(RuleLinkMismatch, fmt.Sprintf("what is at hand has another %s digest", alg),
			"the %s is claimed as %s:%s; what lies at %s is something else", e.d.Role, alg, e.d.Digest[alg], path)
		return nil, nil
	case lacks:
		e.facts.Unchecked++
		e.gap(RuleLinkAmbiguous, "the repository at hand does not hold commit %s", e.d.Digest[alg])
		return nil, nil
	case incomparable:
		e.facts.Unchecked++
		e.link.Detail = "claimed; what is at hand has no digest of that kind"
		return nil, nil
	}
	e.facts.Checked++
	if !e.settled {
		e.link.State, e.link.Detail = record.Valid, "the "+alg+" digest is that of what is at hand"
	}
	if content.Folder && e.model() {
		return e.ancestor(path, content)
	}
	return nil, nil
}

// find reads what is at hand of the dependency, once per path.
func (e *edge) find(ctx context.Context) (string, *Content, error) {
	if e.o.Lookup == nil {
		return "", nil, nil
	}
	path, ok, err := e.o.Lookup(ctx, Query{From: e.from.name, Role: e.d.Role, Name: e.d.Label(), URI: e.d.URI, Digest: maps.Clone(e.d.Digest)})
	if err != nil {
		return "", nil, fmt.Errorf("looking for %q: %w", e.link.Name, err)
	}
	if !ok {
		return "", nil, nil
	}
	path = filepath.Clean(path)
	content := e.read[path]
	if content == nil {
		if content, err = readClaimed(ctx, path, e.d.Digest); err != nil {
			return "", nil, absent(err, e.link.Name, path)
		}
		e.read[path] = content
	}
	return path, content, nil
}

// ancestor reads the provenance that lies in the folder of a base model. What
// it lacks is no gap of the candidate; what it contradicts is one of the
// lineage.
func (e *edge) ancestor(path string, content *Content) (*generation, error) {
	if e.walked[path] {
		return nil, nil
	}
	if len(e.from.chain) >= maxGenerations {
		e.problem(RuleDeep, e.link.Name, "the lineage goes back more than %d models; what lies beyond was not followed", maxGenerations)
		return nil, nil
	}
	found, err := Open(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil // a base model that says nothing of its own origin
	case errors.Is(err, ErrFormat):
		e.link.Detail += "; its own provenance cannot be read"
		return nil, nil
	case err != nil:
		return nil, err
	}
	own := keysOf(content.Digests)
	doc, err := Parse(found.Statement.PredicateType, found.Statement.Predicate)
	if err != nil || !about(found.Statement, own) {
		e.link.Detail += "; the provenance beside it is of another model, or cannot be read"
		return nil, nil
	}
	e.walked[path] = true
	return &generation{doc, origin{name: e.link.Name, chain: append(slices.Clip(e.from.chain), own)}}, nil
}
