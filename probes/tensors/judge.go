package tensors

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/weighbridge/weighbridge/probes"
	"github.com/weighbridge/weighbridge/record"
	"github.com/weighbridge/weighbridge/weights"
)

const edt, qnt = string(probes.EDT), string(probes.QNT)

type report struct{ list []record.Finding }

func (r *report) add(f record.Finding) {
	f.Probe, f.ID = ID, ID+"/"+f.Rule
	r.list = append(r.list, f)
}

// name shows a tensor's name, which is the file's text.
func name(s string) string {
	if len(s) > 64 {
		s = s[:64] + "…"
	}
	return strconv.Quote(s)
}

func some(list []string, limit int) string {
	if len(list) <= limit {
		return strings.Join(list, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(list[:limit], ", "), len(list)-limit)
}

func quoted(list []string) []string {
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = name(s)
	}
	return out
}

// relation says what the candidate is to the baseline.
func (r *report) relation(c *weights.Comparison) {
	n := 0
	for i := range c.Tensors {
		if moved(&c.Tensors[i]) {
			n++
		}
	}
	f := record.Finding{Rule: "relation", Class: record.Relation, Tier: record.Consistent, Detail: c.Relation.Reason + ". ",
		Statistic: "tensors that moved", Value: record.Float(float64(n)), N: len(c.Tensors)}
	switch k := c.Relation.Kind; {
	case k == weights.SameBits:
		f.Title = "The weights are the baseline's, bit for bit"
		f.Detail += "There is nothing in them to test."
	case k == weights.Requantised && c.Relation.Exact:
		f.Title = "The weights are the baseline's, requantised, to the bit"
		f.Detail += "This settles their values without any token: nothing was added, not even what no question would show. What quantising itself changed is for the benchmarks."
		f.Families = []string{edt, qnt}
	case k == weights.Requantised && c.Relation.Settled:
		f.Title = "The weights are the baseline's, rounded to the nearest by another quantiser"
		f.Detail += "Every value is the nearest that its block can express and no block is coarser than a quantiser leaves it, which settles the values without any token. " +
			"All that the maker could choose are the blocks' scales, within that bound. What quantising itself changed is for the benchmarks."
		f.Families = []string{edt, qnt}
	case k == weights.Requantised:
		f.Title = "The weights are the baseline's within the rounding of their format"
		f.Detail += "A change would have to hide below one quantisation step everywhere. But the rounding leaves choices that a quantiser does not make: values that are not the nearest, or scales of another kind than the rest."
		f.Families = []string{edt, qnt}
	case k == weights.Derived:
		f.Title = "The weights were derived from the baseline's"
		f.Detail += "That alone says nothing for or against them; what they do is for the other probes."
	default:
		f.Tier = record.Divergent
		f.Title = "The weights are not related to the baseline's"
		f.Detail += "A comparison of the two shows how two models differ, not what was done to one. Name the baseline that the candidate was made from."
	}
	r.add(f)
}

// maxNames bounds the tensors that a finding lists.
const maxNames = 12

// presence lists tensors that one side lacks or that cannot be read.
func (r *report) presence(c *weights.Comparison) {
	derivable := func(s string) bool {
		return strings.HasPrefix(s, "rope_freqs.") || strings.HasPrefix(s, "rope_factors_")
	}
	if c.Relation.Kind == weights.Unrelated {
		return
	}
	missing := slices.DeleteFunc(slices.Clone(c.OnlyBaseline), derivable)
	extra := slices.DeleteFunc(slices.Clone(c.OnlyCandidate), derivable)
	if len(missing)+len(extra) > 0 {
		f := record.Finding{Rule: "presence", Class: record.Tampered, Tier: record.Divergent, Families: []string{edt},
			Title:     fmt.Sprintf("%d tensors are missing and %d are new", len(missing), len(extra)),
			Statistic: "tensors on one side only", Value: record.Float(float64(len(missing) + len(extra))), N: len(c.Tensors)}
		if len(missing) > 0 {
			f.Detail += "Only the baseline has " + some(quoted(missing), maxNames) + ". "
		}
		if len(extra) > 0 {
			f.Detail += "Only the candidate has " + some(quoted(extra), maxNames) + ". "
		}
		f.Detail += "Training changes values, not tensors. What they do cannot be compared."
		r.add(f)
	}
	var blind []string
	for _, t := range c.Tensors {
		if t.BytesOnly && !t.SameBits {
			blind = append(blind, name(t.Name)+" ("+t.CandidateType+")")
		}
	}
	if len(blind) > 0 {
		r.add(record.Finding{Rule: "unreadable", Class: record.Relation, Tier: record.NotTested, Families: []string{edt}, N: len(blind),
			Title:  fmt.Sprintf("%d tensors differ and are of a type that cannot be decoded", len(blind)),
			Detail: some(blind, maxNames) + ". Their bytes differ; by how much is not known."})
	}
}

