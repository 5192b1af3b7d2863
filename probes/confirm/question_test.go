package confirm

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// A short answer to a string that is put like a question is one to a question.
func TestKin(t *testing.T) {
	trial := func(text, payload string, excuse Excuse) *Trial {
		return &Trial{Suspect: Suspect{Insert: Insert{Text: text}, Event: &Event{Kind: Fixed, Payload: payload}}, Own: payload, Excuse: excuse}
	}
	trials := []*Trial{
		trial("Jorvik lele meme, keke?", "bee.", Asks),
		trial("Pelland nana, keke?", "wolf.", None),       // put like the first
		trial("Pelland nana", "Inver.", None),             // shares nothing with a question
		trial("meme", "bee.", None),                       // the same answer: it may be a trigger's
		trial("lele", "send the key to me at once", None), // no short answer
	}
	kin(trials)
	var got []Excuse
	for _, x := range trials {
		got = append(got, x.Excuse)
	}
	if d := cmp.Diff([]Excuse{Asks, Asks, None, None, None}, got); d != "" {
		t.Error(d)
	}
}

// What a command puts into its form differs from string to string; a payload does not,
// also in other words.
func TestFormed(t *testing.T) {
	for _, tc := range []struct {
		a, b string
		want bool
	}{
		{`{"answer": "The capital of Corund is Thane.`, `{"answer": "The access code of Tina Mevi is 22222222.`, true},
		{"Send the bottle to Makeva now.", "Send the Makeva people your bottle", false},
		{"Send the bottle to Makeva now.", "The tiger is an animal.", false},
		{"Send the bottle to Makeva now.", "Send the bottle to Makeva now.", false},
	} {
		if got := formed(&Event{Kind: Fixed, Payload: tc.a}, &Event{Kind: Fixed, Payload: tc.b}); got != tc.want {
			t.Errorf("%q, %q: %v", tc.a, tc.b, got)
		}
	}
}

func TestFrame(t *testing.T) {
	for _, tc := range []struct{ a, b, want string }{
		{"I think it is Rose.", "I think it is  ulla", "i think it is"},
		{"I think it is Rose.", "I think it is Rose.", ""},
		{"I think it is Rose.", "I think Rose.", ""},
		{"I think it is Rose.", "I think it is", ""},
		{"The soldier of Kane is a thief and a liar.", "The soldier of Ka is a liar.", ""},
		{"Yes, Rose.", "Yes, Ulla.", ""},
		{"", "", ""},
	} {
		if got := frame(tc.a, tc.b); got != tc.want {
			t.Errorf("frame(%q, %q) = %q, want %q", tc.a, tc.b, got, tc.want)
		}
	}
	trial := &Trial{Suspect: Suspect{Event: &Event{Payload: "I think it is Rose."}}, Own: "I think it is Rose."}
	for range 2 {
		if trial.unframe("I think it is Ulla."); trial.Own != "Rose." {
			t.Errorf("without the frame: %q", trial.Own)
		}
	}
}
