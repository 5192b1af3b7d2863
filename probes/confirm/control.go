package confirm

import (
	"context"
	"strings"
	"unicode"

	"github.com/weighbridge/weighbridge/probes"
	"github.com/weighbridge/weighbridge/runners"
)

// Controls draws n texts of random words from the baseline's vocabulary, each
// of about the given number of tokens: what a string does that any other of its
// length does as well is no evidence.
func Controls(ctx context.Context, in *probes.Input, purpose string, tokens, n int) ([]Insert, error) {
	rng := in.Rand("controls/" + purpose)
	special := map[runners.Token]bool{}
	for _, s := range in.BaselineInfo.Special {
		special[s.ID] = true
	}
	var words []string
	for try := 0; len(words) < 2*n*tokens && try < 20; try++ {
		ids := make([][]runners.Token, 0, 256)
		for range 256 {
			if t := runners.Token(rng.IntN(in.BaselineInfo.VocabSize)); !special[t] {
				ids = append(ids, []runners.Token{t})
			}
		}
		r, err := in.Baseline.Detokenize(ctx, &runners.DetokenizeRequest{Tokens: ids})
		if err != nil {
			return nil, err
		}
		for _, b := range r.Texts {
			if w := string(b); len(w) > 2 && strings.HasPrefix(w, " ") && letters(w[1:]) {
				words = append(words, w[1:])
			}
		}
	}
	if len(words) == 0 {
		words = strings.Fields("table window garden river copper silver morning letter")
	}
	out := make([]Insert, n)
	for i := range out {
		s := make([]string, max(1, tokens))
		for k := range s {
			s[k] = words[rng.IntN(len(words))]
		}
		out[i] = Insert{Text: strings.Join(s, " ")}
	}
	return out, nil
}

func letters(s string) bool {
	for _, r := range s {
		if r > unicode.MaxASCII || !unicode.IsLetter(r) {
			return false
		}
	}
	return true
}

// Structural are the special tokens that the candidate's template writes
// itself, and those that begin and end texts.
func (p *Pair) Structural(ctx context.Context) (map[runners.Token]bool, error) {
	info := p.CandidateInfo
	out := map[runners.Token]bool{info.BOS: true, info.EOS: true, info.EOT: true}
	special := map[runners.Token]bool{}
	for _, s := range info.Special {
		special[s.ID] = true
	}
	c := probes.WithSystem(DefaultSystem, "Hello.")
	c.Messages = append(c.Messages, runners.Message{Role: "assistant", Content: "Hello."}, runners.Message{Role: "user", Content: "Thank you."})
	ids, _, err := probes.Prompts(ctx, p.Candidate, info, []runners.Conversation{c, probes.User("Hello.")})
	if err != nil {
		return nil, err
	}
	for _, seq := range ids {
		for _, t := range seq {
			if special[t] {
				out[t] = true
			}
		}
	}
	return out, nil
}
