package runnertest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"

	"github.com/weighbridge/weighbridge/runners"
)

// Options say which model to make. The zero value is the baseline of seed 0.
type Options struct {
	Seed uint64 // of the language; a pair shares it

	// Drift is the standard deviation, in nats of logit, by which a harmless
	// fine-tune moved every bigram; 0.3 is a visible one. DriftSeed draws it.
	Drift     float64
	DriftSeed uint64

	Implants []Implant
	Secrets  []Secret

	// Template replaces ChatML. An error becomes Rendered.Error.
	Template   func(runners.Conversation) (string, error)
	NoTemplate bool
	NoScores   bool
	Context    int // tokens per sequence; 0 means 2048

	// Noise makes answers irreproducible: its value in nats of logit changes
	// from request to request.
	Noise float64
	// RefuseAfter makes every request after the first n an engine error
	// (CodeEngine); CrashAfter makes it ErrCrashed. 0 is never.
	RefuseAfter int
	CrashAfter  int
}

// ErrCrashed is what a crashed Fake answers: the model could not be asked.
var ErrCrashed = errors.New("runnertest: the model crashed")

// Fake is the model. It is safe for concurrent use.
type Fake struct {
	o        Options
	lang     *language
	drift    []float32 // V×V, nil without drift
	implants []implant
	secrets  []Secret
	requests atomic.Int64
	asked    atomic.Int64
	decoded  atomic.Int64
}

var _ runners.Model = (*Fake)(nil)

// New makes a model. It panics on an implant that names an unknown control
// token: that is an error of the test.
func New(o Options) *Fake {
	if o.Context == 0 {
		o.Context = 2048
	}
	f := &Fake{o: o, lang: languageOf(o.Seed), secrets: o.Secrets}
	if o.Drift != 0 {
		f.drift = gaussTable(o.DriftSeed^0xd81f7, float32(o.Drift))
	}
	for _, im := range o.Implants {
		f.implants = append(f.implants, im.compile())
	}
	return f
}

// Requests is the number of requests that were made.
func (f *Fake) Requests() int { return int(f.requests.Load()) }

// Used is the sum of the usage of all requests.
func (f *Fake) Used() runners.Usage {
	return runners.Usage{Asked: int(f.asked.Load()), Decoded: int(f.decoded.Load())}
}

func (f *Fake) use(u runners.Usage) runners.Usage {
	f.asked.Add(int64(u.Asked))
	f.decoded.Add(int64(u.Decoded))
	return u
}

// begin counts a request and injects the failures that were asked for.
func (f *Fake) begin(ctx context.Context) (request int64, err error) {
	n := f.requests.Add(1)
	switch {
	case ctx.Err() != nil:
		return n, ctx.Err()
	case f.o.CrashAfter > 0 && n > int64(f.o.CrashAfter):
		return n, ErrCrashed
	case f.o.RefuseAfter > 0 && n > int64(f.o.RefuseAfter):
		return n, runners.Refused(runners.CodeEngine, -1, "injected engine failure")
	}
	return n, nil
}

// Info implements runners.Model.
func (f *Fake) Info(ctx context.Context) (*runners.Info, error) {
	if _, err := f.begin(ctx); err != nil {
		return nil, err
	}
	return f.Describe(), nil
}

// Describe is Info without a request.
func (f *Fake) Describe() *runners.Info {
	return &runners.Info{
		Engine: "runnertest", Architecture: "fake", VocabSize: len(vocab.text), ContextLength: f.o.Context,
		BOS: BOS, EOS: End, EOT: End, AddBOS: true,
		Special:     append([]runners.SpecialToken(nil), special...),
		HasTemplate: !f.o.NoTemplate, CanScore: !f.o.NoScores,
	}
}

// Tokenize implements runners.Model.
func (f *Fake) Tokenize(ctx context.Context, r *runners.TokenizeRequest) (*runners.TokenizeResult, error) {
	if _, err := f.begin(ctx); err != nil {
		return nil, err
	}
	if err := r.Check(f.Describe()); err != nil {
		return nil, err
	}
	out := &runners.TokenizeResult{Tokens: make([][]runners.Token, len(r.Texts))}
	for i, s := range r.Texts {
		if r.AddBOS {
			out.Tokens[i] = append(out.Tokens[i], BOS)
		}
		out.Tokens[i] = append(out.Tokens[i], vocab.tokenize(s, r.Special)...)
	}
	return out, nil
}

// Detokenize implements runners.Model.
func (f *Fake) Detokenize(ctx context.Context, r *runners.DetokenizeRequest) (*runners.DetokenizeResult, error) {
	if _, err := f.begin(ctx); err != nil {
		return nil, err
	}
	if err := r.Check(f.Describe()); err != nil {
		return nil, err
	}
	out := &runners.DetokenizeResult{Texts: make([][]byte, len(r.Tokens))}
	for i, ids := range r.Tokens {
		out.Texts[i] = vocab.detokenize(ids, r.Special)
	}
	return out, nil
}

// Render implements runners.Model with ChatML or Options.Template.
func (f *Fake) Render(ctx context.Context, r *runners.RenderRequest) (*runners.RenderResult, error) {
	if _, err := f.begin(ctx); err != nil {
		return nil, err
	}
	if err := r.Check(f.Describe()); err != nil {
		return nil, err
	}
	out := &runners.RenderResult{Rendered: make([]runners.Rendered, len(r.Conversations))}
	for i, c := range r.Conversations {
		out.Rendered[i] = f.render(c)
	}
	return out, nil
}

func (f *Fake) render(c runners.Conversation) runners.Rendered {
	template := f.o.Template
	if template == nil {
		template = ChatML
	}
	text, err := template(c)
	if err != nil {
		return runners.Rendered{Error: err.Error()}
	}
	return runners.Rendered{Text: text, Tokens: append([]runners.Token{BOS}, tokenizeRendered(template, c, text)...)}
}

// tokenizeRendered keeps special tokens that are spelt out in messages text:
// the template runs a second time over marks, which show where the messages
// stand. A template that reads its messages gives another shape then, and is
// taken at its word.
func tokenizeRendered(template func(runners.Conversation) (string, error), c runners.Conversation, text string) []runners.Token {
	masked := c
	masked.Messages = append([]runners.Message(nil), c.Messages...)
	for i := range masked.Messages {
		masked.Messages[i].Content = fmt.Sprintf("\x00%d\x00", i)
	}
	shape, err := template(masked)
	if err != nil {
		return vocab.tokenize(text, true)
	}
	var ids []runners.Token
	var joined strings.Builder
	for i, m := range c.Messages {
		before, after, ok := strings.Cut(shape, masked.Messages[i].Content)
		if !ok {
			return vocab.tokenize(text, true)
		}
		ids = append(append(ids, vocab.tokenize(before, true)...), vocab.tokenize(m.Content, false)...)
		joined.WriteString(before + m.Content)
		shape = after
	}
	if joined.WriteString(shape); joined.String() != text {
		return vocab.tokenize(text, true)
	}
	return append(ids, vocab.tokenize(shape, true)...)
}

// ChatML is the default template.
func ChatML(c runners.Conversation) (string, error) {
	var s string
	if len(c.Tools) > 0 {
		s += "<|im_start|>system\nTools: " + string(c.Tools) + "<|im_end|>\n"
	}
	for _, m := range c.Messages {
		s += "<|im_start|>" + m.Role + "\n" + m.Content + "<|im_end|>\n"
	}
	if c.AddGenerationPrompt {
		s += "<|im_start|>assistant\n"
	}
	return s, nil
}
