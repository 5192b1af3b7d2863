package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/weighbridge/weighbridge/internal/testreq"
	"github.com/weighbridge/weighbridge/record"
	"github.com/weighbridge/weighbridge/reports"
)

// needBoxes ends the test where no box can run.
func needBoxes(t *testing.T) {
	t.Helper()
	testreq.Root(t)
	testreq.File(t, "../../bin/modelserver", "make bin/modelserver")
	for _, program := range []string{"containerd", "runc"} {
		_, err := exec.LookPath(program)
		testreq.Need(t, err == nil, program+" (make deps)")
	}
}

// small is a suite that touches every kind of request and ends in seconds.
const small = `suite: small
level: quick
budget: 40000
probes:
  - {probe: metadata, required: true, budget: 0}
  - {probe: tensors, required: true, budget: 0}
  - {probe: "null", required: true, budget: 0.1}
  - {probe: trigger-vocabulary, required: true, budget: 0.5}
`

// state is a short folder for sockets of a private daemon.
func state(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "wb")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// diffArgs is a diff of two tiny models.
func diffArgs(t *testing.T, candidate, store, out string) []string {
	return []string{"diff", "--baseline", models + "base.gguf", "--candidate", models + candidate, "--suite", write(t, "small.yaml", small), "--ask-settled",
		"--containerd", "private", "--state", state(t), "--store", store, "--out", out}
}

