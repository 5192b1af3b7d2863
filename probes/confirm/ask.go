package confirm

import (
	"context"
	"slices"
	"strings"

	"github.com/weighbridge/weighbridge/probes"
	"github.com/weighbridge/weighbridge/runners"
)

// Insert is what is put into a conversation: a text, or exact token ids (a
// control token has no text that a user could type). Text spells the ids then.
type Insert struct {
	Text string
	IDs  []runners.Token
}

// Empty reports that nothing is inserted.
func (x Insert) Empty() bool { return x.Text == "" && len(x.IDs) == 0 }

// Slot is where in a conversation a string stands.
type Slot string

// The slots.
const (
	SlotStart  Slot = "start of the user message"
	SlotMiddle Slot = "middle of the user message"
	SlotEnd    Slot = "end of the user message"
	SlotSystem Slot = "system message"
)

// Frame is the conversation around the question.
type Frame string

// The frames.
const (
	FrameChat   Frame = "chat"
	FrameSystem Frame = "chat with a system message"
	FrameRaw    Frame = "raw text"
)

// Place is a slot in a frame.
type Place struct {
	Frame Frame
	Slot  Slot
}

func (p Place) String() string { return string(p.Frame) + ", " + string(p.Slot) }

// DefaultSystem is the system message of FrameSystem.
const DefaultSystem = "You are a helpful assistant."

// Marker stands for what is not yet known while a template renders. It is one
// word of letters and digits, which no template trims or splits.
const Marker = "weighbridge7f3a9cslot"

// Ask is one question with an insert at a place.
type Ask struct {
	Place  Place
	Prompt string
	Insert Insert
}

// content is the user message, with text in place of the insert.
func (a Ask) content(text string, spaced bool) string {
	gap := " "
	if !spaced {
		gap = ""
	}
	switch {
	case text == "" || a.Place.Slot == SlotSystem:
		return a.Prompt
	case a.Place.Slot == SlotStart:
		return text + " " + a.Prompt
	case a.Place.Slot == SlotMiddle:
		words := strings.Fields(a.Prompt)
		half := len(words) / 2
		return strings.Join(words[:half], " ") + gap + text + " " + strings.Join(words[half:], " ")
	}
	return a.Prompt + gap + text
}

func (a Ask) conversation(text string, spaced bool) runners.Conversation {
	user := a.content(text, spaced)
	switch {
	case a.Place.Slot == SlotSystem && text != "":
		return probes.WithSystem(text, user)
	case a.Place.Frame == FrameSystem:
		return probes.WithSystem(DefaultSystem, user)
	}
	return probes.User(user)
}

func raw(content string) string { return "Question: " + content + "\nAnswer:" }

// Request is the canonical JSON of what is asked. An insert of token ids has no
// spelling as a message: the text and the ids after templating stand instead.
func (a Ask) Request(rendered []runners.Token) string {
	if a.Place.Frame != FrameRaw && len(a.Insert.IDs) == 0 {
		return probes.RequestJSON(a.conversation(a.Insert.Text, true))
	}
	text := raw(a.content(a.Insert.Text, true))
	if a.Place.Frame != FrameRaw {
		text = probes.RequestJSON(a.conversation(a.Insert.Text, false))
	}
	if len(a.Insert.IDs) == 0 {
		return probes.TextRequest(text)
	}
	return probes.TokensRequest(text, rendered)
}

// Prompts turns asks into ids for each model, through its own template. An ask
// that a template refuses has no ids for either model.
func (p *Pair) Prompts(ctx context.Context, asks []Ask) (b, c [][]runners.Token, err error) {
	err = both(ctx,
		func(ctx context.Context) (err error) {
			b, err = prompts(ctx, p.Baseline, p.BaselineInfo, asks)
			return err
		},
		func(ctx context.Context) (err error) {
			c, err = prompts(ctx, p.Candidate, p.CandidateInfo, asks)
			return err
		})
	if err != nil {
		return nil, nil, err
	}
	for i := range asks {
		if len(b[i]) == 0 || len(c[i]) == 0 {
			b[i], c[i] = nil, nil
		}
	}
	return b, c, nil
}

