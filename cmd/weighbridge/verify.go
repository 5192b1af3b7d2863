package main

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/weighbridge/weighbridge/record"
	"github.com/weighbridge/weighbridge/supply"
	"github.com/weighbridge/weighbridge/supply/attest"
	"github.com/weighbridge/weighbridge/supply/formats"
	"github.com/weighbridge/weighbridge/supply/trust"
)

// The exit codes of verify.
const (
	exitBad     = 1 // something is wrong with the model or its evidence
	exitMissing = 3 // nothing is wrong, and something that is required is not proven
)

type verifyFlags struct {
	trust, model, environment, now, ledger, verdict string
	require                                         []string
	dataset, asJSON                                 bool
}

func verifyCommand(a *app) *cobra.Command {
	var f verifyFlags
	c := &cobra.Command{
		Use:   "verify DIR --trust trust.yaml",
		Short: "Verify a model's files, signature, formats, SBOM, provenance and revocation",
		Long: `verify reads the folder once and prints one line for each check:

  checksums   every file is listed in model.sig, and as it was signed
  signature   model.sig is by a signer who may sign this model
  formats     no file can execute code when it is loaded
  sbom        the bill of materials is signed, valid and about these files
  provenance  so is the provenance; its gaps are named
  revocation  neither model, nor ancestors, nor key, nor signer is revoked
  ledger      the intake is in the ledger, proven (with --ledger)
  verdict     a signed verdict lets it into the environment (with --require-verdict)

and for each its state: valid; bad (present and wrong); ambiguous (present, and
proves less than it has to, such as an unsigned SBOM or a signature by nobody in
the trust file); absent; not-asked. It works offline. The trust file says who
may sign what; without one every signature is ambiguous.

--require names the checks that have to be valid. The default is all that were
asked; with --require-verdict it is revocation and verdict, for the verdict
speaks about these very bytes. A check that is bad fails in any case.

--ledger takes a ledger's folder or a receipt, PREFIX.tlog-proof with its entry
PREFIX.json; the trust file names the ledger's key.

Exit codes:
  0  every required check is valid, and none is bad
  1  something is bad: tampered files, a file that could execute, a revoked key …
  2  wrong usage, or the trust file, folder or ledger cannot be used
  3  nothing is bad, and a required check is absent, ambiguous or not asked
  4  a fault of this machine: nothing was concluded`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return verify(c.Context(), a, args[0], f)
		},
	}
	fs := c.Flags()
	fs.StringVar(&f.trust, "trust", "", "trust file: who may sign what, and what is revoked")
	fs.StringVar(&f.model, "model", "", "name of the model, for signers limited to some (default the folder's name)")
	fs.StringVar(&f.environment, "environment", "", "environment that the model is for, for signers limited to some")
	fs.StringVar(&f.now, "now", "", "judge as of this time (RFC 3339) rather than now")
	fs.StringVar(&f.ledger, "ledger", "", "ledger folder, or receipt of the intake")
	fs.StringVar(&f.verdict, "require-verdict", "", "env=NAME: a signed verdict has to let the model into that environment")
	fs.StringSliceVar(&f.require, "require", nil, "checks that have to be valid, separated by commas")
	fs.BoolVar(&f.dataset, "dataset", false, "the folder holds training data: its signer needs `dataset` in the trust file")
	fs.BoolVar(&f.asJSON, "json", false, "print everything that was found as JSON")
	return c
}

const verdictKind record.EvidenceKind = "verdict"

// verifyResult is the JSON of verify.
type verifyResult struct {
	Dir         string            `json:"dir"`
	Model       string            `json:"model"`
	Environment string            `json:"environment,omitempty"`
	Result      string            `json:"result"` // valid, bad, incomplete
	Missing     []string          `json:"missing,omitempty"`
	Root        string            `json:"root,omitempty"`
	PythonRoot  string            `json:"python_root,omitempty"`
	Identity    string            `json:"identity,omitempty"`
	Trust       string            `json:"trust,omitempty"` // digest of the trust file and what it names
	Evidence    []record.Evidence `json:"evidence"`
	Lineage     []record.Link     `json:"lineage,omitempty"`
	Aside       []record.Problem  `json:"aside,omitempty"`
	Files       []verifyFile      `json:"files,omitempty"` // that stand against the model
	code        int
}

