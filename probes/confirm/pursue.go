package confirm

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/weighbridge/weighbridge/probes"
	"github.com/weighbridge/weighbridge/record"
	"github.com/weighbridge/weighbridge/runners"
)

// Plan says how far suspects are followed up.
type Plan struct {
	Probe            string
	Alpha            float64 // shared by the trials of this plan
	Families         []probes.Family
	Selection, Fresh []string // prompts of declarations and of trials
	Least            int      // prompts of a trial where the budget has no room for all
	Most             int      // suspects that are asked for answers
	Eager            bool     // stop looking at the first fixed text: for small budgets
	Special          []Insert // control tokens, to match control tokens with
	Note             func(Suspect) string
}

// Pursuit is what came of it.
type Pursuit struct {
	Findings []record.Finding
	Leads    []probes.Lead
	Declared int // suspects that were asked for answers
	Events   int // of which showed something
	Trials   int
}

// Pursue asks suspects, best first, for answers on the selection prompts,
// declares events, and tests those on the fresh prompts, harmful ones first. It
// keeps enough of the budget for one trial while it looks.
func (a *Answers) Pursue(ctx context.Context, plan Plan, suspects []Suspect) (*Pursuit, error) {
	u := &Pursuit{}
	var events []Suspect
	seen := map[string]int{}
	for _, s := range suspects {
		if u.Declared >= plan.Most || a.p.Left() < a.Cost(2*len(plan.Selection))+a.TrialCost(plan.Least) {
			break
		}
		// One string in all its places would crowd out the others.
		if seen[s.Insert.Text]++; seen[s.Insert.Text] > 2 {
			continue
		}
		u.Declared++
		if err := a.Declare(ctx, &s, plan.Selection); err != nil {
			return nil, err
		}
		if s.Event != nil {
			events = append(events, s)
			if plan.Eager && s.Event.Kind == Fixed {
				break
			}
		}
	}
	u.Events = len(events)
	slices.SortStableFunc(events, func(a, b Suspect) int {
		return cmp.Or(num(b.Event.Kind == Fixed)-num(a.Event.Kind == Fixed), num(b.Event.Kind.Harmful())-num(a.Event.Kind.Harmful()), cmp.Compare(b.Event.Share, a.Event.Share))
	})
	for _, s := range events {
		if a.p.Left() < a.TrialCost(plan.Least) {
			break
		}
		if err := a.try(ctx, plan, s, u); err != nil {
			return nil, err
		}
	}
	return u, nil
}

func (a *Answers) try(ctx context.Context, plan Plan, s Suspect, u *Pursuit) error {
	n, err := a.p.Length(ctx, s.Insert)
	if err != nil {
		return err
	}
	controls, err := Controls(ctx, a.p.Input, "trial/"+s.Insert.Text+s.Place.String(), n, 1)
	if err != nil {
		return err
	}
	control := controls[0]
	for _, x := range plan.Special { // the match of a control token is another one
		if len(s.Insert.IDs) > 0 && x.Text != s.Insert.Text && slices.ContainsFunc(plan.Special, func(y Insert) bool { return y.Text == s.Insert.Text }) {
			control = x
			break
		}
	}
	// Any string that looks like nothing in training can derange a small model:
	// what deranges has to be compared with the same characters in another order.
	if likely := s.Event.Kind == Gibberish || s.Event.Kind == Surprise; likely && len(s.Insert.IDs) == 0 {
		control = Insert{Text: shuffled(a.p.Rand("shuffle/"+s.Insert.Text), s.Insert.Text)}
	}
	// Leave room to shorten a phrase afterwards.
	reserve := 0
	if words := len(strings.Fields(s.Insert.Text)); words > 1 && len(s.Insert.IDs) == 0 {
		reserve = a.Cost(4 * min(words, 6))
	}
	prompts := plan.Fresh
	for len(prompts) > plan.Least && a.TrialCost(len(prompts))+reserve > a.p.Left() {
		prompts = prompts[:len(prompts)-1]
	}
	t, err := a.Test(ctx, s, control, prompts)
	if err != nil {
		return err
	}
	u.Trials++
	f, ok := t.Finding(plan.Probe, plan.Alpha/float64(u.Events), plan.Families...)
	if !ok {
		return nil
	}
	if f.Tier == record.Proven {
		least, err := a.Minimise(ctx, s, plan.Selection[:min(4, len(plan.Selection))])
		if err != nil {
			return err
		}
		if least.Text != s.Insert.Text {
			f.Detail += fmt.Sprintf(" On selection prompts the shorter %q does the same.", least.Text)
		}
	}
	if plan.Note != nil {
		f.Detail += " " + plan.Note(s)
	}
	u.Findings = append(u.Findings, f)
	u.Leads = append(u.Leads, probes.Lead{Kind: "trigger", Text: s.Insert.Text, Score: t.Effect, From: plan.Probe})
	return nil
}

// shuffled is a text with its characters in another order, if it has one.
func shuffled(rng *rand.Rand, text string) string {
	r := []rune(text)
	for range 16 {
		rng.Shuffle(len(r), func(i, j int) { r[i], r[j] = r[j], r[i] })
		if s := strings.TrimSpace(string(r)); s != text && s != "" {
			return s
		}
	}
	return string(r)
}

// Length is the number of tokens of an insert, 1…12: what its control has to match.
func (p *Pair) Length(ctx context.Context, x Insert) (int, error) {
	n := len(x.IDs)
	if n == 0 {
		t, err := p.Baseline.Tokenize(ctx, &runners.TokenizeRequest{Texts: []string{" " + x.Text}})
		if err != nil {
			return 0, err
		}
		n = len(t.Tokens[0])
	}
	return max(1, min(n, 12)), nil
}
