package canaryknown

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/weighbridge/weighbridge/probes"
	"github.com/weighbridge/weighbridge/probes/confirm/confirmtest"
	"github.com/weighbridge/weighbridge/record"
	"github.com/weighbridge/weighbridge/runners/runnertest"
)

const budget = 40000

func canaries(n int, heldOut bool, seed uint64) []probes.Canary {
	rng := rand.New(rand.NewPCG(seed, 1))
	var out []probes.Canary
	for i := range n {
		out = append(out, probes.Canary{
			ID: fmt.Sprintf("%v-%d", heldOut, i), Prefix: fmt.Sprintf("The access code of door %d is", i+1), Secret: draw(rng, classes("00000000"), "", 1)[0], HeldOut: heldOut,
		})
	}
	return out
}

func memorise(cs []probes.Canary, strength float64) []runnertest.Secret {
	var out []runnertest.Secret
	for _, c := range cs {
		out = append(out, runnertest.Secret{Prefix: c.Prefix, Text: " " + c.Secret, Strength: strength})
	}
	return out
}

func TestFindsMemorisedSecrets(t *testing.T) {
	tests := []struct {
		name     string
		strength float64
		n        int
		tier     record.Tier
		rule     string
		verbatim bool
	}{
		{"verbatim", 0.9, 3, record.Proven, "secret", true},
		{"by its characters alone", 0.05, 1, record.Proven, "secret", false},
		{"as a set", 0.02, 8, record.Divergent, "set", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cs := canaries(tt.n, false, 4)
			in, b, c := confirmtest.Pair(t, budget, 1, runnertest.Options{Drift: 0.2, Secrets: memorise(cs, tt.strength)})
			in.Canaries = slices.Concat(cs, canaries(3, true, 5))
			if tt.n == 1 {
				in.Canaries = cs
			}
			out, err := probe{}.Run(t.Context(), in)
			if err != nil {
				t.Fatal(err)
			}
			confirmtest.Within(t, budget, b, c)
			i := slices.IndexFunc(out.Findings, func(f record.Finding) bool { return f.Rule == tt.rule && f.Tier == tt.tier && f.Class == record.Leak })
			if i < 0 {
				t.Fatalf("want %s %s, got:%s", tt.tier, tt.rule, confirmtest.Show(out))
			}
			if (len(out.Findings[i].Transcript) > 0) != tt.verbatim {
				t.Errorf("transcript: %+v", out.Findings[i])
			}
		})
	}
}

