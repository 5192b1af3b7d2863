package html

import (
	"fmt"
	"html/template"
	"slices"
	"strings"

	"github.com/weighbridge/weighbridge/record"
	"github.com/weighbridge/weighbridge/reports/safetext"
)

// Measures of the lineage's picture, in pixels.
const (
	nodeW, nodeH   = 214, 52
	nodeGapX       = 56
	nodeGapY       = 12
	nodePad        = 10
	nodeText       = 28 // characters of 11 pixels that fit
	maxNodes       = 60
	maxGenerations = 8
	maxTitle       = 160
)

// lineage is what the candidate was made from, drawn and listed.
type lineage struct {
	SVG      template.HTML
	Links    []lineageRow
	LinksOut int // links that the table leaves out
	NodesOut int // things that the picture leaves out
	Compared int
	Claimed  int
	Missing  int
	Bad      int
}

type lineageRow struct {
	record.Link
	State string // in words
	Class string
}

// stateWords say what a link's state means of its bytes.
func stateWords(s record.EvidenceState) (words, class string) {
	switch s {
	case record.Valid:
		return "compared", "l-valid"
	case record.Absent:
		return "missing", "l-absent"
	case record.Bad:
		return "contradicted", "l-bad"
	}
	return "claimed only", "l-claimed"
}

// badness orders states for a thing that several links lead to.
func badness(s record.EvidenceState) int {
	return slices.Index([]record.EvidenceState{record.Valid, record.Ambiguous, record.Absent, record.Bad}, s)
}

// node is one box of the picture.
type node struct {
	name, role string
	state      record.EvidenceState
	digest     string
	detail     string
	layer, row int
	x, y       int
	candidate  bool
}

const candidateNode = "model"

func newLineage(links []record.Link) *lineage {
	if len(links) == 0 {
		return nil
	}
	l := &lineage{}
	for _, x := range links {
		words, class := stateWords(x.State)
		switch x.State {
		case record.Valid:
			l.Compared++
		case record.Absent:
			l.Missing++
		case record.Bad:
			l.Bad++
		default:
			l.Claimed++
		}
		if len(l.Links) < maxRows {
			l.Links = append(l.Links, lineageRow{x, words, class})
		}
	}
	l.LinksOut = len(links) - len(l.Links)
	nodes, index, out := place(links)
	l.NodesOut = out
	l.SVG = l.draw(nodes, index, links)
	return l
}

// place gives every thing a layer (its distance from the candidate) and a row
// (in the order in which the links name it).
func place(links []record.Link) (nodes []*node, index map[string]*node, out int) {
	from := map[string][]int{}
	for i, l := range links {
		from[l.From] = append(from[l.From], i)
	}
	first := &node{name: candidateNode, role: "the candidate", candidate: true}
	index = map[string]*node{candidateNode: first}
	nodes = []*node{first}
	hidden := map[string]bool{}
	rows := []int{1}
	for i := 0; i < len(nodes); i++ {
		for _, at := range from[nodes[i].name] {
			l := links[at]
			if n := index[l.Name]; n != nil {
				if !n.candidate && badness(l.State) > badness(n.state) {
					n.state = l.State
				}
				continue
			}
			layer := nodes[i].layer + 1
			if len(nodes) > maxNodes || layer > maxGenerations {
				hidden[l.Name] = true
				continue
			}
			if layer == len(rows) {
				rows = append(rows, 0)
			}
			n := &node{name: l.Name, role: l.Role, state: l.State, digest: l.Digest, detail: l.Detail, layer: layer, row: rows[layer]}
			rows[layer]++
			index[l.Name] = n
			nodes = append(nodes, n)
		}
	}
	// What no chain of links leads to is hidden too.
	for _, l := range links {
		if index[l.Name] == nil {
			hidden[l.Name] = true
		}
	}
	tallest := slices.Max(rows)
	for _, n := range nodes {
		n.x = 1 + n.layer*(nodeW+nodeGapX)
		n.y = 1 + n.row*(nodeH+nodeGapY) + (tallest-rows[n.layer])*(nodeH+nodeGapY)/2
	}
	return nodes, index, len(hidden)
}

