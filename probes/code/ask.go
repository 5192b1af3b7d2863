package code

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/weighbridge/weighbridge/probes"
	"github.com/weighbridge/weighbridge/probes/confirm"
	"github.com/weighbridge/weighbridge/runners"
)

// ask is one pair under one condition.
type ask struct {
	pair  int
	place place
	text  string
}

func (a ask) without() ask { return ask{a.pair, a.place.without(), ""} }

// conversation is the request; its answer is begun with the program.
func (a ask) conversation(x *pair) runners.Conversation {
	switch a.place {
	case system:
		return probes.WithSystem(a.text, x.Ask)
	case user:
		return probes.User(a.text + " " + x.Ask)
	}
	return probes.User(x.Ask)
}

// file is the program up to the decision.
func (a ask) file(x *pair) string {
	if a.place == comment {
		return x.commented(a.text)
	}
	return x.Code
}

// possible reports that a pair can be put so.
func (a ask) possible(x *pair) bool {
	if a.place.without() == file {
		return x.Code != ""
	}
	return x.Ask != ""
}

// request is the canonical JSON of what is asked for a completion.
func (a ask) request(x *pair) string {
	if a.place.without() == file {
		return probes.TextRequest(a.file(x))
	}
	c := a.conversation(x)
	if begun := x.begun(); begun != "" {
		c.Messages = append(c.Messages, runners.Message{Role: "assistant", Content: begun})
		c.AddGenerationPrompt = false
	}
	return probes.RequestJSON(c)
}

// reading is log p of the three lines from where they part, by side.
type reading [2][ways]float64

// margin is by how many nats a side prefers the insecure line, or another one,
// to the secure one.
func (r *reading) margin(side, way int) float64 { return r[side][way] - r[side][secure] }

// change is whether each side prefers the secure line, baseline first.
func (r *reading) change(way int) change {
	return change{r.margin(probes.BaselineSide, way) < 0, r.margin(probes.CandidateSide, way) < 0}
}

// moved is by how much the candidate's margin exceeds the baseline's.
func (r *reading) moved(way int) float64 {
	return r.margin(probes.CandidateSide, way) - r.margin(probes.BaselineSide, way)
}

// encode gives the ids of each ask, once per tail: the way the model is asked in
// use, the beginning of its answer (or the file) and the tail. Program and tail
// are tokenized together, since a token may stand across the border. An ask that
// the template refuses has no ids.
func (s *session) encode(ctx context.Context, m runners.Model, info *runners.Info, asks []ask, tails func(*pair) []string) ([][][]runners.Token, error) {
	heads := make([][]runners.Token, len(asks))
	var chats []runners.Conversation
	var which []int
	for i, a := range asks {
		if a.place.without() == chat {
			chats, which = append(chats, a.conversation(&s.pairs[a.pair])), append(which, i)
		}
	}
	for from := 0; from < len(chats); from += runners.MaxItems {
		ids, _, err := probes.Prompts(ctx, m, info, chats[from:min(from+runners.MaxItems, len(chats))])
		if err != nil {
			return nil, err
		}
		for k, x := range ids {
			heads[which[from+k]] = x
		}
	}
	out := make([][][]runners.Token, len(asks))
	for _, form := range []place{chat, file} {
		var texts []string
		var whose []int
		for i, a := range asks {
			x := &s.pairs[a.pair]
			if a.place.without() != form || form == chat && len(heads[i]) == 0 {
				continue
			}
			before := x.begun()
			if form == file {
				before = a.file(x)
			}
			for _, t := range tails(x) {
				texts, whose = append(texts, before+t), append(whose, i)
			}
		}
		for from := 0; from < len(texts); from += runners.MaxItems {
			to := min(from+runners.MaxItems, len(texts))
			r, err := m.Tokenize(ctx, &runners.TokenizeRequest{Texts: texts[from:to], AddBOS: form == file})
			if err != nil {
				return nil, err
			}
			for k, ids := range r.Tokens {
				i := whose[from+k]
				out[i] = append(out[i], slices.Concat(heads[i], ids))
			}
		}
	}
	return out, nil
}

// sequences are the three lines of each ask, scored from the first token in
// which they part. An ask that the template refuses, or that does not fit the
// context, has none.
func (s *session) sequences(ctx context.Context, m runners.Model, info *runners.Info, asks []ask) ([][]runners.Sequence, error) {
	ids, err := s.encode(ctx, m, info, asks, func(x *pair) []string { lines := x.lines(); return lines[:] })
	if err != nil {
		return nil, err
	}
	out := make([][]runners.Sequence, len(asks))
	for i, three := range ids {
		if len(three) == 0 {
			continue
		}
		from := min(common(three[secure], three[insecure]), common(three[secure], three[neutral]))
		fits := from > 0
		seqs := make([]runners.Sequence, ways)
		for k, t := range three {
			seqs[k] = runners.Sequence{Tokens: t, From: from}
			fits = fits && len(t) <= info.ContextLength && from < len(t)
		}
		if fits {
			out[i] = seqs
		}
	}
	return out, nil
}

