package benchmark_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"math"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/weighbridge/weighbridge/harness/stats"
	"github.com/weighbridge/weighbridge/probes"
	_ "github.com/weighbridge/weighbridge/probes/benchmark"
	"github.com/weighbridge/weighbridge/record"
	"github.com/weighbridge/weighbridge/runners"
	"github.com/weighbridge/weighbridge/runners/runnertest"
)

const (
	choiceYAML = `task: words
dataset_path: json
dataset_kwargs: {data_files: words.jsonl}
output_type: multiple_choice
doc_to_text: "{{prompt}}"
doc_to_choice: "{{choices}}"
doc_to_target: target
`
	writtenYAML = `task: written
dataset_path: json
dataset_kwargs: {data_files: written.jsonl}
output_type: generate_until
doc_to_text: "{{prompt}}"
doc_to_target: "{{answer}}"
generation_kwargs: {until: ["\n"], max_gen_toks: 4}
`
)

type question struct {
	ID      string   `json:"id"`
	Prompt  string   `json:"prompt"`
	Kind    string   `json:"kind"`
	Choices []string `json:"choices,omitempty"`
	Target  int      `json:"target"`
	Answer  string   `json:"answer,omitempty"`
}

// questions are about pairs of words, none of which a Fake refuses.
func questions(n int) []question {
	nouns := strings.Fields("bread cheese river castle garden bridge school train horse bird whale lion king queen tree rose moon star stone gold")
	var q []question
	for i := range n {
		a, b := nouns[i%len(nouns)], nouns[(i/len(nouns)+i+1)%len(nouns)]
		q = append(q, question{ID: fmt.Sprint(i), Prompt: fmt.Sprintf("Tell me about the %s and the %s number %d", a, b, i), Kind: a,
			Choices: []string{" red", " blue", " green", " old"}, Answer: "?"})
	}
	return q
}

func data(t *testing.T, yaml string, q []question) fstest.MapFS {
	t.Helper()
	var b strings.Builder
	for _, x := range q {
		line, err := json.Marshal(x)
		if err != nil {
			t.Fatal(err)
		}
		b.Write(append(line, '\n'))
	}
	name, _, _ := strings.Cut(strings.TrimPrefix(yaml, "task: "), "\n")
	return fstest.MapFS{name + ".yaml": {Data: []byte(yaml)}, name + ".jsonl": {Data: []byte(b.String())}}
}

// known makes what the baseline answers the right answers: an able baseline.
func known(t *testing.T, base *runnertest.Fake, yaml string, n int) fstest.MapFS {
	t.Helper()
	q := questions(n)
	out := run(t, input(base, base, data(t, yaml, q)))
	for _, it := range out.Items {
		for i := range q {
			if q[i].ID == it.ID {
				q[i].Answer = it.Baseline
				q[i].Target = max(0, slices.Index(q[i].Choices, it.Baseline))
			}
		}
	}
	return data(t, yaml, q)
}

func input(base, cand *runnertest.Fake, files fs.FS) *probes.Input {
	return &probes.Input{Baseline: base, Candidate: cand, BaselineInfo: base.Describe(), CandidateInfo: cand.Describe(),
		SameIDs: true, Level: probes.Standard, Budget: 1 << 20, Seed: 1, Data: files}
}

func run(t *testing.T, in *probes.Input) *probes.Output {
	t.Helper()
	p, err := probes.Lookup("benchmark")
	if err != nil {
		t.Fatal(err)
	}
	out, err := p.Run(context.Background(), in)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, f := range out.Findings {
		if f.P != nil {
			n++
		}
	}
	if n != out.Tests {
		t.Errorf("%d findings with a p-value, %d tests", n, out.Tests)
	}
	return out
}

func finding(t *testing.T, out *probes.Output, rule, subject string) record.Finding {
	t.Helper()
	for _, f := range out.Findings {
		if f.Rule == rule && f.Subject == subject {
			return f
		}
	}
	t.Fatalf("no finding %s/%s in %+v", rule, subject, out.Findings)
	return record.Finding{}
}

func merge(all ...fstest.MapFS) fstest.MapFS {
	m := fstest.MapFS{}
	for _, a := range all {
		for k, v := range a {
			m[k] = v
		}
	}
	return m
}

func TestSameModel(t *testing.T) {
	base, cand := runnertest.New(runnertest.Options{}), runnertest.New(runnertest.Options{})
	files := merge(known(t, base, choiceYAML, 80), known(t, base, writtenYAML, 60))
	out := run(t, input(base, cand, files))
	if len(out.Items) != 140 || out.Tests != 3 {
		t.Fatalf("%d items, %d tests", len(out.Items), out.Tests)
	}
	for _, f := range out.Findings {
		if f.Tier != record.Consistent || *f.Value != 0 || *f.P != 1 || len(f.Transcript) != 0 {
			t.Errorf("%s: %s %+v", f.Rule, f.Tier, f)
		}
		// Nothing flipped, and yet a small loss would have escaped.
		if *f.MDE < 0.01 || *f.Low > -0.01 {
			t.Errorf("%s claims too much: MDE %g, low %g", f.Rule, *f.MDE, *f.Low)
		}
	}
	for _, it := range out.Items {
		if it.Flip != "" || *it.ScoreB != 1 {
			t.Errorf("item %s/%s: %+v", it.Task, it.ID, it)
		}
	}
}

