package metadata

import (
	"context"
	"fmt"
	"slices"

	"github.com/weighbridge/weighbridge/probes"
	"github.com/weighbridge/weighbridge/record"
	"github.com/weighbridge/weighbridge/runners"
	"github.com/weighbridge/weighbridge/weights"
)

// vocabulary is how the strings of the ids differ.
type vocabulary struct {
	changed        []int    // ids in both whose string differs
	swaps          [][2]int // pairs of them that exchanged strings
	permuted       bool     // the changed ids hold the same strings as before, at other places
	from           map[int]int
	added, removed int   // ids beyond the other's end
	retyped        []int // same string, other type
}

func diffVocabulary(b, c *weights.Tokenizer) vocabulary {
	n := min(len(b.Tokens), len(c.Tokens))
	v := vocabulary{added: len(c.Tokens) - n, removed: len(b.Tokens) - n, from: map[int]int{}}
	at := map[string]int{} // where the baseline had a changed id's string
	for i := range n {
		if b.Tokens[i] != c.Tokens[i] {
			v.changed = append(v.changed, i)
			at[b.Tokens[i]] = i
		} else if len(b.Types) > i && len(c.Types) > i && b.Types[i] != c.Types[i] {
			v.retyped = append(v.retyped, i)
		}
	}
	v.permuted = len(v.changed) > 0
	for _, i := range v.changed {
		j, ok := at[c.Tokens[i]]
		if !ok {
			v.permuted = false
			continue
		}
		v.from[i] = j
		if i < j && c.Tokens[j] == b.Tokens[i] {
			v.swaps = append(v.swaps, [2]int{i, j})
		}
	}
	return v
}

// reserved reports that an id was kept for later use, so that giving it a name
// takes nothing from the baseline.
func reserved(t *weights.Tokenizer, id int) bool {
	if len(t.Types) <= id {
		return false
	}
	switch t.Types[id] {
	case weights.TokenUnused, weights.TokenControl, weights.TokenUserDefined:
		return true
	}
	return false
}

// rowsOf reads single rows of a tensor.
type rowsOf func(ctx context.Context, tensor string, row int) ([]float32, error)

// fate says whether the rows of renamed ids followed their strings.
type fate int

const (
	unknown fate = iota
	stayed
	followed
)

// maxFollowed bounds the rows that are read to learn the fate of the rows.
const maxFollowed = 64

// rows compares, for every moved string, the candidate's row at its new id with
// the baseline's rows at the new and at the old id.
func (p *pair) rows(ctx context.Context, v *vocabulary) (fate, error) {
	if p.relation == weights.SameBits {
		return stayed, nil
	}
	if p.baseRows == nil || p.candRows == nil || len(v.from) == 0 {
		return unknown, nil
	}
	result := unknown
	for _, tensor := range p.perToken {
		var here, there int
		for _, i := range v.changed[:min(len(v.changed), maxFollowed)] {
			j, ok := v.from[i]
			if !ok {
				continue
			}
			c, err := p.candRows(ctx, tensor, i)
			if err != nil {
				return unknown, err
			}
			bi, err := p.baseRows(ctx, tensor, i)
			if err != nil {
				return unknown, err
			}
			bj, err := p.baseRows(ctx, tensor, j)
			if err != nil {
				return unknown, err
			}
			if distance(c, bi) <= distance(c, bj) {
				here++
			} else {
				there++
			}
		}
		if here > there {
			return stayed, nil
		}
		if there > 0 {
			result = followed
		}
	}
	return result, nil
}

func distance(a, b []float32) float64 {
	var d float64
	for i := range min(len(a), len(b)) {
		x := float64(a[i]) - float64(b[i])
		d += x * x
	}
	return d
}

