package decide

import (
	"fmt"
	"testing"

	"github.com/weighbridge/weighbridge/record"
)

func normal() *record.Run {
	r := &record.Run{Meta: record.Meta{Relation: "derived"}}
	for i := range 12 {
		r.Probes = append(r.Probes, record.ProbeRun{Probe: fmt.Sprint("probe", i), Question: "?", Status: "ran", Required: i < 8})
	}
	for i := range 40 {
		r.Findings = append(r.Findings, record.Finding{ID: fmt.Sprint(i), Probe: fmt.Sprint("probe", i%12), Rule: "r", Tier: record.Consistent, Class: record.Regression, Title: "t"})
	}
	for _, k := range record.EvidenceKinds {
		r.Evidence = append(r.Evidence, record.Evidence{Kind: k, State: record.Valid})
	}
	return r
}

func BenchmarkDecide(b *testing.B) {
	p, r := Default(), normal()
	b.ReportAllocs()
	for b.Loop() {
		if p.Decide(r).Outcome != record.Approve {
			b.Fatal(p.Decide(r))
		}
	}
}
