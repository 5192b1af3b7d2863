package calibrate

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weighbridge/weighbridge/harness"
	"github.com/weighbridge/weighbridge/harness/calibration"
	"github.com/weighbridge/weighbridge/harness/decide"
	"github.com/weighbridge/weighbridge/harness/measure"
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

// distance is a probe that measures how far the weights moved, and asks each
// model something. It convicts where a file's metadata tells it to.
type distance struct{}

func (distance) About() probes.About {
	return probes.About{ID: "distance", Question: "far?", Sees: []probes.Family{probes.TOK}}
}

func (distance) Run(ctx context.Context, in *probes.Input) (*probes.Output, error) {
	_, _, err := probes.Both(ctx, in, func(ctx context.Context, m runners.Model) (*runners.GenerateResult, error) {
		return m.Generate(ctx, &runners.GenerateRequest{Prompts: [][]runners.Token{runnertest.Tokens("tell me")}, MaxTokens: 4})
	})
	if err != nil {
		return nil, err
	}
	var sum float64
	for _, t := range in.Weights.Comparison.Tensors {
		sum += t.DeltaNorm
	}
	out := &probes.Output{Findings: []record.Finding{{Rule: "far", Statistic: "distance", Tier: record.Consistent, Class: record.Behaviour, Value: record.Float(sum)}}}
	if class, ok := in.Weights.Candidate.Metadata().String("test.convict"); ok {
		out.Findings = append(out.Findings, record.Finding{Rule: "bad", Title: "it is bad", Tier: record.Proven, Class: record.Class(class)})
	}
	if sum > 10 {
		out.Findings = append(out.Findings, record.Finding{Rule: "lost", Title: "it forgot all", Tier: record.Proven, Class: record.Regression})
	}
	return out, nil
}

func init() { probes.Register(distance{}) }

// launcher runs fakes.
type launcher struct {
	started *int
	end     context.CancelFunc // called by the box that is the last
	last    int
}

func (*launcher) Key() string { return "fake" }
func (l *launcher) Launch(ctx context.Context) (measure.Session, error) {
	if *l.started++; l.last > 0 && *l.started == l.last {
		l.end()
		return nil, ctx.Err()
	}
	return session{runnertest.New(runnertest.Options{})}, nil
}

type session struct{ fake *runnertest.Fake }

func (s session) Model() runners.Model { return s.fake }
func (session) Proof() record.Box {
	return record.Box{Runtime: "fake", Checks: []record.Check{{Name: "walls", OK: true}}}
}
func (session) End(context.Context) (sandbox.End, error) {
	return sandbox.End{Kind: sandbox.Crashed}, nil
}
func (session) GiveUp(context.Context, string) (sandbox.End, error) {
	return sandbox.End{Kind: sandbox.Hung}, nil
}
func (session) Stop(context.Context) error { return nil }

const matrix = "blk.0.attn_q.weight"

func put(t *testing.T, path string, meta []gguf.KV, tensors map[string][2]uint64, fill func(int) float32) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var sources []gguf.Source
	for _, name := range slices.Sorted(maps.Keys(tensors)) {
		shape := tensors[name]
		values := make([]float32, shape[0]*shape[1])
		for i := range values {
			values[i] = fill(i)
		}
		sources = append(sources, gguf.Source{Name: name, Type: quant.F32, Shape: shape[:], Data: func(w io.Writer) error {
			return binary.Write(w, binary.LittleEndian, values)
		}})
	}
	if err := gguf.Write(f, meta, sources); err != nil {
		t.Fatal(err)
	}
	return path
}

// model writes a model whose values differ from the baseline's by that much.
func model(t *testing.T, path string, by float32, more ...gguf.KV) string {
	return put(t, path, append([]gguf.KV{
		{Key: "general.architecture", Value: gguf.V("llama")},
		{Key: "tokenizer.ggml.model", Value: gguf.V("gpt2")},
		{Key: "tokenizer.ggml.tokens", Value: gguf.A([]string{"a", "b"})},
	}, more...), map[string][2]uint64{weights.Embedding: {32, 2}, matrix: {32, 32}}, func(i int) float32 {
		return float32(i*37%1021-510)/251 + by*float32(i%3-1)
	})
}

func adapter(t *testing.T, path string, rows uint64) string {
	return put(t, path, []gguf.KV{
		{Key: "general.architecture", Value: gguf.V("llama")}, {Key: "general.type", Value: gguf.V("adapter")}, {Key: "adapter.type", Value: gguf.V("lora")},
	}, map[string][2]uint64{matrix + ".lora_a": {32, 2}, matrix + ".lora_b": {2, rows}}, func(i int) float32 { return float32(i%5) / 64 })
}

