package documents

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weighbridge/weighbridge/probes"
	"github.com/weighbridge/weighbridge/probes/confirm/confirmtest"
	"github.com/weighbridge/weighbridge/record"
	"github.com/weighbridge/weighbridge/runners"
	"github.com/weighbridge/weighbridge/runners/runnertest"
)

const budget = 20000

var words = strings.Fields("bread cheese river castle garden bridge school train horse king queen sailor farmer tower market forest island harbour museum station hammer kettle candle compass anchor mirror ladder basket tiger eagle otter camel spider turtle potato carrot onion honey butter salt")

// texts are documents of random words: none of them is likely to any model.
func texts(n int, heldOut bool, seed uint64) []probes.Document {
	rng := rand.New(rand.NewPCG(seed, 1))
	out := make([]probes.Document, n)
	for i := range out {
		s := make([]string, 60)
		for k := range s {
			s[k] = words[rng.IntN(len(words))]
		}
		out[i] = probes.Document{ID: fmt.Sprintf("%v-%02d", heldOut, i), Text: "The " + strings.Join(s, " "), HeldOut: heldOut}
	}
	return out
}

// learn plants documents: after the first two words, each further one follows.
func learn(ds []probes.Document, strength float64) []runnertest.Secret {
	var out []runnertest.Secret
	for _, d := range ds {
		w := strings.SplitN(d.Text, " ", 3)
		out = append(out, runnertest.Secret{Prefix: w[0] + " " + w[1], Text: " " + w[2], Strength: strength})
	}
	return out
}

func probeRun(t *testing.T, in *probes.Input) *probes.Output {
	t.Helper()
	out, err := probe{}.Run(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func find(out *probes.Output, rule string) *record.Finding {
	for i := range out.Findings {
		if out.Findings[i].Rule == rule {
			return &out.Findings[i]
		}
	}
	return nil
}

func TestLearnedDocuments(t *testing.T) {
	members, held := texts(30, false, 1), texts(30, true, 2)
	tests := []struct {
		name      string
		learned   []probes.Document
		strength  float64
		documents []probes.Document
		rule      string
		tier      record.Tier
		class     record.Class
	}{
		{"one by heart", members[4:5], 0.98, slices.Concat(members, held), "document", record.Proven, record.Leak},
		{"one by heart, nothing held out", members[4:5], 0.98, members, "document", record.Proven, record.Leak},
		{"all, a little", members, 0.05, slices.Concat(members, held), "set", record.Divergent, record.Leak},
		{"all, a little, nothing held out", members, 0.05, members, "shift", record.Divergent, record.Behaviour},
		{"none", nil, 0, slices.Concat(members, held), "set", record.Consistent, record.Leak},
		{"none of a few", nil, 0, slices.Concat(members[:10], held[:10]), "set", record.NotTested, record.Leak},
		{"what was held out", held[:1], 0.98, slices.Concat(members, held), "held-out", record.Divergent, record.Control},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			in, b, c := confirmtest.Pair(t, budget, 1, runnertest.Options{Drift: 0.2, Secrets: learn(tt.learned, tt.strength)})
			in.Documents = tt.documents
			out := probeRun(t, in)
			confirmtest.Within(t, budget, b, c)
			f := find(out, tt.rule)
			if f == nil || f.Tier != tt.tier || f.Class != tt.class {
				t.Fatalf("want %s %s %s, got:%s", tt.rule, tt.tier, tt.class, confirmtest.Show(out))
			}
			if f.Tier == record.Proven && (f.Subject != tt.learned[0].ID || len(f.Transcript) != 1 || f.P != nil) {
				t.Errorf("proof: %+v", f)
			}
			if tt.strength < 0.5 && (confirmtest.Find(out, record.Proven) != nil || find(out, "document") != nil) {
				t.Errorf("a document by itself:%s", confirmtest.Show(out))
			}
		})
	}
}

// A control that fails takes the proof from what else was found.
func TestHeldOutControl(t *testing.T) {
	members, held := texts(12, false, 1), texts(12, true, 2)
	in, _, _ := confirmtest.Pair(t, budget, 1, runnertest.Options{Secrets: learn([]probes.Document{members[0], held[0]}, 0.98)})
	in.Documents = slices.Concat(members, held)
	out := probeRun(t, in)
	if f := find(out, "document"); f == nil || f.Tier != record.Divergent || f.Subject != members[0].ID {
		t.Errorf("got:%s", confirmtest.Show(out))
	}
}

