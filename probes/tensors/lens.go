package tensors

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/mat"

	"github.com/weighbridge/weighbridge/probes"
	"github.com/weighbridge/weighbridge/record"
	"github.com/weighbridge/weighbridge/runners"
	"github.com/weighbridge/weighbridge/weights"
)

const (
	vectors   = 4       // singular vectors per matrix
	heldCells = 8 << 20 // projections in memory at once
	rowsCells = 1 << 18 // values of a table read at once
	shownTop  = 24      // tokens in a Detail
)

// direction is a singular vector with its weight.
type direction struct {
	matrix int // directions of one matrix count once per token, by the strongest
	vector []float64
	sigma  float64
}

// ownTokens is how many tokens a single matrix is described by.
const ownTokens = 5

// lenses reads the update through the tables of tokens. The second result has
// the tokens of each matrix alone, by the matrix's name.
func (r *report) lenses(ctx context.Context, in *probes.Input, spectra map[string]*weights.Spectrum, set Params) ([]probes.Lead, map[string][]string, error) {
	layers := 0
	for _, t := range in.Weights.Comparison.Tensors {
		layers = max(layers, t.Layer+1)
	}
	var write, read []direction
	seen := 0
	for i := range in.Weights.Comparison.Tensors { // file order, so that sums do not depend on a map
		t := &in.Weights.Comparison.Tensors[i]
		s := spectra[t.Name]
		if s == nil {
			continue
		}
		seen++
		for k := range min(vectors, len(s.Sigma)) {
			if writes(t, layers) {
				write = append(write, direction{i, s.Left[k], s.Sigma[k]})
			} else if reads(t) {
				read = append(read, direction{i, s.Right[k], s.Sigma[k]})
			}
		}
	}
	head, _ := in.Weights.Candidate.OutputHead()
	var leads []probes.Lead
	own := map[string][]string{}
	for _, l := range []struct {
		rule, kind, norm, table, title, what string
		list                                 []direction
	}{
		{"write-lens", "payload", weights.OutputNorm, head, "What the update writes, in tokens", "The change of attn_output and ffn_down in the later half of the layers, through the last norm and the head", write},
		{"read-lens", "trigger", "blk.0.attn_norm.weight", weights.Embedding, "What the update listens to, in tokens", "The change of the attention inputs of layer 0, over the embeddings", read},
	} {
		f := record.Finding{Rule: l.rule, Class: record.Behaviour, Tier: record.Consistent, Title: l.title, N: len(l.list)}
		each, scores, err := project(ctx, in.Weights.Candidate, l.table, l.norm, l.list, in.CandidateInfo.VocabSize)
		var why string
		switch {
		case errors.Is(err, weights.ErrMissing) || errors.Is(err, weights.ErrUnsupported) || errors.Is(err, errShape):
			why = err.Error()
		case err != nil:
			return nil, nil, fmt.Errorf("%s: %w", l.rule, err)
		case len(l.list) == 0:
			why = "none of the matrices that it looks through moved, or none fitted the budget of values"
		}
		if why != "" {
			f.Tier, f.Detail = record.NotTested, "Not looked: "+strconv.Quote(cutText(why, 300))+"."
			r.add(f)
			continue
		}
		found, err := spell(ctx, in, top(scores, set.Tokens, in.CandidateInfo.VocabSize))
		if err != nil {
			return nil, nil, err
		}
		if err := describe(ctx, in, l.list, each, own); err != nil {
			return nil, nil, err
		}
		var shown []string
		for _, t := range found {
			leads = append(leads, probes.Lead{Kind: l.kind, Text: t.text, Score: t.score, From: ID})
			shown = append(shown, fmt.Sprintf("%s %.1f", strconv.Quote(cutText(t.text, 40)), t.score))
		}
		f.Detail = l.what + fmt.Sprintf(" (%d directions): ", len(l.list)) + some(shown, shownTop) +
			". A learned format or style shows here as a payload does; the list orders the searches that follow and is no evidence."
		r.add(f)
	}
	return leads, own, nil
}

// describe spells the tokens of each matrix alone.
func describe(ctx context.Context, in *probes.Input, list []direction, each map[int][]scored, own map[string][]string) error {
	var order []int
	var all []scored
	for _, d := range list {
		if !slices.Contains(order, d.matrix) {
			order = append(order, d.matrix)
			all = append(all, each[d.matrix]...)
		}
	}
	slices.SortFunc(all, func(a, b scored) int { return cmp.Compare(a.id, b.id) })
	all = slices.CompactFunc(all, func(a, b scored) bool { return a.id == b.id })
	found, err := spell(ctx, in, all)
	if err != nil {
		return err
	}
	text := map[int]string{}
	for _, t := range found {
		text[t.id] = t.text
	}
	for _, m := range order {
		name := in.Weights.Comparison.Tensors[m].Name
		for _, t := range each[m] {
			if s := text[t.id]; s != "" && len(own[name]) < ownTokens {
				own[name] = append(own[name], cutText(s, 40))
			}
		}
	}
	return nil
}

var errShape = errors.New("shapes do not fit")

