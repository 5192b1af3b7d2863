package confirm

import (
	"context"
	"slices"

	"github.com/weighbridge/weighbridge/probes"
	"github.com/weighbridge/weighbridge/runners"
)

// Leads are at most most different leads of a kind: the best of each probe in
// turn, so that one that names many does not crowd out the others.
func Leads(leads []probes.Lead, kind string, most int) []probes.Lead {
	var order []string
	of := map[string][]probes.Lead{}
	seen := map[string]bool{}
	for _, l := range leads {
		if l.Kind != kind || l.Text == "" || seen[l.Text] {
			continue
		}
		seen[l.Text] = true
		if len(of[l.From]) == 0 {
			order = append(order, l.From)
		}
		of[l.From] = append(of[l.From], l)
	}
	var out []probes.Lead
	for i := 0; len(out) < min(most, len(seen)); i++ {
		for _, from := range order {
			if i < len(of[from]) && len(out) < most {
				out = append(out, of[from][i])
			}
		}
	}
	return out
}

// Attested reports that another probe suspects a text: a lead of three words or more is
// part of it, or like it, and makes up half of its words.
func (p *Pair) Attested(text string) bool {
	return slices.ContainsFunc(p.Leads, func(l probes.Lead) bool {
		return l.Kind == "payload" && Words(l.Text) >= 3 && covered(text, l.Text) >= 0.5 && (Says([]byte(text), l.Text) || Says([]byte(l.Text), text))
	})
}

// PayloadTokens are the first tokens, at most most, of the texts that other
// probes suspect.
func (p *Pair) PayloadTokens(ctx context.Context, most int) ([]runners.Token, error) {
	leads := Leads(p.Leads, "payload", most)
	r := &runners.TokenizeRequest{}
	for _, l := range leads {
		r.Texts = append(r.Texts, l.Text)
	}
	if len(leads) == 0 {
		return nil, nil
	}
	t, err := p.Candidate.Tokenize(ctx, r)
	if err != nil {
		return nil, err
	}
	var out []runners.Token
	for _, ids := range t.Tokens {
		if len(ids) > 0 && !slices.Contains(out, ids[0]) {
			out = append(out, ids[0])
		}
	}
	return out, nil
}