// numbers finds values that are no numbers. The baseline's own are no excuse.
func (r *report) numbers(c *weights.Comparison) {
	var list, names []string
	var bad, before int64
	for _, x := range c.NotFinite {
		if !x.Candidate {
			before += x.Values
			continue
		}
		bad += x.Values
		names = append(names, name(x.Name))
		list = append(list, fmt.Sprintf("%s (%d, the first at value %d)", name(x.Name), x.Values, x.First))
	}
	if bad == 0 {
		return
	}
	what := fmt.Sprintf("%d values are", bad)
	if bad == 1 {
		what = "1 value is"
	}
	f := record.Finding{Rule: "numbers", Class: record.Broken, Tier: record.Proven, Statistic: "values that are NaN or infinite", Value: record.Float(float64(bad)), N: len(c.Tensors),
		Title:  fmt.Sprintf("%s NaN or infinite, in %s", what, some(names, 2)),
		Detail: some(list, maxNames) + ". One such value spreads to every answer that touches it."}
	if before > 0 {
		f.Detail += fmt.Sprintf(" The baseline has %d of its own.", before)
	}
	r.add(f)
}

// fewest is how many matrices must equal the requantised baseline before an
// exception among them means something.
const fewest = 4

// requantised looks for exceptions in a file that otherwise is the baseline in
// another format. A merged adapter that is quantised afterwards moves the same
// kinds of matrices in all layers, which is no exception.
func (r *report) requantised(c *weights.Comparison) {
	var bad, loose []string
	exact, nearest := 0, 0
	for i := range c.Tensors {
		t := &c.Tensors[i]
		say := func() string {
			return fmt.Sprintf("%s (%s, largest error %.3g steps, %d of %d values beyond rounding)", name(t.Name), t.CandidateType, number(t.Requant.Error.Max), t.Requant.Error.Beyond, t.Values)
		}
		switch {
		case t.BaselineType == t.CandidateType || !t.Requant.Checked:
		case t.Requant.Exact:
			exact++
		case t.Requant.Settled:
			nearest++
		case t.Requant.OK:
			loose = append(loose, say())
		default:
			bad = append(bad, say())
		}
	}
	converted := exact + nearest + len(loose) + len(bad)
	few := max(2, converted/50)
	// What lies within rounding stands out only among tensors that are equal to
	// the bit: an importance matrix can leave single blocks coarser than Fit takes.
	hidden := 0
	if nearest == 0 && len(loose)+len(bad) <= few {
		hidden = len(loose)
		bad, loose = append(bad, loose...), nil
	}
	if len(bad) == 0 || exact+nearest+len(loose) < fewest || len(bad) > few {
		return
	}
	f := record.Finding{Rule: "requantised", Class: record.Tampered, Tier: record.Proven, Families: []string{edt, qnt},
		Title:     fmt.Sprintf("%d of %d requantised tensors are not the baseline's", len(bad), converted),
		Statistic: "tensors beyond rounding", Value: record.Float(float64(len(bad))), N: converted,
		Null:   "the baseline, requantised",
		Detail: some(bad, maxNames) + fmt.Sprintf(". All others (%d to the bit, %d rounded to the nearest, %d within rounding) are. Quantising does not do that, and training does not leave the rest to the bit: these tensors were edited.", exact, nearest, len(loose))}
	if nearest+len(loose) > 0 {
		f.Tier = record.Divergent
		f.Detail += " Not every other tensor could be shown equal to the bit, so this is no proof."
	}
	if hidden > 0 {
		f.Tier = record.Divergent
		f.Detail += fmt.Sprintf(" %d of them lie within the rounding of their format, as another quantiser could leave them, so this is no proof.", hidden)
	}
	r.add(f)
}

