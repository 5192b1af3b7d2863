// Package view prepares a run for the formats that people read: which findings
// come first, which items are shown where not all can be, what was not tested,
// and the sentences that every format says in the same words.
//
// It takes a [record.Run] and a stream of items and keeps a bounded number of
// them. It will not escape anything and not judge anything: order, selection
// and wording only.
package view

import (
	"cmp"
	"container/heap"
	"fmt"
	"iter"
	"math"
	"slices"
	"strings"

	"github.com/weighbridge/weighbridge/record"
)

// View is a run arranged for reading.
type View struct {
	Run *record.Run
	// Recovered are the findings with a trigger, a payload or a transcript, the
	// strongest tier first.
	Recovered []*record.Finding
	// Measured are the findings with a figure, in groups of the same unit.
	Measured []Group
	// Other are the findings with neither.
	Other []*record.Finding
	// Flips are the items that matter most; FlipsLeft counts the flips that are
	// not among them.
	Flips     []record.Item
	FlipsLeft int
	// Tasks sums up the items of each task, in the order of their first item.
	Tasks []*Task
	Items int
}

// Group is findings whose figures share a unit.
type Group struct {
	Statistic string
	Findings  []*record.Finding
}

// Task is what became of the items of a task.
type Task struct {
	Probe, Task         string
	Items, Lost, Gained int
}

// maxTasks bounds Tasks: the name of a task may come from a hostile suite.
const maxTasks = 1000

// Collect arranges a run. It keeps at most flips items.
func Collect(run *record.Run, items iter.Seq2[record.Item, error], flips int) (*View, error) {
	v := &View{Run: run}
	v.sortFindings()
	return v, v.sumItems(items, flips)
}

var tierOrder = map[record.Tier]int{record.Proven: 0, record.Divergent: 1, record.Consistent: 2, record.NotTested: 3}

// Rank orders tiers, the strongest evidence first and unknown ones last.
func Rank(t record.Tier) int {
	if n, ok := tierOrder[t]; ok {
		return n
	}
	return len(tierOrder)
}

func (v *View) sortFindings() {
	groups := map[string]int{}
	byTier := func(a, b *record.Finding) int { return cmp.Compare(Rank(a.Tier), Rank(b.Tier)) }
	for i := range v.Run.Findings {
		f := &v.Run.Findings[i]
		shown := f.Trigger != "" || f.Payload != "" || len(f.Transcript) > 0
		if shown {
			v.Recovered = append(v.Recovered, f)
		}
		switch {
		case f.Value != nil:
			g, ok := groups[f.Statistic]
			if !ok {
				g = len(v.Measured)
				groups[f.Statistic] = g
				v.Measured = append(v.Measured, Group{Statistic: f.Statistic})
			}
			v.Measured[g].Findings = append(v.Measured[g].Findings, f)
		case !shown:
			v.Other = append(v.Other, f)
		}
	}
	slices.SortStableFunc(v.Recovered, byTier)
	slices.SortStableFunc(v.Other, byTier)
	for _, g := range v.Measured {
		slices.SortStableFunc(g.Findings, byTier)
	}
	slices.SortStableFunc(v.Measured, func(a, b Group) int { return byTier(a.Findings[0], b.Findings[0]) })
}

func (v *View) sumItems(items iter.Seq2[record.Item, error], keep int) error {
	tasks := map[[2]string]*Task{}
	var best flipHeap
	for it, err := range items {
		if err != nil {
			return err
		}
		v.Items++
		key := [2]string{it.Probe, it.Task}
		t := tasks[key]
		if t == nil {
			if len(v.Tasks) == maxTasks {
				key = [2]string{"", "(other tasks)"}
				t = tasks[key]
			}
			if t == nil {
				t = &Task{Probe: key[0], Task: key[1]}
				tasks[key] = t
				v.Tasks = append(v.Tasks, t)
			}
		}
		t.Items++
		switch it.Flip {
		case "":
			continue
		case "lost":
			t.Lost++
		case "gained":
			t.Gained++
		}
		v.FlipsLeft++
		if keep > 0 {
			if heap.Push(&best, flip{it, v.Items}); len(best) > keep {
				heap.Pop(&best)
			}
		}
	}
	v.FlipsLeft -= len(best)
	v.Flips = make([]record.Item, len(best))
	for i := len(best) - 1; i >= 0; i-- {
		v.Flips[i] = heap.Pop(&best).(flip).Item
	}
	return nil
}