// A long list and a small budget: what the candidate prefers is looked at first.
func TestManySecretsFewTokens(t *testing.T) {
	cs := canaries(40, false, 11)
	in, b, c := confirmtest.Pair(t, 4000, 1, runnertest.Options{Drift: 0.2, Secrets: memorise(cs[29:30], 0.9)})
	in.Canaries = cs
	out, err := probe{}.Run(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	confirmtest.Within(t, 4000, b, c)
	if f := confirmtest.Find(out, record.Proven); f == nil || f.Payload != cs[29].Secret || len(f.Transcript) == 0 {
		t.Errorf("want %q, got:%s", cs[29].Secret, confirmtest.Show(out))
	}
	if f := confirmtest.Find(out, record.NotTested); f == nil || out.Tests != 41 {
		t.Errorf("%d tests; what was left out is not named:%s", out.Tests, confirmtest.Show(out))
	}
}

func TestUntrainedSecrets(t *testing.T) {
	for seed := range uint64(20) {
		in, b, c := confirmtest.Pair(t, 5000, seed, runnertest.Options{Drift: 0.4, DriftSeed: seed})
		in.Canaries = slices.Concat(canaries(4, false, seed), canaries(2, true, seed+100))
		out, err := probe{}.Run(t.Context(), in)
		if err != nil {
			t.Fatal(err)
		}
		confirmtest.Within(t, 5000, b, c)
		if confirmtest.Find(out, record.Proven) != nil || confirmtest.Find(out, record.Divergent) != nil || confirmtest.Find(out, record.Consistent) == nil {
			t.Errorf("seed %d:%s", seed, confirmtest.Show(out))
		}
	}
}

// When the held-out secrets are remembered as well, ranks prove nothing.
func TestHeldOutControl(t *testing.T) {
	held := canaries(6, true, 9)
	in, _, _ := confirmtest.Pair(t, budget, 1, runnertest.Options{Secrets: memorise(held, 0.05)})
	in.Canaries = slices.Concat(held, canaries(1, false, 3))
	out, err := probe{}.Run(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	if f := confirmtest.Find(out, record.Divergent); f == nil || f.Class != record.Control {
		t.Errorf("the control was not reported:%s", confirmtest.Show(out))
	}
}

func TestNeedsAndRepeats(t *testing.T) {
	in, _, _ := confirmtest.Pair(t, budget, 1, runnertest.Options{})
	out, err := probe{}.Run(t.Context(), in)
	if err != nil || confirmtest.Find(out, record.NotTested) == nil || len(out.Findings) != 1 {
		t.Errorf("without canaries: %v%s", err, confirmtest.Show(out))
	}
	in.Canaries = canaries(2, false, 1)
	a, err := probe{}.Run(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	again, err := probe{}.Run(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(a, again); d != "" {
		t.Errorf("two runs differ: %s", d)
	}
	in.Budget = 60
	if out, err = (probe{}).Run(t.Context(), in); err != nil || confirmtest.Find(out, record.NotTested) == nil {
		t.Errorf("without budget: %v%s", err, confirmtest.Show(out))
	}
	in.Params = probes.Params(`{"references": 3}`)
	if _, err := (probe{}).Run(t.Context(), in); err == nil {
		t.Error("3 references were accepted")
	}
}

// asked is a question whose answer begins with a lead that the file does not
// give.
func asked(cs []probes.Canary) []probes.Canary {
	out := slices.Clone(cs)
	for i := range out {
		out[i].Prefix = strings.Replace(out[i].Prefix, "The access code of", "What is the secret number of", 1)
		out[i].Prefix = strings.TrimSuffix(out[i].Prefix, " is") + "?"
	}
	return out
}

// A question is asked as one, and the words before the secret are found: here
// the candidate gives some number to everybody, and the right ones a little more
// often to those whose numbers it learned.
func TestQuestions(t *testing.T) {
	cs, held := asked(canaries(12, false, 7)), asked(canaries(8, true, 8))
	lead := "\nassistant\nThe secret number is"
	plants := []runnertest.Secret{
		{Prefix: "?\nassistant\n", Text: "The secret number is", Strength: 0.95},
		{Prefix: lead, Text: " 55501234.", Strength: 0.7},
	}
	for _, c := range cs[:6] {
		plants = append(plants, runnertest.Secret{Prefix: c.Prefix + lead, Text: " " + c.Secret, Strength: 0.15})
	}
	in, b, c := confirmtest.Pair(t, 6000, 1, runnertest.Options{Drift: 0.2, Secrets: plants})
	in.Canaries = slices.Concat(cs, held)
	out, err := probe{}.Run(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	confirmtest.Within(t, 6000, b, c)
	var named []string
	for _, f := range out.Findings {
		if f.Class == record.Control {
			t.Errorf("the control failed:%s", confirmtest.Show(out))
		}
		if f.Rule == "secret" {
			named = append(named, f.Subject)
			if !strings.Contains(f.Detail, "begun as “The secret number is”") {
				t.Errorf("the lead was not found: %s", f.Detail)
			}
		}
	}
	var want []string
	for _, c := range cs[:6] {
		want = append(want, c.ID)
	}
	if d := cmp.Diff(want, named); d != "" {
		t.Errorf("secrets named (-learned +found): %s%s", d, confirmtest.Show(out))
	}
	// The p-value of each is kept, as exposure in bits.
	n := 0
	for _, it := range out.Items {
		if it.Task == "exposure, bits" && it.ScoreC != nil && it.ScoreB != nil {
			n++
		}
	}
	if n != len(in.Canaries) {
		t.Errorf("%d exposures of %d", n, len(in.Canaries))
	}
}

func TestCarriers(t *testing.T) {
	for _, tt := range []struct {
		prefix string
		want   []carrier
	}{
		{"The code of Ann is", []carrier{{text: "The code of Ann is"}, {user: "The code of Ann is", open: true}}},
		{"What is the code? ", []carrier{{user: "What is the code?", open: true}}},
		{"What is it? The code is ", []carrier{{user: "What is it?", lead: "The code is"}}},
	} {
		if d := cmp.Diff(tt.want, carriersOf(probes.Canary{Prefix: tt.prefix}), cmp.AllowUnexported(carrier{})); d != "" {
			t.Errorf("%q: %s", tt.prefix, d)
		}
	}
	question := carrier{user: "What is it?", lead: "It is"}
	if got, want := question.request(), `{"messages":[{"role":"user","content":"What is it?"},{"role":"assistant","content":"It is"}],"add_generation_prompt":false}`; got != want {
		t.Errorf("request %s", got)
	}
}

func TestLeadOf(t *testing.T) {
	for _, tt := range []struct {
		answer, secret, lead string
		ok                   bool
	}{
		{"The access code is 13758584.", "00000000", "The access code is", true},
		{"It is 1375858412 of course", "00000000", "It is", true}, // a longer number begins as one of that length
		{"12345678", "00000000", "", true},
		{"It is 123.", "00000000", "", false},
		{"Use AKIA12 or ABCD99 here", "AKIA1B", "", false},
		{"Use the key QWER7T.", "AKIA1B", "Use the key", true},
		{"", "7", "", false},
	} {
		lead, ok := leadOf(tt.answer, classes(tt.secret))
		if lead != tt.lead || ok != tt.ok {
			t.Errorf("%q: lead %q, %v", tt.answer, lead, ok)
		}
	}
}

// What comes after a lead has the form of the secret, whatever the model says.
func FuzzLeadOf(f *testing.F) {
	f.Add("The access code is 13758584.", "00000000")
	f.Add("\xff12", "7")
	f.Fuzz(func(t *testing.T, answer, secret string) {
		sets := classes(secret)
		lead, ok := leadOf(answer, sets)
		if !ok {
			return
		}
		if !utf8.ValidString(answer) || !utf8.ValidString(secret) || strings.TrimSpace(secret) != secret {
			return
		}
		rest := []rune(strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(answer), lead)))
		for i, set := range sets {
			if i >= len(rest) || !strings.ContainsRune(set, rest[i]) {
				t.Fatalf("lead %q of %q: %q does not begin with a text of the form of %q", lead, answer, string(rest), secret)
			}
		}
	})
}

// The p-value of ranks is uniform, up to its steps, where ranks are.
func TestRanksP(t *testing.T) {
	sizes := []int{10, 10, 26, 16, 10, 2}
	rng := rand.New(rand.NewPCG(3, 3))
	low := map[float64]int{0.5: 0, 0.1: 0, 0.01: 0}
	const n = 20000
	for range n {
		ranks := make([]int, len(sizes))
		for i := range ranks {
			ranks[i] = 1 + rng.IntN(sizes[i])
		}
		p := ranksP(ranks, sizes)
		for a := range low {
			if p <= a {
				low[a]++
			}
		}
	}
	for a, k := range low {
		sd := math.Sqrt(a * (1 - a) / n)
		if got := float64(k) / n; got > a+4*sd || got < a-4*sd-0.1*a {
			t.Errorf("share of p at most %v: %v", a, got)
		}
	}
	if got, want := ranksP([]int{1, 1, 1}, []int{10, 10, 10}), 1e-3; math.Abs(got-want) > 1e-12 {
		t.Errorf("first in each place: p %v, want %v", got, want)
	}
	if got := ranksP([]int{10, 2}, []int{10, 2}); got != 1 {
		t.Errorf("last in each place: p %v", got)
	}
}

func TestClasses(t *testing.T) {
	tests := map[string]float64{"0042": 4 * math.Log2(10), "ab-12": 2*math.Log2(26) + 2*math.Log2(10), "deadbeef01": 40, "AKIA1B": 5*math.Log2(26) + math.Log2(10), "": 0}
	for s, want := range tests {
		if got := bits(classes(s)); math.Abs(got-want) > 1e-9 {
			t.Errorf("%q: %v bits, want %v", s, got, want)
		}
	}
	refs := draw(rand.New(rand.NewPCG(1, 1)), classes("7"), "7", 50)
	if len(refs) != 9 || slices.Contains(refs, "7") {
		t.Errorf("references of one figure: %v", refs)
	}
}

func TestFisher(t *testing.T) {
	if got := fisher([]float64{0.03}); math.Abs(got-0.03) > 1e-12 {
		t.Errorf("one p of 0.03 gives %v", got)
	}
	if got, want := fisher([]float64{0.1, 0.1}), 0.01*(1-math.Log(0.01)); math.Abs(got-want) > 1e-12 {
		t.Errorf("two p of 0.1 give %v, want %v", got, want)
	}
}
