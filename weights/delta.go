package weights

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"math"

	"github.com/weighbridge/weighbridge/weights/quant"
)

// TensorDelta compares one tensor of the pair. W is the baseline's tensor, ΔW
// what the candidate adds to it, adapters included on both sides. Values that
// are NaN or infinite on either side are counted and left out of every figure.
type TensorDelta struct {
	Name string `json:"name"`
	TensorName
	Baseline      string   `json:"baseline"` // the baseline's tensor; another name where its head is tied
	Shape         []uint64 `json:"shape"`    // ggml order
	BaselineType  string   `json:"baseline_type"`
	CandidateType string   `json:"candidate_type"`
	SameBits      bool     `json:"same_bits"`  // stored bytes equal, no update by an adapter
	BytesOnly     bool     `json:"bytes_only"` // no decoder for the type: only SameBits is known

	Norm        float64 `json:"norm"`            // ‖W‖_F
	DeltaNorm   float64 `json:"delta_norm"`      // ‖ΔW‖_F
	Relative    float64 `json:"relative_change"` // ‖ΔW‖_F / ‖W‖_F; over the candidate's norm where W is zero
	Cosine      float64 `json:"cosine"`          // of W and W+ΔW as vectors; 1 where both are zero, 0 where one is
	MaxAbs      float64 `json:"max_abs_delta"`
	Differing   int64   `json:"differing"` // values that differ
	Values      int64   `json:"values"`
	RowsChanged int64   `json:"rows_changed"` // rows with a value that differs or is not finite
	Rows        int64   `json:"rows"`
	// RowsPermuted: the changed rows are the baseline's rows, bit for bit, in
	// another order, as after swapping tokens or skipping the converter's
	// reordering of attention heads.
	RowsPermuted bool `json:"rows_permuted"`
	// RowsBaseline and RowsCandidate count the last rows of a table of tokens that
	// the other side lacks. No figure is of them.
	RowsBaseline  int64 `json:"rows_baseline"`
	RowsCandidate int64 `json:"rows_candidate"`
	LowRank       int   `json:"low_rank"`      // bound on rank(ΔW) known from adapters, 0 where none is known
	BadBaseline   int64 `json:"bad_baseline"`  // NaN or infinite values
	BadCandidate  int64 `json:"bad_candidate"` // NaN or infinite values
	FirstBad      int64 `json:"first_bad"`     // index of the first such value, -1 where none

	Requant Requant `json:"requant"`
	// Under is ΔW in steps of the baseline's own blocks, where it has blocks, no
	// adapter acts and the types differ: within the bounds of rounding, the
	// baseline cannot tell the candidate from the model it was made of.
	Under StepError `json:"under"`
}

// StepError is an error in steps, a step being the distance between two
// neighbouring values that a block can express. Rounding alone gives a largest
// error of ½ and a root mean square of 1/√12 ≈ 0.289.
type StepError struct {
	Max    float64 `json:"max"`
	RMS    float64 `json:"rms"`
	Beyond int64   `json:"beyond"` // values with an error above ½+slack = 1 step
}

// Requant says whether a candidate tensor is the baseline's tensor in another
// number format.
type Requant struct {
	// Checked is false where the question does not arise: equal bits, or an
	// adapter.
	Checked bool `json:"checked"`
	OK      bool `json:"ok"`      // settled, or within bounds that rounding explains
	Settled bool `json:"settled"` // a rounding of the baseline, to the bit or as of quant.Fit
	Exact   bool `json:"exact"`   // equal to the bit
	// Unequal of Blocks have other bits than quant.Quantize gives.
	Blocks  int64 `json:"blocks"`
	Unequal int64 `json:"unequal"`
	// Excess is the squared error of the unequal blocks over that of plain
	// rounding, 0 where there is none.
	Excess float64 `json:"excess"`
	// Error is w_c-w_b in steps of the candidate's blocks, where they differ.
	Error StepError `json:"error"`
}

// Bounds on the error of a tensor whose encoder chose codes otherwise than to
// the nearest. On Gaussian rows with outliers and a block scale that
// varies by e⁶, ggml's encoders of Q4_K, Q5_K and Q6_K gave an RMS of 0.258,
// 0.274 and 0.268 steps, put 5e-5, 5e-4 and 1e-4 of the values beyond one step,
// and erred by 3.6 steps at most; on SmolLM2-135M by 4.3. An RMS above 1/√12
// needs something other than rounding.
const (
	slack      = 0.5
	maxBeyond  = 2e-3
	maxRMSStep = 0.30
	maxSteps   = 8
)

// accumulator sums one tensor's figures in file order. Products are converted
// explicitly, which keeps compilers from fusing them: the same bits everywhere.
type accumulator struct {
	d             TensorDelta
	w2, c2, wc    float64
	d2            float64
	stored, adapt bool // stored bytes differ; an adapter acts
	rowsB, rowsC  multiset
	error, under  stepSum
	fit           quant.Fit
	want          []byte
}

