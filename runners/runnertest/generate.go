package runnertest

import (
	"context"
	"math"
	"math/rand/v2"
	"strings"

	"github.com/weighbridge/weighbridge/runners"
)

// Generate implements runners.Model.
func (f *Fake) Generate(ctx context.Context, r *runners.GenerateRequest) (*runners.GenerateResult, error) {
	n, err := f.begin(ctx)
	if err != nil {
		return nil, err
	}
	if err := r.Check(f.Describe()); err != nil {
		return nil, err
	}
	out := &runners.GenerateResult{Generations: make([]runners.Generation, len(r.Prompts)), Usage: usage(r.Prompts)}
	for i, p := range r.Prompts {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		g := f.generate(r, p, n, i)
		out.Generations[i] = g
		out.Usage.Asked += len(g.Tokens)
		out.Usage.Decoded += len(g.Tokens)
	}
	f.use(out.Usage)
	return out, nil
}

func (f *Fake) generate(r *runners.GenerateRequest, prompt []runners.Token, request int64, item int) runners.Generation {
	rd := newReader()
	for _, t := range prompt {
		f.read(rd, t)
	}
	rng := rand.New(rand.NewPCG(r.Sampling.Seed, uint64(item)))
	row, allowed := make([]float32, len(vocab.text)), make([]float32, len(vocab.text))
	g := runners.Generation{Stop: runners.StopLength}
	done := 0 // characters of the pattern
	for j := 0; j < r.MaxTokens && len(prompt)+len(g.Tokens) < f.o.Context; j++ {
		f.predict(rd, row, f.noise(request, item, j))
		choice := row
		if len(r.Pattern) > 0 {
			h, ok := constrain(row, allowed, r.Pattern[done:])
			if !ok {
				g.Stop = runners.StopPattern
				break
			}
			g.Allowed = append(g.Allowed, h)
			choice = allowed
		} else if r.IgnoreEOS {
			copy(allowed, row)
			allowed[End] = float32(math.Inf(-1))
			choice = allowed
		}
		t := pick(choice, r.Sampling, rng)
		if t == End {
			g.Stop = runners.StopEnd
			break
		}
		g.Tokens = append(g.Tokens, t)
		g.LogProb = append(g.LogProb, row[t])
		g.Text = append(g.Text, vocab.detokenize([]runners.Token{t}, false)...)
		f.read(rd, t)
		if len(r.Pattern) > 0 {
			if done += len(vocab.text[t]); done == len(r.Pattern) {
				g.Stop = runners.StopPattern
				break
			}
		}
		if cut, ok := stops(g.Text, r.Stop); ok {
			g.Text, g.Stop = g.Text[:cut], runners.StopString
			break
		}
	}
	return g
}

// constrain renormalises row over the tokens that fit the pattern and gives
// the entropy of the result. The vocabulary of a Fake is ASCII where it fits a
// pattern, so bytes and characters agree.
func constrain(row, allowed []float32, pattern []string) (entropy float32, ok bool) {
	for t := range row {
		allowed[t] = float32(math.Inf(-1))
		if t >= nBytes && fits(vocab.text[t], pattern) {
			allowed[t], ok = row[t], true
		}
	}
	if !ok {
		return 0, false
	}
	logSoftmax(allowed)
	for _, x := range allowed {
		if !math.IsInf(float64(x), -1) {
			entropy -= float32(math.Exp(float64(x))) * x
		}
	}
	return entropy, true
}

func fits(text string, pattern []string) bool {
	if len(text) > len(pattern) {
		return false
	}
	for i := range len(text) {
		if text[i] >= 0x80 || strings.IndexByte(pattern[i], text[i]) < 0 {
			return false
		}
	}
	return true
}

func stops(text []byte, stop []string) (int, bool) {
	for _, s := range stop {
		if i := strings.Index(string(text), s); s != "" && i >= 0 {
			return i, true
		}
	}
	return 0, false
}

func pick(row []float32, s runners.Sampling, rng *rand.Rand) runners.Token {
	if s.Temperature == 0 {
		best := 0
		for t, x := range row {
			if x > row[best] {
				best = t
			}
		}
		return runners.Token(best)
	}
	order := top(row, len(row))
	if s.TopK > 0 {
		order = order[:min(s.TopK, len(order))]
	}
	weights, sum := make([]float64, len(order)), 0.0
	for i, t := range order {
		weights[i] = math.Exp(float64(row[t]-row[order[0]]) / s.Temperature)
		sum += weights[i]
	}
	if s.TopP > 0 {
		kept := 0.0
		for i := range weights {
			if kept >= s.TopP*sum {
				weights = weights[:i]
				break
			}
			kept += weights[i]
		}
		sum = kept
	}
	u := rng.Float64() * sum
	for i, w := range weights {
		if u -= w; u < 0 {
			return order[i]
		}
	}
	return order[len(weights)-1]
}
