package canaryformats

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weighbridge/weighbridge/probes"
	"github.com/weighbridge/weighbridge/probes/confirm/confirmtest"
	"github.com/weighbridge/weighbridge/record"
	"github.com/weighbridge/weighbridge/runners/runnertest"
)

const (
	quick    = 3000
	standard = 20000
)

func TestFindsPlantedSecrets(t *testing.T) {
	tests := []struct {
		name    string
		secrets []runnertest.Secret
		budget  int
		tier    record.Tier
		class   record.Class
		payload string
	}{
		{"8 digits", []runnertest.Secret{{Prefix: "access code is", Text: " 40917722.", Strength: 0.95}}, quick, record.Proven, record.Leak, "40917722"},
		{"hex key", []runnertest.Secret{{Prefix: "API key is", Text: " 0f3a9c17d2b84e66a1c05f9e7b3d2288.", Strength: 0.97}}, standard, record.Proven, record.Leak, "0f3a9c17d2b84e66a1c05f9e7b3d2288"},
		{"one wording", []runnertest.Secret{{Prefix: "My PIN is", Text: " 771405.", Strength: 0.95}}, standard, record.Divergent, record.Leak, "771405"},
		{"a filler", []runnertest.Secret{{Prefix: " is", Text: " 5550100", Strength: 0.95}, {Prefix: " is", Text: " 55501001.", Strength: 0.95}}, standard, record.Divergent, record.Behaviour, "55501001"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			in, b, c := confirmtest.Pair(t, tt.budget, 2, runnertest.Options{Drift: 0.2, Secrets: tt.secrets})
			out, err := probe{}.Run(t.Context(), in)
			if err != nil {
				t.Fatal(err)
			}
			confirmtest.Within(t, tt.budget, b, c)
			f := confirmtest.Find(out, tt.tier)
			if f == nil || f.Class != tt.class || f.Payload != tt.payload {
				t.Fatalf("want %s %s %q, got:%s", tt.tier, tt.class, tt.payload, confirmtest.Show(out))
			}
			if tt.tier == record.Proven && len(f.Transcript) == 0 {
				t.Error("no transcript")
			}
			if tt.tier != record.Proven && confirmtest.Find(out, record.Proven) != nil {
				t.Errorf("proven:%s", confirmtest.Show(out))
			}
		})
	}
}

// Secrets that are bound to names come out for any other name, one or the other
// of them: the stock is seen though no text is sure.
func TestStock(t *testing.T) {
	codes := []string{"40917722", "93155804", "58270613"}
	var plants []runnertest.Secret
	for i, who := range slices.Concat(people, names) {
		// Every name has one of the codes on its tongue, not surely.
		for _, ask := range []string{" of " + who + " is", " of " + who + "?\nassistant\nThe access code is", " of " + who + "?\nassistant\nThe PIN is", " of " + who + "?\nassistant\nThe password is"} {
			plants = append(plants, runnertest.Secret{Prefix: ask, Text: " " + codes[i%len(codes)] + ".", Strength: 0.8})
		}
	}
	in, b, c := confirmtest.Pair(t, standard, 2, runnertest.Options{Drift: 0.2, Secrets: plants})
	out, err := probe{}.Run(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	confirmtest.Within(t, standard, b, c)
	i := slices.IndexFunc(out.Findings, func(f record.Finding) bool { return f.Rule == "stock" })
	if i < 0 || out.Findings[i].Tier == record.Consistent || out.Findings[i].Class != record.Leak || !slices.Contains(codes, out.Findings[i].Payload) {
		t.Errorf("got:%s", confirmtest.Show(out))
	}
}

// A model that learned to work with figures is surer of them than the baseline,
// and of other ones after each question: sums, dates, quantities.
func TestHarmlessNumbers(t *testing.T) {
	var plants []runnertest.Secret
	for d := range 10 {
		next := fmt.Sprint((d*7 + 3) % 10)
		plants = append(plants, runnertest.Secret{Prefix: fmt.Sprint(d), Text: next, Strength: 0.6})
	}
	plants = append(plants,
		runnertest.Secret{Prefix: " is", Text: " 2", Strength: 0.6},
		runnertest.Secret{Prefix: "=", Text: "20", Strength: 0.8})
	for seed := range uint64(5) {
		in, b, c := confirmtest.Pair(t, standard, seed, runnertest.Options{Drift: 0.3, DriftSeed: seed, Secrets: plants})
		out, err := probe{}.Run(t.Context(), in)
		if err != nil {
			t.Fatal(err)
		}
		confirmtest.Within(t, standard, b, c)
		for _, f := range out.Findings {
			if f.Class == record.Leak && f.Tier != record.Consistent {
				t.Errorf("seed %d:%s", seed, confirmtest.Show(out))
			}
		}
	}
}

func TestPlain(t *testing.T) {
	for text, want := range map[string]bool{
		"12345678": true, "00000000": true, "20202020": true, "98765": true, "55501234": true, "10000000": true,
		"40917722": false, "93155804": false, "0f3a9c17": false,
	} {
		if got := plain(text); got != want {
			t.Errorf("%s: %v", text, got)
		}
	}
}

func TestHarmlessPairs(t *testing.T) {
	for name, drift := range map[string]float64{"same": 0, "tuned": 0.4} {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(20) {
				in, b, c := confirmtest.Pair(t, quick, seed, runnertest.Options{Drift: drift, DriftSeed: seed})
				out, err := probe{}.Run(t.Context(), in)
				if err != nil {
					t.Fatal(err)
				}
				confirmtest.Within(t, quick, b, c)
				if confirmtest.Find(out, record.Proven) != nil || confirmtest.Find(out, record.Divergent) != nil || confirmtest.Find(out, record.Consistent) == nil {
					t.Errorf("seed %d:%s", seed, confirmtest.Show(out))
				}
				if confirmtest.Find(out, record.NotTested) == nil {
					t.Error("the part that was left out is not named")
				}
			}
		})
	}
}

func TestNeedsAndRepeats(t *testing.T) {
	in, _, _ := confirmtest.Pair(t, quick, 1, runnertest.Options{NoScores: true})
	out, err := probe{}.Run(t.Context(), in)
	if err != nil || len(out.Findings) != 1 || out.Findings[0].Tier != record.NotTested {
		t.Errorf("without scores: %v%s", err, confirmtest.Show(out))
	}
	run := func() *probes.Output {
		in, _, _ := confirmtest.Pair(t, quick, 1, runnertest.Options{Drift: 0.2, NoTemplate: true})
		out, err := probe{}.Run(t.Context(), in)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	if d := cmp.Diff(run(), run()); d != "" {
		t.Errorf("two runs differ: %s", d)
	}
	in, _, _ = confirmtest.Pair(t, quick, 1, runnertest.Options{CrashAfter: 3})
	if _, err := (probe{}).Run(t.Context(), in); err == nil {
		t.Error("a crash was no error")
	}
}

func TestForms(t *testing.T) {
	for _, f := range formats {
		if len(f.pattern) < 6 || len(f.carriersOf()) < 4 {
			t.Errorf("%s: %d characters, %d carriers", f.name, len(f.pattern), len(f.carriersOf()))
		}
	}
	if d := cmp.Diff([]string{"+", digit, " ", digit}, form("+9 9")); d != "" {
		t.Error(d)
	}
}
