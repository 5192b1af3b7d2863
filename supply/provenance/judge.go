package provenance

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/weighbridge/weighbridge/record"
	"github.com/weighbridge/weighbridge/supply/manifest"
	"github.com/weighbridge/weighbridge/weights"
)

// judge turns the tensors' outcomes into counts and problems. A merge has to
// agree with one arithmetic in all tensors.
func (b *rebuild) judge(results []outcome) {
	best := 0
	var unequal [arithmetics]int64
	for _, o := range results {
		for a := range arithmetics {
			unequal[a] += o.unequal[a]
		}
	}
	for a := range arithmetics {
		if unequal[a] < unequal[best] {
			best = a
		}
	}
	applied := 0
	for _, o := range results {
		switch {
		case o.missing != "":
			b.problem(true, RuleRebuildTensors, o.name, "%s", o.missing)
		case o.kept:
			b.kept++
		case o.search != "":
			b.problem(false, RuleRecipe, o.name, "%s, so that its bits cannot be computed", o.search)
		case o.unequal[best] == 0:
			b.made++
			if o.odd == "" {
				applied++
			} else {
				b.problem(false, RuleRebuildType, o.name, "its bits are the baseline's as %s, but the recipe says another type", o.odd)
			}
		case o.updated && o.beyond == 0:
			b.problem(false, RuleRebuildRounding, o.name, "%d of %d blocks differ from W + s·B·A; the largest difference is %.3g, %.2f of what the arithmetic's rounding explains",
				o.unequal[best], o.blocks, o.largest, o.ulps)
		default:
			at := o.first[best]
			if o.beyondAt >= 0 {
				at = o.beyondAt
			}
			b.problem(true, RuleRebuildBits, o.name, "block %d differs, the first of %d of %d; the largest difference between values is %.3g",
				at, o.unequal[best], o.blocks, o.largest)
		}
		if o.updated && o.unequal[best] == 0 && o.missing == "" {
			b.arithmetic = arithmeticNames[best]
		}
	}
	if (b.recipe.Kind == Quantisation || b.recipe.Kind == Conversion) && applied == 0 && len(b.problems) == 0 {
		b.problem(false, RuleRebuildType, "model", "no tensor was brought to %s: this is the baseline as it was", b.recipe.Type)
	}
}

// adapter tells whether an adapter fits the baseline and whether the candidate
// is the two together. That is all that can be known of it without training.
func (b *rebuild) adapter(ctx context.Context) error {
	baseline, err := singleGGUF(b.parts.Baseline)
	if err != nil {
		return usage(err)
	}
	file, model, err := b.adapterFiles()
	if err != nil || file == "" {
		return err
	}
	both, err := weights.Open(ctx, weights.Artifact{Model: baseline, Adapter: file, Scale: b.recipe.Scale})
	switch {
	case errors.Is(err, weights.ErrMismatch), errors.Is(err, weights.ErrFormat), errors.Is(err, weights.ErrMissing):
		b.problem(true, RuleRebuildTensors, filepath.Base(file), "%v", err)
		return nil
	case err != nil:
		return err
	}
	defer both.Close()
	b.baselineName = "sha256:" + both.Files()[0].SHA256
	if model == "" {
		b.problem(false, RuleRecipe, filepath.Base(file), "the adapter fits the baseline in all %d tensors that it updates; its training cannot be made again here", len(both.Adapter().Pairs))
		return nil
	}
	c, err := Read(ctx, model)
	if err != nil {
		return err
	}
	if c.Digests["sha256"][0] != both.Files()[0].SHA256 {
		b.problem(true, RuleRebuildBits, filepath.Base(model), "the model beside the adapter is not the baseline: sha256:%s", c.Digests["sha256"][0])
		return nil
	}
	b.composition = fmt.Sprintf("the baseline's very bytes, and an adapter of sha256:%s that updates %d of its tensors; how the adapter was trained cannot be made again here",
		both.Files()[1].SHA256, len(both.Adapter().Pairs))
	if b.parts.Adapter == "" {
		b.problem(false, RuleRecipe, filepath.Base(file), "no document names the adapter's digest; the model beside it is the baseline")
		return nil
	}
	named, err := Read(ctx, b.parts.Adapter)
	if err != nil {
		return usage(err)
	}
	if named.Digests["sha256"][0] != both.Files()[1].SHA256 {
		b.problem(true, RuleRebuildBits, filepath.Base(file), "it is not the adapter that was named: sha256:%s", both.Files()[1].SHA256)
	}
	return nil
}

