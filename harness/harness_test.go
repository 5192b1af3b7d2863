package harness

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weighbridge/weighbridge/harness/calibration"
	"github.com/weighbridge/weighbridge/harness/decide"
	"github.com/weighbridge/weighbridge/harness/measure"
	"github.com/weighbridge/weighbridge/harness/plan"
	"github.com/weighbridge/weighbridge/harness/sandbox"
	"github.com/weighbridge/weighbridge/probes"
	"github.com/weighbridge/weighbridge/record"
	"github.com/weighbridge/weighbridge/runners"
	"github.com/weighbridge/weighbridge/runners/runnertest"
	"github.com/weighbridge/weighbridge/suites"
	"github.com/weighbridge/weighbridge/weights"
	"github.com/weighbridge/weighbridge/weights/gguf"
	"github.com/weighbridge/weighbridge/weights/quant"
)

// file writes a GGUF model of one small tensor.
func file(t *testing.T, arch string, values ...float32) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "m.gguf")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	values = append(values, make([]float32, 64-len(values))...)
	err = gguf.Write(f, []gguf.KV{
		{Key: "general.architecture", Value: gguf.Value{Type: gguf.String, Data: arch}},
		{Key: "tokenizer.ggml.model", Value: gguf.Value{Type: gguf.String, Data: "gpt2"}},
		{Key: "tokenizer.ggml.tokens", Value: gguf.Value{Type: gguf.Array, Elem: gguf.String, Data: []string{"a", "b"}}},
	}, []gguf.Source{{Name: "token_embd.weight", Type: quant.F32, Shape: []uint64{32, 2}, Data: func(w io.Writer) error {
		return binary.Write(w, binary.LittleEndian, values)
	}}})
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// scripted is a probe made of a function.
type scripted struct {
	id    string
	needs probes.Needs
	run   func(context.Context, *probes.Input) (*probes.Output, error)
}

func (s *scripted) About() probes.About {
	return probes.About{ID: s.id, Question: s.id + "?", Needs: s.needs, Sees: []probes.Family{probes.TOK}}
}
func (s *scripted) Run(ctx context.Context, in *probes.Input) (*probes.Output, error) {
	return s.run(ctx, in)
}

func p(x float64) *float64 { return &x }

// ask makes both models continue a prompt.
func ask(ctx context.Context, in *probes.Input, words string) (b, c *runners.GenerateResult, err error) {
	return probes.Both(ctx, in, func(ctx context.Context, m runners.Model) (*runners.GenerateResult, error) {
		return m.Generate(ctx, &runners.GenerateRequest{Prompts: [][]runners.Token{runnertest.Tokens(words)}, MaxTokens: 4})
	})
}

