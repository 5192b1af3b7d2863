package measure

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/weighbridge/weighbridge/harness/sandbox"
	"github.com/weighbridge/weighbridge/record"
	"github.com/weighbridge/weighbridge/runners"
	"github.com/weighbridge/weighbridge/runners/wire"
)

// Attempts is how many boxes one request may end before it is given up.
const Attempts = 3

// Session is a model that is running in a box.
type Session interface {
	Model() runners.Model
	Proof() record.Box
	// End waits for the box to end; it gives ctx's error while the box lives.
	End(ctx context.Context) (sandbox.End, error)
	// GiveUp kills a box that was waited for in vain.
	GiveUp(ctx context.Context, why string) (sandbox.End, error)
	Stop(ctx context.Context) error
}

// Launcher starts sessions of one set of weights.
type Launcher interface {
	// Key names all that turns a request into an answer beside the weights: the
	// engine build, the CPU's features and the runtime.
	Key() string
	Launch(ctx context.Context) (Session, error)
}

// DiedError says that a request ended every box it was put to.
type DiedError struct {
	Side    string
	Method  string
	Request any // the *runners.…Request
	Ends    []sandbox.End
}

func (e *DiedError) Error() string {
	var kinds []string
	for _, x := range e.Ends {
		kinds = append(kinds, string(x.Kind))
	}
	return fmt.Sprintf("the %s's box ended in the middle of a %s request, %d times in a row (%s)",
		e.Side, e.Method, len(e.Ends), strings.Join(kinds, ", "))
}

// RefusedError says which side refused a request. It wraps the *runners.Error.
type RefusedError struct {
	Side    string
	Request any // the *runners.…Request
	Err     *runners.Error
}

func (e *RefusedError) Error() string { return e.Side + ": " + e.Err.Error() }
func (e *RefusedError) Unwrap() error { return e.Err }

// Event tells of one answered request.
type Event struct {
	Side       string
	Method     string
	Usage      runners.Usage
	Remembered bool          // no engine was asked
	Took       time.Duration // box start included
}

// Config makes a Model.
type Config struct {
	Side     string // baseline or candidate, for messages
	Identity string // of the weights
	Store    *Store
	Launcher Launcher
	// OnEvent hears of every answered request; it must not block. May be nil.
	OnEvent func(Event)
	// Timeout bounds one request whose items hold so many tokens. Nil means
	// two minutes and 0.2 s a token.
	Timeout func(tokens int) time.Duration
}

// Model answers from the store, and from a box where the store is silent. The
// box starts with the first request that needs it.
type Model struct {
	*side
	meter *Meter
}

// side is what all views of one model share.
type side struct {
	Config
	key string

	mu      sync.Mutex // guards session
	session Session
}

// Meter adds up what one probe asked for. The sums are those of the answers,
// whoever computed them, and so the same in every run.
type Meter struct {
	mu sync.Mutex
	u  runners.Usage
}

func (m *Meter) add(u runners.Usage) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.u.Asked += u.Asked
	m.u.Decoded += u.Decoded
}

// Usage is the sum so far.
func (m *Meter) Usage() runners.Usage {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.u
}

// NewModel makes a Model and starts nothing.
func NewModel(c Config) *Model {
	if c.OnEvent == nil {
		c.OnEvent = func(Event) {}
	}
	if c.Timeout == nil {
		c.Timeout = func(tokens int) time.Duration {
			return 2*time.Minute + time.Duration(tokens)*200*time.Millisecond
		}
	}
	return &Model{side: &side{Config: c, key: c.Launcher.Key()}, meter: &Meter{}}
}

// Metered is the same model, its usage added to meter.
func (m *Model) Metered(meter *Meter) *Model { return &Model{m.side, meter} }

var _ runners.Model = (*Model)(nil)

// Info implements runners.Model.
func (m *Model) Info(ctx context.Context) (*runners.Info, error) {
	return ask(ctx, m, "info", "info", &struct{}{}, 0, func(ctx context.Context, x runners.Model, _ *struct{}) (*runners.Info, runners.Usage, error) {
		r, err := x.Info(ctx)
		return r, runners.Usage{}, err
	})
}

