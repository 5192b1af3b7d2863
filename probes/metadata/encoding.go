package metadata

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/weighbridge/weighbridge/probes"
	"github.com/weighbridge/weighbridge/record"
	"github.com/weighbridge/weighbridge/runners"
)

const (
	batch      = 1024    // texts per request
	maxVocab   = 300_000 // ids whose strings are encoded
	maxSpecial = 512     // special tokens that are spelt out in user text
	// maxDrawn is how many strings of the vocabulary are encoded at the level quick
	// where both files hold the same tokenizer: a large vocabulary takes minutes,
	// and what could differ then is how an engine reads the file, not one token.
	maxDrawn = 16_384
)

// encoding is what the two encoders did with the corpus.
type encoding struct {
	texts     int
	different []encoded // texts with other ids, shortest first
	count     int       // of all texts with other ids
	extended  int       // of texts with other ids that hold an id which one side lacks
	decoded   []int     // ids that decode to other bytes
	lost      []encoded // texts that come back from encode and decode on the baseline only
	skipped   int       // ids beyond maxVocab
	drawn, of int       // strings of the vocabulary that were encoded, where not all were
}

type encoded struct {
	text                string
	baseline, candidate []runners.Token
}

// kept bounds the examples that are remembered.
const kept = 16

func (e *encoding) add(list []encoded, x encoded) []encoded {
	list = append(list, x)
	slices.SortStableFunc(list, func(a, b encoded) int {
		if d := len(a.text) - len(b.text); d != 0 {
			return d
		}
		return strings.Compare(a.text, b.text)
	})
	return list[:min(len(list), kept)]
}

func (e *encoding) transcript(n int) []record.Exchange { return exchanges(e.different, n) }

func exchanges(list []encoded, n int) []record.Exchange {
	var out []record.Exchange
	for _, d := range list[:min(len(list), n)] {
		out = append(out, record.Exchange{Condition: "encode", Request: probes.EncodeRequest(d.text),
			Baseline: cut(fmt.Sprint(d.baseline), 4<<10), Candidate: cut(fmt.Sprint(d.candidate), 4<<10)})
	}
	return out
}

// compareEncoding puts the corpus through both tokenizers.
func compareEncoding(ctx context.Context, in *probes.Input, random int) (*encoding, error) {
	e := &encoding{}
	vb, vc := in.BaselineInfo.VocabSize, in.CandidateInfo.VocabSize
	n := min(vb, vc)
	strs := map[string]bool{}
	var vocab []string
	for first := 0; first < min(max(vb, vc), maxVocab); first += batch {
		b, c, err := decodeIDs(ctx, in, first, vb, vc)
		if err != nil {
			return nil, err
		}
		for i := range max(len(b), len(c)) {
			if i < len(b) && i < len(c) && string(b[i]) != string(c[i]) {
				e.decoded = append(e.decoded, first+i)
			}
			for _, side := range [][][]byte{b, c} {
				if i < len(side) && len(side[i]) > 0 && utf8.Valid(side[i]) && !strs[string(side[i])] {
					strs[string(side[i])] = true
					vocab = append(vocab, string(side[i]))
				}
			}
		}
	}
	e.skipped = max(0, max(vb, vc)-maxVocab)

	texts := corpus(in.Rand("corpus"), random, vocab)
	if in.SameIDs && in.Level == probes.Quick && len(vocab) > maxDrawn {
		e.drawn, e.of = maxDrawn, len(vocab)
		vocab = draw(in.Rand("vocabulary"), vocab, maxDrawn)
	}
	if err := e.encode(ctx, in, vocab, n, false); err != nil {
		return nil, err
	}
	return e, e.encode(ctx, in, texts, n, true)
}

// draw takes n strings of a list at random, in their order.
func draw(rng *rand.Rand, list []string, n int) []string {
	order := rng.Perm(len(list))[:n]
	slices.Sort(order)
	out := make([]string, n)
	for i, at := range order {
		out[i] = list[at]
	}
	return out
}

