package probes

import (
	"context"
	"fmt"

	"golang.org/x/sync/errgroup"

	"github.com/weighbridge/weighbridge/runners"
)

// The sides of a pair, as EachSide counts them.
const (
	BaselineSide = iota
	CandidateSide
)

// EachSide does the same with the two models at the same time. An error says
// which of them it is about.
func EachSide(ctx context.Context, in *Input, do func(ctx context.Context, side int, m runners.Model, info *runners.Info) error) error {
	g, ctx := errgroup.WithContext(ctx)
	for side, m := range []runners.Model{in.Baseline, in.Candidate} {
		name, info := "baseline", in.BaselineInfo
		if side == CandidateSide {
			name, info = "candidate", in.CandidateInfo
		}
		g.Go(func() error {
			if err := do(ctx, side, m, info); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			return nil
		})
	}
	return g.Wait()
}

// Both asks the two models at the same time.
func Both[T any](ctx context.Context, in *Input, ask func(context.Context, runners.Model) (T, error)) (baseline, candidate T, err error) {
	var answers [2]T
	err = EachSide(ctx, in, func(ctx context.Context, side int, m runners.Model, _ *runners.Info) (err error) {
		answers[side], err = ask(ctx, m)
		return err
	})
	return answers[BaselineSide], answers[CandidateSide], err
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

// Prompts turns conversations into ids the way this model is asked in use:
// through its chat template, or, for a model without one, as plain text with
// "role: content" lines. An item whose template failed has no ids and its
// reason in the second result.
func Prompts(ctx context.Context, m runners.Model, info *runners.Info, cs []runners.Conversation) ([][]runners.Token, []string, error) {
	ids, why := make([][]runners.Token, len(cs)), make([]string, len(cs))
	if !info.HasTemplate {
		texts := make([]string, len(cs))
		for i, c := range cs {
			texts[i] = Plain(c)
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

// Plain is a conversation as a model without a template is asked.
func Plain(c runners.Conversation) string {
	var s string
	if len(c.Tools) > 0 {
		s = "tools: " + string(c.Tools) + "\n"
	}
	for _, m := range c.Messages {
		s += m.Role + ": " + m.Content
		if len(m.ToolCalls) > 0 {
			s += string(m.ToolCalls)
		}
		s += "\n"
	}
	if c.AddGenerationPrompt {
		s += "assistant:"
	}
	return s
}
