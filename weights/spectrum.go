package weights

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"

	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/blas64"
	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/mat"
)

// SpectrumOptions configures DeltaSpectrum. Zero fields mean 8, 8 and 1; a
// negative Power means none.
type SpectrumOptions struct {
	K          int    // singular values wanted
	Oversample int    // extra random directions
	Power      int    // power iterations, each reading the tensor twice more
	Seed       uint64 // of the random directions
}

// Spectrum holds the leading singular triplets of ΔW, a matrix that maps an
// input of Cols values to an output of Rows values.
type Spectrum struct {
	Name      string      `json:"name"`
	Rows      int         `json:"rows"`
	Cols      int         `json:"cols"`
	Exact     bool        `json:"exact"` // from adapters' factors, not estimated
	Sigma     []float64   `json:"sigma"` // descending, at most K, without trailing zeros
	Frobenius float64     `json:"frobenius"`
	Left      [][]float64 `json:"-"` // per Sigma, unit vector of length Rows: what ΔW writes
	Right     [][]float64 `json:"-"` // per Sigma, unit vector of length Cols: what ΔW reads
}

const (
	// negligible is the part of the largest singular value below which one is
	// the rounding of float32 data.
	negligible = 1e-7
	// dependent is the part of a column's norm below which what is left of it
	// is the rounding of float64 sums.
	dependent = 1e-12
)

// DeltaSpectrum returns the leading singular values and vectors of ΔW for one
// two-dimensional tensor: exact where ΔW is known to be of low rank from
// adapters, else by a seeded randomised range finder with power iterations
// (Halko, Martinsson, Tropp 2011, algorithms 4.4 and 5.1), which reads the rows
// 2+2·Power times and holds Oversample+K vectors of each side. The largest
// entry of each left vector is positive. NaN and infinite values count as 0.
func DeltaSpectrum(ctx context.Context, baseline, candidate *Model, name string, o SpectrumOptions) (*Spectrum, error) {
	o = o.withDefaults()
	p, err := newPair(ctx, baseline, candidate, name)
	if err != nil {
		return nil, err
	}
	if len(p.b.Shape) != 2 {
		return nil, fmt.Errorf("tensor %q: a spectrum needs 2 dimensions, it has %d: %w", name, len(p.b.Shape), ErrUnsupported)
	}
	s := &Spectrum{Name: name, Rows: p.b.Rows(), Cols: p.b.Cols()}
	if l, r, ok := p.factors(); ok {
		s.Exact = true
		s.exact(l, r, o.K)
		return s, nil
	}
	return s, s.estimate(ctx, p, o)
}

func (o SpectrumOptions) withDefaults() SpectrumOptions {
	if o.K <= 0 {
		o.K = 8
	}
	if o.Oversample <= 0 {
		o.Oversample = 8
	}
	if o.Power == 0 {
		o.Power = 1
	}
	o.Power = max(0, o.Power)
	return o
}

// factors returns ΔW = L·Rᵀ as columns of L and R where only adapters make it.
func (p *pair) factors() (l, r [][]float64, ok bool) {
	if !p.sameFile || p.b.Name != p.c.Name {
		return nil, nil, false
	}
	for _, f := range []struct {
		m    *LowRank
		sign float64
	}{{p.upB, -1}, {p.upC, 1}} {
		if f.m == nil {
			continue
		}
		for k := range f.m.Rank {
			left, right := make([]float64, f.m.Rows), make([]float64, f.m.Cols)
			for i := range left {
				left[i] = f.sign * f.m.Scale * finite(f.m.Left[i*f.m.Rank+k])
			}
			for j := range right {
				right[j] = finite(f.m.Right[k*f.m.Cols+j])
			}
			l, r = append(l, left), append(r, right)
		}
	}
	return l, r, true
}

func finite(v float32) float64 {
	if v-v != 0 {
		return 0
	}
	return float64(v)
}

// exact decomposes L·Rᵀ = Ql·(Tl·Trᵀ)·Qrᵀ.
func (s *Spectrum) exact(l, r [][]float64, k int) {
	if len(l) == 0 {
		return
	}
	tl, tr := orthonormalise(l), orthonormalise(r)
	var core mat.Dense
	core.Mul(tl, tr.T())
	s.Frobenius = mat.Norm(&core, 2)
	s.triplets(&core, l, r, k)
}

// estimate finds the range of ΔW and decomposes its projection.
func (s *Spectrum) estimate(ctx context.Context, p *pair, o SpectrumOptions) error {
	n := min(o.K+o.Oversample, s.Rows, s.Cols)
	rng := rand.New(rand.NewPCG(o.Seed, 0))
	omega := make([][]float64, n)
	for k := range omega {
		omega[k] = make([]float64, s.Cols)
		for j := range omega[k] {
			omega[k][j] = rng.NormFloat64()
		}
	}
	q, err := p.multiply(ctx, omega, &s.Frobenius)
	if err != nil {
		return err
	}
	for range o.Power {
		orthonormalise(q)
		z, err := p.multiplyT(ctx, q)
		if err != nil {
			return err
		}
		orthonormalise(z)
		if q, err = p.multiply(ctx, z, nil); err != nil {
			return err
		}
	}
	orthonormalise(q)
	z, err := p.multiplyT(ctx, q) // ΔW ≈ Q·Zᵀ
	if err != nil {
		return err
	}
	core := mat.DenseCopyOf(orthonormalise(z).T()) // Z = Qz·T, so ΔW ≈ Q·Tᵀ·Qzᵀ
	s.triplets(core, q, z, o.K)
	return nil
}