// multiset is a sum of hashes, equal for equal multisets.
type multiset [4]uint64

func (m *multiset) add(row []byte) {
	h := sha256.Sum256(row)
	for i := range m {
		m[i] += binary.LittleEndian.Uint64(h[8*i:])
	}
}

// stepSum collects a StepError.
type stepSum struct {
	e    StepError
	sum  float64
	n    int64
	step []float32
}

// add compares b with c in steps of the blocks raw.
func (s *stepSum) add(t quant.Type, raw []byte, b, c []float32) error {
	s.step = sized(s.step, len(b))
	if err := quant.Steps(t, s.step, raw); err != nil {
		return err
	}
	for i, step := range s.step {
		d := math.Abs(float64(c[i]) - float64(b[i]))
		switch {
		case d-d != 0: // counted as bad already
		case step == 0 && d > 0:
			s.e.Beyond++
		case step > 0:
			e := d / float64(step)
			s.sum += float64(e * e)
			s.n++
			s.e.Max = max(s.e.Max, e)
			if e > 0.5+slack {
				s.e.Beyond++
			}
		}
	}
	return nil
}

func (s *stepSum) result() StepError {
	if s.n > 0 {
		s.e.RMS = math.Sqrt(s.sum / float64(s.n))
	}
	return s.e
}

// rounding reports whether e can come from rounding n values.
func (e StepError) rounding(n int64) bool {
	return float64(e.Beyond) <= maxBeyond*float64(n) && e.RMS <= maxRMSStep && e.Max <= maxSteps
}

// delta reads the pair once.
func (p *pair) delta(ctx context.Context, name string) (TensorDelta, error) {
	a := &accumulator{adapt: p.upB != nil || p.upC != nil}
	a.d = TensorDelta{
		Name: name, TensorName: ParseTensorName(name), Baseline: p.b.Name,
		Shape: p.c.Shape, BaselineType: p.b.Type.String(), CandidateType: p.c.Type.String(),
		Values: p.c.Values(), Rows: int64(p.c.Rows()), FirstBad: -1, RowsBaseline: p.moreB, RowsCandidate: p.moreC,
	}
	for _, up := range []*LowRank{p.upB, p.upC} {
		if up != nil {
			a.d.LowRank += up.Rank
		}
	}
	if !a.adapt {
		a.d.Requant.Checked = true
		a.d.Requant.Blocks = a.d.Values / int64(p.c.Type.BlockValues())
	}
	err := p.runs(ctx, func(r *run) error {
		a.values(p, r)
		if a.adapt || (r.sameBytes && p.b.Type == p.c.Type) {
			return nil
		}
		return a.requant(p, r)
	})
	a.finish(p)
	return a.d, err
}

func (a *accumulator) values(p *pair, r *run) {
	a.stored = a.stored || !r.sameBytes
	cols := p.b.Cols()
	for row := range r.rows {
		base := int64(r.first+row) * int64(cols)
		if r.sameBytes && !a.adapt {
			a.sameRow(base, r.b[row*cols:(row+1)*cols])
			continue
		}
		before := a.d.Differing + a.d.BadBaseline + a.d.BadCandidate
		if a.adapt {
			for i := row * cols; i < (row+1)*cols; i++ {
				a.value(base+int64(i-row*cols), r, i)
			}
		} else {
			a.row(base, r.b[row*cols:(row+1)*cols], r.c[row*cols:(row+1)*cols])
		}
		if before == a.d.Differing+a.d.BadBaseline+a.d.BadCandidate {
			continue
		}
		a.d.RowsChanged++
		if !a.adapt && p.b.Type == p.c.Type {
			n := p.b.RowBytes()
			a.rowsB.add(r.rawB[row*n : (row+1)*n])
			a.rowsC.add(r.rawC[row*n : (row+1)*n])
		}
	}
}

// value is for values that adapters change.
func (a *accumulator) value(at int64, r *run, i int) {
	w, c, d := r.at(i)
	if d-d != 0 {
		a.bad(at, w, c)
		return
	}
	a.w2 += float64(w * w)
	a.c2 += float64(c * c)
	a.wc += float64(w * c)
	if d != 0 {
		a.d2 += float64(d * d)
		a.d.Differing++
		a.d.MaxAbs = max(a.d.MaxAbs, math.Abs(d))
	}
}

// row is value for a row of stored values, with the sums in registers.
func (a *accumulator) row(base int64, b, c []float32) {
	w2, c2, wc, d2, top := a.w2, a.c2, a.wc, a.d2, a.d.MaxAbs
	differing := int64(0)
	c = c[:len(b)]
	for i, v := range b {
		w, x := float64(v), float64(c[i])
		d := x - w
		if d-d != 0 {
			a.bad(base+int64(i), w, x)
			continue
		}
		w2 += float64(w * w)
		c2 += float64(x * x)
		wc += float64(w * x)
		if d != 0 {
			d2 += float64(d * d)
			differing++
			if d < 0 {
				d = -d
			}
			if d > top {
				top = d
			}
		}
	}
	a.w2, a.c2, a.wc, a.d2, a.d.MaxAbs = w2, c2, wc, d2, top
	a.d.Differing += differing
}