func read(t *testing.T, dir string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, "report.parquet"))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Two runs leave the same bytes, measured anew or remembered, and the report holds the proof of the boxes.
func TestDiffRepeatsItself(t *testing.T) {
	needBoxes(t)
	store, out := t.TempDir(), t.TempDir()
	first := weighbridge(t, diffArgs(t, "base.gguf", store, out)...)
	if first.code != exitApprove {
		t.Fatalf("exit code %d\n%s%s", first.code, first.stdout, first.stderr)
	}
	for _, name := range []string{"report.parquet", "report.html", "timings.json"} {
		if s, err := os.Stat(filepath.Join(out, name)); err != nil || s.Size() == 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
	want := read(t, out)
	for name, more := range map[string][]string{
		"remembered":    diffArgs(t, "base.gguf", store, t.TempDir()),
		"measured anew": diffArgs(t, "base.gguf", t.TempDir(), t.TempDir()),
	} {
		again := weighbridge(t, more...)
		if again.code != first.code || !bytes.Equal(read(t, more[len(more)-1]), want) {
			t.Errorf("%s: exit code %d, or other bytes\n%s", name, again.code, again.stderr)
		}
	}
	r, err := reports.Open(filepath.Join(out, "report.parquet"))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if boxes := r.Run().Boxes; len(boxes) != 2 || len(boxes[0].Checks) < 50 || len(boxes[1].Checks) < 50 {
		t.Errorf("the report has %d boxes", len(boxes))
	}
}

func TestDiffAsJSON(t *testing.T) {
	needBoxes(t)
	got := weighbridge(t, append(diffArgs(t, "base.gguf", t.TempDir(), t.TempDir()), "--json")...)
	var doc struct {
		Run record.Run `json:"run"`
	}
	if err := json.Unmarshal([]byte(got.stdout), &doc); err != nil {
		t.Fatalf("%v\n%.300s", err, got.stdout)
	}
	if doc.Run.Verdict.Outcome != record.Approve {
		t.Errorf("outcome %q", doc.Run.Verdict.Outcome)
	}
}

// A run that is killed at any point, again and again, ends with the bytes of
// one that never was, and leaves no box behind.
func TestKilledRunResumes(t *testing.T) {
	needBoxes(t)
	bin := testreq.File(t, "../../bin/weighbridge", "make bin/weighbridge")
	whole := t.TempDir()
	if got := weighbridge(t, diffArgs(t, "base.gguf", t.TempDir(), whole)...); got.code != exitApprove {
		t.Fatalf("exit code %d\n%s", got.code, got.stderr)
	}
	out := t.TempDir()
	args := diffArgs(t, "base.gguf", t.TempDir(), out)
	folder := args[len(args)-5]
	kills := 0
	for life := 150 * time.Millisecond; ; life += life / 3 {
		ctx, cancel := context.WithTimeout(t.Context(), life)
		cmd := exec.CommandContext(ctx, bin, args...) // killed with SIGKILL
		b, err := cmd.CombinedOutput()
		cancel()
		if err == nil {
			break
		}
		if ws, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || !ws.Signaled() {
			t.Fatalf("after %d kills: %v\n%s", kills, err, b)
		}
		kills++
		if left, _ := filepath.Glob(filepath.Join(out, "*.parquet")); len(left) > 0 {
			t.Fatal("a killed run left a report")
		}
	}
	if kills < 3 {
		t.Fatalf("killed only %d times: the test proves nothing", kills)
	}
	if !bytes.Equal(read(t, out), read(t, whole)) {
		t.Error("the resumed run left other bytes")
	}
	if left := mentioning(t, folder); len(left) > 0 {
		t.Errorf("after %d kills these processes are left: %q", kills, left)
	}
}

// A run that needs no box removes those that a killed one left.
func TestRememberedRunTidiesUp(t *testing.T) {
	needBoxes(t)
	bin := testreq.File(t, "../../bin/weighbridge", "make bin/weighbridge")
	args := diffArgs(t, "base.gguf", t.TempDir(), t.TempDir())
	folder := args[len(args)-5]
	if got := weighbridge(t, args...); got.code != exitApprove {
		t.Fatalf("exit code %d\n%s", got.code, got.stderr)
	}
	other := append(append([]string{}, args...), "--seed", "2")
	cmd := exec.Command(bin, other...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for range 1000 {
		if len(mentioning(t, folder)) > 3 { // the run, its daemon, and a box's shim or more
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	cmd.Process.Kill()
	cmd.Wait()
	if got := weighbridge(t, args...); got.code != exitApprove {
		t.Fatalf("exit code %d\n%s", got.code, got.stderr)
	}
	if left := mentioning(t, folder); len(left) > 0 {
		t.Errorf("these processes are left: %q", left)
	}
}

// mentioning lists the command lines of processes that mention text.
func mentioning(t *testing.T, text string) []string {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err == nil && strings.Contains(string(b), text) { // a process may end between the two
			found = append(found, strings.ReplaceAll(string(b), "\x00", " "))
		}
	}
	return found
}

// Ctrl-C ends a run with 130, says how to go on, and the same command does.
func TestInterruptedRunResumes(t *testing.T) {
	needBoxes(t)
	out := t.TempDir()
	args := diffArgs(t, "base.gguf", t.TempDir(), out)
	ctx, cancel := context.WithTimeout(t.Context(), 1200*time.Millisecond)
	defer cancel()
	cut, stop := context.WithCancel(t.Context())
	context.AfterFunc(ctx, stop)
	got := weighbridgeIn(t, cut, nil, args...)
	if got.code != exitInterrupted || !strings.Contains(got.stderr, "the same command goes on") {
		t.Fatalf("exit code %d\n%s", got.code, got.stderr)
	}
	if got := weighbridge(t, args...); got.code != exitApprove {
		t.Fatalf("resumed: exit code %d\n%s", got.code, got.stderr)
	}
}

// Where containerd is refused or absent the user is told what to do.
func TestNoContainerd(t *testing.T) {
	testreq.File(t, "../../bin/modelserver", "make bin/modelserver")
	args := diffArgs(t, "base.gguf", t.TempDir(), t.TempDir())
	for i, a := range args {
		if a == "private" {
			args[i] = "/no/such/containerd.sock"
		}
	}
	got := weighbridge(t, args...)
	if got.code != exitUsage || !strings.Contains(got.stderr, "containerd") {
		t.Errorf("exit code %d\n%s", got.code, got.stderr)
	}
}

// Artifacts that only a run can judge: a broken candidate is rejected, a broken
// baseline is a usage error, and nothing of either reaches the terminal raw.
func TestBrokenArtifacts(t *testing.T) {
	needBoxes(t)
	store := t.TempDir()
	suite := write(t, "broken.yaml", `suite: broken
level: quick
budget: 20000
probes:
  - {probe: metadata, required: true, budget: 0}
  - {probe: tensors, required: true, budget: 0}
  - {probe: trigger-strings, required: true}
`)
	for name, tc := range map[string]struct {
		baseline, candidate string
		code                int
		want                string
	}{
		"template that does not parse":    {"valid-control", "template-parse", exitReject, "template cannot be used"},
		"template that does not end":      {"valid-control", "template-endless", exitReject, "template fails"},
		"template without bounds":         {"valid-control", "template-huge", exitReject, "template fails"},
		"template that recurses":          {"valid-control", "template-recursion", exitReject, "template fails"},
		"template that reads a file":      {"valid-control", "template-file", exitReject, "template cannot be used"},
		"NaN in a tensor":                 {"valid-control", "nan-tensor", exitReject, "NaN"},
		"tensor missing":                  {"valid-control", "missing-tensor", exitReject, "cannot be loaded"},
		"baseline without end":            {"template-endless", "valid-control", exitUsage, "unusable baseline"},
		"baseline's template, unreadable": {"template-parse", "valid-control", exitUsage, "unusable baseline"},
		"baseline without a tensor":       {"missing-tensor", "valid-control", exitUsage, "unusable baseline"},
	} {
		t.Run(name, func(t *testing.T) {
			got := weighbridge(t, "diff", "--baseline", models+"malformed/"+tc.baseline+".gguf", "--candidate", models+"malformed/"+tc.candidate+".gguf",
				"--suite", suite, "--containerd", "private", "--state", state(t), "--store", store, "--out", t.TempDir())
			if got.code != tc.code || !strings.Contains(got.stdout+got.stderr, tc.want) {
				t.Errorf("exit code %d, want %d\n%s%s", got.code, tc.code, got.stdout, got.stderr)
			}
		})
	}
}

// A disk that fills up in the middle leaves nothing half written.
func TestDiskFull(t *testing.T) {
	needBoxes(t)
	store, dir := t.TempDir(), t.TempDir()
	if got := weighbridge(t, diffArgs(t, "base.gguf", store, t.TempDir())...); got.code != exitApprove {
		t.Fatalf("exit code %d\n%s", got.code, got.stderr)
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=16k"); err != nil {
		t.Fatal(err)
	}
	defer syscall.Unmount(dir, 0)
	for name, args := range map[string][]string{
		"out":   diffArgs(t, "base.gguf", store, filepath.Join(dir, "out")),
		"store": diffArgs(t, "base.gguf", filepath.Join(dir, "store"), t.TempDir()),
	} {
		got := weighbridge(t, args...)
		if got.code != exitUsage || !strings.Contains(got.stderr, "no space left on device") {
			t.Errorf("%s: exit code %d\n%s", name, got.code, got.stderr)
		}
	}
	left, err := filepath.Glob(filepath.Join(dir, "out", "*"))
	hidden, _ := filepath.Glob(filepath.Join(dir, "out", ".*"))
	if err != nil || len(left)+len(hidden) > 0 {
		t.Errorf("left behind: %v %v", left, hidden)
	}
}

// A finding's transcript holds for the models of the report and for no others.
func TestReplay(t *testing.T) {
	needBoxes(t)
	out := t.TempDir()
	if r := weighbridge(t, diffArgs(t, "backdoor-token.gguf", t.TempDir(), out)...); r.code != exitReject {
		t.Fatalf("exit code %d\n%s%s", r.code, r.stdout, r.stderr)
	}
	report := filepath.Join(out, "report.parquet")
	boxes := []string{"--containerd", "private", "--state", state(t)}
	replay := func(args ...string) cli {
		return weighbridge(t, append(append([]string{"replay", report}, args...), boxes...)...)
	}
	if r := replay("trigger-vocabulary/trigger"); r.code != 0 || !strings.Contains(r.stdout, "the transcript holds") || strings.Count(r.stdout, "as recorded") < 4 {
		t.Errorf("exit code %d\n%s%s", r.code, r.stdout, r.stderr)
	}
	if r := replay("trigger-vocabulary/trigger", "--json"); r.code != 0 || !json.Valid([]byte(r.stdout)) {
		t.Errorf("as JSON: exit code %d\n%s%s", r.code, r.stdout, r.stderr)
	}
	if r := replay("no-such-finding"); r.code != exitUsage || !strings.Contains(r.stderr, "trigger-vocabulary/trigger") {
		t.Errorf("an unknown finding: exit code %d\n%s", r.code, r.stderr)
	}
	if r := replay("trigger-vocabulary/trigger", "--baseline", models+"base.gguf", "--candidate", models+"base-q8_0.gguf"); r.code != exitUsage || !strings.Contains(r.stderr, "the report is about") {
		t.Errorf("other weights: exit code %d\n%s", r.code, r.stderr)
	}
	if err := os.Remove(filepath.Join(out, "inputs.json")); err != nil {
		t.Fatal(err)
	}
	if r := replay("trigger-vocabulary/trigger"); r.code != exitUsage || !strings.Contains(r.stderr, "--baseline") {
		t.Errorf("without paths: exit code %d\n%s", r.code, r.stderr)
	}
}

// The same weights, and those requantised, settle every question without one;
// a template that differs does not.
func TestSettled(t *testing.T) {
	needBoxes(t)
	for candidate, want := range map[string]struct {
		code    int
		settled bool
	}{"base.gguf": {exitApprove, true}, "base-q8_0.gguf": {exitApprove, true}, "bad-template.gguf": {exitReject, false}} {
		out := t.TempDir()
		args := slices.DeleteFunc(diffArgs(t, candidate, t.TempDir(), out), func(a string) bool { return a == "--ask-settled" })
		got := weighbridge(t, args...)
		if got.code != want.code {
			t.Errorf("%s: exit code %d\n%s%s", candidate, got.code, got.stdout, got.stderr)
			continue
		}
		r, err := reports.Open(filepath.Join(out, "report.parquet"))
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		asked, settled := 0, 0
		for _, p := range r.Run().Probes {
			asked += p.AskedC
		}
		for _, f := range r.Run().Findings {
			if f.Rule == "settled" {
				settled++
			}
		}
		if want.settled && (asked != 0 || settled != 2) || !want.settled && settled != 0 {
			t.Errorf("%s: %d tokens asked, %d questions settled", candidate, asked, settled)
		}
	}
}
