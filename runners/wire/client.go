package wire

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/fxamacker/cbor/v2"

	"github.com/weighbridge/weighbridge/runners"
)

// ErrAnswer means that what came back is no answer to the request: the server
// is broken, or lies.
var ErrAnswer = errors.New("not an answer")

func lie(op, format string, args ...any) error {
	return fmt.Errorf("%s: %w: %s", op, ErrAnswer, fmt.Sprintf(format, args...))
}

// Limits of what a server may say beyond what the request determines.
const (
	maxVocab    = 1 << 20
	maxContext  = 1 << 20
	maxString   = 1 << 16 // names, texts of tokens, messages
	maxRendered = 1 << 20 // bytes of a rendered conversation; runners/template has the same
	maxInfo     = 64 << 20
	slack       = 64 << 10 // bytes of any answer beside its items
)

// NewClient gives a model that asks the Handler which c reaches, whatever the
// host of the URL (http://box/v1/…). It is safe for concurrent use. Info is
// asked once and remembered; requests that it shows to be impossible are
// refused without asking.
func NewClient(c *http.Client) runners.Model { return &client{http: c} }

type client struct {
	http *http.Client
	mu   sync.Mutex
	info *runners.Info
}

func (c *client) Info(ctx context.Context) (*runners.Info, error) {
	i, err := c.about(ctx)
	if err != nil {
		return nil, err
	}
	copy := *i
	copy.Special = slices.Clone(i.Special)
	return &copy, nil
}

func (c *client) about(ctx context.Context) (*runners.Info, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.info != nil {
		return c.info, nil
	}
	b, err := c.post(ctx, opInfo, &struct{}{}, maxInfo, 0)
	if err != nil {
		return nil, err
	}
	i := new(runners.Info)
	if err := decode(b, maxVocab, i); err != nil {
		return nil, lie(opInfo, "%v", err)
	}
	if err := checkInfo(i); err != nil {
		return nil, err
	}
	c.info = i
	return i, nil
}

func (c *client) Tokenize(ctx context.Context, r *runners.TokenizeRequest) (*runners.TokenizeResult, error) {
	i, err := c.about(ctx)
	if err != nil {
		return nil, err
	}
	if err := r.Check(i); err != nil {
		return nil, err
	}
	size, longest := 0, 0
	for _, s := range r.Texts {
		size += 5*maxTokens(s) + 9
		longest = max(longest, maxTokens(s))
	}
	b, err := c.post(ctx, opTokenize, r, size, len(r.Texts))
	if err != nil {
		return nil, err
	}
	out := new(runners.TokenizeResult)
	if err := decode(b, max(longest, len(r.Texts)), out); err != nil {
		return nil, lie(opTokenize, "%v", err)
	}
	return out, checkTokenize(r, out, i)
}

func (c *client) Detokenize(ctx context.Context, r *runners.DetokenizeRequest) (*runners.DetokenizeResult, error) {
	i, err := c.about(ctx)
	if err != nil {
		return nil, err
	}
	if err := r.Check(i); err != nil {
		return nil, err
	}
	size := 0
	for _, ts := range r.Tokens {
		size += 9 + len(ts)*64
	}
	b, err := c.post(ctx, opDetokenize, r, size+maxRendered, len(r.Tokens))
	if err != nil {
		return nil, err
	}
	out := new(runners.DetokenizeResult)
	if err := decode(b, len(r.Tokens), out); err != nil {
		return nil, lie(opDetokenize, "%v", err)
	}
	if len(out.Texts) != len(r.Tokens) {
		return nil, lie(opDetokenize, "%d texts for %d sequences", len(out.Texts), len(r.Tokens))
	}
	return out, nil
}

func (c *client) Render(ctx context.Context, r *runners.RenderRequest) (*runners.RenderResult, error) {
	i, err := c.about(ctx)
	if err != nil {
		return nil, err
	}
	if err := r.Check(i); err != nil {
		return nil, err
	}
	n := len(r.Conversations)
	b, err := c.post(ctx, opRender, r, min(n*6*maxRendered, 1<<30), n)
	if err != nil {
		return nil, err
	}
	var raw struct {
		Rendered []cbor.RawMessage `cbor:"rendered"`
	}
	if err := decode(b, 2*maxRendered, &raw); err != nil {
		return nil, lie(opRender, "%v", err)
	}
	out := &runners.RenderResult{}
	if out.Rendered, err = items[runners.Rendered](opRender, raw.Rendered, n, 2*maxRendered); err != nil {
		return nil, err
	}
	return out, checkRender(out, i)
}