// adapterFiles finds the adapter of the candidate, and the model beside it.
func (b *rebuild) adapterFiles() (adapter, model string, err error) {
	fi, err := os.Stat(b.parts.Candidate)
	if err != nil {
		return "", "", usage(err)
	}
	if !fi.IsDir() {
		return b.parts.Candidate, "", nil
	}
	entries, err := os.ReadDir(b.parts.Candidate)
	if err != nil {
		return "", "", err
	}
	for _, e := range entries {
		path := filepath.Join(b.parts.Candidate, e.Name())
		if filepath.Ext(e.Name()) != ".gguf" {
			continue
		}
		r, err := openRaw(path)
		if err != nil {
			b.problem(true, RuleRebuildFormat, e.Name(), "%v", err)
			return "", "", nil
		}
		kind, _ := r.g.Meta.String("general.type")
		r.f.Close()
		slot := &model
		if kind == "adapter" {
			slot = &adapter
		}
		if *slot != "" {
			b.problem(false, RuleRebuildFormat, "candidate", "the folder holds more than one model or adapter")
			return "", "", nil
		}
		*slot = path
	}
	if adapter == "" {
		b.problem(false, RuleRebuildFormat, "candidate", "the folder holds no GGUF adapter")
	}
	return adapter, model, nil
}

// uncovered lists what the rebuild says nothing about.
func (b *rebuild) uncovered(model string) error {
	dir := b.parts.Candidate
	if fi, err := os.Stat(dir); err != nil || !fi.IsDir() {
		return err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	skip := map[string]bool{filepath.Base(model): true}
	for _, n := range append(append([]string{}, manifest.EvidenceFiles...), manifest.GitPaths...) {
		skip[n] = true
	}
	for _, e := range entries {
		if !skip[e.Name()] && !(e.Type().IsRegular() && harmless(e.Name())) {
			b.problem(false, RuleRebuildFiles, e.Name(), "it is beside the weights, and the rebuild says nothing about it")
		}
	}
	return nil
}

// RebuildClaimed makes the model in dir again by its own document. The baseline
// has to be the base model that the document names.
func RebuildClaimed(ctx context.Context, d *Document, dir, baseline string, look Lookup) (record.Evidence, error) {
	r, err := d.Recipe()
	if err != nil {
		return record.Evidence{Kind: record.Rebuild, State: record.Ambiguous, Detail: err.Error(),
			Problems: []record.Problem{{Rule: RuleRecipe, Subject: "externalParameters", Detail: err.Error()}}}, nil
	}
	p := Parts{Baseline: baseline, Candidate: dir}
	var named bool
	for i := range d.Dependencies {
		x := &d.Dependencies[i]
		switch x.Role {
		case BaseModel:
			c, err := Read(ctx, baseline)
			if err != nil {
				return record.Evidence{}, absent(err, "the baseline", baseline)
			}
			v, _, err := c.compare(ctx, x.Digest)
			if err != nil {
				return record.Evidence{}, err
			}
			named = named || v == matches
		case AdapterRole:
			if look == nil || p.Adapter != "" {
				continue
			}
			path, ok, err := look(ctx, Query{From: Candidate, Role: x.Role, Name: x.Label(), URI: x.URI, Digest: x.Digest})
			if err != nil {
				return record.Evidence{}, err
			}
			if !ok {
				continue
			}
			c, err := Read(ctx, path)
			if err != nil {
				return record.Evidence{}, absent(err, x.Label(), path)
			}
			if v, _, err := c.compare(ctx, x.Digest); err != nil || v != matches {
				return record.Evidence{}, errors.Join(err, fmt.Errorf("%w: what lies at %s is not the adapter %q that the document names", ErrUsage, path, x.Label()))
			}
			p.Adapter = path
		}
	}
	if !named {
		const why = "the baseline given here is not the base model that the document names, so nothing was made again"
		return record.Evidence{Kind: record.Rebuild, State: record.Ambiguous, Detail: why,
			Problems: []record.Problem{{Rule: RuleRebuildBase, Subject: "baseline", Detail: why}}}, nil
	}
	return Rebuild(ctx, r, p)
}
