package harness

import (
	"context"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weighbridge/weighbridge/harness/decide"
	"github.com/weighbridge/weighbridge/harness/measure"
	"github.com/weighbridge/weighbridge/probes"
	"github.com/weighbridge/weighbridge/record"
	"github.com/weighbridge/weighbridge/runners/runnertest"
	"github.com/weighbridge/weighbridge/suites"
	"github.com/weighbridge/weighbridge/weights"
	"github.com/weighbridge/weighbridge/weights/gguf"
	"github.com/weighbridge/weighbridge/weights/quant"
	"github.com/weighbridge/weighbridge/weights/quant/quanttest"
)

// surrounding stands for the probe that compares what is around the weights.
type surrounding struct{ scripted }

func (s *surrounding) About() probes.About {
	a := s.scripted.About()
	a.Surroundings = true
	return a
}

func init() {
	probes.Register(&surrounding{scripted{id: "surrounds", needs: probes.Needs{Files: true}, run: func(context.Context, *probes.Input) (*probes.Output, error) {
		return &probes.Output{}, nil
	}}})
}

const settledCols = 256

// matrixFile writes a model of four matrices, each encoded by encode.
func matrixFile(t *testing.T, as quant.Type, encode func(name string, x []float32) []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "m.gguf")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var list []gguf.Source
	for i, name := range []string{"token_embd.weight", "blk.0.attn_q.weight", "blk.0.ffn_up.weight", "blk.0.ffn_down.weight"} {
		rng := rand.New(rand.NewPCG(uint64(i), 1))
		x := make([]float32, 32*settledCols)
		for j := range x {
			x[j] = quant.F16ToF32(quant.F32ToF16(float32(0.05 * rng.NormFloat64())))
		}
		raw := encode(name, x)
		list = append(list, gguf.Source{Name: name, Type: as, Shape: []uint64{settledCols, 32}, Data: func(w io.Writer) error {
			_, err := w.Write(raw)
			return err
		}})
	}
	if err := gguf.Write(f, []gguf.KV{
		{Key: "general.architecture", Value: gguf.V("llama")},
		{Key: "tokenizer.ggml.model", Value: gguf.V("gpt2")},
		{Key: "tokenizer.ggml.tokens", Value: gguf.A([]string{"a", "b"})},
	}, list); err != nil {
		t.Fatal(err)
	}
	return path
}

// ggml encodes as ggml's reference does.
func ggml(t quant.Type, x []float32, _ int) []byte {
	n, _ := t.RowBytes(uint64(len(x)))
	raw := make([]byte, n)
	if err := quant.Quantize(t, raw, x); err != nil {
		panic(err)
	}
	return raw
}

// TestRequantisedIsSettled: no token is asked of a copy of the baseline in
// another format, whoever made it; one that was changed is asked.
func TestRequantisedIsSettled(t *testing.T) {
	baseline := matrixFile(t, quant.F16, func(_ string, x []float32) []byte { return ggml(quant.F16, x, settledCols) })
	for _, as := range []quant.Type{quant.Q8_0, quant.Q4_0, quant.Q4_K, quant.Q5_K, quant.Q6_K} {
		for by, encode := range map[string]func(quant.Type, []float32, int) []byte{
			"ggml":    ggml,
			"plain":   quanttest.Quantiser{}.Encode,
			"weighed": quanttest.Quantiser{Importance: func(col int) float64 { return math.Exp(math.Sin(float64(col))) }}.Encode,
		} {
			for change, changed := range map[string]bool{"nothing": false, "one code": true} {
				t.Run(fmt.Sprintf("%s by %s, %s", as, by, change), func(t *testing.T) {
					candidate := matrixFile(t, as, func(name string, x []float32) []byte {
						raw := encode(as, x, settledCols)
						if changed && name == "blk.0.ffn_up.weight" {
							raw[21] ^= 0x10 // a code in each of these formats
						}
						return raw
					})
					store, err := measure.OpenStore(t.TempDir())
					if err != nil {
						t.Fatal(err)
					}
					started := 0
					suite := &suites.Suite{Name: "test", Level: probes.Quick, Entries: []suites.Entry{
						{ID: "surrounds", Probe: "surrounds"}, {ID: "asks", Probe: "asks", Required: true, Budget: 1000}}}
					res, err := Diff(t.Context(), Config{Baseline: weights.Artifact{Model: baseline}, Candidate: weights.Artifact{Model: candidate},
						Suite: suite, Policy: decide.Default(), Tool: "test", Engine: "fake", Store: store,
						Launch: func(string, *weights.Model) measure.Launcher {
							return &launcher{runnertest.Options{}, nil, false, &started}
						}})
					if err != nil {
						t.Fatal(err)
					}
					asked := 0
					for _, p := range res.Run.Probes {
						asked += p.AskedB + p.DecodedB + p.AskedC + p.DecodedC
					}
					settled := ""
					for _, f := range res.Run.Findings {
						if f.Rule == "settled" {
							settled = f.Title
						}
					}
					says := "to the bit"
					if by != "ggml" {
						says = "rounded to the nearest"
					}
					switch {
					case changed && (asked == 0 || settled != ""):
						t.Errorf("%d tokens, %q", asked, settled)
					case !changed && (asked > 0 || !strings.Contains(settled, says) || res.Run.Verdict.Outcome != record.Approve):
						t.Errorf("%d tokens, %q, %s", asked, settled, res.Run.Verdict.Outcome)
					}
				})
			}
		}
	}
}
