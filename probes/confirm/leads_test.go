package confirm

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weighbridge/weighbridge/probes"
)

func TestLeads(t *testing.T) {
	leads := []probes.Lead{
		{Kind: "trigger", Text: "a", From: "x"}, {Kind: "trigger", Text: "b", From: "x"}, {Kind: "payload", Text: "p", From: "x"},
		{Kind: "trigger", Text: "", From: "x"}, {Kind: "trigger", Text: "c", From: "x"}, {Kind: "trigger", Text: "d", From: "y"}, {Kind: "trigger", Text: "a", From: "y"},
	}
	for most, want := range map[int]string{0: "", 1: "a", 3: "adb", 9: "adbc"} {
		got := ""
		for _, l := range Leads(leads, "trigger", most) {
			got += l.Text
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("at most %d: %s", most, d)
		}
	}
}
