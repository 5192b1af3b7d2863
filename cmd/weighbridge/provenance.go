package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/weighbridge/weighbridge/record"
	"github.com/weighbridge/weighbridge/supply/manifest"
	"github.com/weighbridge/weighbridge/supply/provenance"
	"github.com/weighbridge/weighbridge/supply/store"
)

func provenanceCommand(a *app) *cobra.Command {
	c := &cobra.Command{
		Use:   "provenance",
		Short: "Say where weights come from, and check what is said",
		Long: `provenance writes and checks SLSA provenance v1 for weights: training data,
code, environment, base models, parameters. DIR/provenance.json is a draft
until ` + "`weighbridge sign`" + ` signs it.

Exit codes of check: 0 complete, and all that is at hand matches; 1 something
contradicts; 3 links are missing or ambiguous; 2 usage or unusable input.`,
	}
	c.AddCommand(provenanceInit(a), provenanceAdd(a), provenanceShow(a), provenanceCheck(a))
	return c
}

func provenanceInit(a *app) *cobra.Command {
	var kind, builder, recipe string
	var force bool
	c := &cobra.Command{
		Use:   "init DIR --build-type TYPE --builder URI",
		Short: "Begin a draft for the weights in DIR",
		Args:  cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if kind == "" || builder == "" {
				return usagef("--build-type and --builder have to be given; build types are %s", list(provenance.Kinds))
			}
			path := filepath.Join(args[0], manifest.ProvenanceFile)
			if _, err := os.Lstat(path); err == nil && !force {
				return usagef("%s is there already; add to it, or begin anew with --force", path)
			}
			m, err := manifest.Dir(c.Context(), args[0], manifest.Options{})
			if err != nil {
				return err
			}
			dir, err := filepath.Abs(args[0])
			if err != nil {
				return err
			}
			d, err := provenance.NewDraft(filepath.Base(dir), m, provenance.Kind(kind), builder)
			if err != nil {
				return err
			}
			if recipe != "" {
				if err := d.SetRecipe(c.Context(), recipe); err != nil {
					return err
				}
			}
			if err := d.Write(args[0]); err != nil {
				return err
			}
			var need []string
			for _, r := range provenance.Kind(kind).Requires() {
				need = append(need, string(r))
			}
			fmt.Fprintf(a.Stdout, "%s: a %s of sha256:%s\nto be named with `weighbridge provenance add`: %s\n",
				visible(path), kind, m.Root(), strings.Join(need, ", "))
			return nil
		},
	}
	f := c.Flags()
	f.StringVar(&kind, "build-type", "", fmt.Sprintf("what was done: %s", list(provenance.Kinds)))
	f.StringVar(&builder, "builder", "", "URI of who or what ran the build")
	f.StringVar(&recipe, "recipe", "", "file that steered the build; of JSON and YAML the content is kept as the parameter \"recipe\"")
	f.BoolVar(&force, "force", false, "replace the draft that is there")
	return c
}

func list[T ~string](of []T) string {
	s := make([]string, len(of))
	for i, x := range of {
		s[i] = string(x)
	}
	return strings.Join(s, ", ")
}

