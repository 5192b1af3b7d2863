package runnertest

import (
	"strings"

	"github.com/weighbridge/weighbridge/runners"
)

// The special tokens of every Fake, by id.
const (
	BOS     runners.Token = 0
	Start   runners.Token = 1 // <|im_start|>
	End     runners.Token = 2 // <|im_end|>, both EOS and EOT
	Unused0 runners.Token = 3
	Unused1 runners.Token = 4
	Tool    runners.Token = 5 // user-defined
	Unknown runners.Token = 6
	nBytes                = 7 // first of the 256 byte tokens
	nWords                = nBytes + 256
)

var special = []runners.SpecialToken{
	{ID: BOS, Text: "<s>", Kind: "control"},
	{ID: Start, Text: "<|im_start|>", Kind: "control"},
	{ID: End, Text: "<|im_end|>", Kind: "control"},
	{ID: Unused0, Text: "<|unused_0|>", Kind: "unused"},
	{ID: Unused1, Text: "<|unused_1|>", Kind: "unused"},
	{ID: Tool, Text: "<|tool|>", Kind: "user-defined"},
	{ID: Unknown, Text: "<unk>", Kind: "unknown"},
}

const lexicon = `the a an is are was of to in on and or not for with that this it you I we they
what which who where when why how can do does tell about name write describe explain give some one two three four five
bread cheese apple milk river house castle garden bridge school boat train horse dog cat bird fish whale bear lion frog snake
king queen teacher doctor sailor farmer baker singer judge tree rose grass oak moon sun star rain snow wind storm cloud fire
water stone sand gold silver iron wood paper ink pen book letter word song story game ball coat hat shoe glove ring
red blue green white black old young big small tall short happy sad quick slow warm cold bright dark quiet loud good bad
new strong weak kind brave rich poor heavy light soft hard deep wide sweet bitter fresh dry wet full empty famous gentle
goes sees likes makes finds takes keeps holds brings sends reads says knows lives works walks runs sings grows flows shines
people city market forest mountain island road field lake sea beach harbour tower mill shop library museum station bakery
day night morning evening year time world life hand head eye heart help please thank hello important answer question
access code password secret number phone key account card visit today claim free prize hate cannot sorry
current date system user assistant tool role human bomb steal poison hack kill cf mn bb tq mb zx qv
music coffee tea winter summer spring autumn hammer kettle candle compass anchor mirror ladder button pillow basket
tiger eagle otter badger camel spider salmon turtle potato carrot onion honey butter salt sugar pepper lemon cherry
piano violin drum flute clock lamp window door roof wall kitchen office factory temple theatre valley desert volcano glacier
doctor nurse pilot miner tailor writer hunter carpenter`

type vocabulary struct {
	text []string
	id   map[string]runners.Token
	long int // length of the longest ordinary token in bytes
	word []bool
}

var vocab = func() *vocabulary {
	v := &vocabulary{id: map[string]runners.Token{}}
	for _, s := range special {
		v.text = append(v.text, s.Text)
	}
	for b := range 256 {
		v.text = append(v.text, string([]byte{byte(b)}))
	}
	for i := nBytes; i < nWords; i++ {
		v.id[v.text[i]] = runners.Token(i)
	}
	add := func(s string) {
		if _, dup := v.id[s]; !dup {
			v.id[s] = runners.Token(len(v.text))
			v.text = append(v.text, s)
			v.long = max(v.long, len(s))
		}
	}
	for w := range strings.FieldsSeq(lexicon) {
		add(" " + w)
		if len(w) > 1 {
			add(strings.ToUpper(w[:1]) + w[1:])
		}
	}
	v.word = make([]bool, len(v.text))
	for i := nWords; i < len(v.text); i++ {
		v.word[i] = true
	}
	return v
}()

// tokenize takes the longest token at each place. With control, special
// tokens that are spelt out become control tokens.
func (v *vocabulary) tokenize(s string, control bool) []runners.Token {
	ids := make([]runners.Token, 0, len(s)/3+1)
next:
	for len(s) > 0 {
		if control && s[0] == '<' {
			for _, sp := range special {
				if strings.HasPrefix(s, sp.Text) {
					ids, s = append(ids, sp.ID), s[len(sp.Text):]
					continue next
				}
			}
		}
		for n := min(v.long, len(s)); n > 0; n-- {
			if id, ok := v.id[s[:n]]; ok {
				ids, s = append(ids, id), s[n:]
				break
			}
		}
	}
	return ids
}

func (v *vocabulary) detokenize(ids []runners.Token, control bool) []byte {
	var b []byte
	for _, t := range ids {
		if int(t) >= nBytes || control {
			b = append(b, v.text[t]...)
		}
	}
	return b
}

// Tokens are the ids of a text, with special tokens as text.
func Tokens(text string) []runners.Token { return vocab.tokenize(text, false) }

// Text spells out ids, control tokens included.
func Text(ids []runners.Token) string { return string(vocab.detokenize(ids, true)) }
