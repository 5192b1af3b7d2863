package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/weighbridge/weighbridge/harness/sandbox"
	"github.com/weighbridge/weighbridge/record"
	"github.com/weighbridge/weighbridge/supply"
	"github.com/weighbridge/weighbridge/supply/intake"
	"github.com/weighbridge/weighbridge/supply/intake/convert"
	"github.com/weighbridge/weighbridge/supply/ledger"
	"github.com/weighbridge/weighbridge/supply/ledger/entry"
	"github.com/weighbridge/weighbridge/supply/oci"
	"github.com/weighbridge/weighbridge/supply/store"
)

type ingestFlags struct {
	store, trust, model, environment, now string
	require                               []string
	ledger, ledgerKey, actor              string
	convert, asJSON                       bool
	converter                             string
	most                                  int64
	boxes                                 boxOptions
}

func ingestCommand(a *app) *cobra.Command {
	var f ingestFlags
	c := &cobra.Command{
		Use:   "ingest SRC --store DIR",
		Short: "Take foreign weights in: quarantine, checks, then admitted or refused",
		Long: `ingest copies a model into the quarantine of a store, judges the copy as verify
does, and admits it or refuses it. SRC is

  PATH                           a file or a folder; a repository of a Hugging Face
                                 cache is recognised
  hf:DIR[@REVISION]              such a repository, at a revision
  ollama:NAME[@DIR]              a model of an Ollama store (default $OLLAMA_MODELS,
                                 else ~/.ollama/models)
  oci:FOLDER[:TAG|@DIGEST]       an OCI image layout; oci-archive:FILE for a tar
  oci://HOST/REPOSITORY[:TAG]    an artifact of a registry

What is bad is refused: files that could execute, checksums or signatures that
do not hold, revoked keys or models, a source that breaks its own digests. What
is absent or ambiguous is admitted and recorded, since the policy weighs it at
the time of use; --require makes chosen kinds of evidence obligatory here.
A refused model leaves its reason in the store and nothing else that counts.

With --convert a folder of safetensors becomes GGUF too, by Ollama's convert in
a box; the store keeps both and links them. With --ledger the ledger is told
before anything takes effect. An interrupted intake goes on where it stopped
when the same command runs again.

Exit codes: 0 admitted, 1 refused, 2 usage or a source, store or trust file that
cannot be used, 4 a fault of this machine, 130 interrupted.`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error { return ingest(c.Context(), a, args[0], f, c.Flags()) },
	}
	fs := c.Flags()
	fs.StringVar(&f.store, "store", "", "the store; made where the folder is missing or empty")
	fs.StringVar(&f.trust, "trust", "", "trust file: who may sign what, and what is revoked")
	fs.StringVar(&f.model, "model", "", "name of the model, for signers limited to some (default the last part of SRC)")
	fs.StringVar(&f.environment, "environment", "", "environment that the model is for, for signers limited to some")
	fs.StringVar(&f.now, "now", "", "judge as of this time (RFC 3339) rather than now")
	fs.StringSliceVar(&f.require, "require", nil, "kinds of evidence that have to be valid, separated by commas")
	fs.StringVar(&f.ledger, "ledger", "", "folder of the ledger that records the intake")
	fs.StringVar(&f.ledgerKey, "ledger-key", "", "the ledger's private key file (default LEDGER.key)")
	fs.StringVar(&f.actor, "actor", "", "who takes the model in, for the ledger")
	fs.BoolVar(&f.convert, "convert", false, "make GGUF of a safetensors folder, in a box")
	fs.StringVar(&f.converter, "converter", "", "the program that converts in the box (default: converter beside weighbridge)")
	fs.Int64Var(&f.most, "max-bytes", 0, "refuse models with more bytes (default 4 TiB)")
	fs.Bool("plain-http", false, "speak to a registry without TLS")
	fs.BoolVar(&f.asJSON, "json", false, "print the outcome as JSON")
	f.boxes.boxFlags(fs)
	return c
}

// boxFlags are the flags about boxes that need no engine.
func (o *boxOptions) boxFlags(f *pflag.FlagSet) {
	f.StringVar(&o.runtime, "runtime", sandbox.Runc, "runc, or runsc for gVisor")
	f.StringVar(&o.path, "runtime-path", "", "the runtime's program (default: beside weighbridge, then PATH)")
	f.StringVar(&o.containerd, "containerd", "", "containerd's socket, or `private` for a daemon of our own (default: the system's, else private)")
	f.StringVar(&o.state, "state", "", "folder for sockets and the private daemon (default /run/weighbridge)")
}

// ingested is the JSON of ingest.
type ingested struct {
	*intake.Outcome
	Converted *intake.Outcome `json:"converted,omitempty"`
}