func provenanceAdd(a *app) *cobra.Command {
	var started, finished, invocation string
	var parameters []string
	named := map[provenance.Role]*[]string{}
	c := &cobra.Command{
		Use:   "add DIR",
		Short: "Add what the weights were made from to the draft in DIR",
		Long: `add names what the weights were made from. A PATH is read and hashed; where the
bytes are not at hand, NAME=ALGORITHM:HEX records a digest that others took.
What is there under the same role and name is replaced.`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			d, err := provenance.ReadDraft(args[0])
			if err != nil {
				return fmt.Errorf("%w (begin with `weighbridge provenance init`)", err)
			}
			var said strings.Builder
			for _, role := range append([]provenance.Role{lock}, provenance.Roles...) {
				if named[role] == nil {
					continue
				}
				for _, arg := range *named[role] {
					if err := addOne(c.Context(), &said, d, role, arg); err != nil {
						return err
					}
				}
			}
			for _, p := range parameters {
				if err := d.Set(p); err != nil {
					return err
				}
			}
			if err := d.Times(started, finished, invocation); err != nil {
				return err
			}
			if err := d.Write(args[0]); err != nil {
				return err
			}
			_, err = io.WriteString(a.Stdout, said.String())
			return err
		},
	}
	f := c.Flags()
	flag := func(role provenance.Role, name, usage string) {
		named[role] = f.StringArray(name, nil, usage)
	}
	flag(provenance.Dataset, "dataset", "training data: PATH, NAME=PATH or NAME=ALGORITHM:HEX")
	flag(provenance.Code, "code", "a git working tree, or URI@COMMIT")
	flag(provenance.Environment, "image", "REFERENCE@sha256:HEX")
	flag(lock, "lock", "file that locks packages: PATH, NAME=PATH or NAME=sha256:HEX")
	flag(provenance.BaseModel, "base-model", "PATH, NAME=PATH or NAME=ALGORITHM:HEX")
	flag(provenance.AdapterRole, "adapter", "LoRA that was merged: PATH, NAME=PATH or NAME=ALGORITHM:HEX")
	f.StringArrayVar(&parameters, "parameter", nil, "KEY=VALUE, such as seed=42")
	f.StringVar(&started, "started", "", "when the build began, RFC 3339")
	f.StringVar(&finished, "finished", "", "when it ended, RFC 3339")
	f.StringVar(&invocation, "invocation", "", "how its runner calls it")
	return c
}

// lock is the flag beside --image: both are the role environment.
const lock provenance.Role = "lock"

func addOne(ctx context.Context, w io.Writer, d *provenance.Draft, role provenance.Role, arg string) error {
	if role == provenance.Environment && !strings.Contains(arg, "@sha256:") {
		return usagef("--image %q names no digest; give REFERENCE@sha256:HEX", arg)
	}
	if role == lock {
		role = provenance.Environment
	}
	x, err := provenance.Describe(ctx, role, arg)
	if err != nil {
		return err
	}
	replaced, err := d.Add(x)
	if err != nil {
		return err
	}
	verb := "added"
	if replaced {
		verb = "replaced"
	}
	fmt.Fprintf(w, "%s %s %s %s%s\n", verb, role, visible(x.Name), x.String(), size(&x))
	if x.Dirty != nil {
		fmt.Fprintf(w, "  the working tree differs from the commit in %d files: %s\n", *x.Dirty, visible(strings.Join(x.Changed, ", ")))
	}
	return nil
}

func size(x *provenance.Descriptor) string {
	switch {
	case x.Files != nil && x.Bytes != nil:
		return fmt.Sprintf(", %d files, %d bytes", *x.Files, *x.Bytes)
	case x.Bytes != nil:
		return fmt.Sprintf(", %d bytes", *x.Bytes)
	}
	return ""
}

// checked is what show and check print.
type checked struct {
	File     string            `json:"file"`
	Signed   bool              `json:"signed"`
	Evidence []record.Evidence `json:"evidence"`
	Lineage  []record.Link     `json:"lineage"`

	facts *provenance.Facts
}

// checkProvenance reads and checks the provenance in dir.
func checkProvenance(ctx context.Context, dir string, at []string, inStore provenance.Lookup, now time.Time) (*checked, provenance.Lookup, error) {
	found, err := provenance.Open(dir)
	if err != nil {
		return nil, nil, err
	}
	m, err := manifest.Dir(ctx, dir, manifest.Options{})
	if err != nil {
		return nil, nil, err
	}
	look := inStore
	if len(at) > 0 {
		doc, err := provenance.Parse(found.Statement.PredicateType, found.Statement.Predicate)
		if err != nil {
			return nil, nil, err
		}
		paths, err := provenance.ParseAt(at, doc)
		if err != nil {
			return nil, nil, err
		}
		look = provenance.First(provenance.At(paths), inStore)
	}
	facts, links, problems, err := provenance.Check(ctx, found.Statement, m, provenance.Options{Lookup: look, Now: now})
	if err != nil {
		return nil, nil, err
	}
	return &checked{File: found.File, Signed: found.Signed, Evidence: []record.Evidence{facts.Evidence(problems)}, Lineage: links, facts: facts}, look, nil
}

func provenanceShow(a *app) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "show DIR",
		Short: "Show what is said of the weights in DIR as a tree",
		Args:  cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			found, err := provenance.Open(args[0])
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(a, found.Statement)
			}
			r, _, err := checkProvenance(c.Context(), args[0], nil, nil, time.Time{})
			if err != nil {
				return err
			}
			printTree(a.Stdout, r)
			return nil
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print the statement as JSON")
	return c
}

