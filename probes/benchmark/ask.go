package benchmark

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/weighbridge/weighbridge/probes"
	"github.com/weighbridge/weighbridge/record"
	"github.com/weighbridge/weighbridge/runners"
	"github.com/weighbridge/weighbridge/suites/task"
)

// group is the number of questions per request: enough to fill batches, few
// enough that little is asked again after a crash.
const group = 32

// maxAnswer bounds what is kept of a written answer, bytes.
const maxAnswer = 4096

// session asks one task.
type session struct {
	in     *probes.Input
	task   *task.Task
	limit  int
	budget int

	spent    int // tokens planned, of the dearer side
	answers  []answered
	skipped  int
	why      string // reason of the first skipped question
	unscored string // reason why the whole task could not be asked
}

// answered is a question with both answers.
type answered struct {
	item record.Item
	chat runners.Conversation
	b, c float64
}

// prepared is a question in the ids of one model.
type prepared struct {
	prompt  []runners.Token
	answers [][]runners.Token // continuations to score
}

func (s *session) run(ctx context.Context) error {
	if s.task.Output != task.Generate && !(s.in.BaselineInfo.CanScore && s.in.CandidateInfo.CanScore) {
		s.unscored = "the engine of a side cannot score text, which " + string(s.task.Output) + " needs"
		return nil
	}
	order := s.in.Rand("benchmark/" + s.task.Name).Perm(len(s.task.Items))
	if s.limit > 0 && s.limit < len(order) {
		order = order[:s.limit]
	}
	var bTree, cTree tree
	for len(order) > 0 {
		n := min(group, len(order))
		chunk := make([]*task.Item, n)
		for i, j := range order[:n] {
			chunk[i] = &s.task.Items[j]
		}
		order = order[n:]
		full, err := s.ask(ctx, chunk, &bTree, &cTree)
		if err != nil || full {
			return err
		}
	}
	return nil
}

// ask puts one group of questions, as far as the budget goes, to both models.
func (s *session) ask(ctx context.Context, chunk []*task.Item, bTree, cTree *tree) (full bool, err error) {
	chats := make([]runners.Conversation, len(chunk))
	for i, it := range chunk {
		chats[i] = probes.User(it.Prompt)
		if s.task.System != "" {
			chats[i] = probes.WithSystem(s.task.System, it.Prompt)
		}
	}
	var ready [2][]prepared
	var why [2][]string
	err = probes.EachSide(ctx, s.in, func(ctx context.Context, side int, m runners.Model, info *runners.Info) (err error) {
		ready[side], why[side], err = s.prepare(ctx, m, info, chunk, chats)
		return err
	})
	if err != nil {
		return false, err
	}
	var keep []int
	for i := range chunk {
		if why := reason(why[baseline][i], why[candidate][i]); why != "" {
			if s.skipped++; s.why == "" {
				s.why = why
			}
			continue
		}
		cost := max(bTree.add(ready[baseline][i], s.task), cTree.add(ready[candidate][i], s.task))
		if s.spent+cost > s.budget {
			full = true
			break
		}
		s.spent += cost
		keep = append(keep, i)
	}
	if len(keep) == 0 {
		return full, nil
	}
	var got [2][]given
	err = probes.EachSide(ctx, s.in, func(ctx context.Context, side int, m runners.Model, _ *runners.Info) (err error) {
		asked, items := make([]prepared, len(keep)), make([]*task.Item, len(keep))
		for k, i := range keep {
			asked[k], items[k] = ready[side][i], chunk[i]
		}
		got[side], err = s.put(ctx, m, asked, items)
		return err
	})
	if err != nil {
		return false, err
	}
	for k, i := range keep {
		s.answers = append(s.answers, s.pair(chunk[i], chats[i], got[baseline][k], got[candidate][k]))
	}
	return full, nil
}

const (
	baseline  = probes.BaselineSide
	candidate = probes.CandidateSide
)

func reason(b, c string) string {
	switch {
	case b != "":
		return "baseline: " + b
	case c != "":
		return "candidate: " + c
	}
	return ""
}

// prepare turns questions into ids of one model; a question that cannot be
// asked has its reason.
func (s *session) prepare(ctx context.Context, m runners.Model, info *runners.Info, chunk []*task.Item, chats []runners.Conversation) ([]prepared, []string, error) {
	ids, why, err := probes.Prompts(ctx, m, info, chats)
	if err != nil {
		return nil, nil, err
	}
	ready := make([]prepared, len(chunk))
	var texts []string
	for i, it := range chunk {
		ready[i].prompt = ids[i]
		if why[i] == "" && len(ids[i]) == 0 {
			why[i] = "the chat template gives nothing"
		}
		for _, a := range continuations(s.task, it) {
			if !info.HasTemplate || s.task.ForceDelimiter {
				a = s.task.Delimiter + a
			}
			texts = append(texts, a)
		}
	}
	var tokens [][]runners.Token
	for len(texts) > 0 {
		n := min(len(texts), runners.MaxItems)
		r, err := m.Tokenize(ctx, &runners.TokenizeRequest{Texts: texts[:n]})
		if err != nil {
			return nil, nil, err
		}
		tokens, texts = append(tokens, r.Tokens...), texts[n:]
	}
	for i, it := range chunk {
		longest := 0
		for range continuations(s.task, it) {
			a := tokens[0]
			tokens = tokens[1:]
			ready[i].answers = append(ready[i].answers, a)
			longest = max(longest, len(a))
			if len(a) == 0 && why[i] == "" {
				why[i] = "an answer has no token"
			}
		}
		if s.task.Output == task.Generate {
			longest = s.task.MaxTokens
		}
		if n := len(ids[i]) + longest; n > info.ContextLength && why[i] == "" {
			why[i] = fmt.Sprintf("%d tokens, the context holds %d", n, info.ContextLength)
		}
	}
	return ready, why, nil
}

