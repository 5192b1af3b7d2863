package html

import (
	"fmt"
	"html/template"
	"slices"

	"github.com/weighbridge/weighbridge/record"
	"github.com/weighbridge/weighbridge/reports/internal/view"
)

// data is what the template sees.
type data struct {
	Run               *record.Run
	CSP               string
	Style, Script     template.HTML
	Outcome           string
	Headline          string
	Deciding, Also    []reason
	ReasonsLeft       int
	Relation, Covered string
	Lost, Gained      int
	Sections          [][2]string
	Artifacts         []record.Artifact
	ArtifactsLeft     int
	Asked             bool
	NotAsked          string
	Evidence          []piece
	EvidenceLeft      int
	Lineage           *lineage
	Recovered         []card
	RecoveredLeft     int
	Measured          []group
	MeasuredLeft      int
	Other             []row
	OtherLeft         int
	Tasks             []*view.Task
	TasksLeft         int
	Flips             []flip
	FlipsLeft         int
	FlipTasks         []string
	Heat              *Heat
	Ran, NotRan       []record.ProbeRun
	Skipped           []record.Finding
	Families, Unseen  []view.Family
	BlindSpots        []string
	Boxes             []record.Box
	BoxesLeft         int
	Suites            []string
	Command           string
	ErrorRate, Power  string
	Calibration       string
}

type reason struct {
	record.Reason
	Links []link
}

type link struct{ Anchor, Text string }

// row is a finding with its place on the page.
type row struct {
	*record.Finding
	Anchor   string
	Card     string // where it is shown in full, when that is elsewhere
	Interval string
	Forest   template.HTML
}

// card is a recovered finding with its transcript.
type card struct {
	row
	Exchanges     []exchange
	ExchangesLeft int
}

type exchange struct {
	Condition            string
	Request, Left, Right template.HTML
}

type group struct {
	Statistic string
	Axis      struct{ Lo, Hi float64 }
	Rows      []row
}

type flip struct {
	record.Item
	At, TaskNumber      int
	Prompt, Left, Right template.HTML
}

func newData(v *view.View) *data {
	run := v.Run
	d := &data{Run: run, Outcome: string(run.Verdict.Outcome), Headline: view.Headline(run.Verdict.Outcome),
		Relation: view.RelationText(run.Meta.Relation), Covered: v.Covered(),
		Heat: heatMap(run.Tensors), Families: v.Families(), Unseen: v.Unseen(), BlindSpots: view.BlindSpots(run.Meta.Relation),
		Command: view.Command(run), ErrorRate: view.ErrorRate(&run.Meta), Power: view.Power, Calibration: view.Calibration(&run.Meta)}
	style, styleHash := inline("style", pageCSS)
	script, scriptHash := inline("script", pageJS)
	d.Style, d.Script, d.CSP = style, script, policy(styleHash, scriptHash)
	d.Lost, d.Gained = v.Flipped()
	d.Sections = [][2]string{{"compared", "What was compared"}, {"evidence", "Evidence"}, {"recovered", "Recovered triggers and secrets"}, {"changed", "What changed"},
		{"flips", "Flips"}, {"weights", "Weights"}, {"untested", "Not tested"}, {"boxes", "Boxes"}, {"identity", "Identities"}, {"errors", "How sure"}}
	if d.Lineage = newLineage(run.Lineage); d.Lineage != nil {
		d.Sections = slices.Insert(d.Sections, 2, [2]string{"lineage", "Where the weights come from"})
	}
	d.Ran, d.NotRan = v.Ran()
	d.Ran, d.NotRan = head(d.Ran, maxRows), head(d.NotRan, maxRows)
	d.Skipped = head(v.Skipped(), maxRows)
	d.Artifacts, d.ArtifactsLeft = headLeft(run.Artifacts, maxRows)
	d.evidence(run)
	d.Tasks, d.TasksLeft = headLeft(v.Tasks, maxRows)
	d.Suites = head(run.Meta.Suites, maxRows)
	d.boxes(run.Boxes)
	anchors := d.findings(v)
	d.reasons(v, anchors)
	d.flips(v)
	return d
}

func head[T any](s []T, n int) []T { return s[:min(n, len(s))] }

func headLeft[T any](s []T, n int) ([]T, int) { return head(s, n), len(s) - len(head(s, n)) }

func (d *data) boxes(all []record.Box) {
	checks := maxChecks
	for _, b := range all {
		if len(d.Boxes) == maxRows {
			d.BoxesLeft++
			continue
		}
		// A check that failed is what a reader must not miss.
		b.Checks = slices.Clone(b.Checks)
		slices.SortStableFunc(b.Checks, func(x, y record.Check) int {
			switch {
			case x.OK == y.OK:
				return 0
			case !x.OK:
				return -1
			}
			return 1
		})
		d.BoxesLeft += len(b.Checks) - len(head(b.Checks, checks))
		b.Checks = head(b.Checks, checks)
		checks -= len(b.Checks)
		d.Boxes = append(d.Boxes, b)
	}
}

// piece is a piece of evidence on the page.
type piece struct {
	view.Evidence
	Class        string
	ProblemsLeft int
}