// Tokenize implements runners.Model.
func (m *Model) Tokenize(ctx context.Context, r *runners.TokenizeRequest) (*runners.TokenizeResult, error) {
	return ask(ctx, m, "tokenize", string(wire.Canonical(r)), r, 0, unmetered(runners.Model.Tokenize))
}

// Detokenize implements runners.Model.
func (m *Model) Detokenize(ctx context.Context, r *runners.DetokenizeRequest) (*runners.DetokenizeResult, error) {
	return ask(ctx, m, "detokenize", string(wire.Canonical(r)), r, 0, unmetered(runners.Model.Detokenize))
}

// Render implements runners.Model.
func (m *Model) Render(ctx context.Context, r *runners.RenderRequest) (*runners.RenderResult, error) {
	return ask(ctx, m, "render", string(wire.Canonical(r)), r, 0, unmetered(runners.Model.Render))
}

// Score implements runners.Model.
func (m *Model) Score(ctx context.Context, r *runners.ScoreRequest) (*runners.ScoreResult, error) {
	n := 0
	for _, s := range r.Sequences {
		n += len(s.Tokens)
	}
	return ask(ctx, m, "score", string(wire.Canonical(r)), r, n, func(ctx context.Context, x runners.Model, r *runners.ScoreRequest) (*runners.ScoreResult, runners.Usage, error) {
		a, err := x.Score(ctx, r)
		if err != nil {
			return nil, runners.Usage{}, err
		}
		return a, a.Usage, nil
	})
}

// Generate implements runners.Model.
func (m *Model) Generate(ctx context.Context, r *runners.GenerateRequest) (*runners.GenerateResult, error) {
	n := 0
	for _, p := range r.Prompts {
		n += len(p) + r.MaxTokens
	}
	return ask(ctx, m, "generate", string(wire.Canonical(r)), r, n, func(ctx context.Context, x runners.Model, r *runners.GenerateRequest) (*runners.GenerateResult, runners.Usage, error) {
		a, err := x.Generate(ctx, r)
		if err != nil {
			return nil, runners.Usage{}, err
		}
		return a, a.Usage, nil
	})
}

type call[Q, A any] func(context.Context, runners.Model, *Q) (*A, runners.Usage, error)

func unmetered[Q, A any](f func(runners.Model, context.Context, *Q) (*A, error)) call[Q, A] {
	return func(ctx context.Context, m runners.Model, q *Q) (*A, runners.Usage, error) {
		a, err := f(m, ctx, q)
		return a, runners.Usage{}, err
	}
}

func ask[Q, A any](ctx context.Context, m *Model, method, canonical string, q *Q, tokens int, f call[Q, A]) (*A, error) {
	began := time.Now()
	var e entry[A]
	fresh, err := m.Store.Remember(KeyOf(m.Identity, m.key, canonical), func(b []byte) bool {
		e = entry[A]{}
		return decoding.Unmarshal(b, &e) == nil && e.Answer != nil
	}, func() ([]byte, error) {
		a, u, err := put(ctx, m.side, method, q, m.Timeout(tokens), f)
		if err != nil {
			return nil, err
		}
		b, err := encoding.Marshal(&entry[A]{a, u})
		if err != nil {
			return nil, fmt.Errorf("%s %s answer: %w", m.Side, method, err)
		}
		return b, nil
	})
	if err != nil {
		return nil, err
	}
	m.meter.add(e.Usage)
	m.OnEvent(Event{m.Side, method, e.Usage, !fresh, time.Since(began)})
	return e.Answer, nil
}