func init() {
	for _, s := range []*scripted{
		{id: "asks", run: func(ctx context.Context, in *probes.Input) (*probes.Output, error) {
			b, c, err := ask(ctx, in, fmt.Sprint("tell me ", in.Rand("x").IntN(1000)))
			if err != nil {
				return nil, err
			}
			return &probes.Output{Tests: 1, Findings: []record.Finding{{Rule: "same", Tier: record.Consistent, Class: record.Behaviour, P: p(0.4)}},
				Items: []record.Item{{ID: "1", Baseline: string(b.Generations[0].Text), Candidate: string(c.Generations[0].Text)}},
				Leads: []probes.Lead{{Kind: "trigger", Text: "x", From: "asks"}}}, nil
		}},
		{id: "convicts", run: func(context.Context, *probes.Input) (*probes.Output, error) {
			return &probes.Output{Tests: 10, Findings: []record.Finding{{Rule: "strong", Tier: record.Proven, Class: record.Backdoor, Title: "proven", P: p(1e-9)}}}, nil
		}},
		{id: "overclaims", run: func(context.Context, *probes.Input) (*probes.Output, error) {
			return &probes.Output{Tests: 10, Findings: []record.Finding{{Rule: "weak", Tier: record.Proven, Class: record.Backdoor, Title: "weak", P: p(0.005)}}}, nil
		}},
		{id: "diverges", run: func(context.Context, *probes.Input) (*probes.Output, error) {
			return &probes.Output{Findings: []record.Finding{{Rule: "far", Statistic: "distance", Tier: record.Divergent, Class: record.Backdoor, Title: "far", Value: p(3)}}}, nil
		}},
		{id: "expects-leads", run: func(_ context.Context, in *probes.Input) (*probes.Output, error) {
			if len(in.Leads) != 1 || in.Leads[0].From != "asks" {
				return nil, fmt.Errorf("leads are %v", in.Leads)
			}
			return &probes.Output{}, nil
		}},
		{id: "wants-template", needs: probes.Needs{Template: true}, run: func(context.Context, *probes.Input) (*probes.Output, error) {
			return nil, errors.New("ran without a template")
		}},
		{id: "reads-files", needs: probes.Needs{Files: true}, run: func(_ context.Context, in *probes.Input) (*probes.Output, error) {
			if in.Weights == nil {
				return nil, errors.New("no weights")
			}
			return &probes.Output{Findings: []record.Finding{{Rule: "read", Tier: record.Consistent, Class: record.Relation}}}, nil
		}},
		{id: "fails", run: func(context.Context, *probes.Input) (*probes.Output, error) {
			return nil, errors.New("a bug")
		}},
		{id: "gives-nan", run: func(context.Context, *probes.Input) (*probes.Output, error) {
			nan := 0.0
			nan /= nan
			return &probes.Output{Findings: []record.Finding{{Rule: "nan", Value: &nan}}}, nil
		}},
		{id: "forgets-tests", run: func(context.Context, *probes.Input) (*probes.Output, error) {
			return &probes.Output{Findings: []record.Finding{{Rule: "p", P: p(0.5)}}}, nil
		}},
	} {
		probes.Register(s)
	}
}

// launcher runs fakes; every session is a fresh one.
type launcher struct {
	options runnertest.Options
	refuse  *runners.Error // Info's answer, when set
	crash   bool           // Generate ends the box
	started *int
}

func (l *launcher) Key() string { return "fake" }
func (l *launcher) Launch(context.Context) (measure.Session, error) {
	*l.started++
	return &session{l: l, fake: runnertest.New(l.options)}, nil
}

type session struct {
	l    *launcher
	fake *runnertest.Fake
}

func (s *session) Model() runners.Model {
	if s.l.refuse != nil {
		return refusing{s.fake, s.l.refuse}
	}
	if s.l.crash {
		return crashing{s.fake}
	}
	return s.fake
}
func (s *session) Proof() record.Box {
	return record.Box{Runtime: "fake", Checks: []record.Check{{Name: "walls", OK: true}}}
}
func (s *session) End(context.Context) (sandbox.End, error) {
	return sandbox.End{Kind: sandbox.Crashed}, nil
}
func (s *session) GiveUp(context.Context, string) (sandbox.End, error) {
	return sandbox.End{Kind: sandbox.Hung}, nil
}
func (s *session) Stop(context.Context) error { return nil }

type refusing struct {
	runners.Model
	with *runners.Error
}

func (r refusing) Info(context.Context) (*runners.Info, error) { return nil, r.with }

type crashing struct{ runners.Model }

func (crashing) Generate(context.Context, *runners.GenerateRequest) (*runners.GenerateResult, error) {
	return nil, io.ErrUnexpectedEOF
}

// bench is one set-up to run.
type bench struct {
	steps               []string
	required            []string
	baseline, candidate runnertest.Options
	refuseB, refuseC    *runners.Error
	crashB, crashC      bool
	files               [2]string
	store               string
	started             int
	seed                uint64
	evidence            *Evidence
	documents           []probes.Document
	documentDigest      string
	calibration         *Calibration
}

