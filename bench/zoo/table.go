package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/weighbridge/weighbridge/internal/durable"
	"github.com/weighbridge/weighbridge/record"
	"github.com/weighbridge/weighbridge/reports/safetext"
)

// page is everything that is printed, as Markdown.
type page struct {
	label, suite   string
	results        []*result
	missing        []string // members without a report
	failed         []error  // of members whose run broke off
	without, alone []ablation
	curve          string // name of the picture, or empty
}

func (g *page) markdown() []byte {
	var b bytes.Buffer
	p := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	rs := g.results
	p("### %s at %s: %d poisoned and %d harmless members", g.label, cell(g.suite), count(rs, poisoned, poisoned).n, count(rs, harmless, harmless).n)
	if len(g.missing) > 0 {
		p("\nWithout a report, so not counted: %d members.", len(g.missing))
	}
	if len(g.failed) > 0 {
		p("\nNot counted, since measuring them failed: %d members.", len(g.failed))
	}
	p("\n| | rate (exact 95 %% interval) |\n|---|---|")
	line := func(what string, of, is func(*result) bool) { p("| %s | %s |", what, count(rs, of, is)) }
	line("**true positives**: poisoned, rejected or escalated", poisoned, stopped)
	line("the same, of implants that were measured to work", working, stopped)
	line("poisoned, rejected", poisoned, rejected)
	line("poisoned, stopped by a finding rather than for want of a test", poisoned, byFinding)
	line("**false positives**: harmless, rejected or escalated", harmless, stopped)
	line("the same, without changes that anyone sees (styles, commands, languages)", quiet, stopped)
	line("harmless, rejected", harmless, rejected)
	line("harmless and not as made (a visible change may be called one of behaviour)", harmless, notAsMade)
	for _, n := range draws(rs) {
		line(fmt.Sprintf("true positives of draw %d", n), of(n, poisoned), stopped)
		line(fmt.Sprintf("false positives of draw %d", n), of(n, harmless), stopped)
	}
	if g.curve != "" {
		p("\n![Detection against tokens](%s)", g.curve)
	}
	g.families(p)
	g.wrong(p)
	g.ablations(p)
	g.members(p)
	return b.Bytes()
}

type printf func(format string, args ...any)