func (c *client) Score(ctx context.Context, r *runners.ScoreRequest) (*runners.ScoreResult, error) {
	i, err := c.about(ctx)
	if err != nil {
		return nil, err
	}
	if err := r.Check(i); err != nil {
		return nil, err
	}
	columns := 4 + 2*min(r.TopK, i.VocabSize) + len(r.Want)
	if r.Sketch != nil {
		columns += r.Sketch.Buckets
	}
	rows := 0
	if r.Rows {
		rows = 2 * i.VocabSize
	}
	size, longest := 0, 0
	for _, s := range r.Sequences {
		size += 256 + s.Predictions()*(5*columns+rows)
		longest = max(longest, s.Predictions()*columns)
	}
	b, err := c.post(ctx, opScore, r, size, len(r.Sequences))
	if err != nil {
		return nil, err
	}
	var raw struct {
		Sequences []cbor.RawMessage `cbor:"sequences"`
		Usage     runners.Usage     `cbor:"usage"`
	}
	elements := max(longest, len(r.Sequences))
	if err := decode(b, elements, &raw); err != nil {
		return nil, lie(opScore, "%v", err)
	}
	out := &runners.ScoreResult{Usage: raw.Usage}
	if out.Sequences, err = items[runners.SequenceScore](opScore, raw.Sequences, len(r.Sequences), elements); err != nil {
		return nil, err
	}
	return out, checkScore(r, out, i)
}

func (c *client) Generate(ctx context.Context, r *runners.GenerateRequest) (*runners.GenerateResult, error) {
	i, err := c.about(ctx)
	if err != nil {
		return nil, err
	}
	if err := r.Check(i); err != nil {
		return nil, err
	}
	// 64 bytes are more than any text of a token that is not a sham; a text with
	// longer ones has room below maxRendered.
	n := len(r.Prompts)
	b, err := c.post(ctx, opGenerate, r, n*(256+r.MaxTokens*(5+5+5+64))+maxRendered, n)
	if err != nil {
		return nil, err
	}
	var raw struct {
		Generations []cbor.RawMessage `cbor:"generations"`
		Usage       runners.Usage     `cbor:"usage"`
	}
	elements := max(n, r.MaxTokens)
	if err := decode(b, elements, &raw); err != nil {
		return nil, lie(opGenerate, "%v", err)
	}
	out := &runners.GenerateResult{Usage: raw.Usage}
	if out.Generations, err = items[runners.Generation](opGenerate, raw.Generations, n, elements); err != nil {
		return nil, err
	}
	return out, checkGenerate(r, out, i)
}

// items decodes exactly n entries. They come undecoded, so that a million
// empty ones cost their bytes and no more.
func items[T any](op string, raw []cbor.RawMessage, n, elements int) ([]T, error) {
	if len(raw) != n {
		return nil, lie(op, "%d items for %d", len(raw), n)
	}
	out := make([]T, n)
	for i := range raw {
		if err := decode(raw[i], elements, &out[i]); err != nil {
			return nil, lie(op, "item %d: %v", i, err)
		}
	}
	return out, nil
}

// post asks and gives the bytes of an answer, at most limit and some.
func (c *client) post(ctx context.Context, op string, q any, limit, n int) ([]byte, error) {
	body, err := enc.Marshal(q)
	if err != nil {
		return nil, fmt.Errorf("%s: encoding the request: %w", op, err)
	}
	if len(body) > maxRequest {
		return nil, runners.Refused(runners.CodeTooLarge, -1, "a request of %d bytes; at most %d", len(body), maxRequest)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://box/v1/"+op, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", contentType)
	resp, err := c.http.Do(r)
	if err != nil {
		if ctx.Err() != nil {
			return nil, fmt.Errorf("%s: %w", op, ctx.Err())
		}
		return nil, fmt.Errorf("%s: asking the model server: %w", op, err)
	}
	defer resp.Body.Close()
	limit += slack
	b, err := readAll(resp, limit)
	switch {
	case err != nil && ctx.Err() != nil:
		return nil, fmt.Errorf("%s: %w", op, ctx.Err())
	case err != nil:
		return nil, fmt.Errorf("%s: reading the answer: %w", op, err)
	case len(b) > limit:
		return nil, lie(op, "more than %d bytes", limit)
	}
	switch resp.StatusCode {
	case http.StatusOK:
		return b, nil
	case http.StatusUnprocessableEntity:
		e := new(runners.Error)
		if err := decode(b, 0, e); err != nil {
			return nil, lie(op, "its refusal: %v", err)
		}
		if !slices.Contains(codes, e.Code) || e.Item < -1 || e.Item >= max(n, 0) && e.Item != -1 {
			return nil, lie(op, "a refusal with code %.32q and item %d", string(e.Code), e.Item)
		}
		e.Message = clip(e.Message)
		return nil, e
	default:
		return nil, fmt.Errorf("%s: the model server failed (status %d): %q", op, resp.StatusCode, clip(strings.TrimSpace(string(b))))
	}
}

// readAll reads at most limit+1 bytes, into one buffer where the length is told.
func readAll(resp *http.Response, limit int) ([]byte, error) {
	var buf bytes.Buffer
	if n := resp.ContentLength; n > 0 && n <= int64(limit) {
		buf.Grow(int(n) + bytes.MinRead)
	}
	_, err := buf.ReadFrom(io.LimitReader(resp.Body, int64(limit)+1))
	return buf.Bytes(), err
}

var codes = []runners.Code{runners.CodeInvalid, runners.CodeTooLarge, runners.CodeContext, runners.CodeToken,
	runners.CodeNoTemplate, runners.CodeTemplate, runners.CodeUnsupported, runners.CodeEngine}

func clip(s string) string {
	const most = 2000
	if len(s) > most {
		s = s[:most] + "…"
	}
	return strings.ToValidUTF8(s, "�")
}