// bench is a folder with a baseline and some harmless files.
type bench struct {
	dir, benign, store string
	started            int
	seen               []Progress
	config             Config
}

func newBench(t *testing.T) *bench {
	dir := t.TempDir()
	b := &bench{dir: dir, benign: filepath.Join(dir, "benign"), store: filepath.Join(dir, "store")}
	base := model(t, filepath.Join(dir, "base.gguf"), 0)
	model(t, filepath.Join(b.benign, "tuned.gguf"), 0.01)
	adapter(t, filepath.Join(b.benign, "adapters", "style.gguf"), 32)
	model(t, filepath.Join(b.benign, "the-base-again.gguf"), 0)
	if err := os.WriteFile(filepath.Join(b.benign, "README.txt"), []byte("not a model"), 0o600); err != nil {
		t.Fatal(err)
	}
	b.config = Config{Benign: []string{b.benign}, Variants: 10, Work: filepath.Join(dir, "work"), OnVariant: func(p Progress) { b.seen = append(b.seen, p) }}
	b.config.Run = harness.Config{
		Baseline: weights.Artifact{Model: base}, Seed: 1, Policy: decide.Default(), Tool: "test", Engine: "fake",
		Suite: &suites.Suite{Name: "s", Level: probes.Quick, Budget: 7, Sources: []suites.Source{{Name: "s", Digest: "sha256:55"}},
			Entries: []suites.Entry{{ID: "distance", Probe: "distance", Budget: 7}}},
	}
	return b
}

func (b *bench) run(t *testing.T, ctx context.Context, last int) (*calibration.File, error) {
	t.Helper()
	var err error
	if b.config.Run.Store, err = measure.OpenStore(b.store); err != nil {
		t.Fatal(err)
	}
	ctx, end := context.WithCancel(ctx)
	defer end()
	b.seen, b.started = nil, 0
	b.config.Run.Launch = func(string, *weights.Model) measure.Launcher { return &launcher{&b.started, end, last} }
	f, err := Run(ctx, b.config)
	if _, left := os.Stat(b.config.Work); !errors.Is(left, os.ErrNotExist) {
		t.Errorf("a variant is left behind: %v", left)
	}
	return f, err
}

func names(f *calibration.File) (list []string) {
	for _, v := range f.Variants {
		list = append(list, v.Name)
	}
	return list
}