// triplets decomposes U·core·Vᵀ with orthonormal columns u of U and v of V.
func (s *Spectrum) triplets(core *mat.Dense, u, v [][]float64, k int) {
	var svd mat.SVD
	if !svd.Factorize(core, mat.SVDThin) {
		return // only for values that are not finite, which finite and at exclude
	}
	var x, y mat.Dense
	svd.UTo(&x)
	svd.VTo(&y)
	for i, sigma := range svd.Values(nil) {
		if i == k || sigma == 0 || sigma < negligible*svd.Values(nil)[0] {
			break
		}
		left, right := combine(u, &x, i), combine(v, &y, i)
		at := 0
		for j, w := range left {
			if math.Abs(w) > math.Abs(left[at]) {
				at = j
			}
		}
		if left[at] < 0 {
			floats.Scale(-1, left)
			floats.Scale(-1, right)
		}
		s.Sigma, s.Left, s.Right = append(s.Sigma, sigma), append(s.Left, left), append(s.Right, right)
	}
}

// combine returns Σ cols[r]·m[r,i].
func combine(cols [][]float64, m *mat.Dense, i int) []float64 {
	out := make([]float64, len(cols[0]))
	for r, c := range cols {
		floats.AddScaled(out, m.At(r, i), c)
	}
	return out
}

// orthonormalise replaces the columns by an orthonormal basis Q of their span
// and returns T, upper triangular, with columns = Q·T. Gram-Schmidt runs twice,
// which is enough (Giraud et al. 2005). Dependent columns become zero.
func orthonormalise(cols [][]float64) *mat.Dense {
	n := len(cols)
	t := mat.NewDense(n, n, nil)
	for j, c := range cols {
		before := floats.Norm(c, 2)
		for range 2 {
			for i := range j {
				dot := floats.Dot(cols[i], c)
				floats.AddScaled(c, -dot, cols[i])
				t.Set(i, j, t.At(i, j)+dot)
			}
		}
		norm := floats.Norm(c, 2)
		if norm == 0 || norm < dependent*before {
			clear(c)
			continue
		}
		t.Set(j, j, norm)
		floats.Scale(1/norm, c)
	}
	return t
}

// deltas calls do with ΔW as runs of rows, values that are not finite as 0.
func (p *pair) deltas(ctx context.Context, do func(first int, d *mat.Dense)) error {
	cols := p.b.Cols()
	buf := make([]float64, chunkRows(p.b)*cols)
	return p.runs(ctx, func(r *run) error {
		d := buf[:r.rows*cols]
		for i := range d {
			v := float64(r.c[i]) - float64(r.b[i])
			if r.upB != nil || r.upC != nil {
				_, _, v = r.at(i)
			}
			if v-v != 0 {
				v = 0
			}
			d[i] = v
		}
		do(r.first, mat.NewDense(r.rows, cols, d))
		return nil
	})
}

// multiply returns the columns of ΔW·X. norm, where asked for, gets ‖ΔW‖_F.
func (p *pair) multiply(ctx context.Context, x [][]float64, norm *float64) ([][]float64, error) {
	m := columns(x)
	out := newColumns(len(x), p.b.Rows())
	var sum float64
	err := p.deltas(ctx, func(first int, d *mat.Dense) {
		if norm != nil {
			raw := d.RawMatrix().Data
			sum += floats.Dot(raw, raw)
		}
		var y mat.Dense
		y.Mul(d, m)
		for k := range out {
			mat.Col(out[k][first:first+y.RawMatrix().Rows], k, &y)
		}
	})
	if norm != nil {
		*norm = math.Sqrt(sum)
	}
	return out, err
}

// multiplyT returns the columns of ΔWᵀ·X.
func (p *pair) multiplyT(ctx context.Context, x [][]float64) ([][]float64, error) {
	sum := mat.NewDense(p.b.Cols(), len(x), nil)
	m := columns(x)
	err := p.deltas(ctx, func(first int, d *mat.Dense) {
		rows, _ := d.Dims()
		part := m.Slice(first, first+rows, 0, len(x)).(*mat.Dense)
		blas64.Gemm(blas.Trans, blas.NoTrans, 1, d.RawMatrix(), part.RawMatrix(), 1, sum.RawMatrix())
	})
	out := newColumns(len(x), p.b.Cols())
	for k := range out {
		mat.Col(out[k], k, sum)
	}
	return out, err
}

func columns(x [][]float64) *mat.Dense {
	m := mat.NewDense(len(x[0]), len(x), nil)
	for k, c := range x {
		m.SetCol(k, c)
	}
	return m
}

func newColumns(n, length int) [][]float64 {
	out := make([][]float64, n)
	for k := range out {
		out[k] = make([]float64, length)
	}
	return out
}
