package harness

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"sync"

	"github.com/weighbridge/weighbridge/harness/measure"
	"github.com/weighbridge/weighbridge/probes"
	"github.com/weighbridge/weighbridge/runners"
	"github.com/weighbridge/weighbridge/weights"
)

// amplifier makes baseline + κ·ΔW: the baseline's file with one adapter, the
// candidate's own where that is all that tells the two apart, else one of low
// rank that holds the leading part of the change.
type amplifier struct {
	pair  *pair
	store *measure.Store
	level probes.Level
	start func(side string, w *weights.Model) *measure.Model

	mu     sync.Mutex
	models map[float64]*amplified
}

type amplified struct {
	*measure.Model
	weights *weights.Model
}

// rankOf is the largest rank of one tensor's update; valuesOf bounds the values
// that are decomposed, which is what it costs.
const rankOf = 32

var valuesOf = map[probes.Level]int64{probes.Quick: 300e6, probes.Standard: 2e9}

// can reports whether there is anything to amplify, and an adapter can say it.
func (a *amplifier) can() bool {
	return a.pair.Comparison.Relation.Kind == weights.Derived && a.pair.Baseline.Adapter() == nil
}

// model gives the amplified model, made with the first call for its κ.
func (a *amplifier) model(ctx context.Context, kappa float64) (*amplified, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if m := a.models[kappa]; m != nil {
		return m, nil
	}
	art := weights.Artifact{Model: a.pair.Baseline.Artifact().Model, Scale: float32(kappa)}
	if own := a.pair.Candidate.Artifact(); a.pair.Comparison.Relation.AdapterOnly {
		art.Adapter, art.Scale = own.Adapter, float32(kappa)*own.Scale
	} else {
		k := measure.KeyOf("low rank 1", string(a.pair.Baseline.Identity()), string(a.pair.Candidate.Identity()), strconv.Itoa(rankOf), fmt.Sprint(valuesOf[a.level]))
		path, err := a.store.File(k, func(w io.Writer) error {
			_, err := weights.WriteLowRank(ctx, w, a.pair.Baseline, a.pair.Candidate, a.pair.Comparison, weights.LowRankOptions{Rank: rankOf, Values: valuesOf[a.level]})
			return err
		})
		if errors.Is(err, weights.ErrMissing) {
			return nil, fmt.Errorf("%w: %w", probes.ErrAmplified, err)
		}
		if err != nil {
			return nil, fmt.Errorf("the change as an adapter: %w", err)
		}
		art.Adapter = path
	}
	w, err := weights.Open(ctx, art)
	if err != nil {
		return nil, fmt.Errorf("the change as an adapter: %w", err)
	}
	m := &amplified{a.start(fmt.Sprintf("amplified-%.0f", 100*kappa), w), w}
	if a.models == nil {
		a.models = map[float64]*amplified{}
	}
	a.models[kappa] = m
	return m, nil
}

// close stops the boxes. What a box of an amplified model proved of itself is
// that of any other box of the same engine, and stands with the two sides.
func (a *amplifier) close(ctx context.Context) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	var errs []error
	for _, m := range a.models {
		errs = append(errs, m.Close(ctx), m.weights.Close())
	}
	a.models = nil
	return errors.Join(errs...)
}

// overdriven is an amplified model as probes see it: an engine that cannot go on
// with it says nothing about the candidate.
type overdriven struct{ *measure.Model }

func (o overdriven) Score(ctx context.Context, r *runners.ScoreRequest) (*runners.ScoreResult, error) {
	a, err := o.Model.Score(ctx, r)
	return a, overdrive(err)
}

func (o overdriven) Generate(ctx context.Context, r *runners.GenerateRequest) (*runners.GenerateResult, error) {
	a, err := o.Model.Generate(ctx, r)
	return a, overdrive(err)
}

func overdrive(err error) error {
	died, refused := (*measure.DiedError)(nil), (*measure.RefusedError)(nil)
	if errors.As(err, &died) || errors.As(err, &refused) && refused.Err.Code == runners.CodeEngine {
		return fmt.Errorf("%w: %w", probes.ErrAmplified, err)
	}
	return err
}
