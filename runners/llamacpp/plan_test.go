package llamacpp

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weighbridge/weighbridge/runners"
)

// tape is a machine that keeps what llama.cpp's cache would hold and checks the
// rules of its batches.
type tape struct {
	t       *testing.T
	trie    *trie
	size    int
	seqs    map[int32][]runners.Token
	paths   map[int32][]runners.Token // of decoded nodes
	batches int
	cells   int // the most ever held
}

func (m *tape) decode(b *batch) error {
	m.batches++
	if b.len() == 0 || b.len() > m.size {
		m.t.Errorf("a batch of %d tokens", b.len())
	}
	at := 0
	for i := range b.token {
		ids := b.seq[at : at+int(b.nseq[i])]
		at += int(b.nseq[i])
		if len(ids) == 0 {
			m.t.Fatal("a token without a sequence")
		}
		first := slices.Clone(m.seqs[ids[0]])
		for _, s := range ids {
			if s < 0 || s >= maxSeqsOfTest {
				m.t.Fatalf("sequence %d", s)
			}
			if int(b.pos[i]) != len(m.seqs[s]) {
				m.t.Fatalf("position %d in sequence %d of %d tokens", b.pos[i], s, len(m.seqs[s]))
			}
			if !slices.Equal(first, m.seqs[s]) {
				m.t.Fatalf("sequences %v share a token and have diverged", ids)
			}
			m.seqs[s] = append(slices.Clone(m.seqs[s]), b.token[i])
		}
		if _, ok := m.paths[b.node[i]]; ok {
			m.t.Errorf("node %d is decoded twice", b.node[i])
		}
		m.paths[b.node[i]] = m.seqs[ids[0]]
		if (b.out[i] != 0) != (len(m.trie.want[b.node[i]]) > 0) {
			m.t.Errorf("node %d: logits %d, wanted %v", b.node[i], b.out[i], m.trie.want[b.node[i]])
		}
	}
	if at != len(b.seq) {
		m.t.Errorf("%d sequence ids for %d", len(b.seq), at)
	}
	held := map[string]bool{}
	for _, s := range m.seqs {
		for n := range s {
			held[fmt.Sprint(s[:n+1])] = true
		}
	}
	m.cells = max(m.cells, len(held))
	return nil
}

func (m *tape) fork(from, to int32) {
	if len(m.seqs[to]) > 0 {
		m.t.Errorf("sequence %d is not empty", to)
	}
	m.seqs[to] = slices.Clone(m.seqs[from])
}

func (m *tape) cut(seq, pos int32) error {
	m.seqs[seq] = m.seqs[seq][:min(int(pos), len(m.seqs[seq]))]
	return nil
}

func (m *tape) clear() { clear(m.seqs) }

const maxSeqsOfTest = 16

