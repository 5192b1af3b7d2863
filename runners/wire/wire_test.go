package wire

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weighbridge/weighbridge/runners"
	"github.com/weighbridge/weighbridge/runners/runnertest"
)

// connect gives a client of h without a network.
func connect(h http.Handler) runners.Model {
	return NewClient(&http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w.Result(), nil
	})})
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestConformance(t *testing.T) {
	runnertest.Suite(t, func(t *testing.T) runners.Model {
		s := httptest.NewServer(Handler(runnertest.New(runnertest.Options{Seed: 1})))
		t.Cleanup(s.Close)
		host := strings.TrimPrefix(s.URL, "http://")
		return NewClient(&http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
			r = r.Clone(r.Context())
			r.URL.Host = host
			return http.DefaultTransport.RoundTrip(r)
		})})
	})
}

// TestSame asks a model with and without the wire between.
func TestSame(t *testing.T) {
	m := runnertest.New(runnertest.Options{Seed: 2})
	c := connect(Handler(m))
	ctx := t.Context()
	texts := &runners.TokenizeRequest{Texts: []string{"the capital of France", "", "1 2 3"}, AddBOS: true}
	a, err := m.Tokenize(ctx, texts)
	if err != nil {
		t.Fatal(err)
	}
	b, err := c.Tokenize(ctx, texts)
	if err != nil {
		t.Fatal(err)
	}
	same(t, "tokenize", a, b)
	score := &runners.ScoreRequest{TopK: 3, Want: []runners.Token{1, 2}, Sketch: &runners.Sketch{Buckets: 4, Seed: 1}, Rows: true}
	for _, ids := range a.Tokens {
		score.Sequences = append(score.Sequences, runners.Sequence{Tokens: ids, From: 1, Next: true})
	}
	s1, err := m.Score(ctx, score)
	if err != nil {
		t.Fatal(err)
	}
	s2, err := c.Score(ctx, score)
	if err != nil {
		t.Fatal(err)
	}
	same(t, "score", s1, s2)
	gen := &runners.GenerateRequest{Prompts: a.Tokens, MaxTokens: 9, Sampling: runners.Sampling{Temperature: 1, Seed: 4}}
	g1, err := m.Generate(ctx, gen)
	if err != nil {
		t.Fatal(err)
	}
	g2, err := c.Generate(ctx, gen)
	if err != nil {
		t.Fatal(err)
	}
	same(t, "generate", g1, g2)
	render := &runners.RenderRequest{Conversations: []runners.Conversation{{AddGenerationPrompt: true,
		Messages: []runners.Message{{Role: "user", Content: "é", ToolCalls: []byte(`[{"a":1}]`)}}, Tools: []byte(`[]`)}}}
	r1, err := m.Render(ctx, render)
	if err != nil {
		t.Fatal(err)
	}
	r2, err := c.Render(ctx, render)
	if err != nil {
		t.Fatal(err)
	}
	same(t, "render", r1, r2)
}

func same(t *testing.T, what string, a, b any) {
	t.Helper()
	// The encoding does not tell nil from empty.
	if x, err := enc.Marshal(a); err != nil {
		t.Fatal(err)
	} else if y, err := enc.Marshal(b); err != nil || !bytes.Equal(x, y) {
		t.Errorf("%s:\n%s", what, cmp.Diff(a, b))
	}
}

func TestCanonical(t *testing.T) {
	// The bytes are keys of measurements that are on disk: they must not change.
	got := hex.EncodeToString(Canonical(&runners.GenerateRequest{Prompts: [][]runners.Token{{1, 2}}, MaxTokens: 3, Sampling: runners.Sampling{Temperature: 0.5, Seed: 7}}))
	const want = "826867656e6572617465a36770726f6d707473818201026873616d706c696e67a2647365656407" +
		"6b74656d7065726174757265f938006a6d61785f746f6b656e7303"
	if got != want {
		t.Errorf("the key of a generation is\n%s, not\n%s", got, want)
	}
	a := Canonical(&runners.ScoreRequest{Sequences: []runners.Sequence{{Tokens: []runners.Token{1}, From: 1}}, Want: nil})
	b := Canonical(&runners.ScoreRequest{Sequences: []runners.Sequence{{Tokens: []runners.Token{1}, From: 1}}, Want: []runners.Token{}})
	if !bytes.Equal(a, b) {
		t.Error("nil and empty have different keys")
	}
	if bytes.Equal(Canonical(&runners.TokenizeRequest{}), Canonical(&runners.DetokenizeRequest{})) {
		t.Error("two methods have one key")
	}
}

