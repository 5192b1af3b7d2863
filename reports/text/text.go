// Package text renders a run as the summary that a person reads in ten seconds
// on a terminal: the verdict, why, what was found, what was tested and with
// which power, what was not tested, and where the page is.
//
// Nothing of the run reaches the terminal without [safetext]; a line of it can
// neither move the cursor nor start a command of a CI system.
package text

import (
	"fmt"
	"io"
	"iter"
	"strings"
	"unicode/utf8"

	"github.com/weighbridge/weighbridge/record"
	"github.com/weighbridge/weighbridge/reports/internal/view"
	"github.com/weighbridge/weighbridge/reports/safetext"
)

// Options are the terminal's.
type Options struct {
	Width  int // columns; 0 means 80
	Colour bool
	Page   string // where the HTML page is; empty leaves the line out
}

// How many lines each part may take. The rest is counted.
const (
	maxReasons  = 5
	maxFound    = 5
	maxFigures  = 8
	maxUntested = 6
	maxEvidence = 8
	maxProblems = 3
	minWidth    = 40
	label       = 12 // columns of the left margin
)

// Render writes the summary.
func Render(w io.Writer, run *record.Run, items iter.Seq2[record.Item, error], o Options) error {
	v, err := view.Collect(run, items, 0)
	if err != nil {
		return err
	}
	if o.Width == 0 {
		o.Width = 80
	}
	p := &printer{width: max(o.Width, minWidth), colour: o.Colour}
	p.verdict(v)
	p.evidence(v)
	p.found(v)
	p.tested(v)
	p.calibration(&run.Meta)
	p.untested(v)
	if o.Page != "" {
		p.part("Page", o.Page)
	}
	_, err = io.WriteString(w, p.b.String())
	return err
}

type printer struct {
	b      strings.Builder
	width  int
	colour bool
}

// ANSI colours by outcome and tier; the words say the same.
var colours = map[string]string{
	string(record.Reject): "1;31", string(record.Escalate): "1;33", string(record.Approve): "1;32",
	string(record.Proven): "31", string(record.Divergent): "33", string(record.Consistent): "32",
	string(record.Valid): "32", string(record.Bad): "31", string(record.Ambiguous): "33", string(record.Absent): "33",
}

func (p *printer) paint(word, text string) string {
	if c := colours[word]; p.colour && c != "" {
		return "\x1b[" + c + "m" + text + "\x1b[0m"
	}
	return text
}

// part writes a labelled paragraph; hostile text has to be made visible by the
// caller only where it is not the whole of it.
func (p *printer) part(name, text string) { p.line(name, "", safetext.Log(text, 600)) }

// line writes text after a margin with name in it, broken at the width. mark
// stands before the text and is not counted as hostile.
func (p *printer) line(name, mark, text string) {
	margin := fmt.Sprintf("%-*s", label, name)
	for i, l := range wrap(text, p.width-label-utf8.RuneCountInString(stripped(mark))) {
		if i > 0 {
			margin = strings.Repeat(" ", label)
			mark = strings.Repeat(" ", utf8.RuneCountInString(stripped(mark)))
		}
		p.b.WriteString(strings.TrimRight(margin+mark+commandSafe(l), " ") + "\n")
	}
}

// commandSafe keeps a line that breaking made from starting a command.
func commandSafe(l string) string { return safetext.Log(l, 0) }

func stripped(mark string) string {
	var b strings.Builder
	for len(mark) > 0 {
		if strings.HasPrefix(mark, "\x1b[") {
			_, mark, _ = strings.Cut(mark, "m")
			continue
		}
		r, n := utf8.DecodeRuneInString(mark)
		b.WriteRune(r)
		mark = mark[n:]
	}
	return b.String()
}

// wrap breaks s at blanks into lines of at most width characters.
func wrap(s string, width int) (lines []string) {
	width = max(width, 10)
	line, n := "", 0
	for word := range strings.FieldsSeq(s) {
		for {
			k := utf8.RuneCountInString(word)
			switch {
			case line == "" && k <= width:
				line, n = word, k
			case line != "" && n+1+k <= width:
				line, n = line+" "+word, n+1+k
			case line != "":
				lines = append(lines, line)
				line, n = "", 0
				continue
			default: // a word longer than the line
				runes := []rune(word)
				lines = append(lines, string(runes[:width]))
				word = string(runes[width:])
				continue
			}
			break
		}
	}
	if line != "" || len(lines) == 0 {
		lines = append(lines, line)
	}
	return lines
}