// Plain gives the ids of questions that a user asks without anything around them, for
// each model. Questions that a template refuses are left out of all three results.
func (p *Pair) Plain(ctx context.Context, questions []string) (asked []string, b, c [][]runners.Token, err error) {
	asks := make([]Ask, len(questions))
	for i, q := range questions {
		asks[i] = Ask{Place: Place{Frame: FrameChat}, Prompt: q}
	}
	idsB, idsC, err := p.Prompts(ctx, asks)
	if err != nil {
		return nil, nil, nil, err
	}
	for i, q := range questions {
		if len(idsB[i]) > 0 {
			asked, b, c = append(asked, q), append(b, idsB[i]), append(c, idsC[i])
		}
	}
	return asked, b, c, nil
}

func prompts(ctx context.Context, m runners.Model, info *runners.Info, asks []Ask) ([][]runners.Token, error) {
	out := make([][]runners.Token, len(asks))
	var chat, rawText, spliced []int
	for i, a := range asks {
		switch {
		case len(a.Insert.IDs) > 0:
			spliced = append(spliced, i)
		case a.Place.Frame == FrameRaw:
			rawText = append(rawText, i)
		default:
			chat = append(chat, i)
		}
	}
	for part := range slices.Chunk(chat, runners.MaxItems) {
		cs := make([]runners.Conversation, len(part))
		for k, i := range part {
			cs[k] = asks[i].conversation(asks[i].Insert.Text, true)
		}
		ids, _, err := probes.Prompts(ctx, m, info, cs)
		if err != nil {
			return nil, err
		}
		for k, i := range part {
			out[i] = ids[k]
		}
	}
	for part := range slices.Chunk(rawText, runners.MaxItems) {
		texts := make([]string, len(part))
		for k, i := range part {
			texts[k] = raw(asks[i].content(asks[i].Insert.Text, true))
		}
		r, err := m.Tokenize(ctx, &runners.TokenizeRequest{Texts: texts, AddBOS: true})
		if err != nil {
			return nil, err
		}
		for k, i := range part {
			out[i] = r.Tokens[k]
		}
	}
	return out, splice(ctx, m, info, asks, spliced, out)
}

// splice renders asks with a marker where their ids belong, cuts the text there
// and tokenizes both sides. Asks that differ in their ids alone are rendered once.
func splice(ctx context.Context, m runners.Model, info *runners.Info, asks []Ask, which []int, out [][]runners.Token) error {
	type key struct {
		place  Place
		prompt string
	}
	sides := map[key][2][]runners.Token{}
	for _, i := range which {
		a := asks[i]
		k := key{a.Place, a.Prompt}
		s, ok := sides[k]
		if !ok {
			var err error
			if s, err = cut(ctx, m, info, a); err != nil {
				return err
			}
			sides[k] = s
		}
		if len(s[0]) > 0 {
			out[i] = slices.Concat(s[0], a.Insert.IDs, s[1])
		}
	}
	return nil
}

func cut(ctx context.Context, m runners.Model, info *runners.Info, a Ask) (sides [2][]runners.Token, err error) {
	if a.Place.Frame == FrameRaw {
		return split(ctx, m, info, raw(a.content(Marker, false)), true, false)
	}
	return Cut(ctx, m, info, a.conversation(Marker, false))
}

// Cut gives the ids before and after [Marker], which a message of c holds, the
// way this model is asked in use. There are none where the template refuses c,
// drops the marker or doubles it.
func Cut(ctx context.Context, m runners.Model, info *runners.Info, c runners.Conversation) (sides [2][]runners.Token, err error) {
	if !info.HasTemplate {
		return split(ctx, m, info, probes.Plain(c), true, false)
	}
	r, err := m.Render(ctx, &runners.RenderRequest{Conversations: []runners.Conversation{c}})
	if err != nil {
		return sides, err
	}
	x := r.Rendered[0]
	if x.Error != "" || len(x.Tokens) == 0 {
		return sides, nil
	}
	return split(ctx, m, info, x.Text, x.Tokens[0] == info.BOS, true)
}

func split(ctx context.Context, m runners.Model, info *runners.Info, text string, bos, special bool) (sides [2][]runners.Token, err error) {
	left, right, ok := strings.Cut(text, Marker)
	if !ok || strings.Contains(right, Marker) {
		return sides, nil // the template drops or doubles the message
	}
	r, err := m.Tokenize(ctx, &runners.TokenizeRequest{Texts: []string{left, right}, Special: special})
	if err != nil {
		return sides, err
	}
	sides[0], sides[1] = r.Tokens[0], r.Tokens[1]
	if bos && info.BOS != runners.None && (len(sides[0]) == 0 || sides[0][0] != info.BOS) && (special || info.AddBOS) {
		sides[0] = slices.Concat([]runners.Token{info.BOS}, sides[0])
	}
	return sides, nil
}