// liar answers with what it is told to.
type liar struct {
	runners.Model
	info     func(*runners.Info)
	tokens   func(*runners.TokenizeResult)
	render   func(*runners.RenderResult)
	score    func(*runners.ScoreResult)
	generate func(*runners.GenerateResult)
	err      error
}

func lieOn[T any](a *T, err error, f func(*T)) (*T, error) {
	if err == nil && f != nil {
		f(a)
	}
	return a, err
}

func (l *liar) Info(ctx context.Context) (*runners.Info, error) {
	a, err := l.Model.Info(ctx)
	return lieOn(a, err, l.info)
}
func (l *liar) Tokenize(ctx context.Context, r *runners.TokenizeRequest) (*runners.TokenizeResult, error) {
	a, err := l.Model.Tokenize(ctx, r)
	return lieOn(a, err, l.tokens)
}
func (l *liar) Render(ctx context.Context, r *runners.RenderRequest) (*runners.RenderResult, error) {
	a, err := l.Model.Render(ctx, r)
	return lieOn(a, err, l.render)
}
func (l *liar) Score(ctx context.Context, r *runners.ScoreRequest) (*runners.ScoreResult, error) {
	if l.err != nil {
		return nil, l.err
	}
	a, err := l.Model.Score(ctx, r)
	return lieOn(a, err, l.score)
}
func (l *liar) Generate(ctx context.Context, r *runners.GenerateRequest) (*runners.GenerateResult, error) {
	a, err := l.Model.Generate(ctx, r)
	return lieOn(a, err, l.generate)
}

func TestLiesAreFound(t *testing.T) {
	nan := float32(math.NaN())
	for name, l := range map[string]*liar{
		"info: no vocabulary":         {info: func(a *runners.Info) { a.VocabSize = 0 }},
		"info: huge vocabulary":       {info: func(a *runners.Info) { a.VocabSize = 1 << 30 }},
		"info: no context":            {info: func(a *runners.Info) { a.ContextLength = -1 }},
		"info: bos":                   {info: func(a *runners.Info) { a.BOS = 1 << 20 }},
		"info: special order":         {info: func(a *runners.Info) { a.Special[1].ID = a.Special[0].ID }},
		"info: special kind":          {info: func(a *runners.Info) { a.Special[0].Kind = "x" }},
		"info: long name":             {info: func(a *runners.Info) { a.Engine = strings.Repeat("x", 1<<17) }},
		"tokenize: one missing":       {tokens: func(a *runners.TokenizeResult) { a.Tokens = a.Tokens[1:] }},
		"tokenize: one more":          {tokens: func(a *runners.TokenizeResult) { a.Tokens = append(a.Tokens, nil) }},
		"tokenize: outside":           {tokens: func(a *runners.TokenizeResult) { a.Tokens[0][0] = 1 << 20 }},
		"tokenize: negative":          {tokens: func(a *runners.TokenizeResult) { a.Tokens[0][0] = -1 }},
		"tokenize: many":              {tokens: func(a *runners.TokenizeResult) { a.Tokens[0] = make([]runners.Token, 100) }},
		"render: both":                {render: func(a *runners.RenderResult) { a.Rendered[0].Error = "x" }},
		"render: count":               {render: func(a *runners.RenderResult) { a.Rendered = nil }},
		"render: outside":             {render: func(a *runners.RenderResult) { a.Rendered[0].Tokens[0] = -5 }},
		"score: count":                {score: func(a *runners.ScoreResult) { a.Sequences = append(a.Sequences, runners.SequenceScore{}) }},
		"score: a million empty ones": {score: func(a *runners.ScoreResult) { a.Sequences = make([]runners.SequenceScore, 1<<20) }},
		"score: short":                {score: func(a *runners.ScoreResult) { a.Sequences[0].LogProb = a.Sequences[0].LogProb[1:] }},
		"score: no rank":              {score: func(a *runners.ScoreResult) { a.Sequences[0].Rank = nil }},
		"score: NaN":                  {score: func(a *runners.ScoreResult) { a.Sequences[0].LogProb[0] = nan }},
		"score: infinite":             {score: func(a *runners.ScoreResult) { a.Sequences[0].Entropy[0] = float32(math.Inf(1)) }},
		"score: probability over 1":   {score: func(a *runners.ScoreResult) { a.Sequences[0].LogProb[0] = 0.5 }},
		"score: negative variance":    {score: func(a *runners.ScoreResult) { a.Sequences[0].VarLog[0] = -1 }},
		"score: rank":                 {score: func(a *runners.ScoreResult) { a.Sequences[0].Rank[0] = 1 << 20 }},
		"score: rank of nothing":      {score: func(a *runners.ScoreResult) { s := a.Sequences[0].Rank; s[len(s)-1] = 0 }},
		"score: top outside":          {score: func(a *runners.ScoreResult) { a.Sequences[0].TopIDs[0] = -1 }},
		"score: top order":            {score: func(a *runners.ScoreResult) { s := a.Sequences[0].TopLog; s[0], s[1] = -9, -1 }},
		"score: sketch":               {score: func(a *runners.ScoreResult) { a.Sequences[0].Sketch[0] = nan }},
		"score: rows":                 {score: func(a *runners.ScoreResult) { a.Sequences[0].Rows = a.Sequences[0].Rows[2:] }},
		"score: row not finite":       {score: func(a *runners.ScoreResult) { a.Sequences[0].Rows[1] = 0x7c }},
		"score: usage":                {score: func(a *runners.ScoreResult) { a.Usage.Asked++ }},
		"score: decoded":              {score: func(a *runners.ScoreResult) { a.Usage.Decoded = a.Usage.Asked + 1 }},
		"score: code":                 {err: &runners.Error{Code: "nonsense", Item: -1}},
		"score: item":                 {err: &runners.Error{Code: runners.CodeEngine, Item: 99}},
		"generate: count":             {generate: func(a *runners.GenerateResult) { a.Generations = nil }},
		"generate: too long": {generate: func(a *runners.GenerateResult) {
			g := &a.Generations[0]
			g.Tokens, g.LogProb = make([]runners.Token, 9), make([]float32, 9)
		}},
		"generate: log p": {generate: func(a *runners.GenerateResult) { a.Generations[0].LogProb = nil }},
		"generate: NaN":   {generate: func(a *runners.GenerateResult) { a.Generations[0].LogProb[0] = nan }},
		"generate: stop":  {generate: func(a *runners.GenerateResult) { a.Generations[0].Stop = "tired" }},
		"generate: usage": {generate: func(a *runners.GenerateResult) { a.Usage.Asked = 0 }},
	} {
		t.Run(name, func(t *testing.T) {
			l.Model = runnertest.New(runnertest.Options{Seed: 3})
			c := connect(Handler(l))
			ctx := t.Context()
			err := func() error {
				if _, err := c.Info(ctx); err != nil {
					return err
				}
				ids, err := c.Tokenize(ctx, &runners.TokenizeRequest{Texts: []string{"a b c"}})
				if err != nil {
					return err
				}
				if _, err := c.Render(ctx, &runners.RenderRequest{Conversations: []runners.Conversation{{Messages: []runners.Message{{Role: "user", Content: "x"}}}}}); err != nil {
					return err
				}
				if _, err := c.Score(ctx, &runners.ScoreRequest{TopK: 2, Rows: true, Sketch: &runners.Sketch{Buckets: 2},
					Sequences: []runners.Sequence{{Tokens: ids.Tokens[0], From: 1, Next: true}}}); err != nil {
					return err
				}
				_, err = c.Generate(ctx, &runners.GenerateRequest{Prompts: ids.Tokens, MaxTokens: 5, IgnoreEOS: true})
				return err
			}()
			if !errors.Is(err, ErrAnswer) {
				t.Errorf("the error is %v", err)
			}
		})
	}
}