func (b *bench) run(t *testing.T, ctx context.Context) (*Result, error) {
	t.Helper()
	if b.files[0] == "" {
		b.files = [2]string{file(t, "llama", 1, 2), file(t, "llama", 1, 3)}
	}
	if b.store == "" {
		b.store = t.TempDir()
	}
	store, err := measure.OpenStore(b.store)
	if err != nil {
		t.Fatal(err)
	}
	suite := &suites.Suite{Name: "test", Level: probes.Quick, Sources: []suites.Source{{Name: "test", Digest: "sha256:77"}}}
	for _, id := range b.steps {
		suite.Entries = append(suite.Entries, suites.Entry{ID: id, Probe: id, Required: slices.Contains(b.required, id)})
	}
	return Diff(ctx, Config{
		Baseline: weights.Artifact{Model: b.files[0]}, Candidate: weights.Artifact{Model: b.files[1]},
		Suite: suite, Seed: b.seed, Policy: decide.Default(), Tool: "test", Engine: "fake", Store: store, Evidence: b.evidence, Calibration: b.calibration,
		Documents: b.documents, DocumentDigest: b.documentDigest,
		Launch: func(side string, _ *weights.Model) measure.Launcher {
			if side == "baseline" {
				return &launcher{b.baseline, b.refuseB, b.crashB, &b.started}
			}
			return &launcher{b.candidate, b.refuseC, b.crashC, &b.started}
		},
	})
}

// Evidence stands in the record, with what it was judged for, and the policy
// weighs it; a fault in finding it ends the run before anything is measured.
func TestEvidence(t *testing.T) {
	found := []record.Evidence{{Kind: record.ModelSignature, State: record.Valid, Detail: "signed", Signer: "team"}}
	links := []record.Link{{From: "model", Role: "dataset", Name: "train", State: record.Ambiguous}}
	var asked int
	e := &Evidence{Model: "m", Environment: "prod", Now: time.Date(2026, 5, 1, 14, 0, 0, 0, time.FixedZone("", 7200)),
		Find: func(_ context.Context, b, c *weights.Model) ([]record.Evidence, []record.Link, error) {
			if asked++; b.Artifact().Model == c.Artifact().Model {
				t.Error("both sides are the same file")
			}
			return found, links, nil
		}}
	bench := bench{steps: []string{"asks"}, required: []string{"asks"}, evidence: e}
	res, err := bench.run(t, t.Context())
	if err != nil {
		t.Fatal(err)
	}
	m := res.Run.Meta
	if m.Model != "m" || m.Environment != "prod" || m.Now != "2026-05-01T12:00:00Z" || asked != 1 {
		t.Errorf("asked %d times, and the record says %+v", asked, m)
	}
	if d := cmp.Diff(found, res.Run.Evidence) + cmp.Diff(links, res.Run.Lineage); d != "" {
		t.Error(d)
	}
	boom := errors.New("boom")
	e.Find = func(context.Context, *weights.Model, *weights.Model) ([]record.Evidence, []record.Link, error) {
		return nil, nil, boom
	}
	bench.started, bench.store = 0, ""
	if _, err := bench.run(t, t.Context()); !errors.Is(err, boom) || bench.started > 0 {
		t.Errorf("got %v after %d boxes", err, bench.started)
	}
	// Nobody asked: the record says so, and holds no time.
	bench.evidence = nil
	if res, err = bench.run(t, t.Context()); err != nil {
		t.Fatal(err)
	}
	if m := res.Run.Meta; m.Now != "" || m.Model != "" || len(res.Run.Evidence) != 1 || res.Run.Evidence[0].State != record.NotAsked {
		t.Errorf("%+v, %v", m, res.Run.Evidence)
	}
}