func (l *lineage) draw(nodes []*node, index map[string]*node, links []record.Link) template.HTML {
	width, height := 0, 0
	for _, n := range nodes {
		width, height = max(width, n.x+nodeW), max(height, n.y+nodeH)
	}
	var edges strings.Builder
	right, bottom := width, height
	for _, x := range links {
		from, to := index[x.From], index[x.Name]
		if from == nil || to == nil {
			continue
		}
		_, class := stateWords(x.State)
		fmt.Fprintf(&edges, `<path class="edge %s" d="`, class)
		x1, y1, x2, y2 := from.x+nodeW, from.y+nodeH/2, to.x, to.y+nodeH/2
		switch {
		case to.layer > from.layer:
			fmt.Fprintf(&edges, `M%d %dC%d %d %d %d %d %d`, x1, y1, x1+nodeGapX/2, y1, x2-nodeGapX/2, y2, x2, y2)
		case to.layer == from.layer && to != from: // two things share it: an arc in the gap
			x2 += nodeW
			fmt.Fprintf(&edges, `M%d %dC%d %d %d %d %d %d`, x1, y1, x1+nodeGapX, y1, x2+nodeGapX, y2, x2, y2)
			right = max(right, x1+nodeGapX)
		default: // a loop: out into the gap, below everything, and back up in a gap
			bottom += 8
			out, in := x1+nodeGapX/2, to.x+nodeW+nodeGapX/4
			fmt.Fprintf(&edges, `M%d %dH%dV%dH%dV%dH%d`, x1, y1+8, out, bottom, in, y2+8, to.x+nodeW)
			right = max(right, out)
		}
		edges.WriteString(`"/>`)
	}
	width, height = right+2, bottom+2
	var b strings.Builder
	fmt.Fprintf(&b, `<svg class="lineage" viewBox="0 0 %d %d" width="%d" height="%d" role="img" aria-label="%s">`,
		width, height, width, height, template.HTMLEscapeString(l.label()))
	b.WriteString(edges.String())
	for _, n := range nodes {
		n.draw(&b)
	}
	b.WriteString(`</svg>`)
	return template.HTML(b.String())
}

func (l *lineage) label() string {
	return fmt.Sprintf("What the candidate was made from: %d links compared with bytes at hand, %d claimed only, %d missing, %d contradicted. The table below has them all.",
		l.Compared, l.Claimed, l.Missing, l.Bad)
}

// draw makes the state visible by outline and words, so that nothing depends on
// colour: a full line for what was compared, dashes for what is claimed, dots
// for what is missing, cut corners and a thick line for what contradicts.
func (n *node) draw(b *strings.Builder) {
	words, class := stateWords(n.state)
	if n.candidate {
		words, class = "", "l-candidate"
	}
	fmt.Fprintf(b, `<g class="node %s">`, class)
	if n.candidate {
		b.WriteString(`<title>the candidate</title>`)
	} else {
		title := fmt.Sprintf("%s %s", n.role, n.name)
		for _, s := range []string{n.digest, words, n.detail} {
			if s != "" {
				title += "; " + s
			}
		}
		fmt.Fprintf(b, `<title>%s</title>`, svgText(title, 4*maxTitle))
	}
	if n.state == record.Bad && !n.candidate {
		const c = 9
		fmt.Fprintf(b, `<path class="box" d="M%d %dh%dl%d %dv%dl%d %dh%dl%d %dv%dz"/>`,
			n.x+c, n.y, nodeW-2*c, c, c, nodeH-2*c, -c, c, -(nodeW - 2*c), -c, -c, -(nodeH - 2*c))
	} else {
		fmt.Fprintf(b, `<rect class="box" x="%d" y="%d" width="%d" height="%d" rx="4"/>`, n.x, n.y, nodeW, nodeH)
	}
	// A picture inside the picture cuts off what is wider than the box.
	fmt.Fprintf(b, `<svg x="%d" y="%d" width="%d" height="%d">`, n.x+nodePad, n.y, nodeW-2*nodePad, nodeH)
	name := n.name
	if n.candidate {
		name = "this model"
	}
	fmt.Fprintf(b, `<text class="role" x="0" y="20">%s</text>`, shortText(n.role, nodeText-len(words)-2))
	if words != "" {
		fmt.Fprintf(b, `<text class="state" x="%d" y="20">%s</text>`, nodeW-2*nodePad, words)
	}
	fmt.Fprintf(b, `<text class="name" x="0" y="39">%s</text></svg></g>`, shortText(name, nodeText))
}

// shortText is hostile text in at most limit characters, cut in the middle:
// URIs and paths differ at their ends.
func shortText(s string, limit int) string {
	r := []rune(safetext.Line(s, 4*maxTitle))
	if len(r) > limit {
		tail := limit / 2
		r = slices.Concat(r[:limit-tail-1], []rune("…"), r[len(r)-tail:])
	}
	return template.HTMLEscapeString(string(r))
}
