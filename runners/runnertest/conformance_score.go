package runnertest

import (
	"fmt"
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weighbridge/weighbridge/runners"
)

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
