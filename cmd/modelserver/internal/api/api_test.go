package api

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	ollama "github.com/ollama/ollama/api"

	"github.com/weighbridge/weighbridge/runners"
	"github.com/weighbridge/weighbridge/runners/runnertest"
)

func serve(t *testing.T, o runnertest.Options) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(Handler(runnertest.New(o), "fake"))
	t.Cleanup(s.Close)
	return s
}

func post(t *testing.T, s *httptest.Server, path, body string) (int, string) {
	t.Helper()
	r, err := http.Post(s.URL+path, "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return r.StatusCode, string(b)
}

// lines decodes NDJSON.
func lines[T any](t *testing.T, body string) []T {
	t.Helper()
	var out []T
	d := json.NewDecoder(strings.NewReader(body))
	for d.More() {
		var v T
		if err := d.Decode(&v); err != nil {
			t.Fatalf("%v in %q", err, body)
		}
		out = append(out, v)
	}
	return out
}

func TestChat(t *testing.T) {
	s := serve(t, runnertest.Options{Seed: 1})
	const q = `{"model": "any", "messages": [{"role": "user", "content": "the capital of France"}], "options": {"temperature": 0, "num_predict": 6}`
	_, streamed := post(t, s, "/api/chat", q+`}`)
	parts := lines[ollama.ChatResponse](t, streamed)
	if len(parts) != 2 || parts[0].Done || !parts[1].Done || parts[0].Message.Role != "assistant" {
		t.Fatalf("streamed %s", streamed)
	}
	_, whole := post(t, s, "/api/chat", q+`, "stream": false}`)
	one := lines[ollama.ChatResponse](t, whole)
	if len(one) != 1 || !one[0].Done || one[0].Message.Content != parts[0].Message.Content || one[0].Message.Content == "" {
		t.Fatalf("whole %s, streamed %s", whole, streamed)
	}
	last := parts[1]
	if last.PromptEvalCount < 5 || last.EvalCount < 1 || last.EvalCount > 6 || last.Model != "fake" || last.DoneReason == "" {
		t.Errorf("the end is %+v", last)
	}
}

func TestGenerate(t *testing.T) {
	s := serve(t, runnertest.Options{Seed: 1})
	ask := func(extra string) ollama.GenerateResponse {
		code, body := post(t, s, "/api/generate", `{"prompt": "one two", "stream": false`+extra+`}`)
		r := lines[ollama.GenerateResponse](t, body)
		if code != 200 || len(r) != 1 {
			t.Fatalf("%d %s", code, body)
		}
		return r[0]
	}
	const hot = `"temperature": 1.5, "top_k": 0, "top_p": 1, "num_predict": 12`
	a, b, c := ask(`, "raw": true, "options": {`+hot+`, "seed": 1}`), ask(`, "raw": true, "options": {`+hot+`, "seed": 1}`), ask(`, "raw": true, "options": {`+hot+`, "seed": 2}`)
	if a.Response != b.Response {
		t.Errorf("one seed gives %q and %q", a.Response, b.Response)
	}
	if a.Response == c.Response {
		t.Errorf("two seeds give %q", a.Response)
	}
	if raw, chat := a.PromptEvalCount, ask(`, "system": "be brief", "options": {"num_predict": 1}`).PromptEvalCount; chat <= raw {
		t.Errorf("%d tokens in a template, %d raw", chat, raw)
	}
	if r := ask(`, "options": {"num_predict": 2, "temperature": 0}`); r.EvalCount > 2 {
		t.Errorf("%d tokens for num_predict 2", r.EvalCount)
	}
}

func TestFailures(t *testing.T) {
	for _, c := range []struct {
		name, path, body string
		options          runnertest.Options
		status           int
		message          string
	}{
		{"not JSON", "/api/chat", "{", runnertest.Options{}, 400, "unexpected"},
		{"images", "/api/chat", `{"messages": [{"role": "user", "content": "x", "images": ["AAAA"]}]}`, runnertest.Options{}, 400, "images"},
		{"option", "/api/generate", `{"prompt": "x", "options": {"temperature": "hot"}}`, runnertest.Options{}, 400, "temperature"},
		{"template", "/api/chat", `{"messages": [{"role": "user", "content": "x"}]}`,
			runnertest.Options{Template: func(runners.Conversation) (string, error) { return "", io.ErrUnexpectedEOF }}, 400, "template"},
		{"no template", "/api/chat", `{"messages": [{"role": "user", "content": "x"}]}`, runnertest.Options{NoTemplate: true}, 400, "template"},
		{"engine", "/api/generate", `{"prompt": "x"}`, runnertest.Options{RefuseAfter: 1}, 500, "engine"},
		{"show", "/api/show", `{}`, runnertest.Options{}, 200, "fake"},
	} {
		t.Run(c.name, func(t *testing.T) {
			code, body := post(t, serve(t, c.options), c.path, c.body)
			if code != c.status || !strings.Contains(body, c.message) {
				t.Errorf("%d %s, want %d and %q", code, body, c.status, c.message)
			}
		})
	}
}

// TestClient asks with Ollama's own client.
func TestClient(t *testing.T) {
	s := serve(t, runnertest.Options{Seed: 1})
	t.Setenv("OLLAMA_HOST", s.URL)
	c, err := ollama.ClientFromEnvironment()
	if err != nil {
		t.Fatal(err)
	}
	if v, err := c.Version(t.Context()); err != nil || v != Version {
		t.Errorf("version %q, %v", v, err)
	}
	show, err := c.Show(t.Context(), &ollama.ShowRequest{Model: "any"})
	if err != nil || show.Details.Family != "fake" {
		t.Errorf("%+v, %v", show, err)
	}
	text, done := "", false
	err = c.Chat(t.Context(), &ollama.ChatRequest{Messages: []ollama.Message{{Role: "user", Content: "hello"}}}, func(r ollama.ChatResponse) error {
		text += r.Message.Content
		done = r.Done
		return nil
	})
	if err != nil || text == "" || !done {
		t.Errorf("%q, %v, %v", text, done, err)
	}
}
