package main

import (
	"context"
	"fmt"
	"path/filepath"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/weighbridge/weighbridge/record"
	"github.com/weighbridge/weighbridge/reports"
	"github.com/weighbridge/weighbridge/supply/attest"
	"github.com/weighbridge/weighbridge/supply/bundle"
	"github.com/weighbridge/weighbridge/supply/ledger/entry"
	"github.com/weighbridge/weighbridge/supply/manifest"
	"github.com/weighbridge/weighbridge/supply/oci"
	"github.com/weighbridge/weighbridge/supply/signing"
)

type attestFlags struct {
	sign                   signFlags
	model, name, policy    string
	environment, verifier  string
	policyURI, claims      string
	ledger, receipt, actor string
	writer                 writerFlags
	json                   bool
}

func attestCommand(a *app) *cobra.Command {
	var f attestFlags
	c := &cobra.Command{
		Use:   "attest REPORT.parquet --model DIR --environment ENV --verifier URI --key KEY",
		Short: "Sign a report's verdict, for everyone who deploys to verify",
		Long: `attest signs what a report says about the model in DIR and appends it to
DIR/claims.jsonl: a test result always; for approve and reject a SLSA
verification summary; for approve a simple verification result. An escalation is
no decision, so a person has to make one.

The report's verdict is computed again first, by the policy it names: a shipped
one, or the file given with --policy. A report whose verdict does not follow
from its content, or whose candidate is not in DIR, is not attested.

With --ledger the verdict is an entry of the ledger, whose receipt is an offline
proof (--receipt PREFIX).

Exit codes: 0 attested, whatever the verdict; 1 the verdict does not follow from
the report; 2 usage or unusable input; 3 the ledger has the entry and no proof yet.`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			for _, x := range []struct{ flag, value string }{
				{"model", f.model}, {"environment", f.environment}, {"verifier", f.verifier}, {"key", f.sign.config.Key},
			} {
				if x.value == "" {
					return usagef("--%s is missing (see `%s --help`)", x.flag, c.CommandPath())
				}
			}
			if f.ledger != "" && f.actor == "" {
				return usagef("--actor is missing: who puts the verdict into the ledger")
			}
			return attestReport(c.Context(), a, args[0], &f)
		},
	}
	fs := c.Flags()
	fs.StringVar(&f.model, "model", "", "the candidate's folder")
	fs.StringVar(&f.name, "name", "", "the model's name in trust files (default: the folder's)")
	fs.StringVar(&f.environment, "environment", "", "where the verdict counts, such as prod")
	fs.StringVar(&f.verifier, "verifier", "", "URI of who decides; trust files tie it to the key")
	fs.StringVar(&f.policy, "policy", "", "the policy of the report, where it is not a shipped one")
	fs.StringVar(&f.policyURI, "policy-uri", "", "where the policy can be had")
	fs.StringVar(&f.sign.config.Key, "key", "", "PEM file of the gate's private key")
	fs.StringVar(&f.sign.config.Certificate, "certificate", "", "PEM file of the key's certificate")
	fs.StringArrayVar(&f.sign.config.Chain, "chain", nil, "PEM file of certificates between that one and the root (repeatable)")
	fs.StringVar(&f.sign.passwordFile, "password-file", "", "file with the password of an encrypted key")
	fs.StringVar(&f.claims, "claims", "", "append the statements there (default DIR/claims.jsonl)")
	fs.StringVar(&f.ledger, "ledger", "", "ledger that the verdict is entered in")
	fs.StringVar(&f.writer.key, "ledger-key", "", "the ledger's private key file (default LEDGER.key)")
	fs.StringVar(&f.writer.witnesses, "witnesses", "", "C2SP tlog-policy file with the witnesses to ask")
	fs.DurationVar(&f.writer.timeout, "ledger-timeout", 10*time.Second, "longest wait for a checkpoint")
	fs.StringVar(&f.actor, "actor", "", "who decides, for the ledger")
	fs.StringVar(&f.receipt, "receipt", "", "write PREFIX.json and PREFIX.tlog-proof, the ledger's proof")
	fs.BoolVar(&f.json, "json", false, "print what was attested as JSON")
	return c
}

// attested is the JSON of attest.
type attested struct {
	Verdict    record.Outcome `json:"verdict"`
	Model      string         `json:"model"`
	Resource   string         `json:"resource"`
	Report     string         `json:"report"`
	Policy     string         `json:"policy"`
	Claims     string         `json:"claims"`
	Statements []statement    `json:"statements"`
}

type statement struct {
	PredicateType string `json:"predicate_type"`
	Digest        string `json:"digest"` // sha256:… of the bundle
}

