package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/weighbridge/weighbridge/harness/decide"
	"github.com/weighbridge/weighbridge/internal/durable"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := zoo(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		if !errors.Is(err, flag.ErrHelp) {
			fmt.Fprintln(os.Stderr, "zoo:", err)
		}
		os.Exit(1)
	}
}

// errNotAsMade is what -strict ends with.
var errNotAsMade = errors.New("verdicts are not what the members were made for")

func zoo(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	f := flag.NewFlagSet("zoo", flag.ContinueOnError)
	f.SetOutput(stderr)
	b := battery{digests: map[string]string{}, log: stderr}
	f.StringVar(&b.zoo, "zoo", "", "folder of zoo.jsonl and the members' files; required")
	f.StringVar(&b.baseline, "baseline", "", "the baseline (GGUF); required")
	f.StringVar(&b.suite, "suite", "quick", "quick, standard, deep or a YAML file")
	f.StringVar(&b.policy, "policy", "", "policy file or shipped policy (default: default)")
	f.Uint64Var(&b.seed, "seed", 1, "seed of every random choice")
	f.StringVar(&b.program, "weighbridge", "bin/weighbridge", "the program")
	f.StringVar(&b.engine, "engine", "", "the engine (default: modelserver beside the program)")
	f.StringVar(&b.folder, "reports", "", "folder of the reports (default build/zoo/FOLDER-SUITE)")
	f.BoolVar(&b.repeat, "repeat", false, "run members again even where there is a report of the same bytes")
	f.BoolVar(&b.readOnly, "read", false, "run nothing: read the reports that are there, whatever made them")
	jobs := f.Int("jobs", max(1, runtime.NumCPU()), "members measured at the same time; with the baseline remembered each keeps one core busy")
	only := f.String("only", "", "names of members, with commas")
	label := f.String("label", "", "what the page calls this zoo (default: name of its folder)")
	out := f.String("out", "", "Markdown file to keep the page in, between marks")
	picture := f.String("svg", "", "file for the curve of detection against tokens")
	strict := f.Bool("strict", false, "fail when a verdict is not as made")
	if err := f.Parse(args); err != nil {
		return err
	}
	if b.zoo == "" || b.baseline == "" || f.NArg() > 0 {
		f.Usage()
		return fmt.Errorf("%w: give -zoo and -baseline, and nothing beside flags", errZoo)
	}
	name := filepath.Base(filepath.Clean(b.zoo))
	suiteName := strings.TrimSuffix(filepath.Base(b.suite), filepath.Ext(b.suite))
	if *label == "" {
		*label = name
	}
	if b.folder == "" {
		b.folder = filepath.Join("build", "zoo", name+"-"+suiteName)
	}
	b.store = filepath.Join(b.folder, "store")
	if b.engine == "" {
		b.engine = filepath.Join(filepath.Dir(b.program), "modelserver")
	}
	policyName := b.policy
	if policyName == "" {
		policyName = "default"
	}
	policy, err := decide.Load(policyName)
	if err != nil {
		return err
	}
	var wanted []string
	if *only != "" {
		wanted = strings.Split(*only, ",")
	}
	members, err := load(b.zoo, wanted)
	if err != nil {
		return err
	}
	g := &page{label: *label, suite: suiteName}
	reports, faults := b.reports(ctx, members, *jobs)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	for i := range members {
		r, err := reports[i], faults[i]
		if err != nil { // a fault is no verdict; the others are measured all the same
			g.failed = append(g.failed, fmt.Errorf("%s: %w", members[i].Name, err))
			fmt.Fprintln(stderr, "zoo:", g.failed[len(g.failed)-1])
			continue
		}
		if r == nil {
			g.missing = append(g.missing, members[i].Name)
			continue
		}
		if v := policy.Decide(r.run); v.Outcome != r.outcome {
			return fmt.Errorf("%s: the report says %s by policy %s, policy %s says %s now: give -policy, or run it again", members[i].Name, r.outcome, r.run.Verdict.Policy, policy.Name, v.Outcome)
		}
		g.results = append(g.results, r)
	}
	if len(g.results) == 0 {
		return errors.Join(append(g.failed, fmt.Errorf("%w: no reports in %s", errZoo, b.folder))...)
	}
	g.without, g.alone = ablations(g.results, policy)
	if *picture != "" {
		if err := durable.Write(*picture, 0o644, func(w io.Writer) error {
			_, err := w.Write(svg(fmt.Sprintf("%s at %s: poisoned members found", *label, suiteName), g.results))
			return err
		}); err != nil {
			return err
		}
		if g.curve = filepath.Base(*picture); *out != "" {
			if g.curve, err = filepath.Rel(filepath.Dir(*out), *picture); err != nil {
				return err
			}
		}
	}
	text := g.markdown()
	if *out != "" {
		if err := put(*out, *label+" "+suiteName, text); err != nil {
			return err
		}
	}
	if _, err := stdout.Write(text); err != nil {
		return err
	}
	if len(g.failed) > 0 {
		return fmt.Errorf("%d members could not be measured, such as %w", len(g.failed), g.failed[0])
	}
	if n := count(g.results, func(*result) bool { return true }, notAsMade).k; *strict && n > 0 {
		return fmt.Errorf("%d %w", n, errNotAsMade)
	}
	return nil
}
