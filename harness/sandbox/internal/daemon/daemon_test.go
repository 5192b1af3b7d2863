package daemon

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

func TestKillByArgKillsOnlyTheWholeArgument(t *testing.T) {
	start := func(arg string) *exec.Cmd {
		cmd := exec.Command("sh", "-c", "read x", "sh", arg)
		if _, err := cmd.StdinPipe(); err != nil { // read blocks until it closes
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		return cmd
	}
	mark := filepath.Base(t.TempDir()) + t.Name()
	victim, bystander := start(mark), start(mark+"-not")
	defer func() {
		bystander.Process.Kill()
		bystander.Wait()
	}()
	gone := make(chan error, 1)
	go func() { gone <- victim.Wait() }()
	if err := KillByArg(mark); err != nil {
		t.Fatal(err)
	}
	if err := <-gone; err == nil || !strings.Contains(err.Error(), "killed") {
		t.Errorf("the victim ended with %v", err)
	}
	if _, err := os.Stat(filepath.Join("/proc", strconv.Itoa(bystander.Process.Pid), "exe")); err != nil {
		t.Errorf("the bystander is gone: %v", err)
	}
	if err := KillByArg(mark); err != nil {
		t.Errorf("with nobody to kill: %v", err)
	}
}

// A listener that an earlier daemon has not closed yet is not taken for the new
// one.
func TestStartDoesNotMeetAnEarlierDaemon(t *testing.T) {
	dir := t.TempDir()
	old, err := net.Listen("unix", filepath.Join(dir, "c.sock"))
	if err != nil {
		t.Fatal(err)
	}
	defer old.Close()
	bin := filepath.Join(dir, "containerd")
	if err := os.WriteFile(bin, []byte("#!/bin/sh\nsleep 0.2\necho too late >&2\nexit 1\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := Start(t.Context(), bin, dir); err == nil || !strings.Contains(err.Error(), "too late") {
		t.Errorf("Start gives %v, want the new daemon's own end", err)
	}
}

func TestStartTellsWhyTheDaemonDied(t *testing.T) {
	dir := t.TempDir()
	bin := filepath.Join(dir, "containerd")
	if err := os.WriteFile(bin, []byte("#!/bin/sh\necho no such snapshotter >&2\nexit 1\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	_, err := Start(t.Context(), bin, dir)
	if err == nil || !strings.Contains(err.Error(), "no such snapshotter") {
		t.Errorf("Start gives %v, want the daemon's own words", err)
	}
	if _, err := Start(t.Context(), filepath.Join(dir, "none"), dir); err == nil {
		t.Error("a missing daemon starts")
	}
	if _, err := Start(t.Context(), bin, "/"+strings.Repeat("x", MaxDir)); err == nil || !strings.Contains(err.Error(), "too long") {
		t.Errorf("a long directory gives %v", err)
	}
}