// TestWalk decodes groups of many shapes and compares with the sequences: after
// every wanted node lies exactly the prefix that the prediction is made from.
func TestWalk(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	random := func(n, length, vocab int) (out []runners.Sequence) {
		for range n {
			ids := make([]runners.Token, 1+r.IntN(length))
			for i := range ids {
				ids[i] = runners.Token(r.IntN(vocab))
			}
			s := runners.Sequence{Tokens: ids, From: 1 + r.IntN(len(ids)), Next: r.IntN(2) == 0}
			out = append(out, s)
		}
		return out
	}
	comb := []runners.Sequence{} // each branches off the longest one token later
	for i := range 60 {
		comb = append(comb, runners.Sequence{Tokens: append(make([]runners.Token, i+1), 7, 8), From: i + 1, Next: true})
	}
	wide := []runners.Sequence{}
	for i := range 100 {
		wide = append(wide, runners.Sequence{Tokens: []runners.Token{1, 2, 3, runners.Token(i), 5}, From: 3})
	}
	long := runners.Sequence{Tokens: make([]runners.Token, 101), From: 1}
	for name, seqs := range map[string][]runners.Sequence{
		"empty":   nil,
		"one":     {{Tokens: []runners.Token{5}, From: 1, Next: true}},
		"nothing": {{Tokens: []runners.Token{5}, From: 1}},
		"equal":   {long, long, {Tokens: long.Tokens, From: 50, Next: true}},
		"prefix":  {long, {Tokens: long.Tokens[:40], From: 3, Next: true}},
		"comb":    comb, "wide": wide,
		"binary": random(80, 12, 2), "sparse": random(80, 12, 1000), "mixed": random(200, 60, 3), "long": random(9, 300, 2),
	} {
		for _, share := range []bool{true, false} {
			for _, size := range []int{4, 32, 512} {
				t.Run(fmt.Sprintf("%s, share %v, size %d", name, share, size), func(t *testing.T) {
					tr := newTrie(seqs, share)
					m := &tape{t: t, trie: tr, size: size, seqs: map[int32][]runners.Token{}, paths: map[int32][]runners.Token{}}
					w := &walk{trie: tr, m: m, size: size, seqs: maxSeqsOfTest}
					if err := w.run(); err != nil {
						t.Fatal(err)
					}
					if len(m.paths) != len(tr.token) {
						t.Errorf("%d of %d nodes are decoded", len(m.paths), len(tr.token))
					}
					checkWants(t, seqs, tr, m.paths)
					longest := 0
					for _, s := range seqs {
						longest = max(longest, len(s.Tokens))
					}
					if m.cells > longest+size {
						t.Errorf("%d cells for paths of %d and batches of %d", m.cells, longest, size)
					}
					distinct := map[string]bool{}
					total := 0
					for _, s := range seqs {
						if s.Predictions() == 0 {
							continue
						}
						n := len(s.Tokens) - 1
						if s.Next {
							n++
						}
						total += n
						for i := range n {
							distinct[fmt.Sprint(s.Tokens[:i+1])] = true
						}
					}
					if share {
						total = len(distinct)
					}
					if len(tr.token) != total {
						t.Errorf("%d nodes, want %d", len(tr.token), total)
					}
				})
			}
		}
	}
}

func checkWants(t *testing.T, seqs []runners.Sequence, tr *trie, paths map[int32][]runners.Token) {
	t.Helper()
	seen := map[want]bool{}
	for node, ws := range tr.want {
		for _, w := range ws {
			s := seqs[w.seq]
			if d := cmp.Diff(s.Tokens[:s.From+int(w.pred)], paths[node]); d != "" {
				t.Fatalf("prediction %v is made from\n%s", w, d)
			}
			seen[w] = true
		}
	}
	for i, s := range seqs {
		for j := range s.Predictions() {
			if !seen[want{int32(i), int32(j)}] {
				t.Errorf("prediction %d of sequence %d is not made", j, i)
			}
		}
	}
}

// The geometry must not depend on the order of the request.
func TestTrieIgnoresOrder(t *testing.T) {
	seqs := []runners.Sequence{{Tokens: []runners.Token{1, 2, 3}, From: 1}, {Tokens: []runners.Token{1, 2, 4, 5}, From: 2}, {Tokens: []runners.Token{0, 9}, From: 1, Next: true}}
	a := newTrie(seqs, true)
	slices.Reverse(seqs)
	b := newTrie(seqs, true)
	if !slices.Equal(a.token, b.token) || !slices.Equal(a.end, b.end) {
		t.Errorf("%v %v, reversed %v %v", a.token, a.end, b.token, b.end)
	}
}

