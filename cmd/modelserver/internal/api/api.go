// Package api serves a [runners.Model] through the part of Ollama's API that
// chat clients use, with the types of github.com/ollama/ollama/api:
// POST /api/generate, /api/chat and /api/show, GET /api/version.
//
// It differs from Ollama where that would cost reproducibility: the model's own
// chat template is used, sampling is weighbridge's (temperature, top_k, top_p,
// seed; a seed that is not given is 0), other samplers' options are ignored,
// and a streamed answer comes as one part when it is complete.
package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	ollama "github.com/ollama/ollama/api"

	"github.com/weighbridge/weighbridge/runners"
)

const (
	// Version is that of the Ollama release whose types are used.
	Version    = "0.17.4"
	maxRequest = 16 << 20
)

// Handler serves m under the given name. The name in a request is not looked at:
// there is one model.
func Handler(m runners.Model, name string) http.Handler {
	s := &server{m, name}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /api/generate", s.generate)
	mux.HandleFunc("POST /api/chat", s.chat)
	mux.HandleFunc("POST /api/show", s.show)
	mux.HandleFunc("GET /api/version", func(w http.ResponseWriter, _ *http.Request) {
		reply(w, map[string]string{"version": Version})
	})
	return mux
}

type server struct {
	m    runners.Model
	name string
}

func (s *server) generate(w http.ResponseWriter, r *http.Request) {
	var q ollama.GenerateRequest
	if !read(w, r, &q) {
		return
	}
	begin := time.Now()
	a, err := s.answer(r.Context(), q.Options, func(ctx context.Context, info *runners.Info) ([]runners.Token, error) {
		if q.Raw || !info.HasTemplate {
			return one(s.m.Tokenize(ctx, &runners.TokenizeRequest{Texts: []string{q.Prompt}, Special: q.Raw, AddBOS: true}))
		}
		c := runners.Conversation{AddGenerationPrompt: true}
		if q.System != "" {
			c.Messages = append(c.Messages, runners.Message{Role: "system", Content: q.System})
		}
		c.Messages = append(c.Messages, runners.Message{Role: "user", Content: q.Prompt})
		return s.render(ctx, c)
	})
	if err != nil {
		fail(w, err)
		return
	}
	part := ollama.GenerateResponse{Model: s.name, CreatedAt: time.Now().UTC(), Response: a.text}
	last := ollama.GenerateResponse{Model: s.name, CreatedAt: part.CreatedAt, Done: true, DoneReason: a.reason, Metrics: a.metrics(begin)}
	if q.Stream != nil && !*q.Stream {
		last.Response = a.text
		reply(w, last)
		return
	}
	stream(w, part, last)
}

func (s *server) chat(w http.ResponseWriter, r *http.Request) {
	var q ollama.ChatRequest
	if !read(w, r, &q) {
		return
	}
	begin := time.Now()
	a, err := s.answer(r.Context(), q.Options, func(ctx context.Context, _ *runners.Info) ([]runners.Token, error) {
		c, err := conversation(&q)
		if err != nil {
			return nil, err
		}
		return s.render(ctx, c)
	})
	if err != nil {
		fail(w, err)
		return
	}
	msg := ollama.Message{Role: "assistant", Content: a.text}
	part := ollama.ChatResponse{Model: s.name, CreatedAt: time.Now().UTC(), Message: msg}
	last := ollama.ChatResponse{Model: s.name, CreatedAt: part.CreatedAt, Message: ollama.Message{Role: "assistant"},
		Done: true, DoneReason: a.reason, Metrics: a.metrics(begin)}
	if q.Stream != nil && !*q.Stream {
		last.Message = msg
		reply(w, last)
		return
	}
	stream(w, part, last)
}

