// Package junit renders a run as JUnit XML for the test view of a CI system.
//
// Names and class names depend only on the probe and the finding's ID, because
// CI systems key a test's history on them. Most of them show a skipped test as
// green, so that the case "verdict" fails whenever the gate did not approve;
// the program's exit code decides all the same.
//
//	verdict             reject: failure · escalate: error · approve: passed
//	a probe's run       not tested: error when required, else skipped
//	evidence            bad: failure · ambiguous, absent, not asked: skipped ·
//	                    valid: passed
//	a finding           PROVEN and harmful, or named by a rejecting rule:
//	                    failure
//	                    other DIVERGENT: skipped, inconclusive
//	                    NOT_TESTED: skipped
//	                    CONSISTENT: passed
//
// There are no times: the report has none.
package junit

import (
	"encoding/xml"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/weighbridge/weighbridge/record"
	"github.com/weighbridge/weighbridge/reports/internal/view"
	"github.com/weighbridge/weighbridge/reports/safetext"
)

// Lengths at which texts are cut, in characters: CI systems refuse or drop
// longer ones.
const (
	maxName    = 512
	maxMessage = 1024
	maxBody    = 8192
	maxCases   = 5000
)

type suites struct {
	XMLName  xml.Name `xml:"testsuites"`
	Name     string   `xml:"name,attr"`
	Tests    int      `xml:"tests,attr"`
	Failures int      `xml:"failures,attr"`
	Errors   int      `xml:"errors,attr"`
	Skipped  int      `xml:"skipped,attr"`
	Suites   []*suite `xml:"testsuite"`
}

type suite struct {
	Name     string   `xml:"name,attr"`
	Tests    int      `xml:"tests,attr"`
	Failures int      `xml:"failures,attr"`
	Errors   int      `xml:"errors,attr"`
	Skipped  int      `xml:"skipped,attr"`
	Cases    []*tcase `xml:"testcase"`
}

type tcase struct {
	Class   string   `xml:"classname,attr"`
	Name    string   `xml:"name,attr"`
	Failure *outcome `xml:"failure"`
	Error   *outcome `xml:"error"`
	Skipped *outcome `xml:"skipped"`
}

type outcome struct {
	Message string `xml:"message,attr"`
	Type    string `xml:"type,attr,omitempty"`
	Body    string `xml:",chardata"`
}

// Render writes the XML. Items have no cases of their own: there may be
// millions, and a flip alone is no failure.
func Render(w io.Writer, run *record.Run) error {
	r := &renderer{rejected: map[string]bool{}}
	for _, why := range run.Verdict.Reasons {
		if why.Outcome == record.Reject {
			for _, id := range why.Findings {
				r.rejected[id] = true
			}
		}
	}
	r.add("weighbridge", verdict(run))
	for i := range run.Evidence {
		r.add("evidence", evidence(&run.Evidence[i]))
	}
	for i := range run.Probes {
		p := &run.Probes[i]
		r.add(p.Probe, probe(p))
	}
	for i := range run.Findings {
		f := &run.Findings[i]
		r.add(f.Probe, r.finding(f))
	}
	out := suites{Name: "weighbridge", Suites: r.suites}
	for _, s := range r.suites {
		out.Tests += s.Tests
		out.Failures += s.Failures
		out.Errors += s.Errors
		out.Skipped += s.Skipped
	}
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	e := xml.NewEncoder(w)
	e.Indent("", "  ")
	if err := e.Encode(out); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n")
	return err
}

type renderer struct {
	suites   []*suite
	byName   map[string]*suite
	cases    int
	left     *tcase
	leftOut  int
	rejected map[string]bool
}

func (r *renderer) add(name string, c *tcase) {
	if r.cases++; r.cases > maxCases {
		// What is left out must not look like a pass.
		if r.leftOut++; r.leftOut == 1 {
			r.left = &tcase{Class: "weighbridge", Name: "left out", Skipped: &outcome{}}
			r.put("weighbridge", r.left)
		}
		r.left.Skipped.Message = fmt.Sprintf("%d more cases are in report.parquet", r.leftOut)
		return
	}
	r.put(name, c)
}

func (r *renderer) put(name string, c *tcase) {
	name = cut(name, maxName)
	s := r.byName[name]
	if s == nil {
		if r.byName == nil {
			r.byName = map[string]*suite{}
		}
		s = &suite{Name: name}
		r.byName[name] = s
		r.suites = append(r.suites, s)
	}
	s.Tests++
	switch {
	case c.Failure != nil:
		s.Failures++
	case c.Error != nil:
		s.Errors++
	case c.Skipped != nil:
		s.Skipped++
	}
	s.Cases = append(s.Cases, c)
}

