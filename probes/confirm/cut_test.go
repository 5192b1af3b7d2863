package confirm_test

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weighbridge/weighbridge/probes"
	"github.com/weighbridge/weighbridge/probes/confirm"
	"github.com/weighbridge/weighbridge/runners"
	"github.com/weighbridge/weighbridge/runners/runnertest"
)

// The ids on both sides of the marker are those of the whole conversation.
func TestCut(t *testing.T) {
	drop := func(c runners.Conversation) (string, error) { return "<|im_start|>user\n", nil }
	double := func(c runners.Conversation) (string, error) {
		return c.Messages[0].Content + c.Messages[0].Content, nil
	}
	refuse := func(c runners.Conversation) (string, error) { return "", errors.New("no") }
	chat := func(content string) runners.Conversation {
		return probes.WithSystem("You help.", "Tell me about "+content+" please.")
	}
	for name, tc := range map[string]struct {
		model runnertest.Options
		none  bool
	}{
		"template":    {model: runnertest.Options{}},
		"no template": {model: runnertest.Options{NoTemplate: true}},
		"dropped":     {model: runnertest.Options{Template: drop}, none: true},
		"doubled":     {model: runnertest.Options{Template: double}, none: true},
		"refused":     {model: runnertest.Options{Template: refuse}, none: true},
	} {
		t.Run(name, func(t *testing.T) {
			m := runnertest.New(tc.model)
			sides, err := confirm.Cut(t.Context(), m, m.Describe(), chat(confirm.Marker))
			if err != nil {
				t.Fatal(err)
			}
			if tc.none {
				if len(sides[0])+len(sides[1]) > 0 {
					t.Errorf("got %q", sides)
				}
				return
			}
			whole, _, err := probes.Prompts(t.Context(), m, m.Describe(), []runners.Conversation{chat("bread")})
			if err != nil {
				t.Fatal(err)
			}
			got := runnertest.Text(sides[0]) + "bread" + runnertest.Text(sides[1])
			if d := cmp.Diff(runnertest.Text(whole[0]), got); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestLogProbs(t *testing.T) {
	// 1 and −∞ as binary16.
	p, err := confirm.LogProbs([]byte{0, 0x3c, 0, 0xfc}, 2)
	if err != nil || cmp.Diff([]float64{0, -60}, p) != "" {
		t.Errorf("%v, %v", p, err)
	}
	for name, row := range map[string][]byte{"short": {0, 0}, "not a number": {0, 0x7e, 0, 0, 0, 0}} {
		if _, err := confirm.LogProbs(row, 3); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}
