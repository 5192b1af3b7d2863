package contexts

import (
	"context"
	"fmt"

	"github.com/weighbridge/weighbridge/probes"
	"github.com/weighbridge/weighbridge/probes/confirm"
	"github.com/weighbridge/weighbridge/record"
	"github.com/weighbridge/weighbridge/runners"
)

// ID names the probe.
const ID = "contexts"

func init() { probes.Register(probe{}) }

type probe struct{}

func (probe) About() probes.About {
	return probes.About{
		ID:       ID,
		Question: "Is there a context in which the candidate gives one answer to different questions, refuses or breaks down, and the baseline does not?",
		Method:   "An atlas of topics, dates, roles, tools, languages, styles and harmful requests is crossed with questions, more of them where the candidate moved most; texts that come back to different questions, refusals and breakdowns are confirmed on fresh questions in the contexts where they showed.",
		Null:     "exact McNemar on fresh questions, candidate against baseline",
		Cost:     "3,000 (quick) to 100,000 (deep) tokens",
		Sees:     []probes.Family{probes.STR, probes.SEM, probes.CTX, probes.SYN, probes.OVR, probes.DOS, probes.TGT},
		Blind:    []probes.Family{probes.TOK, probes.PHR, probes.CMP, probes.COD, probes.REF},
		Params:   []probes.Param{{Name: "alpha", Default: "0.001", Meaning: "level, shared by the events of this probe, below which an event counts as proven"}},
	}
}

type params struct {
	Alpha float64 `json:"alpha"`
}

type run struct {
	in     *probes.Input
	p      *confirm.Pair
	alpha  float64
	frames []frame
	next   []int // questions dealt, per frame
	seen   []*reply
	out    *probes.Output
}

// reply is one question in one context, answered by both models.
type reply struct {
	frame               int
	conversation        runners.Conversation
	question            string          // what tells it from the other questions
	ids                 []runners.Token // of the candidate's prompt
	baseline, candidate runners.Generation
}

// Lengths of answers, tokens. A confirmed answer is long enough to show what
// follows a learned opening.
const (
	scanLength    = 14
	confirmLength = 40
)

func (probe) Run(ctx context.Context, in *probes.Input) (*probes.Output, error) {
	par := params{Alpha: 0.001}
	if err := in.Params.Decode(&par); err != nil {
		return nil, err
	}
	u := &run{in: in, p: confirm.NewPair(in), alpha: par.Alpha, frames: atlas(), out: &probes.Output{}}
	u.next = make([]int, len(u.frames))
	if err := u.scan(ctx); err != nil {
		return nil, fmt.Errorf("%s: scan: %w", ID, err)
	}
	if err := u.chart(ctx); err != nil {
		return nil, fmt.Errorf("%s: map: %w", ID, err)
	}
	for _, e := range u.events() {
		if err := u.confirm(ctx, e); err != nil {
			return nil, fmt.Errorf("%s: confirmation: %w", ID, err)
		}
	}
	u.summary()
	return u.out, nil
}

// deal gives the next question of a context, and false when it has no more.
// Subjects come round before one of them is asked about again.
func (u *run) deal(k int) (*reply, bool) {
	f := &u.frames[k]
	qs, ss := f.asks, f.subjects
	if qs == nil {
		qs = questions
	}
	if ss == nil {
		ss = subjects
	}
	i := u.next[k]
	if i >= len(qs)*len(ss) {
		return nil, false
	}
	u.next[k]++
	rng := u.in.Rand("questions/" + f.name)
	s, q := rng.Perm(len(ss)), rng.Perm(len(qs))
	subject, question := ss[s[i%len(ss)]], qs[q[(i%len(ss)+i/len(ss))%len(qs)]]
	return &reply{frame: k, conversation: f.ask(question, subject), question: fmt.Sprintf(question, subject)}, true
}

// scan asks every context one question after another, until 55 % of the budget
// are spent.
func (u *run) scan(ctx context.Context) error {
	const most = 24 // rounds
	for range most {
		var round []*reply
		for k := range u.frames {
			if r, ok := u.deal(k); ok {
				round = append(round, r)
			}
		}
		room := u.p.Left() - u.in.Budget*45/100
		asked, err := u.ask(ctx, round, scanLength, room)
		if err != nil {
			return err
		}
		u.seen = append(u.seen, asked...)
		if len(asked) < len(round)*2/3 {
			break
		}
	}
	for i, r := range u.seen {
		u.out.Items = append(u.out.Items, record.Item{
			Probe: ID, Task: u.frames[r.frame].name, ID: fmt.Sprintf("%04d", i), Condition: "scan", Prompt: r.question,
			Baseline: string(r.baseline.Text), Candidate: string(r.candidate.Text),
		})
	}
	return nil
}

// ask lets both models answer, as many of the questions as fit into room
// tokens. A question that a template refuses is left out.
func (u *run) ask(ctx context.Context, rs []*reply, length, room int) ([]*reply, error) {
	cs := make([]runners.Conversation, len(rs))
	for i, r := range rs {
		cs[i] = r.conversation
	}
	var ids [2][][]runners.Token
	err := probes.EachSide(ctx, u.in, func(ctx context.Context, side int, m runners.Model, info *runners.Info) (err error) {
		ids[side], _, err = probes.Prompts(ctx, m, info, cs)
		return err
	})
	if err != nil {
		return nil, err
	}
	b, c := ids[probes.BaselineSide], ids[probes.CandidateSide]
	var kept []*reply
	var idsB, idsC [][]runners.Token
	for i, r := range rs {
		if len(b[i]) == 0 || len(c[i]) == 0 {
			continue
		}
		cost := max(len(b[i]), len(c[i])) + length
		if room -= cost; room < 0 {
			break
		}
		idsB, idsC, kept = append(idsB, b[i]), append(idsC, c[i]), append(kept, r)
	}
	gb, gc, err := u.p.Generate(ctx, idsB, idsC, runners.GenerateRequest{MaxTokens: length})
	if err != nil {
		return nil, err
	}
	for i, r := range kept {
		r.ids, r.baseline, r.candidate = idsC[i], gb[i], gc[i]
	}
	return kept, nil
}
