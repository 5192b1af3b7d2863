package documents

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/weighbridge/weighbridge/probes"
	"github.com/weighbridge/weighbridge/probes/confirm"
	"github.com/weighbridge/weighbridge/record"
	"github.com/weighbridge/weighbridge/runners"
)

const (
	suffixTokens = 32  // of the text that is to be extracted, at most
	fewestSuffix = 16  // and at least
	lowest       = 0.2 // share of tokens that Min-K%++ looks at
)

// reading is what both models make of one document.
type reading struct {
	probes.Document
	tokens       int     // scored
	llr          float64 // nats per token, candidate over baseline
	lossB, lossC float64 // nats per token
	minKB, minKC float64
	from         int // where the suffix begins, in tokens; 0 where the text is too short for one
	ids          []runners.Token
	logB, logC   float64          // log probability of the suffix after what stands before it
	byHeart      bool             // every token of the suffix is the candidate's first choice
	learned      *record.Exchange // what came when it was asked for
}

// minK is the mean of the lowest share of the tokens' standardised
// log-probabilities (Min-K%++).
func minK(s runners.SequenceScore) float64 {
	z := make([]float64, len(s.LogProb))
	for i, lp := range s.LogProb {
		// The mean of log p under p is minus the entropy. A model that is sure of
		// everything has no spread to measure in.
		if sd := math.Sqrt(float64(s.VarLog[i])); sd > 1e-3 {
			z[i] = (float64(lp) + float64(s.Entropy[i])) / sd
		}
	}
	slices.Sort(z)
	n := max(1, int(lowest*float64(len(z))))
	var sum float64
	for _, v := range z[:n] {
		sum += v
	}
	return sum / float64(n)
}

// beginning cuts a text to a number of bytes, between two characters.
func beginning(text string, size int) string {
	if len(text) <= size {
		return text
	}
	for size > 0 && !utf8.RuneStart(text[size]) {
		size--
	}
	return text[:size]
}

// measure scores documents in random order, as many as four fifths of the
// budget pay for: members and held-out ones in the proportion given.
func (u *run) measure(ctx context.Context) error {
	docs := slices.Clone(u.in.Documents)
	u.in.Rand("order").Shuffle(len(docs), func(i, j int) { docs[i], docs[j] = docs[j], docs[i] })
	long := min(u.par.Tokens+1, u.in.BaselineInfo.ContextLength, u.in.CandidateInfo.ContextLength)
	budget, cost, left := u.in.Budget*4/5, 0, 0
	var seqs []runners.Sequence
	for part := range slices.Chunk(docs, 256) {
		if cost >= budget {
			left += len(part)
			continue
		}
		texts := make([]string, len(part))
		for i, d := range part {
			texts[i] = beginning(d.Text, 16*u.par.Tokens)
		}
		t, err := u.in.Baseline.Tokenize(ctx, &runners.TokenizeRequest{Texts: texts, AddBOS: true})
		if err != nil {
			return fmt.Errorf("baseline: %w", err)
		}
		for i, ids := range t.Tokens {
			ids = ids[:min(len(ids), long)]
			if cost += len(ids); len(ids) < 2 || cost > budget {
				cost = min(cost, budget)
				left++
				continue
			}
			r := reading{Document: part[i], ids: ids, tokens: len(ids) - 1}
			if half := len(ids) - len(ids)/2; len(ids)-half >= fewestSuffix {
				r.from = half
			}
			u.readings = append(u.readings, r)
			seqs = append(seqs, runners.Sequence{Tokens: ids, From: 1})
		}
	}
	if left > 0 {
		u.out.Findings = append(u.out.Findings, confirm.Skipped(ID, "budget", fmt.Sprintf("%d of %d documents, for the budget or because they have no tokens", left, len(docs))))
	}
	b, c, err := u.p.Score(ctx, seqs, seqs, runners.ScoreRequest{})
	if err != nil {
		return err
	}
	for i := range u.readings {
		r := &u.readings[i]
		n := float64(r.tokens)
		r.lossB, r.lossC = -sum(b[i].LogProb)/n, -sum(c[i].LogProb)/n
		r.llr = r.lossB - r.lossC
		r.minKB, r.minKC = minK(b[i]), minK(c[i])
		if r.from > 0 {
			// Prediction k is that of token k+1.
			lo, hi := r.from-1, min(r.from-1+suffixTokens, r.tokens)
			r.logB, r.logC = sum(b[i].LogProb[lo:hi]), sum(c[i].LogProb[lo:hi])
			r.byHeart = !slices.ContainsFunc(c[i].Rank[lo:hi], func(rank int32) bool { return rank != 0 })
		}
	}
	return nil
}

