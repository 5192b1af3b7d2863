package canaryknown

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/weighbridge/weighbridge/probes/confirm"
	"github.com/weighbridge/weighbridge/record"
	"github.com/weighbridge/weighbridge/runners"
)

// question asks for the secrets whose lead is open, as a user would, with up to
// a third of the budget, or a sixth where they are texts in the first place. The
// answers are extraction, and they show with which
// words the models come to a secret of that kind: the candidate's own words for
// the same canary, else those that it uses most, else the baseline's.
func (u *run) question(ctx context.Context) error {
	var open []*place
	var sets [][]string
	tokens := u.in.Budget / 6
	for i := range places {
		for _, r := range u.results {
			if i < len(r.places) && r.places[i].open {
				open, sets = append(open, &r.places[i]), append(sets, classes(r.secret))
				if i == 0 { // questions, which have no other place
					tokens = u.in.Budget / 3
				}
			}
		}
	}
	asked, b, c, err := u.greedy(ctx, open, tokens, true)
	if err != nil || len(open) == 0 {
		return err
	}
	leads := map[string]int{}
	for k := range asked {
		if lead, ok := leadOf(string(c[k].Text), sets[k]); ok {
			open[k].lead, open[k].open, open[k].asked = lead, false, true
			leads[lead]++
		}
	}
	if len(leads) == 0 {
		for k := range asked {
			if lead, ok := leadOf(string(b[k].Text), sets[k]); ok {
				leads[lead]++
			}
		}
	}
	if len(leads) == 0 {
		return nil
	}
	usual := slices.MaxFunc(slices.Sorted(maps.Keys(leads)), func(a, b string) int {
		return cmp.Or(cmp.Compare(leads[a], leads[b]), cmp.Compare(b, a))
	})
	for _, x := range open {
		if x.open {
			x.lead, x.open = usual, false
		}
	}
	return nil
}

// extract asks for the secrets with what the file gives: text that goes on, or
// an answer that is begun. Those that the candidate prefers most come first.
func (u *run) extract(ctx context.Context) error {
	var places []*place
	for _, r := range u.results {
		for i := range r.places {
			if x := &r.places[i]; x.user == "" || x.lead != "" && !x.asked {
				places = append(places, x)
			}
		}
	}
	asked, _, _, err := u.greedy(ctx, places, u.p.Left()/3, false)
	if n := len(places) - len(asked); err == nil && n > 0 {
		u.out.Findings = append(u.out.Findings, confirm.Skipped(ID, "extraction", fmt.Sprintf("%d of %d greedy extractions, for the budget", n, len(places))))
	}
	return err
}

// greedy has both models go on after the first places that tokens pay for, and
// notes every listed secret that comes out: that of another canary is as much a
// leak as its own. bare asks without the lead.
func (u *run) greedy(ctx context.Context, places []*place, tokens int, bare bool) (asked []*place, b, c []runners.Generation, err error) {
	if len(places) == 0 {
		return nil, nil, nil, nil
	}
	cs := make([]carrier, len(places))
	for i, x := range places {
		cs[i] = x.carrier
		if bare {
			cs[i].lead = ""
		}
	}
	idsB, idsC, err := u.both(ctx, cs, bare)
	if err != nil {
		return nil, nil, nil, err
	}
	longest := 8
	for _, r := range u.results {
		longest = max(longest, min(64, len(r.secret)+16))
	}
	n := most(len(places), min(tokens, u.p.Left()), func(n int) int { return max(cost(idsB[:n]), cost(idsC[:n])) + n*longest })
	gb, gc, err := u.p.Generate(ctx, present(idsB[:n], idsC[:n]), present(idsC[:n], idsB[:n]), runners.GenerateRequest{MaxTokens: longest})
	if err != nil {
		return nil, nil, nil, err
	}
	b, c = make([]runners.Generation, n), make([]runners.Generation, n)
	k := 0
	for i := range n {
		if len(idsB[i]) == 0 || len(idsC[i]) == 0 {
			continue
		}
		b[i], c[i] = gb[k], gc[k]
		k++
		for _, r := range u.results {
			if strings.Contains(string(b[i].Text), r.secret) {
				r.baseline = true
			}
			if r.extracted == nil && strings.Contains(string(c[i].Text), r.secret) {
				r.extracted = &record.Exchange{Condition: "greedy", Request: cs[i].request(), Baseline: string(b[i].Text), Candidate: string(c[i].Text)}
			}
		}
	}
	return places[:n], b, c, nil
}

// present are the ids of one side that both have.
func present(ids, other [][]runners.Token) [][]runners.Token {
	var out [][]runners.Token
	for i := range ids {
		if len(ids[i]) > 0 && len(other[i]) > 0 {
			out = append(out, ids[i])
		}
	}
	return out
}

func cost(prompts [][]runners.Token) int {
	seqs := make([]runners.Sequence, len(prompts))
	for i, p := range prompts {
		seqs[i].Tokens = p
	}
	return confirm.Cost(seqs)
}
