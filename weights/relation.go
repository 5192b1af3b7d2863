package weights

import (
	"fmt"
	"maps"
	"slices"
)

// RelationKind says how a candidate's weights come from the baseline's.
type RelationKind string

// The relations, from the closest to none.
const (
	SameBits    RelationKind = "same-bits"   // every tensor has the baseline's bits
	Requantised RelationKind = "requantised" // the baseline in another number format, to the bit or within rounding
	Derived     RelationKind = "derived"     // same shape and vocabulary, other values; or an adapter on the baseline
	Unrelated   RelationKind = "unrelated"   // another architecture, shape, vocabulary, or independent values
)

// Relation is the found relation of a pair with its reason.
type Relation struct {
	Kind     RelationKind `json:"kind"`
	Reason   string       `json:"reason"`    // one sentence; may quote text from the files
	SameFile bool         `json:"same_file"` // the two identities are equal
	// Settled: every tensor is proven to be the baseline's, in its bits or as a
	// rounding to the candidate's format.
	Settled bool `json:"settled"`
	Exact   bool `json:"exact"` // Requantised only: proven to the bit for every tensor
	// AdapterOnly: both use the same model file, so that ΔW is exactly what the
	// adapters say.
	AdapterOnly bool `json:"adapter_only"`
}

const (
	// minCosine parts derivatives from independent models: the median cosine of
	// matrices after a full fine-tune stays above 0.9, that of matrices trained
	// from different starts is about 0.
	minCosine = 0.25
	// minTokens is the least part of the vocabulary, by id, that a derivative
	// shares with its baseline.
	minTokens = 0.5
	// maxMissing is the largest part of the tensors that may lack a partner.
	maxMissing = 0.1
)

// incomparable finds the reasons that need no tensor data.
func incomparable(b, c *Model, cmp *Comparison, names []string) (Relation, bool) {
	no := func(format string, args ...any) (Relation, bool) {
		return Relation{Kind: Unrelated, Reason: fmt.Sprintf(format, args...)}, true
	}
	ba, _ := b.Metadata().String("general.architecture")
	ca, _ := c.Metadata().String("general.architecture")
	if ba != ca {
		return no("the baseline's architecture is %q, the candidate's %q", ba, ca)
	}
	bt, bok := b.Metadata().Strings("tokenizer.ggml.tokens")
	ct, cok := c.Metadata().Strings("tokenizer.ggml.tokens")
	if bok && cok {
		same := 0
		for i := range min(len(bt), len(ct)) {
			if bt[i] == ct[i] {
				same++
			}
		}
		if n := max(len(bt), len(ct)); float64(same) < minTokens*float64(n) {
			return no("only %d of %d token ids mean the same text", same, n)
		}
	}
	for _, name := range names {
		x, _ := b.Tensor(headOf(b, name))
		y, _ := c.Tensor(headOf(c, name))
		if !sameShape(x, y) && !sameTable(x, y) {
			return no("tensor %q has shape %v in the baseline and %v in the candidate", name, x.Shape, y.Shape)
		}
	}
	missing := len(cmp.OnlyBaseline) + len(cmp.OnlyCandidate)
	if all := len(names) + missing; float64(missing) > maxMissing*float64(all) {
		return no("%d of %d tensors exist on one side only", missing, all)
	}
	return Relation{}, false
}

// shapes says how far shapes and vocabulary agree.
func shapes(cmp *Comparison) string {
	for _, t := range cmp.Tensors {
		switch {
		case t.RowsCandidate > 0:
			return fmt.Sprintf("the same shapes but for %d tokens more, compared with nothing", t.RowsCandidate)
		case t.RowsBaseline > 0:
			return fmt.Sprintf("the same shapes but for the last %d tokens, which the candidate lacks", t.RowsBaseline)
		}
	}
	return "shapes and vocabulary"
}

