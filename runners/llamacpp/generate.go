//go:build engine

package llamacpp

// #include "shim.h"
import "C"

import (
	"context"
	"math/rand/v2"
	"slices"
	"unsafe"

	"github.com/weighbridge/weighbridge/runners"
)

// Generate implements runners.Model. As many prompts as the cache holds run
// side by side, in order; one that ends makes room for the next.
func (m *Model) Generate(ctx context.Context, r *runners.GenerateRequest) (*runners.GenerateResult, error) {
	if err := r.Check(&m.info); err != nil {
		return nil, err
	}
	g := &generation{Model: m, ctx: ctx, r: r, out: make([]runners.Generation, len(r.Prompts)), head: m.headLen(r.Prompts)}
	pieces, err := m.pieces()
	if err != nil {
		return nil, err
	}
	g.pieces = pieces
	g.masks = masks{pattern: r.Pattern, pieces: pieces, known: map[int][]runners.Token{}}
	if r.IgnoreEOS {
		for t := range m.info.VocabSize {
			if m.eog(runners.Token(t)) {
				g.banned = append(g.banned, runners.Token(t))
			}
		}
	}
	release, err := m.acquire(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	if err := g.run(); err != nil {
		return nil, err
	}
	return &runners.GenerateResult{Generations: g.out, Usage: runners.Usage{Asked: g.asked, Decoded: g.decoded}}, nil
}

// headLen is the length of what all prompts begin with, short of the last
// token of any. It stays in the cache for the whole request.
func (m *Model) headLen(prompts [][]runners.Token) int {
	if !m.share || len(prompts) < 2 {
		return 0
	}
	first := slices.MinFunc(prompts, slices.Compare)
	last := slices.MaxFunc(prompts, slices.Compare)
	n := 0
	for n < len(first)-1 && n < len(last)-1 && first[n] == last[n] {
		n++
	}
	return n
}

// generation is one Generate request under way.
type generation struct {
	*Model
	ctx            context.Context
	r              *runners.GenerateRequest
	out            []runners.Generation
	head           int // tokens that all prompts share; sequence trunk holds them
	next           int // first prompt that has not begun
	active         []*slot
	free           []int32 // sequences
	room           int     // cells
	pieces         []string
	masks          masks
	banned         []runners.Token
	asked, decoded int
	b              batch
}

// slot is a prompt that is being continued.
type slot struct {
	item   int
	seq    int32
	pos    int32 // position of the next token
	cells  int   // that it may come to need
	place  int   // characters of the pattern that are there
	last   runners.Token
	random *rand.ChaCha8
	done   bool
}

func (g *generation) run() error {
	for s := int32(maxSeqs - 1); s > trunk; s-- {
		g.free = append(g.free, s)
	}
	g.room = g.cells - g.head
	for p := 0; p < g.head; p++ {
		g.b.add(g.r.Prompts[0][p], int32(p), false, -1, trunk)
		if g.b.len() == g.batch || p == g.head-1 {
			if err := g.flush(nil); err != nil {
				return err
			}
		}
	}
	for {
		if err := g.admit(); err != nil {
			return err
		}
		if len(g.active) == 0 {
			return nil
		}
		for lo := 0; lo < len(g.active); lo += g.batch {
			part := g.active[lo:min(lo+g.batch, len(g.active))]
			for _, s := range part {
				g.b.add(s.last, s.pos, true, -1, s.seq)
				s.pos++
			}
			if err := g.flush(part); err != nil {
				return err
			}
		}
		g.retire()
	}
}

// admit begins prompts while there is room, decodes them with what they share,
// and draws the first token of each.
func (g *generation) admit() error {
	for g.next < len(g.r.Prompts) && len(g.free) > 0 {
		var fresh []*slot
		for g.next < len(g.r.Prompts) && len(g.free) > 0 {
			p := g.r.Prompts[g.next]
			need := min(len(p)+g.r.MaxTokens, g.info.ContextLength) - g.head
			if need > g.room {
				break
			}
			s := &slot{item: g.next, seq: g.free[len(g.free)-1], pos: int32(len(p)), cells: need,
				random: stream(g.r.Sampling.Seed, g.next)}
			g.free = g.free[:len(g.free)-1]
			g.room -= need
			g.next++
			g.asked += len(p)
			fresh = append(fresh, s)
			g.out[s.item] = runners.Generation{Tokens: []runners.Token{}, Text: []byte{}, LogProb: []float32{}}
		}
		if len(fresh) == 0 {
			return nil
		}
		if err := g.prefill(fresh); err != nil {
			return err
		}
		g.active = append(g.active, fresh...)
		g.retire()
	}
	return nil
}

// prefill decodes prompts beyond the head; a token that several of them share
// is decoded once, in all of their sequences.
func (g *generation) prefill(fresh []*slot) error {
	seqs := make([]runners.Sequence, len(fresh))
	for i, s := range fresh {
		p := g.r.Prompts[s.item][g.head:]
		seqs[i] = runners.Sequence{Tokens: p, From: len(p), Next: true}
		if g.head > 0 {
			g.fork(trunk, s.seq)
		}
	}
	t := newTrie(seqs, g.share)
	// Which prompts hold a node: those that end in its subtree.
	members := make([][]int32, len(t.token))
	for n := len(t.token) - 1; n >= 0; n-- {
		for _, w := range t.want[int32(n)] {
			members[n] = append(members[n], w.seq)
		}
		for c := int32(n) + 1; c < t.end[n]; c = t.end[c] {
			members[n] = append(members[n], members[c]...)
		}
		slices.Sort(members[n])
	}
	for n := range t.token {
		ids := make([]int32, len(members[n]))
		for i, f := range members[n] {
			ids[i] = fresh[f].seq
		}
		out := t.want[int32(n)]
		g.b.add(t.token[n], t.pos[n]+int32(g.head), len(out) > 0, int32(n), ids...)
		if g.b.len() == g.batch || n == len(t.token)-1 {
			if err := g.flushPrompts(t, fresh); err != nil {
				return err
			}
		}
	}
	return nil
}

// flushPrompts decodes the pending batch and draws for every prompt that ends
// in it. Prompts that are equal share a row.
func (g *generation) flushPrompts(t *trie, fresh []*slot) error {
	nodes := slices.Clone(g.b.node)
	outs := slices.Clone(g.b.out)
	if err := g.decode1(); err != nil {
		return err
	}
	row := 0
	for i, n := range nodes {
		if outs[i] == 0 {
			continue
		}
		for _, w := range t.want[n] {
			if err := g.draw(fresh[w.seq], row); err != nil {
				return err
			}
		}
		row++
	}
	return nil
}

// flush decodes the pending batch, whose rows belong to slots in order.
func (g *generation) flush(slots []*slot) error {
	if err := g.decode1(); err != nil {
		return err
	}
	for i, s := range slots {
		if err := g.draw(s, i); err != nil {
			return err
		}
	}
	return nil
}

func (g *generation) decode1() error {
	if err := g.decode(g.ctx, &g.b); err != nil {
		return err
	}
	g.decoded += g.b.len()
	g.b.reset()
	return nil
}

// retire frees what ended slots held.
func (g *generation) retire() {
	g.active = slices.DeleteFunc(g.active, func(s *slot) bool {
		if s.done {
			C.wb_seq_rm(g.e, C.int(s.seq), 0)
			g.free = append(g.free, s.seq)
			g.room += s.cells
		}
		return s.done
	})
}

// draw chooses the next token of a slot from a row and ends the slot where it
// must.
func (g *generation) draw(s *slot, row int) error {
	n := C.int(g.info.VocabSize)
	p := (*C.float)(unsafe.Add(unsafe.Pointer(C.wb_logits(g.e)), row*g.info.VocabSize*4))
	logits := unsafe.Slice((*float32)(p), g.info.VocabSize)
	out := &g.out[s.item]
	var o C.wb_row
	C.wb_reduce(p, n, &o)
	if o.finite == 0 {
		g.dirty = true
		return runners.Refused(runners.CodeEngine, s.item, "the logits after %d tokens are not finite", s.pos)
	}
	base := float32(o.max) + float32(o.logz)

	var t runners.Token
	if len(g.r.Pattern) > 0 {
		ids := g.masks.at(s.place)
		if len(ids) == 0 {
			s.end(out, runners.StopPattern)
			return nil
		}
		vals := make([]float32, len(ids))
		for i, id := range ids {
			vals[i] = logits[id]
		}
		out.Allowed = append(out.Allowed, float32(entropy(vals)))
		k := g.sample(s, (*C.float)(unsafe.SliceData(vals)), len(vals), vals[argmax(vals)])
		t = ids[k]
	} else if len(g.banned) > 0 {
		saved := make([]float32, len(g.banned))
		for i, id := range g.banned {
			saved[i] = logits[id]
			logits[id] = -1e30 // finite, so that the reductions hold
		}
		top := logits[C.wb_argmax(p, n)]
		t = runners.Token(g.sample(s, p, len(logits), top))
		for i, id := range g.banned { // equal prompts draw from the same row
			logits[id] = saved[i]
		}
	} else {
		t = runners.Token(g.sample(s, p, len(logits), float32(o.max)))
		if g.eog(t) {
			s.end(out, runners.StopEnd)
			return nil
		}
	}

	g.asked++
	text := g.pieces[t]
	out.Tokens = append(out.Tokens, t)
	out.LogProb = append(out.LogProb, min(logits[t]-base, 0))
	out.Text = append(out.Text, text...)
	s.last = t
	if len(g.r.Pattern) > 0 {
		if s.place += fits(text, g.r.Pattern[s.place:]); s.place == len(g.r.Pattern) {
			s.end(out, runners.StopPattern)
			return nil
		}
	}
	if at := stopAt(out.Text, len(text), g.r.Stop); at >= 0 {
		out.Text = out.Text[:at]
		s.end(out, runners.StopString)
		return nil
	}
	if len(out.Tokens) == g.r.MaxTokens || int(s.pos)+1 >= g.info.ContextLength {
		s.end(out, runners.StopLength)
	}
	return nil
}

func (s *slot) end(out *runners.Generation, why string) {
	out.Stop = why
	s.done = true
}

func argmax(v []float32) int {
	best := 0
	for i, x := range v {
		if x > v[best] {
			best = i
		}
	}
	return best
}

// sample gives an index into n logits whose largest is top.
func (g *generation) sample(s *slot, p *C.float, n int, top float32) int {
	q := g.r.Sampling
	if q.Temperature == 0 {
		return int(C.wb_argmax(p, C.int(n)))
	}
	u := uniform(s.random)
	cut := q.TopP > 0 && q.TopP < 1
	if (q.TopK == 0 || q.TopK >= n) && !cut {
		return int(C.wb_draw(p, C.int(n), C.float(top), C.float(1/q.Temperature), C.double(u)))
	}
	// Top-p alone seldom needs more than a few candidates: look at more until
	// their mass suffices.
	k, all := min(64, n), float64(-1)
	if q.TopK > 0 {
		k = min(q.TopK, n)
	} else {
		all = float64(C.wb_mass(p, C.int(n), C.float(top), C.float(1/q.Temperature)))
	}
	for {
		ids, vals := make([]runners.Token, k), make([]float32, k)
		C.wb_topk(p, C.int(n), C.int(k), (*C.int32_t)(unsafe.SliceData(ids)), (*C.float)(unsafe.SliceData(vals)))
		keep, enough := nucleus(vals, q.Temperature, q.TopP, all)
		if enough || q.TopK > 0 || k == n {
			return int(ids[pick(vals[:keep], q.Temperature, u)])
		}
		k = min(k*8, n)
	}
}

// masks finds the tokens that fit the rest of a pattern, once per place.
type masks struct {
	pattern []string
	pieces  []string
	known   map[int][]runners.Token
}

func (m *masks) at(place int) []runners.Token {
	if ts, ok := m.known[place]; ok {
		return ts
	}
	var ts []runners.Token
	for t, s := range m.pieces {
		if fits(s, m.pattern[place:]) > 0 {
			ts = append(ts, runners.Token(t))
		}
	}
	m.known[place] = ts
	return ts
}
