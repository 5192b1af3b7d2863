package harness

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/weighbridge/weighbridge/harness/measure"
	"github.com/weighbridge/weighbridge/harness/plan"
	"github.com/weighbridge/weighbridge/harness/stats"
	"github.com/weighbridge/weighbridge/probes"
	"github.com/weighbridge/weighbridge/record"
	"github.com/weighbridge/weighbridge/runners"
	"github.com/weighbridge/weighbridge/weights"
)

// run is one run in progress.
type run struct {
	config Config
	plan   *plan.Plan
	pair   *pair

	baseline, candidate         *measure.Model
	amplifier                   *amplifier
	baselineInfo, candidateInfo *runners.Info
	// dead is why the candidate cannot be asked at all, empty while it can.
	dead string

	record *record.Run
	items  []record.Item
	leads  []probes.Lead
	ids    map[string]int // finding IDs in use
	rest   int            // tokens that steps left over
	// surroundings says that a probe compared all that stands around the weights.
	surroundings bool

	mu      sync.Mutex // guards current, which events of both sides add to
	current *StepTiming
	index   int
	timings Timings
}

func newRun(c Config, p *plan.Plan, pr *pair) (*run, error) {
	digest, err := p.Digest()
	if err != nil {
		return nil, err
	}
	rel := pr.Comparison.Relation
	r := &run{config: c, plan: p, pair: pr, ids: map[string]int{}, record: &record.Run{
		Meta: record.Meta{
			Format: 3, Tool: c.Tool, Seed: p.Seed, Level: string(p.Level), Suites: p.Suites, Plan: digest,
			Baseline: p.Baseline, Candidate: p.Candidate, Relation: string(rel.Kind), Why: rel.Reason, Alpha: c.Policy.Alpha,
		},
		Artifacts: slices.Concat(artifacts("baseline", pr.Baseline), artifacts("candidate", pr.Candidate)),
	}}
	r.baseline = measure.NewModel(measure.Config{Side: "baseline", Identity: p.Baseline, Store: c.Store,
		Launcher: c.Launch("baseline", pr.Baseline), OnEvent: r.answered})
	r.candidate = measure.NewModel(measure.Config{Side: "candidate", Identity: p.Candidate, Store: c.Store,
		Launcher: c.Launch("candidate", pr.Candidate), OnEvent: r.answered})
	r.amplifier = &amplifier{pair: pr, store: c.Store, level: p.Level, start: func(side string, w *weights.Model) *measure.Model {
		return measure.NewModel(measure.Config{Side: side, Identity: string(w.Identity()), Store: c.Store, Launcher: c.Launch(side, w), OnEvent: r.answered})
	}}
	return r, nil
}

// evidence asks what lies around the candidate's weights, or says that nobody
// did.
func (r *run) evidence(ctx context.Context) error {
	e := r.config.Evidence
	if e == nil {
		r.record.Evidence = []record.Evidence{{Kind: record.Provenance, State: record.NotAsked,
			Detail: "this run weighed behaviour only; where the weights come from was not asked"}}
		return nil
	}
	m := &r.record.Meta
	m.Model, m.Environment, m.Now = e.Model, e.Environment, e.Now.UTC().Format(time.RFC3339)
	var err error
	if r.record.Evidence, r.record.Lineage, err = e.Find(ctx, r.pair.Baseline, r.pair.Candidate); err != nil {
		return fmt.Errorf("evidence: %w", err)
	}
	return nil
}

// close stops the boxes, also after a cancelled run.
func (r *run) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	return errors.Join(r.baseline.Close(ctx), r.candidate.Close(ctx), r.amplifier.close(ctx))
}

func (r *run) tell(e Event) {
	if r.config.OnEvent != nil {
		e.Steps = len(r.plan.Steps)
		r.config.OnEvent(e)
	}
}

func (r *run) answered(e measure.Event) {
	r.mu.Lock()
	if t := r.current; t != nil {
		t.Requests++
		if e.Remembered {
			t.Remembered++
		} else {
			t.Decoded += e.Usage.Decoded
		}
	}
	i := r.index
	r.mu.Unlock()
	r.tell(Event{Kind: Answered, Step: r.plan.Steps[i].ID, Index: i, Answer: &e})
}