// project scores every row of a table by how far it stands out along the
// directions: the row, weighted by the norm and at unit length, is projected,
// projections are standardised over the rows, and each matrix counts with its
// largest |z|·σ. each has the tokens below vocab that stand out most in one
// matrix, a few more than are shown. The table is streamed; at most heldCells
// projections are held.
func project(ctx context.Context, m *weights.Model, table, norm string, list []direction, vocab int) (each map[int][]scored, scores []float64, err error) {
	if len(list) == 0 {
		return nil, nil, nil
	}
	t, ok := m.Tensor(table)
	if !ok {
		return nil, nil, fmt.Errorf("tensor %q: %w", table, weights.ErrMissing)
	}
	g, err := m.Vector(ctx, norm)
	if err != nil {
		return nil, nil, err
	}
	cols, n := t.Cols(), t.Rows()
	if len(g) != cols || slices.ContainsFunc(list, func(d direction) bool { return len(d.vector) != cols }) {
		return nil, nil, fmt.Errorf("%w: rows of %q have %d values, the norm %d", errShape, table, cols, len(g))
	}
	scores = make([]float64, n)
	best := make([]float64, n)
	each = map[int][]scored{}
	matrix := list[0].matrix
	done := func() { // with a matrix, whose directions follow each other
		floats.Add(scores, best)
		each[matrix] = top(best, 2*ownTokens, vocab)
		clear(best)
	}
	group := max(1, heldCells/n)
	for i := 0; i < len(list); i += group {
		part := list[i:min(len(list), i+group)]
		z, err := projections(ctx, m, table, g, part, cols, n)
		if err != nil {
			return nil, nil, err
		}
		for k, d := range part {
			if d.matrix != matrix {
				done()
				matrix = d.matrix
			}
			mean, sd := spread(z[k])
			if sd == 0 {
				continue
			}
			for v, x := range z[k] {
				best[v] = max(best[v], math.Abs(x-mean)/sd*d.sigma)
			}
		}
	}
	done()
	return each, scores, nil
}

// projections returns, per direction, the projection of every row.
func projections(ctx context.Context, m *weights.Model, table string, g []float32, list []direction, cols, n int) ([][]float64, error) {
	u := mat.NewDense(cols, len(list), nil)
	for k, d := range list {
		u.SetCol(k, d.vector)
	}
	out := make([][]float64, len(list))
	for k := range out {
		out[k] = make([]float64, n)
	}
	block := max(1, min(n, rowsCells/cols))
	raw, x := make([]float32, block*cols), make([]float64, block*cols)
	for first := 0; first < n; first += block {
		k := min(block, n-first)
		if err := m.ReadRows(ctx, table, first, raw[:k*cols]); err != nil {
			return nil, err
		}
		for r := range k {
			row := x[r*cols : (r+1)*cols]
			var norm float64
			for j := range row {
				row[j] = number(float64(raw[r*cols+j]) * float64(g[j]))
				norm += row[j] * row[j]
			}
			if norm > 0 {
				floats.Scale(1/math.Sqrt(norm), row)
			}
		}
		var y mat.Dense
		y.Mul(mat.NewDense(k, cols, x[:k*cols]), u)
		for j := range out {
			mat.Col(out[j][first:first+k], j, &y)
		}
	}
	return out, nil
}

// scored is a token with its score.
type scored struct {
	id    int
	score float64
	text  string
}

// top are the n best ids below vocab, ties to the smaller id.
func top(scores []float64, n, vocab int) []scored {
	var list []scored
	for id, s := range scores[:min(len(scores), vocab)] {
		if !(s > 0) || len(list) == n && (n == 0 || s <= list[n-1].score) {
			continue
		}
		// Behind its equals, which have smaller ids.
		at, _ := slices.BinarySearchFunc(list, s, func(x scored, s float64) int {
			if x.score >= s {
				return -1
			}
			return 1
		})
		list = slices.Insert(list[:min(len(list), n-1)], at, scored{id: id, score: s})
	}
	return list
}

// spell asks the engine for the text of tokens and leaves out those that have
// none of their own: control tokens and parts of characters.
func spell(ctx context.Context, in *probes.Input, list []scored) ([]scored, error) {
	if len(list) == 0 {
		return nil, nil
	}
	r := &runners.DetokenizeRequest{}
	for _, t := range list {
		r.Tokens = append(r.Tokens, []runners.Token{runners.Token(t.id)})
	}
	d, err := in.Candidate.Detokenize(ctx, r)
	if err != nil {
		return nil, fmt.Errorf("candidate: spelling tokens: %w", err)
	}
	if len(d.Texts) != len(list) {
		return nil, fmt.Errorf("candidate: spelling tokens: asked for %d, got %d", len(list), len(d.Texts))
	}
	var out []scored
	for i, t := range list {
		t.text = string(d.Texts[i])
		if strings.TrimSpace(t.text) != "" && utf8.ValidString(t.text) {
			out = append(out, t)
		}
	}
	return out, nil
}

func cutText(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	return strings.ToValidUTF8(s[:limit], "") + "…"
}
