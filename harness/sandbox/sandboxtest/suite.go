// Package sandboxtest is the conformance suite of package sandbox: what every
// runtime must hold, tried from inside real boxes.
//
// [Suite] takes a configuration and runs one subtest per promise.
// It needs root, containerd and the runtime; without them it skips, or fails
// where internal/testreq says that they must be there. It never asserts times.
package sandboxtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/weighbridge/weighbridge/harness/sandbox"
)

// Guest builds the suite's guest program and returns its path.
func Guest(t testing.TB) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), "guest")
	cmd := exec.Command("go", "build", "-o", out, "github.com/weighbridge/weighbridge/harness/sandbox/sandboxtest/testguest")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if b, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("building the test guest: %v\n%s", err, b)
	}
	return out
}

// Suite checks the runtime and daemon that cfg names. The state directory and
// the heartbeats are the suite's own.
func Suite(t *testing.T, cfg sandbox.Config) {
	s := newSuite(t, cfg)
	t.Run("boxes", func(t *testing.T) {
		s.host = s.mustOpen(t)
		defer func() {
			if left := containers(t, s.host); len(left) != 0 {
				t.Errorf("the ended boxes left the containers %v", left)
			}
			if err := s.host.Close(); err != nil {
				t.Errorf("Close: %v", err)
			}
			s.nothingLeft(t)
		}()
		t.Run("each", func(t *testing.T) {
			for name, f := range map[string]func(*testing.T){
				"proof":            s.proof,
				"wire":             s.wire,
				"files":            s.files,
				"ends":             s.ends,
				"life time":        s.lifeTime,
				"given up":         s.givenUp,
				"dies at start":    s.diesAtStart,
				"context at start": s.contextAtStart,
				"bad specs":        s.badSpecs,
				"memory":           s.memory,
				"tmp":              s.tmp,
				"pids":             s.pids,
				"cpu":              s.cpu,
				"long request":     s.longRequest,
			} {
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					f(t)
				})
			}
		})
		t.Run("many at once", s.many)
	})
	s.hosts(t)
}

// Hosts is the part of Suite that depends on where containerd comes from:
// whether hosts clean up after themselves and after each other.
func Hosts(t *testing.T, cfg sandbox.Config) { newSuite(t, cfg).hosts(t) }

func (s *suite) hosts(t *testing.T) {
	t.Run("check", s.check)
	t.Run("close stops boxes", s.closeStops)
	t.Run("two hosts", s.twoHosts)
	t.Run("killed owner", s.killedOwner)
	t.Run("silent host", s.silentHost)
}

func newSuite(t *testing.T, cfg sandbox.Config) *suite {
	cfg.StateDir = shortDir(t)
	cfg.Heartbeat, cfg.HangAfter = 300*time.Millisecond, 6*time.Second
	cfg.StartTimeout = 2 * time.Minute // 32 boxes at once on a busy machine
	return &suite{cfg: cfg, guest: Guest(t)}
}

type suite struct {
	cfg   sandbox.Config
	guest string
	host  *sandbox.Host

	mu  sync.Mutex
	ids []string // of all boxes
}

// shortDir is a temporary directory with a short name: sockets lie in it.
func shortDir(t testing.TB) string {
	dir, err := os.MkdirTemp("/tmp", "wbt")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Errorf("something still holds the state directory: %v", err)
		}
	})
	return dir
}

