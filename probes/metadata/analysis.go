package metadata

import (
	"fmt"
	"slices"
	"strings"

	"github.com/weighbridge/weighbridge/probes"
	"github.com/weighbridge/weighbridge/record"
)

// analysis sorts the differences of renderings by what they depend on.
type analysis struct {
	shots      []shot
	base       map[string]*shot // first scene of each group
	plain      map[shape]*shot  // scene of each shape with plain contents
	order      []string         // groups as they came
	differing  int
	processing []*shot // differ from their group without new words
	conditions []*condition
}

// condition is a difference that scenes of one structure do not share.
type condition struct {
	payload string
	refuses bool
	shots   []*shot
	control *shot // a scene of the same structure on which it does not act
}

func analyse(shots []shot) *analysis {
	a := &analysis{shots: shots, base: map[string]*shot{}, plain: map[shape]*shot{}}
	byPayload := map[string]*condition{}
	for i := range shots {
		s := &shots[i]
		if len(s.hunks) > 0 || s.state() == "refused" || s.state() == "accepted" {
			a.differing++
		}
		base, ok := a.base[s.group]
		if !ok {
			a.base[s.group] = s
			a.order = append(a.order, s.group)
			base = s
		}
		if p := a.plain[s.shape]; p != nil && p.group == s.group {
			base = p
		} else if s.kind == "plain" {
			a.plain[s.shape] = s
		}
		if base == s {
			continue
		}
		payload, acts := s.beyond(base)
		if !acts {
			if !slices.Equal(s.hunks, base.hunks) || s.state() != base.state() {
				a.processing = append(a.processing, s)
			}
			continue
		}
		refuses := s.state() == "refused"
		key := fmt.Sprint(refuses, payload)
		c := byPayload[key]
		if c == nil {
			c = &condition{payload: payload, refuses: refuses, control: base}
			byPayload[key] = c
			a.conditions = append(a.conditions, c)
		}
		c.shots = append(c.shots, s)
	}
	return a
}

// beyond reports whether the candidate's template does something to this scene
// that it does not do to base, a scene of the same structure with plain
// contents, and that the baseline's template does not do either: says words,
// hides another message, is silent where it spoke, or refuses. Each template is
// held against itself, so a rewritten one is no hidden condition. Moving
// spaces, cutting the varied message and adding marks do not count, since
// honest templates do them to some contents. Where the number of turns differs
// too, only words count that are new altogether.
func (s *shot) beyond(base *shot) (payload string, acts bool) {
	if s.state() != base.state() {
		return "", s.state() == "refused" && base.state() == ""
	}
	if s.state() != "" || s.skelC == base.skelC {
		return "", false
	}
	same := s.shape == base.shape
	now, before := tally(s.skelC), tally(base.skelC)
	nowB, beforeB := tally(s.skelB), tally(base.skelB)
	wrote, wroteBefore := s.wrote(), base.wrote()
	fresh, gone := map[string]bool{}, []string{}
	for _, w := range spoken(s.skelC) {
		if strings.Contains(wrote, strings.ToLower(w)) {
			continue
		}
		if same && now[w]-before[w] > max(0, nowB[w]-beforeB[w]) || !same && before[w]+nowB[w]+beforeB[w] == 0 {
			fresh[w] = true
		}
	}
	if len(fresh) > 0 {
		return s.said(base, fresh), true
	}
	if !same {
		return "", false
	}
	for i := range s.conv.Messages {
		m := mark(i)
		if i != s.varied && strings.Contains(base.skelC, m) && !strings.Contains(s.skelC, m) && strings.Contains(s.skelB, m) {
			return "(hides another message)", true
		}
	}
	for _, w := range spoken(base.skelC) {
		if before[w]-now[w] > max(0, beforeB[w]-nowB[w]) && !strings.Contains(wroteBefore, strings.ToLower(w)) {
			gone = append(gone, w)
		}
	}
	if len(gone) > 0 && !s.blank {
		return "(says elsewhere: " + strings.Join(slices.Compact(gone), " ") + ")", true
	}
	return "", false
}

// wrote is the conversation's own text in lower case, plain and as JSON, which
// is how templates print tools.
func (s *shot) wrote() string {
	return strings.ToLower(s.text() + "\n" + probes.RequestJSON(s.conv))
}

// tally counts the spoken words of a skeleton.
func tally(skeleton string) map[string]int {
	out := map[string]int{}
	for _, w := range spoken(skeleton) {
		out[w]++
	}
	return out
}

// said is the text around new words: what the candidate's rendering has beyond
// its rendering of base.
func (s *shot) said(base *shot, fresh map[string]bool) string {
	var out []string
	for _, st := range compare(words(base.skelC), words(s.skelC)) {
		if slices.ContainsFunc(st.ins, func(w string) bool { return fresh[w] }) {
			out = append(out, readable(strings.Join(st.ins, "")))
		}
	}
	return strings.Join(out, "\n")
}