// flip is a flipped item and its place in the stream.
type flip struct {
	record.Item
	at int
}

// before orders flips for reading: the largest effect first, losses before
// gains, then as they were written.
func (a flip) before(b flip) bool {
	return cmp.Or(cmp.Compare(size(b.Effect), size(a.Effect)), cmp.Compare(b.Flip, a.Flip), cmp.Compare(a.at, b.at)) < 0
}

func size(p *float64) float64 {
	if p == nil || math.IsNaN(*p) {
		return 0
	}
	return math.Abs(*p)
}

// flipHeap has the flip that is read last on top.
type flipHeap []flip

func (h flipHeap) Len() int           { return len(h) }
func (h flipHeap) Less(i, j int) bool { return h[j].before(h[i]) }
func (h flipHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *flipHeap) Push(x any)        { *h = append(*h, x.(flip)) }
func (h *flipHeap) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}

// Deciding are the reasons that made the outcome; Also are the others.
func (v *View) Deciding() (deciding, also []record.Reason) {
	for _, r := range v.Run.Verdict.Reasons {
		if r.Outcome == v.Run.Verdict.Outcome {
			deciding = append(deciding, r)
		} else {
			also = append(also, r)
		}
	}
	return deciding, also
}

// Ran and NotTested split the planned probes.
func (v *View) Ran() (ran, not []record.ProbeRun) {
	for _, p := range v.Run.Probes {
		if p.Status == "ran" {
			ran = append(ran, p)
		} else {
			not = append(not, p)
		}
	}
	return ran, not
}

// Skipped are the findings that say something was not tested, by probes that
// otherwise ran.
func (v *View) Skipped() (list []record.Finding) {
	_, not := v.Ran()
	for _, f := range v.Run.Findings {
		if f.Tier == record.NotTested && !slices.ContainsFunc(not, func(p record.ProbeRun) bool { return p.Probe == f.Probe }) {
			list = append(list, f)
		}
	}
	return list
}

// Flipped counts the flips of all tasks.
func (v *View) Flipped() (lost, gained int) {
	for _, t := range v.Tasks {
		lost += t.Lost
		gained += t.Gained
	}
	return lost, gained
}

// Num writes a figure with three significant digits and a real minus sign.
func Num(x float64) string {
	if math.IsInf(x, 0) || math.IsNaN(x) {
		return strings.ReplaceAll(strings.ReplaceAll(fmt.Sprint(x), "+Inf", "∞"), "-Inf", "−∞")
	}
	s := fmt.Sprintf("%.3g", x)
	if a := math.Abs(x); a >= 1000 && a < 1e7 {
		s = fmt.Sprintf("%.0f", x)
	} else if mantissa, exp, ok := strings.Cut(s, "e"); ok {
		sign := ""
		if exp[0] == '-' {
			sign = "−"
		}
		s = mantissa + "·10" + superscript(sign+strings.TrimLeft(exp[1:], "0"))
	}
	return strings.Replace(s, "-", "−", 1)
}

var superscripts = strings.NewReplacer("0", "⁰", "1", "¹", "2", "²", "3", "³", "4", "⁴", "5", "⁵", "6", "⁶", "7", "⁷", "8", "⁸", "9", "⁹", "−", "⁻")

func superscript(s string) string { return superscripts.Replace(s) }

// Opt is Num of a figure that may be missing.
func Opt(p *float64) string {
	if p == nil {
		return "–"
	}
	return Num(*p)
}

// Interval writes a finding's figure with its interval.
func Interval(f *record.Finding) string {
	s := Opt(f.Value)
	if f.Low != nil && f.High != nil {
		s += " [" + Num(*f.Low) + ", " + Num(*f.High) + "]"
	}
	return s
}

// Count writes n with thin groups of thousands.
func Count[T int | int64](n T) string {
	s := fmt.Sprint(n)
	neg := strings.HasPrefix(s, "-")
	s = strings.TrimPrefix(s, "-")
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	if neg {
		s = "−" + s
	}
	return s
}

// Bytes writes a size.
func Bytes(n int64) string {
	for _, u := range []struct {
		name string
		size int64
	}{{"GB", 1e9}, {"MB", 1e6}, {"kB", 1e3}} {
		if n >= u.size {
			return fmt.Sprintf("%.1f %s", float64(n)/float64(u.size), u.name)
		}
	}
	return fmt.Sprintf("%d B", n)
}