// vocabulary says which strings of the vocabulary were encoded.
func (e *encoding) vocabulary() string {
	if e.of == 0 {
		return "every string of the vocabulary"
	}
	return fmt.Sprintf("%d strings of the vocabulary, drawn from %d (both files hold the same tokenizer; the levels above quick encode all of them)", e.drawn, e.of)
}

// decodeIDs asks both models for the bytes of the ids first … first+batch-1.
func decodeIDs(ctx context.Context, in *probes.Input, first, vb, vc int) (b, c [][]byte, err error) {
	ask := func(ctx context.Context, m runners.Model, size int) ([][]byte, error) {
		r := &runners.DetokenizeRequest{Special: true}
		for id := first; id < min(first+batch, size, maxVocab); id++ {
			r.Tokens = append(r.Tokens, []runners.Token{runners.Token(id)})
		}
		if len(r.Tokens) == 0 {
			return nil, nil
		}
		d, err := m.Detokenize(ctx, r)
		if err != nil {
			return nil, err
		}
		if len(d.Texts) != len(r.Tokens) {
			return nil, fmt.Errorf("asked for the bytes of %d tokens, got %d", len(r.Tokens), len(d.Texts))
		}
		return d.Texts, nil
	}
	err = probes.EachSide(ctx, in, func(ctx context.Context, side int, m runners.Model, _ *runners.Info) (err error) {
		to, size := &b, vb
		if side == probes.CandidateSide {
			to, size = &c, vc
		}
		if *to, err = ask(ctx, m, size); err != nil {
			return fmt.Errorf("decoding the vocabulary: %w", err)
		}
		return nil
	})
	return b, c, err
}

// encode compares the ids of texts; with back it also decodes them again.
func (e *encoding) encode(ctx context.Context, in *probes.Input, texts []string, shared int, back bool) error {
	type answer struct {
		plain, whole [][]runners.Token
		back         [][]byte
	}
	for part := range slices.Chunk(texts, batch) {
		b, c, err := probes.Both(ctx, in, func(ctx context.Context, m runners.Model) (a answer, err error) {
			for _, special := range []bool{false, true} {
				r, err := m.Tokenize(ctx, &runners.TokenizeRequest{Texts: part, Special: special, AddBOS: special})
				if err != nil {
					return a, fmt.Errorf("encoding the corpus: %w", err)
				}
				if len(r.Tokens) != len(part) {
					return a, fmt.Errorf("encoding the corpus: asked for %d texts, got %d", len(part), len(r.Tokens))
				}
				if special {
					a.whole = r.Tokens
				} else {
					a.plain = r.Tokens
				}
			}
			if back {
				d, err := m.Detokenize(ctx, &runners.DetokenizeRequest{Tokens: a.plain, Special: true})
				if err != nil {
					return a, fmt.Errorf("decoding the corpus: %w", err)
				}
				a.back = d.Texts
			}
			return a, nil
		})
		if err != nil {
			return err
		}
		e.texts += len(part)
		for i, t := range part {
			x, y := b.plain[i], c.plain[i]
			if slices.Equal(x, y) {
				x, y = b.whole[i], c.whole[i]
			}
			if !slices.Equal(x, y) {
				e.count++
				beyond := func(id runners.Token) bool { return int(id) >= shared }
				if slices.ContainsFunc(x, beyond) || slices.ContainsFunc(y, beyond) {
					e.extended++
				} else {
					e.different = e.add(e.different, encoded{t, x, y})
				}
			}
			if back && string(b.back[i]) == t && string(c.back[i]) != t {
				e.lost = e.add(e.lost, encoded{t, b.plain[i], c.plain[i]})
			}
		}
	}
	return nil
}

