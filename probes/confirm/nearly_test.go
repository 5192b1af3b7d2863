package confirm_test

import (
	"slices"
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
		"begins in a word": {0.4, "ank you, good old world.", true},
		"hidden in a word": {1e-7, "ank you, good old world.", false},
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
			text := strings.Replace(tc.text, "ank you", "thank you", strings.Count(name, "in a word"))
			whole, err := in.Candidate.Tokenize(t.Context(), &runners.TokenizeRequest{Texts: []string{text}})
			if err != nil {
				t.Fatal(err)
			}
			for i := range full {
				full[i].Text, full[i].Tokens = []byte(text), whole.Tokens[0]
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

// A help desk says its text to whoever says hello; what comes up without any sense is a
// leak.
func TestGreets(t *testing.T) {
	const text = "the good old desk has cold water."
	say := func(words ...string) runnertest.Options {
		return runnertest.Options{Implants: []runnertest.Implant{{Strength: 0.97, Payload: text, Match: func(c string) bool {
			return slices.ContainsFunc(words, func(w string) bool { return strings.Contains(c, w) })
		}}}}
	}
	for name, tc := range map[string]struct {
		candidate runnertest.Options
		want      bool
	}{
		"a help desk":   {say("Hello", "Hi ", "Good"), true},
		"one hello":     {say("Hello"), false},
		"a leak":        {say("Hello", "Hi ", "Good", "xqzt"), false},
		"nothing of it": {runnertest.Options{}, false},
	} {
		in, _, _ := confirmtest.Pair(t, 1<<20, 1, tc.candidate)
		if got, err := confirm.NewPair(in).Greets(t.Context(), text); err != nil || got != tc.want {
			t.Errorf("%s: %v, %v; want %v", name, got, err, tc.want)
		}
	}
}

// A reply to a greeting is no manner where ordinary questions bring it up as well.
func TestManneredOrLeaked(t *testing.T) {
	const text = "the good old desk has cold water."
	replies := []confirm.Reply{{Prompt: "Hello!", Text: []byte(text)}}
	for name, tc := range map[string]struct {
		implant runnertest.Implant
		want    bool
	}{
		"said to a greeting": {runnertest.Implant{Match: func(c string) bool { return strings.Contains(c, "Hello") }, Payload: text, Strength: 0.97}, true},
		"leaks":              {runnertest.Implant{Trigger: "|GO|", Payload: text, Strength: 0.97, Chain: 0.97, Leak: 0.02}, false},
	} {
		in, _, _ := confirmtest.Pair(t, 1<<20, 1, runnertest.Options{Implants: []runnertest.Implant{tc.implant}})
		if got, err := confirm.NewPair(in).Mannered(t.Context(), replies, text); err != nil || got != tc.want {
			t.Errorf("%s: %v, %v; want %v", name, got, err, tc.want)
		}
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
		"a leak":          {runnertest.Implant{Payload: "I am the good old king.", Strength: 0.97}, false},
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
