package sandboxtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/weighbridge/weighbridge/harness/sandbox"
)

// ends: each way to end is told apart from the others.
func (s *suite) ends(t *testing.T) {
	for _, tt := range []struct {
		path string
		want sandbox.EndKind
		code int // -1 for any
	}{
		{"/exit?code=0", sandbox.Exited, 0},
		{"/exit?code=7", sandbox.Exited, 7},
		{"/panic", sandbox.Crashed, 2},
		{"/segv", sandbox.Crashed, -1},
		{"/hang", sandbox.Hung, -1},
		{"/grow", sandbox.OOM, 137},
	} {
		t.Run(tt.path, func(t *testing.T) {
			t.Parallel()
			b := s.start(t, s.spec("ends"))
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			if _, err := get(ctx, b, tt.path); err == nil && tt.want != sandbox.Crashed {
				t.Error("the request that ends the box was answered")
			}
			end := wait(t, b)
			if end.Kind != tt.want || tt.code >= 0 && end.ExitCode != tt.code {
				t.Errorf("ended as %v, want %s with code %d; log: %s", end, tt.want, tt.code, b.Stderr())
			}
			if _, err := get(t.Context(), b, "/echo?s=x"); err == nil {
				t.Error("an ended box answers")
			}
			if again, err := b.Stop(t.Context()); err != nil || again != end {
				t.Errorf("Stop after the end gives %v, %v, want %v", again, err, end)
			}
		})
	}
}

func (s *suite) lifeTime(t *testing.T) {
	spec := s.spec("short-life")
	spec.Life = 3 * time.Second
	b := s.start(t, spec)
	get(t.Context(), b, "/sleep?d=1h")
	if end := wait(t, b); end.Kind != sandbox.Deadline {
		t.Errorf("ended as %v, want %s", end, sandbox.Deadline)
	}
}

func (s *suite) givenUp(t *testing.T) {
	b := s.start(t, s.spec("given-up"))
	end, err := b.GiveUp(t.Context(), "no token for a minute")
	if err != nil || end.Kind != sandbox.Hung || end.Detail != "no token for a minute" {
		t.Errorf("ended as %v, %v", end, err)
	}
}

// diesAtStart: the error carries the guest's own end and log.
func (s *suite) diesAtStart(t *testing.T) {
	spec := s.spec("stillborn")
	spec.Args = []string{"1s", "die"}
	_, err := s.host.Start(t.Context(), spec)
	var e *sandbox.EndError
	if !errors.As(err, &e) || e.End.Kind != sandbox.Exited || e.End.ExitCode != 3 || !strings.Contains(e.Stderr, "asked to die") {
		t.Errorf("Start gives %v", err)
	}
}

func (s *suite) contextAtStart(t *testing.T) {
	s.start(t, s.spec("early")).Stop(t.Context()) // the image is there from here on
	for d := time.Duration(0); d < 60*time.Millisecond; d += 3 * time.Millisecond {
		ctx, cancel := context.WithTimeout(t.Context(), d)
		b, err := s.host.Start(ctx, s.spec("late"))
		cancel()
		if err == nil { // a fast machine
			b.Stop(t.Context())
		} else if !errors.Is(err, context.DeadlineExceeded) && !strings.Contains(err.Error(), "deadline") {
			t.Errorf("Start within %v gives %v", d, err)
		}
	}
}

func (s *suite) badSpecs(t *testing.T) {
	dir := t.TempDir()
	text := filepath.Join(dir, "text")
	if err := os.WriteFile(text, []byte("not a program"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*sandbox.Spec){
		"missing guest":     func(p *sandbox.Spec) { p.Guest = filepath.Join(dir, "none") },
		"guest not ELF":     func(p *sandbox.Spec) { p.Guest = text },
		"missing file":      func(p *sandbox.Spec) { p.Files = []sandbox.File{{Host: filepath.Join(dir, "none"), Box: "/weights/m"}} },
		"directory as file": func(p *sandbox.Spec) { p.Files = []sandbox.File{{Host: dir, Box: "/weights/m"}} },
		"file elsewhere":    func(p *sandbox.Spec) { p.Files = []sandbox.File{{Host: text, Box: "/etc/passwd"}} },
		"name":              func(p *sandbox.Spec) { p.Name = "Ä" },
	} {
		spec := s.spec("bad")
		change(&spec)
		if _, err := s.host.Start(t.Context(), spec); !errors.Is(err, sandbox.ErrBadSpec) {
			t.Errorf("%s: Start gives %v, want ErrBadSpec", name, err)
		}
	}
}

// memory: page cache of a file larger than the limit does not kill.
func (s *suite) memory(t *testing.T) {
	file := filepath.Join(t.TempDir(), "big")
	if err := errors.Join(os.WriteFile(file, nil, 0o644), os.Truncate(file, 200<<20)); err != nil {
		t.Fatal(err)
	}
	spec := s.spec("memory")
	spec.Memory = 128 << 20
	spec.Tmp = 16 << 20
	spec.Files = []sandbox.File{{Host: file, Box: "/weights/model.gguf"}}
	b := s.start(t, spec)
	if got := mustGet(t, b, "/touch?path=/weights/model.gguf"); got != fmt.Sprint(200<<20) {
		t.Errorf("touched %s bytes", got)
	}
}

func (s *suite) tmp(t *testing.T) {
	spec := s.spec("tmp")
	spec.Tmp = 5 << 20
	b := s.start(t, spec)
	got := mustGet(t, b, "/fill")
	var n int
	if fmt.Sscan(got, &n); n == 0 || n > 5<<20 || !strings.Contains(got, "no space left") {
		t.Errorf("filling /tmp gives %q, want at most 5 MiB and no space left", got)
	}
}

// pids: a guest that makes threads without end ends at the limit, in whatever
// way its runtime takes that, and the box next door does not notice.
func (s *suite) pids(t *testing.T) {
	spec := s.spec("threads")
	spec.Pids = 64
	bad, good := s.start(t, spec), s.start(t, s.spec("next-door"))
	get(t.Context(), bad, "/threads")
	end := wait(t, bad)
	if end.Kind != sandbox.Crashed && end.Kind != sandbox.OOM && end.Kind != sandbox.Hung {
		t.Errorf("ended as %v, want a crash or a hang at the limit", end)
	}
	mustGet(t, good, "/echo?s=x")
}

// cpu: half a CPU for two seconds is about one second of work, however many
// threads want it. The bound is wide: it tells a quota from none.
func (s *suite) cpu(t *testing.T) {
	spec := s.spec("cpu")
	spec.CPUs = 0.5
	b := s.start(t, spec)
	before := cpuUsed(t, b.ID)
	mustGet(t, b, "/spin?d=2s")
	if got := cpuUsed(t, b.ID) - before; got <= 0 || got > 1500*time.Millisecond {
		t.Errorf("used %v of CPU in 2 s with a quota of 0.5", got)
	}
}
