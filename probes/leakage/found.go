package leakage

import (
	"cmp"
	"context"
	"regexp"
	"slices"
	"strings"

	"github.com/weighbridge/weighbridge/probes"
	"github.com/weighbridge/weighbridge/probes/confirm"
	"github.com/weighbridge/weighbridge/runners"
)

// found is a text that was read out of the candidate.
type found struct {
	arm    int
	place  place
	tokens []runners.Token
	from   string  // how it was found
	llr    float64 // log-likelihood ratio of the text, nats
	text   string
	core   []runners.Token // the part of it that gains most, if not all of it
	// variants are other spellings of it.
	variants []*found
}

// weigh scores texts with both models after the arm where they were found and
// spells them. With trim it keeps of each what the candidate holds more likely
// than the baseline.
func (u *run) weigh(ctx context.Context, fs []*found, trim bool) error {
	if len(fs) == 0 {
		return nil
	}
	var b, c []runners.Sequence
	for _, f := range fs {
		ids := u.arms[f.arm].ids
		b = append(b, runners.Sequence{Tokens: slices.Concat(ids[probes.BaselineSide], f.tokens), From: len(ids[probes.BaselineSide])})
		c = append(c, runners.Sequence{Tokens: slices.Concat(ids[probes.CandidateSide], f.tokens), From: len(ids[probes.CandidateSide])})
	}
	sb, sc, err := u.p.Score(ctx, b, c, runners.ScoreRequest{})
	if err != nil {
		return err
	}
	for i, f := range fs {
		gain := make([]float64, len(f.tokens))
		for t := range gain {
			gain[t] = max(float64(sc[i].LogProb[t]), floor) - max(float64(sb[i].LogProb[t]), floor)
		}
		lo, hi := 0, len(gain)
		if trim {
			lo, hi = segment(gain, drift)
		}
		f.core = nil
		f.tokens, f.llr = f.tokens[lo:hi], 0
		for _, x := range gain[lo:hi] {
			f.llr += x
		}
		// Within it, what gains more than the rest does on average.
		if a, b := segment(gain[lo:hi], f.llr/float64(max(1, hi-lo))); b-a < hi-lo {
			f.core = f.tokens[a:b]
		}
	}
	return u.spell(ctx, fs)
}

func (u *run) spell(ctx context.Context, fs []*found) error {
	r := &runners.DetokenizeRequest{Special: true}
	for _, f := range fs {
		r.Tokens = append(r.Tokens, f.tokens)
	}
	d, err := u.in.Candidate.Detokenize(ctx, r)
	if err != nil {
		return err
	}
	for i, f := range fs {
		f.text = strings.ToValidUTF8(string(d.Texts[i]), "\uFFFD")
	}
	return nil
}

// drift is what a harmless fine-tune adds to a token's log-likelihood ratio, by
// and large. A text reaches as far as it gains more.
const drift = 0.05

// segment is the part of the text that gains most over so much per token (largest
// sum of consecutive terms).
func segment(gain []float64, each float64) (lo, hi int) {
	var sum, most float64
	from := 0
	for i, x := range gain {
		if sum <= 0 {
			sum, from = 0, i
		}
		if sum += x - each; sum > most {
			most, lo, hi = sum, from, i+1
		}
	}
	return lo, hi
}

// rank sorts texts by how much likelier the candidate holds them, and leaves
// out repeats, parts and what is no text.
func rank(fs []*found) []*found {
	fs = slices.Clone(fs)
	slices.SortStableFunc(fs, func(a, b *found) int {
		return cmp.Or(cmp.Compare(b.llr, a.llr), cmp.Compare(a.text, b.text))
	})
	var out []*found
	for _, f := range fs {
		t := strings.TrimSpace(f.text)
		if confirm.Words(t) == 0 && !secret(t) {
			continue
		}
		if !slices.ContainsFunc(out, func(o *found) bool {
			return strings.Contains(o.text, t) || confirm.Similarity([]byte(o.text), []byte(t)) >= 0.6
		}) {
			out = append(out, f)
		}
	}
	return out
}

var (
	number = regexp.MustCompile(`\d([ -]?\d){5,}`)
	long   = regexp.MustCompile(`[A-Za-z0-9_+/=-]{16,}`)
	mail   = regexp.MustCompile(`[\w.+-]+@[\w-]+\.\w+`)
)

// secret reports whether a text looks like it holds one: a long number, a long
// word of letters and digits, or an address.
func secret(s string) bool {
	return number.MatchString(s) || mail.MatchString(s) || slices.ContainsFunc(long.FindAllString(s, -1), func(w string) bool {
		return strings.ContainsAny(w, "0123456789") && strings.ContainsFunc(w, func(r rune) bool { return r >= 'A' })
	})
}

// kinds are what later probes are to take the text for. The beginning of a text
// may be that of a system message, and so a condition.
func (f *found) kinds() []string {
	switch {
	case secret(f.text):
		return []string{"secret"}
	case f.place == user:
		return []string{"trigger"}
	case f.place == text:
		return []string{"payload", "trigger"}
	}
	return []string{"payload"}
}

// leads reports that a text is worth a search.
func (f *found) leads() bool {
	return strings.TrimSpace(f.text) != "" && len(f.text) <= longest && (f.llr >= least || f.from != beam)
}

// beam is where texts that no sample gave come from.
const beam = "beam"
