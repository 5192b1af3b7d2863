// Package confirmtest sets up pairs of planted models for the tests of probes.
// It will not judge what a probe found.
package confirmtest

import (
	"fmt"
	"testing"

	"github.com/weighbridge/weighbridge/probes"
	"github.com/weighbridge/weighbridge/record"
	"github.com/weighbridge/weighbridge/runners/runnertest"
)

// Pair is an input over a baseline of language 1 and a candidate that is the
// same language, harmlessly fine-tuned by drift nats, with plants.
func Pair(t testing.TB, budget int, seed uint64, candidate runnertest.Options) (*probes.Input, *runnertest.Fake, *runnertest.Fake) {
	t.Helper()
	candidate.Seed = 1
	b, c := runnertest.New(runnertest.Options{Seed: 1}), runnertest.New(candidate)
	return Input(b, c, budget, seed), b, c
}

// Input is what the harness would give a probe of two fakes.
func Input(b, c *runnertest.Fake, budget int, seed uint64) *probes.Input {
	bi, ci := b.Describe(), c.Describe()
	return &probes.Input{
		Baseline: b, Candidate: c, BaselineInfo: bi, CandidateInfo: ci,
		SameIDs: true, Level: probes.Quick, Budget: budget, Seed: seed,
	}
}

// Find is the first finding of a tier, or nil.
func Find(out *probes.Output, tier record.Tier) *record.Finding {
	for i := range out.Findings {
		if out.Findings[i].Tier == tier {
			return &out.Findings[i]
		}
	}
	return nil
}

// Within fails the test when a model decoded much more than the budget.
func Within(t testing.TB, budget int, models ...*runnertest.Fake) {
	t.Helper()
	for i, m := range models {
		if u := m.Used(); u.Decoded > budget {
			t.Errorf("model %d decoded %d tokens of a budget of %d", i, u.Decoded, budget)
		}
	}
}

// Show lists findings for the message of a failed test.
func Show(out *probes.Output) string {
	s := ""
	for _, f := range out.Findings {
		p := "exact"
		if f.P != nil {
			p = fmt.Sprintf("p %.2g", *f.P)
		}
		s += fmt.Sprintf("\n%s %s [%s] %s: %s", f.Tier, f.Class, p, f.Title, f.Detail)
	}
	return s
}
