package calibrate

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/weighbridge/weighbridge/harness"
	"github.com/weighbridge/weighbridge/harness/calibration"
	"github.com/weighbridge/weighbridge/record"
	"github.com/weighbridge/weighbridge/weights"
	"github.com/weighbridge/weighbridge/weights/variants"
)

var (
	// ErrBenign is a file that cannot be a harmless variant of the baseline: it
	// does not belong to it, or has a name that cannot be told from another's.
	ErrBenign = errors.New("unusable as a harmless variant")
	// ErrHarmful is a variant against which something is proven: a person has to
	// look.
	ErrHarmful = errors.New("proven harmful")
)

// Config is everything that a calibration depends on.
type Config struct {
	// Run is what diff would run with; its Candidate, Evidence, AskSettled and
	// Calibration are not used.
	Run harness.Config
	// Benign are GGUF models, adapters, and folders that hold some.
	Benign   []string
	Variants int      // to make, beside those given
	Accept   []string // names of variants taken in though something is proven against them
	// Work is a folder of this package's own for one variant at a time: what is
	// there is removed, before and after.
	Work string
	// OnVariant hears of every variant before it is measured, and with what came
	// of it afterwards. May be nil.
	OnVariant func(Progress)
}

// Progress is where a calibration stands.
type Progress struct {
	Index, Variants int
	Name, How       string
	// Done is nil before the variant is measured.
	Done *calibration.Variant
}

// task is one variant to measure.
type task struct {
	variants.Variant
	given bool
}

// Run makes the file.
//
// Errors: those of harness.Diff, and of package weights for files that cannot
// be read; ErrBenign; ErrHarmful.
func Run(ctx context.Context, c Config) (_ *calibration.File, err error) {
	base, err := weights.Open(ctx, c.Run.Baseline)
	if err != nil {
		return nil, fmt.Errorf("baseline: %w", err)
	}
	defer base.Close()
	given, err := open(ctx, base, c.Benign)
	if err != nil {
		return nil, err
	}
	defer func() {
		for _, g := range given {
			err = errors.Join(err, g.Model.Close())
		}
	}()
	tasks, err := c.tasks(base, given)
	if err != nil {
		return nil, err
	}
	var runs []calibration.Measured
	for i, t := range tasks {
		p := Progress{Index: i, Variants: len(tasks), Name: t.Name, How: t.How}
		c.tell(p)
		m, err := c.measure(ctx, &t)
		if err != nil {
			return nil, fmt.Errorf("variant %s: %w", t.Name, err)
		}
		p.Done = &m.Variant
		c.tell(p)
		runs = append(runs, *m)
	}
	f := calibration.Fit(c.Run.Tool, c.Run.Engine, c.Run.Key(string(base.Identity())), runs)
	if f.Bank() == 0 {
		return nil, fmt.Errorf("%w: none of %d variants could be taken into the bank", ErrBenign, len(runs))
	}
	return f, base.Recheck()
}

func (c *Config) tell(p Progress) {
	if c.OnVariant != nil {
		c.OnVariant(p)
	}
}

// tasks are the user's variants, then those to make.
func (c *Config) tasks(base *weights.Model, given []variants.Given) (list []task, err error) {
	for _, g := range given {
		how := "given: a model"
		if g.Model.Adapter() != nil {
			how = "given: an adapter"
		}
		list = append(list, task{variants.Variant{Name: g.Name, How: how, Make: func(context.Context, string) (weights.Artifact, error) {
			return g.Model.Artifact(), nil
		}}, true})
	}
	for _, v := range variants.List(base, given, c.Variants, c.Run.Seed) {
		list = append(list, task{v, false})
	}
	names := map[string]bool{}
	for _, t := range list {
		if names[t.Name] {
			return nil, fmt.Errorf("%w: two variants are called %q; rename a file", ErrBenign, t.Name)
		}
		names[t.Name] = true
	}
	for _, a := range c.Accept {
		if !names[a] {
			return nil, fmt.Errorf("%w: %q is to be accepted and is none of the variants", ErrBenign, a)
		}
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("%w: no variant is given and none is to be made", ErrBenign)
	}
	return list, nil
}

// measure makes one variant, runs it and removes it.
func (c *Config) measure(ctx context.Context, t *task) (_ *calibration.Measured, err error) {
	if err := os.RemoveAll(c.Work); err != nil { // of a calibration that was killed
		return nil, err
	}
	if err := os.MkdirAll(c.Work, 0o755); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(c.Work)) }()
	run := c.Run
	run.AskSettled, run.Evidence, run.Calibration = true, nil, nil
	if run.Candidate, err = t.Make(ctx, c.Work); err != nil {
		return nil, err
	}
	res, err := harness.Diff(ctx, run)
	if err != nil {
		return nil, err
	}
	v := calibration.Variant{Name: t.Name, How: t.How, Given: t.given, Identity: res.Run.Meta.Candidate,
		Outcome: string(res.Run.Verdict.Outcome), Relative: res.Relative}
	if against := proven(res.Run); against != nil {
		switch {
		case slices.Contains(c.Accept, t.Name):
			v.Accepted = true
		case !t.given && (against.Class == record.Regression || against.Class == record.Broken):
			// A format may be too coarse for a small model, and noise too much.
			v.LeftOut = "not harmless: " + against.Title
		default:
			return nil, fmt.Errorf("%w: %s (%s); a person has to look at it, and may then take it in with --accept %s", ErrHarmful, against.Title, against.ID, t.Name)
		}
	}
	return &calibration.Measured{Variant: v, Probes: res.Run.Probes, Findings: res.Run.Findings}, nil
}

// proven gives the finding that speaks most against a harmless model, if one is
// proven: behaviour and relation harm nobody, and an ability that was lost is
// the least.
func proven(run *record.Run) (found *record.Finding) {
	order := []record.Class{record.Regression, record.Broken, record.Tampered, record.Leak, record.Backdoor}
	best := -1
	for i := range run.Findings {
		f := &run.Findings[i]
		if n := slices.Index(order, f.Class); f.Tier == record.Proven && n > best {
			found, best = f, n
		}
	}
	return found
}