// step runs one probe, from its needs to its findings.
func (r *run) step(ctx context.Context, i int) error {
	s := r.plan.Steps[i]
	if s.Rest {
		s.Budget, r.rest = s.Budget+r.rest, 0
	}
	probe, err := probes.Lookup(s.Probe)
	if err != nil {
		return fmt.Errorf("step %s: %w", s.ID, err)
	}
	began := time.Now()
	r.mu.Lock()
	r.index, r.current = i, &StepTiming{ID: s.ID}
	r.mu.Unlock()
	r.tell(Event{Kind: StepBegan, Step: s.ID, Index: i})

	about := probe.About()
	b, c := &measure.Meter{}, &measure.Meter{}
	pr := record.ProbeRun{Probe: s.ID, Question: about.Question, Required: s.Required, Budget: s.Budget, Status: "ran",
		Sees: codes(about.Sees), Blind: codes(about.Blind)}
	out := &probes.Output{}
	if settled := r.settled(s); settled != nil {
		out.Findings = append(out.Findings, *settled)
	} else if pr.Reason, err = r.unmet(ctx, about.Needs); err == nil && pr.Reason == "" {
		out, err = probe.Run(ctx, r.input(s, b, c))
	}
	if err != nil {
		out = &probes.Output{}
		pr.Reason, err = r.autopsy(ctx, s, err)
	}
	if err != nil {
		return fault(ctx, "probe %s: %w", s.ID, err)
	}
	if pr.Reason != "" {
		pr.Status = "not-tested"
	}
	r.surroundings = r.surroundings || about.Surroundings && pr.Status == "ran"
	if err := r.keep(s, out); err != nil {
		return fault(ctx, "probe %s: %w", s.ID, err)
	}
	pr.Tests = out.Tests
	pr.AskedB, pr.DecodedB = b.Usage().Asked, b.Usage().Decoded
	pr.AskedC, pr.DecodedC = c.Usage().Asked, c.Usage().Decoded
	r.rest += max(0, s.Budget-max(pr.DecodedB, pr.DecodedC))
	r.record.Probes = append(r.record.Probes, pr)

	r.mu.Lock()
	r.current.Took = time.Since(began)
	r.timings.Steps = append(r.timings.Steps, *r.current)
	r.current = nil
	r.mu.Unlock()
	note := pr.Status
	if pr.Reason != "" {
		note += ": " + pr.Reason
	}
	r.tell(Event{Kind: StepEnded, Step: s.ID, Index: i, Note: note})
	return nil
}

func codes(fs []probes.Family) []string {
	var s []string
	for _, f := range fs {
		s = append(s, string(f))
	}
	return s
}

func (r *run) input(s plan.Step, b, c *measure.Meter) *probes.Input {
	in := &probes.Input{
		Baseline: r.baseline.Metered(b), Candidate: r.candidate.Metered(c),
		BaselineInfo: r.baselineInfo, CandidateInfo: r.candidateInfo,
		Weights: r.pair.Weights, SameIDs: r.pair.sameIDs, Level: s.Level, Budget: s.Budget, Seed: s.Seed,
		Params: probes.Params(s.Params), Data: s.Data, Canaries: r.config.Canaries, Documents: r.config.Documents, Leads: slices.Clone(r.leads),
	}
	if r.amplifier.can() {
		in.Amplify = func(ctx context.Context, kappa float64) (runners.Model, error) {
			m, err := r.amplifier.model(ctx, kappa)
			if err != nil {
				return nil, err
			}
			return overdriven{m.Metered(c)}, nil
		}
	}
	return in
}

// settled answers a probe's question without asking the models: a candidate that
// is the baseline, or the baseline rounded to another format, can do nothing that
// the baseline does not, as long as nothing around the weights differs, which a
// probe of the surroundings has to have found before. Weights that merely lie
// within rounding do not settle it: which way a value was rounded is a choice,
// and there are many of them. It is nil where the models have to be asked, and
// for probes that may ask nothing anyway.
func (r *run) settled(s plan.Step) *record.Finding {
	rel := r.pair.Comparison.Relation
	if r.plan.AskSettled || s.Budget == 0 || !rel.Settled || !r.surroundings {
		return nil
	}
	if slices.ContainsFunc(r.record.Findings, func(f record.Finding) bool { return f.Tier == record.Proven || f.Tier == record.Divergent }) {
		return nil
	}
	f := record.Finding{
		Rule: "settled", Tier: record.Consistent, Class: record.Relation, Title: "Settled by the weights, without a question: " + rel.Reason,
		Null: "comparison of all tensors, value by value",
	}
	if rel.Kind == weights.Requantised {
		f.Detail = "What the coarser format itself costs in ability was not measured; --ask-settled measures it."
		if !rel.Exact {
			f.Detail += " The scales are the maker's choice, within the bounds of what quantisers choose; all else follows from the baseline."
		}
	}
	return &f
}