func verdict(run *record.Run) *tcase {
	c := &tcase{Class: "weighbridge", Name: "verdict"}
	var body strings.Builder
	for _, r := range run.Verdict.Reasons {
		fmt.Fprintf(&body, "%s (%s): %s\n", r.Rule, r.Outcome, r.Message)
	}
	o := &outcome{Message: cut(fmt.Sprintf("expected approve, got %s. %s", run.Verdict.Outcome, view.Headline(run.Verdict.Outcome)), maxMessage),
		Type: string(run.Verdict.Outcome), Body: lines(body.String())}
	switch run.Verdict.Outcome {
	case record.Approve:
	case record.Reject:
		c.Failure = o
	default:
		c.Error = o
	}
	return c
}

func evidence(e *record.Evidence) *tcase {
	c := &tcase{Class: "weighbridge.evidence", Name: cut(string(e.Kind), maxName)}
	var body strings.Builder
	for _, p := range e.Problems {
		fmt.Fprintf(&body, "%s (%s): %s\n", p.Rule, p.Subject, p.Detail)
	}
	o := &outcome{Message: cut(fmt.Sprintf("%s: %s", e.State, e.Detail), maxMessage), Type: cut(string(e.State), 60), Body: lines(body.String())}
	switch e.State {
	case record.Valid:
	case record.Bad:
		c.Failure = o
	default:
		c.Skipped = o
	}
	return c
}

func probe(p *record.ProbeRun) *tcase {
	c := &tcase{Class: cut("weighbridge."+p.Probe, maxName), Name: "ran"}
	if p.Status == "ran" {
		return c
	}
	o := &outcome{Message: cut("not tested: "+p.Reason, maxMessage), Type: "not-tested"}
	if p.Required {
		c.Error = o
	} else {
		c.Skipped = o
	}
	return c
}

func (r *renderer) finding(f *record.Finding) *tcase {
	c := &tcase{Class: cut("weighbridge."+f.Probe, maxName), Name: cut(f.ID, maxName)}
	o := &outcome{Message: cut(message(f), maxMessage), Type: string(f.Class), Body: lines(body(f))}
	harmful := f.Class != record.Behaviour && f.Class != record.Relation && f.Class != record.Control
	switch {
	case r.rejected[f.ID], f.Tier == record.Proven && harmful:
		c.Failure = o
	case f.Tier == record.Divergent:
		o.Message = cut("inconclusive: "+message(f), maxMessage)
		c.Skipped = o
	case f.Tier == record.NotTested:
		o.Message = cut("not tested: "+message(f), maxMessage)
		c.Skipped = o
	}
	return c
}

// message says what was expected and what was found.
func message(f *record.Finding) string {
	s := f.Title
	if f.Value != nil {
		s += ": got " + view.Interval(f)
		if f.Margin != nil {
			s += ", expected within a margin of " + view.Num(*f.Margin)
		}
		if f.MDE != nil {
			s += ", smallest detectable effect " + view.Num(*f.MDE)
		}
		if f.Statistic != "" {
			s += " (" + f.Statistic + ")"
		}
	}
	return s
}

func body(f *record.Finding) string {
	var b strings.Builder
	for _, l := range [][2]string{{"", f.Detail}, {"trigger: ", f.Trigger}, {"gives: ", f.Payload}} {
		if l[1] != "" {
			b.WriteString(l[0] + safetext.Block(l[1], 2000) + "\n")
		}
	}
	for _, x := range f.Transcript[:min(len(f.Transcript), 2)] {
		fmt.Fprintf(&b, "[%s]\nrequest: %s\nbaseline: %s\ncandidate: %s\n", safetext.Line(x.Condition, 60),
			safetext.ASCIIJSON(clip(x.Request)), safetext.Block(x.Baseline, 1000), safetext.Block(x.Candidate, 1000))
	}
	return b.String()
}

func clip(s string) string {
	if len(s) <= 2000 {
		return s
	}
	return strings.ToValidUTF8(s[:2000], "") + safetext.More(len(s)-2000)
}

// cut makes one line of hostile text that XML 1.0 allows: safetext leaves none
// of the characters that it forbids.
func cut(s string, limit int) string {
	// The count of what is left out has to fit as well.
	if utf8.RuneCountInString(s) <= limit {
		if line := safetext.Line(s, 0); utf8.RuneCountInString(line) <= limit {
			return line
		}
	}
	return safetext.Line(s, limit-48)
}

func lines(s string) string { return safetext.Block(s, maxBody-48) }