// sameRow is what is left to do for a row of equal bits.
func (a *accumulator) sameRow(base int64, values []float32) {
	var sum float64
	for i, v := range values {
		w := float64(v)
		if w-w != 0 {
			a.bad(base+int64(i), w, w)
			continue
		}
		sum += float64(w * w)
	}
	a.w2 += sum
	a.c2 += sum
	a.wc += sum
}

func (a *accumulator) bad(i int64, w, c float64) {
	if a.d.FirstBad < 0 {
		a.d.FirstBad = i
	}
	if w-w != 0 {
		a.d.BadBaseline++
	}
	if c-c != 0 {
		a.d.BadCandidate++
	}
}

// requant compares the candidate's blocks with the requantised baseline.
func (a *accumulator) requant(p *pair, r *run) error {
	t := p.c.Type
	if t.BlockValues() == 1 { // one value, one encoding
		want := r.rawB
		if t != p.b.Type {
			a.want = sized(a.want, len(r.rawC))
			want = a.want
			if err := quant.Quantize(t, want, r.b); err != nil {
				return err
			}
		}
		a.d.Requant.Unequal += unequal(want, r.rawC, t.BlockBytes())
	} else {
		before := a.fit.Unequal
		if err := a.fit.Add(t, r.rawC, r.b); err != nil {
			return err
		}
		if before < a.fit.Unequal { // else there is nothing but the format's own rounding
			if err := a.error.add(t, r.rawC, r.b, r.c); err != nil {
				return err
			}
		}
	}
	if t != p.b.Type && p.b.Type.BlockValues() > 1 {
		return a.under.add(p.b.Type, r.rawB, r.b, r.c)
	}
	return nil
}

// unequal counts the runs of n bytes that differ.
func unequal(a, b []byte, n int) (count int64) {
	b = b[:len(a)]
	for i := 0; i+n <= len(a); i += n {
		if n == 2 {
			if a[i] != b[i] || a[i+1] != b[i+1] {
				count++
			}
		} else if !bytes.Equal(a[i:i+n], b[i:i+n]) {
			count++
		}
	}
	return count
}

func sized[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n)
	}
	return s[:n]
}

func (a *accumulator) finish(p *pair) {
	d := &a.d
	same := !a.stored && !a.adapt && p.moreB+p.moreC == 0
	d.SameBits = same && p.b.Type == p.c.Type
	d.Norm, d.DeltaNorm = math.Sqrt(a.w2), math.Sqrt(a.d2)
	switch {
	case a.w2 > 0:
		d.Relative = d.DeltaNorm / d.Norm
	case a.c2 > 0:
		d.Relative = d.DeltaNorm / math.Sqrt(a.c2)
	}
	switch {
	case a.w2 > 0 && a.c2 > 0:
		d.Cosine = min(1, a.wc/math.Sqrt(a.w2)/math.Sqrt(a.c2))
	case a.w2 == a.c2:
		d.Cosine = 1
	}
	q := &d.Requant
	if d.SameBits {
		*q = Requant{}
		return
	}
	q.Error, d.Under = a.error.result(), a.under.result()
	d.RowsPermuted = d.RowsChanged > 1 && !a.adapt && p.b.Type == p.c.Type && a.rowsB == a.rowsC
	if !q.Checked {
		return
	}
	if p.c.Type.BlockValues() > 1 {
		q.Unequal = a.fit.Unequal
		if e := a.fit.Error / a.fit.Rounding; e-e == 0 {
			q.Excess = e
		}
	}
	q.Exact = q.Unequal == 0
	// In the baseline's own type rounding gives back what it was given.
	other := p.b.Type != p.c.Type
	q.Settled = q.Exact || other && p.c.Type.BlockValues() > 1 && a.fit.Settled()
	q.OK = q.Settled || other && p.mayRound(q) && q.Error.rounding(d.Values)
	if p.moreB+p.moreC > 0 {
		q.OK, q.Exact, q.Settled = false, false, false
	}
}

// mayRound reports whether a candidate with codes that are not the nearest may
// still be the baseline, rounded by another encoder.
func (p *pair) mayRound(q *Requant) bool {
	switch t := p.c.Type; {
	case t.Searched():
		return true
	case t.BlockValues() > 1 && t != quant.Q8_0:
		// An importance matrix changes nearly every block. Few unequal blocks
		// are blocks that were changed afterwards.
		return 2*q.Unequal > q.Blocks
	}
	return false // Q8_0 and the float types have one encoding
}