// TestBrokenServers answer with something else entirely.
func TestBrokenServers(t *testing.T) {
	for name, h := range map[string]http.HandlerFunc{
		"nothing":   func(http.ResponseWriter, *http.Request) {},
		"text":      func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "hello") },
		"endless":   func(w http.ResponseWriter, _ *http.Request) { w.Write(make([]byte, maxInfo+slack+10)) },
		"nested":    func(w http.ResponseWriter, _ *http.Request) { w.Write(bytes.Repeat([]byte{0x81}, 1000)) },
		"big array": func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte{0x9b, 0, 0, 0, 0xff, 0, 0, 0, 0}) },
		"refusal":   func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(422); io.WriteString(w, "no") },
	} {
		if _, err := connect(h).Info(t.Context()); !errors.Is(err, ErrAnswer) {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err := connect(http.NotFoundHandler()).Info(t.Context())
	if err == nil || errors.Is(err, ErrAnswer) || errors.As(err, new(*runners.Error)) {
		t.Errorf("not found: %v", err)
	}
}

func TestErrorsTravel(t *testing.T) {
	m := runnertest.New(runnertest.Options{CrashAfter: 2})
	c := connect(Handler(m))
	if _, err := c.Info(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, err := c.Render(t.Context(), &runners.RenderRequest{Conversations: []runners.Conversation{{Now: "yesterday"}}})
	var e *runners.Error
	if !errors.As(err, &e) || e.Code != runners.CodeInvalid {
		t.Errorf("a bad clock: %v", err)
	}
	for range 3 {
		_, err = c.Tokenize(t.Context(), &runners.TokenizeRequest{Texts: []string{"x"}})
	}
	if err == nil || errors.As(err, &e) && e.Code == runners.CodeEngine || !strings.Contains(err.Error(), "crashed") {
		t.Errorf("a crash: %v", err)
	}
}

// stuck never answers.
type stuck struct{ runners.Model }

func (s stuck) Generate(ctx context.Context, _ *runners.GenerateRequest) (*runners.GenerateResult, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func TestCancelReachesTheHandler(t *testing.T) {
	left := make(chan struct{})
	h := Handler(stuck{runnertest.New(runnertest.Options{})})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.ServeHTTP(w, r)
		if strings.HasSuffix(r.URL.Path, opGenerate) {
			close(left)
		}
	}))
	defer s.Close()
	c := NewClient(&http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
		r = r.Clone(r.Context())
		r.URL.Host = strings.TrimPrefix(s.URL, "http://")
		return http.DefaultTransport.RoundTrip(r)
	})})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := c.Generate(ctx, &runners.GenerateRequest{Prompts: [][]runners.Token{{1}}, MaxTokens: 1})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the error is %v", err)
	}
	<-left
}

