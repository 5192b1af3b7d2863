//go:build engine

package llamacpp

// #include "shim.h"
import "C"

import (
	"context"
	"encoding/binary"
	"sync"
	"time"
	"unsafe"

	"github.com/weighbridge/weighbridge/runners"
)

// Score implements runners.Model.
func (m *Model) Score(ctx context.Context, r *runners.ScoreRequest) (*runners.ScoreResult, error) {
	if err := r.Check(&m.info); err != nil {
		return nil, err
	}
	s := newScoring(m, ctx, r)
	release, err := m.acquire(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	w := &walk{trie: newTrie(r.Sequences, m.share), m: s, size: m.batch, seqs: maxSeqs}
	s.t = w.trie
	if err := w.run(); err != nil {
		return nil, err
	}
	return &runners.ScoreResult{Sequences: s.out, Usage: runners.Usage{Asked: s.asked, Decoded: s.decoded}}, nil
}

// scoring is the machine of one request: it decodes batches and reduces rows.
type scoring struct {
	*Model
	ctx            context.Context
	r              *runners.ScoreRequest
	t              *trie
	out            []runners.SequenceScore
	asked, decoded int
	bucket         []uint16 // bucket of each token, with a sketch
}

func newScoring(m *Model, ctx context.Context, r *runners.ScoreRequest) *scoring {
	s := &scoring{Model: m, ctx: ctx, r: r, out: make([]runners.SequenceScore, len(r.Sequences))}
	k := min(r.TopK, m.info.VocabSize)
	for i, q := range r.Sequences {
		s.asked += len(q.Tokens)
		n := q.Predictions()
		o := &s.out[i]
		o.LogProb, o.Entropy, o.VarLog = make([]float32, n), make([]float32, n), make([]float32, n)
		o.Rank = make([]int32, n)
		if k > 0 {
			o.TopIDs, o.TopLog = make([]runners.Token, n*k), make([]float32, n*k)
		}
		o.Want = make([]float32, n*len(r.Want))
		if r.Sketch != nil {
			o.Sketch = make([]float32, n*r.Sketch.Buckets)
		}
		if r.Rows {
			o.Rows = make([]byte, 2*n*m.info.VocabSize)
		}
	}
	if r.Sketch != nil {
		s.bucket = make([]uint16, m.info.VocabSize)
		for t := range s.bucket {
			s.bucket[t] = uint16(r.Sketch.Bucket(runners.Token(t)))
		}
	}
	return s
}

// decode runs the batch and reduces its rows on as many threads as decode has.
// Each row is reduced by one of them alone, so their number changes no bit.
func (s *scoring) decode(b *batch) error {
	if err := s.Model.decode(s.ctx, b); err != nil {
		return err
	}
	s.decoded += b.len()
	rows := make([]int32, 0, b.len())
	for i, n := range b.node {
		if b.out[i] != 0 {
			rows = append(rows, n)
		}
	}
	if len(rows) == 0 {
		return nil
	}
	base := C.wb_logits(s.e)
	begin := time.Now()
	defer func() { s.reduced += time.Since(begin) }()
	part := (len(rows) + s.threads - 1) / s.threads
	errs := make([]error, s.threads)
	var wg sync.WaitGroup
	for t := range s.threads {
		lo, hi := min(t*part, len(rows)), min((t+1)*part, len(rows))
		if lo == hi {
			continue
		}
		wg.Go(func() {
			acc := make([]float64, 1)
			if s.r.Sketch != nil {
				acc = make([]float64, s.r.Sketch.Buckets)
			}
			for i := lo; i < hi && errs[t] == nil; i++ {
				row := (*C.float)(unsafe.Add(unsafe.Pointer(base), i*s.info.VocabSize*4))
				errs[t] = s.reduce(row, rows[i], acc)
			}
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			s.dirty = true
			return err
		}
	}
	return nil
}

// reduce writes what is asked of the row after a node.
func (s *scoring) reduce(row *C.float, node int32, acc []float64) error {
	n := C.int(s.info.VocabSize)
	wants := s.t.want[node]
	first := wants[0]
	var o C.wb_row
	C.wb_reduce(row, n, &o)
	if o.finite == 0 {
		return runners.Refused(runners.CodeEngine, int(first.seq), "the logits after token %d are not finite",
			s.r.Sequences[first.seq].From+int(first.pred)-1)
	}
	logits := unsafe.Slice((*float32)(row), s.info.VocabSize)
	base := float32(o.max) + float32(o.logz)
	logp := func(t runners.Token) float32 { return min(logits[t]-base, 0) }
	for _, w := range wants {
		out, q := &s.out[w.seq], s.r.Sequences[w.seq]
		out.Entropy[w.pred], out.VarLog[w.pred] = float32(o.entropy), float32(o.varlog)
		out.Rank[w.pred] = -1
		if j := q.From + int(w.pred); j < len(q.Tokens) {
			out.LogProb[w.pred] = logp(q.Tokens[j])
			out.Rank[w.pred] = int32(C.wb_rank(row, n, C.float(logits[q.Tokens[j]])))
		}
		for k, t := range s.r.Want {
			out.Want[int(w.pred)*len(s.r.Want)+k] = logp(t)
		}
	}
	f, p := &s.out[first.seq], int(first.pred)
	if k := min(s.r.TopK, s.info.VocabSize); k > 0 {
		ids, logs := f.TopIDs[p*k:(p+1)*k], f.TopLog[p*k:(p+1)*k]
		C.wb_topk(row, n, C.int(k), (*C.int32_t)(unsafe.SliceData(ids)), (*C.float)(unsafe.SliceData(logs)))
		for i := range logs {
			logs[i] = min(logs[i]-base, 0)
		}
		for _, w := range wants[1:] {
			copy(s.out[w.seq].TopIDs[int(w.pred)*k:], ids)
			copy(s.out[w.seq].TopLog[int(w.pred)*k:], logs)
		}
	}
	if s.r.Sketch != nil {
		k := s.r.Sketch.Buckets
		v := f.Sketch[p*k : (p+1)*k]
		C.wb_sketch(row, n, o.max, o.logz, (*C.uint16_t)(unsafe.SliceData(s.bucket)), C.int(k),
			(*C.double)(unsafe.SliceData(acc)), (*C.float)(unsafe.SliceData(v)))
		for _, w := range wants[1:] {
			copy(s.out[w.seq].Sketch[int(w.pred)*k:], v)
		}
	}
	if s.r.Rows {
		half := make([]uint16, s.info.VocabSize)
		if C.wb_half(row, n, (*C.uint16_t)(unsafe.SliceData(half))) == 0 {
			return runners.Refused(runners.CodeEngine, int(first.seq), "a logit after token %d does not fit binary16",
				s.r.Sequences[first.seq].From+p-1)
		}
		k := 2 * len(half)
		v := f.Rows[p*k : (p+1)*k]
		for i, h := range half {
			binary.LittleEndian.PutUint16(v[2*i:], h)
		}
		for _, w := range wants[1:] {
			copy(s.out[w.seq].Rows[int(w.pred)*k:], v)
		}
	}
	return nil
}