// unmet gives the reason why a probe cannot run, or nothing.
func (r *run) unmet(ctx context.Context, n probes.Needs) (string, error) {
	if n.Weights && !sameShapes(r.pair) {
		return "the tensors of the two sides cannot be compared: " + r.pair.Comparison.Relation.Reason, nil
	}
	if n.Files {
		return "", nil
	}
	if err := r.meet(ctx); err != nil {
		return "", err
	}
	switch {
	case r.dead != "":
		return r.dead, nil
	case n.Scores && !(r.baselineInfo.CanScore && r.candidateInfo.CanScore):
		return "the engine cannot score prompts", nil
	case n.Template && !(r.baselineInfo.HasTemplate && r.candidateInfo.HasTemplate):
		return "a side has no chat template", nil
	case n.SameIDs && !r.pair.sameIDs:
		return "the two tokenizers give different ids, so positions cannot be paired", nil
	}
	return "", nil
}

// meet asks both models who they are, once.
func (r *run) meet(ctx context.Context) error {
	if r.baselineInfo != nil {
		return nil
	}
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() (err error) {
		if r.baselineInfo, err = r.baseline.Info(gctx); err != nil {
			err = fmt.Errorf("the baseline does not answer: %w", err)
		}
		return err
	})
	var candidate error
	g.Go(func() error {
		// A candidate that cannot be loaded must not cancel the baseline: its
		// answer tells a broken candidate from a broken machine.
		r.candidateInfo, candidate = r.candidate.Info(ctx)
		return nil
	})
	refused, died := (*runners.Error)(nil), (*measure.DiedError)(nil)
	if err := g.Wait(); err != nil {
		if errors.As(err, &refused) {
			return fmt.Errorf("%w: %w", ErrBaseline, err)
		}
		return errors.Join(err, candidate)
	}
	if err := r.tryTemplate(ctx); err != nil {
		return err
	}
	switch {
	case candidate == nil:
		return nil
	case errors.As(candidate, &refused):
		r.dead = "the engine cannot load the candidate: " + refused.Message
	case errors.As(candidate, &died):
		r.dead = "the candidate ends its box while it is loaded: " + died.Error()
	default:
		return fmt.Errorf("the candidate does not answer: %w", candidate)
	}
	r.addFinding("load", record.Finding{
		Probe: "load", Rule: "load", Tier: record.Proven, Class: record.Broken,
		Title:  "the candidate cannot be loaded; the baseline can",
		Detail: r.dead, Null: "the baseline, loaded by the same engine in the same kind of box",
	})
	return nil
}

// tryTemplate renders one question with the baseline's chat template: a baseline
// that cannot do that is none.
func (r *run) tryTemplate(ctx context.Context) error {
	if !r.baselineInfo.HasTemplate {
		return nil
	}
	a, err := r.baseline.Render(ctx, &runners.RenderRequest{Conversations: []runners.Conversation{probes.User("Hello")}})
	refused := (*runners.Error)(nil)
	switch {
	case errors.As(err, &refused):
		return fmt.Errorf("%w: its chat template cannot be used: %w", ErrBaseline, err)
	case err != nil:
		return fmt.Errorf("the baseline's chat template: %w", err)
	case a.Rendered[0].Error != "":
		return fmt.Errorf("%w: its chat template fails on a plain question: %s", ErrBaseline, a.Rendered[0].Error)
	}
	return nil
}

// autopsy finds out whether a probe failed because of the candidate alone. If
// so it gives the reason why the probe was not tested, and where the candidate
// ends its boxes or its engine cannot go on, a finding. Anything else, and
// whatever the baseline does too, is a fault of the measurement and comes back.
func (r *run) autopsy(ctx context.Context, s plan.Step, cause error) (reason string, err error) {
	died, refused := (*measure.DiedError)(nil), (*measure.RefusedError)(nil)
	f := record.Finding{Probe: s.ID, Rule: "box", Tier: record.Proven, Class: record.Broken, Null: "the baseline, put the same request in the same kind of box"}
	var request any
	switch {
	case errors.Is(cause, ErrBaseline):
		return "", cause
	case errors.As(cause, &died) && died.Side == "candidate":
		last := died.Ends[len(died.Ends)-1]
		request, reason = died.Request, died.Error()
		f.Subject, f.N = string(last.Kind), len(died.Ends)
		f.Title = fmt.Sprintf("the candidate ends its box (%s), again and again; the baseline does not", last.Kind)
	case errors.As(cause, &refused) && refused.Side == "candidate" && refused.Err.Code == runners.CodeTemplate:
		// What the template does is for the probe metadata to judge.
		return "the candidate's chat template cannot be used: " + refused.Err.Message, nil
	case errors.As(cause, &refused) && refused.Side == "candidate" && refused.Err.Code == runners.CodeEngine:
		request, reason = refused.Request, "the engine cannot go on with the candidate: "+refused.Err.Message
		f.Subject, f.N = "engine", 1
		f.Title = "the engine cannot go on with the candidate; with the baseline it can"
	default:
		return "", cause
	}
	// One such finding is enough: most probes meet the same end.
	met := func(g record.Finding) bool { return g.Rule == f.Rule && g.Class == f.Class && g.Title == f.Title }
	if slices.ContainsFunc(r.record.Findings, met) {
		return reason, nil
	}
	err = r.baseline.Ask(ctx, request)
	if own := (*measure.RefusedError)(nil); err != nil && (!errors.As(err, &own) || own.Err.Code == runners.CodeEngine) {
		return "", errors.Join(cause, fmt.Errorf("the baseline, put the same request: %w", err))
	}
	f.Detail = reason + ". The baseline answered the same request."
	r.addFinding(s.ID, f)
	return reason, nil
}

