package main

import (
	"bytes"
	"fmt"
	"html"
	"math"
	"slices"
)

// step is a point of the curve: at so many tokens of the candidate this share
// of the poisoned members had been stopped by a finding.
type step struct {
	tokens int
	share  float64
}

// steps of the members that which says; a verdict without a finding is none.
func steps(rs []*result, which func(*result) bool) []step {
	var at []int
	n := 0
	for _, r := range rs {
		if !r.member.Poisoned {
			continue
		}
		n++
		if which(r) && r.decidedAt >= 0 {
			at = append(at, r.decidedAt)
		}
	}
	slices.Sort(at)
	var out []step
	for i, t := range at {
		s := step{t, float64(i+1) / float64(n)}
		if len(out) > 0 && out[len(out)-1].tokens == t {
			out[len(out)-1] = s
			continue
		}
		out = append(out, s)
	}
	return out
}

// The picture in its own units.
const (
	width, height          = 640, 360
	left, right, top, foot = 56, 20, 40, 52
)

// svg draws two curves, of all verdicts but approve and of reject alone, in
// colours that read on light and on dark ground. Equal results give equal bytes.
func svg(title string, rs []*result) []byte {
	most := 1
	for _, r := range rs {
		most = max(most, r.tokens)
	}
	scale := round(float64(most))
	x := func(tokens int) float64 { return left + (width-left-right)*float64(tokens)/scale }
	y := func(share float64) float64 { return top + (height-top-foot)*(1-share) }
	var b bytes.Buffer
	p := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	p(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" role="img" aria-label="%s">`, width, height, html.EscapeString(title))
	p(`<style>text{font:13px system-ui,sans-serif;fill:#1f2328}.grid{stroke:#d0d7de}.axis{stroke:#57606a}.a{stroke:#0550ae}.b{stroke:#bc4c00}.ta{fill:#0550ae}.tb{fill:#bc4c00}.line{fill:none;stroke-width:2.5}.b.line{stroke-dasharray:7 4}` +
		`@media(prefers-color-scheme:dark){text{fill:#e6edf3}.grid{stroke:#30363d}.axis{stroke:#8b949e}.a{stroke:#79c0ff}.b{stroke:#ffa657}.ta{fill:#79c0ff}.tb{fill:#ffa657}}</style>`)
	p(`<text x="%d" y="18">%s</text>`, left, html.EscapeString(title))
	for k := 0; k <= 4; k++ {
		share := float64(k) / 4
		p(`<line class="grid" x1="%d" x2="%d" y1="%.1f" y2="%.1f"/><text x="%d" y="%.1f" text-anchor="end">%d %%</text>`, left, width-right, y(share), y(share), left-6, y(share)+4, 25*k)
		tokens := int(scale * share)
		p(`<text x="%.1f" y="%d" text-anchor="middle">%s</text>`, x(tokens), height-foot+18, thousands(tokens))
	}
	p(`<line class="axis" x1="%d" x2="%d" y1="%.1f" y2="%.1f"/>`, left, width-right, y(0), y(0))
	p(`<text x="%d" y="%d" text-anchor="middle">tokens that the candidate decoded</text>`, (left+width-right)/2, height-foot+40)
	for i, c := range []struct {
		class, name string
		which       func(*result) bool
	}{{"a", "rejected or escalated", stopped}, {"b", "rejected", rejected}} {
		line := fmt.Sprintf("M%.1f %.1f", x(0), y(0))
		share := 0.0
		for _, s := range steps(rs, c.which) {
			line += fmt.Sprintf("H%.1fV%.1f", x(s.tokens), y(s.share))
			share = s.share
		}
		p(`<path class="%s line" d="%sH%.1f"/>`, c.class, line, x(most))
		p(`<text class="t%s" x="%d" y="%d" text-anchor="end">%s: %.0f %%</text>`, c.class, width-right, 18+16*i, c.name, 100*share)
	}
	p(`</svg>`)
	return b.Bytes()
}

// round gives the next 1, 2, 4 or 8 times a power of ten, so that quarters of it
// are round too.
func round(x float64) float64 {
	ten := math.Pow(10, math.Floor(math.Log10(x)))
	for _, k := range []float64{1, 2, 4, 8} {
		if k*ten >= x {
			return k * ten
		}
	}
	return 10 * ten
}

func thousands(n int) string {
	if n < 1000 {
		return fmt.Sprint(n)
	}
	return fmt.Sprintf("%gk", float64(n)/1000)
}
