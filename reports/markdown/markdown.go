// Package markdown renders a run as GitHub-flavoured Markdown for a step
// summary or a pull-request comment.
//
// Text of the run stands in code elements with every character but letters,
// digits and blanks as a character reference. There it can be neither Markdown
// nor HTML nor a mention, an issue reference, a link or a workflow command.
// The whole stays below [MaxBytes].
package markdown

import (
	"fmt"
	"io"
	"iter"
	"strings"

	"github.com/weighbridge/weighbridge/record"
	"github.com/weighbridge/weighbridge/reports/internal/view"
	"github.com/weighbridge/weighbridge/reports/safetext"
)

// MaxBytes is the most that GitHub shows of a step summary.
const MaxBytes = 1 << 20

const (
	maxFlips    = 25
	maxRows     = 60
	maxFound    = 30
	maxExchange = 3
	// budget is where lists stop; what follows them has to fit below MaxBytes.
	budget = 700_000
)

// Render writes the summary. page names where the HTML page is, or is empty.
func Render(w io.Writer, run *record.Run, items iter.Seq2[record.Item, error], page string) error {
	v, err := view.Collect(run, items, maxFlips)
	if err != nil {
		return err
	}
	var d doc
	d.verdict(v)
	d.evidence(v)
	d.recovered(v)
	d.changed(v)
	d.flips(v)
	d.untested(v)
	d.identity(v, page)
	_, err = io.WriteString(w, d.b.String())
	return err
}

type doc struct{ b strings.Builder }

func (d *doc) put(format string, args ...any) { fmt.Fprintf(&d.b, format, args...) }

// room reports whether a list may go on.
func (d *doc) room() bool { return d.b.Len() < budget }

func (d *doc) left(n int, what string) {
	if n > 0 {
		d.put("\n%s more %s are in report.parquet.\n", view.Count(n), what)
	}
}

// code is hostile text on one line.
func code(s string, limit int) string {
	if s == "" {
		return ""
	}
	return "<code>" + refs(safetext.Line(s, limit)) + "</code>"
}

// pre is hostile text that keeps its lines. It is one line of Markdown.
func pre(s string) string { return "<pre>" + refs(s) + "</pre>" }

// refs writes every character that could mean something as a reference.
func refs(s string) string {
	var b strings.Builder
	for _, r := range s {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == ' ', r > '~':
			b.WriteRune(r)
		default:
			fmt.Fprintf(&b, "&#%d;", r)
		}
	}
	return b.String()
}

// figure writes a number of ours; pipes and asterisks do not occur in it.
func figure(p *float64) string { return view.Opt(p) }

var alerts = map[record.Outcome]string{record.Reject: "CAUTION", record.Escalate: "WARNING", record.Approve: "TIP"}

func (d *doc) verdict(v *view.View) {
	o := v.Run.Verdict.Outcome
	d.put("## weighbridge: %s\n\n> [!%s]\n> **%s**\n", o, alerts[o], view.Headline(o))
	deciding, _ := v.Deciding()
	for i, r := range deciding {
		if i == 20 {
			d.put("> - and %s more reasons\n", view.Count(len(deciding)-i))
			break
		}
		d.put("> - %s\n", code(r.Message, 300))
	}
	lost, gained := v.Flipped()
	_, not := v.Ran()
	d.put("\n| | |\n|---|---|\n| The candidate | %s |\n| Asked | %s |\n| Answers | %s lost, %s gained |\n| Not tested | %d probes, %d attack families |\n",
		view.RelationText(v.Run.Meta.Relation), v.Covered(), view.Count(lost), view.Count(gained), len(not), len(v.Unseen()))
}