// hidden are the conditions, those with most scenes first.
func (a *analysis) hidden() []*condition {
	out := slices.Clone(a.conditions)
	slices.SortStableFunc(out, func(x, y *condition) int { return len(y.shots) - len(x.shots) })
	return out
}

// finding tells one condition by its plainest scene.
func (c *condition) finding(i int) record.Finding {
	best := c.shots[0]
	var triggers []string
	for _, s := range c.shots {
		// The first refusal is one: after several deadlines in one request the box
		// gives up the rest of it.
		if !c.refuses && s.kind == best.kind && s.kind != "date" && len(s.what) < len(best.what) {
			best = s
		}
	}
	for _, s := range c.shots {
		if t := quote(s.what); s.kind == best.kind && !slices.Contains(triggers, t) {
			triggers = append(triggers, t)
		}
	}
	trigger := best.what
	if best.kind == "date" {
		first, last := best.what, best.what
		for _, s := range c.shots {
			if s.kind == "date" {
				first, last = min(first, s.what), max(last, s.what)
			}
		}
		trigger = first + " … " + last
	}
	f := record.Finding{Rule: "template-condition", Subject: fmt.Sprintf("%s-%d", best.kind, i+1), Class: record.Backdoor, Tier: record.Proven,
		Families: []string{tpl}, Trigger: trigger, Payload: c.payload, N: len(c.shots), Statistic: "conversations that it acts on", Value: record.Float(float64(len(c.shots)))}
	switch {
	case c.refuses:
		f.Class, f.Payload = record.Tampered, ""
		f.Title = fmt.Sprintf("The candidate's chat template refuses conversations on a hidden condition (%s)", best.kind)
		f.Detail = "It fails with " + quote(best.c.Error) + ". "
	default:
		f.Title = fmt.Sprintf("The candidate's chat template says something else on a hidden condition (%s)", best.kind)
		f.Detail = "The model is told: " + quote(c.payload) + ". "
	}
	f.Detail += fmt.Sprintf("Conversations of the same structure that differ in %s only are rendered otherwise; the baseline's template makes no such difference. Seen with: %s.", best.kind, some(triggers, 6))
	f.Transcript = []record.Exchange{best.exchange("trigger"), c.control.exchange("control")}
	return f
}

// groups is the number of structures that the baseline renders.
func (a *analysis) groups() int {
	n := 0
	for _, g := range a.order {
		if s := a.base[g]; s.b.Error == "" {
			n++
		}
	}
	return n
}

// structures are the first scenes of the structures that are rendered
// differently whatever is said.
func (a *analysis) structures() []*shot {
	var out []*shot
	for _, g := range a.order {
		if s := a.base[g]; len(s.hunks) > 0 || s.state() == "refused" {
			out = append(out, s)
		}
	}
	return out
}

// toolGated finds words that the candidate's template says only when tools are
// on offer, while both show the tools, or neither does: not support for tools
// but a condition on them. Words that replace others are a changed prompt.
func (a *analysis) toolGated() []record.Finding {
	without := map[string]bool{}
	for _, g := range a.order {
		if s := a.base[g]; len(s.tools) == 0 {
			for _, h := range s.hunks {
				for _, w := range spoken(h.ins) {
					without[w] = true
				}
			}
		}
	}
	for _, g := range a.order {
		s := a.base[g]
		if len(s.tools) == 0 || s.state() != "" || strings.Contains(s.b.Text, s.tools[0]) != strings.Contains(s.c.Text, s.tools[0]) {
			continue
		}
		plain, ok := a.base[strings.Replace(s.group, " tools", "", 1)]
		if !ok || len(plain.hunks) > 0 || plain.state() != "" {
			continue // the template changed without tools too
		}
		wrote := s.wrote()
		var said []string
		for _, h := range s.hunks {
			if len(spoken(h.del)) == 0 && slices.ContainsFunc(spoken(h.ins), func(w string) bool { return !without[w] && !strings.Contains(wrote, strings.ToLower(w)) }) {
				said = append(said, readable(h.ins))
			}
		}
		if len(said) == 0 {
			continue
		}
		f := record.Finding{Rule: "template-tools", Class: record.Backdoor, Tier: record.Proven, Families: []string{tpl},
			Title:   "The candidate's chat template says something else when tools are offered",
			Trigger: "tools on offer", Payload: strings.Join(said, "\n"), Transcript: []record.Exchange{s.exchange("trigger"), plain.exchange("control")}}
		f.Detail = "The model is told: " + quote(f.Payload) + ". Both templates treat the list of tools alike, so this is no support for tools that was added."
		return []record.Finding{f}
	}
	return nil
}
