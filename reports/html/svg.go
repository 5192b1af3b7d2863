package html

import (
	"fmt"
	"html/template"
	"math"
	"strings"

	"github.com/weighbridge/weighbridge/record"
	"github.com/weighbridge/weighbridge/reports/internal/view"
	"github.com/weighbridge/weighbridge/reports/safetext"
)

// Pictures are drawn with attributes and classes only: the page's policy
// forbids styles in attributes, and the theme decides the colours.

// axis is the range that the intervals of a group share.
type axis struct{ lo, hi float64 }

const (
	forestWidth  = 240.0
	forestHeight = 28.0
	forestPad    = 6.0
)

// axisOf spans everything that the group's rows draw, and zero.
func axisOf(fs []*record.Finding) axis {
	var a axis
	see := func(x float64) {
		if !math.IsInf(x, 0) && !math.IsNaN(x) {
			a.lo, a.hi = min(a.lo, x), max(a.hi, x)
		}
	}
	for _, f := range fs {
		for _, p := range []*float64{f.Value, f.Low, f.High, f.MDE, f.Margin} {
			if p != nil {
				see(*p)
			}
		}
		if f.Low != nil && *f.Low < 0 || *f.Value < 0 {
			for _, p := range []*float64{f.MDE, f.Margin} {
				if p != nil {
					see(-*p)
				}
			}
		}
	}
	if a.hi/2-a.lo/2 < 1e-300 {
		a.hi = a.lo + 1
	}
	return a
}

func (a axis) x(v float64) float64 {
	if math.IsNaN(v) {
		v = 0
	}
	v = max(a.lo, min(a.hi, v))
	// Halves, because the axis may be as long as a float64 is.
	return forestPad + (forestWidth-2*forestPad)*((v/2-a.lo/2)/(a.hi/2-a.lo/2))
}

// forest draws one finding: the margin as a band around zero, the smallest
// detectable effect as ticks, the interval as a line and the value as a dot.
func forest(f *record.Finding, a axis) template.HTML {
	if math.IsNaN(*f.Value) {
		return ""
	}
	mid := forestHeight / 2
	var b strings.Builder
	fmt.Fprintf(&b, `<svg class="forest %s" viewBox="0 0 %g %g" width="%g" height="%g" role="img" aria-label="%s">`,
		tierClass(f.Tier), forestWidth, forestHeight, forestWidth, forestHeight, template.HTMLEscapeString(forestLabel(f)))
	rect := func(lo, hi float64) {
		fmt.Fprintf(&b, `<rect class="margin" x="%.1f" y="3" width="%.1f" height="%g"/>`, a.x(lo), max(a.x(hi)-a.x(lo), 0), forestHeight-6)
	}
	lower := func(p *float64) float64 { return max(-math.Abs(*p), a.lo) }
	if f.Margin != nil {
		rect(lower(f.Margin), math.Abs(*f.Margin))
	}
	fmt.Fprintf(&b, `<line class="axis" x1="%.1f" x2="%.1f" y1="%g" y2="%g"/>`, forestPad, forestWidth-forestPad, mid, mid)
	fmt.Fprintf(&b, `<line class="zero" x1="%.1f" x2="%.1f" y1="0" y2="%g"/>`, a.x(0), a.x(0), forestHeight)
	if f.MDE != nil {
		ticks := []float64{math.Abs(*f.MDE)}
		if a.lo < 0 {
			ticks = append(ticks, -math.Abs(*f.MDE))
		}
		for _, v := range ticks {
			fmt.Fprintf(&b, `<line class="mde" x1="%.1f" x2="%.1f" y1="5" y2="%g"/>`, a.x(v), a.x(v), forestHeight-5)
		}
	}
	if f.Low != nil && f.High != nil {
		fmt.Fprintf(&b, `<line class="ci" x1="%.1f" x2="%.1f" y1="%g" y2="%g"/>`, a.x(*f.Low), a.x(*f.High), mid, mid)
	}
	fmt.Fprintf(&b, `<circle class="dot" cx="%.1f" cy="%g" r="4"/></svg>`, a.x(*f.Value), mid)
	return template.HTML(b.String())
}

func forestLabel(f *record.Finding) string {
	s := "value " + view.Interval(f)
	if f.Margin != nil {
		s += ", margin " + view.Num(*f.Margin)
	}
	if f.MDE != nil {
		s += ", smallest detectable effect " + view.Num(*f.MDE)
	}
	return s
}

// svgText is hostile text inside a picture, where no other element may stand.
func svgText(s string, limit int) string {
	return template.HTMLEscapeString(safetext.Line(s, limit))
}

func percent(x float64) string { return view.Num(x*100) + " %" }