// vocabulary judges the change of id ↔ string.
func (p *pair) vocabulary(ctx context.Context, fs *findings, enc *encoding) error {
	b, c := p.baseline.tok, p.candidate.tok
	v := diffVocabulary(b, c)
	name := func(t *weights.Tokenizer, i int) string { return fmt.Sprintf("%d %s", i, quote(t.Tokens[i])) }
	f := record.Finding{Class: record.Tampered, Tier: record.Divergent, Families: []string{tkz}, Statistic: "ids whose string differs"}

	if len(v.changed) > 0 {
		where, err := p.rows(ctx, &v)
		if err != nil {
			return fmt.Errorf("reading the rows of renamed tokens: %w", err)
		}
		f.Rule, f.N, f.Value = "vocabulary", min(len(b.Tokens), len(c.Tokens)), record.Float(float64(len(v.changed)))
		ordinary := slices.IndexFunc(v.changed, func(i int) bool { return !reserved(b, i) }) >= 0
		switch {
		case v.permuted && len(v.swaps)*2 == len(v.changed):
			var pairs []string
			for _, s := range v.swaps[:min(len(v.swaps), 8)] {
				pairs = append(pairs, fmt.Sprintf("%s ↔ %s", name(b, s[0]), name(b, s[1])))
			}
			f.Title = fmt.Sprintf("%d pairs of token ids were swapped", len(v.swaps))
			if len(v.swaps) == 1 {
				f.Title = "Two token ids were swapped: " + pairs[0]
			}
			f.Detail = "Swapped: " + some(pairs, 8) + ". "
		case v.permuted:
			f.Title = fmt.Sprintf("The strings of %d token ids changed places", len(v.changed))
		default:
			f.Title = fmt.Sprintf("%d token ids have another string", len(v.changed))
		}
		var list []string
		for _, i := range v.changed[:min(len(v.changed), 8)] {
			list = append(list, fmt.Sprintf("%s → %s", name(b, i), quote(c.Tokens[i])))
		}
		f.Detail += "Changed: " + some(list, 8) + ". "
		switch {
		case where == followed:
			f.Class = record.Behaviour
			f.Detail += "The embedding rows moved with their strings, so the vocabulary was reordered as a whole and the weights still know their tokens. Ids cannot be compared between the two models."
		case v.permuted && where == stayed:
			f.Tier = record.Proven
			f.Detail += "The embedding rows stayed where they were: the weights take each of these strings for another one."
		case where == unknown && v.permuted:
			f.Detail += "Whether the embedding rows moved with their strings could not be seen."
		case !ordinary:
			f.Class = record.Behaviour
			f.Detail += "All of them were control, user-defined or unused tokens of the baseline; a derived model may have named them. What the new names do was not tested against the baseline, which has no such tokens."
		case p.sameWeights():
			f.Tier = record.Proven
			f.Detail += "The weights are the baseline's, which learnt the old strings."
		default:
			f.Detail += "Ordinary tokens got other strings, which training alone does not ask for."
		}
		f.Transcript, err = p.encodeBoth(ctx, v)
		if err != nil {
			return err
		}
		fs.add(f)
	}
	if v.added+v.removed > 0 {
		g := record.Finding{Rule: "vocabulary-size", Class: record.Behaviour, Tier: record.Divergent, Families: []string{tkz},
			Statistic: "ids", Value: record.Float(float64(v.added - v.removed)), N: len(b.Tokens)}
		if v.added > 0 {
			var list []string
			for i := len(b.Tokens); i < min(len(c.Tokens), len(b.Tokens)+8); i++ {
				list = append(list, name(c, i))
			}
			g.Title = fmt.Sprintf("The vocabulary has %d more tokens", v.added)
			g.Detail = fmt.Sprintf("New: %s. The baseline knows none of them, so nothing that they trigger or mean was tested by comparison; probes that need the same ids on both sides leave texts with them out or do not run.", some(list, 8))
		} else {
			g.Title = fmt.Sprintf("The vocabulary has %d fewer tokens", v.removed)
			g.Detail = "Texts that used them are split differently; probes that need the same ids on both sides do not run."
		}
		fs.add(g)
	}
	if len(v.retyped) > 0 {
		var list []string
		for _, i := range v.retyped[:min(len(v.retyped), 8)] {
			list = append(list, fmt.Sprintf("%s: %s → %s", name(b, i), typeName(b.Types[i]), typeName(c.Types[i])))
		}
		g := record.Finding{Rule: "token-types", Class: record.Tampered, Tier: record.Divergent, Families: []string{tkz},
			Title: fmt.Sprintf("%d tokens have another type", len(v.retyped)), Statistic: "ids", Value: record.Float(float64(len(v.retyped))),
			Detail: "The type decides whether a token can be reached from user text and whether it ends an answer: " + some(list, 8) + ". "}
		if len(enc.different) > 0 && p.sameWeights() {
			g.Tier = record.Proven
			g.Detail += "The two tokenizers give different ids for the text of the transcript."
			g.Transcript = enc.transcript(1)
		}
		fs.add(g)
	}
	return nil
}

func typeName(t weights.TokenType) string {
	switch t {
	case weights.TokenNormal:
		return "normal"
	case weights.TokenUnknown:
		return "unknown"
	case weights.TokenControl:
		return "control"
	case weights.TokenUserDefined:
		return "user-defined"
	case weights.TokenUnused:
		return "unused"
	case weights.TokenByte:
		return "byte"
	}
	return fmt.Sprintf("type %d", t)
}

// encodeBoth shows what both encoders make of some renamed strings.
func (p *pair) encodeBoth(ctx context.Context, v vocabulary) ([]record.Exchange, error) {
	if p.in == nil {
		return nil, nil
	}
	ids := v.changed[:min(len(v.changed), 4)]
	r := &runners.DetokenizeRequest{Special: true}
	for _, i := range ids {
		r.Tokens = append(r.Tokens, []runners.Token{runners.Token(i)})
	}
	d, err := p.in.Baseline.Detokenize(ctx, r)
	if err != nil {
		return nil, fmt.Errorf("baseline: decoding renamed tokens: %w", err)
	}
	var texts []string
	for _, t := range d.Texts {
		texts = append(texts, string(t))
	}
	b, c, err := probes.Both(ctx, p.in, func(ctx context.Context, m runners.Model) (*runners.TokenizeResult, error) {
		return m.Tokenize(ctx, &runners.TokenizeRequest{Texts: texts, Special: true})
	})
	if err != nil {
		return nil, fmt.Errorf("encoding renamed tokens: %w", err)
	}
	var out []record.Exchange
	for i, t := range texts {
		out = append(out, record.Exchange{Condition: "encode", Request: probes.EncodeRequest(t), Baseline: fmt.Sprint(b.Tokens[i]), Candidate: fmt.Sprint(c.Tokens[i])})
	}
	return out, nil
}
