package html

import (
	"cmp"
	"fmt"
	"html/template"
	"slices"
	"strings"

	"github.com/weighbridge/weighbridge/record"
)

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

// leadSteps are the classes of the part that one direction has in a change.
var leadSteps = []float64{0.2, 0.4, 0.6, 0.8, 1}

func leadClass(share float64) int {
	for i, s := range leadSteps {
		if share <= s {
			return i + 1
		}
	}
	return len(leadSteps)
}

const (
	labelW    = 118
	plotW     = 820 // that many layers share, as long as a cell stays visible
	cellH     = 18
	groupGap  = 7 // between attention, feed-forward and the rest
	maxLayers = 256
	maxKinds  = 40
	heatBytes = 330_000 // of one map
)

// Heat is the picture of the change: layers from left to right, kinds of
// tensors downwards, what belongs to no layer as bars above and below.
type Heat struct {
	Change, Lead         template.HTML
	Tensors, Equal       int
	LeftOut              int
	Steps, LeadSteps     []heatStep
	Summary              string
	Kinds                []string // of Table
	Table                []layerRow
	Largest              []record.Tensor
	Tokens               []layerTokens
	Listens              bool
	TokensLeft, TableOut int
}

type heatStep struct {
	Class int
	Text  string
}

// layerRow is a layer of the picture in words.
type layerRow struct {
	Layer string
	Cells []string
}

// layerTokens are the tokens that the change of a layer speaks of.
type layerTokens struct {
	Layer                   int
	Attention, Feed, Listen []string
}

// heatMap arranges the tensors of a pair.
func heatMap(tensors []record.Tensor) *Heat {
	h := &Heat{Tensors: len(tensors)}
	if len(tensors) == 0 {
		return h
	}
	for _, t := range tensors {
		if t.Equal {
			h.Equal++
		}
	}
	g := newGrid(tensors)
	h.LeftOut = g.leftOut
	cut := 0
	h.Change, cut = g.draw("Relative change of each tensor, by kind and layer", "h", func(t *record.Tensor) (int, bool) {
		if t.Equal {
			return 0, true
		}
		return heatClass(t.Relative), true
	})
	h.LeftOut += cut
	if slices.ContainsFunc(tensors, func(t record.Tensor) bool { return t.Leading != nil }) {
		h.Lead, _ = g.draw("Part of each change that lies in one direction, by kind and layer", "k", func(t *record.Tensor) (int, bool) {
			if t.Leading == nil {
				return 0, false
			}
			return leadClass(*t.Leading), true
		})
	}
	h.Steps, h.LeadSteps = steps(heatSteps), steps(leadSteps)
	h.Steps = append(h.Steps, heatStep{len(heatSteps) + 1, "> " + percent(heatSteps[len(heatSteps)-1])})
	h.Summary = g.summary()
	h.Kinds, h.Table, h.TableOut = g.table()
	h.Largest = largest(tensors, 8)
	h.Tokens, h.TokensLeft = tokensOf(tensors)
	h.Listens = slices.ContainsFunc(h.Tokens, func(l layerTokens) bool { return len(l.Listen) > 0 })
	return h
}

func steps(ends []float64) (list []heatStep) {
	lo := 0.0
	for i, end := range ends {
		list = append(list, heatStep{i + 1, strings.TrimSuffix(percent(lo), " %") + "–" + percent(end)})
		lo = end
	}
	return list
}

// spot is a cell of the picture; layer is -1 for a bar.
type spot struct {
	kind  string
	layer int
}

// grid is the order of rows and what stands in them.
type grid struct {
	above, kinds, below []string
	layers              int
	cells               map[spot]*record.Tensor
	leftOut             int
}

// kindOrder is the way of a token through a layer. What is not in it follows
// in the order of the file.
var kindOrder = []string{
	"attn_norm", "attn_q", "attn_q_norm", "attn_k", "attn_k_norm", "attn_v", "attn_qkv", "attn_output", "post_attention_norm", "attn_post_norm",
	"ffn_norm", "ffn_gate_inp", "ffn_gate", "ffn_up", "ffn_down", "ffn_gate_exps", "ffn_up_exps", "ffn_down_exps", "post_ffw_norm", "ffn_post_norm",
}

func kindRank(kind string) int {
	if i := slices.Index(kindOrder, kind); i >= 0 {
		return i
	}
	for i, known := range kindOrder { // attn_q.scale, attn_output_norm and the like beside their own
		if strings.HasPrefix(kind, known) {
			return i
		}
	}
	return len(kindOrder)
}

