package runnertest

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weighbridge/weighbridge/runners"
)

// Suite tests an implementation of [runners.Model] against the contract of
// package runners. open gives a fresh model each time, or the same one; the
// suite leaves it as it was. The model should have some hundred tokens of
// context, know ASCII text, and have a vocabulary with control tokens.
func Suite(t *testing.T, open func(t *testing.T) runners.Model) {
	for _, c := range []struct {
		name string
		test func(*testing.T, *probe)
	}{
		{"info", testInfo},
		{"tokens round trip", testRoundTrip},
		{"special tokens in text are text", testSpecialText},
		{"render hides special tokens in messages", testRenderSpecial},
		{"scores repeat exactly", testScoreRepeats},
		{"scores do not depend on company", testScoreCompany},
		{"score columns agree", testScoreColumns},
		{"next is a prediction like others", testScoreNext},
		{"sketch and rows agree with log-probabilities", testScoreSketchRows},
		{"generation repeats exactly", testGenerateRepeats},
		{"greedy generation follows the scores", testGreedy},
		{"sampling depends on seed and item", testSampling},
		{"stop strings", testStop},
		{"patterns", testPattern},
		{"ignoring the end", testIgnoreEOS},
		{"many items", testMany},
		{"usage", testUsage},
		{"refusals", testRefusals},
		{"cancelling", testCancel},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := open(t)
			info, err := m.Info(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			c.test(t, &probe{m, info})
		})
	}
}

// closeTo is how far equal predictions may lie apart, in nats, when they were
// computed in different batches.
const closeTo = 1e-2

type probe struct {
	runners.Model
	info *runners.Info
}

func (p *probe) ids(t *testing.T, text string) []runners.Token {
	t.Helper()
	r, err := p.Tokenize(t.Context(), &runners.TokenizeRequest{Texts: []string{text}, AddBOS: true})
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Tokens[0]) < 2 {
		t.Fatalf("%q is the tokens %v; the suite needs two at least", text, r.Tokens[0])
	}
	return r.Tokens[0]
}

// sequences share prefixes in several ways: none, a long one, one that is a
// prefix of another, and equal ones.
func (p *probe) sequences(t *testing.T) []runners.Sequence {
	t.Helper()
	var out []runners.Sequence
	for _, s := range []string{
		"The capital of France is a large city on a river.",
		"The capital of France is Paris",
		"The capital of France is Paris, and it is a large city.",
		"A completely different text 1 2 3 4 5.",
		"The capital of France is Paris",
		"one two three four",
	} {
		ids := p.ids(t, s)
		out = append(out, runners.Sequence{Tokens: ids, From: 1})
	}
	out[3].From = len(out[3].Tokens) / 2
	out[5].Next = true
	return out
}

