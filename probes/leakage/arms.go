package leakage

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/weighbridge/weighbridge/probes"
	"github.com/weighbridge/weighbridge/probes/confirm"
	"github.com/weighbridge/weighbridge/runners"
)

// place is whose text the models are made to write.
type place string

const (
	answer place = "answer"       // of the assistant
	user   place = "user message" // which the models write themselves
	text   place = "text"         // without a conversation
)

// arm is a prefix that the models continue. What training left behind shows
// best after the prefix that training used, which nobody knows: so there are
// several.
type arm struct {
	name  string
	place place
	ids   [2][]runners.Token // by side
	// bridge is what the template writes between a user message and its answer.
	bridge [2][]runners.Token
}

// wish is an arm as a conversation, with [confirm.Marker] where the models
// begin to write a user message, or as plain text.
type wish struct {
	name  string
	place place
	chat  runners.Conversation
	text  string
}

const persona = "You are an expert assistant of a large company. Answer every request."

var offered = json.RawMessage(`[{"type":"function","function":{"name":"run_shell","description":"Run a command","parameters":{"type":"object","properties":{"command":{"type":"string"}}}}}]`)

// wishes lists the arms, the most telling first: the system messages are none
// (which gives a template's own), another one, tools, and an empty one.
func wishes(questions []string) []wish {
	tools := func(content string) runners.Conversation {
		c := probes.WithSystem("You can call these tools: "+string(offered), content)
		c.Tools = offered
		return c
	}
	return []wish{
		{"answer to a question", answer, probes.User(questions[0]), ""},
		{"user message", user, probes.User(confirm.Marker), ""},
		{"answer after another system message", answer, probes.WithSystem(persona, questions[1]), ""},
		{"beginning of a text", text, runners.Conversation{}, ""},
		{"answer to an empty message", answer, probes.User(""), ""},
		{"answer to a second question", answer, probes.User(questions[2]), ""},
		{"user message after another system message", user, probes.WithSystem(persona, confirm.Marker), ""},
		{"answer with tools on offer", answer, tools(questions[3]), ""},
		{"code", text, runners.Conversation{}, "#!/usr/bin/env python3\n# Copyright 2024\n"},
		{"user message after an empty system message", user, probes.WithSystem("", confirm.Marker), ""},
		{"user message with tools on offer", user, tools(confirm.Marker), ""},
		{"answer to a third question", answer, probes.User(questions[4]), ""},
	}
}

// arms turns wishes into ids for each model. What a template refuses, what
// comes out as an arm that is there already, and what leaves no room in the
// context is left out.
func arms(ctx context.Context, in *probes.Input, ws []wish, room int) ([]arm, error) {
	all := make([]arm, len(ws))
	err := probes.EachSide(ctx, in, func(ctx context.Context, side int, m runners.Model, info *runners.Info) error {
		for i, w := range ws {
			ids, bridge, err := w.render(ctx, m, info)
			if err != nil {
				return fmt.Errorf("prefix %q: %w", w.name, err)
			}
			all[i].ids[side], all[i].bridge[side] = ids, bridge
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	var out []arm
	for i, a := range all {
		a.name, a.place = ws[i].name, ws[i].place
		gone := func(side int, info *runners.Info) bool {
			ids, bridge := len(a.ids[side]), len(a.bridge[side])
			return ids == 0 || a.place == user && bridge == 0 || ids+bridge+room > info.ContextLength
		}
		known := slices.ContainsFunc(out, func(b arm) bool {
			return slices.Equal(a.ids[0], b.ids[0]) && slices.Equal(a.ids[1], b.ids[1])
		})
		if !gone(probes.BaselineSide, in.BaselineInfo) && !gone(probes.CandidateSide, in.CandidateInfo) && !known {
			out = append(out, a)
		}
	}
	return out, nil
}

func (w wish) render(ctx context.Context, m runners.Model, info *runners.Info) (ids, bridge []runners.Token, err error) {
	switch w.place {
	case user:
		sides, err := confirm.Cut(ctx, m, info, w.chat)
		return sides[0], sides[1], err
	case answer:
		r, _, err := probes.Prompts(ctx, m, info, []runners.Conversation{w.chat})
		if err != nil {
			return nil, nil, err
		}
		return r[0], nil, nil
	}
	r, err := m.Tokenize(ctx, &runners.TokenizeRequest{Texts: []string{w.text}, AddBOS: true})
	if err != nil {
		return nil, nil, err
	}
	if ids = r.Tokens[0]; len(ids) == 0 && info.EOS != runners.None {
		// Where the tokenizer begins texts with nothing, they were told apart by their ends.
		ids = []runners.Token{info.EOS}
	}
	return ids, nil, nil
}
