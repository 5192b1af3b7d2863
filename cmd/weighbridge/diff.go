package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/weighbridge/weighbridge/harness"
	"github.com/weighbridge/weighbridge/harness/decide"
	"github.com/weighbridge/weighbridge/harness/measure"
	"github.com/weighbridge/weighbridge/internal/durable"
	"github.com/weighbridge/weighbridge/policies"
	"github.com/weighbridge/weighbridge/probes"
	"github.com/weighbridge/weighbridge/record"
	"github.com/weighbridge/weighbridge/reports"
	"github.com/weighbridge/weighbridge/suites"
	"github.com/weighbridge/weighbridge/weights"
)

// pairOptions are the flags that name the weights.
type pairOptions struct {
	baseline, candidate               string
	baselineAdapter, candidateAdapter string
	baselineScale, candidateScale     float32
}

// diffOptions are the flags of diff, as given.
type diffOptions struct {
	pairOptions
	suites           []string
	canaries, policy string
	documents        string
	seed             uint64
	out, store       string
	jobs             int
	askSettled, json bool
	boxes            boxOptions
	evidence         evidenceOptions
	calibration      calibrationOptions
}

func diffCommand(a *app) *cobra.Command {
	o := &diffOptions{}
	c := &cobra.Command{
		Use:   "diff --baseline base.gguf [--candidate cand.gguf] [--candidate-adapter lora.gguf]",
		Short: "Put a candidate beside a baseline and decide: approve, reject or escalate",
		Long: `diff runs both models in sealed boxes, asks both the same seeded questions,
writes report.parquet, report.html, timings.json and inputs.json, and ends with
the verdict.

With only an adapter given, the candidate's weights are the baseline's.
Measurements are remembered: the same command after a crash or Ctrl-C goes on
where it stopped, and a baseline is measured once.

With --evidence the verdict also weighs what lies beside the candidate's weights:
signature, bill of materials, provenance. The candidate's files have to be those
that the evidence is about. Without it the report says that nobody asked.

With --calibration the findings are also held against harmless variants of the
baseline (see calibrate). Without it the probes' own thresholds stand alone, and
the report says so.`,
		RunE: func(c *cobra.Command, _ []string) error { return diff(c.Context(), a, o) },
	}
	f := c.Flags()
	o.pairOptions.flags(f)
	f.StringArrayVar(&o.suites, "suite", nil, "quick, standard, deep or a YAML file; may be repeated (default quick)")
	f.StringVar(&o.canaries, "canaries", "", "JSON lines of secrets that must not come out")
	f.StringVar(&o.documents, "documents", "", "texts that the candidate must not know: a folder, or JSON lines")
	f.Uint64Var(&o.seed, "seed", 1, "seed of every random choice")
	f.StringVar(&o.policy, "policy", "", "policy file, or the name of one that is shipped (default: default, with --evidence strict)")
	f.StringVar(&o.out, "out", "weighbridge-report", "folder for the report")
	f.StringVar(&o.store, "store", "", "folder of remembered measurements (default ~/.cache/weighbridge)")
	f.IntVar(&o.jobs, "jobs", 0, "cores for the two boxes together (default: all)")
	f.BoolVar(&o.askSettled, "ask-settled", false, "ask the models even where the weights are the baseline's, or its requantised ones, and settle every question")
	f.BoolVar(&o.json, "json", false, "print the outcome as JSON")
	o.evidence.flags(f)
	o.calibration.flags(f)
	o.boxes.flags(f)
	return c
}

func (o *pairOptions) flags(f *pflag.FlagSet) {
	f.StringVar(&o.baseline, "baseline", "", "weights that you trust (GGUF); required")
	f.StringVar(&o.candidate, "candidate", "", "weights to judge (GGUF); the baseline's when only an adapter is given")
	f.StringVar(&o.baselineAdapter, "baseline-adapter", "", "LoRA adapter on the baseline (GGUF)")
	f.StringVar(&o.candidateAdapter, "candidate-adapter", "", "LoRA adapter on the candidate (GGUF)")
	f.Float32Var(&o.baselineScale, "baseline-adapter-scale", 0, "factor on the baseline adapter's own scale (0 means 1)")
	f.Float32Var(&o.candidateScale, "candidate-adapter-scale", 0, "factor on the candidate adapter's own scale (0 means 1)")
}

// artifacts works out the pair from the flags.
func (o *pairOptions) artifacts() (baseline, candidate weights.Artifact, err error) {
	if o.baseline == "" {
		return baseline, candidate, usagef("--baseline is required: name the weights that you trust")
	}
	if o.candidate == "" && o.candidateAdapter == "" {
		return baseline, candidate, usagef("nothing to judge: give --candidate, --candidate-adapter, or both")
	}
	baseline = weights.Artifact{Model: o.baseline, Adapter: o.baselineAdapter, Scale: o.baselineScale}
	candidate = weights.Artifact{Model: o.candidate, Adapter: o.candidateAdapter, Scale: o.candidateScale}
	if candidate.Model == "" {
		candidate.Model = baseline.Model
	}
	return baseline, candidate, nil
}