func attestReport(ctx context.Context, a *app, path string, f *attestFlags) error {
	r, err := reports.Open(path)
	if err != nil {
		return err
	}
	defer r.Close()
	run := r.Run()
	switch d, err := again(run, f.policy); {
	case err != nil:
		return err
	case !d.SamePolicy:
		return usagef("the report was decided by the policy %q, %s, and this one is %s: give that one with --policy", d.Recorded.Policy, d.Recorded.Digest, d.Verdict.Digest)
	case !d.Agrees:
		return fmt.Errorf("%s: %w", path, errVerdict)
	}
	report, err := digestOf("@" + path)
	if err != nil {
		return err
	}
	m, err := manifest.Dir(ctx, f.model, manifest.Options{})
	if err != nil {
		return err
	}
	if err := attest.Bind(run, m); err != nil {
		return err
	}
	if f.name == "" {
		abs, err := filepath.Abs(f.model)
		if err != nil {
			return err
		}
		f.name = filepath.Base(abs)
	}
	// Evidence judged for one name and place says nothing about another.
	for _, x := range []struct{ flag, judged, asked string }{
		{"--name", run.Meta.Model, f.name}, {"--environment", run.Meta.Environment, f.environment},
	} {
		if x.judged != "" && x.judged != x.asked {
			return usagef("the report's evidence was judged for %q, and %s %s asks for another verdict: run diff again for that", x.judged, x.flag, x.asked)
		}
	}
	subject, err := signing.Subject(f.name, m)
	if err != nil {
		return err
	}
	created, err := oci.Created(a.Getenv("SOURCE_DATE_EPOCH"))
	if err != nil {
		return err
	}
	inRegistry, err := oci.ManifestDigest(ctx, f.model, created)
	if err != nil {
		return err
	}
	v := &attest.Verdict{Run: run, Report: string(report), Subject: subject, OCI: inRegistry.String(), Model: f.name, Environment: f.environment,
		Verifier: f.verifier, PolicyURI: f.policyURI, Version: version, Time: time.Now()}
	bundles, err := signVerdict(v, f)
	if err != nil {
		return err
	}
	if f.claims == "" {
		f.claims = filepath.Join(f.model, manifest.ClaimsFile)
	}
	out := attested{Verdict: run.Verdict.Outcome, Model: "sha256:" + m.Root(), Resource: attest.Resource(f.name, f.environment),
		Report: string(report), Policy: run.Verdict.Digest, Claims: f.claims}
	for _, b := range bundles {
		out.Statements = append(out.Statements, statement{b.Statement.PredicateType, b.Digest()})
	}
	// The ledger first: a verdict that it does not know must not go out.
	if f.ledger != "" {
		if err := f.enter(ctx, a, v, m, bundles); err != nil {
			return err
		}
	}
	for _, b := range bundles {
		if err := bundle.AppendClaim(f.claims, b.Raw); err != nil {
			return err
		}
	}
	return showAttested(a, f.json, out)
}

// signVerdict makes and signs all statements of a verdict.
func signVerdict(v *attest.Verdict, f *attestFlags) ([]*bundle.Bundle, error) {
	signer, err := loadSigner(f.sign)
	if err != nil {
		return nil, err
	}
	sign := func(st bundle.Statement) (*bundle.Bundle, error) {
		raw, err := signer.Sign(st)
		if err != nil {
			return nil, err
		}
		return bundle.Parse(raw)
	}
	test, err := v.TestResult()
	if err != nil {
		return nil, usageError{err}
	}
	first, err := sign(test)
	if err != nil {
		return nil, err
	}
	bundles := []*bundle.Bundle{first}
	inputs := []string{first.Digest()}
	for _, e := range v.Run.Evidence {
		if e.Digest != "" && e.State == record.Valid {
			inputs = append(inputs, e.Digest)
		}
	}
	decision, err := v.Decision(inputs)
	if err != nil {
		return nil, err
	}
	for _, st := range decision {
		b, err := sign(st)
		if err != nil {
			return nil, err
		}
		bundles = append(bundles, b)
	}
	return bundles, nil
}

// enter appends the verdict to the ledger.
func (f *attestFlags) enter(ctx context.Context, a *app, v *attest.Verdict, m *manifest.Manifest, bundles []*bundle.Bundle) error {
	e := entry.New(entry.Verdict, v.Time, f.actor)
	id, _ := m.Identity()
	e.Model, e.Identity, e.Name, e.OCI = entry.SHA256(m.Root()), entry.Digest(id), v.Model, entry.Digest(v.OCI)
	e.Environment, e.Policy, e.Decision = v.Environment, entry.Digest(v.Run.Verdict.Digest), string(v.Run.Verdict.Outcome)
	var rules []string
	for _, r := range v.Run.Verdict.Reasons {
		rules = append(rules, r.Rule)
	}
	e.Reason = entry.Codes(rules...)
	e.Evidence = append(e.Evidence, entry.Evidence{Kind: "report", Digest: entry.Digest(v.Report)})
	for _, b := range bundles {
		kind := map[string]string{bundle.PredicateTestResult: "test-result", bundle.PredicateVSA: "vsa", bundle.PredicateSVR: "svr"}[b.Statement.PredicateType]
		e.Evidence = append(e.Evidence, entry.Evidence{Kind: kind, Digest: entry.Digest(b.Digest())})
	}
	if f.receipt != "" { // before the entry exists, so that a crash cannot lose it
		raw, err := e.Canonical()
		if err != nil {
			return err
		}
		if err := writeFile(f.receipt+".json", raw); err != nil {
			return err
		}
	}
	l, err := f.writer.open(ctx, f.ledger)
	if err != nil {
		return err
	}
	quiet := *a
	if f.json {
		quiet.Stdout = a.Stderr
	}
	return appendEntry(ctx, &quiet, l, e, f.receipt, false)
}

func showAttested(a *app, asJSON bool, out attested) error {
	if asJSON {
		return printJSON(a, out)
	}
	w := tabwriter.NewWriter(a.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "verdict\t%s\n", out.Verdict)
	fmt.Fprintf(w, "model\t%s\n", out.Model)
	fmt.Fprintf(w, "for\t%s\n", visible(out.Resource))
	fmt.Fprintf(w, "policy\t%s\n", visible(out.Policy))
	for _, s := range out.Statements {
		fmt.Fprintf(w, "signed\t%s, %s\n", s.PredicateType, s.Digest)
	}
	fmt.Fprintf(w, "in\t%s\n", visible(out.Claims))
	if out.Verdict == record.Escalate {
		fmt.Fprintf(w, "\tno verdict was signed: a person has to decide\n")
	}
	return w.Flush()
}
