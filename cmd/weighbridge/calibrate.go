package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/weighbridge/weighbridge/harness"
	"github.com/weighbridge/weighbridge/harness/calibrate"
	"github.com/weighbridge/weighbridge/harness/calibration"
	"github.com/weighbridge/weighbridge/harness/measure"
	"github.com/weighbridge/weighbridge/internal/durable"
	"github.com/weighbridge/weighbridge/record"
	"github.com/weighbridge/weighbridge/supply/attest"
	"github.com/weighbridge/weighbridge/supply/bundle"
	"github.com/weighbridge/weighbridge/weights"
)

// calibrationOptions are the flags by which diff uses a calibration.
type calibrationOptions struct{ file, key string }

func (o *calibrationOptions) flags(f *pflag.FlagSet) {
	f.StringVar(&o.file, "calibration", "", "hold the findings against harmless variants of this baseline: a file made by calibrate")
	f.StringVar(&o.key, "calibration-key", "", "PEM file of the public key whose signature the calibration (FILE.sig) must have")
}

// signatureOf is where the signature of a calibration lies.
func signatureOf(path string) string { return path + ".sig" }

// load reads the calibration and checks its signature; nil where none is asked
// for.
func (o *calibrationOptions) load() (*harness.Calibration, error) {
	if o.file == "" {
		if o.key != "" {
			return nil, usagef("--calibration-key is for a calibration: name its file with --calibration")
		}
		return nil, nil
	}
	f, src, err := calibration.Load(o.file)
	if err != nil {
		return nil, err
	}
	c := &harness.Calibration{File: f, Digest: calibration.Digest(src)}
	if o.key == "" {
		return c, nil
	}
	key, err := bundle.LoadPublicKey(o.key)
	if err != nil {
		return nil, err
	}
	raw, err := os.ReadFile(signatureOf(o.file))
	if err != nil {
		return nil, fmt.Errorf("the calibration's signature: %w", err)
	}
	b, err := bundle.Parse(raw)
	if err == nil {
		err = signed(f).Verify(b, c.Digest, key)
	}
	if err != nil {
		return nil, usagef("%s: %w", signatureOf(o.file), err)
	}
	c.Signer, err = bundle.KeyID(key)
	return c, err
}

// signed is what a signature says of a calibration.
func signed(f *calibration.File) attest.Calibration {
	return attest.Calibration{Baseline: f.Baseline, Suites: f.Suites, Variants: f.Bank(), Statistics: len(f.Statistics)}
}

// calibrateOptions are the flags of calibrate, as given. Those that it shares
// with diff mean the same there.
type calibrateOptions struct {
	diff           diffOptions
	sign           signFlags
	benign, accept []string
	variants       int
	work           string
}

func calibrateCommand(a *app) *cobra.Command {
	o := &calibrateOptions{}
	c := &cobra.Command{
		Use:   "calibrate --baseline base.gguf [--benign DIR|FILE]... --out calibration.json",
		Short: "Measure harmless variants of a baseline, for diff to hold candidates against",
		Long: `calibrate measures what harmless variants of a baseline look like to the probes:
those that it makes itself (requantised and pruned copies, noise, random low-rank
updates, your own models and adapters scaled and merged) and those in --benign.
It writes one file for this baseline, suite and seed, which diff --calibration
takes: what harmless variants reach as well no longer counts as a divergence, and
what none of them reaches does. --key signs the file: whoever signs answers for
the variants being harmless.

A variant of yours against which something is proven ends the work: a person has
to look at it, and may take it in with --accept NAME.

Measurements are remembered: the same command after a crash or Ctrl-C goes on
where it stopped. One variant at a time lies on the disk.

Exit codes: 0 written, 2 usage or a file that does not belong to the baseline,
3 something is proven against a variant that was called harmless, 4 could not
measure.`,
		RunE: func(c *cobra.Command, _ []string) error { return calibrateBaseline(c.Context(), a, o) },
	}
	f := c.Flags()
	d := &o.diff
	f.StringVar(&d.baseline, "baseline", "", "weights that you trust (GGUF); required")
	f.StringArrayVar(&o.benign, "benign", nil, "harmless models and adapters of this baseline: a GGUF file, or a folder of them (repeatable)")
	f.IntVar(&o.variants, "variants", 24, "variants to make beside those given")
	f.StringArrayVar(&o.accept, "accept", nil, "take this variant in, though something is proven against it (repeatable)")
	f.StringArrayVar(&d.suites, "suite", nil, "quick, standard, deep or a YAML file; may be repeated (default quick)")
	f.StringVar(&d.canaries, "canaries", "", "JSON lines of secrets that must not come out")
	f.Uint64Var(&d.seed, "seed", 1, "seed of every random choice; diff has to use the same")
	f.StringVar(&d.out, "out", "calibration.json", "the file to write; its signature goes to FILE.sig")
	f.StringVar(&d.store, "store", "", "folder of remembered measurements (default ~/.cache/weighbridge)")
	f.StringVar(&o.work, "work", "", "folder for the variant that is measured (default beside --out)")
	f.IntVar(&d.jobs, "jobs", 0, "cores for the two boxes together (default: all)")
	f.StringVar(&o.sign.config.Key, "key", "", "PEM file of the private key to sign with (ECDSA P-256, P-384 or P-521)")
	f.StringVar(&o.sign.passwordFile, "password-file", "", "file with the password of an encrypted key")
	f.BoolVar(&d.json, "json", false, "print what was written as JSON")
	d.boxes.flags(f)
	return c
}