func (p *printer) verdict(v *view.View) {
	o := v.Run.Verdict.Outcome
	p.b.WriteString(p.paint(string(o), strings.ToUpper(string(o))) + "  " + view.Headline(o) + "\n\n")
	deciding, _ := v.Deciding()
	name := "Why"
	for i, r := range deciding {
		if i == maxReasons {
			p.line("", "", fmt.Sprintf("and %s more reasons", view.Count(len(deciding)-i)))
			break
		}
		p.part(name, r.Message)
		name = ""
	}
	m := &v.Run.Meta
	rel := "The candidate " + view.RelationText(m.Relation)
	if m.Why != "" {
		rel += ": " + safetext.Line(m.Why, 200)
	}
	p.part("Compared", rel+".")
}

func (p *printer) evidence(v *view.View) {
	if !view.Asked(v.Run) {
		p.part("Evidence", view.NotAsked)
		return
	}
	name := "Evidence"
	for i := range v.Run.Evidence {
		if i == maxEvidence {
			p.line("", "", fmt.Sprintf("and %s more", view.Count(len(v.Run.Evidence)-i)))
			break
		}
		e := view.EvidenceOf(&v.Run.Evidence[i])
		text := safetext.Log(e.Kind, 40)
		if e.Signer != "" {
			text += " by " + safetext.Line(e.Signer, 60)
		}
		if e.Detail != "" {
			text += ": " + safetext.Line(e.Detail, 160)
		}
		p.line(name, p.paint(e.State, fmt.Sprintf("%-9s", safetext.Line(e.State, 9)))+"  ", text)
		name = ""
		for k, x := range e.Problems {
			if k == maxProblems {
				p.line("", "           ", fmt.Sprintf("and %s more reasons", view.Count(len(e.Problems)-k)))
				break
			}
			p.line("", "           ", safetext.Log(x.Rule, 60)+" "+safetext.Line(x.Subject, 80)+": "+safetext.Line(x.Detail, 160))
		}
	}
}

func (p *printer) found(v *view.View) {
	shown := 0
	for i, f := range v.Recovered {
		if f.Tier != record.Proven && f.Tier != record.Divergent {
			continue
		}
		if shown == maxFound {
			p.line("", "", fmt.Sprintf("and %s more", view.Count(len(v.Recovered)-i)))
			break
		}
		name := ""
		if shown == 0 {
			name = "Found"
		}
		shown++
		p.line(name, p.paint(string(f.Tier), string(f.Tier))+"  ", safetext.Log(f.Title, 160))
		if f.Trigger != "" {
			p.line("", "  trigger  ", quote(f.Trigger))
		}
		if f.Payload != "" {
			p.line("", "  gives    ", quote(f.Payload))
		}
	}
}

func quote(s string) string { return "“" + safetext.Log(s, 160) + "”" }

func (p *printer) tested(v *view.View) {
	p.part("Tested", v.Covered()+".")
	if lost, gained := v.Flipped(); v.Items > 0 {
		p.line("", "", fmt.Sprintf("%s answers lost, %s gained.", view.Count(lost), view.Count(gained)))
	}
	shown, all := 0, 0
	for _, g := range v.Measured {
		for _, f := range g.Findings {
			if f.Tier == record.Proven {
				continue // stands above
			}
			if all++; shown == maxFigures {
				continue
			}
			shown++
			text := safetext.Log(f.Title, 110)
			if f.MDE != nil {
				text += "; " + view.Num(*f.MDE) + " would have been seen"
			}
			p.line("", p.paint(string(f.Tier), fmt.Sprintf("%-10s", f.Tier))+"  ", text)
		}
	}
	if all > shown {
		p.line("", "", fmt.Sprintf("and %s more figures", view.Count(all-shown)))
	}
}

func (p *printer) calibration(m *record.Meta) {
	p.part("Calibrated", view.Calibration(m))
	if m.Calibration != "" {
		by := ""
		if m.CalibrationSigner != "" {
			by = ", signed by " + safetext.Log(m.CalibrationSigner, 120)
		}
		p.line("", "", safetext.Log(m.Calibration, 120)+by)
	}
}

func (p *printer) untested(v *view.View) {
	_, not := v.Ran()
	name := "Not tested"
	for i, r := range not {
		if i == maxUntested {
			p.line("", "", fmt.Sprintf("and %s more probes", view.Count(len(not)-i)))
			break
		}
		text := safetext.Log(r.Probe, 40) + ": " + safetext.Line(r.Reason, 200)
		if r.Required {
			text += " (required)"
		}
		p.line(name, "", text)
		name = ""
	}
	var codes []string
	for _, f := range v.Unseen() {
		codes = append(codes, f.Code+" ("+f.Name+")")
	}
	if len(codes) > 0 {
		p.line(name, "", "No probe that ran looks for "+strings.Join(codes, ", ")+".")
		name = ""
	}
	p.line(name, "", "No result means that the weights are free of faults; the page lists what no test here can exclude.")
}
