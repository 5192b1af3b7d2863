package llamacpp

import (
	"slices"

	"github.com/weighbridge/weighbridge/runners"
)

// trie holds token sequences in pre-order: the descendants of node i are the
// nodes i+1 … end[i]-1, and those of a node come in ascending order of token.
type trie struct {
	token  []runners.Token
	pos    []int32 // depth, 0 for a first token
	end    []int32
	leaves []int32 // sequences that are needed to cover the subtree
	// want[i] lists what is asked of the prediction after node i.
	want map[int32][]want
}

// want is prediction j, counted from Sequence.From, of a sequence.
type want struct{ seq, pred int32 }

// newTrie builds the trie of the tokens that must be decoded: the last token of
// a sequence only where its Next is asked, and nothing where no prediction is.
// Without share every sequence has nodes of its own (models whose state cannot
// be cut back).
func newTrie(seqs []runners.Sequence, share bool) *trie {
	t := &trie{want: map[int32][]want{}}
	paths := make([][]runners.Token, len(seqs))
	order := make([]int, 0, len(seqs))
	for i, s := range seqs {
		n := len(s.Tokens) - 1
		if s.Next {
			n++
		}
		if s.Predictions() > 0 {
			paths[i] = s.Tokens[:n]
			order = append(order, i)
		}
	}
	// Sorted, a sequence shares most with the one before it, and the geometry
	// does not depend on the order of the request.
	slices.SortStableFunc(order, func(a, b int) int { return slices.Compare(paths[a], paths[b]) })
	var last []runners.Token
	var stack []int32 // nodes of last
	closeTo := func(depth int) {
		for _, n := range stack[depth:] {
			t.end[n] = int32(len(t.token))
		}
		stack = stack[:depth]
	}
	for _, i := range order {
		p := paths[i]
		k := 0
		if share {
			for k < len(p) && k < len(last) && p[k] == last[k] {
				k++
			}
		}
		closeTo(k)
		for j := k; j < len(p); j++ {
			stack = append(stack, int32(len(t.token)))
			t.token = append(t.token, p[j])
			t.pos = append(t.pos, int32(j))
			t.end = append(t.end, 0)
		}
		for j := range seqs[i].Predictions() {
			n := stack[seqs[i].From+j-1]
			t.want[n] = append(t.want[n], want{int32(i), int32(j)})
		}
		last = p
	}
	closeTo(0)
	t.leaves = make([]int32, len(t.token))
	for n := len(t.token) - 1; n >= 0; n-- {
		if t.end[n] == int32(n)+1 {
			t.leaves[n] = 1
		}
		for c := int32(n) + 1; c < t.end[n]; c = t.end[c] {
			t.leaves[n] += t.leaves[c]
		}
	}
	return t
}

// batch is one call of llama_decode.
type batch struct {
	token []runners.Token
	pos   []int32
	nseq  []int32 // sequences of each token
	seq   []int32 // all of them, concatenated
	out   []int8  // 1 where the row of logits is wanted
	node  []int32 // trie node of each token
}

func (b *batch) len() int { return len(b.token) }

func (b *batch) reset() {
	b.token, b.pos, b.nseq, b.seq, b.out, b.node = b.token[:0], b.pos[:0], b.nseq[:0], b.seq[:0], b.out[:0], b.node[:0]
}

func (b *batch) add(token runners.Token, pos int32, out bool, node int32, seqs ...int32) {
	b.token, b.pos, b.node = append(b.token, token), append(b.pos, pos), append(b.node, node)
	b.nseq, b.seq = append(b.nseq, int32(len(seqs))), append(b.seq, seqs...)
	o := int8(0)
	if out {
		o = 1
	}
	b.out = append(b.out, o)
}

// machine is what a walk drives.
type machine interface {
	decode(b *batch) error
	// fork makes sequence to, which is empty, hold what sequence from holds.
	fork(from, to int32)
	// cut removes positions ≥ pos from a sequence.
	cut(seq, pos int32) error
	// clear empties all sequences.
	clear()
}

// trunk is the sequence that holds the path from the root to the current node.
const trunk = 0

// walk decodes every node once. Subtrees of at most size nodes are packed into
// batches, each leaf in a sequence of its own, a shared node in all of theirs;
// of a larger one the unbranched path is decoded onto the trunk, its children
// are walked, and the trunk is cut back. So the cache never holds more than one
// path and one batch, and attention never spans more.
type walk struct {
	*trie
	m    machine
	size int // tokens per batch
	seqs int // sequences, the trunk among them
	b    batch
	used int32 // sequences above the trunk that the pending batch uses
}

func (w *walk) run() error { return w.siblings(0, int32(len(w.token)), 0) }

// siblings walks the subtrees in [lo,hi), whose parents the trunk holds.
func (w *walk) siblings(lo, hi, pos int32) error {
	for i := lo; i < hi; i = w.end[i] {
		n, leaves := w.end[i]-i, w.leaves[i]
		if int(n) <= w.size && int(leaves) < w.seqs {
			if w.b.len()+int(n) > w.size || int(w.used+leaves) >= w.seqs {
				if err := w.flush(); err != nil {
					return err
				}
			}
			w.pack(i)
			continue
		}
		if err := w.flush(); err != nil {
			return err
		}
		j := i
		for {
			w.b.add(w.token[j], w.pos[j], len(w.want[j]) > 0, j, trunk)
			if w.b.len() == w.size {
				if err := w.flush(); err != nil {
					return err
				}
			}
			if j++; j >= w.end[i] || w.end[j] != w.end[i] {
				break // end of the path, or more than one child
			}
		}
		if err := w.flush(); err != nil {
			return err
		}
		if err := w.siblings(j, w.end[i], w.pos[j-1]+1); err != nil {
			return err
		}
		if err := w.m.cut(trunk, pos); err != nil {
			return err
		}
	}
	return w.flush()
}

// pack adds the subtree of i to the pending batch.
func (w *walk) pack(i int32) {
	first := w.used + 1
	if w.pos[i] > 0 { // else the trunk is empty
		for s := first; s < first+w.leaves[i]; s++ {
			w.m.fork(trunk, s)
		}
	}
	w.used += w.leaves[i]
	next := first
	ids := make([]int32, 0, w.leaves[i])
	for n := i; n < w.end[i]; n++ {
		// The leaves below n are numbered from the next unseen leaf on, because
		// nodes and leaves are both met in pre-order.
		ids = ids[:0]
		for s := next; s < next+w.leaves[n]; s++ {
			ids = append(ids, s)
		}
		w.b.add(w.token[n], w.pos[n], len(w.want[n]) > 0, n, ids...)
		if w.end[n] == n+1 {
			next++
		}
	}
}

// flush decodes the pending batch and forgets its leaves.
func (w *walk) flush() error {
	if w.b.len() == 0 {
		return nil
	}
	if err := w.m.decode(&w.b); err != nil {
		return err
	}
	if w.used > 0 && w.b.pos[0] == 0 {
		w.m.clear()
	} else {
		for s := int32(1); s <= w.used; s++ {
			if err := w.m.cut(s, 0); err != nil {
				return err
			}
		}
	}
	w.b.reset()
	w.used = 0
	return nil
}