func (s *suite) mustOpen(t testing.TB) *sandbox.Host {
	t.Helper()
	h, err := sandbox.Open(t.Context(), s.cfg)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func (s *suite) spec(name string) sandbox.Spec {
	return sandbox.Spec{Name: name, Guest: s.guest, Limits: sandbox.Limits{Memory: 256 << 20}}
}

// start starts a box that is stopped when the test ends.
func (s *suite) start(t testing.TB, spec sandbox.Spec) *sandbox.Box {
	t.Helper()
	b, err := s.host.Start(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	s.made(b.ID)
	t.Cleanup(func() {
		if _, err := b.Stop(context.Background()); err != nil {
			t.Errorf("Stop: %v", err)
		}
	})
	return b
}

// get returns the body of a request to the guest's handler.
func get(ctx context.Context, b *sandbox.Box, path string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, "GET", "http://box"+path, nil)
	if err != nil {
		return "", err
	}
	res, err := b.HTTP().Do(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("status %d: %s", res.StatusCode, body)
	}
	return string(body), err
}

func mustGet(t testing.TB, b *sandbox.Box, path string) string {
	t.Helper()
	got, err := get(t.Context(), b, path)
	if err != nil {
		t.Fatalf("GET %s: %v; log: %s", path, err, b.Stderr())
	}
	return got
}

// wait waits for the end of a box, with a bound so that a broken one fails.
func wait(t testing.TB, b *sandbox.Box) sandbox.End {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	end, err := b.Wait(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return end
}

// proof: every escape fails, twice with the same result, and a listener that
// the host really has cannot be reached.
func (s *suite) proof(t *testing.T) {
	l, err := net.Listen("unix", "@sandboxtest-"+filepath.Base(s.cfg.StateDir))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	weights := filepath.Join(t.TempDir(), "w")
	// World-writable: the mount, not the file's mode, has to protect it.
	if err := errors.Join(os.WriteFile(weights, []byte("w"), 0o666), os.Chmod(weights, 0o666)); err != nil {
		t.Fatal(err)
	}
	spec := s.spec("proof")
	spec.Files = []sandbox.File{{Host: weights, Box: "/weights/model.gguf"}}
	first, second := s.start(t, spec).Proof, s.start(t, spec).Proof
	if !first.OK() || len(first.Checks) < 100 {
		t.Errorf("%d checks, failed: %v", len(first.Checks), first.Failed())
	}
	if a, b := fmt.Sprint(first), fmt.Sprint(second); a != b {
		t.Errorf("two equal boxes prove different things:\n%s\n%s", a, b)
	}
}

// wire: bodies of any size both ways, many at once, and contexts that end.
func (s *suite) wire(t *testing.T) {
	b := s.start(t, s.spec("wire"))
	if !strings.Contains(b.Stderr(), "stray print") {
		t.Errorf("a print on standard output should be in the log, which is %q", b.Stderr())
	}
	const size = 5<<20 + 3
	res, err := b.HTTP().Post("http://box/count", "", bytes.NewReader(make([]byte, size)))
	if err != nil {
		t.Fatal(err)
	}
	got, _ := io.ReadAll(res.Body)
	res.Body.Close()
	if want := fmt.Sprint(size, nil); string(got) != want {
		t.Errorf("the guest counts %q, want %q", got, want)
	}
	g, ctx := errgroup.WithContext(t.Context())
	for i := range 200 {
		g.Go(func() error {
			want := strings.Repeat(fmt.Sprintf("%d-", i), 2000)
			got, err := get(ctx, b, "/echo?s="+want)
			if err == nil && got != want {
				err = fmt.Errorf("answer %d belongs to another question", i)
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := get(ctx, b, "/sleep?d=1h"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a request with a deadline gives %v", err)
	}
	mustGet(t, b, "/echo?s=still+alive")
}

// files: the guest reads the very bytes, and only the ones it was given.
func (s *suite) files(t *testing.T) {
	dir := t.TempDir()
	model, adapter := filepath.Join(dir, "m"), filepath.Join(dir, "a")
	link := filepath.Join(dir, "link")
	want := bytes.Repeat([]byte("weights!"), 300_000)
	if err := errors.Join(os.WriteFile(model, want, 0o600), os.Chmod(model, 0o644), os.WriteFile(adapter, []byte("lora"), 0o644), os.Symlink(adapter, link)); err != nil {
		t.Fatal(err)
	}
	spec := s.spec("files")
	spec.Files = []sandbox.File{{Host: model, Box: "/weights/model.gguf"}, {Host: link, Box: "/weights/adapter.gguf"}}
	b := s.start(t, spec)
	if got := mustGet(t, b, "/read?path=/weights/model.gguf"); got != string(want) {
		t.Errorf("the model has %d bytes, want %d, or others", len(got), len(want))
	}
	if got := mustGet(t, b, "/read?path=/weights/adapter.gguf"); got != "lora" {
		t.Errorf("the adapter is %q", got)
	}
	if _, err := get(t.Context(), b, "/read?path="+model); err == nil {
		t.Error("the guest can read a host path")
	}
}

// longRequest: silence inside one request is no silence of the host.
func (s *suite) longRequest(t *testing.T) {
	spec := s.spec("long")
	spec.Args = []string{"2s"} // far longer than the heartbeat below
	b := s.start(t, spec)
	if got := mustGet(t, b, "/sleep?d=6s"); got != "slept" {
		t.Errorf("got %q", got)
	}
}

// many: 32 boxes live at the same time and each answers for itself.
func (s *suite) many(t *testing.T) {
	const n = 32
	boxes := make([]*sandbox.Box, n)
	g, ctx := errgroup.WithContext(t.Context())
	for i := range n {
		g.Go(func() (err error) {
			spec := s.spec(fmt.Sprintf("many-%d", i))
			spec.Memory, spec.Tmp = 64<<20, 1<<20
			boxes[i], err = s.host.Start(ctx, spec)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		t.Error(err)
	}
	var stop sync.WaitGroup
	for i, b := range boxes {
		if b == nil {
			continue
		}
		if got := mustGet(t, b, fmt.Sprintf("/echo?s=%d", i)); got != fmt.Sprint(i) {
			t.Errorf("box %d answers %q", i, got)
		}
		stop.Go(func() {
			if end, err := b.Stop(context.Background()); err != nil || end.Kind != sandbox.Stopped {
				t.Errorf("box %d: %v, %v", i, end, err)
			}
		})
	}
	stop.Wait()
}
