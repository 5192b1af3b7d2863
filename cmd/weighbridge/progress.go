package main

import (
	"fmt"
	"sync"
	"time"

	"github.com/weighbridge/weighbridge/harness"
	"github.com/weighbridge/weighbridge/reports/safetext"
)

// visible makes hostile text safe for a terminal.
func visible(s string) string { return safetext.Line(s, 4000) }

// progress shows a run on standard error: one line that changes on a terminal,
// one line per step elsewhere.
type progress struct {
	a     *app
	began time.Time

	mu      sync.Mutex
	step    string
	index   int
	steps   int
	started time.Time // of the step
	fresh   int       // tokens decoded since began
	drawn   time.Time
	last    string
}

func newProgress(a *app) *progress { return &progress{a: a, began: time.Now()} }

func (p *progress) event(e harness.Event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.index, p.steps = e.Index, e.Steps
	switch e.Kind {
	case harness.StepBegan:
		p.step, p.started = e.Step, time.Now()
		p.draw(true)
	case harness.Answered:
		if !e.Answer.Remembered {
			p.fresh += e.Answer.Usage.Decoded
		}
		p.draw(false)
	case harness.StepEnded:
		took := time.Since(p.started)
		if p.a.StderrWidth > 0 {
			p.draw(true)
			return
		}
		fmt.Fprintf(p.a.Stderr, "[%d/%d] %s: %s (%.1f s)\n", e.Index+1, e.Steps, e.Step, visible(e.Note), took.Seconds())
	}
}

// draw rewrites the line of a terminal, at most ten times a second unless now.
func (p *progress) draw(now bool) {
	if p.a.StderrWidth == 0 || !now && time.Since(p.drawn) < 100*time.Millisecond {
		return
	}
	p.drawn = time.Now()
	elapsed := time.Since(p.began)
	line := fmt.Sprintf("[%d/%d] %s  %.0f s", p.index+1, p.steps, p.step, elapsed.Seconds())
	if p.fresh > 0 {
		line += fmt.Sprintf("  %.0f tokens/s", float64(p.fresh)/elapsed.Seconds())
	}
	if p.index > 0 {
		left := elapsed * time.Duration(p.steps-p.index) / time.Duration(p.index)
		line += fmt.Sprintf("  about %.0f s left", left.Seconds())
	}
	if len(line) >= p.a.StderrWidth {
		line = line[:p.a.StderrWidth-1]
	}
	if line != p.last {
		fmt.Fprintf(p.a.Stderr, "\r\x1b[K%s", line)
		p.last = line
	}
}

// done leaves the terminal's line empty.
func (p *progress) done() {
	if p.a.StderrWidth > 0 {
		fmt.Fprint(p.a.Stderr, "\r\x1b[K")
	}
}