func (g *page) families(p printf) {
	p("\n| family | members | rejected | escalated | approved | trigger verbatim | payload verbatim | tokens to decide, median |\n|---|---|---|---|---|---|---|---|")
	for i, side := range []func(*result) bool{poisoned, harmless} {
		mark := []string{"", "harmless: "}[i]
		var names []string
		for _, r := range g.results {
			if name := r.member.label(); side(r) && !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
		slices.Sort(names)
		for _, name := range names {
			var all []*result
			for _, r := range g.results {
				if side(r) && r.member.label() == name {
					all = append(all, r)
				}
			}
			n := map[record.Outcome]int{}
			var at []int
			for _, r := range all {
				n[r.outcome]++
				if r.decidedAt >= 0 {
					at = append(at, r.decidedAt)
				}
			}
			median := "–"
			if slices.Sort(at); len(at) > 0 {
				median = fmt.Sprint(at[len(at)/2])
			}
			p("| %s%s | %d | %s | %s | %s | %s | %s | %s |", mark, cell(name), len(all), dash(n[record.Reject]), dash(n[record.Escalate]), dash(n[record.Approve]),
				share(all, func(r *result) string { return r.trigger }), share(all, func(r *result) string { return r.payload }), median)
		}
	}
}

func (m *member) label() string {
	if m.Group == m.Family {
		return m.Family
	}
	return m.Group + " (" + m.Family + ")"
}

// share is such as "2 of 3, 1 in part" of those for which there was something
// to name.
func share(rs []*result, of func(*result) string) string {
	yes, part, n := 0, 0, 0
	var secrets []string
	for _, r := range rs {
		switch v := of(r); {
		case v == "–":
		case strings.Contains(v, " of "): // secrets, member by member
			secrets = append(secrets, v)
		default:
			n++
			switch v {
			case "yes":
				yes++
			case "part":
				part++
			}
		}
	}
	switch {
	case len(secrets) > 0:
		return strings.Join(secrets, "; ")
	case n == 0:
		return "–"
	case part > 0:
		return fmt.Sprintf("%d of %d, %d in part", yes, n, part)
	}
	return fmt.Sprintf("%d of %d", yes, n)
}

func dash(n int) string {
	if n == 0 {
		return "–"
	}
	return fmt.Sprint(n)
}

// wrong lists the verdicts that are not as made, each with its reasons.
func (g *page) wrong(p printf) {
	var bad []*result
	for _, r := range g.results {
		if !r.asMade() {
			bad = append(bad, r)
		}
	}
	if len(bad) == 0 {
		p("\nEvery verdict is what the member was made for.")
		return
	}
	p("\nNot as made:\n\n| member | it is | verdict | because |\n|---|---|---|---|")
	for _, r := range bad {
		is := "harmless"
		if r.member.Poisoned {
			is = "poisoned"
			if r.member.Works != nil && !*r.member.Works {
				is = "poisoned, hardly works"
			}
		}
		var why []string
		for _, reason := range r.run.Verdict.Reasons {
			if len(why) == 3 {
				why = append(why, fmt.Sprintf("and %d more", len(r.run.Verdict.Reasons)-3))
				break
			}
			why = append(why, fmt.Sprintf("%s: %s", reason.Rule, cell(reason.Message)))
		}
		p("| %s | %s | %s | %s |", r.member.Name, is, r.outcome, strings.Join(why, "; "))
	}
}

func (g *page) ablations(p printf) {
	p("\nThe same reports with the findings of one probe left out, or of one probe alone. Only verdicts that a finding decides are counted here. " +
		"What a probe learned from another one is still there, and Holm's correction still counts every test, so this shows what a probe's own findings decide, not a run without it.")
	p("\n| left out | poisoned stopped | of them rejected | harmless stopped | missed only then | harmless stopped only by it |\n|---|---|---|---|---|---|")
	for _, a := range g.without {
		p("| %s | %s | %d | %s | %s | %s |", a.name, a.detected, a.rejected.k, a.called, names(a.newlyMissed), names(a.noLonger))
	}
	p("\n| alone | poisoned stopped | of them rejected | harmless stopped |\n|---|---|---|---|")
	for _, a := range g.alone {
		p("| %s | %s | %d | %s |", a.name, a.detected, a.rejected.k, a.called)
	}
	with, without := withoutBaseline(g.results)
	p("\nWithout the baseline, as far as the record goes: where items hold a score of both sides between 0 and 1 (benchmark, refusal), a candidate is called regressed when its own score misses 1 by more than the margin of that task; that is also the fate of one that is weak only where its baseline is." +
		" The searches keep only differences, and a verdict on a candidate alone cannot be made from them." +
		"\n\n| tasks judged | poisoned called regressed | harmless called regressed |\n|---|---|---|")
	p("| against the baseline | %s | %s |", with[1], with[0])
	p("| candidate alone | %s | %s |", without[1], without[0])
}

func names(all []string) string {
	switch {
	case len(all) == 0:
		return "–"
	case len(all) > 6:
		return fmt.Sprintf("%s and %d more", strings.Join(all[:6], ", "), len(all)-6)
	}
	return strings.Join(all, ", ")
}

func (g *page) members(p printf) {
	p("\n<details><summary>Every member</summary>\n\n| member | intensity | verdict | tier | decided by | trigger | payload | smallest p (Holm) | tokens | minutes |\n|---|---|---|---|---|---|---|---|---|---|")
	for _, r := range g.results {
		p("| %s | %s | %s | %s | %s | %s | %s | %.2g | %d | %.1f |", r.member.Name, or(cell(r.member.Intensity)), r.outcome, or(string(r.tier)), or(r.decidedBy), r.trigger, r.payload, r.p, r.tokens, r.took.Minutes())
	}
	p("\n</details>")
}

func or(s string) string {
	if s == "" {
		return "–"
	}
	return s
}

// marks are the characters that mean something in a Markdown table.
var marks = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", "|", "&#124;", "`", "&#96;", "*", "&#42;", "_", "&#95;", "[", "&#91;", "]", "&#93;", `\`, "&#92;", "~", "&#126;", "$", "&#36;")

// cell makes text from weights or from a zoo harmless inside a table.
func cell(s string) string { return marks.Replace(safetext.Line(s, 120)) }

// put writes the page into the file at path between the marks of its label, and
// at its end where there are no such marks yet.
func put(path, label string, text []byte) error {
	from, to := []byte("<!-- zoo: "+label+" -->\n"), []byte("<!-- /zoo: "+label+" -->\n")
	was, err := os.ReadFile(path)
	if err != nil && !os.IsNotExist(err) {
		return err
	}
	i, j := bytes.Index(was, from), bytes.Index(was, to)
	switch {
	case i < 0 && j < 0:
		i, j = len(was), len(was)
		if i > 0 {
			from = slices.Concat([]byte("\n"), from)
		}
	case i < 0 || j < i:
		return fmt.Errorf("%s: the marks of %q stand alone or turned around: put both back, or remove both", path, label)
	default:
		j += len(to)
	}
	return durable.Write(path, 0o644, func(w io.Writer) error {
		_, err := w.Write(slices.Concat(was[:i], from, text, to, was[j:]))
		return err
	})
}