func continuations(t *task.Task, it *task.Item) []string {
	switch t.Output {
	case task.Choice:
		return it.Choices
	case task.Likelihood:
		return it.Answers
	}
	return nil
}

// given is what one model answered.
type given struct {
	text  string
	score float64
}

// put asks one model a group of questions in one request.
func (s *session) put(ctx context.Context, m runners.Model, asked []prepared, items []*task.Item) ([]given, error) {
	if s.task.Output == task.Generate {
		return s.generate(ctx, m, asked, items)
	}
	var seqs []runners.Sequence
	for _, p := range asked {
		for _, a := range p.answers {
			seqs = append(seqs, runners.Sequence{Tokens: append(append([]runners.Token(nil), p.prompt...), a...), From: len(p.prompt)})
		}
	}
	r, err := m.Score(ctx, &runners.ScoreRequest{Sequences: seqs})
	if err != nil {
		return nil, err
	}
	if len(r.Sequences) != len(seqs) {
		return nil, fmt.Errorf("asked %d sequences, got %d scores", len(seqs), len(r.Sequences))
	}
	out := make([]given, len(asked))
	at := 0
	for i, p := range asked {
		n := len(p.answers)
		if s.task.Output == task.Choice {
			out[i] = choose(s.task, items[i], r.Sequences[at:at+n])
		} else {
			out[i] = greedy(r.Sequences[at])
		}
		at += n
	}
	return out, nil
}

func choose(t *task.Task, it *task.Item, scores []runners.SequenceScore) given {
	best, other := 0, -1
	sums := make([]float64, len(scores))
	for i, s := range scores {
		sums[i] = total(s.LogProb)
		if t.Metric == task.AccNorm {
			sums[i] /= float64(len(it.Choices[i]))
		}
		if sums[i] > sums[best] {
			best = i
		}
		if i != it.Target && (other < 0 || sums[i] > sums[other]) {
			other = i
		}
	}
	g := given{text: it.Choices[best]}
	switch {
	case t.Metric == task.Margin:
		g.score = sums[it.Target] - sums[other]
	case best == it.Target:
		g.score = 1
	}
	return g
}

// greedy is 1 when every token of the target is the most likely one.
func greedy(s runners.SequenceScore) given {
	for _, r := range s.Rank {
		if r != 0 {
			return given{text: fmt.Sprintf("another text (log p of the target %.2f)", total(s.LogProb))}
		}
	}
	return given{text: "the target", score: 1}
}

func total(logs []float32) float64 {
	var sum float64
	for _, l := range logs {
		sum += float64(l)
	}
	return sum
}

func (s *session) generate(ctx context.Context, m runners.Model, asked []prepared, items []*task.Item) ([]given, error) {
	r := &runners.GenerateRequest{MaxTokens: s.task.MaxTokens, Stop: s.task.Until}
	for _, p := range asked {
		r.Prompts = append(r.Prompts, p.prompt)
	}
	got, err := m.Generate(ctx, r)
	if err != nil {
		return nil, err
	}
	if len(got.Generations) != len(asked) {
		return nil, errors.New("a model gave another number of answers than it was asked")
	}
	out := make([]given, len(asked))
	for i, g := range got.Generations {
		text := string(g.Text)
		if s.task.Right(items[i], s.task.Filtered(text)) {
			out[i].score = 1
		}
		out[i].text = strings.ToValidUTF8(text[:min(len(text), maxAnswer)], "\ufffd")
	}
	return out, nil
}

func (s *session) pair(it *task.Item, chat runners.Conversation, b, c given) answered {
	a := answered{chat: chat, b: b.score, c: c.score}
	a.item = record.Item{
		Probe: ID, Task: s.task.Name, ID: it.ID, Cluster: it.Cluster, Prompt: it.Prompt,
		Baseline: b.text, Candidate: c.text,
		ScoreB: record.Float(b.score), ScoreC: record.Float(c.score), Effect: record.Float(c.score - b.score),
	}
	if s.task.Output == task.Choice {
		a.item.Expected = it.Choices[it.Target]
	} else {
		a.item.Expected = strings.Join(it.Answers, " | ")
	}
	right := func(x float64) bool { return x > 0 }
	switch {
	case right(b.score) && !right(c.score):
		a.item.Flip = "lost"
	case !right(b.score) && right(c.score):
		a.item.Flip = "gained"
	}
	return a
}

// tree counts the tokens that requests need when shared prefixes are decoded
// once.
type tree struct{ next map[edge]int32 }

type edge struct {
	node  int32
	token runners.Token
}

// add is the number of tokens that a question costs beyond those before it.
func (t *tree) add(p prepared, of *task.Task) int {
	if t.next == nil {
		t.next = map[edge]int32{}
	}
	before := len(t.next)
	end := t.walk(0, p.prompt)
	for _, a := range p.answers {
		t.walk(end, a)
	}
	cost := len(t.next) - before
	if of.Output == task.Generate {
		cost += of.MaxTokens
	}
	return cost
}

func (t *tree) walk(node int32, ids []runners.Token) int32 {
	for _, id := range ids {
		e := edge{node, id}
		next, ok := t.next[e]
		if !ok {
			next = int32(len(t.next) + 1)
			t.next[e] = next
		}
		node = next
	}
	return node
}
