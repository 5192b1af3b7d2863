package metadata

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/weighbridge/weighbridge/probes"
	"github.com/weighbridge/weighbridge/record"
	"github.com/weighbridge/weighbridge/runners"
)

const (
	renderBatch = 128
	// maxRefused ends the rendering early: a template that runs into its
	// deadline again and again costs a deadline each time.
	maxRefused = 24
	maxItems   = 64 // differing scenes that become items
)

// shot is a scene with its two renderings compared.
type shot struct {
	*scene
	b, c  runners.Rendered
	hunks []hunk
	// skeletons, with printed dates hidden when a template reads the clock
	skelB, skelC string
}

// state says who renders: "", "refused" by the candidate only, "accepted" by
// the candidate only, "neither".
func (s *shot) state() string {
	switch {
	case s.b.Error == "" && s.c.Error == "":
		return ""
	case s.b.Error == "":
		return "refused"
	case s.c.Error == "":
		return "accepted"
	}
	return "neither"
}

// studio renders scenes with both templates.
type studio struct {
	in       *probes.Input
	clock    bool
	shots    []shot
	refused  int
	stopped  bool
	unseen   []branch // branches of the candidate that no rendering showed
	failB    error    // the template as a whole was refused
	failC    error
	rendered int
}

func refused(err error) bool {
	var e *runners.Error
	return errors.As(err, &e) && (e.Code == runners.CodeTemplate || e.Code == runners.CodeNoTemplate)
}

func (st *studio) shoot(ctx context.Context, scenes []scene) error {
	// A structure that either template refuses tells nothing with other contents.
	fails := map[string]bool{}
	for i := range st.shots {
		if s := &st.shots[i]; s.kind == "plain" && s.state() != "" {
			fails[s.group] = true
		}
	}
	scenes = slices.DeleteFunc(slices.Clone(scenes), func(s scene) bool { return fails[s.group] })
	for part := range slices.Chunk(scenes, renderBatch) {
		if st.stopped {
			return nil
		}
		cs := make([]runners.Conversation, len(part))
		for i, s := range part {
			cs[i] = s.conv
		}
		ask := func(fail *error) func(context.Context, runners.Model) ([]runners.Rendered, error) {
			return func(ctx context.Context, m runners.Model) ([]runners.Rendered, error) {
				r, err := m.Render(ctx, &runners.RenderRequest{Conversations: cs})
				if refused(err) {
					*fail = err
					return nil, nil
				}
				if err != nil {
					return nil, fmt.Errorf("rendering: %w", err)
				}
				if len(r.Rendered) != len(cs) {
					return nil, fmt.Errorf("rendering: asked for %d conversations, got %d", len(cs), len(r.Rendered))
				}
				return r.Rendered, nil
			}
		}
		askB, askC := ask(&st.failB), ask(&st.failC)
		b, c, err := probes.Both(ctx, st.in, func(ctx context.Context, m runners.Model) ([]runners.Rendered, error) {
			if m == st.in.Baseline {
				return askB(ctx, m)
			}
			return askC(ctx, m)
		})
		if err != nil {
			return err
		}
		if st.failB != nil || st.failC != nil {
			st.stopped = true
			return nil
		}
		for i := range part {
			s := shot{scene: &part[i], b: b[i], c: c[i]}
			if s.state() == "" {
				x, y := s.skeletons(s.b.Text, s.c.Text)
				s.hunks = hunks(x, y, st.clock)
				if st.clock {
					x, y = undate(x), undate(y)
				}
				s.skelB, s.skelC = x, y
			}
			if s.kind != "plain" && s.state() == "refused" {
				st.refused++
			}
			st.unseen = slices.DeleteFunc(st.unseen, func(br branch) bool {
				return br.marker != "" && strings.Contains(s.c.Text, br.marker) && !strings.Contains(s.text(), br.marker)
			})
			st.shots = append(st.shots, s)
			st.rendered++
		}
		st.stopped = st.refused > maxRefused
	}
	return nil
}

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

func (s *shot) exchange(condition string) record.Exchange {
	show := func(r runners.Rendered) string {
		if r.Error != "" {
			return "error: " + r.Error
		}
		return r.Text
	}
	return record.Exchange{Condition: condition, Request: probes.RequestJSON(s.conv), Baseline: show(s.b), Candidate: show(s.c)}
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

// newBranches are those of c that b has not.
func newBranches(b, c *source) []branch {
	old := map[branch]bool{}
	for _, x := range b.branches {
		old[x] = true
	}
	var out []branch
	for _, x := range c.branches {
		if !old[x] {
			out = append(out, x)
		}
	}
	return out
}

func news(what string, before, after []string) string {
	old := map[string]bool{}
	for _, s := range before {
		old[s] = true
	}
	var list []string
	for _, s := range after {
		if !old[s] {
			list = append(list, quote(s))
		}
	}
	if len(list) == 0 {
		return ""
	}
	return "New " + what + ": " + some(list, 8) + ". "
}

// lineDiff is a bounded line difference of two templates.
func lineDiff(b, c string) string {
	split := func(s string) []string { return strings.Split(cut(s, maxTemplate), "\n") }
	var lines []string
	for _, s := range compare(split(b), split(c)) {
		for _, l := range s.del {
			lines = append(lines, "- "+quote(l))
		}
		for _, l := range s.ins {
			lines = append(lines, "+ "+quote(l))
		}
	}
	if n := len(lines); n > 40 {
		lines = append(lines[:40], fmt.Sprintf("(%d lines more)", n-40))
	}
	return "Line by line:\n" + strings.Join(lines, "\n")
}

func describe(hs []hunk) string {
	var out []string
	for _, h := range hs {
		switch {
		case h.del == "":
			out = append(out, "adds "+quote(readable(h.ins)))
		case h.ins == "":
			out = append(out, "drops "+quote(readable(h.del)))
		default:
			out = append(out, quote(readable(h.del))+" becomes "+quote(readable(h.ins)))
		}
	}
	if len(out) == 0 {
		return "one of the two refuses"
	}
	return some(out, 4)
}

func names(list []*shot) []string {
	var out []string
	for _, s := range list {
		out = append(out, cut(s.group, 60))
	}
	return out
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
