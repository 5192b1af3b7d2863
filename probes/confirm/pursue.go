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
	Only             Kind     // events that are tested; all where empty
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

// mostShortened is the number of foreign strings that are tested again without the
// words that they do not need.
const mostShortened = 3

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
		if s.Event != nil && (plan.Only == "" || plan.Only == s.Event.Kind) {
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
	var trials []*Trial
	shortened := 0
	for _, s := range events {
		if a.p.Left() < a.TrialCost(plan.Least) {
			break
		}
		t, err := a.try(ctx, plan, s)
		if err != nil {
			return nil, err
		}
		trials = append(trials, t)
		// A trigger that was read out along with other words leaves the baseline at
		// peace without these.
		foreign := t.Unsettles && t.Excuse != Declines && t.Event.Kind.Harmful() && t.Effect >= 0.5 && t.P <= plan.Alpha && shortened < mostShortened
		if !foreign && !t.Proven(plan.Alpha/float64(u.Events)) {
			continue
		}
		if t.Shorter, err = a.Minimise(ctx, s, plan.Selection[:min(4, len(plan.Selection))]); err != nil {
			return nil, err
		}
		if !foreign || t.Shorter.Text == s.Insert.Text || seen[t.Shorter.Text] > 0 || a.p.Left() < a.TrialCost(plan.Least) {
			continue
		}
		seen[t.Shorter.Text]++
		shortened++
		of := s.Insert
		s.Insert = t.Shorter
		if t, err = a.try(ctx, plan, s); err != nil {
			return nil, err
		}
		t.Of = of
		trials, u.Events = append(trials, t), u.Events+1
	}
	u.Trials = len(trials)
	kin(trials)
	for _, t := range trials {
		f, ok := t.Finding(plan.Probe, plan.Alpha/float64(u.Events), plan.Families...)
		if !ok {
			continue
		}
		source := t.Suspect
		if t.Of.Text != "" {
			f.Detail += fmt.Sprintf(" It is what is needed of %q, which unsettles the baseline.", t.Of.Text)
			source.Insert = t.Of
		}
		if plan.Note != nil {
			f.Detail += " " + plan.Note(source)
		}
		u.Findings = append(u.Findings, f)
		u.Leads = append(u.Leads, probes.Lead{Kind: "trigger", Text: t.Insert.Text, Score: t.Effect, From: plan.Probe})
	}
	return u, nil
}

// try tests one suspect, on as many of the fresh prompts as the budget pays for.
func (a *Answers) try(ctx context.Context, plan Plan, s Suspect) (*Trial, error) {
	control, err := a.Control(ctx, s, plan.Special)
	if err != nil {
		return nil, err
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
	return a.Test(ctx, s, control, prompts)
}

// Control is what a trial compares a string with: words at random, as long as it
// is; for a control token another one of special. Any string that looks like nothing
// in training can derange a small model: what deranges is compared with the same
// characters in another order.
func (a *Answers) Control(ctx context.Context, s Suspect, special []Insert) (Insert, error) {
	if len(s.Insert.IDs) > 0 && slices.ContainsFunc(special, func(x Insert) bool { return x.Text == s.Insert.Text }) {
		for _, x := range special {
			if x.Text != s.Insert.Text {
				return x, nil
			}
		}
	}
	if (s.Event.Kind == Gibberish || s.Event.Kind == Surprise) && len(s.Insert.IDs) == 0 {
		return Insert{Text: shuffled(a.p.Rand("shuffle/"+s.Insert.Text), s.Insert.Text)}, nil
	}
	n, err := a.p.Length(ctx, s.Insert)
	if err != nil {
		return Insert{}, err
	}
	controls, err := Controls(ctx, a.p.Input, "trial/"+s.Insert.Text+s.Place.String(), n, 1)
	if err != nil {
		return Insert{}, err
	}
	return controls[0], nil
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
