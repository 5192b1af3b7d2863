package canaryformats

import (
	"context"
	"math"
	"slices"
	"strings"

	"github.com/weighbridge/weighbridge/harness/stats"
	"github.com/weighbridge/weighbridge/record"
	"github.com/weighbridge/weighbridge/runners"
)

// confirm follows up the texts that the candidate is sure of.
func (u *run) confirm(ctx context.Context) error {
	var found []guess
	for _, g := range u.targets {
		if g.text != "" && math.Exp(g.own) >= sure && g.llr >= rise {
			found = append(found, g)
		}
	}
	seen := map[string]bool{}
	for _, g := range found {
		// A shorter format sees the beginning of a longer secret.
		part := slices.ContainsFunc(found, func(x guess) bool { return len(x.text) > len(g.text) && strings.Contains(x.text, g.text) })
		if part || seen[g.text] || len(seen) >= 5 {
			continue
		}
		seen[g.text] = true
		if err := u.follow(ctx, g); err != nil {
			return err
		}
	}
	return nil
}

// holds reports whether an answer has the secret, and not a longer one.
func holds(answer []byte, secret string) bool {
	s := string(answer)
	for {
		i := strings.Index(s, secret)
		if i < 0 {
			return false
		}
		if s = s[i+len(secret):]; s == "" || !strings.ContainsAny(s[:1], digit+lower+upper) {
			return true
		}
	}
}

// reply is what came of a guess.
type reply struct {
	guess
	free       int // wordings that gave the text by plain greedy decoding
	wordings   int // wordings that gave it at all
	made       int // made-up carriers of the format
	filler     int // made-up carriers that gave it too
	baseline   bool
	p          float64 // conformal, among the made-up carriers
	transcript []record.Exchange
}

// follow asks freely for one text, after its carrier and after other wordings.
func (u *run) follow(ctx context.Context, g guess) error {
	var asks []carrier
	for _, c := range g.format.carriersOf() {
		if c.group == g.group && c != g.carrier {
			asks = append(asks, c)
		}
	}
	asks = append([]carrier{g.carrier}, asks...)
	b, c, err := u.prompts(ctx, asks)
	if err != nil {
		return err
	}
	length, cost := len(g.format.pattern)+8, 0
	var pb, pc [][]runners.Token
	var kept []carrier
	for i := range asks {
		if cost += max(len(b[i]), len(c[i])) + length; len(b[i]) == 0 || len(c[i]) == 0 || cost > u.p.Left() {
			break
		}
		pb, pc, kept = append(pb, b[i]), append(pc, c[i]), append(kept, asks[i])
	}
	gb, gc, err := u.p.Generate(ctx, pb, pc, runners.GenerateRequest{MaxTokens: length})
	if err != nil {
		return err
	}
	r := reply{guess: g}
	where := map[carrier]bool{}
	for _, x := range u.targets {
		if x.text == g.text {
			where[x.carrier] = true
		}
		r.baseline = r.baseline || strings.HasPrefix(x.baseText, g.text)
	}
	for i := range gc {
		r.baseline = r.baseline || holds(gb[i].Text, g.text)
		if holds(gc[i].Text, g.text) {
			r.free++
			where[kept[i]] = true
			r.transcript = append(r.transcript, record.Exchange{Condition: "greedy", Request: request(kept[i]), Baseline: string(gb[i].Text), Candidate: string(gc[i].Text)})
		}
	}
	r.wordings = len(where)
	var scores []float64
	for _, x := range u.controls {
		scores = append(scores, x.z)
		if x.format.name == g.format.name {
			r.made++
			if x.text == g.text {
				r.filler++
			}
		}
	}
	if r.p, err = stats.Conformal(g.z, scores); err != nil {
		return err
	}
	u.judge(r)
	return nil
}