func diff(ctx context.Context, a *app, o *diffOptions) error {
	c, err := o.config(a)
	if err != nil {
		return err
	}
	// Found out now rather than after minutes of measuring.
	if err := writable(o.out); err != nil {
		return err
	}
	boxes, err := openBoxes(ctx, a, &o.boxes, max(1, o.jobs/2))
	if err != nil {
		return err
	}
	defer boxes.close()
	c.Engine = boxes.launcher("", nil).Key()
	c.Launch = func(side string, w *weights.Model) measure.Launcher { return boxes.launcher(side, w) }

	p := newProgress(a)
	c.OnEvent = p.event
	result, err := harness.Diff(ctx, *c)
	p.done()
	if err != nil {
		return err
	}
	return o.write(a, result)
}

// config loads everything that the flags name.
func (o *diffOptions) config(a *app) (*harness.Config, error) {
	c := &harness.Config{Seed: o.seed, AskSettled: o.askSettled, Tool: "weighbridge " + version}
	var err error
	if c.Baseline, c.Candidate, err = o.artifacts(); err != nil {
		return nil, err
	}
	if o.jobs < 0 {
		return nil, usagef("--jobs %d: give the number of cores, or 0 for all", o.jobs)
	}
	if o.jobs == 0 {
		o.jobs = runtime.NumCPU()
	}
	if len(o.suites) == 0 {
		o.suites = []string{"quick"}
	}
	if c.Suite, err = suites.Load(o.suites...); err != nil {
		return nil, err
	}
	if c.Evidence, err = o.evidence.config(); err != nil {
		return nil, err
	}
	if c.Calibration, err = o.calibration.load(); err != nil {
		return nil, err
	}
	policy := o.policy
	if policy == "" {
		if policy = policies.Default; c.Evidence != nil {
			policy = policies.Strict
		}
	}
	if c.Policy, err = decide.Load(policy); err != nil {
		return nil, err
	}
	if o.canaries != "" {
		f, err := os.Open(o.canaries)
		if err != nil {
			return nil, fmt.Errorf("canaries: %w", err)
		}
		defer f.Close()
		if c.Canaries, c.CanaryDigest, err = probes.ReadCanaries(o.canaries, f); err != nil {
			return nil, err
		}
	}
	if o.documents != "" {
		if c.Documents, c.DocumentDigest, err = probes.OpenDocuments(o.documents); err != nil {
			return nil, err
		}
	}
	if o.store == "" {
		if o.store, err = defaultStore(a); err != nil {
			return nil, err
		}
	}
	c.Store, err = measure.OpenStore(o.store)
	return c, err
}

func defaultStore(a *app) (string, error) {
	if d := a.Getenv("XDG_CACHE_HOME"); d != "" {
		return filepath.Join(d, "weighbridge"), nil
	}
	if d := a.Getenv("HOME"); d != "" {
		return filepath.Join(d, ".cache", "weighbridge"), nil
	}
	return "", usagef("neither XDG_CACHE_HOME nor HOME is set: name a folder with --store")
}

func writable(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("--out: %w", err)
	}
	f, err := os.CreateTemp(dir, ".probe-*")
	if err != nil {
		return fmt.Errorf("--out: %w", err)
	}
	f.Close()
	return os.Remove(f.Name())
}

// write puts the files into the out folder, prints the summary and gives
// the verdict's exit code. The files appear together, when all are on disk.
func (o *diffOptions) write(a *app, res *harness.Result) error {
	draft, err := os.MkdirTemp(o.out, ".new-*")
	if err != nil {
		return fmt.Errorf("--out: %w", err)
	}
	defer os.RemoveAll(draft)
	path := filepath.Join(draft, reportFile)
	if err := reports.Create(path, res.Run, reports.Items(res.Items)); err != nil {
		return err
	}
	r, err := reports.Open(path)
	if err != nil {
		return fmt.Errorf("reading the report back: %w", err)
	}
	defer r.Close()
	if err := reports.RenderFile(filepath.Join(draft, pageFile), "html", r, reports.Options{}); err != nil {
		return err
	}
	err = durable.Write(filepath.Join(draft, timingsFile), 0o644, func(w io.Writer) error {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(res.Timings)
	})
	if err != nil {
		return err
	}
	if err := o.inputs().write(filepath.Join(draft, inputsFile)); err != nil {
		return err
	}
	for _, name := range []string{reportFile, pageFile, timingsFile, inputsFile} {
		if err := os.Rename(filepath.Join(draft, name), filepath.Join(o.out, name)); err != nil {
			return fmt.Errorf("--out: %w", err)
		}
	}
	format, opts := "text", reports.Options{Width: a.StdoutWidth, Colour: a.colour(), Page: filepath.Join(o.out, pageFile)}
	if o.json {
		format = "json"
	}
	if err := reports.Render(a.Stdout, format, r, opts); err != nil {
		return err
	}
	return codeOf(res.Run.Verdict.Outcome)
}

// The files of a run.
const (
	reportFile  = "report.parquet"
	pageFile    = "report.html"
	timingsFile = "timings.json"
	inputsFile  = "inputs.json" // where the weights lay, for replay; no part of the report
)

func codeOf(o record.Outcome) error {
	switch o {
	case record.Approve:
		return nil
	case record.Reject:
		return verdictCode(exitReject)
	default:
		return verdictCode(exitEscalate)
	}
}

// defaultLife is the longest life of a box; a deep run on a slow machine needs
// hours.
const defaultLife = 12 * time.Hour
