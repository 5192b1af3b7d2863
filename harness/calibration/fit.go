package calibration

import (
	"maps"
	"slices"
	"strings"

	"github.com/weighbridge/weighbridge/record"
)

// Measured is a variant and what its run recorded.
type Measured struct {
	Variant  Variant
	Probes   []record.ProbeRun
	Findings []record.Finding
}

// counts reports whether a finding's value belongs to a bank: it measures what
// models do. What was compared exactly (template, tokenizer, a box that died)
// needs no null, what a candidate is to the baseline is no measure of suspicion,
// and the run's own controls are not about the candidate.
func counts(f *record.Finding) bool {
	switch f.Class {
	case record.Backdoor, record.Leak, record.Regression, record.Behaviour:
		return f.Value != nil && f.Tier != record.NotTested
	}
	return false
}

// statistic is a Statistic's name without the subject.
type statistic struct {
	probe, rule, statistic string
	lower                  bool
}

func statisticOf(f *record.Finding) statistic {
	return statistic{f.Probe, f.Rule, f.Statistic, f.LowerIsWorse}
}

// worse orders values by how much they speak against a candidate.
func worse(v float64, lower bool) float64 {
	if lower {
		return -v
	}
	return v
}

// sheet is what one variant says: values by statistic and subject.
type sheet struct {
	measured map[string]bool    // probes that measured something
	untested map[[2]string]bool // probe and rule that said they did not
	values   map[statistic]map[string]float64
}

func newSheet(m *Measured) *sheet {
	s := &sheet{map[string]bool{}, map[[2]string]bool{}, map[statistic]map[string]float64{}}
	ran := map[string]bool{}
	for _, p := range m.Probes {
		ran[p.Probe] = p.Status == "ran" && p.Budget > 0 // a probe that may ask nothing compares files, exactly
	}
	for i := range m.Findings {
		f := &m.Findings[i]
		if !ran[f.Probe] {
			continue
		}
		if f.Tier == record.NotTested {
			s.untested[[2]string{f.Probe, f.Rule}] = true
			continue
		}
		s.measured[f.Probe] = true
		if !counts(f) {
			continue
		}
		at := s.values[statisticOf(f)]
		if at == nil {
			at = map[string]float64{}
			s.values[statisticOf(f)] = at
		}
		if old, ok := at[f.Subject]; !ok || worse(*f.Value, f.LowerIsWorse) > worse(old, f.LowerIsWorse) {
			at[f.Subject] = *f.Value
		}
	}
	return s
}

// Fit makes a file of the variants' runs. The order of the runs does not count.
func Fit(tool, engine string, key Key, runs []Measured) *File {
	f := &File{Format: Format, Tool: tool, Key: key, Engine: engine, Variants: []Variant{}, Probes: []Probe{}, Statistics: []Statistic{}}
	var sheets []*sheet
	names := map[statistic]bool{}
	measured := map[string]int{}
	for i := range runs {
		f.Variants = append(f.Variants, runs[i].Variant)
		if runs[i].Variant.LeftOut != "" {
			continue
		}
		s := newSheet(&runs[i])
		sheets = append(sheets, s)
		for p := range s.measured {
			measured[p]++
		}
		for n := range s.values {
			names[n] = true
		}
	}
	for _, p := range slices.Sorted(maps.Keys(measured)) {
		f.Probes = append(f.Probes, Probe{p, measured[p]})
	}
	for n := range names { // sorted below
		f.Statistics = append(f.Statistics, fit(n, sheets)...)
	}
	slices.SortFunc(f.Variants, func(a, b Variant) int { return strings.Compare(a.Name, b.Name) })
	slices.SortFunc(f.Statistics, compareStatistics)
	return f
}

// fit makes the nulls of one statistic: one for each subject where all variants
// that were measured report the same subjects, else one for all subjects.
func fit(n statistic, sheets []*sheet) []Statistic {
	var in []map[string]float64 // of the variants that the statistic was measured on; nil: nothing to report
	for _, s := range sheets {
		at := s.values[n]
		if at != nil || s.measured[n.probe] && !s.untested[[2]string{n.probe, n.rule}] {
			in = append(in, at)
		}
	}
	null := func(subject string, pick func(map[string]float64) float64) Statistic {
		st := Statistic{Probe: n.probe, Rule: n.rule, Statistic: n.statistic, LowerIsWorse: n.lower, Subject: subject, Variants: len(in)}
		for _, at := range in {
			if len(at) > 0 {
				st.Values = append(st.Values, pick(at)+0) // no negative zero
			}
		}
		slices.Sort(st.Values)
		return st
	}
	subjects := slices.Sorted(maps.Keys(in[0]))
	split := len(subjects) > 0 && subjects[0] != ""
	for _, at := range in {
		split = split && slices.Equal(slices.Sorted(maps.Keys(at)), subjects)
	}
	if split {
		var all []Statistic
		for _, s := range subjects {
			all = append(all, null(s, func(at map[string]float64) float64 { return at[s] }))
		}
		return all
	}
	return []Statistic{null("", func(at map[string]float64) float64 {
		values := slices.Collect(maps.Values(at))
		return slices.MaxFunc(values, func(a, b float64) int {
			switch x, y := worse(a, n.lower), worse(b, n.lower); {
			case x < y:
				return -1
			case x > y:
				return 1
			}
			return 0
		})
	})}
}
