package replay

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/weighbridge/weighbridge/probes"
	"github.com/weighbridge/weighbridge/record"
	"github.com/weighbridge/weighbridge/runners"
)

// Result is one exchange, asked again.
type Result struct {
	Exchange            record.Exchange `json:"exchange"`
	Baseline, Candidate Answer
}

// Answer is what one model says now.
type Answer struct {
	Text string `json:"text"`
	Same bool   `json:"same"` // as recorded, as far as was recorded
	// Near reports, where the answers differ, that the model prefers no other
	// token to a recorded one by more than Rounding: which of two tokens wins a
	// tie depends on the batch that they were computed in.
	Near bool `json:"near"`
}

// Rounding is the difference in log-probability, in nats, between two tokens
// that is put down to the batch a sequence was computed in. Up to 0.064 was
// seen (SmolLM2-135M, Q8_0).
const Rounding = 0.1

// Holds reports that both models answered as recorded, up to rounding.
func (r *Result) Holds() bool {
	return (r.Baseline.Same || r.Baseline.Near) && (r.Candidate.Same || r.Candidate.Near)
}

// Transcript asks again.
//
// Errors: a request of the transcript that cannot be read, or a model that
// cannot be asked. An answer that differs is no error.
func Transcript(ctx context.Context, baseline, candidate runners.Model, transcript []record.Exchange) ([]Result, error) {
	results := make([]Result, len(transcript))
	for i, x := range transcript {
		r, err := probes.ParseRequest(x.Request)
		if err != nil {
			return nil, fmt.Errorf("exchange %d: %w", i+1, err)
		}
		results[i].Exchange = x
		for _, side := range []struct {
			name     string
			model    runners.Model
			recorded string
			answer   *Answer
		}{
			{"baseline", baseline, x.Baseline, &results[i].Baseline},
			{"candidate", candidate, x.Candidate, &results[i].Candidate},
		} {
			if *side.answer, err = again(ctx, side.model, r, side.recorded); err != nil {
				return nil, fmt.Errorf("exchange %d: %s: %w", i+1, side.name, err)
			}
		}
	}
	return results, nil
}

// spare is how many tokens an answer may run beyond the recorded one, so that
// an answer that no longer ends shows.
const spare = 8

func again(ctx context.Context, m runners.Model, r *probes.Request, recorded string) (Answer, error) {
	switch r.Kind {
	case probes.AskRender:
		x, err := m.Render(ctx, &runners.RenderRequest{Conversations: []runners.Conversation{*r.Render}})
		if err != nil {
			return Answer{}, err
		}
		text := x.Rendered[0].Text
		if e := x.Rendered[0].Error; e != "" {
			text = "error: " + e
		}
		return Answer{Text: text, Same: sameCut(text, recorded)}, nil
	case probes.AskEncode:
		x, err := m.Tokenize(ctx, &runners.TokenizeRequest{Texts: []string{r.Encode}})
		if err != nil {
			return Answer{}, err
		}
		text := fmt.Sprint(x.Tokens[0])
		return Answer{Text: text, Same: sameCut(text, recorded)}, nil
	}
	prompt, begun, err := prompt(ctx, m, r)
	if err != nil {
		return Answer{}, err
	}
	if len(prompt) == 0 {
		return Answer{Text: "(the chat template refuses this conversation)"}, nil
	}
	length, err := m.Tokenize(ctx, &runners.TokenizeRequest{Texts: []string{recorded}})
	if err != nil {
		return Answer{}, err
	}
	g, err := m.Generate(ctx, &runners.GenerateRequest{Prompts: [][]runners.Token{prompt}, MaxTokens: len(length.Tokens[0]) + spare})
	if err != nil {
		return Answer{}, err
	}
	text := string(g.Generations[0].Text)
	if begun != "" && strings.HasPrefix(recorded, begun) {
		text = begun + text
	}
	a := Answer{Text: text, Same: same(text, recorded)}
	if !a.Same {
		a.Near, err = near(ctx, m, prompt, strings.TrimPrefix(recorded, begun))
	}
	return a, err
}

// near scores a recorded answer.
func near(ctx context.Context, m runners.Model, prompt []runners.Token, recorded string) (bool, error) {
	info, err := m.Info(ctx)
	if err != nil {
		return false, err
	}
	x, err := m.Tokenize(ctx, &runners.TokenizeRequest{Texts: []string{recorded}})
	if err != nil {
		return false, err
	}
	if !info.CanScore || len(x.Tokens[0]) == 0 {
		return false, nil
	}
	r, err := m.Score(ctx, &runners.ScoreRequest{
		Sequences: []runners.Sequence{{Tokens: slices.Concat(prompt, x.Tokens[0]), From: len(prompt)}}, TopK: 1})
	if err != nil {
		return false, err
	}
	score := &r.Sequences[0]
	for i, p := range score.LogProb {
		if score.TopLog[i]-p > Rounding {
			return false, nil
		}
	}
	return true, nil
}

// prompt is what the model was asked, as ids, and the beginning of the answer
// that was put into its mouth.
func prompt(ctx context.Context, m runners.Model, r *probes.Request) (ids []runners.Token, begun string, err error) {
	switch r.Kind {
	case probes.AskTokens:
		return r.Tokens, "", nil
	case probes.AskText:
		x, err := m.Tokenize(ctx, &runners.TokenizeRequest{Texts: []string{r.Text}, AddBOS: true})
		if err != nil {
			return nil, "", err
		}
		return x.Tokens[0], "", nil
	}
	info, err := m.Info(ctx)
	if err != nil {
		return nil, "", err
	}
	c := *r.Conversation
	if last := c.Messages[len(c.Messages)-1]; last.Role == "assistant" && !c.AddGenerationPrompt {
		begun = last.Content
		c.Messages, c.AddGenerationPrompt = c.Messages[:len(c.Messages)-1], true
	}
	all, _, err := probes.Prompts(ctx, m, info, []runners.Conversation{c})
	if err != nil {
		return nil, "", err
	}
	if len(all[0]) == 0 || begun == "" {
		return all[0], begun, nil
	}
	x, err := m.Tokenize(ctx, &runners.TokenizeRequest{Texts: []string{begun}})
	if err != nil {
		return nil, "", err
	}
	return slices.Concat(all[0], x.Tokens[0]), begun, nil
}

// same compares an answer with a recorded one, which may have been cut at a
// number of tokens. What ended at once has to end at once again.
func same(now, recorded string) bool {
	if recorded == "" {
		return now == ""
	}
	return strings.HasPrefix(now, recorded)
}

// cutAt is the length, in bytes, from which a report may cut what it shows.
const cutAt = 4000

func sameCut(now, recorded string) bool {
	return now == recorded || len(recorded) > cutAt && strings.HasPrefix(now, recorded[:cutAt])
}