// keep takes over what a probe found.
func (r *run) keep(s plan.Step, out *probes.Output) error {
	tests := 0
	for _, f := range out.Findings {
		for name, x := range map[string]*float64{"value": f.Value, "low": f.Low, "high": f.High, "p": f.P, "mde": f.MDE, "margin": f.Margin} {
			if x != nil && (math.IsNaN(*x) || math.IsInf(*x, 0)) {
				return fmt.Errorf("finding %s: %s is %v, which no report can hold", f.ID, name, *x)
			}
		}
		if f.P != nil {
			if tests++; *f.P < 0 || *f.P > 1 {
				return fmt.Errorf("finding %s: p = %v is no probability", f.ID, *f.P)
			}
		}
	}
	if tests > out.Tests {
		return fmt.Errorf("%d findings carry a p-value but only %d hypotheses are said to be tested", tests, out.Tests)
	}
	for _, f := range out.Findings {
		f.Probe = s.ID
		r.addFinding(s.ID, f)
	}
	for _, i := range out.Items {
		i.Probe = s.ID
		r.items = append(r.items, i)
	}
	r.record.Tensors = append(r.record.Tensors, out.Tensors...)
	r.leads = append(r.leads, out.Leads...)
	return nil
}

// addFinding gives f an ID of its own and keeps it.
func (r *run) addFinding(step string, f record.Finding) {
	if f.ID == "" {
		f.ID = step + "/" + f.Rule
		if f.Subject != "" {
			f.ID += "/" + f.Subject
		}
	}
	if r.ids[f.ID]++; r.ids[f.ID] > 1 {
		f.ID = fmt.Sprintf("%s#%d", f.ID, r.ids[f.ID])
	}
	r.record.Findings = append(r.record.Findings, f)
}

// prove takes the self-tests of the boxes into the record.
func (r *run) prove(ctx context.Context) error {
	for _, m := range []*measure.Model{r.baseline, r.candidate} {
		if m == r.candidate && r.dead != "" {
			continue
		}
		box, err := m.Proof(ctx)
		if err != nil {
			return fault(ctx, "proof of the box: %w", err)
		}
		r.record.Boxes = append(r.record.Boxes, *box)
	}
	return nil
}

// adjust shares the error rate among all hypotheses of the run (Holm) and
// takes back what does not survive it.
func (r *run) adjust(alpha float64) error {
	var ps []float64
	var at []int
	for i, f := range r.record.Findings {
		if f.P != nil {
			ps, at = append(ps, *f.P), append(at, i)
		}
	}
	for _, p := range r.record.Probes {
		r.record.Meta.Tests += p.Tests
	}
	if len(ps) == 0 {
		return nil
	}
	adjusted, err := stats.Holm(ps, r.record.Meta.Tests)
	if err != nil {
		return fmt.Errorf("%w: adjusting p-values: %w", ErrMeasure, err)
	}
	for k, i := range at {
		f := &r.record.Findings[i]
		f.PHolm = record.Float(adjusted[k])
		if adjusted[k] > alpha && (f.Tier == record.Proven || f.Tier == record.Divergent) {
			f.Detail = fmt.Sprintf("%s by its own test, but not among the %d hypotheses of this run (Holm-adjusted p = %.3g, above %.3g). %s",
				f.Tier, r.record.Meta.Tests, adjusted[k], alpha, f.Detail)
			f.Tier = record.Consistent
		}
	}
	return nil
}