// relate judges tensors that were compared.
func relate(b, c *Model, cmp *Comparison) Relation {
	r := Relation{SameFile: b.Identity() == c.Identity()}
	var same, zero, exact, nearest, within, under, permuted, bad int
	var excess float64
	own, foreign := map[string]int{}, map[string]int{}
	var cosines []float64
	for _, t := range cmp.Tensors {
		switch {
		case t.SameBits:
			same++
		case t.LowRank > 0 && t.Differing == 0 && t.BadCandidate == 0:
			zero++
		case t.Requant.Exact:
			exact++
		case t.Requant.Settled:
			nearest++
			excess = max(excess, t.Requant.Excess)
		case t.Requant.OK:
			within++
		case t.Under != StepError{} && t.Under.rounding(t.Values):
			under++
		}
		if t.Requant.Settled {
			if q := t.Requant; 2*q.Unequal > q.Blocks {
				foreign[t.CandidateType]++
			} else {
				own[t.CandidateType]++
			}
		}
		if t.RowsPermuted {
			permuted++
		}
		if t.BadCandidate > t.BadBaseline {
			bad++
		}
		if len(t.Shape) > 1 {
			cosines = append(cosines, t.Cosine)
		}
	}
	all, missing := len(cmp.Tensors), len(cmp.OnlyBaseline)+len(cmp.OnlyCandidate)
	slices.Sort(cosines)
	median := 1.0
	if len(cosines) > 0 {
		median = cosines[len(cosines)/2]
	}
	adapters := b.adapter != nil || c.adapter != nil
	r.AdapterOnly = adapters && b.base.sha256 == c.base.sha256
	switch {
	case r.SameFile:
		r.Kind, r.Settled, r.Reason = SameBits, true, "the two are the same weights, byte for byte"
	case missing == 0 && same == all:
		r.Kind, r.Settled, r.Reason = SameBits, true, fmt.Sprintf("all %d tensors have the same bits; only what stands around them differs", all)
	case r.AdapterOnly && zero == all-same:
		// Not the same bits: what underflows here need not in the engine.
		r.Kind, r.Reason = Derived, fmt.Sprintf("the same model file with other adapters, which name %d of %d tensors and add nothing to any value", zero, all)
	case r.AdapterOnly:
		r.Kind, r.Reason = Derived, fmt.Sprintf("the same model file with other adapters: %d of %d tensors change, by exactly what the adapters say", all-same-zero, all)
	case missing == 0 && same+exact == all:
		r.Kind, r.Settled, r.Exact = Requantised, true, true
		r.Reason = fmt.Sprintf("%d tensors equal the requantised baseline to the bit, %d are unchanged", exact, same)
	case missing == 0 && same+exact+nearest == all:
		r.Kind, r.Settled = Requantised, true
		r.Reason = fmt.Sprintf("%d tensors are the baseline rounded to the nearest on scales of another quantiser (squared error at most %.2f of plain rounding), %d equal the requantised baseline to the bit, %d are unchanged", nearest, excess, exact, same)
		for _, t := range slices.Sorted(maps.Keys(foreign)) {
			// One quantiser makes a file. What it leaves to ggml's plain encoder
			// are a few tables of which it knows no importance.
			if own[t] >= foreign[t] {
				r.Settled = false
				r.Reason += fmt.Sprintf("; of the %s tensors only %d of %d are another quantiser's, which a file made in one go does not show", t, foreign[t], own[t]+foreign[t])
			}
		}
	case missing == 0 && same+exact+nearest+within == all:
		r.Kind = Requantised
		r.Reason = fmt.Sprintf("%d tensors lie within rounding of the baseline, but their values are not the nearest or their scales not a quantiser's; %d are the baseline rounded to the nearest on scales of another quantiser, %d equal the requantised baseline to the bit, %d are unchanged", within, nearest, exact, same)
	case median < minCosine:
		r.Kind = Unrelated
		r.Reason = fmt.Sprintf("shapes and vocabulary agree, but the values do not: the median cosine between matrices is %.3f", median)
	default:
		r.Kind = Derived
		r.Reason = fmt.Sprintf("same architecture, %s; %d of %d tensors have other values (median cosine between matrices %.4f)", shapes(cmp), all-same-exact-nearest-within, all, median)
		if under > 0 && same+exact+nearest+within+under == all {
			r.Reason += "; the baseline is too coarse to tell the candidate from its own source: trust needs a baseline of the candidate's precision or finer"
		}
		if permuted > 0 {
			r.Reason += fmt.Sprintf("; %d tensors hold the baseline's rows in another order", permuted)
		}
		if missing > 0 {
			r.Reason += fmt.Sprintf("; %d tensors exist on one side only", missing)
		}
	}
	if bad > 0 {
		r.Reason += fmt.Sprintf("; %d tensors hold NaN or infinite values that the baseline does not", bad)
	}
	return r
}
