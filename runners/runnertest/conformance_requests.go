package runnertest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weighbridge/weighbridge/runners"
)

// testMany asks more items than any batch or set of sequences holds.
func testMany(t *testing.T, p *probe) {
	base := p.ids(t, "The capital of France is")
	var seqs []runners.Sequence
	var prompts [][]runners.Token
	const n = 600
	for i := range n {
		ids := append(slices.Clone(base), runners.Token(i%p.info.VocabSize), base[1], runners.Token(i/7%p.info.VocabSize))
		seqs = append(seqs, runners.Sequence{Tokens: ids, From: len(base)})
		prompts = append(prompts, base[:1+i%(len(base)-1)])
	}
	some := []int{0, 1, 255, 256, 299, n - 1}
	r := &runners.ScoreRequest{Sequences: seqs}
	all := p.score(t, r)
	for _, i := range some {
		one := p.score(t, &runners.ScoreRequest{Sequences: seqs[i : i+1]}).Sequences[0]
		near(t, fmt.Sprintf("sequence %d: log p", i), one.LogProb, all.Sequences[i].LogProb)
	}
	if len(all.Sequences) != n {
		t.Fatalf("%d sequences", len(all.Sequences))
	}
	g := p.generate(t, &runners.GenerateRequest{Prompts: prompts, MaxTokens: 2})
	for i, x := range g.Generations {
		if len(x.Tokens) == 0 && x.Stop != runners.StopEnd {
			t.Errorf("item %d: no token, %s", i, x.Stop)
		}
	}
}

func testUsage(t *testing.T, p *probe) {
	ids := p.ids(t, "The capital of France is a large city on a river.")
	var seqs []runners.Sequence
	asked := 0
	for i := range 8 {
		s := append(slices.Clone(ids), runners.Token(i), ids[1])
		seqs = append(seqs, runners.Sequence{Tokens: s, From: len(ids)})
		asked += len(s)
	}
	u := p.score(t, &runners.ScoreRequest{Sequences: seqs}).Usage
	if u.Asked != asked || u.Decoded < len(ids)+8 || u.Decoded > len(ids)+16 {
		t.Errorf("eight sequences that share %d of %d tokens: %+v", len(ids), len(ids)+2, u)
	}
	g := p.generate(t, &runners.GenerateRequest{Prompts: [][]runners.Token{ids}, MaxTokens: 3, IgnoreEOS: true}).Usage
	if g.Asked != len(ids)+3 || g.Decoded < len(ids) || g.Decoded > g.Asked {
		t.Errorf("three tokens after %d: %+v", len(ids), g)
	}
}

