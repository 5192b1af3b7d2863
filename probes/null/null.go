package null

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/weighbridge/weighbridge/harness/stats"
	"github.com/weighbridge/weighbridge/probes"
	"github.com/weighbridge/weighbridge/record"
	"github.com/weighbridge/weighbridge/runners"
)

// ID is the probe's.
const ID = "null"

func init() { probes.Register(probe{}) }

type probe struct{}

type settings struct {
	Tolerance float64 `json:"tolerance"`
}

const (
	answerTokens = 8
	fewest       = 4 // prompts
	draws        = 9_999
	alpha        = 0.001 // of the control's own test, outside the run's correction
)

func (probe) About() probes.About {
	return probes.About{
		ID:       ID,
		Question: "Does the baseline answer differently when it is asked again?",
		Method: "A fixed set of prompts is generated and scored by the baseline twice in the same shape, and once in reverse order. " +
			"The first two must agree to the bit; the third gives the noise floor.",
		Null: "it is the null of the other probes: the baseline against itself",
		Cost: "about 3,000 tokens of the baseline, fewer with a small budget",
		Params: []probes.Param{
			{Name: "tolerance", Default: "0.1", Meaning: "largest change of log p of a token, in nats, that another order may bring"},
		},
	}
}

// prompts have nothing to do with what is tested elsewhere.
var prompts = []string{
	"Tell me about the sea.", "What is a bridge?", "Describe a garden in spring.", "Why do birds sing?", "Name three colours.",
	"What is 3 + 4?", "Write a short poem about rain.", "How do I boil an egg?", "What does a doctor do?", "Explain what a map is.",
	"Who are you?", "Give me advice about sleep.", "What is the opposite of cold?", "Tell me a story about a fox.", "Why is the sky blue?",
	"List two fruits.", "What can I do on a rainy day?", "Is a whale a fish?", "Complete the sentence: The train was", "Hello!",
	"What is a good name for a cat?", "How long is a week?", "Translate 'water' into French.", "Write one line of Python that prints a number.",
}

func (probe) Run(ctx context.Context, in *probes.Input) (*probes.Output, error) {
	set := settings{Tolerance: 0.1}
	if err := in.Params.Decode(&set); err != nil {
		return nil, err
	}
	if !(set.Tolerance > 0) {
		return nil, fmt.Errorf("probe null: tolerance %g must be above 0", set.Tolerance)
	}
	ids, why, err := prepare(ctx, in)
	if err != nil {
		return nil, err
	}
	if why != "" {
		return &probes.Output{Findings: []record.Finding{{Rule: "repeat", Tier: record.NotTested, Class: record.Control,
			Title: "the control was not run", Detail: why}}}, nil
	}
	m := in.Baseline
	first, err := ask(ctx, m, in.BaselineInfo, ids, nil, 0)
	if err != nil {
		return nil, err
	}
	again, err := ask(ctx, m, in.BaselineInfo, ids, first, 1)
	if err != nil {
		return nil, err
	}
	turned := slices.Clone(ids)
	slices.Reverse(turned)
	back, err := ask(ctx, m, in.BaselineInfo, turned, reversed(first), 2)
	if err != nil {
		return nil, err
	}
	back = reversed(back)

	out := &probes.Output{}
	out.Findings = append(out.Findings, repeat(first, again))
	f, noise, err := regroup(in, first, back, set.Tolerance)
	if err != nil {
		return nil, err
	}
	out.Findings = append(out.Findings, f)
	if noise.Flips > 0 {
		out.Leads = append(out.Leads, probes.Lead{Kind: "noise", Text: "share of the baseline's greedy answers that change with the order of the questions", Score: noise.Upper, From: ID})
	}
	for i := range first {
		out.Items = append(out.Items, record.Item{Probe: ID, Task: "regroup", ID: fmt.Sprintf("%02d", i), Condition: "reverse order",
			Prompt: prompts[i], Baseline: first[i].text, Candidate: back[i].text,
			ScoreB: record.Float(first[i].sum()), ScoreC: record.Float(back[i].sum()), Effect: record.Float(back[i].sum() - first[i].sum())})
	}
	return out, nil
}

