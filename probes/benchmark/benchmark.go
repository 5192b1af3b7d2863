package benchmark

import (
	"context"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/weighbridge/weighbridge/probes"
	"github.com/weighbridge/weighbridge/record"
	"github.com/weighbridge/weighbridge/suites/task"
)

// ID is the probe's.
const ID = "benchmark"

func init() { probes.Register(probe{}) }

type probe struct{}

// settings are the parameters of a suite.
type settings struct {
	Limit      int     `json:"limit"`
	Margin     float64 `json:"margin"`
	TaskMargin float64 `json:"task_margin"`
	Nats       float64 `json:"nats"`
}

var defaults = settings{Margin: 0.05, TaskMargin: 0.1, Nats: 0.5}

func (probe) About() probes.About {
	return probes.About{
		ID:       ID,
		Question: "Did the candidate lose abilities that the baseline has?",
		Method: "The suite's questions are put to both models through their chat templates: multiple choice by log-likelihood, " +
			"written answers by greedy generation and exact match. Scores are compared question by question.",
		Null:  "the baseline's answers to the same questions; exact McNemar test or sign-flip test of the paired differences",
		Cost:  "the probe's budget, spread evenly over the tasks",
		Sees:  []probes.Family{probes.CAP, probes.COD},
		Blind: []probes.Family{probes.TOK, probes.PHR, probes.CMP, probes.SYN, probes.SEM, probes.CTX, probes.DOS, probes.TGT, probes.STR, probes.CAN, probes.QNT},
		Params: []probes.Param{
			{Name: "limit", Default: "0", Meaning: "most questions per task; 0 is as many as the budget allows"},
			{Name: "margin", Default: "0.05", Meaning: "loss of the share of right answers over all tasks that is tolerated, 0…1"},
			{Name: "task_margin", Default: "0.1", Meaning: "the same for one task"},
			{Name: "nats", Default: "0.5", Meaning: "tolerated loss of the metric margin, in nats"},
		},
	}
}

func (probe) Run(ctx context.Context, in *probes.Input) (*probes.Output, error) {
	set := defaults
	if err := in.Params.Decode(&set); err != nil {
		return nil, err
	}
	if set.Limit < 0 || !(set.Margin > 0 && set.Margin <= 1) || !(set.TaskMargin > 0 && set.TaskMargin <= 1) || !(set.Nats > 0) {
		return nil, fmt.Errorf("probe benchmark: limit %d must not be negative, margin %g and task_margin %g must be in (0, 1], nats %g above 0",
			set.Limit, set.Margin, set.TaskMargin, set.Nats)
	}
	tasks, err := load(in.Data)
	if err != nil {
		return nil, err
	}
	out := &probes.Output{}
	if len(tasks) == 0 {
		out.Findings = append(out.Findings, record.Finding{Rule: "tasks", Tier: record.NotTested, Class: record.Regression,
			Title: "no benchmark was run", Detail: "the suite gives the probe no task file; name some in files:"})
		return out, nil
	}
	noise := noiseOf(in.Leads)
	var all []answered
	left := in.Budget
	for i, t := range tasks {
		// What a task leaves unspent goes to those after it.
		s := &session{in: in, task: t, limit: set.Limit, budget: left / (len(tasks) - i)}
		if err := s.run(ctx); err != nil {
			return nil, fmt.Errorf("task %s: %w", t.Name, err)
		}
		left -= s.spent
		for _, a := range s.answers {
			out.Items = append(out.Items, a.item)
		}
		if t.Metric != task.Margin {
			all = append(all, s.answers...)
		}
		f, tests := s.judge(set, noise)
		out.Tests += tests
		out.Findings = append(out.Findings, f...)
	}
	if len(tasks) > 1 {
		f, tests, err := overall(in, all, set.Margin, noise)
		if err != nil {
			return nil, err
		}
		out.Tests += tests
		out.Findings = append(f, out.Findings...)
	}
	return out, nil
}

// load reads every task file of the data, by name.
func load(data fs.FS) ([]*task.Task, error) {
	if data == nil {
		return nil, nil
	}
	var tasks []*task.Task
	seen := map[string]string{}
	err := fs.WalkDir(data, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !slices.Contains([]string{".yaml", ".yml"}, strings.ToLower(path.Ext(name))) {
			return err
		}
		t, err := task.Parse(data, name)
		if err != nil {
			return err
		}
		if first, dup := seen[t.Name]; dup {
			return &task.Problem{File: name, Message: fmt.Sprintf("the task %q is also in %s; give one of them another name", t.Name, first)}
		}
		seen[t.Name] = name
		tasks = append(tasks, t)
		return nil
	})
	return tasks, err
}

// noiseOf is the upper bound of the rate at which the baseline flips against
// itself, as the probe null measured it in this run; 0 when it saw no flip.
func noiseOf(leads []probes.Lead) float64 {
	var rate float64
	for _, l := range leads {
		if l.Kind == "noise" {
			rate = max(rate, l.Score)
		}
	}
	return rate
}
