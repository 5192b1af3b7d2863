// Command policy measures what a decision costs: each shipped policy over a run
// of normal size, beside the same expressions over untyped maps, which is how
// CEL is mostly used and where a misspelt field shows only when it is read.
//
// The figure is the CPU time of this thread, the median of several rounds in
// turn, because other work on the machine then counts least.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"slices"
	"syscall"
	"time"

	"cel.dev/cel-go/cel"
	"github.com/goccy/go-yaml"

	"github.com/weighbridge/weighbridge/harness/decide"
	"github.com/weighbridge/weighbridge/policies"
	"github.com/weighbridge/weighbridge/record"
)

const (
	findings, probes = 40, 12
	rounds           = 15
	decisions        = 200 // in a round
	aim              = 50 * time.Microsecond
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "policy:", err)
		os.Exit(1)
	}
}

func run() error {
	fmt.Printf("a decision over %d findings, %d probes, %d pieces of evidence; CPU time, median of %d rounds\n\n",
		findings, probes, len(record.EvidenceKinds), rounds)
	fmt.Printf("%-28s %-9s %12s %14s %8s\n", "policy", "verdict", "typed", "untyped maps", "ratio")
	worst := time.Duration(0)
	for _, name := range policies.Names() {
		r, err := normal(name)
		if err != nil {
			return err
		}
		p, err := decide.Load(name)
		if err != nil {
			return err
		}
		u, err := newUntyped(name)
		if err != nil {
			return err
		}
		var typed, untyped []time.Duration
		for range rounds {
			typed = append(typed, cpu(func() { p.Decide(r) }))
			untyped = append(untyped, cpu(func() { u.decide(r) }))
		}
		t, m := median(typed), median(untyped)
		worst = max(worst, t)
		fmt.Printf("%-28s %-9s %9.1f µs %11.1f µs %7.1fx\n", name, p.Decide(r).Outcome, us(t), us(m), float64(m)/float64(t))
	}
	fmt.Printf("\nslowest: %.1f µs, aim ≤ %.0f µs\n", us(worst), us(aim))
	return nil
}

func us(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1000 }

func median(d []time.Duration) time.Duration {
	slices.Sort(d)
	return d[len(d)/2]
}

// cpu is the thread's own time for one call.
func cpu(f func()) time.Duration {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	runtime.GC()
	began := used()
	for range decisions {
		f()
	}
	return (used() - began) / decisions
}

func used() time.Duration {
	const thread = 1 // RUSAGE_THREAD
	var u syscall.Rusage
	if err := syscall.Getrusage(thread, &u); err != nil {
		panic(err) // Linux always answers
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// normal is the run that a policy's cases begin with, made as large as a normal
// one.
func normal(name string) (*record.Run, error) {
	src, err := policies.Cases(name)
	if err != nil {
		return nil, err
	}
	cases, err := decide.ParseCases(name, src)
	if err != nil {
		return nil, err
	}
	r := cases[0].Run
	for i := len(r.Probes); i < probes; i++ {
		r.Probes = append(r.Probes, record.ProbeRun{Probe: fmt.Sprint("probe-", i), Status: "ran", Question: "?"})
	}
	classes := []record.Class{record.Regression, record.Backdoor, record.Tampered, record.Relation}
	for i := len(r.Findings); i < findings; i++ {
		r.Findings = append(r.Findings, record.Finding{ID: fmt.Sprint("f/", i), Probe: r.Probes[i%len(r.Probes)].Probe, Rule: "task",
			Tier: record.Consistent, Class: classes[i%len(classes)], Title: "no difference", Statistic: "points", Value: record.Float(0), N: 100})
	}
	for _, k := range record.EvidenceKinds {
		if !slices.ContainsFunc(r.Evidence, func(e record.Evidence) bool { return e.Kind == k }) {
			r.Evidence = append(r.Evidence, record.Evidence{Kind: k, State: record.NotAsked, Detail: "not asked"})
		}
	}
	return r, nil
}

// untyped evaluates a policy's conditions over maps made through JSON.
type untyped struct{ rules []untypedRule }

type untypedRule struct {
	Each, When, That string
	program          cel.Program
}

func newUntyped(name string) (*untyped, error) {
	src, err := policies.Source(name)
	if err != nil {
		return nil, err
	}
	var file struct{ Rules, Require []untypedRule }
	if err := yaml.Unmarshal(src, &file); err != nil {
		return nil, err
	}
	var opts []cel.EnvOption
	for _, v := range []string{"run", "evidence", "findings", "probes", "lineage", "artifacts", "boxes", "finding", "probe", "piece", "link"} {
		opts = append(opts, cel.Variable(v, cel.DynType))
	}
	env, err := cel.NewEnv(opts...)
	if err != nil {
		return nil, err
	}
	u := &untyped{}
	for _, r := range append(file.Rules, file.Require...) {
		ast, issues := env.Compile(r.When + r.That)
		if issues.Err() != nil {
			return nil, issues.Err()
		}
		if r.program, err = env.Program(ast, cel.EvalOptions(cel.OptOptimize), cel.CostLimit(1_000_000)); err != nil {
			return nil, err
		}
		u.rules = append(u.rules, r)
	}
	return u, nil
}

func (u *untyped) decide(r *record.Run) {
	var all map[string]any
	src, err := json.Marshal(r)
	if err == nil {
		err = json.Unmarshal(src, &all)
	}
	if err != nil {
		panic(err) // plain data
	}
	byKind := map[string]any{"list": all["evidence"]}
	pieces, _ := all["evidence"].([]any)
	for _, e := range pieces {
		byKind[e.(map[string]any)["kind"].(string)] = e
	}
	vars := map[string]any{"run": all["meta"], "evidence": byKind, "findings": all["findings"], "probes": all["probes"],
		"lineage": all["lineage"], "artifacts": all["artifacts"], "boxes": all["boxes"]}
	lists := map[string][2]any{"finding": {"finding", all["findings"]}, "probe": {"probe", all["probes"]},
		"evidence": {"piece", all["evidence"]}, "link": {"link", all["lineage"]}}
	for _, rule := range u.rules {
		if rule.Each == "" {
			rule.program.Eval(vars)
			continue
		}
		l := lists[rule.Each]
		subjects, _ := l[1].([]any)
		for _, s := range subjects {
			vars[l[0].(string)] = s
			rule.program.Eval(vars)
		}
	}
}
