package metadata

import (
	"context"
	"fmt"
	"slices"

	"github.com/weighbridge/weighbridge/probes"
	"github.com/weighbridge/weighbridge/record"
)

// maxItems is how many differing scenes become items.
const maxItems = 64

// template judges the chat templates.
func (p *pair) template(ctx context.Context, fs *findings, out *probes.Output, set Params) error {
	bt, ct := p.baseline.tok.Template, p.candidate.tok.Template
	hasB, hasC := p.in.BaselineInfo.HasTemplate, p.in.CandidateInfo.HasTemplate
	f := record.Finding{Class: record.Tampered, Tier: record.Divergent, Families: []string{tpl}, Subject: ""}
	switch {
	case !hasB && !hasC:
		f.Rule, f.Class, f.Tier, f.Title, f.Detail = "template", record.Behaviour, record.NotTested, "Neither model has a chat template", "There is nothing to compare."
		fs.add(f)
		return nil
	case !hasC:
		f.Rule, f.Title, f.Detail = "template-missing", "The candidate has no chat template and the baseline has one", "Engines fall back to a format of their own, which the weights may not know."
		fs.add(f)
		return nil
	case !hasB:
		f.Rule, f.Title, f.Detail = "template-new", "The candidate has a chat template and the baseline has none", "Nothing of it could be compared. It begins: "+quote(ct)
		fs.add(f)
		return nil
	}
	bs, errB := readTemplate(bt)
	cs, errC := readTemplate(ct)
	if errB != nil {
		bs = &source{}
	}
	if errC != nil {
		cs = &source{}
	}
	st := &studio{in: p.in, clock: bs.names["strftime_now"] || cs.names["strftime_now"] || errB != nil || errC != nil}
	fresh := newBranches(bs, cs)
	st.unseen = slices.Clone(fresh)

	at := &atlas{rng: p.in.Rand("atlas"), limit: set.Renderings}
	at.structural()
	if err := st.shoot(ctx, at.scenes); err != nil {
		return err
	}
	if p.broken(fs, st) {
		return nil
	}
	done := len(at.scenes)
	if bt != ct {
		at.contentVariants()
		at.dates(st.clock)
		at.together(append(slices.Clone(cs.together), bs.together...), st.clock)
		at.numbers(cs.numbers)
		lits := cs.literals
		for _, l := range bs.literals {
			if !slices.Contains(lits, l) {
				lits = append(lits, l)
			}
		}
		at.literals(lits[:min(len(lits), set.Literals)])
	}
	if err := st.shoot(ctx, at.scenes[done:]); err != nil {
		return err
	}
	if p.broken(fs, st) {
		return nil
	}
	a := analyse(st.shots)
	hidden := a.hidden()
	for i, h := range hidden[:min(len(hidden), 8)] {
		fs.add(h.finding(i))
	}
	for _, t := range a.toolGated() {
		fs.add(t)
	}
	p.changed(fs, st, a, bs, cs, errB, errC, len(hidden) > 0)
	p.unreached(fs, st, fresh)
	items(out, a)
	return nil
}

// broken reports a candidate whose template renders nothing that the
// baseline's renders.
func (p *pair) broken(fs *findings, st *studio) bool {
	f := record.Finding{Rule: "template-broken", Class: record.Broken, Tier: record.Proven, Families: []string{tpl}}
	switch {
	case st.failB != nil && st.failC != nil:
		f.Tier, f.Class, f.Title, f.Detail = record.NotTested, record.Behaviour, "Neither chat template can be used", "Baseline: "+quote(st.failB.Error())+". Candidate: "+quote(st.failC.Error())+"."
	case st.failC != nil:
		f.Title, f.Detail = "The candidate's chat template cannot be used", "The baseline's can. "+quote(st.failC.Error())
	case st.failB != nil:
		f.Tier, f.Class, f.Title, f.Detail = record.Divergent, record.Tampered, "Only the candidate's chat template can be used", "The baseline's cannot: "+quote(st.failB.Error())+". Nothing of it could be compared."
	default:
		good := 0
		var first *shot
		for i := range st.shots {
			switch s := &st.shots[i]; s.state() {
			case "", "accepted":
				return false
			case "refused":
				good++
				if first == nil {
					first = s
				}
			}
		}
		if good == 0 {
			f.Tier, f.Class, f.Title, f.Detail = record.NotTested, record.Behaviour, "Neither chat template renders any conversation", fmt.Sprintf("%d were tried.", len(st.shots))
			break
		}
		f.Title = "The candidate's chat template fails on every conversation"
		f.Detail = fmt.Sprintf("The baseline's renders %d of %d. The candidate's says: %s", good, len(st.shots), quote(first.c.Error))
		f.N = good
		f.Transcript = []record.Exchange{first.exchange("any")}
	}
	fs.add(f)
	return true
}