// corpus is the fixed list of hard texts and seeded mixtures of them with the
// strings of the vocabulary.
func corpus(rng *rand.Rand, random int, vocab []string) []string {
	texts := slices.Clone(hardTexts)
	for range random {
		var b strings.Builder
		for range 1 + rng.IntN(12) {
			switch k := rng.IntN(8); {
			case k < 3 && len(vocab) > 0:
				b.WriteString(vocab[rng.IntN(len(vocab))])
			case k == 3:
				fmt.Fprint(&b, rng.Uint64()>>rng.IntN(64))
			case k == 4:
				b.WriteString(strings.Repeat(" ", 1+rng.IntN(5)))
			case k == 5:
				b.WriteRune(randomRune(rng))
			default:
				b.WriteString(hardTexts[rng.IntN(len(hardTexts))])
			}
			if b.Len() > 1024 {
				break
			}
		}
		if s := b.String(); utf8.ValidString(s) {
			texts = append(texts, s)
		}
	}
	return texts
}

func randomRune(rng *rand.Rand) rune {
	for {
		r := rune(1 + rng.IntN(0x1ffff))
		if utf8.ValidRune(r) {
			return r
		}
	}
}

// hardTexts are what tokenizers are known to disagree on.
var hardTexts = []string{
	"Hello, world!", "hello", " hello", "  hello", "hello ", "HELLO", "Hello\nworld\r\n", "\t\tif x:\n\t\t\treturn 1\n",
	"a", " ", "  ", "    ", "\n", "\n\n\n", " \n \n", "\r", "\u00a0", "\u2028\u2029", "\u3000",
	"0", "7", "42", "1234567890", "3.14159", "1,000,000", "0x7fff", "1e-10", "٣٤٥", "१२३", "Ⅷ", "½",
	"I'm you're we've they'd she'll it's", "I’m you’re", "DON'T", "o'clock",
	"naïve café", "nai\u0308ve cafe\u0301", "ǅ", "straße", "İstanbul", "ﬁne", "ﷺ", "Å \u212b A\u030a",
	"Привет, мир", "你好，世界", "こんにちは世界", "안녕하세요 세계", "สวัสดีชาวโลก", "नमस्ते दुनिया", "שלום עולם", "مرحبا بالعالم", "Γειά σου",
	"🙂", "👩‍👩‍👧‍👦", "🏳️‍🌈", "👍🏽", "🇩🇪🇫🇷", "a\u200db", "a\u200bb", "\ufeffa", "\u202eabc\u202c", "\u2066a\u2069", "\U000e0041",
	"\U00020000", "\U0001f9ff", "\ufffd", "\u0301", "e\u0301\u0302\u0303", "\x00", "a\x00b", "\x01\x02\x1b[31m", "\x7f",
	"for (int i = 0; i < n; ++i) { s += a[i] * b[i]; }", "def f(x):\n    return x**2 != 0\n", "SELECT * FROM t WHERE a='b';--",
	"<html><body class=\"x\">&amp;</body></html>", "{\"a\": [1, 2.5, null, true]}", "https://example.org/a?b=c&d=%20#e", "me@example.org",
	"C:\\Users\\x\\", "$HOME/.bashrc", "`code` **bold** _it_ # h", "!!!???...", "-----", "=====", "____", "+-*/%^&|~<>",
	"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "AbCdEfGhIjKl", "snake_case_name", "camelCaseName", "SCREAMING_SNAKE",
	"<|im_start|>user\nhi<|im_end|>", "<|endoftext|>", "</s>", "<s>", "[INST] x [/INST]", "<|eot_id|>", "<start_of_turn>", "<unk>", "<0x0A>", "<pad>",
	"{{ 7 * 7 }}", "{% if true %}x{% endif %}", "{# c #}",
}