// kindGroup parts attention from feed-forward.
func kindGroup(kind string) string {
	switch {
	case strings.Contains(kind, "attn") || strings.Contains(kind, "attention"):
		return "attention"
	case strings.Contains(kind, "ffn") || strings.Contains(kind, "ffw"):
		return "feed-forward"
	}
	return ""
}

func newGrid(tensors []record.Tensor) *grid {
	g := &grid{cells: map[spot]*record.Tensor{}}
	seen := map[string]bool{}
	for i := range tensors {
		t := &tensors[i]
		p := spot{t.Kind, max(t.Layer, -1)}
		rows := &g.kinds
		switch {
		case t.Layer < 0 && strings.Contains(t.Kind, "embd"):
			rows = &g.above
		case t.Layer < 0:
			rows = &g.below
		}
		key := fmt.Sprintf("%t %s", t.Layer < 0, t.Kind)
		if t.Layer >= maxLayers || !seen[key] && len(*rows) == maxKinds {
			g.leftOut++
			continue
		}
		if !seen[key] {
			seen[key] = true
			*rows = append(*rows, t.Kind)
		}
		// Two tensors in one cell (a bias, an expert): the larger change shows.
		if old := g.cells[p]; old == nil || t.Relative > old.Relative {
			g.cells[p] = t
		}
		g.layers = max(g.layers, t.Layer+1)
	}
	slices.SortStableFunc(g.kinds, func(a, b string) int { return cmp.Compare(kindRank(a), kindRank(b)) })
	return g
}

// draw makes one map. class gives a tensor's colour, and false for none. The
// second result counts the cells for which there was no room.
func (g *grid) draw(label, palette string, class func(*record.Tensor) (int, bool)) (template.HTML, int) {
	cell := min(26, max(8, plotW/max(1, g.layers)))
	wide := g.layers * cell
	if wide == 0 {
		wide = 10 * cell
	}
	shown := func(kind string, layer int) (*record.Tensor, int, bool) {
		t := g.cells[spot{kind, layer}]
		if t == nil {
			return nil, 0, false
		}
		c, ok := class(t)
		return t, c, ok
	}
	var b strings.Builder
	y, cells, cut := 0, 0, 0
	rect := func(t *record.Tensor, class, x, width int) {
		if b.Len() > heatBytes {
			cut++
			return
		}
		focus := -1
		if cells == 0 {
			focus = 0
		}
		cells++
		fmt.Fprintf(&b, `<rect role="img" tabindex="%d" class="%s%d" x="%d" y="%d" width="%d" height="%d"><title>%s</title></rect>`,
			focus, palette, class, x, y, width-1, cellH-1, describe(t))
	}
	row := func(kind string, draw func()) {
		fmt.Fprintf(&b, `<text x="%d" y="%d" class="kind">%s</text>`, labelW-8, y+13, svgText(kind, 18))
		draw()
		y += cellH
	}
	bars := func(kinds []string) {
		for _, kind := range kinds {
			if t, c, ok := shown(kind, -1); ok {
				row(kind, func() { rect(t, c, labelW, wide) })
			}
		}
	}
	bars(g.above)
	group, drawn := "", false
	for _, kind := range g.kinds {
		any := false
		for layer := range g.layers {
			_, _, ok := shown(kind, layer)
			any = any || ok
		}
		if !any {
			continue
		}
		if k := kindGroup(kind); y > 0 && (k != group || !drawn) {
			y += groupGap
		}
		group, drawn = kindGroup(kind), true
		row(kind, func() {
			for layer := range g.layers {
				if t, c, ok := shown(kind, layer); ok {
					rect(t, c, labelW+layer*cell, cell)
				}
			}
		})
	}
	if drawn {
		every := 5
		switch {
		case g.layers <= 8:
			every = 1
		case g.layers > 50:
			every = 10
		}
		for layer := 0; layer < g.layers; layer += every {
			fmt.Fprintf(&b, `<text x="%d" y="%d" class="layer">%d</text>`, labelW+layer*cell+cell/2, y+13, layer)
		}
		y += cellH
	}
	if y > 0 {
		y += groupGap / 2
	}
	bars(g.below)
	if cells == 0 {
		return "", cut
	}
	width, height := labelW+wide+4, y+4
	return template.HTML(fmt.Sprintf(`<svg class="heat" viewBox="-2 -2 %d %d" width="%d" height="%d" role="group" aria-label="%s">%s</svg>`,
		width, height, width, height, label, b.String())), cut
}