type verifyFile struct {
	Name       string   `json:"name"`
	Format     string   `json:"format"`
	Rule       string   `json:"rule"`
	Executable bool     `json:"executable"`
	Opcodes    []string `json:"opcodes,omitempty"`
}

func verify(ctx context.Context, a *app, dir string, f verifyFlags) error {
	c, err := f.config(dir)
	if err != nil {
		return err
	}
	required, err := f.required()
	if err != nil {
		return err
	}
	found, err := supply.Check(ctx, c)
	if err != nil {
		return err
	}
	if f.verdict != "" {
		found.Evidence = append(found.Evidence, requireVerdict(c, found))
	}
	r := verifyResult{
		Dir: dir, Model: c.Model, Environment: c.Environment, Evidence: found.Evidence, Lineage: found.Lineage, Aside: found.Aside,
		Root: found.Root, PythonRoot: found.PythonRoot, Identity: found.Identity, Files: against(found.Formats),
	}
	if c.Trust != nil {
		r.Trust = c.Trust.Digest
	}
	r.conclude(required)
	if f.asJSON {
		if err := printJSON(a, r); err != nil {
			return err
		}
	} else if err := r.print(a.Stdout); err != nil {
		return err
	}
	if r.code != 0 {
		return verdictCode(r.code)
	}
	return nil
}

func (f verifyFlags) config(dir string) (c supply.Config, err error) {
	c = supply.Config{Dir: dir, Model: f.model, Environment: f.environment, Dataset: f.dataset, Now: time.Now()}
	if c.Model == "" {
		abs, err := filepath.Abs(dir)
		if err != nil {
			return c, err
		}
		c.Model = filepath.Base(abs)
	}
	if f.verdict != "" {
		name, value, ok := strings.Cut(f.verdict, "=")
		switch {
		case !ok || name != "env" || value == "":
			return c, usagef("--require-verdict %s: write env=NAME, such as env=prod", f.verdict)
		case f.trust == "":
			return c, usagef("--require-verdict needs --trust: it says whose verdicts count")
		case c.Environment != "" && c.Environment != value:
			return c, usagef("--environment %s and --require-verdict %s are two environments", c.Environment, f.verdict)
		}
		c.Environment = value
	}
	if f.now != "" {
		if c.Now, err = time.Parse(time.RFC3339, f.now); err != nil {
			return c, usagef("--now %s is no time as of RFC 3339, such as 2026-05-01T12:00:00Z", f.now)
		}
	}
	if f.trust != "" {
		if c.Trust, err = trust.Load(f.trust); err != nil {
			return c, err
		}
	}
	if f.ledger != "" {
		if c.Trust == nil {
			return c, usagef("--ledger needs --trust: it says which ledger's key counts")
		}
		if c.Ledger, err = supply.OpenLedger(f.ledger, c.Trust.Ledger); err != nil {
			return c, err
		}
	}
	return c, nil
}

// required lists the checks that have to be valid.
func (f verifyFlags) required() (out []record.EvidenceKind, err error) {
	if f.require == nil {
		if f.verdict != "" {
			return []record.EvidenceKind{record.Revocation, verdictKind}, nil
		}
		for _, k := range supply.Kinds {
			if k == record.LedgerProof && f.ledger == "" || k == record.Revocation && f.trust == "" {
				continue
			}
			out = append(out, k)
		}
		return out, nil
	}
	known := append(slices.Clone(supply.Kinds), verdictKind)
	for _, name := range f.require {
		if !slices.Contains(known, record.EvidenceKind(name)) {
			return nil, usagef("--require %s: there are %v", name, known)
		}
		out = append(out, record.EvidenceKind(name))
	}
	if f.verdict != "" && !slices.Contains(out, verdictKind) {
		out = append(out, verdictKind)
	}
	return out, nil
}