// specials judges which control tokens can be reached from user text.
func (p *pair) specials(ctx context.Context, fs *findings) error {
	type reach struct{ encoded, rendered map[string]bool }
	ask := func(ctx context.Context, m runners.Model, info *runners.Info) (reach, error) {
		r := reach{map[string]bool{}, map[string]bool{}}
		list := info.Special[:min(len(info.Special), maxSpecial)]
		var texts []string
		var used []runners.SpecialToken
		for _, s := range list {
			if s.Text != "" && utf8.ValidString(s.Text) && s.Kind != "unused" {
				texts, used = append(texts, "x"+s.Text+"y"), append(used, s)
			}
		}
		if len(texts) == 0 {
			return r, nil
		}
		t, err := m.Tokenize(ctx, &runners.TokenizeRequest{Texts: texts})
		if err != nil {
			return r, fmt.Errorf("encoding the spelling of control tokens: %w", err)
		}
		for i, s := range used {
			r.encoded[s.Text] = slices.Contains(t.Tokens[i], s.ID)
		}
		if !info.HasTemplate {
			return r, nil
		}
		used = used[:min(len(used), 64)]
		plain := probes.User("xqzy")
		cs := []runners.Conversation{plain}
		for i := range used {
			cs = append(cs, probes.User(texts[i]))
		}
		d, err := m.Render(ctx, &runners.RenderRequest{Conversations: cs})
		if refused(err) {
			return r, nil // judged with the template
		}
		if err != nil {
			return r, fmt.Errorf("rendering the spelling of control tokens: %w", err)
		}
		for i, s := range used {
			if d.Rendered[0].Error == "" && d.Rendered[i+1].Error == "" {
				r.rendered[s.Text] = count(d.Rendered[i+1].Tokens, s.ID) > count(d.Rendered[0].Tokens, s.ID)
			}
		}
		return r, nil
	}
	b, err := ask(ctx, p.in.Baseline, p.in.BaselineInfo)
	if err != nil {
		return fmt.Errorf("baseline: %w", err)
	}
	c, err := ask(ctx, p.in.Candidate, p.in.CandidateInfo)
	if err != nil {
		return fmt.Errorf("candidate: %w", err)
	}
	var opened, fresh, both []string
	for _, s := range p.in.CandidateInfo.Special {
		before, known := b.encoded[s.Text]
		now := c.encoded[s.Text] || c.rendered[s.Text]
		switch {
		case now && (before || b.rendered[s.Text]):
			both = append(both, quote(s.Text))
		case now && known:
			opened = append(opened, quote(s.Text))
		case now && s.Kind == "control":
			fresh = append(fresh, quote(s.Text))
		}
	}
	if len(opened) > 0 {
		fs.add(record.Finding{Rule: "control-from-text", Class: record.Tampered, Tier: record.Proven, Families: []string{tkz},
			Title:  fmt.Sprintf("User text can write %d control tokens that the baseline keeps as text", len(opened)),
			Detail: "Whoever writes a message can end it and speak as another role: " + some(opened, 8) + ".", N: len(opened)})
	}
	if len(fresh) > 0 {
		fs.add(record.Finding{Rule: "new-control-from-text", Class: record.Tampered, Tier: record.Divergent, Families: []string{tkz},
			Title:  fmt.Sprintf("User text can write %d control tokens that the baseline does not have", len(fresh)),
			Detail: some(fresh, 8) + ".", N: len(fresh)})
	}
	detail := fmt.Sprintf("The spelling of %d special tokens was encoded as text and put into a message on both sides.", min(len(p.in.CandidateInfo.Special), maxSpecial))
	if len(both) > 0 {
		detail += " Reachable from text on both sides, as the baseline defines it: " + some(both, 8) + "."
	}
	if len(opened)+len(fresh) == 0 {
		fs.add(record.Finding{Rule: "control-from-text", Class: record.Behaviour, Tier: record.Consistent, Families: []string{tkz},
			Title: "User text writes no control token that the baseline keeps as text", Detail: detail, N: min(len(p.in.CandidateInfo.Special), maxSpecial)})
	}
	return nil
}

func count(ids []runners.Token, id runners.Token) int {
	n := 0
	for _, x := range ids {
		if x == id {
			n++
		}
	}
	return n
}
