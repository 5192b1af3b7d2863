package probes

import (
	"strings"
	"testing"

	"github.com/weighbridge/weighbridge/runners"
)

func TestRandStreamsAreIndependentAndRepeatable(t *testing.T) {
	in := &Input{Seed: 7}
	a, b := in.Rand("prompts"), in.Rand("controls")
	again := (&Input{Seed: 7}).Rand("prompts")
	other := (&Input{Seed: 8}).Rand("prompts")
	x := a.Uint64()
	if x != again.Uint64() {
		t.Error("the same seed and purpose give other numbers")
	}
	if x == b.Uint64() || x == other.Uint64() {
		t.Error("two streams start with the same number")
	}
}

func TestParamsRefuseAMisspeltField(t *testing.T) {
	dst := struct {
		Limit int `json:"limit"`
	}{Limit: 5}
	if err := Params(nil).Decode(&dst); err != nil || dst.Limit != 5 {
		t.Errorf("no parameters: %v, limit %d", err, dst.Limit)
	}
	if err := Params(`{"limit":9}`).Decode(&dst); err != nil || dst.Limit != 9 {
		t.Errorf("limit 9: %v, limit %d", err, dst.Limit)
	}
	if err := Params(`{"limt":9}`).Decode(&dst); err == nil || !strings.Contains(err.Error(), "limt") {
		t.Errorf("a misspelt field gives %v", err)
	}
}

func TestLookupListsWhatThereIs(t *testing.T) {
	if _, err := Lookup("no-such-probe"); err == nil || !strings.Contains(err.Error(), "no-such-probe") {
		t.Errorf("got %v", err)
	}
}

// A model without a template is told all that a conversation holds.
func TestPlainConversations(t *testing.T) {
	tools := WithSystem("Be brief.", "What is the time?")
	tools.Tools = []byte(`[{"type":"function"}]`)
	tools.Messages = append(tools.Messages, runners.Message{Role: "assistant", ToolCalls: []byte(`[{"name":"clock"}]`)}, runners.Message{Role: "tool", Content: "12:00"})
	for name, tc := range map[string]struct {
		c    runners.Conversation
		want string
	}{
		"question":      {User("Hello"), "user: Hello\nassistant:"},
		"system":        {WithSystem("Be brief.", "Hello"), "system: Be brief.\nuser: Hello\nassistant:"},
		"tools":         {tools, "tools: [{\"type\":\"function\"}]\nsystem: Be brief.\nuser: What is the time?\nassistant: [{\"name\":\"clock\"}]\ntool: 12:00\nassistant:"},
		"not to answer": {runners.Conversation{Messages: []runners.Message{{Role: "user", Content: "Hello"}}}, "user: Hello\n"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := Plain(tc.c); got != tc.want {
				t.Errorf("%q, want %q", got, tc.want)
			}
		})
	}
}
