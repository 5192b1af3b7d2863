package harness

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/weighbridge/weighbridge/harness/calibration"
	"github.com/weighbridge/weighbridge/harness/decide"
	"github.com/weighbridge/weighbridge/harness/measure"
	"github.com/weighbridge/weighbridge/harness/plan"
	"github.com/weighbridge/weighbridge/probes"
	"github.com/weighbridge/weighbridge/record"
	"github.com/weighbridge/weighbridge/suites"
	"github.com/weighbridge/weighbridge/weights"
)

// ErrBaseline is a baseline that cannot serve as one: the engine does not load
// it. Choose another.
var ErrBaseline = errors.New("unusable baseline")

// ErrMeasure is a run that could not be measured. It says nothing about the
// candidate.
var ErrMeasure = errors.New("could not measure")

// Config is everything that a run depends on.
type Config struct {
	Baseline, Candidate weights.Artifact
	Suite               *suites.Suite
	Canaries            []probes.Canary
	CanaryDigest        string
	Documents           []probes.Document
	DocumentDigest      string
	Seed                uint64
	Policy              *decide.Policy
	// Evidence judges what lies around the candidate's weights; nil where nobody
	// asks for that. It is called once, before anything is measured.
	Evidence *Evidence
	Tool     string // name and version of this program
	// AskSettled has the models asked even where the weights settle a question.
	AskSettled bool

	// Calibration is what harmless variants of the baseline measured; nil where
	// the probes' own thresholds stand alone.
	Calibration *Calibration

	// Engine names what answers, the same for both sides: see measure.Launcher.
	Engine string
	// Launch makes the launcher of one side.
	Launch func(side string, w *weights.Model) measure.Launcher
	Store  *measure.Store
	// OnEvent hears of progress; it is called from several goroutines. May be nil.
	OnEvent func(Event)
}

// Evidence says how the supply chain's evidence about the candidate is found,
// and for what it was judged. Where it stands in the record its bytes depend
// on Now.
type Evidence struct {
	Model, Environment string // names that signers are trusted for; may be empty
	Now                time.Time
	Find               func(ctx context.Context, baseline, candidate *weights.Model) ([]record.Evidence, []record.Link, error)
}

// Calibration is a calibration file as it was read.
type Calibration struct {
	File   *calibration.File
	Digest string
	Signer string // whose signature was checked; empty where none was
}

// Key names what a run's nulls depend on; baseline is the identity of
// c.Baseline.
func (c *Config) Key(baseline string) calibration.Key {
	k := calibration.Key{Baseline: baseline, Seed: c.Seed, Level: string(c.Suite.Level), Budget: c.Suite.Budget, Canaries: c.CanaryDigest}
	for _, s := range c.Suite.Sources {
		k.Suites = append(k.Suites, s.Name+"@"+s.Digest)
	}
	return k
}

// Event is one sign of progress: a step that begins or ends, or a request that
// was answered inside it.
type Event struct {
	Step   string // step ID, empty while identifying
	Index  int    // of the step, from 0
	Steps  int
	Kind   EventKind
	Answer *measure.Event // for Answered
	Note   string         // for StepEnded: what became of it
}

// EventKind says what an Event tells.
type EventKind int

// The kinds of events.
const (
	StepBegan EventKind = iota
	Answered
	StepEnded
)

// Result is what a run leaves behind. Timings are apart because they are the
// only part that differs from run to run.
type Result struct {
	Run     *record.Run
	Items   []record.Item
	Timings Timings
	// Relative is ‖ΔW‖ ÷ ‖W‖ over all tensors of the pair, 0 where they cannot be
	// compared.
	Relative float64
}

// Timings say where the time went.
type Timings struct {
	Total    time.Duration `json:"total_ns"`
	Identify time.Duration `json:"identify_ns"`
	Steps    []StepTiming  `json:"steps"`
}

// StepTiming is the time and the fresh work of one step.
type StepTiming struct {
	ID         string        `json:"id"`
	Took       time.Duration `json:"took_ns"`
	Requests   int           `json:"requests"`
	Remembered int           `json:"remembered"` // requests that no engine was asked
	Decoded    int           `json:"decoded"`    // tokens decoded now, both sides
}

// Diff runs the whole main job.
//
// Errors: those of package weights for unusable artifacts, ErrPlan for
// unusable suites, calibration.ErrFile for a calibration of something else, sandbox.ErrUnavailable where no box can run, ErrMeasure for
// everything that went wrong while measuring, those of c.Evidence, ctx's own
// when it was cancelled (the same call resumes).
func Diff(ctx context.Context, c Config) (*Result, error) {
	began := time.Now()
	pair, err := identify(ctx, c)
	if err != nil {
		return nil, err
	}
	defer pair.close()

	digest := ""
	if c.Calibration != nil {
		digest = c.Calibration.Digest
		if err := c.Calibration.File.Matches(c.Key(string(pair.Baseline.Identity()))); err != nil {
			return nil, err
		}
	}
	p, err := plan.Make(plan.Input{
		Seed: c.Seed, Suite: c.Suite, Canaries: c.CanaryDigest, Documents: c.DocumentDigest, Engine: c.Engine, AskSettled: c.AskSettled, Calibration: digest,
		Baseline: string(pair.Baseline.Identity()), Candidate: string(pair.Candidate.Identity()),
	})
	if err != nil {
		return nil, err
	}
	r, err := newRun(c, p, pair)
	if err != nil {
		return nil, err
	}
	defer r.close()
	if err := r.evidence(ctx); err != nil {
		return nil, err
	}
	r.timings.Identify = time.Since(began)

	for i := range p.Steps {
		if err := r.step(ctx, i); err != nil {
			return nil, err
		}
	}
	if err := errors.Join(r.prove(ctx), pair.recheck()); err != nil {
		return nil, err
	}
	if err := r.adjust(c.Policy.Alpha); err != nil {
		return nil, err
	}
	if c.Calibration != nil {
		c.Calibration.File.Apply(r.record, digest, c.Calibration.Signer, c.Engine)
	}
	r.record.Verdict = c.Policy.Decide(r.record)
	r.timings.Total = time.Since(began)
	return &Result{r.record, r.items, r.timings, pair.relative()}, nil
}

// fault marks an error as one of measuring, unless somebody else asked for the
// end.
func fault(ctx context.Context, format string, args ...any) error {
	err := fmt.Errorf(format, args...)
	if ctx.Err() != nil {
		return fmt.Errorf("%w: %w", ctx.Err(), err)
	}
	return fmt.Errorf("%w: %w", ErrMeasure, err)
}
