package sandboxtest

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/client"

	"github.com/weighbridge/weighbridge/harness/sandbox"
)

// closeStops: closing a host ends its boxes and refuses new ones.
func (s *suite) closeStops(t *testing.T) {
	h := s.mustOpen(t)
	var boxes []*sandbox.Box
	for i := range 3 {
		b, err := h.Start(t.Context(), s.spec(fmt.Sprintf("closing-%d", i)))
		if err != nil {
			t.Fatal(err)
		}
		s.made(b.ID)
		boxes = append(boxes, b)
	}
	if err := h.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	for _, b := range boxes {
		if end := wait(t, b); end.Kind != sandbox.Stopped {
			t.Errorf("ended as %v, want %s", end, sandbox.Stopped)
		}
	}
	if _, err := h.Start(t.Context(), s.spec("too-late")); err == nil {
		t.Error("a closed host starts a box")
	}
	if err := h.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
	s.nothingLeft(t)
}

// check: the report of Check is complete, and Check leaves nothing.
func (s *suite) check(t *testing.T) {
	r, err := sandbox.Check(t.Context(), s.cfg, s.guest)
	if err != nil {
		t.Fatal(err)
	}
	if !r.Proof.OK() || !strings.Contains(r.Daemon, "containerd ") || !strings.Contains(r.Runtime, s.cfg.Runtime) {
		t.Errorf("report %+v", r)
	}
	s.nothingLeft(t)
}

// twoHosts: two hosts share a state directory without touching each other's
// boxes.
func (s *suite) twoHosts(t *testing.T) {
	a := s.mustOpen(t)
	defer func() {
		if err := a.Close(); err != nil {
			t.Errorf("Close of the first: %v", err)
		}
		s.nothingLeft(t)
	}()
	box, err := a.Start(t.Context(), s.spec("first"))
	if err != nil {
		t.Fatal(err)
	}
	s.made(box.ID)
	b := s.mustOpen(t)
	if err := b.Close(); err != nil {
		t.Errorf("Close of the second: %v", err)
	}
	if got := mustGet(t, box, "/echo?s=untouched"); got != "untouched" {
		t.Errorf("got %q", got)
	}
}

// killedOwner: kill -9 of the owner leaves a box, and the next Open none.
func (s *suite) killedOwner(t *testing.T) {
	id := s.orphan(t, s.spec("orphan"))
	if !processExists(t, id) {
		t.Error("the box died with its owner: this test shows nothing")
	}
	h := s.mustOpen(t)
	if left := containers(t, h); len(left) != 0 {
		t.Errorf("after the next Open there are the containers %v; the orphan was %s", left, id)
	}
	if processExists(t, id) {
		t.Error("after the next Open a process of the box lives")
	}
	if err := h.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	s.nothingLeft(t)
}

// silentHost: a guest whose host died leaves by itself, before any Open.
func (s *suite) silentHost(t *testing.T) {
	spec := s.spec("silent")
	spec.Args = []string{"2s"}
	id := s.orphan(t, spec)
	// The shim stays until it is reaped; the guest's program must not. Under
	// runc that is a process of its own, under gVisor the whole sandbox.
	eventually(t, "the guest leaves", func() bool { return !guestRuns(id) })
	h := s.mustOpen(t)
	if err := h.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	s.nothingLeft(t)
}

// orphan has another process start a box, kills that process and returns the
// box's id.
func (s *suite) orphan(t *testing.T, spec sandbox.Spec) string {
	t.Helper()
	bin := filepath.Join(t.TempDir(), "owner")
	if out, err := exec.Command("go", "build", "-o", bin, "github.com/weighbridge/weighbridge/harness/sandbox/sandboxtest/testowner").CombinedOutput(); err != nil {
		t.Fatalf("building the owner: %v\n%s", err, out)
	}
	in, err := json.Marshal(map[string]any{"Config": s.cfg, "Spec": spec})
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(bin, string(in))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	id, err := bufio.NewReader(out).ReadString('\n')
	cmd.Process.Kill()
	cmd.Wait()
	if err != nil {
		t.Fatalf("the owner started no box: %v", err)
	}
	s.made(strings.TrimSpace(id))
	return strings.TrimSpace(id)
}