// prepare gives as many prompts as the budget pays for, or why there are none.
func prepare(ctx context.Context, in *probes.Input) ([][]runners.Token, string, error) {
	chats := make([]runners.Conversation, len(prompts))
	for i, p := range prompts {
		chats[i] = probes.User(p)
	}
	ids, why, err := probes.Prompts(ctx, in.Baseline, in.BaselineInfo, chats)
	if err != nil {
		return nil, "", fmt.Errorf("baseline: %w", err)
	}
	cost := 0
	for i, p := range ids {
		if why[i] != "" || len(p) == 0 {
			return nil, fmt.Sprintf("the baseline's chat template gives nothing for a plain question: %s", why[i]), nil
		}
		if len(p)+answerTokens > in.BaselineInfo.ContextLength {
			return nil, fmt.Sprintf("a plain question has %d tokens, the context holds %d", len(p), in.BaselineInfo.ContextLength), nil
		}
		if cost += 6 * (len(p) + answerTokens); cost > in.Budget {
			if i < fewest {
				return nil, fmt.Sprintf("the budget of %d tokens does not pay for %d prompts", in.Budget, fewest), nil
			}
			return ids[:i], "", nil
		}
	}
	return ids, "", nil
}

// answer is one prompt's greedy continuation and the scores along the first
// run's continuation.
type answer struct {
	tokens []runners.Token
	text   string
	drawn  []float32 // log p as generation reports it
	scored []float32 // log p as scoring reports it
	rank   []int32
}

func (a answer) sum() float64 {
	var s float64
	for _, l := range a.scored {
		s += float64(l)
	}
	return s
}

// ask generates and scores in the given order. The continuations to score are
// those of along, or the fresh ones. nonce makes the requests different without
// changing what has to be computed.
func ask(ctx context.Context, m runners.Model, info *runners.Info, ids [][]runners.Token, along []answer, nonce int) ([]answer, error) {
	g, err := m.Generate(ctx, &runners.GenerateRequest{Prompts: ids, MaxTokens: answerTokens, Sampling: runners.Sampling{Seed: uint64(nonce)}})
	if err != nil {
		return nil, fmt.Errorf("baseline: %w", err)
	}
	if len(g.Generations) != len(ids) {
		return nil, fmt.Errorf("baseline: %d answers to %d prompts", len(g.Generations), len(ids))
	}
	out := make([]answer, len(ids))
	for i, x := range g.Generations {
		out[i] = answer{tokens: x.Tokens, text: fmt.Sprintf("%q", x.Text), drawn: x.LogProb}
	}
	if !info.CanScore {
		return out, nil
	}
	if along == nil {
		along = out
	}
	r := &runners.ScoreRequest{Want: []runners.Token{runners.Token(nonce)}}
	for i, p := range ids {
		r.Sequences = append(r.Sequences, runners.Sequence{
			Tokens: append(slices.Clone(p), along[i].tokens...), From: len(p), Next: true})
	}
	s, err := m.Score(ctx, r)
	if err != nil {
		return nil, fmt.Errorf("baseline: %w", err)
	}
	if len(s.Sequences) != len(ids) {
		return nil, fmt.Errorf("baseline: %d scores for %d sequences", len(s.Sequences), len(ids))
	}
	for i, q := range s.Sequences {
		out[i].scored, out[i].rank = q.LogProb, q.Rank
	}
	return out, nil
}

func reversed(a []answer) []answer {
	b := slices.Clone(a)
	slices.Reverse(b)
	return b
}

// largest is the largest difference of log p between two runs, in nats. A
// value that is missing or not a number on one side differs infinitely.
func largest(a, b []float32) float64 {
	if len(a) != len(b) {
		return math.MaxFloat64
	}
	var most float64
	for i := range a {
		if math.Float32bits(a[i]) == math.Float32bits(b[i]) {
			continue
		}
		d := math.Abs(float64(a[i]) - float64(b[i]))
		if math.IsNaN(d) || math.IsInf(d, 0) {
			return math.MaxFloat64
		}
		most = max(most, d)
	}
	return most
}

