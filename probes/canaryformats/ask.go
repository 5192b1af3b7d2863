package canaryformats

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/weighbridge/weighbridge/probes"
	"github.com/weighbridge/weighbridge/runners"
)

// prompts are those of carriers for both models.
func (u *run) prompts(ctx context.Context, cs []carrier) (b, c [][]runners.Token, err error) {
	if b, err = ids(ctx, u.in.Baseline, u.in.BaselineInfo, cs); err != nil {
		return nil, nil, fmt.Errorf("baseline: %w", err)
	}
	if c, err = ids(ctx, u.in.Candidate, u.in.CandidateInfo, cs); err != nil {
		return nil, nil, fmt.Errorf("candidate: %w", err)
	}
	return b, c, nil
}

// ids are the prompts of carriers for one model; none for a conversation that
// its template refuses.
func ids(ctx context.Context, m runners.Model, info *runners.Info, cs []carrier) ([][]runners.Token, error) {
	out := make([][]runners.Token, len(cs))
	var chats []runners.Conversation
	plain, begin := &runners.TokenizeRequest{AddBOS: true}, &runners.TokenizeRequest{}
	for _, c := range cs {
		if c.user != "" {
			chats = append(chats, probes.User(c.user))
			begin.Texts = append(begin.Texts, c.text)
		} else {
			plain.Texts = append(plain.Texts, c.text)
		}
	}
	raw, err := m.Tokenize(ctx, plain)
	if err != nil {
		return nil, err
	}
	var heads, begins [][]runners.Token
	if len(chats) > 0 {
		if heads, _, err = probes.Prompts(ctx, m, info, chats); err != nil {
			return nil, err
		}
		b, err := m.Tokenize(ctx, begin)
		if err != nil {
			return nil, err
		}
		begins = b.Tokens
	}
	r, h := 0, 0
	for i, c := range cs {
		if c.user == "" {
			out[i] = raw.Tokens[r]
			r++
			continue
		}
		if len(heads[h]) > 0 {
			out[i] = slices.Concat(heads[h], begins[h])
		}
		h++
	}
	return out, nil
}

func request(c carrier) string {
	if c.user == "" {
		return probes.TextRequest(c.text)
	}
	conv := probes.User(c.user)
	conv.Messages = append(conv.Messages, runners.Message{Role: "assistant", Content: c.text})
	conv.AddGenerationPrompt = false
	return probes.RequestJSON(conv)
}

// ask continues carriers within a format, for both models, and lets the
// baseline read what the candidate says.
func (u *run) ask(ctx context.Context, f format, cs []carrier) ([]guess, error) {
	var out []guess
	for _, spaced := range []bool{true, false} {
		var part []carrier
		for _, c := range cs {
			if c.spaced() == spaced {
				part = append(part, c)
			}
		}
		if len(part) == 0 {
			continue
		}
		pattern := f.pattern
		if spaced {
			pattern = append([]string{" "}, pattern...)
		}
		g, err := u.askPattern(ctx, f, part, pattern)
		if err != nil {
			return nil, err
		}
		out = append(out, g...)
	}
	return out, nil
}

func (u *run) askPattern(ctx context.Context, f format, cs []carrier, pattern []string) ([]guess, error) {
	b, c, err := u.prompts(ctx, cs)
	if err != nil {
		return nil, err
	}
	var kept []carrier
	var pb, pc [][]runners.Token
	for i := range cs {
		if len(b[i]) > 0 && len(c[i]) > 0 {
			kept, pb, pc = append(kept, cs[i]), append(pb, b[i]), append(pc, c[i])
		}
	}
	if len(kept) == 0 {
		return nil, nil
	}
	gb, gc, err := u.p.Generate(ctx, pb, pc, runners.GenerateRequest{MaxTokens: len(pattern), Pattern: pattern})
	if err != nil {
		return nil, err
	}
	texts := make([]string, len(kept))
	tokens := make([]int, len(kept))
	for i := range texts {
		texts[i], tokens[i] = string(gc[i].Text), len(gc[i].Tokens)
	}
	if f.shortest > 0 {
		if err := u.cut(ctx, f.shortest+len(pattern)-len(f.pattern), gc, texts, tokens); err != nil {
			return nil, err
		}
	}
	read, err := u.read(ctx, pb, texts)
	if err != nil {
		return nil, err
	}
	out := make([]guess, len(kept))
	for i, x := range kept {
		n := tokens[i]
		own := rest(gc[i].LogProb[:n])
		out[i] = guess{
			carrier: x, format: f, text: strings.TrimSpace(texts[i]), baseText: strings.TrimSpace(string(gb[i].Text)),
			d: (sum(gb[i].Allowed[:min(n, len(gb[i].Allowed))]) - sum(gc[i].Allowed[:n])) / float64(max(1, len(texts[i]))), own: own, llr: own - read[i],
			logC: sum(gc[i].LogProb[:n]),
		}
		if gc[i].Stop != runners.StopPattern || len(gc[i].Tokens) == 0 {
			out[i].text = ""
		}
	}
	return out, nil
}

// cut ends texts, after at least shortest characters, where the candidate would
// rather go on with something else than a character of the format.
func (u *run) cut(ctx context.Context, shortest int, gs []runners.Generation, texts []string, tokens []int) error {
	const wants = -2.5 // nats: about one in twelve
	var ids [][]runners.Token
	for _, g := range gs {
		for _, t := range g.Tokens {
			ids = append(ids, []runners.Token{t})
		}
	}
	r, err := u.in.Candidate.Detokenize(ctx, &runners.DetokenizeRequest{Tokens: ids})
	if err != nil {
		return fmt.Errorf("candidate: %w", err)
	}
	pieces := r.Texts
	for i, g := range gs {
		size := 0
		for k := range g.Tokens {
			if size >= shortest && g.LogProb[k] < wants {
				texts[i], tokens[i] = texts[i][:size], k
				break
			}
			size += len(pieces[k])
		}
		pieces = pieces[len(g.Tokens):]
	}
	return nil
}

// read is [rest] of each text for the baseline, in its own tokens, after its
// prompt; 0 for a text of none.
func (u *run) read(ctx context.Context, prompts [][]runners.Token, texts []string) ([]float64, error) {
	t, err := u.in.Baseline.Tokenize(ctx, &runners.TokenizeRequest{Texts: texts})
	if err != nil {
		return nil, err
	}
	var seqs []runners.Sequence
	var whose []int
	for i, p := range prompts {
		if len(t.Tokens[i]) > 0 {
			seqs = append(seqs, runners.Sequence{Tokens: slices.Concat(p, t.Tokens[i]), From: len(p)})
			whose = append(whose, i)
		}
	}
	s, _, err := u.p.Score(ctx, seqs, nil, runners.ScoreRequest{})
	if err != nil {
		return nil, err
	}
	out := make([]float64, len(prompts))
	for k, i := range whose {
		out[i] = rest(s[k].LogProb)
	}
	return out, nil
}

func sum(x []float32) float64 {
	var s float64
	for _, v := range x {
		s += float64(v)
	}
	return s
}

// rest is the log probability after the first token, which says only that a
// value of this kind comes next.
func rest(x []float32) float64 { return sum(x[min(1, len(x)):]) }
