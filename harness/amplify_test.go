package harness

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weighbridge/weighbridge/harness/decide"
	"github.com/weighbridge/weighbridge/harness/measure"
	"github.com/weighbridge/weighbridge/probes"
	"github.com/weighbridge/weighbridge/record"
	"github.com/weighbridge/weighbridge/runners"
	"github.com/weighbridge/weighbridge/runners/runnertest"
	"github.com/weighbridge/weighbridge/suites"
	"github.com/weighbridge/weighbridge/weights"
	"github.com/weighbridge/weighbridge/weights/gguf"
	"github.com/weighbridge/weighbridge/weights/quant"
)

// layered writes a model of one matrix in a layer: a diagonal, to which size
// times an outer product is added.
func layered(t *testing.T, size float32) string {
	t.Helper()
	const n = 32
	v := make([]float32, n*n)
	for i := range n {
		for j := range n {
			v[i*n+j] = size * float32(math.Sin(float64(i))*math.Cos(float64(j)))
		}
		v[i*n+i]++
	}
	return write(t, []gguf.KV{
		{Key: "general.architecture", Value: gguf.V("llama")}, {Key: "tokenizer.ggml.model", Value: gguf.V("gpt2")},
		{Key: "tokenizer.ggml.tokens", Value: gguf.A([]string{"a", "b"})},
	}, gguf.Source{Name: "blk.0.ffn_up.weight", Shape: []uint64{n, n}, Data: floats(v)})
}

// adapter writes a LoRA adapter of rank 1 for layered.
func adapter(t *testing.T) string {
	t.Helper()
	ones := floats(slices.Repeat([]float32{0.1}, 32))
	return write(t, []gguf.KV{
		{Key: "general.architecture", Value: gguf.V("llama")}, {Key: "general.type", Value: gguf.V("adapter")}, {Key: "adapter.type", Value: gguf.V("lora")},
	}, gguf.Source{Name: "blk.0.ffn_up.weight.lora_a", Shape: []uint64{32, 1}, Data: ones}, gguf.Source{Name: "blk.0.ffn_up.weight.lora_b", Shape: []uint64{1, 32}, Data: ones})
}

func floats(v []float32) func(io.Writer) error {
	return func(w io.Writer) error { return binary.Write(w, binary.LittleEndian, v) }
}

func write(t *testing.T, meta []gguf.KV, tensors ...gguf.Source) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "w.gguf")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := range tensors {
		tensors[i].Type = quant.F32
	}
	if err := errors.Join(gguf.Write(f, meta, tensors), f.Close()); err != nil {
		t.Fatal(err)
	}
	return path
}

// amplified is what the probe "amplifies" saw of Input.Amplify.
type seen struct {
	offered bool
	err     error
}

var lastSeen seen

func init() {
	probes.Register(&scripted{id: "amplifies", run: func(ctx context.Context, in *probes.Input) (*probes.Output, error) {
		lastSeen = seen{offered: in.Amplify != nil}
		if in.Amplify == nil {
			return &probes.Output{}, nil
		}
		for _, kappa := range []float64{2, 2, 3.5} {
			m, err := in.Amplify(ctx, kappa)
			if err == nil {
				_, err = m.Generate(ctx, &runners.GenerateRequest{Prompts: [][]runners.Token{runnertest.Tokens("tell me")}, MaxTokens: 4})
			}
			if lastSeen.err = err; err != nil && !errors.Is(err, probes.ErrAmplified) {
				return nil, err
			}
		}
		return &probes.Output{Findings: []record.Finding{{Rule: "loud", Tier: record.Consistent, Class: record.Backdoor}}}, nil
	}})
}

// A probe can ask baseline + κ·ΔW: as the candidate's own adapter at another
// scale, or as one of low rank that is written for it; and not where nothing or
// everything differs. Its engine's failure is no fault of the run.
func TestAmplify(t *testing.T) {
	base, changed := layered(t, 0), layered(t, 0.01)
	for name, c := range map[string]struct {
		baseline, candidate weights.Artifact
		crash               bool
		boxes               []string // those that were started, amplified ones only
		err                 error
	}{
		"other weights": {weights.Artifact{Model: base}, weights.Artifact{Model: changed}, false, []string{"amplified-200 scale 2", "amplified-350 scale 3.5"}, nil},
		"adapter":       {weights.Artifact{Model: base}, weights.Artifact{Model: base, Adapter: adapter(t), Scale: 0.5}, false, []string{"amplified-200 scale 1", "amplified-350 scale 1.75"}, nil},
		"same bits":     {weights.Artifact{Model: base}, weights.Artifact{Model: base}, false, nil, nil},
		"adapter below": {weights.Artifact{Model: base, Adapter: adapter(t)}, weights.Artifact{Model: base}, false, nil, nil},
		"crash":         {weights.Artifact{Model: base}, weights.Artifact{Model: changed}, true, []string{"amplified-200 scale 2", "amplified-350 scale 3.5"}, probes.ErrAmplified},
	} {
		t.Run(name, func(t *testing.T) {
			store, err := measure.OpenStore(t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			var boxes []string
			started := 0
			res, err := Diff(t.Context(), Config{
				Baseline: c.baseline, Candidate: c.candidate, Policy: decide.Default(), Tool: "test", Engine: "fake", Store: store, AskSettled: true,
				Suite: &suites.Suite{Name: "test", Level: probes.Quick, Entries: []suites.Entry{{ID: "amplifies", Probe: "amplifies", Budget: 100}}},
				Launch: func(side string, w *weights.Model) measure.Launcher {
					l := &launcher{started: &started}
					if strings.HasPrefix(side, "amplified") {
						boxes = append(boxes, fmt.Sprintf("%s scale %g", side, w.Artifact().Scale))
						l.crash = c.crash
					}
					return l
				},
			})
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(c.boxes, boxes); d != "" {
				t.Errorf("amplified boxes (-want +got):\n%s", d)
			}
			if !errors.Is(lastSeen.err, c.err) || lastSeen.offered != (c.boxes != nil) {
				t.Errorf("the probe saw %+v, want error %v", lastSeen, c.err)
			}
			if p := res.Run.Probes[0]; c.boxes != nil && !c.crash && p.DecodedC == 0 {
				t.Errorf("nothing was charged to the candidate: %+v", p)
			}
		})
	}
}