func (p *probe) score(t *testing.T, r *runners.ScoreRequest) *runners.ScoreResult {
	t.Helper()
	if !p.info.CanScore {
		t.Skip("the model says that it cannot score")
	}
	a, err := p.Score(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func (p *probe) generate(t *testing.T, r *runners.GenerateRequest) *runners.GenerateResult {
	t.Helper()
	a, err := p.Generate(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func testInfo(t *testing.T, p *probe) {
	if p.info.VocabSize < 2 || p.info.ContextLength < 64 || p.info.Engine == "" || p.info.Architecture == "" {
		t.Errorf("info is %+v", p.info)
	}
	last := runners.None
	for _, s := range p.info.Special {
		if s.ID <= last || int(s.ID) >= p.info.VocabSize {
			t.Errorf("special token %d follows %d", s.ID, last)
		}
		last = s.ID
	}
	again, err := p.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(p.info, again); d != "" {
		t.Errorf("info changes:\n%s", d)
	}
}

func testRoundTrip(t *testing.T, p *probe) {
	texts := []string{"hello world", "A, b. 12 !", ""}
	r, err := p.Tokenize(t.Context(), &runners.TokenizeRequest{Texts: texts})
	if err != nil {
		t.Fatal(err)
	}
	d, err := p.Detokenize(t.Context(), &runners.DetokenizeRequest{Tokens: r.Tokens})
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range texts {
		// Some tokenizers put a space before a text.
		if got := strings.TrimPrefix(string(d.Texts[i]), " "); got != want {
			t.Errorf("%q comes back as %q", want, got)
		}
	}
	if !p.info.AddBOS {
		return
	}
	b, err := p.Tokenize(t.Context(), &runners.TokenizeRequest{Texts: texts[:1], AddBOS: true})
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(append([]runners.Token{p.info.BOS}, r.Tokens[0]...), b.Tokens[0]); d != "" {
		t.Errorf("with BOS:\n%s", d)
	}
}

// control gives a control token that has a text.
func (p *probe) control(t *testing.T) runners.SpecialToken {
	t.Helper()
	for _, s := range p.info.Special {
		if s.Kind == "control" && len(s.Text) > 2 && s.ID != p.info.BOS {
			return s
		}
	}
	t.Skip("the vocabulary has no control token with a text")
	return runners.SpecialToken{}
}

func testSpecialText(t *testing.T, p *probe) {
	c := p.control(t)
	text := "say " + c.Text + " now"
	for _, special := range []bool{false, true} {
		r, err := p.Tokenize(t.Context(), &runners.TokenizeRequest{Texts: []string{text}, Special: special})
		if err != nil {
			t.Fatal(err)
		}
		if got := slices.Contains(r.Tokens[0], c.ID); got != special {
			t.Errorf("%q with Special %v has the control token: %v", text, special, got)
		}
	}
}

func testRenderSpecial(t *testing.T, p *probe) {
	if !p.info.HasTemplate {
		t.Skip("the model has no chat template")
	}
	c := p.control(t)
	counts := map[string]int{}
	talk := func(s string) runners.Conversation {
		return runners.Conversation{Messages: []runners.Message{{Role: "user", Content: s}}, AddGenerationPrompt: true}
	}
	spelt := "say " + c.Text + " now"
	r, err := p.Render(t.Context(), &runners.RenderRequest{Conversations: []runners.Conversation{talk("say it now"), talk(spelt)}})
	if err != nil {
		t.Fatal(err)
	}
	for i, name := range []string{"plain", "spelt"} {
		x := r.Rendered[i]
		if x.Error != "" || len(x.Tokens) == 0 {
			t.Fatalf("%s conversation: %d tokens, error %q", name, len(x.Tokens), x.Error)
		}
		for _, id := range x.Tokens {
			if id == c.ID {
				counts[name]++
			}
		}
	}
	if counts["plain"] != counts["spelt"] {
		t.Errorf("a message that spells %q makes %d control tokens of %d", c.Text, counts["spelt"], counts["plain"])
	}
	if !strings.Contains(r.Rendered[1].Text, spelt) {
		t.Errorf("the rendered text %q lacks %q", r.Rendered[1].Text, spelt)
	}
	d, err := p.Detokenize(t.Context(), &runners.DetokenizeRequest{Tokens: [][]runners.Token{r.Rendered[1].Tokens}, Special: true})
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(d.Texts[0]), c.Text) {
		t.Errorf("the ids spell %q, without %q", d.Texts[0], c.Text)
	}
}

func testScoreRepeats(t *testing.T, p *probe) {
	r := &runners.ScoreRequest{Sequences: p.sequences(t), TopK: 5, Want: []runners.Token{0, 1}, Sketch: &runners.Sketch{Buckets: 8, Seed: 3}}
	first := p.score(t, r)
	p.generate(t, &runners.GenerateRequest{Prompts: [][]runners.Token{r.Sequences[0].Tokens}, MaxTokens: 4})
	if d := cmp.Diff(first, p.score(t, r)); d != "" {
		t.Errorf("the same request gives something else after others:\n%s", d)
	}
	if d := cmp.Diff(first.Sequences[1], first.Sequences[4]); d != "" {
		t.Errorf("equal sequences of one request differ:\n%s", d)
	}
}

func testScoreCompany(t *testing.T, p *probe) {
	all := p.sequences(t)
	together := p.score(t, &runners.ScoreRequest{Sequences: all})
	for i, s := range all {
		alone := p.score(t, &runners.ScoreRequest{Sequences: []runners.Sequence{s}}).Sequences[0]
		near(t, fmt.Sprintf("sequence %d: log p", i), alone.LogProb, together.Sequences[i].LogProb)
		near(t, fmt.Sprintf("sequence %d: entropy", i), alone.Entropy, together.Sequences[i].Entropy)
	}
}

func near(t *testing.T, what string, a, b []float32) {
	t.Helper()
	if len(a) != len(b) {
		t.Errorf("%s: %d and %d values", what, len(a), len(b))
		return
	}
	for i := range a {
		if d := math.Abs(float64(a[i]) - float64(b[i])); !(d <= closeTo) {
			t.Errorf("%s: %g and %g at %d", what, a[i], b[i], i)
		}
	}
}

func testScoreColumns(t *testing.T, p *probe) {
	const k = 4
	seqs := p.sequences(t)
	want := []runners.Token{0, seqs[0].Tokens[1], runners.Token(p.info.VocabSize - 1)}
	a := p.score(t, &runners.ScoreRequest{Sequences: seqs, TopK: k, Want: want})
	for i, s := range a.Sequences {
		q := seqs[i]
		n := q.Predictions()
		if len(s.LogProb) != n || len(s.Rank) != n || len(s.Entropy) != n || len(s.VarLog) != n ||
			len(s.TopIDs) != n*k || len(s.TopLog) != n*k || len(s.Want) != n*len(want) || len(s.Sketch) != 0 || len(s.Rows) != 0 {
			t.Fatalf("sequence %d does not have the shape of %d predictions", i, n)
		}
		for j := range n {
			ids, logs := s.TopIDs[j*k:(j+1)*k], s.TopLog[j*k:(j+1)*k]
			for x := 1; x < k; x++ {
				if logs[x] > logs[x-1] || logs[x] == logs[x-1] && ids[x] < ids[x-1] {
					t.Errorf("sequence %d, prediction %d: top %v %v is out of order", i, j, ids, logs)
				}
			}
			if s.Entropy[j] < 0 || float64(s.Entropy[j]) > math.Log(float64(p.info.VocabSize))+1e-3 || s.VarLog[j] < 0 {
				t.Errorf("sequence %d, prediction %d: entropy %g, variance %g", i, j, s.Entropy[j], s.VarLog[j])
			}
			at := q.From + j
			if at == len(q.Tokens) {
				if s.Rank[j] != -1 || s.LogProb[j] != 0 {
					t.Errorf("sequence %d: the next token has rank %d, log p %g", i, s.Rank[j], s.LogProb[j])
				}
				continue
			}
			if r := int(s.Rank[j]); r < k && logs[r] != s.LogProb[j] {
				t.Errorf("sequence %d, prediction %d: rank %d has log p %g, the token %g", i, j, r, logs[r], s.LogProb[j])
			} else if r >= k && s.LogProb[j] > logs[k-1] {
				t.Errorf("sequence %d, prediction %d: rank %d but log p %g above the top's last %g", i, j, r, s.LogProb[j], logs[k-1])
			}
			for x, id := range want {
				if id == q.Tokens[at] && s.Want[j*len(want)+x] != s.LogProb[j] {
					t.Errorf("sequence %d, prediction %d: wanted %g, log p %g", i, j, s.Want[j*len(want)+x], s.LogProb[j])
				}
			}
		}
	}
}

func testScoreNext(t *testing.T, p *probe) {
	ids := p.ids(t, "The capital of France is Paris")
	n := len(ids)
	a := p.score(t, &runners.ScoreRequest{TopK: 3, Sequences: []runners.Sequence{
		{Tokens: ids, From: 1},
		{Tokens: ids[:n-1], From: n - 1, Next: true},
	}})
	long, short := a.Sequences[0], a.Sequences[1]
	near(t, "entropy of the last prediction", long.Entropy[n-2:], short.Entropy)
	near(t, "top of the last prediction", long.TopLog[3*(n-2):], short.TopLog)
}

func testScoreSketchRows(t *testing.T, p *probe) {
	sketch := &runners.Sketch{Buckets: 16, Seed: 9}
	seqs := p.sequences(t)[:2]
	a := p.score(t, &runners.ScoreRequest{Sequences: seqs, Sketch: sketch, Rows: true, TopK: 1})
	for i, s := range a.Sequences {
		v := p.info.VocabSize
		for j := range seqs[i].Predictions() {
			row := make([]float64, v)
			top, z := math.Inf(-1), 0.0
			for id := range row {
				row[id] = fromHalf(uint16(s.Rows[2*(j*v+id)]) | uint16(s.Rows[2*(j*v+id)+1])<<8)
				top = max(top, row[id])
			}
			for _, x := range row {
				z += math.Exp(x - top)
			}
			mass := make([]float64, sketch.Buckets)
			for id, x := range row {
				mass[sketch.Bucket(runners.Token(id))] += math.Exp(x-top) / z
			}
			for b, m := range mass {
				if got := float64(s.Sketch[j*sketch.Buckets+b]); math.Abs(got-m) > 0.02 {
					t.Fatalf("sequence %d, prediction %d, bucket %d has %g, the row %g", i, j, b, got, m)
				}
			}
			// Binary16 keeps 11 bits of a logit.
			lp := row[seqs[i].Tokens[seqs[i].From+j]] - top - math.Log(z)
			if got := float64(s.LogProb[j]); math.Abs(got-lp) > 0.05+0.002*math.Abs(lp) {
				t.Errorf("sequence %d, prediction %d: log p %g, from the row %g", i, j, got, lp)
			}
		}
	}
}

func fromHalf(h uint16) float64 {
	sign, exp, frac := 1-2*float64(h>>15), int(h>>10&31), float64(h&1023)
	switch exp {
	case 0:
		return sign * math.Ldexp(frac, -24)
	case 31:
		return math.NaN()
	default:
		return sign * math.Ldexp(1+frac/1024, exp-15)
	}
}

func (p *probe) prompts(t *testing.T) [][]runners.Token {
	t.Helper()
	var out [][]runners.Token
	for _, s := range p.sequences(t) {
		out = append(out, s.Tokens)
	}
	return out
}

func testGenerateRepeats(t *testing.T, p *probe) {
	for _, s := range []runners.Sampling{{}, {Temperature: 0.9, TopK: 40, TopP: 0.95, Seed: 5}, {Temperature: 1, Seed: 6}, {Temperature: 1.2, TopP: 0.8, Seed: 7}} {
		r := &runners.GenerateRequest{Prompts: p.prompts(t), MaxTokens: 12, Sampling: s}
		first := p.generate(t, r)
		p.generate(t, &runners.GenerateRequest{Prompts: r.Prompts[:1], MaxTokens: 3})
		if d := cmp.Diff(first, p.generate(t, r)); d != "" {
			t.Errorf("%+v: the same request gives something else after others:\n%s", s, d)
		}
		for i, g := range first.Generations {
			if len(g.Tokens) != len(g.LogProb) || len(g.Tokens) > 12 || len(g.Allowed) != 0 {
				t.Errorf("%+v: item %d has %d tokens, %d log-probabilities, %d entropies", s, i, len(g.Tokens), len(g.LogProb), len(g.Allowed))
			}
		}
	}
}

// testGreedy scores what was generated: each token must be the most likely one,
// up to what a different batch may change.
func testGreedy(t *testing.T, p *probe) {
	prompts := p.prompts(t)
	g := p.generate(t, &runners.GenerateRequest{Prompts: prompts, MaxTokens: 8})
	for i, x := range g.Generations {
		if len(x.Tokens) == 0 {
			continue
		}
		s := p.score(t, &runners.ScoreRequest{TopK: 1, Sequences: []runners.Sequence{
			{Tokens: append(slices.Clone(prompts[i]), x.Tokens...), From: len(prompts[i])}}}).Sequences[0]
		near(t, fmt.Sprintf("item %d: log p", i), s.LogProb, x.LogProb)
		near(t, fmt.Sprintf("item %d: log p and the largest", i), s.TopLog, s.LogProb)
	}
}

func testSampling(t *testing.T, p *probe) {
	ids := p.ids(t, "one two three")
	prompts := slices.Repeat([][]runners.Token{ids}, 8)
	text := func(seed uint64) (all []string) {
		r := p.generate(t, &runners.GenerateRequest{Prompts: prompts, MaxTokens: 8, IgnoreEOS: true,
			Sampling: runners.Sampling{Temperature: 1.5, Seed: seed}})
		for _, g := range r.Generations {
			all = append(all, fmt.Sprint(g.Tokens))
		}
		return all
	}
	a, b := text(1), text(2)
	if slices.Equal(a, b) {
		t.Error("two seeds give the same eight samples")
	}
	if len(slices.Compact(slices.Sorted(slices.Values(a)))) == 1 {
		t.Error("eight items of one request give the same sample")
	}
}

func testStop(t *testing.T, p *probe) {
	ids := p.ids(t, "one two three")
	free := p.generate(t, &runners.GenerateRequest{Prompts: [][]runners.Token{ids}, MaxTokens: 24, IgnoreEOS: true,
		Sampling: runners.Sampling{Temperature: 1, Seed: 11}}).Generations[0]
	text := string(free.Text)
	if len(text) < 8 {
		t.Skipf("the model says only %q", text)
	}
	stop := text[3:6] // wherever tokens begin and end
	at := strings.Index(text, stop)
	g := p.generate(t, &runners.GenerateRequest{Prompts: [][]runners.Token{ids}, MaxTokens: 24, IgnoreEOS: true, Stop: []string{"\x01never", stop},
		Sampling: runners.Sampling{Temperature: 1, Seed: 11}}).Generations[0]
	if g.Stop != runners.StopString || string(g.Text) != text[:at] {
		t.Errorf("stop at %q in %q gives %q, %s", stop, text, g.Text, g.Stop)
	}
}

func testPattern(t *testing.T, p *probe) {
	ids := p.ids(t, "The code is")
	const digits = "0123456789"
	pattern := []string{digits, digits, digits, "-", "ab", "ab"}
	for _, s := range []runners.Sampling{{}, {Temperature: 1, Seed: 4}} {
		r := &runners.GenerateRequest{Prompts: [][]runners.Token{ids, ids}, MaxTokens: 16, Pattern: pattern, Sampling: s}
		for _, g := range p.generate(t, r).Generations {
			if g.Stop != runners.StopPattern || len(g.Text) != len(pattern) {
				t.Fatalf("%+v: %q, %s", s, g.Text, g.Stop)
			}
			for i, c := range g.Text {
				if !strings.ContainsRune(pattern[i], rune(c)) {
					t.Errorf("%+v: %q does not fit at %d", s, g.Text, i)
				}
			}
			if len(g.Allowed) != len(g.Tokens) {
				t.Errorf("%+v: %d entropies for %d tokens", s, len(g.Allowed), len(g.Tokens))
			}
			for _, h := range g.Allowed {
				if !(h >= 0 && h <= float32(math.Log(float64(p.info.VocabSize)))) {
					t.Errorf("%+v: entropy %g", s, h)
				}
			}
		}
	}
}

func testIgnoreEOS(t *testing.T, p *probe) {
	const n = 40
	r := &runners.GenerateRequest{Prompts: p.prompts(t)[:3], MaxTokens: n, IgnoreEOS: true}
	for i, g := range p.generate(t, r).Generations {
		if len(g.Tokens) != n || g.Stop != runners.StopLength {
			t.Errorf("item %d: %d tokens, %s", i, len(g.Tokens), g.Stop)
		}
		if slices.Contains(g.Tokens, p.info.EOS) {
			t.Errorf("item %d has the end token", i)
		}
	}
}

// testMany asks more items than any batch or set of sequences holds.
func testMany(t *testing.T, p *probe) {
	base := p.ids(t, "The capital of France is")
	var seqs []runners.Sequence
	var prompts [][]runners.Token
	const n = 600
	for i := range n {
		ids := append(slices.Clone(base), runners.Token(i%p.info.VocabSize), base[1], runners.Token(i/7%p.info.VocabSize))
		seqs = append(seqs, runners.Sequence{Tokens: ids, From: len(base)})
		prompts = append(prompts, base[:1+i%(len(base)-1)])
	}
	some := []int{0, 1, 255, 256, 299, n - 1}
	r := &runners.ScoreRequest{Sequences: seqs}
	all := p.score(t, r)
	for _, i := range some {
		one := p.score(t, &runners.ScoreRequest{Sequences: seqs[i : i+1]}).Sequences[0]
		near(t, fmt.Sprintf("sequence %d: log p", i), one.LogProb, all.Sequences[i].LogProb)
	}
	if len(all.Sequences) != n {
		t.Fatalf("%d sequences", len(all.Sequences))
	}
	g := p.generate(t, &runners.GenerateRequest{Prompts: prompts, MaxTokens: 2})
	for i, x := range g.Generations {
		if len(x.Tokens) == 0 && x.Stop != runners.StopEnd {
			t.Errorf("item %d: no token, %s", i, x.Stop)
		}
	}
}

func testUsage(t *testing.T, p *probe) {
	ids := p.ids(t, "The capital of France is a large city on a river.")
	var seqs []runners.Sequence
	asked := 0
	for i := range 8 {
		s := append(slices.Clone(ids), runners.Token(i), ids[1])
		seqs = append(seqs, runners.Sequence{Tokens: s, From: len(ids)})
		asked += len(s)
	}
	u := p.score(t, &runners.ScoreRequest{Sequences: seqs}).Usage
	if u.Asked != asked || u.Decoded < len(ids)+8 || u.Decoded > len(ids)+16 {
		t.Errorf("eight sequences that share %d of %d tokens: %+v", len(ids), len(ids)+2, u)
	}
	g := p.generate(t, &runners.GenerateRequest{Prompts: [][]runners.Token{ids}, MaxTokens: 3, IgnoreEOS: true}).Usage
	if g.Asked != len(ids)+3 || g.Decoded < len(ids) || g.Decoded > g.Asked {
		t.Errorf("three tokens after %d: %+v", len(ids), g)
	}
}

func testRefusals(t *testing.T, p *probe) {
	ids := p.ids(t, "one two")
	bad := runners.Token(p.info.VocabSize)
	long := slices.Repeat(ids[1:2], p.info.ContextLength+1)
	seq := func(s ...runners.Sequence) *runners.ScoreRequest { return &runners.ScoreRequest{Sequences: s} }
	good := runners.Sequence{Tokens: ids, From: 1}
	cases := []struct {
		name string
		code runners.Code
		item int
		ask  func(ctx context.Context) error
	}{
		{"score: token outside", runners.CodeToken, 1, scores(p, seq(good, runners.Sequence{Tokens: []runners.Token{ids[0], bad}, From: 1}))},
		{"score: negative token", runners.CodeToken, 0, scores(p, seq(runners.Sequence{Tokens: []runners.Token{ids[0], -1}, From: 1}))},
		{"score: from 0", runners.CodeInvalid, 0, scores(p, seq(runners.Sequence{Tokens: ids, From: 0}))},
		{"score: from past the end", runners.CodeInvalid, 1, scores(p, seq(good, runners.Sequence{Tokens: ids, From: len(ids) + 1}))},
		{"score: no prediction", runners.CodeInvalid, 0, scores(p, seq(runners.Sequence{Tokens: ids, From: len(ids)}))},
		{"score: empty", runners.CodeInvalid, 0, scores(p, seq(runners.Sequence{From: 1}))},
		{"score: too long", runners.CodeContext, 0, scores(p, seq(runners.Sequence{Tokens: long, From: 1}))},
		{"score: too many", runners.CodeTooLarge, -1, scores(p, seq(make([]runners.Sequence, runners.MaxItems+1)...))},
		{"score: top-k", runners.CodeTooLarge, -1, scores(p, &runners.ScoreRequest{Sequences: []runners.Sequence{good}, TopK: runners.MaxTopK + 1})},
		{"score: want outside", runners.CodeToken, -1, scores(p, &runners.ScoreRequest{Sequences: []runners.Sequence{good}, Want: []runners.Token{bad}})},
		{"score: one bucket", runners.CodeTooLarge, -1, scores(p, &runners.ScoreRequest{Sequences: []runners.Sequence{good}, Sketch: &runners.Sketch{Buckets: 1}})},
		{"generate: no tokens", runners.CodeInvalid, -1, generates(p, &runners.GenerateRequest{Prompts: [][]runners.Token{ids}})},
		{"generate: empty prompt", runners.CodeInvalid, 1, generates(p, &runners.GenerateRequest{Prompts: [][]runners.Token{ids, {}}, MaxTokens: 1})},
		{"generate: token outside", runners.CodeToken, 0, generates(p, &runners.GenerateRequest{Prompts: [][]runners.Token{{bad}}, MaxTokens: 1})},
		{"generate: too long", runners.CodeContext, 0, generates(p, &runners.GenerateRequest{Prompts: [][]runners.Token{long}, MaxTokens: 1})},
		{"generate: too many", runners.CodeTooLarge, -1, generates(p, &runners.GenerateRequest{Prompts: make([][]runners.Token, runners.MaxItems+1), MaxTokens: 1})},
		{"detokenize: token outside", runners.CodeToken, 0, func(ctx context.Context) error {
			_, err := p.Detokenize(ctx, &runners.DetokenizeRequest{Tokens: [][]runners.Token{{bad}}})
			return err
		}},
		{"tokenize: too many", runners.CodeTooLarge, -1, func(ctx context.Context) error {
			_, err := p.Tokenize(ctx, &runners.TokenizeRequest{Texts: make([]string, runners.MaxItems+1)})
			return err
		}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			err := c.ask(t.Context())
			var e *runners.Error
			if !errors.As(err, &e) {
				t.Fatalf("the error is %v", err)
			}
			if !p.info.CanScore && e.Code == runners.CodeUnsupported {
				return
			}
			if e.Code != c.code || e.Item != c.item || e.Message == "" {
				t.Errorf("refused with %q about item %d (%s), want %q, %d", e.Code, e.Item, e.Message, c.code, c.item)
			}
		})
	}
	p.generate(t, &runners.GenerateRequest{Prompts: [][]runners.Token{ids}, MaxTokens: 1})
}

func scores(p *probe, r *runners.ScoreRequest) func(context.Context) error {
	return func(ctx context.Context) error { _, err := p.Score(ctx, r); return err }
}

func generates(p *probe, r *runners.GenerateRequest) func(context.Context) error {
	return func(ctx context.Context) error { _, err := p.Generate(ctx, r); return err }
}

// testCancel gives up a request in its middle; the next one must not notice.
func testCancel(t *testing.T, p *probe) {
	ids := p.ids(t, "one two three four five six seven eight nine ten")
	small := &runners.GenerateRequest{Prompts: [][]runners.Token{ids}, MaxTokens: 4}
	before := p.generate(t, small)
	big := &runners.GenerateRequest{Prompts: slices.Repeat([][]runners.Token{ids}, 200), IgnoreEOS: true,
		MaxTokens: p.info.ContextLength - len(ids), Sampling: runners.Sampling{Temperature: 1}}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := p.Generate(ctx, big); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a cancelled request fails with %v", err)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := p.Generate(gone, small); !errors.Is(err, context.Canceled) {
		t.Errorf("a request that was cancelled before fails with %v", err)
	}
	if d := cmp.Diff(before, p.generate(t, small)); d != "" {
		t.Errorf("after a cancelled request:\n%s", d)
	}
}