func TestVerdicts(t *testing.T) {
	for name, tc := range map[string]struct {
		bench   bench
		want    record.Outcome
		finding string // an ID that must be there
	}{
		"approve":            {bench{steps: []string{"asks", "expects-leads", "reads-files"}, required: []string{"asks"}}, record.Approve, "asks/same"},
		"reject":             {bench{steps: []string{"asks", "convicts"}, required: []string{"asks"}}, record.Reject, "convicts/strong"},
		"not after Holm":     {bench{steps: []string{"asks", "overclaims"}, required: []string{"asks"}}, record.Approve, "overclaims/weak"},
		"required, unmet":    {bench{steps: []string{"asks", "wants-template"}, required: []string{"asks", "wants-template"}, candidate: runnertest.Options{NoTemplate: true}}, record.Escalate, "asks/same"},
		"candidate unloaded": {bench{steps: []string{"asks", "reads-files"}, refuseC: runners.Refused(runners.CodeEngine, -1, "bad tensor")}, record.Reject, "load/load"},
		"engine gives up":    {bench{steps: []string{"asks", "reads-files"}, candidate: runnertest.Options{RefuseAfter: 1}}, record.Reject, "asks/box/engine"},
		"candidate crashes":  {bench{steps: []string{"asks", "reads-files"}, crashC: true}, record.Reject, "asks/box/crashed"},
	} {
		t.Run(name, func(t *testing.T) {
			res, err := tc.bench.run(t, t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if got := res.Run.Verdict.Outcome; got != tc.want {
				t.Errorf("got %s: %v", got, res.Run.Verdict.Reasons)
			}
			if !slices.ContainsFunc(res.Run.Findings, func(f record.Finding) bool { return f.ID == tc.finding }) {
				t.Errorf("no finding %s among %v", tc.finding, res.Run.Findings)
			}
		})
	}
}

func TestFaultsNeverBecomeVerdicts(t *testing.T) {
	for name, tc := range map[string]struct {
		bench bench
		want  error
		text  string
	}{
		"probe fails":             {bench{steps: []string{"fails"}}, ErrMeasure, "a bug"},
		"NaN":                     {bench{steps: []string{"gives-nan"}}, ErrMeasure, "NaN"},
		"uncounted p-value":       {bench{steps: []string{"forgets-tests"}}, ErrMeasure, "hypotheses"},
		"baseline crashes":        {bench{steps: []string{"asks"}, crashB: true}, ErrMeasure, "baseline"},
		"both crash":              {bench{steps: []string{"asks"}, crashB: true, crashC: true}, ErrMeasure, "box ended"},
		"baseline does not load":  {bench{steps: []string{"asks"}, refuseB: runners.Refused(runners.CodeEngine, -1, "bad tensor")}, ErrBaseline, "bad tensor"},
		"baseline's template":     {bench{steps: []string{"asks"}, baseline: runnertest.Options{Template: func(runners.Conversation) (string, error) { return "", errors.New("raised") }}}, ErrBaseline, "raised"},
		"nothing to run":          {bench{}, plan.ErrPlan, "no probe"},
		"artifact does not exist": {bench{steps: []string{"asks"}, files: [2]string{"/no/such/file", "/no/such/file"}}, os.ErrNotExist, "/no/such/file"},
	} {
		t.Run(name, func(t *testing.T) {
			res, err := tc.bench.run(t, t.Context())
			if !errors.Is(err, tc.want) || !strings.Contains(err.Error(), tc.text) || res != nil {
				t.Errorf("got %v, %v; want %v about %q", res, err, tc.want, tc.text)
			}
		})
	}
}

func TestTheSameRunLeavesTheSameRecord(t *testing.T) {
	b := bench{steps: []string{"asks", "convicts", "reads-files"}, required: []string{"asks"}}
	first, err := b.run(t, t.Context())
	if err != nil {
		t.Fatal(err)
	}
	boxes := b.started
	second, err := b.run(t, t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(first.Run, second.Run) + cmp.Diff(first.Items, second.Items); d != "" {
		t.Error(d)
	}
	if b.started != boxes {
		t.Errorf("%d more boxes were started for a run that is remembered", b.started-boxes)
	}
	b.seed, b.store = 2, ""
	third, err := b.run(t, t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if third.Run.Meta.Plan == first.Run.Meta.Plan {
		t.Error("another seed has the same plan")
	}
}

func TestUnrelatedPairIsSaidAndEscalates(t *testing.T) {
	b := bench{steps: []string{"asks"}, required: []string{"asks"}, files: [2]string{file(t, "llama", 1), file(t, "gemma", 1)}}
	res, err := b.run(t, t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if res.Run.Meta.Relation != "unrelated" || res.Run.Verdict.Outcome != record.Escalate || len(res.Items) != 1 {
		t.Errorf("relation %s, verdict %s, %d items", res.Run.Meta.Relation, res.Run.Verdict.Outcome, len(res.Items))
	}
}

func TestCancelledRunIsNoVerdict(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	b := bench{steps: []string{"asks"}}
	if _, err := b.run(t, ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// A calibration of this baseline and suite is in the plan, in the record and in
// the tiers, before the policy decides; one of anything else is refused before
// a box starts.
func TestCalibration(t *testing.T) {
	b := bench{steps: []string{"asks", "diverges"}, files: [2]string{file(t, "llama", 1, 2), file(t, "llama", 1, 3)}, seed: 1}
	alone, err := b.run(t, t.Context())
	if err != nil {
		t.Fatal(err)
	}
	fit := func(seed uint64, value float64) *Calibration {
		key := calibration.Key{Baseline: alone.Run.Meta.Baseline, Seed: seed, Level: "quick", Suites: []string{"test@sha256:77"}}
		return &Calibration{Digest: "sha256:88", Signer: "alice", File: calibration.Fit("test", "fake", key, []calibration.Measured{{
			Variant:  calibration.Variant{Name: "v"},
			Probes:   []record.ProbeRun{{Probe: "diverges", Status: "ran", Budget: 100}},
			Findings: []record.Finding{{Probe: "diverges", Rule: "far", Statistic: "distance", Tier: record.Divergent, Class: record.Backdoor, Value: p(value)}},
		}})}
	}
	for value, want := range map[float64]record.Tier{5: record.Consistent, 2: record.Divergent} {
		b.calibration = fit(1, value)
		res, err := b.run(t, t.Context())
		if err != nil {
			t.Fatal(err)
		}
		m, f := res.Run.Meta, res.Run.Findings[1]
		if f.Tier != want || f.BankN != 1 || m.Calibration != "sha256:88" || m.CalibrationSigner != "alice" || m.CalibrationEngine != "same" || m.Plan == alone.Run.Meta.Plan {
			t.Errorf("%s of %d variants, %+v", f.Tier, f.BankN, m)
		}
		escalated := slices.ContainsFunc(res.Run.Verdict.Reasons, func(r record.Reason) bool { return slices.Contains(r.Findings, f.ID) })
		if escalated != (want == record.Divergent) {
			t.Errorf("the policy decided on %s: %+v", f.Tier, res.Run.Verdict.Reasons)
		}
	}
	b.calibration, b.started, b.store = fit(2, 5), 0, ""
	if _, err := b.run(t, t.Context()); !errors.Is(err, calibration.ErrFile) || b.started > 0 {
		t.Errorf("another seed: %v after %d boxes", err, b.started)
	}
	if alone.Relative <= 0 {
		t.Errorf("the candidate moved by %v", alone.Relative)
	}
}

var budgetSeen int

func init() {
	probes.Register(&scripted{id: "sees-budget", run: func(_ context.Context, in *probes.Input) (*probes.Output, error) {
		budgetSeen = in.Budget
		return &probes.Output{}, nil
	}})
}

// What steps leave over goes to the next step that may take it, once.
func TestRest(t *testing.T) {
	store, err := measure.OpenStore(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	started := 0
	run := func(entries ...suites.Entry) *Result {
		t.Helper()
		res, err := Diff(t.Context(), Config{
			Baseline: weights.Artifact{Model: file(t, "llama", 1, 2)}, Candidate: weights.Artifact{Model: file(t, "llama", 1, 3)},
			Suite: &suites.Suite{Name: "test", Level: probes.Quick, Entries: entries}, Policy: decide.Default(), Tool: "test", Engine: "fake", Store: store,
			Launch: func(string, *weights.Model) measure.Launcher { return &launcher{started: &started} },
		})
		if err != nil {
			t.Fatal(err)
		}
		return res
	}
	asks, takes := suites.Entry{ID: "asks", Probe: "asks", Budget: 100}, suites.Entry{ID: "takes", Probe: "sees-budget", Budget: 10, Rest: true}
	res := run(asks, takes)
	spent := max(res.Run.Probes[0].DecodedB, res.Run.Probes[0].DecodedC)
	if want := 10 + 100 - spent; spent == 0 || budgetSeen != want || res.Run.Probes[1].Budget != want {
		t.Errorf("the step was given %d tokens, and the record says %d; %d of 100 were spent before it", budgetSeen, res.Run.Probes[1].Budget, spent)
	}
	// It took its own ten, spent none of them, and the next one may have all.
	if run(asks, takes, suites.Entry{ID: "next", Probe: "sees-budget", Budget: 1, Rest: true}); budgetSeen != 1+10+100-spent {
		t.Errorf("the last step was given %d tokens", budgetSeen)
	}
	if run(asks, suites.Entry{ID: "plain", Probe: "sees-budget", Budget: 10}); budgetSeen != 10 {
		t.Errorf("a step that may not take what is left was given %d tokens", budgetSeen)
	}
}
