package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/weighbridge/weighbridge/harness"
	"github.com/weighbridge/weighbridge/record"
	"github.com/weighbridge/weighbridge/supply"
	"github.com/weighbridge/weighbridge/supply/bundle"
	"github.com/weighbridge/weighbridge/supply/manifest"
	"github.com/weighbridge/weighbridge/supply/provenance"
	"github.com/weighbridge/weighbridge/supply/store"
	"github.com/weighbridge/weighbridge/weights"
)

// evidenceOptions are the flags by which diff weighs evidence.
type evidenceOptions struct {
	from                                   string
	trust, model, environment, now, ledger string
	at                                     []string
	rebuild                                bool
}

func (o *evidenceOptions) flags(f *pflag.FlagSet) {
	f.StringVar(&o.from, "evidence", "", "weigh what lies beside the candidate: its model folder, a store, or STORE#NAME")
	f.StringVar(&o.trust, "trust", "", "trust file: who may sign what, and what is revoked")
	f.StringVar(&o.model, "model", "", "name of the model, for signers limited to some (default the folder's name)")
	f.StringVar(&o.environment, "environment", "", "environment that the candidate is for")
	f.StringVar(&o.now, "now", "", "judge evidence as of this time (RFC 3339) rather than now; the report names it")
	f.StringVar(&o.ledger, "ledger", "", "ledger folder, or receipt of the intake")
	f.StringArrayVar(&o.at, "at", nil, "NAME=PATH: where the bytes lie that the provenance calls NAME (repeatable); the baseline is known")
	f.BoolVar(&o.rebuild, "rebuild", false, "make the candidate again from the baseline by the recipe of its provenance")
}

// config makes what the harness asks, nil where no evidence is asked for.
func (o *evidenceOptions) config() (*harness.Evidence, error) {
	if o.from == "" {
		for name, set := range map[string]bool{"--trust": o.trust != "", "--model": o.model != "", "--environment": o.environment != "",
			"--now": o.now != "", "--ledger": o.ledger != "", "--at": o.at != nil, "--rebuild": o.rebuild} {
			if set {
				return nil, usagef("%s is for evidence: say with --evidence where it lies", name)
			}
		}
		return nil, nil
	}
	dir, st, key, err := o.place()
	if err != nil {
		return nil, err
	}
	name := dir
	if st != nil {
		name = key // a store's folders are named by digests: the model's name has to be given
		if o.model == "" {
			return nil, usagef("--evidence %s is a store, so that --model has to name the model", o.from)
		}
	}
	c, err := verifyFlags{trust: o.trust, model: o.model, environment: o.environment, now: o.now, ledger: o.ledger}.config(name)
	if err != nil {
		return nil, err
	}
	c.Now = c.Now.UTC().Truncate(time.Second) // as the report writes it
	return &harness.Evidence{Model: c.Model, Environment: c.Environment, Now: c.Now,
		Find: func(ctx context.Context, baseline, candidate *weights.Model) ([]record.Evidence, []record.Link, error) {
			c := c
			if st != nil {
				if c.Dir, err = inStore(ctx, st, key, candidate); err != nil {
					return nil, nil, err
				}
				c.Lookup = lookupIn(st)
			}
			paths, err := o.paths(c.Dir)
			if err != nil {
				return nil, nil, err
			}
			c.Lookup = provenance.First(provenance.At(paths), isBaseline(baseline), c.Lookup)
			return o.find(ctx, c, baseline, candidate)
		}}, nil
}

// paths are those of --at, whose names are the provenance's.
func (o *evidenceOptions) paths(dir string) (map[string]string, error) {
	if o.at == nil {
		return nil, nil
	}
	found, err := provenance.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("--at: %w", err)
	}
	doc, err := provenance.Parse(found.Statement.PredicateType, found.Statement.Predicate)
	if err != nil {
		return nil, fmt.Errorf("--at: %w", err)
	}
	return provenance.ParseAt(o.at, doc)
}

// place finds out whether a folder, a store or an entry of a store is meant.
func (o *evidenceOptions) place() (dir string, st *store.Store, key string, err error) {
	path := o.from
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		if before, after, ok := strings.Cut(path, "#"); ok {
			path, key = before, after
		}
	}
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return "", nil, "", usageError{err}
	case !info.IsDir():
		return "", nil, "", usagef("--evidence %s: name the model's folder, in which model.sig, claims.jsonl and the weights lie", path)
	}
	st, err = store.Open(path)
	switch {
	case err == nil:
		return "", st, key, nil
	case key != "":
		return "", nil, "", usageError{err}
	}
	return path, nil, "", nil
}

