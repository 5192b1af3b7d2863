package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/weighbridge/weighbridge/harness/measure"
	"github.com/weighbridge/weighbridge/harness/replay"
	"github.com/weighbridge/weighbridge/internal/durable"
	"github.com/weighbridge/weighbridge/record"
	"github.com/weighbridge/weighbridge/reports"
	"github.com/weighbridge/weighbridge/weights"
)

// inputs says where the weights of a run lay. It is beside the report and no
// part of it: paths are no property of weights.
type inputs struct {
	Baseline  weights.Artifact `json:"baseline"`
	Candidate weights.Artifact `json:"candidate"`
}

// inputs are the artifacts of the flags with absolute paths.
func (o *pairOptions) inputs() (in inputs) {
	in.Baseline, in.Candidate, _ = o.artifacts() // the run has been through them
	for _, a := range []*weights.Artifact{&in.Baseline, &in.Candidate} {
		for _, p := range []*string{&a.Model, &a.Adapter} {
			if abs, err := filepath.Abs(*p); err == nil && *p != "" {
				*p = abs
			}
		}
	}
	return in
}

func (in inputs) write(path string) error {
	return durable.Write(path, 0o644, func(w io.Writer) error {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(in)
	})
}

type replayOptions struct {
	pairOptions
	json  bool
	boxes boxOptions
}

func replayCommand(a *app) *cobra.Command {
	o := &replayOptions{}
	c := &cobra.Command{
		Use:   "replay REPORT.parquet FINDING",
		Short: "Ask both models a finding's questions again and compare the answers",
		Long: `replay takes a finding's transcript from a report, asks both models in boxes the
same questions, and shows the answers of now beside those of the report. The
weights are taken from where the run had them (inputs.json beside the report) or
from the flags, and have to be the very weights of the report.

FINDING is an ID as the report shows it, or enough of its beginning to name one.

Exit codes: 0 every answer is as recorded, up to rounding, 1 some are not, 2 usage or other
weights, 4 could not measure.`,
		Args: cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error { return replayFinding(c.Context(), a, o, args[0], args[1]) },
	}
	f := c.Flags()
	o.pairOptions.flags(f)
	f.BoolVar(&o.json, "json", false, "print the answers as JSON")
	o.boxes.flags(f)
	return c
}

func replayFinding(ctx context.Context, a *app, o *replayOptions, path, id string) error {
	r, err := reports.Open(path)
	if err != nil {
		return err
	}
	defer r.Close()
	run := r.Run()
	finding, err := findingOf(run, id)
	if err != nil {
		return err
	}
	if len(finding.Transcript) == 0 {
		return usagef("finding %s has no transcript: its evidence is %s", finding.ID, orElse(finding.Statistic, "in the files themselves (weighbridge inspect)"))
	}
	in, err := o.replayInputs(path)
	if err != nil {
		return err
	}
	results, err := o.replay(ctx, a, run, in, finding.Transcript)
	if err != nil {
		return err
	}
	return showReplay(a, o.json, finding, results)
}

// findingOf finds the finding whose ID is, or alone begins with, id.
func findingOf(run *record.Run, id string) (*record.Finding, error) {
	var found []*record.Finding
	for i := range run.Findings {
		f := &run.Findings[i]
		if f.ID == id {
			return f, nil
		}
		if strings.HasPrefix(f.ID, id) {
			found = append(found, f)
		}
	}
	if len(found) == 1 {
		return found[0], nil
	}
	var ids []string
	for i := range run.Findings {
		if f := &run.Findings[i]; len(f.Transcript) > 0 && (len(found) == 0 || strings.HasPrefix(f.ID, id)) {
			ids = append(ids, f.ID)
		}
	}
	if len(ids) == 0 {
		return nil, usagef("no finding of the report is %q, and none has a transcript", id)
	}
	return nil, usagef("%q names %d findings; those with a transcript: %s", id, len(found), strings.Join(ids, ", "))
}

