package probes

import (
	"strings"
	"testing"
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
