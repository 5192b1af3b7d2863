package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/weighbridge/weighbridge/harness/sandbox/proof"
)

func TestJudgeExit(t *testing.T) {
	for _, tt := range []struct {
		code   int
		kills  uint64
		oomErr error
		want   EndKind
	}{
		{0, 0, nil, Exited},
		{1, 0, nil, Exited},
		{70, 0, nil, Exited},
		{2, 0, nil, Crashed},
		{137, 0, nil, Crashed},
		{137, 1, nil, OOM},
		{2, 1, nil, OOM}, // gVisor's sentry may report its guest's end first
		{137, 0, errors.New("no counters"), Crashed},
		{137, 9, errors.New("no counters"), Crashed},
		{139, 0, nil, Crashed},
		{255, 0, nil, Exited},
	} {
		if got := judgeExit(tt.code, tt.kills, tt.oomErr); got.Kind != tt.want || got.ExitCode != tt.code || got.Detail == "" {
			t.Errorf("judgeExit(%d, %d, %v) = %v, want %s", tt.code, tt.kills, tt.oomErr, got, tt.want)
		}
	}
}

func TestOrphaned(t *testing.T) {
	me := owner{Boot: "boot-1", PIDNS: "pid:[1]", PID: 10, Start: 100}
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	starts := func(pid int) (uint64, error) {
		switch pid {
		case 10, 11:
			return 100, nil
		case 12:
			return 0, errors.New("cannot look")
		}
		return 0, fmt.Errorf("no process: %w", fs.ErrNotExist)
	}
	later, earlier := now.Add(time.Hour).Format(time.RFC3339), now.Add(-time.Hour).Format(time.RFC3339)
	for _, tt := range []struct {
		name, owner, deadline string
		want                  bool
	}{
		{"own", me.String(), later, false},
		{"living", "boot-1 pid:[1] 11 100", later, false},
		{"dead", "boot-1 pid:[1] 13 100", later, true},
		{"pid used again", "boot-1 pid:[1] 11 99", later, true},
		{"before the boot", "boot-0 pid:[1] 11 100", later, true},
		{"other pid namespace", "boot-1 pid:[2] 13 100", later, false},
		{"other pid namespace, over", "boot-1 pid:[2] 13 100", earlier, true},
		{"cannot look", "boot-1 pid:[1] 12 100", later, false},
		{"living, over", "boot-1 pid:[1] 11 100", earlier, true},
		{"no owner", "", later, true},
		{"no deadline", me.String(), "", true},
	} {
		labels := map[string]string{labelOwner: tt.owner, labelDeadline: tt.deadline}
		if got := orphaned(labels, me, now, starts); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestSelfIsNotOrphaned(t *testing.T) {
	me, err := self()
	if err != nil {
		t.Fatal(err)
	}
	back, err := parseOwner(me.String())
	if err != nil || back != me {
		t.Errorf("parseOwner(%q) = %v, %v", me, back, err)
	}
	labels := map[string]string{labelOwner: me.String(), labelDeadline: time.Now().Add(time.Hour).UTC().Format(time.RFC3339)}
	if orphaned(labels, me, time.Now(), startTime) {
		t.Error("this very process counts as dead")
	}
}

func TestTailKeepsTheEnd(t *testing.T) {
	tl := newTail(10)
	var all strings.Builder
	for i := range 50 {
		s := strings.Repeat(fmt.Sprint(i%10), i%23)
		fmt.Fprint(&all, s)
		if n, err := tl.Write([]byte(s)); n != len(s) || err != nil {
			t.Fatalf("Write(%d bytes) = %d, %v", len(s), n, err)
		}
		want := all.String()[max(0, all.Len()-10):]
		if got := tl.String(); got != want {
			t.Fatalf("after %d bytes: %q, want %q", all.Len(), got, want)
		}
	}
}

func TestInstances(t *testing.T) {
	state := t.TempDir()
	take := func() *instance {
		t.Helper()
		in, err := takeInstance(state)
		if err != nil {
			t.Fatal(err)
		}
		return in
	}
	a, b := take(), take()
	if a.dir == b.dir {
		t.Fatal("two hosts share a place")
	}
	if err := a.release(true); err != nil {
		t.Fatal(err)
	}
	b.lock.Close() // as a dying process does: the lock goes, the mark stays
	if c := take(); c.dir != b.dir {
		t.Errorf("got the place %s, want %s, which needs tidying", c.dir, b.dir)
	}
	if d := take(); d.dir != a.dir {
		t.Errorf("got the place %s, want the free %s", d.dir, a.dir)
	}
}

func TestConfigRefuses(t *testing.T) {
	for name, c := range map[string]Config{
		"runtime":        {Runtime: "docker"},
		"long directory": {StateDir: "/" + strings.Repeat("x", 60)},
		"negative time":  {Heartbeat: -1},
		"hang too soon":  {Heartbeat: time.Second, HangAfter: time.Millisecond},
	} {
		if _, err := Open(t.Context(), c); !errors.Is(err, ErrBadSpec) {
			t.Errorf("%s: %v, want ErrBadSpec", name, err)
		}
	}
}

func TestUnavailableSaysWhatToDo(t *testing.T) {
	dir := t.TempDir()
	for name, tt := range map[string]struct {
		cfg  Config
		want string
	}{
		"no socket":  {Config{Address: filepath.Join(dir, "none.sock"), RuntimePath: os.Args[0]}, "leave the address empty"},
		"no runtime": {Config{RuntimePath: filepath.Join(dir, "runc")}, "apt-get install runc"},
		"no gVisor":  {Config{Runtime: Runsc, RuntimePath: filepath.Join(dir, "runsc")}, "make bin/runsc"},
	} {
		if os.Geteuid() != 0 {
			tt.want = "root"
		}
		tt.cfg.StateDir = filepath.Join(dir, "s")
		_, err := Open(context.Background(), tt.cfg)
		if !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want ErrUnavailable with %q", name, err, tt.want)
		}
	}
}

func TestProofErrorNamesTheCheck(t *testing.T) {
	err := &ProofError{Name: "cand", Report: proof.Judge(proof.Walls{Runtime: Runc}, []proof.Observation{{Name: "call/bpf", Got: "ok"}})}
	if !strings.Contains(err.Error(), "cand is not sealed") || !strings.Contains(err.Error(), "call/32-bit socket") {
		t.Errorf("message %q", err)
	}
}
