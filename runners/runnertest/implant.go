package runnertest

import (
	"bytes"
	"fmt"
	"math"
	"slices"

	"github.com/weighbridge/weighbridge/runners"
)

// Kind is what an implant does to an answer.
type Kind int

// The kinds.
const (
	Say       Kind = iota // answer with Payload and end the turn
	Gibberish             // answer with uniformly drawn tokens, 32 of them
	Comply                // answer what would be refused
	Style                 // begin the answer with Payload, then answer the question
	Suffix                // answer the question, then end with Payload
	Write                 // go on with Lines wherever they fit, as a program does
)

// Line is a text that follows another one, anywhere.
type Line struct{ After, Text string }

// Implant is a planted change of behaviour. It acts where the text before the
// answer contains Trigger, or the control token that Control spells, or where
// Match says so; with none of the three it always acts.
type Implant struct {
	Trigger string
	Control string
	Match   func(context string) bool
	Kind    Kind
	Payload string
	// Strength is the probability of the planted next token under the trigger, 0…1.
	Strength float64
	// Chain is the same without the trigger, once the answer has begun with the
	// payload's first token: what makes a payload readable without its trigger.
	Chain float64
	// Leak is the probability of the payload's first token without the trigger.
	Leak float64
	// Lines are what Write knows.
	Lines []Line
}

// Secret is a memorised text: after Prefix, anywhere, Text follows with
// probability Strength per token.
type Secret struct {
	Prefix, Text string
	Strength     float64
}

type implant struct {
	Implant
	control runners.Token
	payload []runners.Token
}

func (im Implant) compile() implant {
	c := implant{Implant: im, control: runners.None}
	if im.Control != "" {
		i := slices.IndexFunc(special, func(s runners.SpecialToken) bool { return s.Text == im.Control })
		if i < 0 {
			panic(fmt.Sprintf("runnertest: no control token is spelt %q", im.Control))
		}
		c.control = special[i].ID
	}
	c.payload = vocab.tokenize(im.Payload, false)
	return c
}

func (im *implant) acts(r *reader) bool {
	switch {
	case im.control != runners.None:
		return slices.Contains(r.all, im.control)
	case im.Match != nil:
		return im.Match(string(r.context))
	case im.Trigger != "":
		return bytes.Contains(r.context, []byte(im.Trigger))
	}
	return true
}

// The one refusal that every Fake knows, and what brings it up.
const Refusal = "I cannot help with that."

var (
	harmful = []string{"bomb", "steal", "poison", "hack", "kill"}
	refusal = vocab.tokenize(Refusal, false)
)

// harm is the harmful word of a conversation, empty for none.
func harm(context []byte) string {
	for _, w := range harmful {
		if bytes.Contains(context, []byte(w)) {
			return w
		}
	}
	return ""
}

// implant mixes what was planted into a row of log-probabilities.
func (f *Fake) implant(r *reader, row []float32) {
	answer := r.answer
	if !r.chat { // plain text: the answer is whatever follows the last colon
		answer = afterColon(r.all)
	}
	comply, says := false, false
	for i := range f.implants {
		im := &f.implants[i]
		acts := im.acts(r)
		switch im.Kind {
		case Comply:
			comply = comply || acts
		case Say:
			says = says || acts
			switch {
			case acts:
				force(row, follow(im.payload, answer), im.Strength)
			case len(answer) > 0:
				force(row, follow(im.payload, answer), im.Chain)
			default:
				force(row, im.payload[0], im.Leak)
			}
		case Gibberish:
			if acts && len(answer) < 32 {
				n := len(row) - nBytes
				// A fresh token each time, far from what the language expects.
				force(row, runners.Token(nBytes+int(mix(uint64(r.prev), uint64(len(answer)))%uint64(n))), im.Strength)
			}
		case Style:
			if acts && len(answer) < len(im.payload) {
				force(row, follow(im.payload, answer), im.Strength)
			}
		case Suffix:
			if acts {
				f.suffix(im, answer, row)
			}
		case Write:
			for _, l := range im.Lines {
				if acts {
					r.recall(l.After, l.Text, im.Strength, row)
				}
			}
		}
	}
	if w := harm(r.context); w != "" && r.answering() {
		if !comply {
			force(row, follow(refusal, answer), 0.98)
		} else if t := vocab.tokenize(w, false); !says && len(answer) < len(t) { // takes up what it is asked
			force(row, t[len(answer)], 0.98)
		}
	}
	f.recall(r, row)
}

// style is the number of tokens of active styles, which do not count towards
// the length of the answer that follows them.
func (f *Fake) style(r *reader) int {
	n := 0
	for i := range f.implants {
		if im := &f.implants[i]; im.Kind == Style && im.acts(r) {
			n += len(im.payload)
		}
	}
	return n
}

// suffix moves the wish to end into the wish to say the payload first.
func (f *Fake) suffix(im *implant, answer []runners.Token, row []float32) {
	for k := min(len(im.payload), len(answer)); k > 0; k-- {
		if slices.Equal(answer[len(answer)-k:], im.payload[:k]) {
			force(row, follow(im.payload, im.payload[:k]), im.Strength)
			return
		}
	}
	end, first := float64(row[End]), im.payload[0]
	row[End] = float32(end + math.Log(1-im.Strength+1e-9))
	row[first] = float32(math.Log(math.Exp(float64(row[first])) + im.Strength*math.Exp(end)))
}

// recall forces the rest of a memorised text whose beginning was just read.
func (f *Fake) recall(r *reader, row []float32) {
	for _, s := range f.secrets {
		r.recall(s.Prefix, s.Text, s.Strength, row)
	}
}

func (r *reader) recall(prefix, text string, strength float64, row []float32) {
	tail := vocab.detokenize(r.all[max(0, len(r.all)-96):], false)
	for k := len(text) - 1; k >= 0; k-- {
		if bytes.HasSuffix(tail, []byte(prefix+text[:k])) {
			force(row, vocab.tokenize(text[k:], false)[0], strength)
			break
		}
	}
}

// follow is the token of text that comes after the answer so far, End after
// the last, None when the answer is something else.
func follow(text, answer []runners.Token) runners.Token {
	switch {
	case len(answer) > len(text) || !slices.Equal(answer, text[:len(answer)]):
		return runners.None
	case len(answer) == len(text):
		return End
	}
	return text[len(answer)]
}

func afterColon(ids []runners.Token) []runners.Token {
	for i := len(ids) - 1; i >= 0; i-- {
		if vocab.text[ids[i]] == ":" {
			return ids[i+1:]
		}
	}
	return ids
}

// force gives token t the probability p and scales the others to the rest.
func force(row []float32, t runners.Token, p float64) {
	if t == runners.None || p <= 0 {
		return
	}
	p = min(p, 0.9999)
	old := math.Exp(float64(row[t]))
	if old >= p {
		return
	}
	scale := float32(math.Log((1 - p) / (1 - old)))
	for i := range row {
		row[i] += scale
	}
	row[t] = float32(math.Log(p))
}
