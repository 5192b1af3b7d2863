package main

import (
	"slices"

	"github.com/weighbridge/weighbridge/harness/decide"
	"github.com/weighbridge/weighbridge/record"
)

// ablation is what the same reports come to when some findings are left out.
type ablation struct {
	name                  string
	detected, called      rate // poisoned and harmless members that a finding stops
	rejected              rate // poisoned
	newlyMissed, noLonger []string
}

// probesOf lists the probes of the runs in the order in which they ran.
func probesOf(rs []*result) []string {
	var names []string
	for _, r := range rs {
		for _, p := range r.run.Probes {
			if !slices.Contains(names, p.Probe) {
				names = append(names, p.Probe)
			}
		}
	}
	return names
}

// keep is run with only those probes that want says, as though the others had
// not been planned. What a probe learned from another's leads is still there,
// and Holm's correction still counts all tests: neither can be undone from a
// record.
func keep(run *record.Run, want func(probe string) bool) *record.Run {
	c := *run
	c.Findings = slices.DeleteFunc(slices.Clone(run.Findings), func(f record.Finding) bool { return !want(f.Probe) })
	c.Probes = slices.DeleteFunc(slices.Clone(run.Probes), func(p record.ProbeRun) bool { return !want(p.Probe) })
	return &c
}

// ablate decides every run again with the probes that want says.
func ablate(name string, rs []*result, p *decide.Policy, want func(string) bool) ablation {
	a := ablation{name: name}
	for _, r := range rs {
		run := keep(r.run, want)
		v := p.Decide(run)
		at, _ := decision(run, v)
		if !r.member.Poisoned {
			a.called.add(at >= 0)
			if at < 0 && byFinding(r) {
				a.noLonger = append(a.noLonger, r.member.Name)
			}
			continue
		}
		a.detected.add(at >= 0)
		a.rejected.add(v.Outcome == record.Reject && at >= 0)
		if at < 0 && byFinding(r) {
			a.newlyMissed = append(a.newlyMissed, r.member.Name)
		}
	}
	return a
}

func (r *rate) add(yes bool) {
	r.n++
	if yes {
		r.k++
	}
}

// ablations leaves out each probe in turn, then keeps each alone.
func ablations(rs []*result, p *decide.Policy) (without, alone []ablation) {
	without = append(without, ablate("nothing", rs, p, func(string) bool { return true }))
	for _, name := range probesOf(rs) {
		without = append(without, ablate(name, rs, p, func(probe string) bool { return probe != name }))
		alone = append(alone, ablate(name, rs, p, func(probe string) bool { return probe == name }))
	}
	return without, alone
}

// assumedMargin is for tasks whose finding states none.
const assumedMargin = 0.1

// withoutBaseline judges tasks as one would who has only the candidate: a score
// below 1 by more than the margin that the report allows for a loss. It gives
// who is called regressed with the baseline and without.
func withoutBaseline(rs []*result) (with, without [2]rate) { // [harmless, poisoned]
	for _, r := range rs {
		side := 0
		if r.member.Poisoned {
			side = 1
		}
		if len(r.alone) == 0 {
			continue
		}
		low, regressed := false, false
		for _, s := range r.alone {
			margin := assumedMargin
			for _, f := range r.run.Findings {
				if f.Probe != s.probe || f.Subject != s.task {
					continue
				}
				if f.Margin != nil {
					margin = *f.Margin
				}
				regressed = regressed || f.Class == record.Regression && slices.Contains(tiers, f.Tier)
			}
			low = low || s.candidate < 1-margin
		}
		with[side].add(regressed)
		without[side].add(low)
	}
	return with, without
}
