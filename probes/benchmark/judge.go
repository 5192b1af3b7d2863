package benchmark

import (
	"fmt"
	"slices"

	"github.com/weighbridge/weighbridge/harness/stats"
	"github.com/weighbridge/weighbridge/probes"
	"github.com/weighbridge/weighbridge/record"
	"github.com/weighbridge/weighbridge/suites/task"
)

const (
	alpha = 0.05 // of one hypothesis; the harness corrects over all of them
	power = 0.8
	draws = 99_999 // of the sign-flip test

	minItems    = 5  // below, no loss could ever be significant
	maxExchange = 20 // lost questions in a transcript
)

// judge compares one task. tests is the number of hypotheses tested.
func (s *session) judge(set settings, noise float64) (findings []record.Finding, tests int) {
	if s.skipped > 0 {
		findings = append(findings, record.Finding{Rule: "skipped", Subject: s.task.Name, Tier: record.NotTested, Class: record.Regression, N: s.skipped,
			Title:  fmt.Sprintf("%s: %d questions could not be asked", s.task.Name, s.skipped),
			Detail: "first reason: " + s.why})
	}
	why := s.unscored
	if why == "" && len(s.answers) < minItems {
		why = fmt.Sprintf("%d questions fit into its part of the budget, %d tokens; %d are needed", len(s.answers), s.budget, minItems)
	}
	if right := s.right(); why == "" && s.task.Metric != task.Margin && right < minItems {
		why = fmt.Sprintf("the baseline is right on %d of %d questions: there is too little to lose", right, len(s.answers))
	}
	if why != "" {
		return append(findings, record.Finding{Rule: "task", Subject: s.task.Name, Tier: record.NotTested, Class: record.Regression,
			N: len(s.answers), Title: s.task.Name + ": not tested", Detail: why, Families: families(s.task)}), 0
	}
	c := comparison{in: s.in, answers: s.answers, margin: set.TaskMargin + noise, binary: true, what: s.task.Name}
	if s.task.Metric == task.Margin {
		c.margin, c.binary = set.Nats, false
	}
	f, err := c.finding()
	if err != nil { // the comparison was made impossible by what a model answered
		return append(findings, record.Finding{Rule: "task", Subject: s.task.Name, Tier: record.NotTested, Class: record.Regression,
			N: len(s.answers), Title: s.task.Name + ": not tested", Detail: err.Error(), Families: families(s.task)}), 0
	}
	f.Rule, f.Subject, f.Families = "task", s.task.Name, families(s.task)
	f.Detail += fmt.Sprintf(" Metric %s; %d of %d questions asked.", s.task.Metric, len(s.answers), len(s.task.Items))
	if noise > 0 && c.binary {
		f.Detail += fmt.Sprintf(" The margin holds %.3f for the baseline's own flips.", noise)
	}
	return append(findings, f), 1
}

// right is the number of questions that the baseline answers correctly.
func (s *session) right() (n int) {
	for _, a := range s.answers {
		if a.b > 0 {
			n++
		}
	}
	return n
}

func families(t *task.Task) []string {
	if t.Metric == task.Margin {
		return []string{string(probes.COD)}
	}
	return []string{string(probes.CAP)}
}

// overall compares all tasks with scores of 0 and 1 together.
func overall(in *probes.Input, all []answered, margin, noise float64) ([]record.Finding, int, error) {
	if len(all) < minItems {
		return nil, 0, nil
	}
	c := comparison{in: in, answers: all, margin: margin + noise, binary: true, what: "all tasks", byTask: true}
	f, err := c.finding()
	if err != nil {
		return nil, 0, err
	}
	f.Rule, f.Families = "overall", []string{string(probes.CAP)}
	return []record.Finding{f}, 1, nil
}

// comparison is a set of paired scores and the loss that is tolerated.
type comparison struct {
	in      *probes.Input
	answers []answered
	margin  float64
	binary  bool // scores are 0 and 1
	byTask  bool // clusters are named within their task
	what    string
}

func (c *comparison) finding() (record.Finding, error) {
	n := len(c.answers)
	b, cand, clusters, clustered := make([]float64, n), make([]float64, n), make([]string, n), false
	var flips stats.Flips
	for i, a := range c.answers {
		b[i], cand[i] = a.b, a.c
		flips.Add(a.b > 0, a.c > 0)
		if a.item.Cluster != "" {
			clusters[i], clustered = a.item.Cluster, true
			if c.byTask {
				clusters[i] = a.item.Task + "\x00" + a.item.Cluster
			}
		}
	}
	if !clustered {
		clusters = nil
	}
	est, err := stats.Paired(b, cand, clusters)
	if err != nil {
		return record.Finding{}, err
	}
	f := record.Finding{Class: record.Regression, N: n, Value: record.Float(est.Mean), LowerIsWorse: true, Margin: record.Float(c.margin)}
	if c.binary {
		err = c.rates(&f, est, flips, clustered, b, cand, clusters)
	} else {
		err = c.nats(&f, est, b, cand, clusters)
	}
	if err != nil {
		return record.Finding{}, err
	}
	f.Detail = fmt.Sprintf("%d lost, %d gained, %d kept, %d never right.", flips.Lost, flips.Gained, flips.Both, flips.Neither)
	if clustered {
		f.Detail += fmt.Sprintf(" %d clusters.", est.Clusters)
	}
	c.tier(&f)
	return f, nil
}

