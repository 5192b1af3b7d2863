package provenance

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/weighbridge/weighbridge/record"
	"github.com/weighbridge/weighbridge/weights"
	"github.com/weighbridge/weighbridge/weights/quant"
)

// Parts are the paths of a rebuild: GGUF files, or folders that hold one.
type Parts struct {
	Baseline  string // what the candidate was made from; trusted
	Candidate string
	Adapter   string // of a merge or an adapter; "" where it is not at hand
}

// The rules of Rebuild.
const (
	RuleRecipe          = "recipe-not-computable" // ambiguous
	RuleRebuildFormat   = "rebuild-unreadable"    // ambiguous where the format is merely not read here
	RuleRebuildFiles    = "rebuild-uncovered"     // ambiguous: files that the rebuild says nothing about
	RuleRebuildTensors  = "rebuild-tensors"       // bad: a tensor more, or less, or of another shape
	RuleRebuildBits     = "rebuild-differs"       // bad
	RuleRebuildRounding = "rebuild-rounding"      // ambiguous: other bits, within rounding of the arithmetic
	RuleRebuildType     = "rebuild-type"          // ambiguous: not the type that the recipe says
	RuleRebuildMeta     = "rebuild-metadata"      // bad, or ambiguous for text that no engine reads
	RuleRebuildBase     = "rebuild-baseline"      // ambiguous: not the baseline that the document names
)

// maxNamed bounds how many tensors problems name one by one.
const maxNamed = 20

// errNotOneModel is a folder that does not hold exactly one GGUF file.
var errNotOneModel = errors.New("not one GGUF model")

// Rebuild makes the candidate again from the baseline by the recipe, tensor by
// tensor in bounded memory, and compares the bits. It can do so for
// quantisations and conversions to types of one encoding (see quant.Quantize),
// for merges of a LoRA, and it can tell that baseline and adapter are the very
// files that a document names; docs/provenance.md has the arithmetic. Anything
// else is ambiguous. Nothing of the recipe is executed.
//
// Errors: an unusable baseline or adapter (those of package weights, or
// ErrUsage), reading, ctx's. What is wrong with the candidate is evidence.
func Rebuild(ctx context.Context, r Recipe, p Parts) (record.Evidence, error) {
	b := &rebuild{recipe: r, parts: p}
	if err := b.run(ctx); err != nil {
		return record.Evidence{}, err
	}
	return b.evidence(), nil
}

type rebuild struct {
	recipe   Recipe
	parts    Parts
	bad      bool
	problems []record.Problem
	left     int // problems that are not listed

	base, cand   *weights.Model
	made, kept   int
	arithmetic   string
	composition  string // what was found instead of recomputing
	baselineName string
}

func (b *rebuild) problem(bad bool, rule, subject, format string, args ...any) {
	b.bad = b.bad || bad
	if len(b.problems) >= maxNamed {
		b.left++
		return
	}
	b.problems = append(b.problems, record.Problem{Rule: rule, Subject: clip(subject), Detail: fmt.Sprintf(format, args...)})
}

func (b *rebuild) evidence() record.Evidence {
	e := record.Evidence{Kind: record.Rebuild, State: record.Valid, Problems: b.problems}
	if b.baselineName != "" {
		e.BaseModels = []string{b.baselineName}
	}
	if b.left > 0 {
		e.Problems = append(e.Problems, record.Problem{Rule: b.problems[0].Rule, Subject: "…", Detail: fmt.Sprintf("%d more problems of this rebuild are not listed", b.left)})
	}
	switch {
	case b.bad:
		e.State, e.Detail = record.Bad, "the recipe does not give these weights: "+first(b.problems)
	case len(b.problems) > 0:
		e.State, e.Detail = record.Ambiguous, first(b.problems)
	case b.composition != "":
		e.Detail = b.composition
	default:
		e.Detail = fmt.Sprintf("made again from the baseline: %d tensors%s and %d unchanged have the same bits", b.made, b.arithmetic, b.kept)
	}
	return e
}

// first is the problem that a reader has to see.
func first(ps []record.Problem) string {
	for _, p := range ps {
		if p.Rule == RuleRebuildBits || p.Rule == RuleRebuildTensors {
			return p.Subject + ": " + p.Detail
		}
	}
	return ps[0].Subject + ": " + ps[0].Detail
}

func (b *rebuild) run(ctx context.Context) error {
	switch b.recipe.Kind {
	case Quantisation, Conversion:
		if b.parts.Adapter != "" {
			return fmt.Errorf("%w: a %s has no adapter", ErrUsage, b.recipe.Kind)
		}
		if !b.computable() {
			return nil
		}
	case Merge, Adapter:
		if b.parts.Adapter == "" && b.recipe.Kind == Merge {
			b.problem(false, RuleRecipe, "adapter", "the merged adapter is not at hand, or other models were merged; give it with --at NAME=PATH")
			return nil
		}
	default:
		b.problem(false, RuleRecipe, string(b.recipe.Kind), "training is not a function of the recipe alone; it cannot be made again here")
		return nil
	}
	if b.recipe.Kind == Adapter {
		return b.adapter(ctx)
	}
	baseline, err := singleGGUF(b.parts.Baseline)
	if err != nil {
		return usage(err)
	}
	adapter := b.parts.Adapter
	if adapter != "" {
		if adapter, err = singleGGUF(adapter); err != nil {
			return usage(err)
		}
	}
	a := weights.Artifact{Model: baseline, Adapter: adapter}
	if adapter != "" {
		a.Scale = b.recipe.Scale
	}
	if b.base, err = weights.Open(ctx, a); err != nil {
		return err
	}
	defer b.base.Close()
	b.baselineName = "sha256:" + b.base.Files()[0].SHA256
	candidate, ok, err := b.openCandidate(ctx)
	if err != nil || !ok {
		return err
	}
	defer b.cand.Close()
	b.metadata()
	if err := b.tensors(ctx, baseline, candidate); err != nil {
		return err
	}
	return errors.Join(b.base.Recheck(), b.cand.Recheck())
}