// inStore finds the candidate in a store: by the name that was given, or as the
// one admitted model that has its files.
func inStore(ctx context.Context, st *store.Store, key string, candidate *weights.Model) (string, error) {
	if key != "" {
		e, ok, err := st.Find(key)
		switch {
		case err != nil:
			return "", usageError{err}
		case !ok:
			return "", usagef("the store holds no model %s; name its entry as STORE#NAME, with one of its roots or its identity", key)
		}
		return e.Dir(ctx)
	}
	files := candidate.Files()
	own := files[len(files)-1] // the adapter, where there is one
	found := map[string]*store.Entry{}
	for e, err := range st.Entries() {
		if err != nil {
			return "", err
		}
		if slices.ContainsFunc(e.Files, func(f store.Stored) bool { return f.SHA256 == own.SHA256 }) {
			found[e.Identity] = e
		}
	}
	switch len(found) {
	case 0:
		return "", usagef("the store holds no model with the candidate's file sha256:%s: ingest it first", own.SHA256)
	case 1:
		for _, e := range found {
			return e.Dir(ctx)
		}
	}
	return "", usagef("the store holds %d models with the candidate's file sha256:%s: name one as STORE#NAME, by root or identity: %s", len(found), own.SHA256, strings.Join(slices.Sorted(maps.Keys(found)), ", "))
}

// isBaseline finds bytes that provenance speaks about in the baseline of the
// run, which is at hand by definition: by its file's digest, by its identity, or
// by the root of a folder that holds nothing else.
func isBaseline(baseline *weights.Model) provenance.Lookup {
	return func(_ context.Context, q provenance.Query) (string, bool, error) {
		file := baseline.Files()[0]
		raw, err := hex.DecodeString(file.SHA256)
		if err != nil {
			return "", false, fmt.Errorf("digest of the baseline: %w", err)
		}
		root := manifest.Root([]manifest.Resource{{Digest: raw}})
		identity := strings.TrimPrefix(string(weights.Identify([]weights.FileDigest{file})), "sha256:")
		ok := slices.Contains([]string{file.SHA256, root, identity}, q.Digest["sha256"]) || identity == q.Digest[bundle.IdentityDigest]
		return baseline.Artifact().Model, ok, nil
	}
}

func (o *evidenceOptions) find(ctx context.Context, c supply.Config, baseline, candidate *weights.Model) ([]record.Evidence, []record.Link, error) {
	found, err := supply.Check(ctx, c)
	if err != nil {
		return nil, nil, err
	}
	if err := same(c.Dir, found.Manifest, baseline, candidate); err != nil {
		return nil, nil, err
	}
	evidence := found.Evidence
	if o.rebuild {
		e, err := rebuilt(ctx, c, found, baseline)
		if err != nil {
			return nil, nil, err
		}
		evidence = append(evidence, e)
	}
	return inOrder(evidence), found.Lineage, nil
}

// same makes sure that the evidence is about the files that are measured: each
// of them lies in the folder, by its digest. Beside an adapter the weights may
// be the baseline's own, which need no evidence.
func same(dir string, m *manifest.Manifest, baseline, candidate *weights.Model) error {
	if m == nil {
		return nil // the folder is no model, and the evidence says so
	}
	listed, trusted := map[string]bool{}, map[string]bool{}
	for _, r := range m.Resources {
		listed[hex.EncodeToString(r.Digest)] = true
	}
	for _, f := range baseline.Files() {
		trusted[f.SHA256] = true
	}
	found := false
	for i, f := range candidate.Files() {
		path := candidate.Artifact().Model
		if i > 0 {
			path = candidate.Artifact().Adapter
		}
		switch {
		case listed[f.SHA256]:
			found = true
		case !trusted[f.SHA256] || len(candidate.Files()) == 1:
			return usagef("the evidence in %s is about other files: %s (sha256:%s) is not among them", dir, path, f.SHA256)
		}
	}
	if !found {
		return usagef("the evidence in %s is about none of the candidate's files", dir)
	}
	return nil
}

// rebuilt makes the candidate again by its provenance.
func rebuilt(ctx context.Context, c supply.Config, found *supply.Assessment, baseline *weights.Model) (record.Evidence, error) {
	p := found.Of(record.Provenance)
	if p.State == record.Absent || p.State == record.Bad || p.State == record.NotAsked {
		return record.Evidence{Kind: record.Rebuild, State: record.Absent, Detail: "without provenance that can be read there is no recipe"}, nil
	}
	checked, look, err := checkProvenance(ctx, c.Dir, nil, c.Lookup, c.Now)
	if err != nil {
		return record.Evidence{}, err
	}
	if checked.facts.Document == nil {
		return record.Evidence{Kind: record.Rebuild, State: record.Absent, Detail: "the provenance gives no recipe"}, nil
	}
	e, err := provenance.RebuildClaimed(ctx, checked.facts.Document, c.Dir, baseline.Artifact().Model, look)
	if err == nil && e.State == record.Valid && p.State != record.Valid {
		// The same bits come out, but nobody who may says that this is how they came
		// to be: the recipe is a draft.
		e.State = record.Ambiguous
		e.Problems = append(e.Problems, record.Problem{Rule: supply.RuleUnsigned, Subject: filepath.Base(checked.File),
			Detail: "the bits are the same, but the provenance that gives the recipe is not valid"})
	}
	return e, err
}

// inOrder puts evidence into the order of reports.
func inOrder(all []record.Evidence) (out []record.Evidence) {
	for _, kind := range record.EvidenceKinds {
		for _, e := range all {
			if e.Kind == kind {
				out = append(out, e)
			}
		}
	}
	return out
}