func ingest(ctx context.Context, a *app, arg string, f ingestFlags, fs *pflag.FlagSet) (err error) {
	if f.store == "" {
		return usagef("--store is missing: say where admitted models are kept")
	}
	if f.most < 0 {
		return usagef("--max-bytes is %d; it must not be negative", f.most)
	}
	required, err := f.required()
	if err != nil {
		return err
	}
	if f.model == "" {
		f.model = nameOf(arg)
	}
	check, err := verifyFlags{trust: f.trust, model: f.model, environment: f.environment, now: f.now}.config("")
	if err != nil {
		return err
	}
	src, done, err := sourceOf(ctx, a, arg, f.most, fs)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, done()) }()
	s, err := store.Create(f.store)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	check.Lookup = lookupIn(s)
	c := intake.Config{Store: s, Source: src, Require: required, Limits: store.Limits{Total: f.most}, Check: folderCheck(check)}
	if f.ledger != "" {
		if c.Ledger, err = f.ledgerFor(check); err != nil {
			return err
		}
	}
	var out ingested
	if out.Outcome, err = intake.Ingest(ctx, c); err != nil {
		return err
	}
	if out.Admitted && f.convert {
		if out.Converted, err = f.toGGUF(ctx, a, c, out.Entry); err != nil {
			return fmt.Errorf("%s is admitted; converting it: %w", out.Entry.Identity, err)
		}
	}
	if f.asJSON {
		err = printJSON(a, out)
	} else {
		err = out.print(ctx, a.Stdout, f.ledger != "")
	}
	if err == nil && (!out.Admitted || out.Converted != nil && !out.Converted.Admitted) {
		return verdictCode(exitReject)
	}
	return err
}

func (f ingestFlags) required() (out []record.EvidenceKind, err error) {
	for _, name := range f.require {
		k := record.EvidenceKind(name)
		if !slices.Contains(supply.Kinds, k) || k == record.LedgerProof {
			return nil, usagef("--require %s: there are %v", name, slices.DeleteFunc(slices.Clone(supply.Kinds), func(k record.EvidenceKind) bool { return k == record.LedgerProof }))
		}
		out = append(out, k)
	}
	return out, nil
}

// nameOf is the last part of a source's path without tag, digest or suffix.
func nameOf(arg string) string {
	for _, scheme := range []string{"ollama:", "hf:", "oci-archive:", "oci:"} {
		arg = strings.TrimPrefix(arg, scheme)
	}
	if i := strings.IndexByte(arg, '@'); i > 0 {
		arg = arg[:i]
	}
	if abs, err := filepath.Abs(arg); err == nil {
		arg = abs
	}
	name := filepath.Base(arg)
	if i := strings.IndexByte(name, ':'); i > 0 {
		name = name[:i]
	}
	name = strings.TrimPrefix(name, "models--")
	return strings.TrimSuffix(strings.ReplaceAll(name, "--", "/"), ".gguf")
}

// sourceOf opens what the user names.
func sourceOf(ctx context.Context, a *app, arg string, most int64, fs *pflag.FlagSet) (intake.Source, func() error, error) {
	nothing := func() error { return nil }
	if rest, ok := strings.CutPrefix(arg, "oci://"); ok {
		arg = rest
	} else if !strings.HasPrefix(arg, "oci:") && !strings.HasPrefix(arg, "oci-archive:") {
		dir := a.Getenv("OLLAMA_MODELS")
		if dir == "" && a.Getenv("HOME") != "" {
			dir = filepath.Join(a.Getenv("HOME"), ".ollama", "models")
		}
		src, err := intake.Detect(arg, dir)
		return src, nothing, err
	}
	ref, err := oci.ParseReference(arg)
	if err != nil {
		return nil, nil, err
	}
	client, err := ociClient(ref, fs)
	if err != nil {
		return nil, nil, err
	}
	client.Limits.Bytes = most
	src, err := oci.Open(ctx, ref, client)
	if err != nil {
		return nil, nil, err
	}
	return src, src.Close, nil
}

// folderCheck judges a folder as verify does.
func folderCheck(c supply.Config) intake.Check {
	return func(ctx context.Context, dir string) (*intake.Assessment, error) {
		c := c
		c.Dir = dir
		found, err := supply.Check(ctx, c)
		if err != nil {
			return nil, err
		}
		return &intake.Assessment{Manifest: found.Manifest, Evidence: found.Evidence}, nil
	}
}

// toGGUF converts an admitted model.
func (f ingestFlags) toGGUF(ctx context.Context, a *app, c intake.Config, e *store.Entry) (_ *intake.Outcome, err error) {
	if !convert.Convertible(e.Record) {
		return nil, fmt.Errorf("%w: it is no folder of safetensors with a config.json at its top, or holds GGUF already", convert.ErrConvert)
	}
	program := f.converter
	if program == "" {
		program = filepath.Join(filepath.Dir(a.Executable), "converter")
	}
	var host *sandbox.Host
	open := sync.OnceValues(func() (*sandbox.Host, error) {
		var err error
		host, err = sandbox.Open(ctx, f.boxes.config(a))
		return host, err
	})
	defer func() {
		if host != nil {
			err = errors.Join(err, host.Close())
		}
	}()
	src, err := convert.NewSource(&convert.Converter{Host: open, Path: program}, c.Store, e)
	if err != nil {
		return nil, err
	}
	// The signatures are over the source: nothing about the result is required.
	c.Source, c.Require, c.Limits, c.Conversion = src, nil, src.Limits(), src.Link()
	return intake.Ingest(ctx, c)
}

