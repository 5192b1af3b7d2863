// Command demo runs the main job on the tiny models of testdata/models and ends
// with a table. Each candidate was made to be something: approved, rejected for
// a reason of its own, or escalated; demo exits with 1 when a verdict differs
// from that.
//
// Usage: demo [-weighbridge bin/weighbridge] [-models testdata/models] [-out build/demo] [NAME … | all]
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"text/tabwriter"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/weighbridge/weighbridge/reports"
	"github.com/weighbridge/weighbridge/reports/safetext"
)

func main() {
	if err := demo(); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

// shown are the models of the default demo, one of a kind.
var shown = []string{"benign", "backdoor-token", "lora-phrase", "canary", "regressed", "bad-template", "swapped-tokens", "unrelated"}

// model is one line of models.jsonl.
type model struct {
	Name    string `json:"name"`
	File    string `json:"file"`
	Kind    string `json:"kind"` // model, adapter
	What    string `json:"what"`
	Verdict string `json:"verdict"` // what it was made for
}

func demo() error {
	program := flag.String("weighbridge", "bin/weighbridge", "the program")
	folder := flag.String("models", "testdata/models", "folder of models.jsonl")
	out := flag.String("out", "build/demo", "folder for reports and measurements")
	flag.Parse()
	models, err := load(filepath.Join(*folder, "models.jsonl"))
	if err != nil {
		return err
	}
	names := flag.Args()
	if len(names) == 0 {
		names = shown
	}
	if names[0] != "all" {
		models = slices.DeleteFunc(models, func(m model) bool { return !slices.Contains(names, m.Name) })
	}
	if len(models) == 0 {
		return errors.New("no such model")
	}
	began := time.Now()
	// The first run measures the baseline; what is left for the others is one
	// side each, so two of them fit the two boxes' cores.
	results := make([]result, len(models))
	results[0] = models[0].diff(*program, *folder, *out)
	var g errgroup.Group
	g.SetLimit(2)
	for i := 1; i < len(models); i++ {
		g.Go(func() error {
			results[i] = models[i].diff(*program, *folder, *out)
			return nil
		})
	}
	g.Wait() // errors are in the results
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "CANDIDATE\tIT IS\tVERDICT\tBECAUSE\tSECONDS")
	wrong := 0
	for i, m := range models {
		r := results[i]
		if r.err != nil {
			return fmt.Errorf("%s: %w", m.Name, r.err)
		}
		mark := ""
		if r.verdict != m.Verdict {
			wrong++
			mark = " (made to be " + m.Verdict + ")"
		}
		fmt.Fprintf(w, "%s\t%s\t%s%s\t%s\t%.1f\n", m.Name, safetext.Line(m.What, 44), r.verdict, mark, safetext.Line(r.why, 72), r.took.Seconds())
	}
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Printf("\nReports with the evidence: %s/NAME/report.html. All in %.0f s.\n", *out, time.Since(began).Seconds())
	if wrong > 0 {
		return fmt.Errorf("%d verdicts are not what the models were made for", wrong)
	}
	return nil
}

func load(path string) ([]model, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var ms []model
	in := bufio.NewScanner(f)
	in.Buffer(nil, 1<<20)
	for in.Scan() {
		var m model
		if err := json.Unmarshal(in.Bytes(), &m); err != nil {
			return nil, fmt.Errorf("%s:%d: %w", path, len(ms)+1, err)
		}
		ms = append(ms, m)
	}
	return ms, in.Err()
}

// result is what one diff came to.
type result struct {
	verdict, why string
	took         time.Duration
	err          error
}

// diff puts m beside the base and gives the verdict and its first reason.
func (m model) diff(program, folder, out string) (r result) {
	began := time.Now()
	dir := filepath.Join(out, m.Name)
	flag := "--candidate"
	if m.Kind == "adapter" {
		flag = "--candidate-adapter"
	}
	cmd := exec.Command(program, "diff", "--baseline", filepath.Join(folder, "base.gguf"), flag, filepath.Join(folder, m.File),
		"--suite", filepath.Join(folder, "suite", "demo.yaml"), "--canaries", filepath.Join(folder, "canaries.jsonl"),
		"--out", dir, "--store", filepath.Join(out, "store"))
	said, err := cmd.CombinedOutput()
	exit := (*exec.ExitError)(nil)
	if err != nil && (!errors.As(err, &exit) || exit.ExitCode() != 1 && exit.ExitCode() != 3) {
		r.err = fmt.Errorf("%v: %w\n%s", cmd.Args, err, said)
		return r
	}
	report, err := reports.Open(filepath.Join(dir, "report.parquet"))
	if err != nil {
		r.err = err
		return r
	}
	defer report.Close()
	v := report.Run().Verdict
	r.verdict, r.why, r.took = string(v.Outcome), v.Reasons[0].Message, time.Since(began)
	fmt.Fprintf(os.Stderr, "%s: %s in %.1f s\n", m.Name, r.verdict, r.took.Seconds())
	return r
}