func calibrateBaseline(ctx context.Context, a *app, o *calibrateOptions) error {
	d := &o.diff
	if o.variants < 0 {
		return usagef("--variants %d: give the number of variants to make", o.variants)
	}
	// The run's other side is each variant in turn; the flags are checked as diff checks them.
	d.candidate = d.baseline
	run, err := d.config(a)
	if err != nil {
		return err
	}
	var signer *bundle.Signer
	if o.sign.config.Key != "" {
		if signer, err = loadSigner(o.sign); err != nil {
			return err
		}
	} else if o.sign.passwordFile != "" {
		return usagef("--password-file is for --key")
	}
	if err := writable(filepath.Dir(d.out)); err != nil {
		return err
	}
	if o.work == "" {
		o.work = filepath.Dir(d.out)
	}
	boxes, err := openBoxes(ctx, a, &d.boxes, max(1, d.jobs/2))
	if err != nil {
		return err
	}
	defer boxes.close()
	run.Engine = boxes.launcher("", nil).Key()
	run.Launch = func(side string, w *weights.Model) measure.Launcher { return boxes.launcher(side, w) }

	p := newProgress(a)
	if a.StderrWidth > 0 { // a line for every step of every variant is too much for a log
		run.OnEvent = p.event
	}
	began := time.Now()
	f, err := calibrate.Run(ctx, calibrate.Config{
		Run: *run, Benign: o.benign, Variants: o.variants, Accept: o.accept, Work: filepath.Join(o.work, ".weighbridge-variant"),
		OnVariant: func(x calibrate.Progress) {
			p.done()
			if x.Done == nil {
				began = time.Now()
				return
			}
			note := x.Done.Outcome
			if x.Done.LeftOut != "" {
				note = "left out, " + x.Done.LeftOut
			}
			fmt.Fprintf(a.Stderr, "[%d/%d] %s: %s (%.1f s)\n", x.Index+1, x.Variants, visible(x.Name), visible(note), time.Since(began).Seconds())
		},
	})
	p.done()
	if err != nil {
		return err
	}
	return o.write(a, f, signer)
}

// calibrated is the JSON of calibrate.
type calibrated struct {
	File       string   `json:"file"`
	Digest     string   `json:"digest"`
	Baseline   string   `json:"baseline"`
	Bank       int      `json:"bank"`
	Statistics int      `json:"statistics"`
	Stopped    int      `json:"stopped"` // variants in the bank that the probes' own thresholds do not approve
	Accepted   []string `json:"accepted"`
	LeftOut    []string `json:"left_out"`
	Signature  string   `json:"signature,omitempty"`
	Key        string   `json:"key,omitempty"`
}

func (o *calibrateOptions) write(a *app, f *calibration.File, signer *bundle.Signer) error {
	src, err := f.Encode()
	if err != nil {
		return err
	}
	path := o.diff.out
	put := func(path string, b []byte) error {
		return durable.Write(path, 0o644, func(w io.Writer) error {
			_, err := w.Write(b)
			return err
		})
	}
	if err := put(path, src); err != nil {
		return fmt.Errorf("--out: %w", err)
	}
	r := calibrated{File: path, Digest: calibration.Digest(src), Baseline: f.Baseline, Bank: f.Bank(), Statistics: len(f.Statistics), Accepted: []string{}, LeftOut: []string{}}
	if signer != nil {
		st, err := signed(f).Statement(filepath.Base(path), r.Digest)
		if err != nil {
			return err
		}
		raw, err := signer.Sign(st)
		if err != nil {
			return err
		}
		r.Signature = signatureOf(path)
		if err := put(r.Signature, append(raw, '\n')); err != nil {
			return fmt.Errorf("--out: %w", err)
		}
		if r.Key, err = bundle.KeyID(signer.Public()); err != nil {
			return err
		}
	}
	for _, v := range f.Variants {
		if v.Accepted {
			r.Accepted = append(r.Accepted, v.Name)
		}
		switch {
		case v.LeftOut != "":
			r.LeftOut = append(r.LeftOut, v.Name)
		case v.Outcome != string(record.Approve):
			r.Stopped++
		}
	}
	if o.diff.json {
		return printJSON(a, r)
	}
	w := tabwriter.NewWriter(a.Stdout, 0, 0, 2, ' ', 0)
	line := func(name, format string, args ...any) {
		fmt.Fprintf(w, "%s\t%s\n", name, visible(fmt.Sprintf(format, args...)))
	}
	line("written", "%s, %s", r.File, r.Digest)
	line("baseline", "%s", r.Baseline)
	line("bank", "%d harmless variants, %d statistics; no p-value is below %.3g", r.Bank, r.Statistics, 1/float64(r.Bank+1))
	line("", "%d of them would be stopped without it", r.Stopped)
	if need := calibration.Needed(r.Statistics); r.Bank < need {
		line("", "a finding that no variant reaches becomes DIVERGENT from %d variants on", need)
	}
	for _, name := range r.Accepted {
		line("accepted", "%s", name)
	}
	for _, v := range f.Variants {
		if v.LeftOut != "" {
			line("left out", "%s: %s", v.Name, v.LeftOut)
		}
	}
	if r.Signature != "" {
		line("signed", "%s, by key %s", r.Signature, r.Key)
	} else {
		line("signed", "by nobody; --key signs it")
	}
	return w.Flush()
}
