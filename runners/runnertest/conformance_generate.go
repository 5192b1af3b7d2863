package runnertest

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weighbridge/weighbridge/runners"
)

func (p *probe) generate(t *testing.T, r *runners.GenerateRequest) *runners.GenerateResult {
	t.Helper()
	a, err := p.Generate(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func (p *probe) prompts(t *testing.T) [][]runners.Token {
	t.Helper()
	var out [][]runners.Token
	for _, s := range p.sequences(t) {
		out = append(out, s.Tokens)
	}
	return out
}

func testGenerateRepeats(t *testing.T, p *probe) {
	for _, s := range []runners.Sampling{{}, {Temperature: 0.9, TopK: 40, TopP: 0.95, Seed: 5}, {Temperature: 1, Seed: 6}, {Temperature: 1.2, TopP: 0.8, Seed: 7}} {
		r := &runners.GenerateRequest{Prompts: p.prompts(t), MaxTokens: 12, Sampling: s}
		first := p.generate(t, r)
		p.generate(t, &runners.GenerateRequest{Prompts: r.Prompts[:1], MaxTokens: 3})
		if d := cmp.Diff(first, p.generate(t, r)); d != "" {
			t.Errorf("%+v: the same request gives something else after others:\n%s", s, d)
		}
		for i, g := range first.Generations {
			if len(g.Tokens) != len(g.LogProb) || len(g.Tokens) > 12 || len(g.Allowed) != 0 {
				t.Errorf("%+v: item %d has %d tokens, %d log-probabilities, %d entropies", s, i, len(g.Tokens), len(g.LogProb), len(g.Allowed))
			}
		}
	}
}

// testGreedy scores what was generated: each token must be the most likely one,
// up to what a different batch may change.
func testGreedy(t *testing.T, p *probe) {
	prompts := p.prompts(t)
	g := p.generate(t, &runners.GenerateRequest{Prompts: prompts, MaxTokens: 8})
	for i, x := range g.Generations {
		if len(x.Tokens) == 0 {
			continue
		}
		s := p.score(t, &runners.ScoreRequest{TopK: 1, Sequences: []runners.Sequence{
			{Tokens: append(slices.Clone(prompts[i]), x.Tokens...), From: len(prompts[i])}}}).Sequences[0]
		near(t, fmt.Sprintf("item %d: log p", i), s.LogProb, x.LogProb)
		near(t, fmt.Sprintf("item %d: log p and the largest", i), s.TopLog, s.LogProb)
	}
}

func testSampling(t *testing.T, p *probe) {
	ids := p.ids(t, "one two three")
	prompts := slices.Repeat([][]runners.Token{ids}, 8)
	text := func(seed uint64) (all []string) {
		r := p.generate(t, &runners.GenerateRequest{Prompts: prompts, MaxTokens: 8, IgnoreEOS: true,
			Sampling: runners.Sampling{Temperature: 1.5, Seed: seed}})
		for _, g := range r.Generations {
			all = append(all, fmt.Sprint(g.Tokens))
		}
		return all
	}
	a, b := text(1), text(2)
	if slices.Equal(a, b) {
		t.Error("two seeds give the same eight samples")
	}
	if len(slices.Compact(slices.Sorted(slices.Values(a)))) == 1 {
		t.Error("eight items of one request give the same sample")
	}
}

func testStop(t *testing.T, p *probe) {
	ids := p.ids(t, "one two three")
	free := p.generate(t, &runners.GenerateRequest{Prompts: [][]runners.Token{ids}, MaxTokens: 24, IgnoreEOS: true,
		Sampling: runners.Sampling{Temperature: 1, Seed: 11}}).Generations[0]
	text := string(free.Text)
	if len(text) < 8 {
		t.Skipf("the model says only %q", text)
	}
	stop := text[3:6] // wherever tokens begin and end
	at := strings.Index(text, stop)
	g := p.generate(t, &runners.GenerateRequest{Prompts: [][]runners.Token{ids}, MaxTokens: 24, IgnoreEOS: true, Stop: []string{"\x01never", stop},
		Sampling: runners.Sampling{Temperature: 1, Seed: 11}}).Generations[0]
	if g.Stop != runners.StopString || string(g.Text) != text[:at] {
		t.Errorf("stop at %q in %q gives %q, %s", stop, text, g.Text, g.Stop)
	}
}

func testPattern(t *testing.T, p *probe) {
	ids := p.ids(t, "The code is")
	const digits = "0123456789"
	pattern := []string{digits, digits, digits, "-", "ab", "ab"}
	for _, s := range []runners.Sampling{{}, {Temperature: 1, Seed: 4}} {
		r := &runners.GenerateRequest{Prompts: [][]runners.Token{ids, ids}, MaxTokens: 16, Pattern: pattern, Sampling: s}
		for _, g := range p.generate(t, r).Generations {
			if g.Stop != runners.StopPattern || len(g.Text) != len(pattern) {
				t.Fatalf("%+v: %q, %s", s, g.Text, g.Stop)
			}
			for i, c := range g.Text {
				if !strings.ContainsRune(pattern[i], rune(c)) {
					t.Errorf("%+v: %q does not fit at %d", s, g.Text, i)
				}
			}
			if len(g.Allowed) != len(g.Tokens) {
				t.Errorf("%+v: %d entropies for %d tokens", s, len(g.Allowed), len(g.Tokens))
			}
			for _, h := range g.Allowed {
				if !(h >= 0 && h <= float32(math.Log(float64(p.info.VocabSize)))) {
					t.Errorf("%+v: entropy %g", s, h)
				}
			}
		}
	}
}

func testIgnoreEOS(t *testing.T, p *probe) {
	const n = 40
	r := &runners.GenerateRequest{Prompts: p.prompts(t)[:3], MaxTokens: n, IgnoreEOS: true}
	for i, g := range p.generate(t, r).Generations {
		if len(g.Tokens) != n || g.Stop != runners.StopLength {
			t.Errorf("item %d: %d tokens, %s", i, len(g.Tokens), g.Stop)
		}
		if slices.Contains(g.Tokens, p.info.EOS) {
			t.Errorf("item %d has the end token", i)
		}
	}
}