// put asks a box, and a fresh one when a box ends over it.
func put[Q, A any](ctx context.Context, s *side, method string, q *Q, limit time.Duration, f call[Q, A]) (*A, runners.Usage, error) {
	var ends []sandbox.End
	for {
		live, end, err := s.live(ctx)
		if err != nil {
			return nil, runners.Usage{}, err
		}
		if live != nil {
			tctx, cancel := context.WithTimeout(ctx, limit)
			a, u, err := f(tctx, live.Model(), q)
			late := tctx.Err() != nil
			cancel()
			if err == nil {
				return a, u, nil
			}
			if refused := (*runners.Error)(nil); errors.As(err, &refused) {
				return nil, u, &RefusedError{s.Side, q, refused}
			}
			if ctx.Err() != nil {
				return nil, u, ctx.Err()
			}
			if end, err = s.bury(ctx, live, late, limit, err); err != nil {
				return nil, u, fmt.Errorf("asking the %s (%s): %w", s.Side, method, err)
			}
		}
		if ends = append(ends, end); len(ends) == Attempts {
			return nil, runners.Usage{}, &DiedError{s.Side, method, q, ends}
		}
	}
}

// live returns the running session, starting one where there is none. A guest
// that ends while it starts is an end like any other.
func (s *side) live(ctx context.Context) (Session, sandbox.End, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.session != nil {
		return s.session, sandbox.End{}, nil
	}
	x, err := s.Launcher.Launch(ctx)
	ended := (*sandbox.EndError)(nil)
	if errors.As(err, &ended) {
		return nil, ended.End, nil
	}
	if err != nil {
		return nil, sandbox.End{}, fmt.Errorf("starting the %s's box: %w", s.Side, err)
	}
	s.session = x
	return x, sandbox.End{}, s.rememberProof(x.Proof())
}

// bury finds out how the box ended that left a request unanswered. A box that
// lives on after a broken answer is a fault of ours, not an end.
func (s *side) bury(ctx context.Context, x Session, late bool, limit time.Duration, cause error) (sandbox.End, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.session == x {
		s.session = nil
	}
	if late {
		end, err := x.GiveUp(ctx, fmt.Sprintf("no answer within %v", limit))
		return end, err
	}
	wctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	end, err := x.End(wctx)
	if err != nil {
		return end, errors.Join(cause, x.Stop(ctx))
	}
	return end, nil
}

// Proof is the self-test of the box that measured, or of one started for it.
func (m *Model) Proof(ctx context.Context) (*record.Box, error) {
	b, ok, err := m.Store.Get(m.proofKey())
	if err != nil {
		return nil, err
	}
	box := &record.Box{}
	if ok && decoding.Unmarshal(b, box) == nil {
		box.Side = m.Side // equal weights on both sides share the entry
		return box, nil
	}
	x, end, err := m.live(ctx)
	if err != nil {
		return nil, err
	}
	if x == nil {
		return nil, fmt.Errorf("the %s's box ended while starting: %s", m.Side, end)
	}
	*box = x.Proof()
	return box, nil
}

func (s *side) proofKey() Key { return KeyOf(s.Identity, s.key, "proof") }

func (s *side) rememberProof(box record.Box) error {
	box.Side = ""
	b, err := encoding.Marshal(&box)
	if err != nil {
		return fmt.Errorf("the %s's box proof: %w", s.Side, err)
	}
	return s.Store.Put(s.proofKey(), b)
}

// Close stops the box, if one was started.
func (m *Model) Close(ctx context.Context) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.session == nil {
		return nil
	}
	x := m.session
	m.session = nil
	return x.Stop(ctx)
}

// Ask puts a request of any kind and drops the answer.
func (m *Model) Ask(ctx context.Context, request any) (err error) {
	switch r := request.(type) {
	case *runners.TokenizeRequest:
		_, err = m.Tokenize(ctx, r)
	case *runners.DetokenizeRequest:
		_, err = m.Detokenize(ctx, r)
	case *runners.RenderRequest:
		_, err = m.Render(ctx, r)
	case *runners.ScoreRequest:
		_, err = m.Score(ctx, r)
	case *runners.GenerateRequest:
		_, err = m.Generate(ctx, r)
	default:
		_, err = m.Info(ctx)
	}
	return err
}