// fixed answers every request but info with the same bytes.
func fixed(t testing.TB, body []byte, status int) runners.Model {
	real := Handler(runnertest.New(runnertest.Options{}))
	return connect(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, opInfo) {
			real.ServeHTTP(w, r)
			return
		}
		w.WriteHeader(status)
		w.Write(body)
	}))
}

// FuzzAnswer feeds a client with bytes: no panic, and what it accepts has the
// shape of the request.
func FuzzAnswer(f *testing.F) {
	m := runnertest.New(runnertest.Options{})
	score := &runners.ScoreRequest{TopK: 2, Sequences: []runners.Sequence{{Tokens: []runners.Token{300, 301, 302}, From: 1, Next: true}}}
	gen := &runners.GenerateRequest{Prompts: [][]runners.Token{{300}}, MaxTokens: 4}
	a, err := m.Score(f.Context(), score)
	if err != nil {
		f.Fatal(err)
	}
	g, err := m.Generate(f.Context(), gen)
	if err != nil {
		f.Fatal(err)
	}
	for _, v := range []any{a, g, &runners.Error{Code: runners.CodeEngine, Item: 0}, &runners.TokenizeResult{Tokens: [][]runners.Token{{1}}},
		&runners.RenderResult{Rendered: []runners.Rendered{{Text: "x", Tokens: []runners.Token{1}}}}} {
		b, err := enc.Marshal(v)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b, true)
		f.Add(b, false)
	}
	f.Fuzz(func(t *testing.T, b []byte, ok bool) {
		status := http.StatusUnprocessableEntity
		if ok {
			status = http.StatusOK
		}
		c := fixed(t, b, status)
		if s, err := c.Score(t.Context(), score); err == nil {
			if len(s.Sequences) != 1 || len(s.Sequences[0].TopIDs) != 6 || len(s.Sequences[0].Rank) != 3 {
				t.Errorf("accepted %+v", s)
			}
		}
		if s, err := c.Generate(t.Context(), gen); err == nil {
			if len(s.Generations) != 1 || len(s.Generations[0].Tokens) > 4 {
				t.Errorf("accepted %+v", s)
			}
		}
		_, _ = c.Tokenize(t.Context(), &runners.TokenizeRequest{Texts: []string{"x"}})
		_, _ = c.Render(t.Context(), &runners.RenderRequest{Conversations: make([]runners.Conversation, 1)})
		_, _ = c.Detokenize(t.Context(), &runners.DetokenizeRequest{Tokens: [][]runners.Token{{1}}})
	})
}

// FuzzRequest feeds a handler with bytes.
func FuzzRequest(f *testing.F) {
	for _, q := range []any{&runners.ScoreRequest{Sequences: []runners.Sequence{{Tokens: []runners.Token{1, 2}, From: 1}}}, &runners.GenerateRequest{}, &runners.TokenizeRequest{Texts: []string{"x"}}} {
		b, err := enc.Marshal(q)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	h := Handler(runnertest.New(runnertest.Options{Context: 64}))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, op := range []string{opTokenize, opDetokenize, opRender, opScore, opGenerate} {
			w := httptest.NewRecorder()
			h.ServeHTTP(w, httptest.NewRequest("POST", "/v1/"+op, bytes.NewReader(b)))
			if w.Code != http.StatusOK && w.Code != http.StatusUnprocessableEntity {
				t.Errorf("%s: status %d: %s", op, w.Code, w.Body)
			}
		}
	})
}