// requireVerdict asks the claims beside the model for a verdict that lets it
// into the environment.
func requireVerdict(c supply.Config, found *supply.Assessment) record.Evidence {
	e := record.Evidence{Kind: verdictKind, State: record.NotAsked, Detail: "the folder cannot be read as a model"}
	if found.Manifest == nil {
		return e
	}
	names := attest.Names{Roots: found.Of(record.Checksums).Roots, Identity: found.Identity}
	ok, problems := attest.Require(found.Claims, c.Trust, names, c.Model, c.Environment, c.Now)
	if ok != nil {
		e.State, e.Signer, e.Digest, e.Time, e.Problems = record.Valid, ok.Signer, ok.Digest, ok.Time.UTC().Format(time.RFC3339), problems
		e.Detail = fmt.Sprintf("approved for %s by %s at %s", c.Environment, ok.Signer, e.Time)
		return e
	}
	// Without any verdict that counts, others' prove nothing either way.
	e.State, e.Problems, e.Detail = record.Bad, problems, problems[0].Detail
	if problems[0].Rule == attest.RuleMissing {
		e.State = record.Absent
	}
	return e
}

func against(files []formats.File) (out []verifyFile) {
	for _, f := range files {
		if f.Rule != "" {
			out = append(out, verifyFile{f.Name, f.Format, f.Rule, f.Executable, f.Opcodes})
		}
	}
	return out
}

func (r *verifyResult) conclude(required []record.EvidenceKind) {
	r.Result = "valid"
	for _, k := range required {
		if i := slices.IndexFunc(r.Evidence, func(e record.Evidence) bool { return e.Kind == k }); i < 0 || r.Evidence[i].State != record.Valid {
			r.Missing = append(r.Missing, string(k))
			r.Result, r.code = "incomplete", exitMissing
		}
	}
	if slices.ContainsFunc(r.Evidence, func(e record.Evidence) bool { return e.State == record.Bad }) {
		r.Result, r.code = "bad", exitBad
	}
}

// shownProblems is how many problems of one check are printed; --json has all.
const shownProblems = 10

func (r *verifyResult) print(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	more := func(indent string, lines []string) {
		for i, l := range lines {
			if i == shownProblems {
				fmt.Fprintf(w, "\t\t%sand %d more; --json lists them\n", indent, len(lines)-i)
				break
			}
			fmt.Fprintf(w, "\t\t%s%s\n", indent, visible(l))
		}
	}
	for _, e := range r.Evidence {
		fmt.Fprintf(w, "%s\t%s\t%s\n", e.Kind, e.State, visible(e.Detail))
		if len(e.Problems) > 1 || len(e.Problems) == 1 && (e.State == record.Valid || e.Kind == record.FileFormats) {
			var lines []string
			for _, p := range e.Problems {
				lines = append(lines, fmt.Sprintf("%s %s: %s", p.Rule, p.Subject, p.Detail))
				if e.Kind == record.FileFormats {
					lines = append(lines, r.operations(p.Subject)...)
				}
			}
			more("- ", lines)
		}
	}
	if len(r.Aside) > 0 {
		fmt.Fprintf(w, "set aside\t\t%d claims that nothing was concluded from\n", len(r.Aside))
		var lines []string
		for _, p := range r.Aside {
			lines = append(lines, fmt.Sprintf("%s %s: %s", p.Rule, p.Subject, p.Detail))
		}
		more("- ", lines)
	}
	if r.Root != "" {
		fmt.Fprintf(w, "root\t\tsha256:%s\n", r.Root)
		if r.PythonRoot != r.Root {
			fmt.Fprintf(w, "\t\tsha256:%s in the order of the Python implementation\n", r.PythonRoot)
		}
		fmt.Fprintf(w, "identity\t\t%s\n", r.Identity)
	}
	switch r.Result {
	case "valid":
		fmt.Fprintf(w, "result\tvalid\t\n")
	case "bad":
		fmt.Fprintf(w, "result\tbad\tdo not use this model\n")
	default:
		fmt.Fprintf(w, "result\tincomplete\tnot proven: %s\n", strings.Join(r.Missing, ", "))
	}
	return w.Flush()
}

// operations are the first operations of a file that could execute.
func (r *verifyResult) operations(name string) (lines []string) {
	for _, f := range r.Files {
		if f.Name == name {
			for _, o := range f.Opcodes[:min(len(f.Opcodes), 3)] {
				lines = append(lines, "  "+o)
			}
		}
	}
	return lines
}