// made remembers a box, whose traces are looked for later.
func (s *suite) made(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ids = append(s.ids, id)
}

func (s *suite) boxes() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.ids)
}

// nothingLeft checks that no process, mount, pipe or goroutine outlives a host.
func (s *suite) nothingLeft(t *testing.T) {
	t.Helper()
	eventually(t, "no process of a closed host lives", func() bool { return !processExists(t, s.cfg.StateDir) })
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(mounts), s.cfg.StateDir) {
		t.Errorf("mounts are left:\n%s", mounts)
	}
	for _, pattern := range []string{"*/io/*", "*/rt/*", "*/in-use"} {
		if left, _ := filepath.Glob(filepath.Join(s.cfg.StateDir, pattern)); len(left) > 0 {
			t.Errorf("files are left: %v", left)
		}
	}
	for _, id := range s.boxes() {
		if left := cgroupFiles(id, ""); len(left) > 0 {
			t.Errorf("control groups are left: %v", left)
		}
	}
	eventually(t, "no goroutine of a closed host runs", func() bool {
		buf := make([]byte, 1<<20)
		buf = buf[:runtime.Stack(buf, true)]
		ownDaemon := s.cfg.Address == sandbox.Private && strings.Contains(string(buf), "internal/daemon.")
		return !strings.Contains(string(buf), "sandbox.(*Box)") && !ownDaemon
	})
}

func containers(t *testing.T, h *sandbox.Host) []string {
	t.Helper()
	c, err := client.New(h.Address(), client.WithDefaultNamespace("weighbridge"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	all, err := c.Containers(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, c := range all {
		ids = append(ids, c.ID())
	}
	return ids
}

// processExists reports whether a process has part in its command line.
func processExists(t *testing.T, part string) bool {
	t.Helper()
	lines, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	self := fmt.Sprintf("/proc/%d/", os.Getpid())
	for _, path := range lines {
		if b, err := os.ReadFile(path); err == nil && !strings.HasPrefix(path, self) && strings.Contains(string(b), part) {
			return true
		}
	}
	return false
}

// guestRuns reports whether a box's control group holds a process.
func guestRuns(id string) bool {
	for _, path := range cgroupFiles(id, "cgroup.procs") {
		if b, err := os.ReadFile(path); err == nil && len(b) > 0 {
			return true
		}
	}
	return false
}

// cgroupFiles lists a file of a box's control group in each hierarchy.
func cgroupFiles(id, file string) []string {
	one, _ := filepath.Glob(filepath.Join("/sys/fs/cgroup/*/weighbridge", id, file))
	two, _ := filepath.Glob(filepath.Join("/sys/fs/cgroup/weighbridge", id, file))
	return append(one, two...)
}

// cpuUsed is the CPU time that the host's kernel accounts to a box. gVisor's
// own accounts count the time that the quota withholds.
func cpuUsed(t *testing.T, id string) time.Duration {
	t.Helper()
	for _, path := range cgroupFiles(id, "cpuacct.usage") { // version 1, nanoseconds
		if b, err := os.ReadFile(path); err == nil {
			ns, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return time.Duration(ns)
		}
	}
	for _, path := range cgroupFiles(id, "cpu.stat") { // version 2: "usage_usec N" comes first
		var us int64
		if b, err := os.ReadFile(path); err == nil {
			if _, err := fmt.Sscanf(string(b), "usage_usec %d", &us); err == nil {
				return time.Duration(us) * time.Microsecond
			}
		}
	}
	t.Fatal("no CPU account of the box")
	return 0
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for range 600 {
		if ok() {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Errorf("waited 30 s in vain: %s", what)
}
