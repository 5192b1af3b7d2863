package measure

import (
	"context"
	"errors"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weighbridge/weighbridge/harness/sandbox"
	"github.com/weighbridge/weighbridge/record"
	"github.com/weighbridge/weighbridge/runners"
	"github.com/weighbridge/weighbridge/runners/runnertest"
)

// stage is a launcher whose sessions do what a script says: each letter of it
// is the fate of one request. '.' answers, 'c' crashes, 'h' hangs, 'r' refuses,
// 'b' breaks the pipe of a box that lives on. Past its end all is answered.
type stage struct {
	key      string
	script   string
	launched int
	asked    int
	stopped  int
	launch   []error // outcome of each launch, nil past its end
}

func (s *stage) Key() string { return s.key }

func (s *stage) Launch(context.Context) (Session, error) {
	s.launched++
	if s.launched <= len(s.launch) && s.launch[s.launched-1] != nil {
		return nil, s.launch[s.launched-1]
	}
	return &actor{stage: s, Model_: runnertest.New(runnertest.Options{}), ended: make(chan sandbox.End, 1)}, nil
}

type actor struct {
	stage  *stage
	Model_ *runnertest.Fake
	ended  chan sandbox.End
}

func (a *actor) Model() runners.Model { return &acting{a.Model_, a} }
func (a *actor) Proof() record.Box    { return record.Box{Side: "candidate", Runtime: "test"} }
func (a *actor) Stop(context.Context) error {
	a.stage.stopped++
	return nil
}
func (a *actor) GiveUp(context.Context, string) (sandbox.End, error) {
	return sandbox.End{Kind: sandbox.Hung}, nil
}
func (a *actor) End(ctx context.Context) (sandbox.End, error) {
	select {
	case e := <-a.ended:
		return e, nil
	case <-ctx.Done():
		return sandbox.End{}, ctx.Err()
	default:
		return sandbox.End{}, errors.New("it lives")
	}
}

type acting struct {
	runners.Model
	a *actor
}

func (m *acting) Tokenize(ctx context.Context, r *runners.TokenizeRequest) (*runners.TokenizeResult, error) {
	s := m.a.stage
	fate := byte('.')
	if s.asked < len(s.script) {
		fate = s.script[s.asked]
	}
	s.asked++
	switch fate {
	case 'c':
		m.a.ended <- sandbox.End{Kind: sandbox.Crashed, ExitCode: 139}
		return nil, io.ErrUnexpectedEOF
	case 'h':
		<-ctx.Done()
		return nil, ctx.Err()
	case 'r':
		return nil, runners.Refused(runners.CodeToken, 0, "no")
	case 'b':
		return nil, io.ErrUnexpectedEOF
	}
	return m.Model.Tokenize(ctx, r)
}

func model(t *testing.T, s *stage, store *Store, identity string) *Model {
	m := NewModel(Config{Side: "candidate", Identity: identity, Store: store, Launcher: s,
		Timeout: func(int) time.Duration { return 50 * time.Millisecond }})
	t.Cleanup(func() { m.Close(context.Background()) })
	return m
}

func hello(m runners.Model) (*runners.TokenizeResult, error) {
	return m.Tokenize(context.Background(), &runners.TokenizeRequest{Texts: []string{"hello there"}})
}

func TestAnswersAreRemembered(t *testing.T) {
	store, s := openStore(t), &stage{key: "e"}
	first, err := hello(model(t, s, store, "id"))
	if err != nil {
		t.Fatal(err)
	}
	again := &stage{key: "e"}
	second, err := hello(model(t, again, store, "id"))
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(first, second); d != "" {
		t.Error(d)
	}
	if again.launched != 0 {
		t.Error("a box was started for what is remembered")
	}
}

