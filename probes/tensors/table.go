package tensors

import (
	"context"
	"fmt"
	"math"
	"strconv"

	"github.com/weighbridge/weighbridge/harness/stats"
	"github.com/weighbridge/weighbridge/probes"
	"github.com/weighbridge/weighbridge/record"
	"github.com/weighbridge/weighbridge/weights"
)

const (
	// fewRows is the most rows of a table that an edit of single tokens touches.
	fewRows = 64
	// outlying is the robust z-score of a row's change, on a logarithmic scale,
	// from which it is handed on; a normal distribution has none beyond it in
	// any vocabulary.
	outlying = 8
)

// tokenRows looks at the rows of the tables of tokens: an edit of a few, or
// rows that changed far more than the others.
func (r *report) tokenRows(ctx context.Context, in *probes.Input, set Params) ([]probes.Lead, error) {
	var leads []probes.Lead
	others := 0
	for i := range in.Weights.Comparison.Tensors {
		if t := &in.Weights.Comparison.Tensors[i]; moved(t) && t.Kind != "token_embd" && t.Kind != "output" {
			others++
		}
	}
	_, tied := in.Weights.Candidate.OutputHead()
	for i := range in.Weights.Comparison.Tensors {
		t := &in.Weights.Comparison.Tensors[i]
		if len(t.Shape) != 2 || !moved(t) || t.Name != weights.Embedding && t.Name != weights.Output || t.Baseline != t.Name {
			continue
		}
		table := t.Name
		if table == weights.Output {
			table, _ = in.Weights.Candidate.OutputHead()
		}
		change, err := rowChanges(ctx, in.Weights, t, table)
		if err != nil {
			return nil, fmt.Errorf("comparing the rows of %q: %w", t.Name, err)
		}
		n := 0
		for _, x := range change {
			if x > 0 {
				n++
			}
		}
		var list []scored
		f := record.Finding{Rule: "rows-" + t.Kind, Class: record.Behaviour, Tier: record.Consistent, Families: []string{edt}, Statistic: "rows that changed", Value: record.Float(float64(n)), N: len(change)}
		switch {
		case n <= fewRows:
			list = top(change, set.Tokens, in.CandidateInfo.VocabSize)
			f.Title = fmt.Sprintf("%d of %d rows of %s changed", n, len(change), t.Kind)
			f.Detail = "Training touches the rows of every token that it saw. "
			if others == 0 {
				f.Tier = record.Divergent
				f.Detail += "Nothing else in the weights changed: single tokens were edited (embedding surgery). "
			}
		case !tied || t.Name == weights.Output:
			list = top(outliers(change), set.Tokens, in.CandidateInfo.VocabSize)
			f.Title = fmt.Sprintf("%d rows of %s changed far more than the others", len(list), t.Kind)
			f.Detail = "Rare tokens among them may have been in the training text. "
		}
		if len(list) == 0 {
			continue
		}
		found, err := spell(ctx, in, list)
		if err != nil {
			return nil, err
		}
		var shown []string
		for _, x := range found {
			leads = append(leads, probes.Lead{Kind: "trigger", Text: x.text, Score: x.score, From: ID})
			shown = append(shown, strconv.Quote(cutText(x.text, 40)))
		}
		if len(shown) > 0 {
			f.Detail += "Tokens, most changed first: " + some(shown, shownTop) + "."
		}
		r.add(f)
	}
	return leads, nil
}

// rowChanges is, per row, the length of the change that is left when the
// median shrink of all rows is taken out (weight decay moves untouched rows by
// one common factor). A row that did not change at all has 0. table is the
// candidate's tensor, which is another one where its head is tied.
func rowChanges(ctx context.Context, w *probes.Weights, t *weights.TensorDelta, table string) ([]float64, error) {
	cols, n := int(t.Shape[0]), int(t.Shape[1])
	block := max(1, min(n, rowsCells/cols))
	b, c := make([]float32, block*cols), make([]float32, block*cols)
	dd, de, ee := make([]float64, n), make([]float64, n), make([]float64, n)
	shrink := make([]float64, 0, n)
	for first := 0; first < n; first += block {
		k := min(block, n-first)
		if err := w.Baseline.ReadRows(ctx, t.Baseline, first, b[:k*cols]); err != nil {
			return nil, fmt.Errorf("baseline: %w", err)
		}
		if err := w.Candidate.ReadRows(ctx, table, first, c[:k*cols]); err != nil {
			return nil, fmt.Errorf("candidate: %w", err)
		}
		for r := range k {
			for j := r * cols; j < (r+1)*cols; j++ {
				e := number(float64(b[j]))
				d := number(float64(c[j])) - e
				dd[first+r] += d * d
				de[first+r] += d * e
				ee[first+r] += e * e
			}
			if ee[first+r] > 0 {
				shrink = append(shrink, de[first+r]/ee[first+r])
			}
		}
	}
	common := stats.Median(shrink)
	out := make([]float64, n)
	for v := range out {
		if dd[v] > 0 {
			out[v] = math.Sqrt(max(math.SmallestNonzeroFloat64, dd[v]-2*common*de[v]+common*common*ee[v]))
		}
	}
	return out, nil
}

// outliers are the robust z-scores of log x that stand out, else 0.
func outliers(x []float64) []float64 {
	var logs []float64
	for _, v := range x {
		if v > 0 {
			logs = append(logs, math.Log(v))
		}
	}
	mid, sd := stats.Robust(logs)
	out := make([]float64, len(x))
	if sd == 0 {
		return out
	}
	for i, v := range x {
		if v > 0 {
			if z := (math.Log(v) - mid) / sd; z >= outlying {
				out[i] = z
			}
		}
	}
	return out
}
