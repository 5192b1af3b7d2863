//go:build engine

package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/weighbridge/weighbridge/harness/sandbox"
	"github.com/weighbridge/weighbridge/internal/testreq"
	"github.com/weighbridge/weighbridge/runners"
	"github.com/weighbridge/weighbridge/runners/runnertest"
	"github.com/weighbridge/weighbridge/runners/wire"
)

const (
	server = "../../bin/modelserver"
	tiny   = "../../testdata/models/base.gguf"
)

// start runs the server in a box.
func start(t *testing.T, model string, args ...string) (*sandbox.Box, runners.Model) {
	t.Helper()
	testreq.Root(t)
	guest, err := filepath.Abs(server)
	if err != nil {
		t.Fatal(err)
	}
	testreq.File(t, guest, "make bin/modelserver")
	h, err := sandbox.Open(t.Context(), sandbox.Config{})
	if errors.Is(err, sandbox.ErrUnavailable) {
		testreq.Need(t, false, err.Error())
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	b, err := h.Start(t.Context(), sandbox.Spec{
		Name: "modelserver", Guest: guest, Args: append([]string{"-model", "/weights/model.gguf"}, args...),
		Files: []sandbox.File{{Host: model, Box: "/weights/model.gguf"}}, Life: 10 * time.Minute,
	})
	if err != nil {
		t.Fatal(err)
	}
	return b, wire.NewClient(b.HTTP())
}

// TestConformanceInABox asks through the walls: chat templates too must work
// there, in a process of their own.
func TestConformanceInABox(t *testing.T) {
	path, err := filepath.Abs(tiny)
	if err != nil {
		t.Fatal(err)
	}
	testreq.File(t, path, "testdata/models/recipe makes it")
	b, m := start(t, path, "-ctx", "256")
	runnertest.Suite(t, func(*testing.T) runners.Model { return m })
	if t.Failed() {
		t.Logf("the box's log:\n%s", b.Stderr())
	}
}

func TestTheReasonIsServed(t *testing.T) {
	junk := filepath.Join(t.TempDir(), "junk.gguf")
	if err := os.WriteFile(junk, []byte("GGUF\x03\x00\x00\x00 and no more"), 0o644); err != nil {
		t.Fatal(err)
	}
	_, m := start(t, junk)
	_, err := m.Info(t.Context())
	var e *runners.Error
	if !errors.As(err, &e) || e.Code != runners.CodeEngine || !strings.Contains(e.Message, "/weights/model.gguf") {
		t.Errorf("weights that do not load give %v", err)
	}
}

func TestParse(t *testing.T) {
	for _, c := range []struct {
		args string
		want string // of the error, or empty
	}{
		{"-model m.gguf -adapter a.gguf@0.5 -adapter b.gguf -ctx 100 -threads 2", ""},
		{"", "-model"},
		{"-model m x", "unexpected"},
		{"-model m -adapter a@x", "not a number"},
		{"-model m -ctx -1", "negative"},
		{"-model m -listen tcp:1", "unix"},
	} {
		cfg, err := parse(strings.Fields(c.args), new(strings.Builder))
		if c.want == "" && err == nil {
			if len(cfg.Adapters) != 2 || cfg.Adapters[0].Scale != 0.5 || cfg.Adapters[1].Scale != 1 || cfg.Context != 100 || cfg.Threads != 2 {
				t.Errorf("%s gives %+v", c.args, cfg)
			}
		} else if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.args, err, c.want)
		}
	}
}