func provenanceCheck(a *app) *cobra.Command {
	var at []string
	var baseline, storeDir string
	var rebuild, asJSON bool
	c := &cobra.Command{
		Use:   "check DIR",
		Short: "Compare every claimed digest with what is at hand, and name the gaps",
		Args:  cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if rebuild != (baseline != "") {
				return usagef("--rebuild and --baseline go together: the weights are made again from the baseline")
			}
			var inStore provenance.Lookup
			if storeDir != "" {
				s, err := store.Open(storeDir)
				if err != nil {
					return err
				}
				defer s.Close()
				inStore = lookupIn(s)
			}
			r, look, err := checkProvenance(c.Context(), args[0], at, inStore, time.Now())
			if err != nil {
				return err
			}
			if rebuild && r.facts.Document != nil {
				e, err := provenance.RebuildClaimed(c.Context(), r.facts.Document, args[0], baseline, look)
				if err != nil {
					return err
				}
				r.Evidence = append(r.Evidence, e)
			}
			if asJSON {
				if err := printJSON(a, r); err != nil {
					return err
				}
			} else {
				printTree(a.Stdout, r)
			}
			return r.verdict()
		},
	}
	f := c.Flags()
	f.StringArrayVar(&at, "at", nil, "where a dependency lies: NAME=PATH")
	f.StringVar(&storeDir, "store", "", "store to look for base models in")
	f.BoolVar(&rebuild, "rebuild", false, "make the weights again from the baseline and compare the bits")
	f.StringVar(&baseline, "baseline", "", "folder or GGUF file that the weights were made from")
	f.BoolVar(&asJSON, "json", false, "print as JSON")
	return c
}

// lookupIn finds models in a store by their digests.
func lookupIn(s *store.Store) provenance.Lookup {
	return func(ctx context.Context, q provenance.Query) (string, bool, error) {
		for _, algorithm := range []string{"sha256", provenance.IdentityKey} {
			hex := q.Digest[algorithm]
			if hex == "" {
				continue
			}
			e, ok, err := s.Find(hex)
			if err != nil {
				return "", false, err
			}
			if !ok {
				continue
			}
			dir, err := e.Dir(ctx)
			return dir, err == nil, err
		}
		return "", false, nil
	}
}

func (r *checked) verdict() error {
	code := verdictCode(exitApprove)
	for _, e := range r.Evidence {
		switch e.State {
		case record.Valid:
		case record.Bad:
			return verdictCode(exitReject)
		default:
			code = exitEscalate
		}
	}
	if code == exitApprove {
		return nil
	}
	return code
}

// printTree shows the lineage, each thing below what was made from it, and then
// what was found wrong.
func printTree(w io.Writer, r *checked) {
	signed := "an unsigned draft"
	if r.Signed {
		signed = "a signed claim whose signature is for `weighbridge verify` to judge"
	}
	fmt.Fprintf(w, "%s: %s\n", r.File, signed)
	fmt.Fprintf(w, "%s  %s\n", provenance.Candidate, visible(r.facts.BuildType))
	children := map[string][]record.Link{}
	for _, l := range r.Lineage {
		children[l.From] = append(children[l.From], l)
	}
	printLinks(w, children, provenance.Candidate, "")
	for _, e := range r.Evidence {
		fmt.Fprintf(w, "\n%s: %s: %s\n", e.Kind, e.State, visible(e.Detail))
		for _, p := range e.Problems {
			fmt.Fprintf(w, "  %s  %s: %s\n", p.Rule, visible(p.Subject), visible(p.Detail))
		}
	}
}

func printLinks(w io.Writer, children map[string][]record.Link, from, indent string) {
	mine := children[from]
	delete(children, from) // a node is opened once
	for i, l := range mine {
		branch, below := "├─ ", "│  "
		if i == len(mine)-1 {
			branch, below = "└─ ", "   "
		}
		digest := l.Digest
		if digest != "" {
			digest = "  " + digest
		}
		fmt.Fprintf(w, "%s%s%s  %s%s  [%s] %s\n", indent, branch, l.Role, visible(l.Name), visible(digest), l.State, visible(l.Detail))
		printLinks(w, children, l.Name, indent+below)
	}
}