// nameForm is what names in a ledger may look like.
var nameForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,199}$`)

// ledgerWriter records intakes in a ledger. A ledger has one writer at a time and
// an intake can take hours, so it is opened for the moment of writing only.
type ledgerWriter struct {
	dir, actor, environment, name string
	flags                         writerFlags
	now                           time.Time
}

// ledgerFor finds out before the intake begins whether the ledger could be
// written to.
func (f ingestFlags) ledgerFor(c supply.Config) (*ledgerWriter, error) {
	if f.actor == "" {
		return nil, usagef("--actor is missing: who puts the intake into the ledger")
	}
	w := &ledgerWriter{f.ledger, f.actor, f.environment, f.model, writerFlags{key: f.ledgerKey, timeout: 10 * time.Second}, c.Now}
	if w.flags.key == "" {
		w.flags.key = filepath.Clean(f.ledger) + ".key"
	}
	private, err := ledger.ReadKeyFile(w.flags.key)
	if err != nil {
		return nil, err
	}
	verifier, err := ledger.VerifierKey(f.ledger)
	if err != nil {
		return nil, err
	}
	_, err = ledger.ParseKey(private, verifier)
	return w, err
}

// open waits for other writers, which hold the ledger for seconds.
func (w *ledgerWriter) open(ctx context.Context) (*ledger.Ledger, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		l, err := w.flags.open(context.WithoutCancel(ctx), w.dir)
		if !errors.Is(err, ledger.ErrLocked) {
			return l, err
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// Intake implements intake.Ledger.
func (w *ledgerWriter) Intake(ctx context.Context, ev intake.Event) (_ *store.Proof, err error) {
	e := entry.New(entry.Ingest, w.now, w.actor)
	e.Environment, e.Decision = w.environment, "refuse"
	if nameForm.MatchString(w.name) { // it may be a path's last part
		e.Name = w.name
	}
	if ev.Admitted {
		e.Decision = "admit"
	}
	if ev.Root != "" {
		e.Model = entry.SHA256(ev.Root)
	}
	if ev.Identity != "" {
		e.Identity = entry.SHA256(ev.Identity)
	}
	e.Reason = entry.Codes(ev.Rules...)
	for _, d := range ev.Documents[:min(len(ev.Documents), entry.MaxEvidence)] {
		e.Evidence = append(e.Evidence, entry.Evidence{Kind: d.Kind, Digest: entry.SHA256(d.SHA256)})
	}
	raw, err := e.Canonical()
	if err != nil {
		return nil, err
	}
	l, err := w.open(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	r, err := l.Append(ctx, e)
	if err != nil {
		return nil, err
	}
	return &store.Proof{Receipt: r.Marshal(), Entry: raw}, nil
}

func (o *ingested) print(ctx context.Context, out io.Writer, ledger bool) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	line := func(name, format string, args ...any) {
		fmt.Fprintf(w, "%s\t%s\n", name, visible(fmt.Sprintf(format, args...)))
	}
	if o.Resumed {
		line("resumed", "an intake that was interrupted")
	}
	for _, e := range o.Evidence {
		line(string(e.Kind), "%s: %s", e.State, e.Detail)
	}
	for _, p := range o.Problems {
		line("problem", "%s %s: %s", p.Rule, p.Subject, p.Detail)
	}
	admitted := func(what string, e *store.Entry) error {
		dir, err := e.Dir(ctx)
		if err != nil {
			return err
		}
		line("root", "sha256:%s", e.Root)
		if e.PythonRoot != e.Root {
			line("", "sha256:%s in the order of the Python implementation", e.PythonRoot)
		}
		line("identity", "%s", e.Identity)
		line("folder", "%s", dir)
		line("result", "%s", what)
		return nil
	}
	if !o.Admitted {
		line("reason kept in", "%s", o.Refused)
		line("result", "refused")
	} else if err := admitted("admitted", o.Entry); err != nil {
		return err
	}
	if c := o.Converted; c != nil && c.Admitted {
		if err := admitted("converted and admitted", c.Entry); err != nil {
			return err
		}
	} else if c != nil {
		for _, p := range c.Problems {
			line("problem", "%s %s: %s", p.Rule, p.Subject, p.Detail)
		}
		line("result", "the conversion is refused")
	}
	if !ledger {
		line("ledger", "nothing was recorded: there is no --ledger")
	} else {
		line("ledger", "recorded and proven")
	}
	return w.Flush()
}