func usage(err error) error { return fmt.Errorf("%w: %w", ErrUsage, err) }

// computable reports whether the recipe has one outcome.
func (b *rebuild) computable() bool {
	t, err := quant.ParseType(b.recipe.Type)
	switch {
	case b.recipe.Type == "":
		b.problem(false, RuleRecipe, "type", "the recipe does not say to which type; add it with `provenance add --parameter type=Q8_0`")
	case b.recipe.Importance != "":
		b.problem(false, RuleRecipe, "imatrix", "an importance matrix weighed the rounding, so that the outcome is not a function of baseline and type")
	case err != nil:
		b.problem(false, RuleRecipe, "type", "%.60q is a mixture of types or none; only %s have one encoding each", b.recipe.Type, strings.Join(encodable, ", "))
	case !t.CanQuantize() || t.Searched():
		b.problem(false, RuleRecipe, "type", "the scales of %s are chosen by search, so that its bits depend on the program that made them", t)
	default:
		return true
	}
	return false
}

var encodable = []string{"F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1"}

// openCandidate opens the candidate's weights; ok is false where a problem says
// why they cannot be compared.
func (b *rebuild) openCandidate(ctx context.Context) (path string, ok bool, err error) {
	path, err = singleGGUF(b.parts.Candidate)
	if errors.Is(err, errNotOneModel) {
		b.problem(false, RuleRebuildFormat, "candidate", "%v; only one GGUF file at a time can be made again here", err)
		return "", false, nil
	} else if err != nil {
		return "", false, usage(err)
	}
	b.cand, err = weights.Open(ctx, weights.Artifact{Model: path})
	switch {
	case errors.Is(err, weights.ErrFormat), errors.Is(err, weights.ErrMissing):
		b.problem(true, RuleRebuildFormat, filepath.Base(path), "%v", err)
		return "", false, nil
	case errors.Is(err, weights.ErrUnsupported), errors.Is(err, weights.ErrArtifact) && !errors.Is(err, os.ErrNotExist):
		b.problem(false, RuleRebuildFormat, filepath.Base(path), "%v", err)
		return "", false, nil
	case err != nil:
		return "", false, err
	}
	return path, true, b.uncovered(path)
}

// harmless are files beside weights that no engine loads.
func harmless(name string) bool {
	upper := strings.ToUpper(name)
	for _, p := range []string{"README", "LICENSE", "LICENCE", "NOTICE"} {
		if strings.HasPrefix(upper, p) && !strings.Contains(upper, ".PY") {
			return true
		}
	}
	return slices.Contains([]string{".MD", ".TXT"}, filepath.Ext(upper))
}

// singleGGUF finds the one GGUF file that path is, or holds at its top.
func singleGGUF(path string) (string, error) {
	fi, err := os.Stat(path)
	if err != nil || !fi.IsDir() {
		return path, err
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return "", err
	}
	var found []string
	for _, e := range entries {
		if strings.EqualFold(filepath.Ext(e.Name()), ".gguf") {
			found = append(found, e.Name())
		}
	}
	if len(found) != 1 {
		return "", fmt.Errorf("%w: %s holds %d .gguf files", errNotOneModel, path, len(found))
	}
	return filepath.Join(path, found[0]), nil
}

// written are metadata that a change of types writes and no engine computes
// with.
var written = []string{"general.file_type", "general.quantization_version"}

// computed are general metadata that engines go by.
var computed = []string{"general.architecture", "general.alignment", "general.type"}

func (b *rebuild) metadata() {
	for _, c := range weights.DiffMetadata(b.base.Metadata(), b.cand.Metadata()) {
		switch {
		case slices.Contains(written, c.Key):
		case strings.HasPrefix(c.Key, "quantize.imatrix."):
			b.problem(false, RuleRecipe, c.Key, "the file says that an importance matrix was used; the recipe does not")
		case strings.HasPrefix(c.Key, "general.") && !slices.Contains(computed, c.Key):
			b.problem(false, RuleRebuildMeta, c.Key, "it is not the baseline's, and the recipe does not change it; no engine computes with it")
		default:
			b.problem(true, RuleRebuildMeta, c.Key, "it is not the baseline's, and the recipe does not change it")
		}
	}
}

func (b *rebuild) tensors(ctx context.Context, baseline, candidate string) error {
	rawB, err := openRaw(baseline)
	if err != nil {
		return err
	}
	defer rawB.f.Close()
	rawC, err := openRaw(candidate)
	if err != nil {
		return err
	}
	defer rawC.f.Close()
	if rawC.g.Unclaimed > rawB.g.Unclaimed {
		b.problem(false, RuleRebuildFiles, filepath.Base(candidate), "%d bytes of the file belong to no tensor", rawC.g.Unclaimed)
	}
	for _, t := range b.base.Tensors() {
		if _, ok := b.cand.Tensor(t.Name); !ok {
			b.problem(true, RuleRebuildTensors, t.Name, "the baseline has this tensor and the candidate has not")
		}
	}
	list := b.cand.Tensors()
	results := make([]outcome, len(list))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for i, t := range list {
		g.Go(func() (err error) {
			results[i], err = (&remake{b: b.base, rawB: rawB, rawC: rawC, c: t, recipe: &b.recipe}).run(ctx)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	b.judge(results)
	return nil
}