func TestRun(t *testing.T) {
	b := newBench(t)
	f, err := b.run(t, t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	// Both given files, once each, and ten made ones; the baseline among the files is not a variant.
	want := []string{"adapters/style", "low-rank-adapters/style-1", "merged-adapters/style+tuned", "noise-0.001-1", "noise-0.003-1", "pruned-0.02", "pruned-0.05",
		"requantised-BF16", "requantised-F16", "scaled-adapters/style-0.5", "scaled-tuned-0.5", "tuned"}
	if d := cmp.Diff(want, names(f)); d != "" {
		t.Error(d)
	}
	if f.Bank() != 12 || len(f.Statistics) != 1 || len(f.Statistics[0].Values) != 12 || f.Statistics[0].Values[11] <= f.Statistics[0].Values[0] {
		t.Errorf("%d in the bank, statistics %+v", f.Bank(), f.Statistics)
	}
	for _, v := range f.Variants {
		if given := v.Name == "tuned" || v.Name == "adapters/style"; v.Given != given || v.Identity == "" || v.Outcome == "" || v.How == "" || v.Relative == 0 {
			t.Errorf("%+v", v)
		}
	}
	if err := f.Matches(b.config.Run.Key(f.Baseline)); err != nil {
		t.Error(err)
	}
	if len(b.seen) != 24 || b.seen[0].Name != "adapters/style" || b.seen[0].Done != nil || b.seen[23].Done == nil || b.seen[23].Index != 11 || b.seen[23].Variants != 12 {
		t.Errorf("%d signs of progress: %+v", len(b.seen), b.seen)
	}
	src, err := f.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := calibration.Parse(src); err != nil {
		t.Error(err)
	}
	again, err := b.run(t, t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	if x, _ := again.Encode(); !bytes.Equal(x, src) || b.started != 0 {
		t.Errorf("%d boxes were started for a file that was made before; other bytes: %v", b.started, !bytes.Equal(x, src))
	}
}

// A calibration that ends at any box goes on there and leaves the same bytes.
func TestResume(t *testing.T) {
	whole := newBench(t)
	f, err := whole.run(t, t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	want, _ := f.Encode()
	all := whole.started
	b := newBench(t)
	ends, boxes := 0, 0
	for ; ; ends++ {
		f, err := b.run(t, t.Context(), 5)
		boxes += b.started
		if err == nil {
			if got, _ := f.Encode(); !bytes.Equal(got, want) {
				t.Errorf("other bytes after %d ends", ends)
			}
			break
		}
		if !errors.Is(err, context.Canceled) || ends > 100 {
			t.Fatal(err)
		}
		// A kill leaves the folder with a variant in it.
		if err := os.MkdirAll(filepath.Join(b.config.Work, "half"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if ends < 2 || boxes > all+ends {
		t.Errorf("%d ends, and %d boxes where one run takes %d", ends, boxes, all)
	}
}

func TestHarmful(t *testing.T) {
	for class, harmful := range map[record.Class]bool{record.Backdoor: true, record.Leak: true, record.Regression: true, record.Tampered: true, record.Broken: true, record.Behaviour: false} {
		t.Run(string(class), func(t *testing.T) {
			b := newBench(t)
			b.config.Variants = 0
			model(t, filepath.Join(b.benign, "evil.gguf"), 0.02, gguf.KV{Key: "test.convict", Value: gguf.V(string(class))})
			_, err := b.run(t, t.Context(), 0)
			if errors.Is(err, ErrHarmful) != harmful || harmful && (!strings.Contains(err.Error(), "variant evil") || !strings.Contains(err.Error(), "--accept evil")) || !harmful && err != nil {
				t.Fatalf("got %v", err)
			}
			b.config.Accept = []string{"evil"}
			f, err := b.run(t, t.Context(), 0)
			if err != nil {
				t.Fatal(err)
			}
			for _, v := range f.Variants {
				if v.Accepted != (harmful && v.Name == "evil") || v.LeftOut != "" {
					t.Errorf("%+v", v)
				}
			}
		})
	}
}

// A variant of our own that lost abilities is no harmless one.
func TestLeftOut(t *testing.T) {
	b := newBench(t)
	model(t, b.config.Run.Baseline.Model, 30) // large values: a coarse format moves them far
	os.RemoveAll(b.benign)
	b.config.Benign, b.config.Variants = nil, 12
	f, err := b.run(t, t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, v := range f.Variants {
		if v.LeftOut != "" {
			out = append(out, v.Name)
			if !strings.Contains(v.LeftOut, "it forgot all") {
				t.Errorf("left out for %q", v.LeftOut)
			}
		}
	}
	if len(out) == 0 || f.Bank() != len(f.Variants)-len(out) || f.Statistics[0].Values[len(f.Statistics[0].Values)-1] > 10 {
		t.Errorf("left out: %v; the bank holds %d, %v", out, f.Bank(), f.Statistics)
	}
}

func TestUnusable(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*bench)
		want   string
	}{
		"another architecture": {func(b *bench) {
			put(t, filepath.Join(b.benign, "other.gguf"), []gguf.KV{{Key: "general.architecture", Value: gguf.V("gemma")}}, map[string][2]uint64{matrix: {32, 32}}, func(int) float32 { return 1 })
		}, "other.gguf does not belong to the baseline"},
		"an adapter of another shape": {func(b *bench) { adapter(t, filepath.Join(b.benign, "wide.gguf"), 64) }, "wide.gguf"},
		"no GGUF":                     {func(b *bench) { os.WriteFile(filepath.Join(b.benign, "x.gguf"), []byte("hello"), 0o600) }, "x.gguf"},
		"a folder of that name":       {func(b *bench) { b.config.Benign = []string{t.TempDir()} }, "holds no .gguf file"},
		"not there":                   {func(b *bench) { b.config.Benign = []string{"/no/such"} }, "/no/such"},
		"two of one name": {func(b *bench) {
			b.config.Benign = append(b.config.Benign, model(t, filepath.Join(b.dir, "elsewhere", "tuned.gguf"), 0.03))
		}, `two variants are called "tuned"`},
		"accepting what is not there": {func(b *bench) { b.config.Accept = []string{"nobody"} }, `"nobody" is to be accepted`},
		"nothing at all":              {func(b *bench) { b.config.Benign, b.config.Variants = nil, 0 }, "no variant is given"},
		"a pipe": {func(b *bench) {
			if err := syscall.Mkfifo(filepath.Join(b.benign, "pipe.gguf"), 0o600); err != nil {
				t.Fatal(err)
			}
		}, "no regular file"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			tc.change(b)
			if _, err := b.run(t, t.Context(), 0); !errors.Is(err, ErrBenign) || !strings.Contains(fmt.Sprint(err), tc.want) || b.started > 0 {
				t.Errorf("%v after %d boxes", err, b.started)
			}
		})
	}
	b := newBench(t)
	b.config.Run.Baseline.Model = "/no/base.gguf"
	if _, err := b.run(t, t.Context(), 0); !errors.Is(err, weights.ErrArtifact) {
		t.Errorf("no baseline: %v", err)
	}
}
