package html

import (
	"fmt"
	"html/template"
	"math"
	"slices"
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

// heatSteps are the upper ends of the colour classes of the map, in relative
// change; above the last is one class more. Steps of √10: changes span orders
// of magnitude.
var heatSteps = []float64{0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3}

func heatClass(relative float64) int {
	for i, s := range heatSteps {
		if relative <= s {
			return i + 1
		}
	}
	return len(heatSteps) + 1
}

const (
	cellW, cellH = 18, 18
	labelW       = 118
	maxLayers    = 256
	maxKinds     = 40
)

// Heat is the map of changes: layers from left to right, kinds downwards.
type Heat struct {
	SVG             template.HTML
	Tensors, Equal  int
	LeftOut         int
	Layers          int
	Steps           []heatStep
	Largest, Others []record.Tensor
}

type heatStep struct {
	Class int
	Text  string
}

// heatMap draws the tensors that belong to a layer; the others are listed.
func heatMap(tensors []record.Tensor) *Heat {
	h := &Heat{Tensors: len(tensors)}
	if len(tensors) == 0 {
		return h
	}
	type place struct {
		layer int
		kind  string
	}
	cells := map[place]*record.Tensor{}
	var kinds []string
	for i := range tensors {
		t := &tensors[i]
		if t.Equal {
			h.Equal++
		}
		p := place{t.Layer, t.Kind}
		switch {
		case t.Layer < 0:
			h.Others = append(h.Others, *t)
			continue
		case t.Layer >= maxLayers, cells[p] == nil && !slices.Contains(kinds, t.Kind) && len(kinds) == maxKinds:
			h.LeftOut++
			continue
		}
		if !slices.Contains(kinds, t.Kind) {
			kinds = append(kinds, t.Kind)
		}
		// Two tensors in one cell (a bias, an expert): the larger change shows.
		if old := cells[p]; old == nil || t.Relative > old.Relative {
			cells[p] = t
		}
		h.Layers = max(h.Layers, t.Layer+1)
	}
	h.Largest = largest(tensors, 8)
	if len(h.Others) > 8 {
		h.Others = h.Others[:8]
	}
	for i := range heatSteps {
		lo := "0"
		if i > 0 {
			lo = percent(heatSteps[i-1])
		}
		h.Steps = append(h.Steps, heatStep{i + 1, lo + "–" + percent(heatSteps[i])})
	}
	h.Steps = append(h.Steps, heatStep{len(heatSteps) + 1, "> " + percent(heatSteps[len(heatSteps)-1])})
	if h.Layers == 0 {
		return h
	}
	width, height := labelW+h.Layers*cellW+2, len(kinds)*cellH+22
	var b strings.Builder
	fmt.Fprintf(&b, `<svg class="heat" viewBox="0 0 %d %d" width="%d" height="%d" role="img" aria-label="Relative change of each tensor, by layer and kind; the largest are listed below">`, width, height, width, height)
	for row, kind := range kinds {
		y := row * cellH
		fmt.Fprintf(&b, `<text x="%d" y="%d" class="kind">%s</text>`, labelW-8, y+13, svgText(kind, 18))
		for layer := range h.Layers {
			t := cells[place{layer, kind}]
			if t == nil {
				continue
			}
			class := 0
			if !t.Equal {
				class = heatClass(t.Relative)
			}
			fmt.Fprintf(&b, `<rect class="h%d" x="%d" y="%d" width="%d" height="%d"><title>%s: %s</title></rect>`,
				class, labelW+layer*cellW, y, cellW-1, cellH-1, svgText(t.Name, 60), template.HTMLEscapeString(change(t)))
		}
	}
	for layer := 0; layer < h.Layers; layer += 5 {
		fmt.Fprintf(&b, `<text x="%d" y="%d" class="layer">%d</text>`, labelW+layer*cellW+cellW/2, len(kinds)*cellH+15, layer)
	}
	b.WriteString(`</svg>`)
	h.SVG = template.HTML(b.String())
	return h
}

// svgText is hostile text inside a picture, where no other element may stand.
func svgText(s string, limit int) string {
	return template.HTMLEscapeString(safetext.Line(s, limit))
}

func change(t *record.Tensor) string {
	if t.Equal {
		return "equal"
	}
	return percent(t.Relative)
}

func percent(x float64) string { return view.Num(x*100) + " %" }

// largest are the n tensors that changed most.
func largest(tensors []record.Tensor, n int) []record.Tensor {
	var list []record.Tensor
	for _, t := range tensors {
		if !t.Equal {
			list = append(list, t)
		}
	}
	slices.SortStableFunc(list, func(a, b record.Tensor) int {
		switch {
		case a.Relative > b.Relative:
			return -1
		case a.Relative < b.Relative:
			return 1
		}
		return 0
	})
	return list[:min(n, len(list))]
}