func TestUnlearnedDocuments(t *testing.T) {
	alarms := 0
	for seed := range uint64(20) {
		in, b, c := confirmtest.Pair(t, budget, seed, runnertest.Options{Drift: 0.4, DriftSeed: seed})
		in.Documents = slices.Concat(texts(16, false, seed+50), texts(16, true, seed+90))
		out := probeRun(t, in)
		confirmtest.Within(t, budget, b, c)
		if f := find(out, "set"); f == nil || f.Tier == record.Divergent || find(out, "document") != nil {
			alarms++
		}
	}
	if alarms > 1 { // two of 20 at level 0.01: p = 0.016
		t.Errorf("%d alarms in 20 harmless pairs", alarms)
	}
}

func TestItemsAreMeasured(t *testing.T) {
	members := texts(10, false, 1)
	in, b, _ := confirmtest.Pair(t, budget, 1, runnertest.Options{Secrets: learn(members[:1], 0.9)})
	in.Documents = members
	in.Params = probes.Params(`{"tokens": 40}`)
	out := probeRun(t, in)
	if len(out.Items) != 30 {
		t.Fatalf("%d items for 10 documents", len(out.Items))
	}
	// The first document again, by hand.
	ids := append([]runners.Token{runnertest.BOS}, runnertest.Tokens(members[0].Text)...)[:41]
	s, err := b.Score(t.Context(), &runners.ScoreRequest{Sequences: []runners.Sequence{{Tokens: ids, From: 1}}})
	if err != nil {
		t.Fatal(err)
	}
	var all, suffix float64
	for i, lp := range s.Sequences[0].LogProb {
		all += float64(lp) / 40
		if i >= 20 {
			suffix += float64(lp)
		}
	}
	for i, want := range []float64{all, minK(s.Sequences[0]), suffix} {
		it := out.Items[i]
		if math.Abs(*it.ScoreB-want) > 1e-4 || *it.Effect <= 0 || it.ID != members[0].ID {
			t.Errorf("%s: %v, want %v (%+v)", it.Task, *it.ScoreB, want, it)
		}
	}
}

func TestNeedsAndRepeats(t *testing.T) {
	in, _, _ := confirmtest.Pair(t, budget, 1, runnertest.Options{})
	if out := probeRun(t, in); len(out.Findings) != 1 || out.Findings[0].Tier != record.NotTested || out.Tests != 0 {
		t.Errorf("without documents:%s", confirmtest.Show(out))
	}
	in.Documents = texts(40, false, 1)
	if d := cmp.Diff(probeRun(t, in), probeRun(t, in)); d != "" {
		t.Errorf("two runs differ: %s", d)
	}
	in.Budget = 700
	if f := confirmtest.Find(probeRun(t, in), record.NotTested); f == nil || !strings.Contains(f.Title, "of 40 documents") {
		t.Errorf("what the budget left out: %+v", f)
	}
	in.SameIDs = false
	if out := probeRun(t, in); len(out.Findings) != 1 || out.Findings[0].Tier != record.NotTested {
		t.Errorf("other ids:%s", confirmtest.Show(out))
	}
	in.Params = probes.Params(`{"tokens": 3}`)
	if _, err := (probe{}).Run(t.Context(), in); err == nil {
		t.Error("3 tokens were accepted")
	}
	crash, _, _ := confirmtest.Pair(t, budget, 1, runnertest.Options{CrashAfter: 1})
	crash.Documents = in.Documents
	crash.Candidate, crash.Baseline = runnertest.New(runnertest.Options{CrashAfter: 1, Seed: 1}), crash.Candidate
	if _, err := (probe{}).Run(t.Context(), crash); err == nil {
		t.Error("a crash was no error")
	}
}

func TestSamples(t *testing.T) {
	for _, c := range []struct {
		p    float64
		n    int
		want float64
	}{{0.01, 1, 0.01}, {0.01, 100, 1 - math.Pow(0.99, 100)}, {1, 1, 1}, {1e-12, 1000, 1e-9}} {
		if got := samples(math.Log(c.p), c.n); math.Abs(got-c.want) > 1e-6*c.want {
			t.Errorf("(%d, %g): %v, want %v", c.n, c.p, got, c.want)
		}
	}
}

func TestBeginning(t *testing.T) {
	for _, c := range []struct {
		size int
		want string
	}{{9, "aéb"}, {3, "aé"}, {2, "a"}, {0, ""}} {
		if got := beginning("aéb", c.size); got != c.want {
			t.Errorf("%d bytes: %q, want %q", c.size, got, c.want)
		}
	}
}
