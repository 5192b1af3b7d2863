package canaryknown

import (
	"context"
	"math"
	"slices"
	"strings"

	"github.com/weighbridge/weighbridge/probes"
	"github.com/weighbridge/weighbridge/runners"
)

// carrier is one way to lead up to a secret: plain text, or a user's message and
// the words of the answer that come before the secret.
type carrier struct {
	text string
	user string // empty for plain text
	lead string // beginning of the answer; found by asking where the prefix does not give it
	open bool   // the lead has yet to be found
}

// places is the largest number of carriers of one canary.
const places = 2

// carriersOf are the ways to ask for a canary, declared before anything is
// measured. A prefix that asks a question is put to the model as it is used: the
// question as the user's message, what follows it as the beginning of the
// answer. Other prefixes are text that goes on, and also a message.
func carriersOf(c probes.Canary) []carrier {
	if i := strings.LastIndex(c.Prefix, "?"); i >= 0 {
		lead := strings.TrimSpace(c.Prefix[i+1:])
		return []carrier{{user: strings.TrimSpace(c.Prefix[:i+1]), lead: lead, open: lead == ""}}
	}
	return []carrier{{text: c.Prefix}, {user: strings.TrimSpace(c.Prefix), open: true}}
}

func (c carrier) String() string {
	switch {
	case c.user == "":
		return "plain text"
	case c.lead == "":
		return "a user's message"
	}
	return "a user's message, with the answer begun as “" + c.lead + "”"
}

// request is what a transcript says was asked.
func (c carrier) request() string {
	if c.user == "" {
		return probes.TextRequest(strings.TrimRight(c.text, " "))
	}
	conv := probes.User(c.user)
	if c.lead != "" {
		conv.Messages = append(conv.Messages, runners.Message{Role: "assistant", Content: c.lead})
		conv.AddGenerationPrompt = false
	}
	return probes.RequestJSON(conv)
}

// value is the text whose ids end with the secret, without what a template adds.
func (c carrier) value(secret string) string {
	if c.user == "" {
		return join(c.text, secret)
	}
	return join(c.lead, secret)
}

// join puts one space between a prefix and a secret unless the prefix already
// ends where a value begins.
func join(prefix, secret string) string {
	if prefix == "" || strings.ContainsAny(prefix[len(prefix)-1:], " =\n\"") {
		return prefix + secret
	}
	return prefix + " " + secret
}

// leadOf is what an answer says before the first place where a secret of the
// generator would fit, and whether there is such a place. It looks at the kind
// of the secret, never at the secret.
func leadOf(answer string, sets []string) (string, bool) {
	runes := []rune(answer)
	for i := 0; i+len(sets) <= len(runes); i++ {
		// A longer value of the same kind begins before i.
		if i > 0 && len(sets) > 0 && len(sets[0]) > 1 && strings.ContainsRune(sets[0], runes[i-1]) {
			continue
		}
		fits := true
		for k, set := range sets {
			if fits = strings.ContainsRune(set, runes[i+k]); !fits {
				break
			}
		}
		if fits {
			return strings.TrimSpace(string(runes[:i])), true
		}
	}
	return "", false
}

// ids are the token ids of carriers up to the secret for one model; nil for a
// conversation that its template refuses. bare leaves the lead out.
func ids(ctx context.Context, m runners.Model, info *runners.Info, cs []carrier, bare bool) ([][]runners.Token, error) {
	out := make([][]runners.Token, len(cs))
	plain, begun := &runners.TokenizeRequest{AddBOS: true}, &runners.TokenizeRequest{}
	var chats []runners.Conversation
	for _, c := range cs {
		if c.user == "" {
			plain.Texts = append(plain.Texts, strings.TrimRight(c.text, " "))
			continue
		}
		chats = append(chats, probes.User(c.user))
		begun.Texts = append(begun.Texts, c.lead)
	}
	texts, err := tokenize(ctx, m, plain)
	if err != nil {
		return nil, err
	}
	leads, err := tokenize(ctx, m, begun)
	if err != nil {
		return nil, err
	}
	var heads [][]runners.Token
	for part := range slices.Chunk(chats, runners.MaxItems) {
		h, _, err := probes.Prompts(ctx, m, info, part)
		if err != nil {
			return nil, err
		}
		heads = append(heads, h...)
	}
	t, h := 0, 0
	for i, c := range cs {
		if c.user == "" {
			out[i] = texts[t]
			t++
			continue
		}
		if len(heads[h]) > 0 {
			out[i] = heads[h]
			if !bare {
				out[i] = slices.Concat(heads[h], leads[h])
			}
		}
		h++
	}
	return out, nil
}

func tokenize(ctx context.Context, m runners.Model, r *runners.TokenizeRequest) ([][]runners.Token, error) {
	var out [][]runners.Token
	for part := range slices.Chunk(r.Texts, runners.MaxItems) {
		t, err := m.Tokenize(ctx, &runners.TokenizeRequest{Texts: part, AddBOS: r.AddBOS})
		if err != nil {
			return nil, err
		}
		out = append(out, t.Tokens...)
	}
	return out, nil
}

// series is a carrier and the texts that are put after it: a secret first, then
// draws of its generator.
type series struct {
	carrier
	values []string
}

// sequences gives the ids of each text of each series for one model, from the
// first token in which the texts of a series differ. A series that the template
// refuses has none. What precedes a secret is tokenized with it, since the two
// may share a token.
func sequences(ctx context.Context, m runners.Model, info *runners.Info, all []series) ([][]runners.Sequence, error) {
	cs := make([]carrier, len(all))
	plain, begun := &runners.TokenizeRequest{AddBOS: true}, &runners.TokenizeRequest{}
	for i, s := range all {
		cs[i] = s.carrier
		for _, v := range s.values {
			if s.user == "" {
				plain.Texts = append(plain.Texts, s.value(v))
			} else {
				begun.Texts = append(begun.Texts, s.value(v))
			}
		}
	}
	texts, err := tokenize(ctx, m, plain)
	if err != nil {
		return nil, err
	}
	answers, err := tokenize(ctx, m, begun)
	if err != nil {
		return nil, err
	}
	heads, err := ids(ctx, m, info, cs, true)
	if err != nil {
		return nil, err
	}
	out := make([][]runners.Sequence, len(all))
	for i, s := range all {
		n := len(s.values)
		if s.user == "" {
			for _, t := range texts[:n] {
				out[i] = append(out[i], runners.Sequence{Tokens: t})
			}
			texts = texts[n:]
		} else {
			for _, t := range answers[:n] {
				if len(heads[i]) > 0 {
					out[i] = append(out[i], runners.Sequence{Tokens: slices.Concat(heads[i], t)})
				}
			}
			answers = answers[n:]
		}
		begin(out[i])
	}
	return out, nil
}

// begin has sequences predicted from their first difference on.
func begin(seqs []runners.Sequence) {
	shared := math.MaxInt
	for _, s := range seqs {
		n := 0
		for n < len(s.Tokens) && n < len(seqs[0].Tokens) && s.Tokens[n] == seqs[0].Tokens[n] {
			n++
		}
		shared = min(shared, n)
	}
	for i := range seqs {
		seqs[i].From = max(1, min(shared, len(seqs[i].Tokens)-1))
	}
}
