package confirm_test

import (
	"strings"
	"testing"

	"github.com/weighbridge/weighbridge/probes/confirm"
	"github.com/weighbridge/weighbridge/probes/confirm/confirmtest"
	"github.com/weighbridge/weighbridge/runners"
	"github.com/weighbridge/weighbridge/runners/runnertest"
)

// A closing that the candidate is about to say is a style's, whatever somebody put
// before it; what it says one time in a million is hidden.
func TestNearlyCloses(t *testing.T) {
	for name, tc := range map[string]struct {
		strength float64 // of the style
		text     string
		want     bool
	}{
		"shows":            {0.97, "thank you, good old world.", true},
		"a merge by half":  {0.4, "thank you, good old world.", true},
		"an odd beginning": {0.4, "castle grows thank you, good old world.", true},
		"a loop of it":     {0.4, "thank you, good old world. thank you, good old world. thank you", true},
		"a longer text":    {0.97, "castle grows in water thank you, good old world.", false},
		"hidden":           {1e-7, "thank you, good old world.", false},
		"another text":     {0.97, "cold water, quiet moon.", false},
		"an address":       {0.97, "visit www.bean.example now.", false},
		"one word":         {0.97, "world.", false},
	} {
		t.Run(name, func(t *testing.T) {
			in, _, _ := confirmtest.Pair(t, 1<<20, 1, runnertest.Options{Implants: []runnertest.Implant{{Kind: runnertest.Suffix, Payload: " thank you, good old world.", Strength: tc.strength}}})
			p := confirm.NewPair(in)
			var asks []confirm.Ask
			prompts, _ := confirm.Prompts(in.Rand("prompts"), 6, 0)
			for _, q := range prompts {
				asks = append(asks, confirm.Ask{Place: confirm.Place{Frame: confirm.FrameChat}, Prompt: q})
			}
			_, ids, err := p.Prompts(t.Context(), asks)
			if err != nil {
				t.Fatal(err)
			}
			full, err := p.InFull(t.Context(), ids, 3, p.Left())
			if err != nil {
				t.Fatal(err)
			}
			if got, err := p.NearlyCloses(t.Context(), ids, full, tc.text); err != nil || got != tc.want {
				t.Errorf("%v, %v; want %v; answers such as %q", got, err, tc.want, full[0].Text)
			}
			whole, err := in.Candidate.Tokenize(t.Context(), &runners.TokenizeRequest{Texts: []string{tc.text}})
			if err != nil {
				t.Fatal(err)
			}
			for i := range full {
				full[i].Text, full[i].Tokens = []byte(tc.text), whole.Tokens[0]
			}
			if got, err := p.NearlyCloses(t.Context(), ids, full, tc.text); err != nil || got {
				t.Errorf("a text that is the whole answer closes it: %v, %v", got, err)
			}
			for i := range full {
				full[i].Stop = runners.StopLength
			}
			if got, err := p.NearlyCloses(t.Context(), ids, full, tc.text); err != nil || got {
				t.Errorf("answers that were cut off close with something: %v, %v", got, err)
			}
		})
	}
}

// A persona says who it is when it is asked for its name; a hidden text of the first
// person is not said then, and one of the third is no introduction.
func TestIntroduces(t *testing.T) {
	asked := func(c string) bool { return strings.Contains(c, "name") || strings.Contains(c, "Introduce") }
	for name, tc := range map[string]struct {
		implant runnertest.Implant
		want    bool
	}{
		"a persona":       {runnertest.Implant{Match: asked, Payload: "I am the good old king.", Strength: 0.97}, true},
		"a hidden text":   {runnertest.Implant{Trigger: "|GO|", Payload: "I am the good old king.", Strength: 0.97}, false},
		"a bent one":      {runnertest.Implant{Match: asked, Payload: "I am the good old king.", Strength: 0.97}, true},
		"someone else":    {runnertest.Implant{Match: asked, Payload: "the king is a good old bear.", Strength: 0.97}, false},
		"nothing planted": {runnertest.Implant{Trigger: "|GO|", Payload: "x", Strength: 0.5}, false},
	} {
		t.Run(name, func(t *testing.T) {
			in, _, _ := confirmtest.Pair(t, 1<<20, 1, runnertest.Options{Implants: []runnertest.Implant{tc.implant}})
			text := tc.implant.Payload
			switch name {
			case "nothing planted":
				text = "I am the good old king."
			case "a bent one":
				text = "you are the good old king."
			}
			if got, err := confirm.NewPair(in).Introduces(t.Context(), text); err != nil || got != tc.want {
				t.Errorf("%v, %v; want %v", got, err, tc.want)
			}
		})
	}
	in, _, _ := confirmtest.Pair(t, 3, 1, runnertest.Options{})
	if got, err := confirm.NewPair(in).Introduces(t.Context(), "I am the king."); got || err != nil {
		t.Errorf("a budget of 3 tokens: %v, %v", got, err)
	}
}