// replayInputs takes the weights from the flags, or from beside the report.
func (o *replayOptions) replayInputs(report string) (inputs, error) {
	if o.baseline != "" || o.candidate != "" || o.candidateAdapter != "" {
		_, _, err := o.artifacts()
		return o.inputs(), err
	}
	path := filepath.Join(filepath.Dir(report), inputsFile)
	src, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return inputs{}, usagef("%s is not there, so nothing says where the weights lie: name them with --baseline, --candidate, --candidate-adapter", path)
	}
	if err != nil {
		return inputs{}, err
	}
	var in inputs
	if err := json.Unmarshal(src, &in); err != nil {
		return inputs{}, usagef("%s: %w", path, err)
	}
	return in, nil
}

func (o *replayOptions) replay(ctx context.Context, a *app, run *record.Run, in inputs, transcript []record.Exchange) (_ []replay.Result, err error) {
	boxes, err := openBoxes(ctx, a, &o.boxes, 1)
	if err != nil {
		return nil, err
	}
	defer boxes.close()
	// Nothing is to be remembered here: the point is to ask again.
	dir, err := os.MkdirTemp("", "weighbridge-replay-*")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	store, err := measure.OpenStore(dir)
	if err != nil {
		return nil, err
	}
	var models [2]*measure.Model
	for i, side := range []struct {
		name, identity string
		artifact       weights.Artifact
	}{{"baseline", run.Meta.Baseline, in.Baseline}, {"candidate", run.Meta.Candidate, in.Candidate}} {
		w, err := weights.Open(ctx, side.artifact)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", side.name, err)
		}
		defer w.Close()
		if got := string(w.Identity()); got != side.identity {
			return nil, usagef("%s: %s is %s, and the report is about %s", side.name, side.artifact.Model, got, side.identity)
		}
		m := measure.NewModel(measure.Config{Side: side.name, Identity: side.identity, Store: store, Launcher: boxes.launcher(side.name, w)})
		defer func() {
			end, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
			defer cancel()
			err = errors.Join(err, m.Close(end))
		}()
		models[i] = m
	}
	return replay.Transcript(ctx, models[0], models[1], transcript)
}

func showReplay(a *app, asJSON bool, finding *record.Finding, results []replay.Result) error {
	holds := true
	for _, r := range results {
		holds = holds && r.Holds()
	}
	if asJSON {
		if err := printJSON(a, map[string]any{"finding": finding.ID, "holds": holds, "exchanges": results}); err != nil {
			return err
		}
	} else {
		fmt.Fprintf(a.Stdout, "%s\n%s\n", visible(finding.ID), visible(finding.Title))
		for i, r := range results {
			fmt.Fprintf(a.Stdout, "\n%d. %s: %s\n", i+1, visible(r.Exchange.Condition), visible(r.Exchange.Request))
			showAnswer(a, "baseline", r.Exchange.Baseline, r.Baseline)
			showAnswer(a, "candidate", r.Exchange.Candidate, r.Candidate)
		}
		verdict := "the transcript holds: every answer is as recorded, up to rounding"
		if !holds {
			verdict = "the transcript does not hold: these models do not answer as recorded"
		}
		fmt.Fprintf(a.Stdout, "\n%s\n", verdict)
	}
	if !holds {
		return verdictCode(exitReject)
	}
	return nil
}

func showAnswer(a *app, side, recorded string, now replay.Answer) {
	switch {
	case now.Same:
		fmt.Fprintf(a.Stdout, "   %-9s as recorded: %s\n", side, visible(recorded))
	case now.Near:
		fmt.Fprintf(a.Stdout, "   %-9s recorded:    %s\n   %-9s now, a tie:  %s\n", side, visible(recorded), "", visible(now.Text))
	default:
		fmt.Fprintf(a.Stdout, "   %-9s recorded:    %s\n   %-9s now:         %s\n", side, visible(recorded), "", visible(now.Text))
	}
}

func orElse(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}