// The two sides of a pair with the same weights measure once.
func TestTheSameWeightsMeasureOnce(t *testing.T) {
	store := openStore(t)
	b, c := &stage{key: "e"}, &stage{key: "e"}
	var wg sync.WaitGroup
	for _, m := range []*Model{model(t, b, store, "id"), model(t, c, store, "id")} {
		wg.Go(func() {
			if _, err := hello(m); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if b.asked+c.asked != 1 {
		t.Errorf("the engines were asked %d times", b.asked+c.asked)
	}
}

func TestNothingIsAnsweredFromAnothersEntry(t *testing.T) {
	store := openStore(t)
	if _, err := hello(model(t, &stage{key: "e"}, store, "id")); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		key, identity, text string
		special             bool
	}{
		"other weights": {"e", "id2", "hello there", false},
		"other engine":  {"e2", "id", "hello there", false},
		"other text":    {"e", "id", "hello here", false},
		"other option":  {"e", "id", "hello there", true},
	} {
		s := &stage{key: tc.key}
		m := model(t, s, store, tc.identity)
		if _, err := m.Tokenize(context.Background(), &runners.TokenizeRequest{Texts: []string{tc.text}, Special: tc.special}); err != nil {
			t.Fatal(err)
		}
		if s.asked != 1 {
			t.Errorf("%s: the engine was asked %d times, want 1", name, s.asked)
		}
	}
}

func TestBoxesThatEnd(t *testing.T) {
	ended := &sandbox.EndError{Name: "candidate", End: sandbox.End{Kind: sandbox.OOM}}
	for name, tc := range map[string]struct {
		script   string
		launch   []error
		kinds    []sandbox.EndKind // of a DiedError; nil for an answer
		launched int
	}{
		"answers":                 {".", nil, nil, 1},
		"crashes once":            {"c", nil, nil, 2},
		"crashes twice":           {"cc", nil, nil, 3},
		"crashes again and again": {"ccc", nil, []sandbox.EndKind{sandbox.Crashed, sandbox.Crashed, sandbox.Crashed}, 3},
		"hangs, then crashes":     {"hhc", nil, []sandbox.EndKind{sandbox.Hung, sandbox.Hung, sandbox.Crashed}, 3},
		"dies while it starts":    {"", []error{ended, ended, ended}, []sandbox.EndKind{sandbox.OOM, sandbox.OOM, sandbox.OOM}, 3},
		"starts at second try":    {"", []error{ended}, nil, 2},
	} {
		t.Run(name, func(t *testing.T) {
			s := &stage{key: "e", script: tc.script, launch: tc.launch}
			_, err := hello(model(t, s, openStore(t), "id"))
			if s.launched != tc.launched {
				t.Errorf("%d boxes were started, want %d", s.launched, tc.launched)
			}
			died := (*DiedError)(nil)
			if tc.kinds == nil {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			if !errors.As(err, &died) {
				t.Fatalf("got %v, want a DiedError", err)
			}
			var kinds []sandbox.EndKind
			for _, e := range died.Ends {
				kinds = append(kinds, e.Kind)
			}
			if d := cmp.Diff(tc.kinds, kinds); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestFaultsAreNotDeaths(t *testing.T) {
	died := (*DiedError)(nil)
	for name, s := range map[string]*stage{
		"the host cannot start boxes":        {key: "e", launch: []error{sandbox.ErrUnavailable}},
		"the pipe broke and the box did not": {key: "e", script: "b"},
	} {
		_, err := hello(model(t, s, openStore(t), "id"))
		if err == nil || errors.As(err, &died) {
			t.Errorf("%s: got %v, want a fault", name, err)
		}
	}
}

func TestRefusalsPassThroughAndAreNotKept(t *testing.T) {
	s := &stage{key: "e", script: "r"}
	m := model(t, s, openStore(t), "id")
	refused := (*runners.Error)(nil)
	if _, err := hello(m); !errors.As(err, &refused) || refused.Code != runners.CodeToken {
		t.Fatalf("got %v", err)
	}
	if _, err := hello(m); err != nil {
		t.Fatalf("asked again: %v", err)
	}
}

func TestCancelledRequestIsNoDeath(t *testing.T) {
	s := &stage{key: "e", script: "h"}
	m := model(t, s, openStore(t), "id")
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	if _, err := m.Tokenize(ctx, &runners.TokenizeRequest{Texts: []string{"x"}}); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("got %v", err)
	}
}

func TestMetersCountRememberedAnswersToo(t *testing.T) {
	store := openStore(t)
	var us []runners.Usage
	for range 2 {
		meter := &Meter{}
		m := model(t, &stage{key: "e"}, store, "id").Metered(meter)
		if _, err := m.Generate(context.Background(), &runners.GenerateRequest{Prompts: [][]runners.Token{runnertest.Tokens("tell me a story")}, MaxTokens: 4}); err != nil {
			t.Fatal(err)
		}
		us = append(us, meter.Usage())
	}
	if us[0].Decoded == 0 || us[0] != us[1] {
		t.Errorf("measured %+v, remembered %+v", us[0], us[1])
	}
}

func TestProofOutlivesTheBox(t *testing.T) {
	store := openStore(t)
	m := model(t, &stage{key: "e"}, store, "id")
	if _, err := hello(m); err != nil {
		t.Fatal(err)
	}
	first, err := m.Proof(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	later := &stage{key: "e"}
	second, err := model(t, later, store, "id").Proof(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(first, second); d != "" || later.launched != 0 {
		t.Errorf("%s; %d boxes started", d, later.launched)
	}
	// Equal weights share the entry, and each side is called by its own name.
	other := NewModel(Config{Side: "baseline", Identity: "id", Store: store, Launcher: later})
	third, err := other.Proof(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if first.Side != "candidate" || third.Side != "baseline" {
		t.Errorf("the proofs are of the %q and the %q", first.Side, third.Side)
	}
}