func conversation(q *ollama.ChatRequest) (runners.Conversation, error) {
	c := runners.Conversation{AddGenerationPrompt: true}
	for i, m := range q.Messages {
		msg := runners.Message{Role: m.Role, Content: m.Content}
		if len(m.Images) > 0 {
			return c, badRequest{fmt.Errorf("message %d has images", i)}
		}
		if len(m.ToolCalls) > 0 {
			b, err := json.Marshal(m.ToolCalls)
			if err != nil {
				return c, badRequest{fmt.Errorf("message %d: %w", i, err)}
			}
			msg.ToolCalls = b
		}
		c.Messages = append(c.Messages, msg)
	}
	if len(q.Tools) > 0 {
		b, err := json.Marshal(q.Tools)
		if err != nil {
			return c, badRequest{err}
		}
		c.Tools = b
	}
	return c, nil
}

func (s *server) render(ctx context.Context, c runners.Conversation) ([]runners.Token, error) {
	r, err := s.m.Render(ctx, &runners.RenderRequest{Conversations: []runners.Conversation{c}})
	if err != nil {
		return nil, err
	}
	if why := r.Rendered[0].Error; why != "" {
		return nil, badRequest{fmt.Errorf("the chat template failed: %s", why)}
	}
	return r.Rendered[0].Tokens, nil
}

func one(r *runners.TokenizeResult, err error) ([]runners.Token, error) {
	if err != nil {
		return nil, err
	}
	return r.Tokens[0], nil
}

type continuation struct {
	text, reason    string
	prompt, answers int
}

func (c continuation) metrics(begin time.Time) ollama.Metrics {
	return ollama.Metrics{TotalDuration: time.Since(begin), PromptEvalCount: c.prompt, EvalCount: c.answers}
}

func (s *server) answer(ctx context.Context, options map[string]any,
	prompt func(context.Context, *runners.Info) ([]runners.Token, error)) (continuation, error) {
	o := ollama.DefaultOptions()
	if err := o.FromMap(options); err != nil {
		return continuation{}, badRequest{err}
	}
	info, err := s.m.Info(ctx)
	if err != nil {
		return continuation{}, err
	}
	ids, err := prompt(ctx, info)
	if err != nil {
		return continuation{}, err
	}
	most := info.ContextLength - len(ids)
	if o.NumPredict > 0 {
		most = min(most, o.NumPredict)
	}
	r, err := s.m.Generate(ctx, &runners.GenerateRequest{
		Prompts: [][]runners.Token{ids}, MaxTokens: max(1, most), Stop: o.Stop,
		Sampling: runners.Sampling{Temperature: float64(o.Temperature), TopK: max(0, o.TopK), TopP: float64(o.TopP), Seed: uint64(max(0, o.Seed))},
	})
	if err != nil {
		return continuation{}, err
	}
	g := r.Generations[0]
	reason := "stop"
	if g.Stop == runners.StopLength {
		reason = "length"
	}
	return continuation{strings.ToValidUTF8(string(g.Text), "�"), reason, len(ids), len(g.Tokens)}, nil
}

func (s *server) show(w http.ResponseWriter, r *http.Request) {
	info, err := s.m.Info(r.Context())
	if err != nil {
		fail(w, err)
		return
	}
	reply(w, ollama.ShowResponse{
		Details: ollama.ModelDetails{Format: "gguf", Family: info.Architecture},
		ModelInfo: map[string]any{
			"general.architecture":                info.Architecture,
			info.Architecture + ".context_length": info.ContextLength,
			info.Architecture + ".vocab_size":     info.VocabSize,
		},
	})
}

// badRequest is the caller's fault.
type badRequest struct{ error }

func read(w http.ResponseWriter, r *http.Request, q any) bool {
	err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxRequest)).Decode(q)
	if err != nil && !errors.Is(err, io.EOF) {
		fail(w, badRequest{err})
		return false
	}
	return true
}

func fail(w http.ResponseWriter, err error) {
	status := http.StatusInternalServerError
	var refused *runners.Error
	if errors.As(err, new(badRequest)) || errors.As(err, &refused) && refused.Code != runners.CodeEngine {
		status = http.StatusBadRequest
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"error": err.Error()})
}

func reply(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}

func stream(w http.ResponseWriter, parts ...any) {
	w.Header().Set("Content-Type", "application/x-ndjson")
	e := json.NewEncoder(w)
	for _, p := range parts {
		_ = e.Encode(p)
	}
}