// rates compares scores of 0 and 1.
func (c *comparison) rates(f *record.Finding, est stats.Estimate, flips stats.Flips, clustered bool, b, cand []float64, clusters []string) error {
	f.Statistic = "difference of the share of right answers, candidate − baseline"
	design := 1.0
	p := flips.Worse()
	f.Null = "exact one-sided McNemar test on paired questions"
	if clustered {
		// Without any flip the data cannot show how much clusters matter: then a
		// cluster counts as one question.
		design = float64(est.N) / float64(est.Clusters)
		if est.SEItems > 0 {
			design = max(1, est.SE*est.SE/(est.SEItems*est.SEItems))
		}
		var err error
		if p, err = c.signFlip(b, cand, clusters); err != nil {
			return err
		}
		f.Null = "one-sided sign-flip test on paired questions, whole clusters flipped"
	}
	ci, err := flips.Interval(0.95, design)
	if err != nil {
		return err
	}
	f.P, f.Low, f.High = record.Float(p), record.Float(ci.Low), record.Float(ci.High)
	f.MDE = record.Float(max(est.MDE(alpha, power), stats.MDE(int(float64(est.N)/design), alpha, power)))
	return nil
}

// nats compares log-likelihood margins.
func (c *comparison) nats(f *record.Finding, est stats.Estimate, b, cand []float64, clusters []string) error {
	f.Statistic = "difference of the log-likelihood margin of the right choice, candidate − baseline, nats"
	p, err := c.signFlip(b, cand, clusters)
	if err != nil {
		return err
	}
	ci := est.Interval(0.95)
	f.P, f.Low, f.High, f.MDE = record.Float(p), record.Float(ci.Low), record.Float(ci.High), record.Float(est.MDE(alpha, power))
	f.Null = "one-sided sign-flip test on paired questions"
	return nil
}

func (c *comparison) signFlip(b, cand []float64, clusters []string) (float64, error) {
	d, err := stats.Differences(b, cand)
	if err != nil {
		return 0, err
	}
	return stats.SignFlip(d, clusters, stats.Less, draws, c.in.Rand("benchmark/sign-flip/"+c.what))
}

// tier says what the figures show. Only a loss whose whole interval lies beyond
// the margin is proven, by the lost questions themselves. A significant loss
// that is more likely beyond the margin than within it is left to a person.
// Within it a loss is tolerated, however significant: any fine-tune on a narrow
// set loses a little of everything else, and the title says what was lost.
func (c *comparison) tier(f *record.Finding) {
	unit := "points"
	show := func(x float64) string { return fmt.Sprintf("%+.1f", 100*x) }
	if !c.binary {
		unit, show = "nats", func(x float64) string { return fmt.Sprintf("%+.2f", x) }
	}
	effect := fmt.Sprintf("%s %s (95%% %s … %s)", show(*f.Value), unit, show(*f.Low), show(*f.High))
	margin := show(c.margin)[1:] + " " + unit
	switch {
	case *f.P <= alpha && *f.High < -c.margin:
		f.Tier = record.Proven
		f.Title = fmt.Sprintf("%s: lost beyond %s: %s", c.what, margin, effect)
		f.Transcript = c.transcript()
	case *f.Low > -c.margin:
		f.Tier = record.Consistent
		f.Title = fmt.Sprintf("%s: no loss beyond %s: %s", c.what, margin, effect)
		if *f.P <= alpha {
			f.Title = fmt.Sprintf("%s: worse, within %s: %s", c.what, margin, effect)
		}
	case *f.P <= alpha && *f.Value >= -c.margin:
		f.Tier = record.Consistent
		f.Title = fmt.Sprintf("%s: worse, most likely within %s: %s", c.what, margin, effect)
	case *f.P <= alpha:
		f.Tier = record.Divergent
		f.Title = fmt.Sprintf("%s: worse, perhaps beyond %s: %s", c.what, margin, effect)
		f.Transcript = c.transcript()
	default:
		f.Tier = record.Consistent
		f.Title = fmt.Sprintf("%s: no loss seen, %d questions cannot exclude one of %s: %s", c.what, f.N, margin, effect)
		f.Detail += fmt.Sprintf(" A loss of %s %s would have been seen with 80%% power; ask more questions to see a smaller one.", show(*f.MDE)[1:], unit)
	}
}

// transcript has the lost questions, the largest effects first.
func (c *comparison) transcript() []record.Exchange {
	var lost []answered
	for _, a := range c.answers {
		if a.c < a.b {
			lost = append(lost, a)
		}
	}
	slices.SortStableFunc(lost, func(x, y answered) int {
		switch dx, dy := x.c-x.b, y.c-y.b; {
		case dx < dy:
			return -1
		case dx > dy:
			return 1
		}
		return 0
	})
	var out []record.Exchange
	for _, a := range lost[:min(len(lost), maxExchange)] {
		out = append(out, record.Exchange{Condition: "none", Request: probes.RequestJSON(a.chat), Baseline: a.item.Baseline, Candidate: a.item.Candidate})
	}
	return out
}
