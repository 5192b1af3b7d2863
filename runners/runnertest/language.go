package runnertest

import (
	"math"
	"sync"

	"github.com/weighbridge/weighbridge/runners"
)

// language is the part that a pair of models shares: fixed tables of logits.
type language struct {
	unigram []float32
	bigram  []float32 // V×V: next given previous
	topic   []float32 // V×V: answer token given question token
}

var (
	languagesMu sync.Mutex
	languages   = map[uint64]*language{}
)

// languageOf makes the tables of a seed once: they are the expensive part.
func languageOf(seed uint64) *language {
	languagesMu.Lock()
	defer languagesMu.Unlock()
	if l, ok := languages[seed]; ok {
		return l
	}
	v := len(vocab.text)
	l := &language{
		unigram: make([]float32, v),
		bigram:  gaussTable(seed^0xb16, 2),
		topic:   gaussTable(seed^0x70b1c, 3),
	}
	for t := range v {
		switch {
		case t < nBytes:
			l.unigram[t] = -16
		case t < nWords:
			l.unigram[t] = -10
			if b := vocab.text[t][0]; b >= ' ' && b < 0x7f {
				l.unigram[t] = -5
			}
		default:
			l.unigram[t] = -0.4 * float32(math.Log(1+float64(mix(seed, uint64(t))%512)))
		}
	}
	languages[seed] = l
	return l
}

// gaussTable is a V×V table of independent normal numbers.
func gaussTable(seed uint64, sd float32) []float32 {
	v := len(vocab.text)
	t := make([]float32, v*v)
	for i := range t {
		t[i] = sd * gauss(mix(seed, uint64(i)))
	}
	return t
}

// mix is SplitMix64 of a pair.
func mix(seed, i uint64) uint64 {
	z := seed*0x9e3779b97f4a7c15 + (i+1)*0xbf58476d1ce4e5b9
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// gauss makes a nearly normal number of 64 random bits: the centred sum of
// four uniform 16-bit parts, scaled to variance one.
func gauss(z uint64) float32 {
	s := float32(z&0xffff) + float32(z>>16&0xffff) + float32(z>>32&0xffff) + float32(z>>48)
	return (s/65536 - 2) * 1.7320508
}

// reader is what the model knows after reading some tokens.
type reader struct {
	prev    runners.Token
	header  bool // between <|im_start|> and the end of that line
	chat    bool // a turn was opened
	role    []byte
	answer  []runners.Token // since the assistant's turn began
	all     []runners.Token
	context []byte    // text of everything before the answer
	topic   []float32 // sum of the topic rows
	topics  float32
}

func newReader() *reader {
	return &reader{prev: BOS, topic: make([]float32, len(vocab.text))}
}

func (r *reader) answering() bool { return !r.header && string(r.role) == "assistant" }

func (f *Fake) read(r *reader, t runners.Token) {
	r.all = append(r.all, t)
	switch {
	case t == Start:
		r.header, r.chat, r.role, r.answer = true, true, nil, nil
	case r.header && vocab.text[t] == "\n":
		r.header = false
	case r.header:
		// The role may be one token or many; words carry a leading space.
		r.role = append(r.role, vocab.text[t]...)
	case r.answering():
		r.answer = append(r.answer, t)
	default:
		if vocab.word[t] {
			row := f.lang.topic[int(t)*len(vocab.text):]
			for i := range r.topic {
				r.topic[i] += row[i]
			}
			r.topics++
		}
	}
	if !r.answering() || r.header {
		r.context = append(r.context, vocab.text[t]...)
	}
	r.prev = t
}

// predict fills row with log-probabilities of the next token. noise is the
// request's own disturbance, 0 for a reproducible model.
func (f *Fake) predict(r *reader, row []float32, noise uint64) {
	v := len(vocab.text)
	big := f.lang.bigram[int(r.prev)*v:]
	scale := float32(0)
	if r.topics > 0 {
		scale = 1 / float32(math.Sqrt(float64(r.topics)))
	}
	for t := range v {
		row[t] = f.lang.unigram[t] + big[t]
		if t >= nBytes {
			row[t] += scale * r.topic[t]
		}
	}
	if f.drift != nil {
		d := f.drift[int(r.prev)*v:]
		for t := nBytes; t < v; t++ {
			row[t] += d[t]
		}
	}
	if r.answering() {
		row[End] = float32(3*(len(r.answer)-f.style(r))) - 14
	}
	if noise != 0 {
		for t := range v {
			row[t] += float32(f.o.Noise) * gauss(mix(noise, uint64(t)))
		}
	}
	logSoftmax(row)
	f.implant(r, row)
}

func logSoftmax(row []float32) {
	top := row[0]
	for _, x := range row {
		top = max(top, x)
	}
	var sum float64
	for _, x := range row {
		sum += math.Exp(float64(x - top))
	}
	z := top + float32(math.Log(sum))
	for i := range row {
		row[i] -= z
	}
}
