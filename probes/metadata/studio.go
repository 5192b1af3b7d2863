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

func (s *shot) exchange(condition string) record.Exchange {
	show := func(r runners.Rendered) string {
		if r.Error != "" {
			return "error: " + r.Error
		}
		return r.Text
	}
	return record.Exchange{Condition: condition, Request: probes.RenderRequest(s.conv), Baseline: show(s.b), Candidate: show(s.c)}
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

// shoot renders scenes and compares, until a template as a whole is refused or
// the candidate's alone has refused too often.
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
		b, c, err := st.render(ctx, cs)
		if err != nil {
			return err
		}
		if st.failB != nil || st.failC != nil {
			st.stopped = true
			return nil
		}
		for i := range part {
			st.keep(shot{scene: &part[i], b: b[i], c: c[i]})
		}
		st.stopped = st.refused > maxRefused
	}
	return nil
}

// render asks both models. Where a template as a whole is refused it notes so
// in failB and failC.
func (st *studio) render(ctx context.Context, cs []runners.Conversation) (b, c []runners.Rendered, err error) {
	return probes.Both(ctx, st.in, func(ctx context.Context, m runners.Model) ([]runners.Rendered, error) {
		fail := &st.failC
		if m == st.in.Baseline {
			fail = &st.failB
		}
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
	})
}

// keep compares the two renderings of a scene and adds them to the shots.
func (st *studio) keep(s shot) {
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
