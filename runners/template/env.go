package template

import (
	"fmt"
	"strings"
	"time"

	"github.com/weighbridge/weighbridge/runners"
	"github.com/weighbridge/weighbridge/runners/template/jinja"
)

const (
	// MaxOutput is the most bytes that a conversation may be rendered to.
	MaxOutput = 1 << 20
	// DefaultNow is the clock of a conversation that names none.
	DefaultNow = "2024-07-26T12:00:00Z"
)

// program is a parsed template with the variables that all conversations share.
type program struct {
	t    *jinja.Template
	vars map[string]string
}

func parse(src string, vars map[string]string) (p *program, err error) {
	defer func() {
		if r := recover(); r != nil {
			p, err = nil, fmt.Errorf("the parser panicked: %.200v", r)
		}
	}()
	t, err := jinja.Parse(src)
	if err != nil {
		return nil, err
	}
	return &program{t, vars}, nil
}

// render runs the template on one conversation, with what transformers'
// apply_chat_template gives it.
func (p *program) render(c runners.Conversation) (text string, err error) {
	defer func() {
		if r := recover(); r != nil {
			text, err = "", fmt.Errorf("the template panicked: %.200v", r)
		}
	}()
	now := DefaultNow
	if c.Now != "" {
		now = c.Now
	}
	clock, err := time.Parse(time.RFC3339, now)
	if err != nil {
		return "", fmt.Errorf("now: %w", err)
	}
	messages := make([]any, len(c.Messages))
	for i, m := range c.Messages {
		d := jinja.NewDict()
		d.Set("role", m.Role)
		d.Set("content", m.Content)
		if len(m.ToolCalls) > 0 {
			calls, err := jinja.FromJSON(m.ToolCalls)
			if err != nil {
				return "", fmt.Errorf("message %d: tool_calls: %w", i, err)
			}
			d.Set("tool_calls", calls)
		}
		messages[i] = d
	}
	vars := map[string]any{
		"messages": messages, "tools": nil, "documents": nil, "add_generation_prompt": c.AddGenerationPrompt,
		"strftime_now": jinja.Func(func(args []any, _ map[string]any) (any, error) {
			if len(args) == 1 {
				if format, ok := args[0].(string); ok && len(format) < 1000 {
					return strftime(clock, format), nil
				}
			}
			return nil, fmt.Errorf("strftime_now takes a format")
		}),
	}
	for k, v := range p.vars {
		vars[k] = v
	}
	if len(c.Tools) > 0 {
		if vars["tools"], err = jinja.FromJSON(c.Tools); err != nil {
			return "", fmt.Errorf("tools: %w", err)
		}
	}
	text, err = p.t.Render(vars, jinja.Limits{Output: MaxOutput})
	return strings.ToValidUTF8(text, "�"), err
}