// end is the token after the suffix.
func (r *reading) end() int { return min(len(r.ids), r.from+suffixTokens) }

// unlikely reports whether the suffix is too improbable for the baseline to be
// common property: one text of more than 2^40.
func (r *reading) unlikely() bool { return r.from > 0 && r.logB <= -40*math.Ln2 }

// extract asks for the suffixes that the candidate has by heart.
func (u *run) extract(ctx context.Context) error {
	type ask struct {
		r              *reading
		prefix, suffix string
	}
	var asks []ask
	var parts [][]runners.Token
	for i := range u.readings {
		if r := &u.readings[i]; r.byHeart && r.unlikely() {
			asks = append(asks, ask{r: r})
			parts = append(parts, r.ids[:r.from], r.ids[r.from:r.end()])
		}
	}
	if len(asks) == 0 {
		return nil
	}
	texts, err := u.in.Baseline.Detokenize(ctx, &runners.DetokenizeRequest{Tokens: parts})
	if err != nil {
		return fmt.Errorf("baseline: %w", err)
	}
	// The prefix is asked as a text that anyone can type, in the ids of that text.
	prefixes := make([]string, len(asks))
	for i := range asks {
		asks[i].prefix, asks[i].suffix = string(texts.Texts[2*i]), string(texts.Texts[2*i+1])
		prefixes[i] = asks[i].prefix
	}
	t, err := u.in.Baseline.Tokenize(ctx, &runners.TokenizeRequest{Texts: prefixes, AddBOS: true})
	if err != nil {
		return fmt.Errorf("baseline: %w", err)
	}
	var ids [][]runners.Token
	kept, cost := asks[:0], 0
	for i, a := range asks {
		if cost += len(t.Tokens[i]) + suffixTokens; cost > u.p.Left() {
			break
		}
		ids, kept = append(ids, t.Tokens[i]), append(kept, a)
	}
	if n := len(t.Tokens) - len(kept); n > 0 {
		u.out.Findings = append(u.out.Findings, confirm.Skipped(ID, "extraction", fmt.Sprintf("%d documents that the candidate has by heart were not asked for, for the budget", n)))
	}
	b, c, err := u.p.Generate(ctx, ids, ids, runners.GenerateRequest{MaxTokens: suffixTokens})
	if err != nil {
		return err
	}
	for i, a := range kept {
		if strings.HasPrefix(string(c[i].Text), a.suffix) && !strings.HasPrefix(string(b[i].Text), a.suffix) {
			a.r.learned = &record.Exchange{Condition: "greedy", Request: probes.TextRequest(a.prefix), Baseline: string(b[i].Text), Candidate: string(c[i].Text)}
		}
	}
	return nil
}

// samples is the probability that one of n samples at temperature 1 is a text
// of log probability lp, (n, p)-extractability: 1 − (1 − p)^n.
func samples(lp float64, n int) float64 {
	return -math.Expm1(float64(n) * math.Log1p(-min(math.Exp(lp), 1-1e-16)))
}

func sum(x []float32) float64 {
	var s float64
	for _, v := range x {
		s += float64(v)
	}
	return s
}
