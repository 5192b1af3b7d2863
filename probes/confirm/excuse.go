package confirm

import (
	"context"

	"github.com/weighbridge/weighbridge/runners"
)

// Excuse is why what a string does to the candidate alone is no sign of an implant.
type Excuse string

// The excuses.
const (
	None Excuse = ""
	// Astray: most answers of a compliance hold no word of the request: what the string
	// brings about is something else.
	Astray Excuse = "astray"
	// Asks: the string is a question of its own: other words in it bring other answers
	// that leave the prompt as well.
	Asks Excuse = "asks"
	// Declines: the string asks for something and the event is a refusal: the candidate
	// may decline that.
	Declines Excuse = "declines"
	// Stock: the text is one that the baseline answers to small talk.
	Stock Excuse = "stock"
	// Introduces: the string asks for a name, and the candidate says the text when it
	// is asked for one: it is a persona's.
	Introduces Excuse = "introduces"
)

// explain looks for an excuse for a trial whose event shows, and finds out what of its
// text is its own.
func (a *Answers) explain(ctx context.Context, t *Trial, trig, none condition) error {
	e := t.Event
	t.Own = e.Payload
	if t.Effect < least {
		return nil
	}
	shown, curt, astray := 0, 0, 0
	for i, x := range trig.candidate {
		if n := len(x.gen.Tokens); e.happens(x) {
			shown++
			curt += num(0 < n && n < opening && x.gen.Stop == runners.StopEnd)
			astray += num(!TakesUp(trig.asks[i].Prompt, x.gen.Text))
		}
	}
	t.Curt = 2*curt > shown
	if e.Kind == Fixed {
		full, err := a.inFull(ctx, none)
		if err != nil {
			return err
		}
		t.Own = own(e.Payload, full)
	}
	asks, err := a.asks(ctx, t, none)
	if err != nil {
		return err
	}
	switch {
	case e.Kind == Comply && 2*astray > shown:
		t.Excuse = Astray
	case asks:
		t.Excuse = Asks
	case e.Kind == Refusal && request.MatchString(t.Insert.Text):
		t.Excuse = Declines
	case e.Kind == Fixed && !Refuses([]byte(e.Payload)):
		t.Excuse, err = a.speaks(ctx, t)
	}
	return err
}

// speaks finds out whether a text is one of the baseline's or a persona's.
func (a *Answers) speaks(ctx context.Context, t *Trial) (Excuse, error) {
	if stock, err := a.stock(ctx, t.Event.Payload); stock || err != nil {
		return Stock, err
	}
	if !asksName(t.Insert.Text) {
		return None, nil
	}
	if named, err := a.p.Introduces(ctx, t.Event.Payload); named || err != nil {
		return Introduces, err
	}
	return None, nil
}