func (d *doc) evidence(v *view.View) {
	if !view.Asked(v.Run) {
		d.put("\n%s\n", view.NotAsked)
		return
	}
	d.put("\n### Supply-chain evidence\n\n| Kind | State | Signer | What it says |\n|---|---|---|---|\n")
	all := v.Run.Evidence[:min(len(v.Run.Evidence), maxRows)]
	for i := range all {
		e := view.EvidenceOf(&all[i])
		says := []string{}
		if e.Detail != "" {
			says = append(says, code(e.Detail, 200))
		}
		for _, f := range e.Facts {
			says = append(says, f.Name+" "+code(f.Value, 160))
		}
		if e.Digest != "" {
			says = append(says, "document "+code(view.Short(e.Digest), 40))
		}
		d.put("| %s | %s | %s | %s |\n", code(e.Kind, 60), code(e.State, 20), code(e.Signer, 80), strings.Join(says, "; "))
	}
	d.left(len(v.Run.Evidence)-len(all), "pieces of evidence")
	reasons := 0
	for i := range all {
		for _, x := range all[i].Problems {
			if reasons++; reasons > maxRows {
				continue
			}
			if reasons == 1 {
				d.put("\n")
			}
			d.put("- %s %s %s: %s\n", code(string(all[i].Kind), 60), code(x.Rule, 60), code(x.Subject, 120), code(x.Detail, 300))
		}
	}
	d.left(reasons-maxRows, "reasons")
}

func (d *doc) recovered(v *view.View) {
	if len(v.Recovered) == 0 {
		return
	}
	d.put("\n### Recovered triggers and secrets\n")
	for i, f := range v.Recovered {
		if i == maxFound || !d.room() {
			d.left(len(v.Recovered)-i, "findings")
			return
		}
		d.put("\n**%s** %s\n\n", tier(f.Tier), code(f.Title, 200))
		if f.Trigger != "" {
			d.put("Trigger:\n\n%s\n\n", pre(safetext.Block(f.Trigger, 600)))
		}
		if f.Payload != "" {
			d.put("What comes out:\n\n%s\n\n", pre(safetext.Block(f.Payload, 600)))
		}
		if len(f.Transcript) == 0 {
			continue
		}
		d.put("<details><summary>Transcript to replay</summary>\n\n")
		for _, x := range f.Transcript[:min(len(f.Transcript), maxExchange)] {
			d.put("With condition %s, the request, the baseline's answer and the candidate's:\n\n%s\n%s\n%s\n\n", code(x.Condition, 60),
				pre(safetext.Block(safetext.ASCIIJSON(x.Request), 2000)), pre(safetext.Block(x.Baseline, 600)), pre(safetext.Block(x.Candidate, 600)))
		}
		d.left(len(f.Transcript)-maxExchange, "exchanges")
		d.put("\n</details>\n")
	}
}

// tier is a tier in our words, whatever the record says.
func tier(t record.Tier) string {
	switch t {
	case record.Proven, record.Divergent, record.Consistent:
		return string(t)
	case record.NotTested:
		return "NOT TESTED"
	}
	return "UNKNOWN TIER"
}

func (d *doc) changed(v *view.View) {
	if len(v.Measured) > 0 {
		d.put("\n### What changed\n\n%s\n\n| | Finding | Unit | Value [95 %%] | n | MDE | Margin | Adjusted p |\n|---|---|---|--:|--:|--:|--:|--:|\n", view.Power)
		shown, all := 0, 0
		for _, g := range v.Measured {
			for _, f := range g.Findings {
				if all++; shown == maxRows || !d.room() {
					continue
				}
				shown++
				d.put("| %s | %s | %s | %s | %s | %s | %s | %s |\n", tier(f.Tier), code(f.Title, 160), code(f.Statistic, 60),
					view.Interval(f), view.Count(f.N), figure(f.MDE), figure(f.Margin), ps(f))
			}
		}
		d.left(all-shown, "figures")
	}
	if len(v.Other) > 0 {
		d.put("\n<details><summary>Findings without a figure: %d</summary>\n\n", len(v.Other))
		for i, f := range v.Other {
			if i == maxRows || !d.room() {
				d.left(len(v.Other)-i, "findings")
				break
			}
			d.put("- **%s** %s %s\n", tier(f.Tier), code(f.Title, 160), code(f.Detail, 300))
		}
		d.put("\n</details>\n")
	}
}

