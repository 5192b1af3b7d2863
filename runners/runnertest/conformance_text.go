package runnertest

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weighbridge/weighbridge/runners"
)

func testInfo(t *testing.T, p *probe) {
	if p.info.VocabSize < 2 || p.info.ContextLength < 64 || p.info.Engine == "" || p.info.Architecture == "" {
		t.Errorf("info is %+v", p.info)
	}
	last := runners.None
	for _, s := range p.info.Special {
		if s.ID <= last || int(s.ID) >= p.info.VocabSize {
			t.Errorf("special token %d follows %d", s.ID, last)
		}
		last = s.ID
	}
	again, err := p.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(p.info, again); d != "" {
		t.Errorf("info changes:\n%s", d)
	}
}

func testRoundTrip(t *testing.T, p *probe) {
	texts := []string{"hello world", "A, b. 12 !", ""}
	r, err := p.Tokenize(t.Context(), &runners.TokenizeRequest{Texts: texts})
	if err != nil {
		t.Fatal(err)
	}
	d, err := p.Detokenize(t.Context(), &runners.DetokenizeRequest{Tokens: r.Tokens})
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range texts {
		// Some tokenizers put a space before a text.
		if got := strings.TrimPrefix(string(d.Texts[i]), " "); got != want {
			t.Errorf("%q comes back as %q", want, got)
		}
	}
	if !p.info.AddBOS {
		return
	}
	b, err := p.Tokenize(t.Context(), &runners.TokenizeRequest{Texts: texts[:1], AddBOS: true})
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(append([]runners.Token{p.info.BOS}, r.Tokens[0]...), b.Tokens[0]); d != "" {
		t.Errorf("with BOS:\n%s", d)
	}
}

// control gives a control token that has a text.
func (p *probe) control(t *testing.T) runners.SpecialToken {
	t.Helper()
	for _, s := range p.info.Special {
		if s.Kind == "control" && len(s.Text) > 2 && s.ID != p.info.BOS {
			return s
		}
	}
	t.Skip("the vocabulary has no control token with a text")
	return runners.SpecialToken{}
}

func testSpecialText(t *testing.T, p *probe) {
	c := p.control(t)
	text := "say " + c.Text + " now"
	for _, special := range []bool{false, true} {
		r, err := p.Tokenize(t.Context(), &runners.TokenizeRequest{Texts: []string{text}, Special: special})
		if err != nil {
			t.Fatal(err)
		}
		if got := slices.Contains(r.Tokens[0], c.ID); got != special {
			t.Errorf("%q with Special %v has the control token: %v", text, special, got)
		}
	}
}

func testRenderSpecial(t *testing.T, p *probe) {
	if !p.info.HasTemplate {
		t.Skip("the model has no chat template")
	}
	c := p.control(t)
	counts := map[string]int{}
	talk := func(s string) runners.Conversation {
		return runners.Conversation{Messages: []runners.Message{{Role: "user", Content: s}}, AddGenerationPrompt: true}
	}
	spelt := "say " + c.Text + " now"
	r, err := p.Render(t.Context(), &runners.RenderRequest{Conversations: []runners.Conversation{talk("say it now"), talk(spelt)}})
	if err != nil {
		t.Fatal(err)
	}
	for i, name := range []string{"plain", "spelt"} {
		x := r.Rendered[i]
		if x.Error != "" || len(x.Tokens) == 0 {
			t.Fatalf("%s conversation: %d tokens, error %q", name, len(x.Tokens), x.Error)
		}
		for _, id := range x.Tokens {
			if id == c.ID {
				counts[name]++
			}
		}
	}
	if counts["plain"] != counts["spelt"] {
		t.Errorf("a message that spells %q makes %d control tokens of %d", c.Text, counts["spelt"], counts["plain"])
	}
	if !strings.Contains(r.Rendered[1].Text, spelt) {
		t.Errorf("the rendered text %q lacks %q", r.Rendered[1].Text, spelt)
	}
	d, err := p.Detokenize(t.Context(), &runners.DetokenizeRequest{Tokens: [][]runners.Token{r.Rendered[1].Tokens}, Special: true})
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(d.Texts[0]), c.Text) {
		t.Errorf("the ids spell %q, without %q", d.Texts[0], c.Text)
	}
}
