package harness

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weighbridge/weighbridge/probes"
	"github.com/weighbridge/weighbridge/record"
)

func init() {
	probes.Register(&scripted{id: "reads-documents", run: func(_ context.Context, in *probes.Input) (*probes.Output, error) {
		out := &probes.Output{Findings: []record.Finding{{Rule: "read", Tier: record.Consistent, Class: record.Behaviour}}}
		for _, d := range in.Documents {
			out.Items = append(out.Items, record.Item{ID: d.ID, Prompt: d.Text})
		}
		return out, nil
	}})
}

// The user's documents reach the probes, and which they were is part of the plan.
func TestDocuments(t *testing.T) {
	b := bench{steps: []string{"reads-documents"}, documents: []probes.Document{{ID: "a", Text: "first"}}, documentDigest: "sha256:1"}
	first, err := b.run(t, t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := []record.Item{{Probe: "reads-documents", ID: "a", Prompt: "first"}}
	if d := cmp.Diff(want, first.Items); d != "" {
		t.Error(d)
	}
	b.documentDigest = "sha256:2"
	second, err := b.run(t, t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if first.Run.Meta.Plan == second.Run.Meta.Plan {
		t.Error("other documents have the same plan")
	}
}