func TestLostAbility(t *testing.T) {
	base := runnertest.New(runnertest.Options{})
	cand := runnertest.New(runnertest.Options{Drift: 4, DriftSeed: 7})
	files := merge(known(t, base, choiceYAML, 80), known(t, base, writtenYAML, 60))
	out := run(t, input(base, cand, files))
	all := finding(t, out, "overall", "")
	if all.Tier != record.Proven || all.Class != record.Regression || *all.High >= -*all.Margin || len(all.Transcript) == 0 {
		t.Fatalf("overall: %+v", all)
	}
	var flips stats.Flips
	for _, it := range out.Items {
		flips.Add(*it.ScoreB > 0, *it.ScoreC > 0)
		if (it.Flip == "lost") != (*it.ScoreB == 1 && *it.ScoreC == 0) || *it.Effect != *it.ScoreC-*it.ScoreB {
			t.Errorf("item %+v", it)
		}
	}
	if *all.P != flips.Worse() || math.Abs(*all.Value-flips.Difference()) > 1e-12 {
		t.Errorf("p = %g and difference %g, the items say %g and %g", *all.P, *all.Value, flips.Worse(), flips.Difference())
	}
	x := all.Transcript[0]
	if !strings.HasPrefix(x.Request, `{"messages":`) || x.Baseline == x.Candidate {
		t.Errorf("exchange %+v", x)
	}
	// The same input gives the same bytes.
	if d := cmp.Diff(out, run(t, input(base, cand, files))); d != "" {
		t.Error(d)
	}
	// What lies within the margin is tolerated; across it, a person decides.
	for margin, want := range map[string]record.Tier{"1": record.Consistent, "0.93": record.Divergent} {
		in := input(base, cand, files)
		in.Params = probes.Params(`{"margin": ` + margin + `}`)
		if f := finding(t, run(t, in), "overall", ""); f.Tier != want {
			t.Errorf("margin %s: %s, want %s: %s", margin, f.Tier, want, f.Title)
		}
	}
}

func TestClusters(t *testing.T) {
	base := runnertest.New(runnertest.Options{})
	cand := runnertest.New(runnertest.Options{Drift: 4, DriftSeed: 7})
	files := known(t, base, choiceYAML, 80)
	plain := finding(t, run(t, input(base, cand, files)), "task", "words")
	files["words.yaml"] = &fstest.MapFile{Data: []byte(choiceYAML + "metadata: {cluster: \"{{kind}}\"}\n")}
	f := finding(t, run(t, input(base, cand, files)), "task", "words")
	if !strings.Contains(f.Null, "clusters") || !strings.Contains(f.Detail, "20 clusters") {
		t.Errorf("null %q, detail %q", f.Null, f.Detail)
	}
	if *f.Value != *plain.Value || *f.P < *plain.P {
		t.Errorf("20 clusters are no more evidence than 80 questions: p %g against %g", *f.P, *plain.P)
	}
}

func TestMarginMetric(t *testing.T) {
	base := runnertest.New(runnertest.Options{})
	yaml := choiceYAML + "metric_list: [{metric: margin}]\n"
	files := known(t, base, yaml, 80)
	same := finding(t, run(t, input(base, runnertest.New(runnertest.Options{}), files)), "task", "words")
	if same.Tier != record.Consistent || *same.Value != 0 {
		t.Errorf("same model: %+v", same)
	}
	f := finding(t, run(t, input(base, runnertest.New(runnertest.Options{Drift: 4, DriftSeed: 7}), files)), "task", "words")
	if f.Tier != record.Proven || *f.Value > -0.5 || !strings.Contains(f.Statistic, "nats") {
		t.Errorf("drifted: %+v", f)
	}
}

func TestBudgetHolds(t *testing.T) {
	base, cand := runnertest.New(runnertest.Options{}), runnertest.New(runnertest.Options{})
	files := merge(known(t, base, choiceYAML, 200), known(t, base, writtenYAML, 200))
	for _, budget := range []int{600, 3000} {
		base, cand = runnertest.New(runnertest.Options{}), runnertest.New(runnertest.Options{})
		in := input(base, cand, files)
		in.Budget = budget
		out := run(t, in)
		// The Fake counts every prompt of a generation anew.
		if used := cand.Used().Decoded; used > budget*2 || used < budget/4 {
			t.Errorf("budget %d: decoded %d for %d items", budget, used, len(out.Items))
		}
		if len(out.Items) == 0 || len(out.Items) >= 400 {
			t.Errorf("budget %d: %d items", budget, len(out.Items))
		}
	}
	in := input(base, cand, files)
	in.Budget = 0
	for _, f := range run(t, in).Findings {
		if f.Tier != record.NotTested || f.Detail == "" {
			t.Errorf("without a budget: %+v", f)
		}
	}
	in.Budget, in.Params = 1<<20, probes.Params(`{"limit": 10}`)
	if out := run(t, in); len(out.Items) != 20 {
		t.Errorf("limit 10: %d items of two tasks", len(out.Items))
	}
}

