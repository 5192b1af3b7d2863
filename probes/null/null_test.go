package null

import (
	"context"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weighbridge/weighbridge/probes"
	"github.com/weighbridge/weighbridge/record"
	"github.com/weighbridge/weighbridge/runners"
	"github.com/weighbridge/weighbridge/runners/runnertest"
)

func run(t *testing.T, m runners.Model, info *runners.Info, budget int) *probes.Output {
	t.Helper()
	out, err := probe{}.Run(context.Background(), &probes.Input{Baseline: m, BaselineInfo: info, Budget: budget, Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestDeterministicModel(t *testing.T) {
	m := runnertest.New(runnertest.Options{})
	out := run(t, m, m.Describe(), 1<<20)
	if len(out.Findings) != 2 || len(out.Items) != len(prompts) || out.Tests != 0 || out.Leads != nil {
		t.Fatalf("%+v", out)
	}
	for _, f := range out.Findings {
		if f.Tier != record.Consistent || f.Class != record.Control || *f.Value != 0 || f.P != nil {
			t.Errorf("%+v", f)
		}
	}
	if d := cmp.Diff(out, run(t, m, m.Describe(), 1<<20)); d != "" {
		t.Error(d)
	}
}

func TestNoisyModel(t *testing.T) {
	m := runnertest.New(runnertest.Options{Noise: 0.5})
	out := run(t, m, m.Describe(), 1<<20)
	for _, f := range out.Findings {
		if f.Tier != record.Divergent || *f.Value == 0 {
			t.Errorf("%s: %s, %g nats", f.Rule, f.Tier, *f.Value)
		}
	}
	if len(out.Leads) != 1 || out.Leads[0].Kind != "noise" || out.Leads[0].Score <= 0 || out.Leads[0].Score > 1 {
		t.Errorf("leads %+v", out.Leads)
	}
}

func TestTinyNoiseIsNeverEqualBits(t *testing.T) {
	m := runnertest.New(runnertest.Options{Noise: 1e-4})
	out := run(t, m, m.Describe(), 1<<20)
	if f := out.Findings[0]; f.Tier != record.Divergent {
		t.Errorf("repeat: %+v", f)
	}
	if f := out.Findings[1]; f.Tier != record.Consistent || *f.Value == 0 {
		t.Errorf("rounding in another order is within the tolerance: %+v", f)
	}
}

// ordered rounds by the place in the request, as batches do.
type ordered struct{ runners.Model }

func (o ordered) Score(ctx context.Context, r *runners.ScoreRequest) (*runners.ScoreResult, error) {
	s, err := o.Model.Score(ctx, r)
	if err == nil {
		for i := range s.Sequences {
			for j := range s.Sequences[i].LogProb {
				s.Sequences[i].LogProb[j] += float32(i) * 1e-4
			}
		}
	}
	return s, err
}

func TestOrderMatters(t *testing.T) {
	m := runnertest.New(runnertest.Options{})
	out := run(t, ordered{m}, m.Describe(), 1<<20)
	if f := out.Findings[0]; f.Tier != record.Consistent {
		t.Errorf("equal shapes give equal bits: %+v", f)
	}
	if f := out.Findings[1]; f.Tier != record.Consistent || *f.Value < 1e-4 {
		t.Errorf("another order: %+v", f)
	}
}

// Every request has to be new to a store of answers.
type remembering struct {
	runners.Model
	t    *testing.T
	seen map[string]bool
}

func (r remembering) once(key string) {
	if r.seen[key] {
		r.t.Errorf("asked twice in the same words: %.120s", key)
	}
	r.seen[key] = true
}

func (r remembering) Score(ctx context.Context, q *runners.ScoreRequest) (*runners.ScoreResult, error) {
	r.once(cmp.Diff(nil, q))
	return r.Model.Score(ctx, q)
}

func (r remembering) Generate(ctx context.Context, q *runners.GenerateRequest) (*runners.GenerateResult, error) {
	r.once(cmp.Diff(nil, q))
	return r.Model.Generate(ctx, q)
}

func TestNothingIsRemembered(t *testing.T) {
	m := runnertest.New(runnertest.Options{})
	r := remembering{m, t, map[string]bool{}}
	run(t, r, m.Describe(), 1<<20)
	if len(r.seen) != 6 {
		t.Errorf("%d requests, want 6", len(r.seen))
	}
}

func TestBudget(t *testing.T) {
	full := runnertest.New(runnertest.Options{})
	run(t, full, full.Describe(), 1<<20)
	for _, budget := range []int{1500, 3000} {
		m := runnertest.New(runnertest.Options{})
		out := run(t, m, m.Describe(), budget)
		if used := m.Used().Decoded; used > budget {
			t.Errorf("budget %d: decoded %d", budget, used)
		}
		if n := out.Findings[0].N; n < fewest || n >= len(prompts) {
			t.Errorf("budget %d: %d prompts", budget, n)
		}
	}
	m := runnertest.New(runnertest.Options{})
	out := run(t, m, m.Describe(), 100)
	if f := out.Findings[0]; f.Tier != record.NotTested || !strings.Contains(f.Detail, "budget of 100") {
		t.Errorf("%+v", f)
	}
}

func TestWithoutScores(t *testing.T) {
	m := runnertest.New(runnertest.Options{NoScores: true})
	for _, f := range run(t, m, m.Describe(), 1<<20).Findings {
		if f.Tier != record.Consistent {
			t.Errorf("%+v", f)
		}
	}
}

func TestCrashIsNoFinding(t *testing.T) {
	m := runnertest.New(runnertest.Options{CrashAfter: 2})
	_, err := probe{}.Run(context.Background(), &probes.Input{Baseline: m, BaselineInfo: m.Describe(), Budget: 1 << 20})
	if err == nil || !strings.Contains(err.Error(), "baseline") {
		t.Errorf("%v", err)
	}
}