// changed reports what differs without a hidden condition, or that nothing does.
func (p *pair) changed(fs *findings, st *studio, a *analysis, bs, cs *source, errB, errC error, hidden bool) {
	bt, ct := p.baseline.tok.Template, p.candidate.tok.Template
	f := record.Finding{Rule: "template", Class: record.Tampered, Tier: record.Divergent, Families: []string{tpl},
		Statistic: "conversations rendered differently", Value: record.Float(float64(a.differing)), N: st.rendered}
	differ := a.structures()
	switch {
	case len(differ) > 0:
		f.Title = fmt.Sprintf("The chat template changed for %d of %d structures of a conversation", len(differ), a.groups())
		if len(differ) == a.groups() {
			f.Title = "The chat template changed for every conversation"
		}
		first := differ[0]
		f.Detail = "What differs in the first one: " + describe(first.hunks) + ". Structures: " + some(names(differ), 8) + ". "
		f.Transcript = append(f.Transcript, first.exchange("any"))
	case len(a.processing) > 0:
		f.Title = "The chat template handles some contents differently"
		first := a.processing[0]
		f.Detail = fmt.Sprintf("With %s: %s. No words are added. ", quote(first.what), describe(first.hunks))
		f.Transcript = append(f.Transcript, first.exchange(cut(first.what, shownText)))
	case hidden:
		return
	case bt == ct:
		f.Tier, f.Class, f.Title, f.Detail = record.Consistent, record.Behaviour, "The chat templates are the same text", fmt.Sprintf("%d conversations were rendered with both and are equal.", st.rendered)
	case errB == nil && errC == nil && bs.normal() == cs.normal():
		f.Tier, f.Class, f.Title, f.Detail = record.Consistent, record.Behaviour, "The chat templates are the same program", fmt.Sprintf("They differ in comments and in spaces inside of blocks. %d conversations were rendered with both and are equal.", st.rendered)
	default:
		f.Title = "The chat template's text changed, and no conversation that shows it was found"
		f.Detail = fmt.Sprintf("%d conversations were rendered with both and are equal. ", st.rendered)
	}
	if bt != ct {
		f.Detail += news("conditions", bs.conditions, cs.conditions) + news("strings", bs.literals, cs.literals) + lineDiff(bt, ct)
	}
	if errC != nil {
		f.Detail += " The candidate's text could not be looked into: " + quote(errC.Error()) + "."
	}
	if st.stopped {
		f.Detail += fmt.Sprintf(" Rendering stopped after %d conversations that only the candidate's template refuses.", st.refused)
	}
	fs.add(f)
}

// unreached names the candidate's new branches that were not seen to print.
func (p *pair) unreached(fs *findings, st *studio, fresh []branch) {
	var list, silent []string
	for _, b := range st.unseen {
		if b.marker == "" {
			silent = append(silent, quote(b.condition))
		} else {
			list = append(list, fmt.Sprintf("%s (prints %s)", quote(b.condition), quote(b.marker)))
		}
	}
	if len(list) == 0 && len(silent) == 0 {
		return
	}
	f := record.Finding{Rule: "template-unreached", Class: record.Tampered, Tier: record.Divergent, Families: []string{tpl},
		Title:     fmt.Sprintf("%d new branches of the chat template were not seen to act", len(list)+len(silent)),
		Statistic: "new branches not seen", Value: record.Float(float64(len(list) + len(silent))), N: len(fresh)}
	if len(list) > 0 {
		f.Detail = "No rendering shows what these branches print: " + some(list, 8) + ". "
	}
	if len(silent) > 0 {
		f.Detail += "These print nothing of their own, so renderings cannot tell whether they were taken: " + some(silent, 8) + ". "
	}
	f.Detail += "A branch counts as seen when text that it alone prints is in a rendering; a person should read the conditions."
	fs.add(f)
}

// items keeps one item per structure and some of the scenes that differ.
func items(out *probes.Output, a *analysis) {
	seen, kept := map[string]bool{}, 0
	for i := range a.shots {
		s := &a.shots[i]
		differs := len(s.hunks) > 0 || s.state() == "refused" || s.state() == "accepted"
		if seen[s.group] && (!differs || kept >= maxItems) {
			continue
		}
		seen[s.group] = true
		if differs {
			kept++
		}
		x := s.exchange("")
		out.Items = append(out.Items, record.Item{Probe: ID, Task: "template", ID: fmt.Sprintf("scene-%05d", i), Condition: cut(s.kind+": "+s.what, shownText),
			Cluster: cut(s.group, shownText), Prompt: cut(x.Request, 4<<10), Baseline: cut(x.Baseline, 2<<10), Candidate: cut(x.Candidate, 2<<10)})
	}
}