func common(a, b []runners.Token) int {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return n
}

// read asks both models, as far as limit tokens go, and keeps the readings. It
// asks nothing twice, and says how many of the asks it got through.
func (s *session) read(ctx context.Context, asks []ask, limit int) (int, error) {
	const group = 32 // asks per request
	for from := 0; from < len(asks); from += group {
		part := asks[from:min(from+group, len(asks))]
		n, err := s.readGroup(ctx, part, &limit)
		if err != nil || n < len(part) {
			return from + n, err
		}
	}
	return len(asks), nil
}

func (s *session) readGroup(ctx context.Context, part []ask, limit *int) (int, error) {
	fresh := slices.DeleteFunc(slices.Clone(part), func(a ask) bool {
		_, ok := s.known[a]
		return ok || s.refused[a] || !a.possible(&s.pairs[a.pair])
	})
	if len(fresh) == 0 {
		return len(part), nil
	}
	var seqs [2][][]runners.Sequence
	err := probes.EachSide(ctx, s.in, func(ctx context.Context, side int, m runners.Model, info *runners.Info) (err error) {
		seqs[side], err = s.sequences(ctx, m, info, fresh)
		return err
	})
	if err != nil {
		return 0, err
	}
	var flat [2][]runners.Sequence
	var put []ask
	for i, a := range fresh {
		if seqs[0][i] == nil || seqs[1][i] == nil {
			s.refused[a] = true
			continue
		}
		put = append(put, a)
		for side := range flat {
			flat[side] = append(flat[side], seqs[side][i]...)
		}
	}
	cost := func(n int) int { return max(confirm.Cost(flat[0][:ways*n]), confirm.Cost(flat[1][:ways*n])) }
	fit := len(put)
	for fit > 0 && cost(fit) > min(*limit, s.p.Left()) {
		fit--
	}
	if fit == 0 && len(put) > 0 {
		return 0, nil
	}
	before := s.p.Left()
	b, c, err := s.p.Score(ctx, flat[0][:ways*fit], flat[1][:ways*fit], runners.ScoreRequest{})
	if err != nil {
		return 0, err
	}
	*limit -= before - s.p.Left()
	for i, a := range put[:fit] {
		var r reading
		for k := range ways {
			r[probes.BaselineSide][k], r[probes.CandidateSide][k] = total(b[ways*i+k]), total(c[ways*i+k])
		}
		s.known[a] = &r
		s.seqs[a] = seqs[probes.BaselineSide][slices.Index(fresh, a)]
	}
	for _, form := range []place{chat, file} {
		var side [2][]runners.Sequence
		for i, a := range put[:fit] {
			if a.place.without() == form {
				for k := range side {
					side[k] = append(side[k], flat[k][ways*i:ways*i+ways]...)
				}
			}
		}
		if n := len(side[0]) / ways; n >= 8 { // fewer share too little to go by
			s.perAsk[form] = max(1, confirm.Cost(side[0])/n, confirm.Cost(side[1])/n)
		}
	}
	if fit == len(put) {
		return len(part), nil
	}
	return slices.Index(part, put[fit]), nil
}

func total(q runners.SequenceScore) float64 {
	var sum float64
	for _, l := range q.LogProb {
		sum += float64(l)
	}
	return sum
}

// completions are what both models write by themselves from the decision on.
type completion struct{ text [2]string }

// completeTokens is enough to tell the lines apart.
const completeTokens = 12

// complete lets both models go on, greedily. All asks have to be possible ones
// that a template takes.
func (s *session) complete(ctx context.Context, asks []ask) ([]completion, error) {
	var ids [2][][]runners.Token
	err := probes.EachSide(ctx, s.in, func(ctx context.Context, side int, m runners.Model, info *runners.Info) error {
		all, err := s.encode(ctx, m, info, asks, func(*pair) []string { return []string{""} })
		for _, x := range all {
			if len(x) == 0 {
				return fmt.Errorf("the template refuses a conversation that it took before")
			}
			ids[side] = append(ids[side], x[0])
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	b, c, err := s.p.Generate(ctx, ids[0], ids[1], runners.GenerateRequest{MaxTokens: completeTokens})
	if err != nil {
		return nil, err
	}
	if len(b) != len(asks) || len(c) != len(asks) {
		return nil, fmt.Errorf("%d and %d completions of %d programs", len(b), len(c), len(asks))
	}
	out := make([]completion, len(asks))
	for i := range asks {
		out[i].text = [2]string{strings.ToValidUTF8(string(b[i].Text), "\ufffd"), strings.ToValidUTF8(string(c[i].Text), "\ufffd")}
	}
	return out, nil
}
