package runnertest

import (
	"cmp"
	"context"
	"encoding/binary"
	"math"
	"slices"

	"github.com/weighbridge/weighbridge/runners"
)

// Score implements runners.Model. Prefixes count once in Usage.Decoded.
func (f *Fake) Score(ctx context.Context, r *runners.ScoreRequest) (*runners.ScoreResult, error) {
	n, err := f.begin(ctx)
	if err != nil {
		return nil, err
	}
	if err := r.Check(f.Describe()); err != nil {
		return nil, err
	}
	seqs := make([][]runners.Token, len(r.Sequences))
	for i, s := range r.Sequences {
		seqs[i] = s.Tokens
	}
	out := &runners.ScoreResult{Sequences: make([]runners.SequenceScore, len(seqs)), Usage: f.use(usage(seqs))}
	row := make([]float32, len(vocab.text))
	for i, s := range r.Sequences {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		rd := newReader()
		for j := 0; j <= len(s.Tokens); j++ {
			if j >= s.From && (j < len(s.Tokens) || s.Next) {
				f.predict(rd, row, f.noise(n, i, j))
				actual := runners.None
				if j < len(s.Tokens) {
					actual = s.Tokens[j]
				}
				reduce(&out.Sequences[i], r, row, actual)
			}
			if j < len(s.Tokens) {
				f.read(rd, s.Tokens[j])
			}
		}
	}
	return out, nil
}

func (f *Fake) noise(request int64, item, position int) uint64 {
	if f.o.Noise == 0 {
		return 0
	}
	return mix(uint64(request)<<24^uint64(item), uint64(position)) | 1
}

// reduce appends one prediction in the form that was asked.
func reduce(s *runners.SequenceScore, r *runners.ScoreRequest, row []float32, actual runners.Token) {
	var h, second float64
	for _, x := range row {
		p := math.Exp(float64(x))
		h -= p * float64(x)
		second += p * float64(x) * float64(x)
	}
	lp, rank := float32(0), int32(-1)
	if actual != runners.None {
		lp, rank = row[actual], 0
		for _, x := range row {
			if x > lp {
				rank++
			}
		}
	}
	s.LogProb = append(s.LogProb, lp)
	s.Rank = append(s.Rank, rank)
	s.Entropy = append(s.Entropy, float32(h))
	s.VarLog = append(s.VarLog, float32(max(0, second-h*h)))
	if r.TopK > 0 {
		for _, t := range top(row, r.TopK) {
			s.TopIDs = append(s.TopIDs, t)
			s.TopLog = append(s.TopLog, row[t])
		}
	}
	for _, t := range r.Want {
		s.Want = append(s.Want, row[t])
	}
	if r.Sketch != nil {
		mass := make([]float32, r.Sketch.Buckets)
		for t, x := range row {
			mass[r.Sketch.Bucket(runners.Token(t))] += float32(math.Exp(float64(x)))
		}
		s.Sketch = append(s.Sketch, mass...)
	}
	if r.Rows {
		for _, x := range row {
			s.Rows = binary.LittleEndian.AppendUint16(s.Rows, half(x))
		}
	}
}

// top lists the k largest, ties by id.
func top(row []float32, k int) []runners.Token {
	k = min(k, len(row))
	if k > len(row)/8 {
		ids := make([]runners.Token, len(row))
		for i := range ids {
			ids[i] = runners.Token(i)
		}
		slices.SortFunc(ids, func(a, b runners.Token) int {
			return cmp.Or(cmp.Compare(row[b], row[a]), cmp.Compare(a, b))
		})
		return ids[:k]
	}
	best := make([]runners.Token, 0, k+1)
	for t, x := range row {
		if len(best) == k && x <= row[best[k-1]] {
			continue
		}
		i := len(best)
		for i > 0 && x > row[best[i-1]] {
			i--
		}
		best = slices.Insert(best, i, runners.Token(t))
		best = best[:min(k, len(best))]
	}
	return best
}

// half is the nearest IEEE 754 binary16 of a finite x, large ones clamped.
func half(x float32) uint16 {
	b := math.Float32bits(x)
	sign := uint16(b >> 16 & 0x8000)
	exp := int(b>>23&0xff) - 127 + 15
	frac := b & 0x7fffff
	if exp <= 0 { // subnormal or zero
		if exp < -10 {
			return sign
		}
		shift := uint(14 - exp)
		return sign | uint16((frac|0x800000)>>shift)
	}
	h := (uint32(exp)<<23 | frac) + 0x1000
	if h >= 31<<23 {
		return sign | 0x7bff
	}
	return sign | uint16(h>>13)
}

// usage counts the tokens of sequences, and those left after sharing prefixes.
func usage(seqs [][]runners.Token) runners.Usage {
	sorted := slices.Clone(seqs)
	slices.SortFunc(sorted, slices.Compare)
	var u runners.Usage
	var last []runners.Token
	for _, s := range sorted {
		shared := 0
		for shared < len(s) && shared < len(last) && s[shared] == last[shared] {
			shared++
		}
		u.Asked += len(s)
		u.Decoded += len(s) - shared
		last = s
	}
	return u
}
