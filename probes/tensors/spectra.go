package tensors

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/weighbridge/weighbridge/probes"
	"github.com/weighbridge/weighbridge/weights"
)

// writes and reads are the matrices of the two lenses: those that write into
// the residual stream in the later half of the layers, and those that read the
// embeddings in layer 0.
func writes(t *weights.TensorDelta, layers int) bool {
	return (t.Kind == "attn_output" || t.Kind == "ffn_down") && t.Part == "weight" && t.Layer >= layers/2
}

func reads(t *weights.TensorDelta) bool {
	return t.Layer == 0 && t.Part == "weight" && (t.Kind == "attn_q" || t.Kind == "attn_k" || t.Kind == "attn_v" || t.Kind == "attn_qkv")
}

// chosen are the matrices whose change is decomposed: those of the lenses
// first, then those that moved most, while the budget of values lasts. A
// matrix that does not fit leaves its place to smaller ones.
func chosen(c *weights.Comparison, budget int64) []*weights.TensorDelta {
	layers := 0
	var list []*weights.TensorDelta
	for i := range c.Tensors {
		t := &c.Tensors[i]
		layers = max(layers, t.Layer+1)
		if matrix(t) && len(t.Shape) == 2 && moved(t) {
			list = append(list, t)
		}
	}
	class := func(t *weights.TensorDelta) int {
		switch {
		case writes(t, layers):
			return 0
		case reads(t):
			return 1
		}
		return 2
	}
	slices.SortStableFunc(list, func(a, b *weights.TensorDelta) int {
		return cmp.Or(cmp.Compare(class(a), class(b)), -cmp.Compare(number(a.Relative), number(b.Relative)))
	})
	return slices.DeleteFunc(list, func(t *weights.TensorDelta) bool {
		cost := t.Values
		if t.LowRank > 0 { // factors only, where the model file is the baseline's
			cost = min(cost, int64(t.Shape[0]+t.Shape[1])*int64(t.LowRank))
		}
		if cost > budget {
			return true
		}
		budget -= cost
		return false
	})
}

// decompose finds the leading singular triplets of the chosen matrices.
func decompose(ctx context.Context, in *probes.Input, c *weights.Comparison, set Params) (map[string]*weights.Spectrum, error) {
	list := chosen(c, set.Values)
	out := make([]*weights.Spectrum, len(list))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for i, t := range list {
		g.Go(func() error {
			s, err := weights.DeltaSpectrum(ctx, in.Weights.Baseline, in.Weights.Candidate, t.Name, weights.SpectrumOptions{Seed: probes.SplitSeed(in.Seed, t.Name)})
			if errors.Is(err, weights.ErrUnsupported) {
				return nil
			}
			if err != nil {
				return fmt.Errorf("decomposing the change of tensor %q: %w", t.Name, err)
			}
			out[i] = s
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	spectra := map[string]*weights.Spectrum{}
	for _, s := range out {
		if s != nil && len(s.Sigma) > 0 {
			spectra[s.Name] = s
		}
	}
	return spectra, nil
}
