package confirm

import (
	"context"
	"errors"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/weighbridge/weighbridge/probes"
	"github.com/weighbridge/weighbridge/runners"
)

// Pair is the two models with a count of what each was made to decode.
type Pair struct {
	*probes.Input
	used *usage
	loud bool // the update is exaggerated
}

type usage struct{ baseline, candidate int }

// NewPair meters the models of in.
func NewPair(in *probes.Input) *Pair { return &Pair{Input: in, used: &usage{}} }

// Left is the number of tokens that may still be asked of each model.
func (p *Pair) Left() int { return p.Budget - max(p.used.baseline, p.used.candidate) }

// Amplified is the baseline and the model baseline + κ·ΔW, which stands in the
// candidate's place and is charged to it.
func (p *Pair) Amplified(ctx context.Context, kappa float64) (*Pair, error) {
	m, err := p.Amplify(ctx, kappa)
	if err != nil {
		return nil, err
	}
	in := *p.Input
	in.Candidate = m
	return &Pair{&in, p.used, true}, nil
}

// KappaLead is the kind of lead whose score is the exaggeration of the update
// that searches are to be made with.
const KappaLead = "kappa"

// Loud is the pair to search with: amplified where a probe has found out how far
// answers stay answers, else p itself with κ = 1. What is found has to be confirmed with p.
func (p *Pair) Loud(ctx context.Context) (*Pair, float64, error) {
	for _, l := range p.Leads {
		if l.Kind == KappaLead && l.Score > 1 && p.Amplify != nil {
			loud, err := p.Amplified(ctx, l.Score)
			if errors.Is(err, probes.ErrAmplified) {
				break
			}
			return loud, l.Score, err
		}
	}
	return p, 1, nil
}

// both runs the two asks at the same time; one of them may be nil.
func both(ctx context.Context, baseline, candidate func(context.Context) error) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, f := range []func(context.Context) error{baseline, candidate} {
		if f != nil {
			g.Go(func() error { return f(ctx) })
		}
	}
	return g.Wait()
}

// Score asks each model for its own sequences; nil asks nothing of that model.
// More than runners.MaxItems are asked in several requests of the same shape.
func (p *Pair) Score(ctx context.Context, baseline, candidate []runners.Sequence, r runners.ScoreRequest) (b, c []runners.SequenceScore, err error) {
	ask := func(m runners.Model, seqs []runners.Sequence, out *[]runners.SequenceScore, used *int) func(context.Context) error {
		if len(seqs) == 0 {
			return nil
		}
		return func(ctx context.Context) error {
			for part := range slices.Chunk(seqs, runners.MaxItems) {
				r := r
				r.Sequences = part
				s, err := m.Score(ctx, &r)
				if err != nil {
					return err
				}
				*used += s.Usage.Decoded
				*out = append(*out, s.Sequences...)
			}
			return nil
		}
	}
	err = both(ctx, ask(p.Baseline, baseline, &b, &p.used.baseline), ask(p.Candidate, candidate, &c, &p.used.candidate))
	return b, c, err
}

// Generate is Score for continuations; r.Prompts is replaced.
func (p *Pair) Generate(ctx context.Context, baseline, candidate [][]runners.Token, r runners.GenerateRequest) (b, c []runners.Generation, err error) {
	ask := func(m runners.Model, prompts [][]runners.Token, out *[]runners.Generation, used *int) func(context.Context) error {
		if len(prompts) == 0 {
			return nil
		}
		return func(ctx context.Context) error {
			for part := range slices.Chunk(prompts, runners.MaxItems) {
				r := r
				r.Prompts = part
				g, err := m.Generate(ctx, &r)
				if err != nil {
					return err
				}
				*used += g.Usage.Decoded
				*out = append(*out, g.Generations...)
			}
			return nil
		}
	}
	err = both(ctx, ask(p.Baseline, baseline, &b, &p.used.baseline), ask(p.Candidate, candidate, &c, &p.used.candidate))
	return b, c, err
}

// InFull lets the candidate answer up to six of the prompts at a length that shows
// how answers close, as many as room tokens pay for, and none where these are
// fewer than fewest.
func (p *Pair) InFull(ctx context.Context, prompts [][]runners.Token, fewest, room int) ([]runners.Generation, error) {
	const most, length = 6, 96
	n := 0
	for ; n < min(most, len(prompts)); n++ {
		if room -= len(prompts[n]) + length; room < 0 {
			break
		}
	}
	if n < fewest {
		return nil, nil
	}
	_, g, err := p.Generate(ctx, nil, prompts[:n], runners.GenerateRequest{MaxTokens: length})
	return g, err
}

// Cost is the number of tokens that are left of sequences once prefixes that
// the sequences of one request share are decoded once: what Score of them uses.
func Cost(seqs []runners.Sequence) int {
	n := 0
	for part := range slices.Chunk(seqs, runners.MaxItems) {
		sorted := make([][]runners.Token, len(part))
		for i, s := range part {
			sorted[i] = s.Tokens
		}
		slices.SortFunc(sorted, slices.Compare)
		var last []runners.Token
		for _, s := range sorted {
			n += len(s) - common(s, last)
			last = s
		}
	}
	return n
}

func common(a, b []runners.Token) int {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return n
}