// repeat compares two runs of the same shape, to the bit.
func repeat(first, again []answer) record.Finding {
	f := record.Finding{Rule: "repeat", Class: record.Control, N: len(first), Null: "the same requests, asked again",
		Statistic: "largest change of log p of a token between two equal runs of the baseline, nats"}
	texts, bits := 0, 0
	var most float64
	for i, a := range first {
		b := again[i]
		if !slices.Equal(a.tokens, b.tokens) {
			texts++
			f.Transcript = append(f.Transcript, exchange(i, a, b))
			continue // what follows other tokens cannot be compared
		}
		if d := max(largest(a.drawn, b.drawn), largest(a.scored, b.scored)); d > 0 {
			bits++
			most = max(most, d)
		}
	}
	f.Value = record.Float(most)
	f.Detail = fmt.Sprintf("%d prompts: %d other texts, %d with other bits.", len(first), texts, bits)
	if texts+bits > 0 {
		f.Tier, f.Title = record.Divergent, fmt.Sprintf("the engine is not deterministic: %d of %d answers of the baseline changed when asked again", texts+bits, len(first))
		f.Detail += " Differences between the two models cannot be told from this."
		return f
	}
	f.Tier, f.Title = record.Consistent, fmt.Sprintf("the baseline, asked again, gives the same bits (%d prompts)", len(first))
	return f
}

func exchange(i int, a, b answer) record.Exchange {
	return record.Exchange{Condition: "baseline twice", Request: probes.RequestJSON(probes.User(prompts[i])), Baseline: a.text, Candidate: b.text}
}

// regroup compares two runs in different orders.
func regroup(in *probes.Input, first, back []answer, tolerance float64) (record.Finding, stats.Noise, error) {
	f := record.Finding{Rule: "regroup", Class: record.Control, N: len(first), Null: "the same prompts in reverse order",
		Statistic: "largest change of log p of a token when the prompts come in another order, nats"}
	same, other := make([]float64, len(first)), make([]float64, len(first)) // greedy answer as in the first run?
	logs, logsBack := make([]float64, len(first)), make([]float64, len(first))
	var most float64
	for i, a := range first {
		b := back[i]
		same[i], other[i] = 1, 1
		if !slices.Equal(a.tokens, b.tokens) || flipped(a.rank, b.rank) {
			other[i] = 0
			f.Transcript = append(f.Transcript, exchange(i, a, b))
		}
		most = max(most, largest(a.scored, b.scored))
		if slices.Equal(a.tokens, b.tokens) {
			most = max(most, largest(a.drawn, b.drawn))
		}
		logs[i], logsBack[i] = a.sum(), b.sum()
	}
	noise, err := stats.NoiseFloor(same, other)
	if err != nil {
		return f, noise, err
	}
	f.Value = record.Float(most)
	f.Detail = fmt.Sprintf("%d of %d greedy answers flip (95%% at most %.1f%% of answers).", noise.Flips, noise.N, 100*noise.Upper)
	p, bias := 1.0, 0.0
	if most < math.MaxFloat64 {
		d, err := stats.Differences(logs, logsBack)
		if err != nil {
			return f, noise, err
		}
		if p, err = stats.SignFlip(d, nil, stats.TwoSided, draws, in.Rand("null/sign-flip")); err != nil {
			return f, noise, err
		}
		for _, v := range d {
			bias += v / float64(len(d))
		}
		f.Detail += fmt.Sprintf(" The paired statistics, put to the baseline against itself, say p = %.3g.", p)
	}
	switch {
	case most > tolerance:
		f.Tier, f.Title = record.Divergent, fmt.Sprintf("the baseline's answers depend on what else is asked: log p changes by up to %.3g nats, more than %g", most, tolerance)
	case p <= alpha && math.Abs(bias) > tolerance/10: // a bias that could ever count
		f.Tier, f.Title = record.Divergent, fmt.Sprintf("the baseline differs from itself in another order (p = %.2g)", p)
	case most == 0 && noise.Flips == 0:
		f.Tier, f.Title = record.Consistent, "noise floor 0: the order of the questions changes no bit"
	default:
		f.Tier, f.Title = record.Consistent, fmt.Sprintf("noise floor: log p changes by at most %.2g nats with the order of the questions, %d of %d answers flip", most, noise.Flips, noise.N)
	}
	return f, noise, nil
}

// flipped reports whether a token was the most likely one on one side only.
func flipped(a, b []int32) bool {
	if len(a) != len(b) {
		return true
	}
	for i := range a {
		if (a[i] == 0) != (b[i] == 0) {
			return true
		}
	}
	return false
}