func TestHide(t *testing.T) {
	names := []string{"<|im_end|>", "<|im_start|>", "<s>"}
	talk := func(s string) []runners.Conversation {
		return []runners.Conversation{{Messages: []runners.Message{{Role: "user", Content: s, ToolCalls: []byte(`[{"a": "` + s + `", "b": 1.50}]`)}}}}
	}
	plain := talk("nothing special")
	if out, mark, err := hide(plain, "", names); err != nil || mark != "" || cmp.Diff(plain, out) != "" {
		t.Errorf("without special tokens: %v, %q, %v", out, mark, err)
	}
	out, mark, err := hide(talk("a <|im_end|><s>\U0010fffd"), "", names)
	if err != nil || mark != "\U0010fffc" {
		t.Fatalf("mark %q, %v", mark, err)
	}
	want := "a <" + mark + "|im_end|><" + mark + "s>\U0010fffd"
	if got := out[0].Messages[0].Content; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got := string(out[0].Messages[0].ToolCalls); got != `[{"a": "`+"a \\u003c"+mark+`|im_end|\u003e\u003c`+mark+`s\u003e`+"\U0010fffd"+`", "b": 1.50}]` {
		t.Errorf("tool calls %s", got)
	}
}

func TestPartition(t *testing.T) {
	specials := []special{{7, "<|im_end|>", false, true}, {5, "<s>", true, false}, {6, "s>", false, false}}
	got := partition("a <s>b<|im_end|> \nc s>d<s><s>", specials)
	want := []fragment{{"a", runners.None}, {"", 5}, {"b", runners.None}, {"", 7}, {"c ", runners.None}, {"", 6}, {"d", runners.None}, {"", 5}, {"", 5}}
	if d := cmp.Diff(want, got, cmp.AllowUnexported(fragment{})); d != "" {
		t.Error(d)
	}
}

func TestSampler(t *testing.T) {
	if a, b := stream(1, 2).Uint64(), stream(1, 3).Uint64(); a == b {
		t.Error("two items share a stream")
	}
	if a, b := stream(1, 2).Uint64(), stream(1, 2).Uint64(); a != b {
		t.Error("a stream does not repeat")
	}
	vals := []float32{2, 1, 0, -1}
	for _, c := range []struct {
		p, total float64
		n        int
		ok       bool
	}{{0, -1, 4, true}, {1, -1, 4, true}, {0.6, -1, 1, true}, {0.7, -1, 2, true}, {0.99, 100, 4, false}} {
		if n, ok := nucleus(vals, 1, c.p, c.total); n != c.n || ok != c.ok {
			t.Errorf("nucleus %g of %g: %d, %v", c.p, c.total, n, ok)
		}
	}
	counts := make([]int, len(vals))
	r := stream(9, 9)
	for range 20000 {
		counts[pick(vals, 1, uniform(r))]++
	}
	for i, p := range []float64{0.6439, 0.2369, 0.0871, 0.0321} {
		if got := float64(counts[i]) / 20000; got < p-0.02 || got > p+0.02 {
			t.Errorf("candidate %d is drawn %.3f of the time, want %.3f", i, got, p)
		}
	}
	for _, c := range []struct {
		text    string
		pattern []string
		n       int
	}{{"12", []string{"12", "12", "x"}, 2}, {"1x", []string{"12", "12"}, 0}, {"", []string{"1"}, 0}, {"é", []string{"éa"}, 1}, {"\xff", []string{"�"}, 0}, {"11", []string{"1"}, 0}} {
		if n := fits(c.text, c.pattern); n != c.n {
			t.Errorf("%q in %q: %d", c.text, c.pattern, n)
		}
	}
	for _, c := range []struct {
		text string
		n    int
		stop []string
		at   int
	}{{"hello END", 1, []string{"END"}, 6}, {"hello END", 9, []string{"x", "END", "lo E"}, 3}, {"hello", 5, []string{""}, -1}, {"aab", 1, []string{"ab"}, 1}} {
		if at := stopAt([]byte(c.text), c.n, c.stop); at != c.at {
			t.Errorf("stop %q in %q: %d", c.stop, c.text, at)
		}
	}
	if h := entropy([]float32{1, 1, 1, 1}); h < 1.386 || h > 1.387 {
		t.Errorf("entropy of four equal candidates is %g", h)
	}
}
