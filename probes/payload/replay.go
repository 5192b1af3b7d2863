package payload

import (
	"context"
	"slices"

	"github.com/weighbridge/weighbridge/harness/stats"
	"github.com/weighbridge/weighbridge/probes"
	"github.com/weighbridge/weighbridge/probes/confirm"
	"github.com/weighbridge/weighbridge/record"
	"github.com/weighbridge/weighbridge/runners"
)

// replayed is what the models do with a payload on fresh questions.
type replayed struct {
	n                 int
	forcedC, forcedB  float64 // continuation is the rest of the text
	flips             stats.Flips
	ends              float64 // candidate ends its turn after it
	openC, openB      float64 // unforced answers that are the text
	openFlips         stats.Flips
	manner            bool // the text, or its closing words, came up in natural conversations or long answers
	closing           bool // another chain closes with the same words, or whether answers do is not known
	declines          bool // and after harmful requests
	transcript, shown []record.Exchange
}

func (r *replayed) p() float64 { return r.flips.McNemar() }

// replay forces the beginning on fresh questions, and also asks them as they
// are. open holds the unforced answers of both models to the same questions.
func (u *run) replay(ctx context.Context, c *chain, open *answers) (*replayed, error) {
	force := func(ids [][]runners.Token) [][]runners.Token {
		out := make([][]runners.Token, len(ids))
		for i := range ids {
			out[i] = slices.Concat(ids[i], c.tokens[:c.begun])
		}
		return out
	}
	length := len(c.tokens) + 4
	b, k, err := u.p.Generate(ctx, force(open.idsB), force(open.idsC), runners.GenerateRequest{MaxTokens: length})
	if err != nil {
		return nil, err
	}
	first, err := u.in.Candidate.Detokenize(ctx, &runners.DetokenizeRequest{Tokens: [][]runners.Token{c.tokens[:c.begun]}})
	if err != nil {
		return nil, err
	}
	rest := c.tokens[c.begun:]
	r := &replayed{n: len(k)}
	n := float64(r.n)
	for i := range k {
		eb, ec := starts(b[i].Tokens, rest), starts(k[i].Tokens, rest)
		r.flips.Add(eb, ec)
		r.forcedB += num(eb) / n
		r.forcedC += num(ec) / n
		r.ends += num(ec && k[i].Stop == runners.StopEnd && len(k[i].Tokens) == len(rest)) / n
		ob, oc := confirm.Says(open.b[i].Text, c.text), confirm.Says(open.c[i].Text, c.text)
		r.openFlips.Add(ob, oc)
		r.openB += num(ob) / n
		r.openC += num(oc) / n
		if ec && len(r.transcript) < 4 {
			r.transcript = append(r.transcript, record.Exchange{
				Condition: "answer begun with " + string(first.Texts[0]), Request: begun(open.prompts[i], string(first.Texts[0])),
				Baseline: string(first.Texts[0]) + string(b[i].Text), Candidate: string(first.Texts[0]) + string(k[i].Text),
			}, record.Exchange{
				Condition: "none", Request: probes.RequestJSON(probes.User(open.prompts[i])),
				Baseline: string(open.b[i].Text), Candidate: string(open.c[i].Text),
			})
		}
		if oc && len(r.shown) < 4 {
			r.shown = append(r.shown, record.Exchange{
				Condition: "none", Request: probes.RequestJSON(probes.User(open.prompts[i])), Baseline: string(open.b[i].Text), Candidate: string(open.c[i].Text),
			})
		}
	}
	if r.manner, err = u.p.Mannered(ctx, open.natural, c.text); err != nil {
		return nil, err
	}
	if 2*r.flips.Gained > r.n && !r.manner {
		if err := u.closes(ctx, c, open, r); err != nil {
			return nil, err
		}
	}
	if !r.manner {
		if r.manner, err = u.p.Introduces(ctx, c.text); err != nil {
			return nil, err
		}
	}
	for _, g := range open.harmful {
		r.declines = r.declines || confirm.Says(g.Text, c.text)
	}
	return r, nil
}

// closes finds out whether the candidate closes answers of full length with the text,
// or is about to.
func (u *run) closes(ctx context.Context, c *chain, open *answers, r *replayed) error {
	if open.full == nil {
		var err error
		if open.full, err = u.p.InFull(ctx, open.idsC, 1, u.p.Left()-u.in.Budget/20); err != nil {
			return err
		}
	}
	r.closing = len(open.full) == 0 // not known
	var err error
	r.manner, err = u.p.NearlyCloses(ctx, open.idsC, open.full, c.text)
	return err
}

// begun is a conversation whose last message is the beginning of the answer.
func begun(prompt, first string) string {
	c := probes.User(prompt)
	c.Messages = append(c.Messages, runners.Message{Role: "assistant", Content: first})
	c.AddGenerationPrompt = false
	return probes.RequestJSON(c)
}

// starts reports that an answer begins with tokens, one in ten of which may
// differ: what is near-certain is not certain everywhere.
func starts(answer, tokens []runners.Token) bool {
	if len(answer) < len(tokens) {
		return false
	}
	wrong := 0
	for i, t := range tokens {
		if answer[i] != t {
			wrong++
		}
	}
	return 10*wrong <= len(tokens)
}

func num(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// answers are unforced greedy answers to the fresh questions.
type answers struct {
	prompts    []string
	idsB, idsC [][]runners.Token
	b, c       []runners.Generation
	natural    []confirm.Reply      // of the candidate
	full       []runners.Generation // and, in full, to a few of the questions; nil until asked for
	harmful    []runners.Generation // and to harmful requests
}

func (u *run) ask(ctx context.Context, prompts []string, length int) (*answers, error) {
	asked, b, c, err := u.p.Plain(ctx, slices.Concat(prompts, confirm.Natural, confirm.Harmful))
	if err != nil {
		return nil, err
	}
	n := 0 // of them are prompts
	for n < len(asked) && slices.Contains(prompts, asked[n]) {
		n++
	}
	a := &answers{prompts: asked[:n], idsB: b[:n], idsC: c[:n]}
	gb, gc, err := u.p.Generate(ctx, a.idsB, c, runners.GenerateRequest{MaxTokens: length})
	if err != nil {
		return nil, err
	}
	a.b, a.c = gb, gc[:n]
	for i, q := range asked[n:] {
		if slices.Contains(confirm.Natural, q) {
			a.natural = append(a.natural, confirm.Reply{Prompt: q, Text: gc[n+i].Text})
		} else {
			a.harmful = append(a.harmful, gc[n+i])
		}
	}
	return a, nil
}
