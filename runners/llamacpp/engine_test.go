//go:build engine

package llamacpp

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weighbridge/weighbridge/internal/testreq"
	"github.com/weighbridge/weighbridge/runners"
	"github.com/weighbridge/weighbridge/runners/runnertest"
	"github.com/weighbridge/weighbridge/runners/template"
	"github.com/weighbridge/weighbridge/runners/wire"
)

func TestMain(m *testing.M) {
	template.RunChild()
	os.Exit(m.Run())
}

const tiny = "../../testdata/models/base.gguf"

// models that the suite runs on.
func each(t *testing.T, f func(t *testing.T, path string)) {
	t.Run("tiny", func(t *testing.T) {
		f(t, testreq.File(t, tiny, "make it with its recipe"))
	})
	t.Run("smollm2", func(t *testing.T) {
		path := os.Getenv("WEIGHBRIDGE_SMOLLM2")
		testreq.Need(t, path != "", "WEIGHBRIDGE_SMOLLM2, the path of a SmolLM2-135M-Instruct GGUF (make weights)")
		f(t, testreq.File(t, path, "make weights"))
	})
}

func load(t *testing.T, o Options) *Model {
	t.Helper()
	if o.Context == 0 {
		o.Context = 256
	}
	if o.Threads == 0 {
		o.Threads = 1 // llama.cpp's threads spin at barriers, which other work on the machine makes endless
	}
	m, err := Open(o, template.NewRenderer())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

func TestConformance(t *testing.T) {
	each(t, func(t *testing.T, path string) {
		m := load(t, Options{Model: path})
		runnertest.Suite(t, func(*testing.T) runners.Model { return m })
	})
}

func TestConformanceOverWire(t *testing.T) {
	each(t, func(t *testing.T, path string) {
		m := load(t, Options{Model: path})
		s := httptest.NewServer(wire.Handler(m))
		t.Cleanup(s.Close)
		u, err := url.Parse(s.URL)
		if err != nil {
			t.Fatal(err)
		}
		c := wire.NewClient(&http.Client{Transport: rehost{u.Host}})
		runnertest.Suite(t, func(*testing.T) runners.Model { return c })
	})
}

// rehost sends every request to one server, as a box does.
type rehost struct{ host string }

func (r rehost) RoundTrip(q *http.Request) (*http.Response, error) {
	q = q.Clone(q.Context())
	q.URL.Host = r.host
	return http.DefaultTransport.RoundTrip(q)
}

func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	junk := filepath.Join(dir, "junk.gguf")
	if err := os.WriteFile(junk, []byte("GGUF and then nothing of use"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, o := range []Options{{Model: junk}, {Model: filepath.Join(dir, "absent.gguf")}} {
		if m, err := Open(o, nil); err == nil {
			m.Close()
			t.Errorf("%s was loaded", o.Model)
		} else {
			t.Log(err)
		}
	}
}

// The number of threads must not show in the results: it is not part of the
// engine's identity.
func TestThreadsChangeNoBit(t *testing.T) {
	each(t, func(t *testing.T, path string) {
		var first *runners.ScoreResult
		for _, n := range []int{1, 2, 3} {
			m := load(t, Options{Model: path, Threads: n})
			ids, err := m.Tokenize(t.Context(), &runners.TokenizeRequest{Texts: []string{
				"The capital of France is a large city on a river.", "The capital of Spain is another one", "one two three"}})
			if err != nil {
				t.Fatal(err)
			}
			r := &runners.ScoreRequest{TopK: 8, Rows: true, Sketch: &runners.Sketch{Buckets: 32}}
			for _, ts := range ids.Tokens {
				r.Sequences = append(r.Sequences, runners.Sequence{Tokens: ts, From: 1, Next: true})
			}
			a, err := m.Score(t.Context(), r)
			if err != nil {
				t.Fatal(err)
			}
			if first == nil {
				first = a
			} else if d := cmp.Diff(first, a); d != "" {
				t.Errorf("%d threads:\n%.2000s", n, d)
			}
		}
	})
}

// Scores with shared prefixes are those without, up to the rounding of other
// batches.
func TestSharingChangesNoScore(t *testing.T) {
	each(t, func(t *testing.T, path string) {
		m := load(t, Options{Model: path})
		texts := &runners.TokenizeRequest{}
		for _, a := range []string{"The capital of France is ", "The capital of France was ", "One two three "} {
			for _, b := range []string{"Paris", "Paris and more", "London", "a city on a river in the north", "x"} {
				texts.Texts = append(texts.Texts, a+b)
			}
		}
		ids, err := m.Tokenize(t.Context(), texts)
		if err != nil {
			t.Fatal(err)
		}
		r := &runners.ScoreRequest{}
		for _, ts := range ids.Tokens {
			r.Sequences = append(r.Sequences, runners.Sequence{Tokens: ts, From: 1})
		}
		shared, err := m.Score(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		m.share = false
		plain, err := m.Score(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		if shared.Usage.Decoded >= plain.Usage.Decoded {
			t.Errorf("decoded %d tokens shared and %d plain", shared.Usage.Decoded, plain.Usage.Decoded)
		}
		for i := range r.Sequences {
			for j, x := range shared.Sequences[i].LogProb {
				if d := x - plain.Sequences[i].LogProb[j]; d > 1e-2 || d < -1e-2 {
					t.Errorf("sequence %d, prediction %d: %g shared, %g plain", i, j, x, plain.Sequences[i].LogProb[j])
				}
			}
		}
	})
}