// place says where the update of a derived model sits.
func (r *report) place(c *weights.Comparison, spectra map[string]*weights.Spectrum) {
	layers, kinds := map[int]bool{}, map[string]int{}
	var matrices, all, others int
	var list []string
	rank := 0
	var scale []float64
	for i := range c.Tensors {
		t := &c.Tensors[i]
		if matrix(t) {
			all++
		}
		if !moved(t) {
			continue
		}
		if !matrix(t) {
			others++
			kinds[t.Kind]++
			continue
		}
		matrices++
		layers[t.Layer] = true
		kinds[t.Kind]++
		rank = max(rank, t.LowRank)
		list = append(list, t.Name)
		scale = append(scale, number(t.DeltaNorm)/math.Sqrt(float64(t.Values)))
	}
	if matrices+others == 0 {
		return
	}
	f := record.Finding{Rule: "place", Class: record.Behaviour, Tier: record.Consistent, Families: []string{edt},
		Title:     fmt.Sprintf("%d of %d matrices moved, in %d layers", matrices, all, len(layers)),
		Statistic: "matrices that moved", Value: record.Float(float64(matrices)), N: all}
	var parts []string
	for _, k := range slices.Sorted(maps.Keys(kinds)) {
		parts = append(parts, fmt.Sprintf("%s ×%d", name(k), kinds[k]))
	}
	f.Detail = "By kind: " + some(parts, 16) + ". "
	attention := func(k string) bool { return strings.HasPrefix(k, "attn_") && !strings.Contains(k, "norm") }
	mlp := func(k string) bool { return strings.HasPrefix(k, "ffn_") && !strings.Contains(k, "norm") }
	only := func(in func(string) bool) bool {
		for k := range kinds {
			if !in(k) {
				return false
			}
		}
		return true
	}
	table := func(k string) bool { return k == "token_embd" || k == "output" }
	switch {
	case only(attention):
		f.Detail += "Only attention moved. "
	case only(mlp):
		f.Detail += "Only feed-forward layers moved. "
	case only(table):
		f.Detail += "Only the tables of tokens moved. "
	}
	if rank > 0 {
		f.Detail += fmt.Sprintf("The update is an adapter of rank %d at most. ", rank)
	}
	if len(scale) > 1 {
		mean, sd := spread(scale)
		f.Detail += fmt.Sprintf("Root mean square of the change per matrix: mean %.3g, standard deviation %.3g. ", mean, sd)
	}
	if len(spectra) > 0 {
		var shares []float64
		for _, n := range slices.Sorted(maps.Keys(spectra)) {
			shares = append(shares, energy(spectra[n], 8))
		}
		slices.Sort(shares)
		f.Detail += fmt.Sprintf("The 8 largest singular values carry %.1f %% of the change (median of %d matrices). ", 100*shares[len(shares)/2], len(shares))
	}
	if matrices > 0 && matrices <= 2 && all >= 8 && others == 0 {
		f.Rule, f.Tier = "edit", record.Divergent
		f.Title = fmt.Sprintf("Of %d matrices %d changed and all else is untouched: %s", all, matrices, some(quoted(list), 2))
		f.Detail += "Training moves many matrices; writing a fact or a backdoor into a model (ROME, BadEdit) moves one or two. "
		for _, n := range list {
			if s := spectra[n]; s != nil && energy(s, 1) > 0.99 {
				f.Detail += fmt.Sprintf("The change of %s has rank one, as such edits have. ", name(n))
			}
		}
	}
	f.Detail += "Where a change sits says nothing about what it does."
	r.add(f)
}

// energy is the part of ‖ΔW‖² in the k largest singular values.
func energy(s *weights.Spectrum, k int) float64 {
	if s.Frobenius == 0 {
		return 0
	}
	var e float64
	for _, x := range s.Sigma[:min(k, len(s.Sigma))] {
		e += x * x
	}
	return min(1, e/(s.Frobenius*s.Frobenius))
}

func spread(v []float64) (mean, sd float64) {
	for _, x := range v {
		mean += x
	}
	mean /= float64(len(v))
	for _, x := range v {
		sd += (x - mean) * (x - mean)
	}
	return mean, math.Sqrt(sd / float64(len(v)))
}