func (d *doc) flips(v *view.View) {
	if len(v.Flips) == 0 {
		return
	}
	d.put("\n<details><summary>Answers that flipped, the largest effect first</summary>\n\n| Item | | Effect | Question | Baseline | Candidate |\n|---|---|--:|---|---|---|\n")
	left := v.FlipsLeft
	for i, it := range v.Flips {
		if !d.room() {
			left += len(v.Flips) - i
			break
		}
		direction := "lost"
		if it.Flip != direction {
			direction = "gained"
		}
		d.put("| %s | %s | %s | %s | %s | %s |\n", code(it.Task+" "+it.ID, 80), direction, figure(it.Effect),
			code(it.Prompt, 200), code(it.Baseline, 120), code(it.Candidate, 120))
	}
	d.left(left, "flips")
	d.put("\n</details>\n")
}

func (d *doc) untested(v *view.View) {
	_, not := v.Ran()
	d.put("\n### What was not tested\n\n")
	if len(not) > 0 {
		d.put("| Probe | Why not | Required |\n|---|---|---|\n")
		for _, p := range not[:min(len(not), maxRows)] {
			required := "no"
			if p.Required {
				required = "**yes**"
			}
			d.put("| %s | %s | %s |\n", code(p.Probe, 60), code(p.Reason, 200), required)
		}
		d.left(len(not)-maxRows, "probes")
		d.put("\n")
	}
	if unseen := v.Unseen(); len(unseen) > 0 {
		d.put("No probe that ran looks for: ")
		for i, f := range unseen {
			if i > 0 {
				d.put(", ")
			}
			d.put("%s (%s)", f.Code, f.Name)
		}
		d.put(".\n\n")
	}
	d.put("<details><summary>What no test here can exclude</summary>\n\n")
	for _, s := range view.BlindSpots(v.Run.Meta.Relation) {
		d.put("- %s\n", s)
	}
	d.put("\n</details>\n")
}

// ps are a finding's p-values.
func ps(f *record.Finding) string {
	if f.PBank == nil {
		return figure(f.PHolm)
	}
	return figure(f.PHolm) + ", bank " + figure(f.PBank)
}

func (d *doc) identity(v *view.View, page string) {
	m := &v.Run.Meta
	held, failed := 0, 0
	for _, b := range v.Run.Boxes {
		for _, c := range b.Checks {
			if c.OK {
				held++
			} else {
				failed++
			}
		}
	}
	d.put("\n### Identities\n\n| | |\n|---|---|\n| Baseline | %s |\n| Candidate | %s |\n| Policy | %s %s |\n| Calibration | %s |\n| Seed | %d |\n| weighbridge | %s |\n| Boxes | %d, %d escape attempts held, %d got out |\n",
		code(m.Baseline, 120), code(m.Candidate, 120), code(v.Run.Verdict.Policy, 60), code(v.Run.Verdict.Digest, 120), calibration(m), m.Seed, code(m.Tool, 60), len(v.Run.Boxes), held, failed)
	d.put("\n%s\n\n%s\n", pre(clipCommand(view.Command(v.Run))), view.ErrorRate(m)+"\n\n"+view.Calibration(m))
	if page != "" {
		d.put("\nThe whole report: %s\n", code(page, 300))
	}
}

func calibration(m *record.Meta) string {
	switch {
	case m.Calibration == "":
		return "none"
	case m.CalibrationSigner == "":
		return code(m.Calibration, 120)
	}
	return code(m.Calibration, 120) + ", signed by " + code(m.CalibrationSigner, 120)
}

func clipCommand(s string) string {
	if len(s) > 4000 {
		return "the command line is too long to show; the names are in report.parquet"
	}
	return s
}