func (d *data) evidence(run *record.Run) {
	d.Asked, d.NotAsked = view.Asked(run), view.NotAsked
	all, left := headLeft(run.Evidence, maxEvidence)
	d.EvidenceLeft = left
	for i := range all {
		p := piece{Evidence: view.EvidenceOf(&all[i])}
		p.Problems, p.ProblemsLeft = headLeft(p.Problems, maxProblems)
		p.Class = evidenceClass(all[i].State)
		d.Evidence = append(d.Evidence, p)
	}
}

// findings fills the sections made of findings and gives the place of each by
// its ID. Places are numbers: an ID is hostile text.
func (d *data) findings(v *view.View) map[string]string {
	anchors := map[string]string{}
	place := func(f *record.Finding) string {
		if _, ok := anchors[f.ID]; ok {
			return ""
		}
		anchors[f.ID] = fmt.Sprintf("f%d", len(anchors)+1)
		return anchors[f.ID]
	}
	left := recoveredBytes
	for i, f := range v.Recovered {
		c := newCard(f)
		if left -= c.size(); left < 0 || i >= maxFindings {
			d.RecoveredLeft = len(v.Recovered) - i
			break
		}
		c.Anchor = place(f)
		d.Recovered = append(d.Recovered, c)
	}
	left = findingBytes
	shown := 0
	for _, g := range v.Measured {
		a := axisOf(g.Findings)
		out := group{Statistic: g.Statistic}
		out.Axis.Lo, out.Axis.Hi = a.lo, a.hi
		for _, f := range g.Findings {
			r := row{Finding: f, Interval: view.Interval(f), Forest: forest(f, a)}
			if left -= len(line(f.Title, 200)) + len(line(f.Detail, 400)) + len(r.Forest) + 300; left < 0 || shown >= maxFindings {
				d.MeasuredLeft++
				continue
			}
			shown++
			if r.Anchor = place(f); r.Anchor == "" {
				r.Card = anchors[f.ID]
			}
			out.Rows = append(out.Rows, r)
		}
		if len(out.Rows) > 0 {
			d.Measured = append(d.Measured, out)
		}
	}
	left = findingBytes
	for i, f := range v.Other {
		if left -= len(line(f.Title, 300)) + len(line(f.Detail, 600)) + 200; left < 0 || i >= maxFindings {
			d.OtherLeft = len(v.Other) - i
			break
		}
		d.Other = append(d.Other, row{Finding: f, Anchor: place(f)})
	}
	return anchors
}

func newCard(f *record.Finding) card {
	c := card{row: row{Finding: f, Interval: view.Interval(f)}}
	for i, x := range f.Transcript {
		if i == maxExchanges {
			c.ExchangesLeft = len(f.Transcript) - i
			break
		}
		e := exchange{Condition: x.Condition, Request: ascii(x.Request, 4000)}
		e.Left, e.Right = diff(x.Baseline, x.Candidate, 1500)
		c.Exchanges = append(c.Exchanges, e)
	}
	return c
}

func (c *card) size() int {
	n := len(line(c.Title, 300)) + len(line(c.Detail, 1200)) + len(block(c.Trigger, 1500)) + len(block(c.Payload, 1500)) + 1500
	for _, e := range c.Exchanges {
		n += len(e.Request) + len(e.Left) + len(e.Right) + 400
	}
	return n
}

func (d *data) reasons(v *view.View, anchors map[string]string) {
	link := func(list []record.Reason) (out []reason) {
		d.ReasonsLeft += len(list) - len(head(list, maxRows))
		for _, r := range head(list, maxRows) {
			linked := reason{Reason: r}
			for _, id := range head(r.Findings, 5) {
				if a := anchors[id]; a != "" {
					linked.Links = append(linked.Links, linkTo(a, len(linked.Links), len(r.Findings)))
				}
			}
			out = append(out, linked)
		}
		return out
	}
	deciding, also := v.Deciding()
	d.Deciding, d.Also = link(deciding), link(also)
}

func linkTo(anchor string, i, of int) link {
	if of == 1 {
		return link{anchor, "See the evidence"}
	}
	return link{anchor, fmt.Sprintf("Evidence %d", i+1)}
}

func (d *data) flips(v *view.View) {
	d.FlipsLeft = v.FlipsLeft
	tasks := map[string]int{}
	left := flipBytes
	for i, it := range v.Flips {
		f := flip{Item: it, At: i, Prompt: block(it.Prompt, 500)}
		f.Left, f.Right = diff(it.Baseline, it.Candidate, 500)
		if left -= len(f.Prompt) + len(f.Left) + len(f.Right) + len(line(it.Expected, 200)) + 500; left < 0 {
			d.FlipsLeft += len(v.Flips) - i
			break
		}
		n, ok := tasks[it.Task]
		if !ok {
			n = len(d.FlipTasks)
			tasks[it.Task] = n
			d.FlipTasks = append(d.FlipTasks, it.Task)
		}
		f.TaskNumber = n
		d.Flips = append(d.Flips, f)
	}
}
