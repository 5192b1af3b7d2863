package probes

import (
	"context"
	"encoding/json"
	"fmt"

	"golang.org/x/sync/errgroup"

	"github.com/weighbridge/weighbridge/runners"
)

// Both asks the two models at the same time.
func Both[T any](ctx context.Context, in *Input, ask func(context.Context, runners.Model) (T, error)) (baseline, candidate T, err error) {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() (err error) {
		if baseline, err = ask(ctx, in.Baseline); err != nil {
			err = fmt.Errorf("baseline: %w", err)
		}
		return err
	})
	g.Go(func() (err error) {
		if candidate, err = ask(ctx, in.Candidate); err != nil {
			err = fmt.Errorf("candidate: %w", err)
		}
		return err
	})
	err = g.Wait()
	return baseline, candidate, err
}

// User is the conversation of one user message that the assistant is to answer.
func User(content string) runners.Conversation {
	return runners.Conversation{
		Messages:            []runners.Message{{Role: "user", Content: content}},
		AddGenerationPrompt: true,
	}
}

// WithSystem is User after a system message.
func WithSystem(system, content string) runners.Conversation {
	c := User(content)
	c.Messages = append([]runners.Message{{Role: "system", Content: system}}, c.Messages...)
	return c
}

// RequestJSON is the canonical form of a conversation in a transcript.
func RequestJSON(c runners.Conversation) string {
	b, err := json.Marshal(c)
	if err != nil { // only a malformed RawMessage can do that
		return fmt.Sprintf("%q", err)
	}
	return string(b)
}

// Prompts turns conversations into ids the way this model is asked in use:
// through its chat template, or, for a model without one, as plain text with
// "role: content" lines. An item whose template failed has no ids and its
// reason in the second result.
func Prompts(ctx context.Context, m runners.Model, info *runners.Info, cs []runners.Conversation) ([][]runners.Token, []string, error) {
	ids, why := make([][]runners.Token, len(cs)), make([]string, len(cs))
	if !info.HasTemplate {
		texts := make([]string, len(cs))
		for i, c := range cs {
			texts[i] = plain(c)
		}
		r, err := m.Tokenize(ctx, &runners.TokenizeRequest{Texts: texts, AddBOS: true})
		if err != nil {
			return nil, nil, err
		}
		return r.Tokens, why, nil
	}
	r, err := m.Render(ctx, &runners.RenderRequest{Conversations: cs})
	if err != nil {
		return nil, nil, err
	}
	for i, x := range r.Rendered {
		ids[i], why[i] = x.Tokens, x.Error
	}
	return ids, why, nil
}

func plain(c runners.Conversation) string {
	var s string
	for _, m := range c.Messages {
		s += m.Role + ": " + m.Content + "\n"
	}
	if c.AddGenerationPrompt {
		s += "assistant:"
	}
	return s
}