func TestWhatCannotBeAsked(t *testing.T) {
	base := runnertest.New(runnertest.Options{})
	files := merge(known(t, base, choiceYAML, 40), known(t, base, writtenYAML, 40))

	out := run(t, input(base, runnertest.New(runnertest.Options{NoScores: true}), files))
	if f := finding(t, out, "task", "words"); f.Tier != record.NotTested || !strings.Contains(f.Detail, "cannot score") {
		t.Errorf("without scores: %+v", f)
	}
	if f := finding(t, out, "task", "written"); f.Tier != record.Consistent {
		t.Errorf("generation needs no scores: %+v", f)
	}

	broken := runnertest.New(runnertest.Options{Template: func(c runners.Conversation) (string, error) {
		if strings.Contains(c.Messages[0].Content, "whale") {
			return "", fmt.Errorf("no whales")
		}
		return runnertest.ChatML(c)
	}})
	out = run(t, input(base, broken, files))
	if f := finding(t, out, "skipped", "words"); f.Tier != record.NotTested || !strings.Contains(f.Detail, "candidate: no whales") {
		t.Errorf("template that raises: %+v", f)
	}

	out = run(t, input(base, base, fstest.MapFS{}))
	if len(out.Findings) != 1 || out.Findings[0].Tier != record.NotTested || out.Tests != 0 {
		t.Errorf("no task: %+v", out.Findings)
	}

	// A baseline that knows nothing has nothing to lose.
	q := questions(40)
	out = run(t, input(base, base, data(t, writtenYAML, q)))
	if f := finding(t, out, "task", "written"); f.Tier != record.NotTested || !strings.Contains(f.Detail, "right on 0 of 40") || out.Tests != 0 {
		t.Errorf("baseline without the ability: %+v", f)
	}

	// A model that cannot be asked says nothing about its weights.
	p, err := probes.Lookup("benchmark")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Run(context.Background(), input(base, runnertest.New(runnertest.Options{CrashAfter: 3}), files)); err == nil || !strings.Contains(err.Error(), "candidate") {
		t.Errorf("crash: %v", err)
	}
	in := input(base, base, files)
	in.Params = probes.Params(`{"margin": 2}`)
	if _, err := p.Run(context.Background(), in); err == nil {
		t.Error("a margin of 2 is accepted")
	}
	in.Params = probes.Params(`{"marign": 0.1}`)
	if _, err := p.Run(context.Background(), in); err == nil {
		t.Error("a misspelt parameter is accepted")
	}
}

func TestNoiseWidensTheMargin(t *testing.T) {
	base := runnertest.New(runnertest.Options{})
	in := input(base, base, known(t, base, choiceYAML, 40))
	before := *finding(t, run(t, in), "task", "words").Margin
	in.Leads = []probes.Lead{{Kind: "noise", Score: 0.07, From: "null"}, {Kind: "trigger", Score: 9}}
	if after := *finding(t, run(t, in), "task", "words").Margin; after != before+0.07 {
		t.Errorf("margin %g, with noise %g", before, after)
	}
}

// spy keeps what is asked to score.
type spy struct {
	runners.Model
	asked []runners.Sequence
}

func (s *spy) Score(ctx context.Context, r *runners.ScoreRequest) (*runners.ScoreResult, error) {
	s.asked = append(s.asked, r.Sequences...)
	return s.Model.Score(ctx, r)
}

// All answers of a question continue the very same ids, and with a chat
// template no delimiter comes between.
func TestAnswersShareThePrompt(t *testing.T) {
	for _, plain := range []bool{false, true} {
		base := runnertest.New(runnertest.Options{NoTemplate: plain})
		s := &spy{Model: base}
		q := questions(8)
		for i := range q {
			q[i].Choices = []string{"red", "green moon"}
		}
		in := input(base, base, data(t, choiceYAML, q))
		in.Candidate = s
		run(t, in)
		if len(s.asked) != 16 {
			t.Fatalf("%d sequences, want 16", len(s.asked))
		}
		for i := 0; i < len(s.asked); i += 2 {
			a, b := s.asked[i], s.asked[i+1]
			if a.From != b.From || !slices.Equal(a.Tokens[:a.From], b.Tokens[:b.From]) {
				t.Fatalf("sequences %d and %d do not share their prompt", i, i+1)
			}
			text, err := base.Detokenize(context.Background(), &runners.DetokenizeRequest{Tokens: [][]runners.Token{a.Tokens[a.From:]}})
			if err != nil {
				t.Fatal(err)
			}
			want := "red"
			if plain {
				want = " red"
			}
			if string(text.Texts[0]) != want {
				t.Errorf("the answer is put as %q, want %q", text.Texts[0], want)
			}
		}
	}
}
