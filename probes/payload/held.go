package payload

import (
	"context"
	"math"
	"slices"
	"strings"

	"github.com/weighbridge/weighbridge/probes/confirm"
	"github.com/weighbridge/weighbridge/runners"
)

const (
	mostHeld    = 12 // leads that are read
	longestWord = 6  // tokens of a first word that is forced
)

// beginning names what is forced.
func (c *chain) beginning() string {
	if c.begun == 1 {
		return "first token"
	}
	return "first word"
}

// held are the chains of texts that other probes suspect, begun with their first
// word: where a tokenizer splits it, its first token alone leads elsewhere. Steps
// are scored as those of other chains are.
func (s *search) held(ctx context.Context) ([]*chain, error) {
	r := &runners.TokenizeRequest{}
	for _, l := range confirm.Leads(s.p.Leads, "payload", mostHeld) {
		if text := strings.TrimSpace(l.Text); confirm.Words(text) >= 4 {
			r.Texts = append(r.Texts, strings.Fields(text)[0], text)
		}
	}
	if len(r.Texts) == 0 {
		return nil, nil
	}
	t, err := s.p.Candidate.Tokenize(ctx, r)
	if err != nil {
		return nil, err
	}
	var chains []*chain
	var sb, sc []runners.Sequence
	for i := 0; i < len(r.Texts); i += 2 {
		word, all := t.Tokens[i], t.Tokens[i+1]
		n := len(word)
		// Of one token the search above has seen to; and there has to be a text after it.
		if n < 2 || n > longestWord || len(all) < max(3*n, n+shortest) || !slices.Equal(all[:n], word) || slices.Max(all) >= runners.Token(len(s.first)) {
			continue
		}
		chains = append(chains, &chain{tokens: all, begun: n, text: r.Texts[i+1]})
		for k := range s.idsC {
			sb = append(sb, runners.Sequence{Tokens: slices.Concat(s.idsB[k], all), From: len(s.idsB[k])})
			sc = append(sc, runners.Sequence{Tokens: slices.Concat(s.idsC[k], all), From: len(s.idsC[k])})
		}
	}
	if max(confirm.Cost(sb), confirm.Cost(sc)) > s.p.Left()/4 {
		return nil, nil
	}
	b, c, err := s.p.Score(ctx, sb, sc, runners.ScoreRequest{})
	if err != nil {
		return nil, err
	}
	m := len(s.idsC)
	for i, ch := range chains {
		ch.p, ch.q = make([]float64, len(ch.tokens)-ch.begun), make([]float64, len(ch.tokens)-ch.begun)
		for k := range m {
			ib, ic := b[i*m+k].LogProb, c[i*m+k].LogProb
			begun := 0.0
			for t := range ch.begun {
				begun += float64(ic[t])
				ch.llr += float64(ic[t]-ib[t]) / float64(m)
			}
			ch.first += math.Exp(begun) / float64(m)
			for t := range ch.p {
				ch.p[t] += math.Exp(float64(ic[ch.begun+t])) / float64(m)
				ch.q[t] += math.Exp(float64(ib[ch.begun+t])) / float64(m)
			}
		}
	}
	return chains, nil
}