func testRefusals(t *testing.T, p *probe) {
	ids := p.ids(t, "one two")
	bad := runners.Token(p.info.VocabSize)
	long := slices.Repeat(ids[1:2], p.info.ContextLength+1)
	seq := func(s ...runners.Sequence) *runners.ScoreRequest { return &runners.ScoreRequest{Sequences: s} }
	good := runners.Sequence{Tokens: ids, From: 1}
	cases := []struct {
		name string
		code runners.Code
		item int
		ask  func(ctx context.Context) error
	}{
		{"score: token outside", runners.CodeToken, 1, scores(p, seq(good, runners.Sequence{Tokens: []runners.Token{ids[0], bad}, From: 1}))},
		{"score: negative token", runners.CodeToken, 0, scores(p, seq(runners.Sequence{Tokens: []runners.Token{ids[0], -1}, From: 1}))},
		{"score: from 0", runners.CodeInvalid, 0, scores(p, seq(runners.Sequence{Tokens: ids, From: 0}))},
		{"score: from past the end", runners.CodeInvalid, 1, scores(p, seq(good, runners.Sequence{Tokens: ids, From: len(ids) + 1}))},
		{"score: no prediction", runners.CodeInvalid, 0, scores(p, seq(runners.Sequence{Tokens: ids, From: len(ids)}))},
		{"score: empty", runners.CodeInvalid, 0, scores(p, seq(runners.Sequence{From: 1}))},
		{"score: too long", runners.CodeContext, 0, scores(p, seq(runners.Sequence{Tokens: long, From: 1}))},
		{"score: too many", runners.CodeTooLarge, -1, scores(p, seq(make([]runners.Sequence, runners.MaxItems+1)...))},
		{"score: top-k", runners.CodeTooLarge, -1, scores(p, &runners.ScoreRequest{Sequences: []runners.Sequence{good}, TopK: runners.MaxTopK + 1})},
		{"score: want outside", runners.CodeToken, -1, scores(p, &runners.ScoreRequest{Sequences: []runners.Sequence{good}, Want: []runners.Token{bad}})},
		{"score: one bucket", runners.CodeTooLarge, -1, scores(p, &runners.ScoreRequest{Sequences: []runners.Sequence{good}, Sketch: &runners.Sketch{Buckets: 1}})},
		{"generate: no tokens", runners.CodeInvalid, -1, generates(p, &runners.GenerateRequest{Prompts: [][]runners.Token{ids}})},
		{"generate: empty prompt", runners.CodeInvalid, 1, generates(p, &runners.GenerateRequest{Prompts: [][]runners.Token{ids, {}}, MaxTokens: 1})},
		{"generate: token outside", runners.CodeToken, 0, generates(p, &runners.GenerateRequest{Prompts: [][]runners.Token{{bad}}, MaxTokens: 1})},
		{"generate: too long", runners.CodeContext, 0, generates(p, &runners.GenerateRequest{Prompts: [][]runners.Token{long}, MaxTokens: 1})},
		{"generate: too many", runners.CodeTooLarge, -1, generates(p, &runners.GenerateRequest{Prompts: make([][]runners.Token, runners.MaxItems+1), MaxTokens: 1})},
		{"detokenize: token outside", runners.CodeToken, 0, func(ctx context.Context) error {
			_, err := p.Detokenize(ctx, &runners.DetokenizeRequest{Tokens: [][]runners.Token{{bad}}})
			return err
		}},
		{"tokenize: too many", runners.CodeTooLarge, -1, func(ctx context.Context) error {
			_, err := p.Tokenize(ctx, &runners.TokenizeRequest{Texts: make([]string, runners.MaxItems+1)})
			return err
		}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			err := c.ask(t.Context())
			var e *runners.Error
			if !errors.As(err, &e) {
				t.Fatalf("the error is %v", err)
			}
			if !p.info.CanScore && e.Code == runners.CodeUnsupported {
				return
			}
			if e.Code != c.code || e.Item != c.item || e.Message == "" {
				t.Errorf("refused with %q about item %d (%s), want %q, %d", e.Code, e.Item, e.Message, c.code, c.item)
			}
		})
	}
	p.generate(t, &runners.GenerateRequest{Prompts: [][]runners.Token{ids}, MaxTokens: 1})
}

func scores(p *probe, r *runners.ScoreRequest) func(context.Context) error {
	return func(ctx context.Context) error { _, err := p.Score(ctx, r); return err }
}

func generates(p *probe, r *runners.GenerateRequest) func(context.Context) error {
	return func(ctx context.Context) error { _, err := p.Generate(ctx, r); return err }
}

// testCancel gives up a request in its middle; the next one must not notice.
func testCancel(t *testing.T, p *probe) {
	ids := p.ids(t, "one two three four five six seven eight nine ten")
	small := &runners.GenerateRequest{Prompts: [][]runners.Token{ids}, MaxTokens: 4}
	before := p.generate(t, small)
	big := &runners.GenerateRequest{Prompts: slices.Repeat([][]runners.Token{ids}, 200), IgnoreEOS: true,
		MaxTokens: p.info.ContextLength - len(ids), Sampling: runners.Sampling{Temperature: 1}}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := p.Generate(ctx, big); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a cancelled request fails with %v", err)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := p.Generate(gone, small); !errors.Is(err, context.Canceled) {
		t.Errorf("a request that was cancelled before fails with %v", err)
	}
	if d := cmp.Diff(before, p.generate(t, small)); d != "" {
		t.Errorf("after a cancelled request:\n%s", d)
	}
}
