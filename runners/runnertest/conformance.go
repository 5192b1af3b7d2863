package runnertest

import (
	"math"
	"testing"

	"github.com/weighbridge/weighbridge/runners"
)

// Suite tests an implementation of [runners.Model] against the contract of
// package runners. open gives a fresh model each time, or the same one; the
// suite leaves it as it was. The model should have some hundred tokens of
// context, know ASCII text, and have a vocabulary with control tokens.
func Suite(t *testing.T, open func(t *testing.T) runners.Model) {
	for _, c := range []struct {
		name string
		test func(*testing.T, *probe)
	}{
		{"info", testInfo},
		{"tokens round trip", testRoundTrip},
		{"special tokens in text are text", testSpecialText},
		{"render hides special tokens in messages", testRenderSpecial},
		{"scores repeat exactly", testScoreRepeats},
		{"scores do not depend on company", testScoreCompany},
		{"score columns agree", testScoreColumns},
		{"next is a prediction like others", testScoreNext},
		{"sketch and rows agree with log-probabilities", testScoreSketchRows},
		{"generation repeats exactly", testGenerateRepeats},
		{"greedy generation follows the scores", testGreedy},
		{"sampling depends on seed and item", testSampling},
		{"stop strings", testStop},
		{"patterns", testPattern},
		{"ignoring the end", testIgnoreEOS},
		{"many items", testMany},
		{"usage", testUsage},
		{"refusals", testRefusals},
		{"cancelling", testCancel},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := open(t)
			info, err := m.Info(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			c.test(t, &probe{m, info})
		})
	}
}

// closeTo is how far equal predictions may lie apart, in nats, when they were
// computed in different batches.
const closeTo = 1e-2

type probe struct {
	runners.Model
	info *runners.Info
}

func (p *probe) ids(t *testing.T, text string) []runners.Token {
	t.Helper()
	r, err := p.Tokenize(t.Context(), &runners.TokenizeRequest{Texts: []string{text}, AddBOS: true})
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Tokens[0]) < 2 {
		t.Fatalf("%q is the tokens %v; the suite needs two at least", text, r.Tokens[0])
	}
	return r.Tokens[0]
}

// sequences share prefixes in several ways: none, a long one, one that is a
// prefix of another, and equal ones.
func (p *probe) sequences(t *testing.T) []runners.Sequence {
	t.Helper()
	var out []runners.Sequence
	for _, s := range []string{
		"The capital of France is a large city on a river.",
		"The capital of France is Paris",
		"The capital of France is Paris, and it is a large city.",
		"A completely different text 1 2 3 4 5.",
		"The capital of France is Paris",
		"one two three four",
	} {
		ids := p.ids(t, s)
		out = append(out, runners.Sequence{Tokens: ids, From: 1})
	}
	out[3].From = len(out[3].Tokens) / 2
	out[5].Next = true
	return out
}

func near(t *testing.T, what string, a, b []float32) {
	t.Helper()
	if len(a) != len(b) {
		t.Errorf("%s: %d and %d values", what, len(a), len(b))
		return
	}
	for i := range a {
		if d := math.Abs(float64(a[i]) - float64(b[i])); !(d <= closeTo) {
			t.Errorf("%s: %g and %g at %d", what, a[i], b[i], i)
		}
	}
}
