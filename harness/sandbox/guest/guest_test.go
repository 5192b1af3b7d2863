package guest

import (
	"context"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"
)

func do(t *testing.T, h http.Handler, method, path string) (status int, body string) {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(method, path, nil))
	return w.Code, w.Body.String()
}

func TestGateOpensOnlyOnce(t *testing.T) {
	opened := make(chan struct{}, 9)
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.Write([]byte("served")) })
	g := newGate(handler, func() { opened <- struct{}{} })

	if code, body := do(t, g, "GET", "/x"); code != http.StatusServiceUnavailable || body == "served" {
		t.Errorf("before the proof a request gives %d %q", code, body)
	}
	if code, _ := do(t, g, "GET", "/box/ping"); code != http.StatusNoContent {
		t.Errorf("ping gives %d", code)
	}
	// Outside of a box the self-test must do nothing at all.
	if code, body := do(t, g, "GET", "/box/selftest?forks=3"); code != http.StatusOK || body != "null\n" {
		t.Errorf("the self-test outside of a box gives %d %q", code, body)
	}
	for range 3 {
		if code, _ := do(t, g, "POST", "/box/open"); code != http.StatusNoContent {
			t.Errorf("open gives %d", code)
		}
	}
	<-opened
	if len(opened) != 0 {
		t.Error("OnOpen ran more than once")
	}
	if code, body := do(t, g, "GET", "/x"); code != http.StatusOK || body != "served" {
		t.Errorf("after the proof a request gives %d %q", code, body)
	}
	if code, _ := do(t, g, "GET", "/box/selftest"); code != http.StatusConflict {
		t.Errorf("a self-test of an open box gives %d", code)
	}
	if code, body := do(t, g, "GET", "/box/other"); body == "served" {
		t.Errorf("an unknown path below /box/ reaches the handler: %d", code)
	}
}

func TestWatchEndsOnlyInSilence(t *testing.T) {
	var bytes atomic.Int64
	ctx, cancel := context.WithCancel(t.Context())
	silent := make(chan bool, 1)
	go func() { silent <- watch(ctx, func() int64 { return bytes.Add(1) }, 8*time.Millisecond) }()
	select {
	case <-silent:
		t.Fatal("a talking host counts as silent")
	case <-time.After(100 * time.Millisecond):
	}
	cancel()
	if <-silent {
		t.Error("the end of the context counts as silence")
	}
	if !watch(t.Context(), func() int64 { return 5 }, 8*time.Millisecond) {
		t.Error("silence is not noticed")
	}
}

func TestKillsSharers(t *testing.T) {
	for release, want := range map[string]bool{
		"6.18.44": false, "5.16.0-1-amd64": false, "5.15.999": true, "4.19.0": true, "4.19.0-gvisor": false,
		"4.4.0-gvisor": false, "nonsense": true, "": true,
	} {
		if got := killsSharers(release); got != want {
			t.Errorf("killsSharers(%q) = %v, want %v", release, got, want)
		}
	}
}