// describe is a cell in words; its text is escaped.
func describe(t *record.Tensor) string {
	var b strings.Builder
	if t.Layer >= 0 {
		fmt.Fprintf(&b, "layer %d, ", t.Layer)
	}
	fmt.Fprintf(&b, "%s: %s", svgText(t.Kind, 24), change(t))
	if t.Equal {
		return b.String()
	}
	fmt.Fprintf(&b, " change, %s of the values", percent(t.Changed))
	if t.Leading != nil {
		fmt.Fprintf(&b, ", %s of it in one direction", percent(*t.Leading))
	}
	return b.String()
}

// summary says in one sentence where the change sits.
func (g *grid) summary() string {
	type sum struct {
		kind          string
		changed, have int
		relative      []float64
	}
	var list []*sum
	for _, kind := range slices.Concat(g.above, g.kinds, g.below) {
		if slices.ContainsFunc(list, func(s *sum) bool { return s.kind == kind }) {
			continue
		}
		s := &sum{kind: kind}
		for layer := -1; layer < g.layers; layer++ {
			if t := g.cells[spot{kind, layer}]; t != nil {
				if s.have++; !t.Equal {
					s.changed++
					s.relative = append(s.relative, t.Relative)
				}
			}
		}
		if s.changed > 0 {
			slices.Sort(s.relative)
			list = append(list, s)
		}
	}
	if len(list) == 0 {
		return "No tensor changed."
	}
	median := func(s *sum) float64 { return s.relative[len(s.relative)/2] }
	slices.SortStableFunc(list, func(a, b *sum) int { return cmp.Compare(median(b), median(a)) })
	const most = 6
	var parts []string
	for _, s := range list[:min(most, len(list))] {
		parts = append(parts, fmt.Sprintf("%s by %s (%d of %d)", s.kind, percent(median(s)), s.changed, s.have))
	}
	text := "Changed, by the median of each kind: " + strings.Join(parts, ", ")
	if n := len(list) - most; n > 0 {
		text += fmt.Sprintf(", and others less (%d)", n)
	}
	return text + "."
}

// maxTable bounds the cells of the picture in words.
const maxTable = 2400

// table is the picture in words, and how many of its rows were left out.
func (g *grid) table() (kinds []string, rows []layerRow, out int) {
	row := func(name string, layer int, kinds []string) layerRow {
		r := layerRow{Layer: name}
		for _, k := range kinds {
			text := ""
			if t := g.cells[spot{k, layer}]; t != nil {
				text = change(t)
			}
			r.Cells = append(r.Cells, text)
		}
		return r
	}
	for layer := range g.layers {
		if len(rows)*len(g.kinds) > maxTable {
			out++
			continue
		}
		rows = append(rows, row(fmt.Sprint(layer), layer, g.kinds))
	}
	return g.kinds, rows, out
}

func change(t *record.Tensor) string {
	if t.Equal {
		return "equal"
	}
	return percent(t.Relative)
}

// largest are the n tensors that changed most.
func largest(tensors []record.Tensor, n int) []record.Tensor {
	var list []record.Tensor
	for _, t := range tensors {
		if !t.Equal {
			list = append(list, t)
		}
	}
	slices.SortStableFunc(list, func(a, b record.Tensor) int { return -cmp.Compare(a.Relative, b.Relative) })
	return list[:min(n, len(list))]
}

// tokensOf gathers the tokens of the lenses by layer.
func tokensOf(tensors []record.Tensor) ([]layerTokens, int) {
	byLayer := map[int]*layerTokens{}
	for _, t := range tensors {
		if len(t.Tokens) == 0 {
			continue
		}
		l := byLayer[t.Layer]
		if l == nil {
			l = &layerTokens{Layer: t.Layer}
			byLayer[t.Layer] = l
		}
		to := &l.Listen
		switch t.Kind {
		case "attn_output":
			to = &l.Attention
		case "ffn_down":
			to = &l.Feed
		}
		for _, s := range head(t.Tokens, 5) {
			if !slices.Contains(*to, s) && len(*to) < 8 {
				*to = append(*to, s)
			}
		}
	}
	var list []layerTokens
	for _, l := range byLayer {
		list = append(list, *l)
	}
	slices.SortFunc(list, func(a, b layerTokens) int { return cmp.Compare(a.Layer, b.Layer) })
	return headLeft(list, maxRows)
}

// quotes shows tokens, whose spaces count.
func quotes(tokens []string) template.HTML {
	var parts []string
	for _, s := range tokens {
		parts = append(parts, "<code>“"+string(line(s, 40))+"”</code>")
	}
	return template.HTML(strings.Join(parts, " "))
}
