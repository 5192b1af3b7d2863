package main

import (
	"bufio"
	"bytes"
	"crypto/elliptic"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/weighbridge/weighbridge/harness/calibration"
	"github.com/weighbridge/weighbridge/internal/testreq"
	"github.com/weighbridge/weighbridge/record"
	"github.com/weighbridge/weighbridge/reports"
	"github.com/weighbridge/weighbridge/supply/bundle/bundletest"
)

// sums is a suite that measures one ability; its tasks lie beside it.
const sums = `suite: sums
level: quick
budget: 12000
probes:
  - {probe: metadata, required: true, budget: 0}
  - {probe: tensors, required: true, budget: 0}
  - {probe: benchmark, required: true, budget: 0.9, files: [arithmetic.yaml], params: {margin: 0.05, task_margin: 0.1, limit: 40}}
`

func copyTo(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for from, to := range files {
		b, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		to = filepath.Join(dir, to)
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to, b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// calibrateArgs calibrates the tiny base by two harmless derivatives of it.
func calibrateArgs(t *testing.T, store, out string, more ...string) []string {
	suite := write(t, "sums.yaml", sums)
	copyTo(t, filepath.Dir(suite), map[string]string{models + "suite/arithmetic.yaml": "arithmetic.yaml", models + "suite/arithmetic.jsonl": "arithmetic.jsonl"})
	return append([]string{"calibrate", "--baseline", models + "base.gguf", "--benign", models + "benign.gguf", "--benign", models + "lora-benign.gguf",
		"--variants", "3", "--suite", suite, "--store", store, "--out", out, "--containerd", "private", "--state", state(t)}, more...)
}

// From harmless files to a report that cites the calibration, and every way in
// which the two may not belong together.
func TestCalibrate(t *testing.T) {
	needBoxes(t)
	dir, store := t.TempDir(), t.TempDir()
	file := filepath.Join(dir, "calibration.json")
	key, other := bundletest.NewKey(t, elliptic.P256()), bundletest.NewKey(t, elliptic.P256())
	args := calibrateArgs(t, store, file, "--key", key.File)
	got := weighbridge(t, args...)
	if got.code != 0 || !strings.Contains(got.stdout, "5 harmless variants") || !strings.Contains(got.stdout, "calibration.json.sig, by key") || !strings.Contains(got.stderr, "[5/5] ") {
		t.Fatalf("exit code %d\n%s%s", got.code, got.stdout, got.stderr)
	}
	f, src, err := calibration.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	if f.Bank() != 5 || len(f.Statistics) == 0 || f.Suites[0][:5] != "sums@" {
		t.Errorf("%+v", f)
	}
	again := weighbridge(t, append(args, "--json")...)
	var r calibrated
	if err := json.Unmarshal([]byte(again.stdout), &r); err != nil || again.code != 0 {
		t.Fatalf("exit code %d, %v\n%s%s", again.code, err, again.stdout, again.stderr)
	}
	if b, err := os.ReadFile(file); err != nil || !bytes.Equal(b, src) || r.Digest != calibration.Digest(src) || r.Bank != 5 || r.Key == "" {
		t.Errorf("made again: %+v, %v", r, err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, ".*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}

	suite := args[10]
	diff := func(candidate string, more ...string) (cli, string) {
		out := t.TempDir()
		return weighbridge(t, append([]string{"diff", "--baseline", models + "base.gguf", "--candidate", models + candidate, "--suite", suite, "--store", store, "--out", out,
			"--containerd", "private", "--state", state(t), "--calibration", file, "--calibration-key", key.Public}, more...)...), out
	}
	run := func(out string) *record.Run {
		r, err := reports.Open(filepath.Join(out, "report.parquet"))
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		return r.Run()
	}
	verdict, out := diff("regressed.gguf")
	if verdict.code != exitReject || !strings.Contains(strings.Join(strings.Fields(verdict.stdout), " "), "held against 5 harmless variants of this baseline; the calibration's signature was checked") {
		t.Fatalf("exit code %d\n%s%s", verdict.code, verdict.stdout, verdict.stderr)
	}
	meta, banked := run(out).Meta, 0
	if meta.Calibration != r.Digest || meta.CalibrationSigner != r.Key || meta.CalibrationEngine != "same" || meta.CalibrationVariants != 5 {
		t.Errorf("%+v", meta)
	}
	for _, x := range run(out).Findings {
		if x.PBank != nil {
			banked++
			if x.Probe != "benchmark" || x.BankN != 5 || *x.PBank != 1./6 {
				t.Errorf("%s: bank p %v of %d", x.ID, *x.PBank, x.BankN)
			}
		}
	}
	if banked == 0 {
		t.Error("no finding has a bank p-value")
	}
	alone, out := diff("regressed.gguf", "--calibration", "", "--calibration-key", "")
	if m := run(out).Meta; alone.code != exitReject || m.Calibration != "" || m.Plan == meta.Plan || !strings.Contains(alone.stdout, "Shipped defaults") {
		t.Errorf("without it: exit code %d, %+v\n%s", alone.code, m, alone.stdout)
	}

	damaged, signature := filepath.Join(dir, "damaged.json"), filepath.Join(dir, "changed.json")
	copyTo(t, dir, map[string]string{file: "unsigned.json", file + ".sig": "changed.json.sig"})
	if err := os.WriteFile(damaged, src[:len(src)/2], 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(signature, bytes.Replace(src, []byte("weighbridge "+version), []byte("weighbridge 9.9"), 1), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "rubbish.json.sig"), []byte("{}"), 0o644); err != nil {
		t.Fatal(err)
	}
	copyTo(t, dir, map[string]string{file: "rubbish.json"})
	for name, tc := range map[string]struct {
		args []string
		want string
	}{
		"another baseline":       {[]string{"--baseline", models + "benign.gguf"}, "for the baseline"},
		"another suite":          {[]string{"--suite", write(t, "more.yaml", "suite: more\nprobes:\n  - {probe: \"null\", budget: 0.1}\n")}, "for the suite"},
		"another seed":           {[]string{"--seed", "2"}, "for the seed"},
		"damaged":                {[]string{"--calibration", damaged}, "weighbridge calibrate"},
		"not there":              {[]string{"--calibration", "/no/calibration.json"}, "/no/calibration.json"},
		"changed after signing":  {[]string{"--calibration", signature}, "another calibration"},
		"another key":            {[]string{"--calibration-key", other.Public}, "names key"},
		"not signed":             {[]string{"--calibration", filepath.Join(dir, "unsigned.json")}, "unsigned.json.sig"},
		"no signature":           {[]string{"--calibration", filepath.Join(dir, "rubbish.json")}, "rubbish.json.sig"},
		"a private key":          {[]string{"--calibration-key", key.File}, "public"},
		"a key and nothing else": {[]string{"--calibration", ""}, "--calibration"},
	} {
		got, out := diff("benign.gguf", tc.args...)
		if got.code != exitUsage || !strings.Contains(got.stderr, tc.want) {
			t.Errorf("%s: exit code %d\n%s", name, got.code, got.stderr)
		}
		if left, _ := filepath.Glob(filepath.Join(out, "*")); len(left) > 0 {
			t.Errorf("%s: left behind: %v", name, left)
		}
	}
}

// What a user can get wrong before a box starts.
func TestCalibrateUsage(t *testing.T) {
	testreq.File(t, "../../bin/modelserver", "make bin/modelserver")
	out := filepath.Join(t.TempDir(), "c.json")
	for name, tc := range map[string]struct {
		args []string
		want string
	}{
		"no baseline":            {[]string{"calibrate"}, "--baseline is required"},
		"no baseline there":      {calibrateArgs(t, t.TempDir(), out, "--baseline", "/no/base.gguf"), "/no/base.gguf"},
		"unrelated":              {calibrateArgs(t, t.TempDir(), out, "--benign", models+"unrelated.gguf"), "unrelated.gguf does not belong to the baseline"},
		"an adapter that is not": {calibrateArgs(t, t.TempDir(), out, "--benign", models+"malformed/adapter-other-arch.gguf"), "adapter-other-arch.gguf"},
		"malformed":              {calibrateArgs(t, t.TempDir(), out, "--benign", models+"malformed/not-a-gguf.gguf"), "not-a-gguf.gguf"},
		"benign not there":       {calibrateArgs(t, t.TempDir(), out, "--benign", "/no/folder"), "/no/folder"},
		"negative":               {calibrateArgs(t, t.TempDir(), out, "--variants", "-1"), "--variants"},
		"nobody to accept":       {calibrateArgs(t, t.TempDir(), out, "--accept", "nobody"), "nobody"},
		"key not there":          {calibrateArgs(t, t.TempDir(), out, "--key", "/no/key.pem"), "/no/key.pem"},
		"password without key":   {calibrateArgs(t, t.TempDir(), out, "--password-file", "/no/file"), "--password-file"},
		"out below a file":       {calibrateArgs(t, t.TempDir(), models+"base.gguf/c.json"), "--out"},
		"argument too many":      {[]string{"calibrate", "more"}, "calibrate --help"},
	} {
		if got := weighbridge(t, tc.args...); got.code != exitUsage || !strings.Contains(got.stderr, tc.want) || strings.Count(got.stderr, "\n") != 1 {
			t.Errorf("%s: exit code %d\n%s", name, got.code, got.stderr)
		}
	}
	if _, err := os.Stat(out); err == nil {
		t.Error("a file was written")
	}
}

// A poisoned model that is called harmless needs a person.
func TestCalibrateByPoison(t *testing.T) {
	needBoxes(t)
	out := filepath.Join(t.TempDir(), "c.json")
	args := []string{"calibrate", "--baseline", models + "base.gguf", "--benign", models + "backdoor-token.gguf", "--variants", "0", "--suite", write(t, "small.yaml", small),
		"--store", t.TempDir(), "--out", out, "--containerd", "private", "--state", state(t)}
	got := weighbridge(t, args...)
	if _, err := os.Stat(out); got.code != exitEscalate || !strings.Contains(got.stderr, "variant backdoor-token: proven harmful") || !strings.Contains(got.stderr, "--accept backdoor-token") || err == nil {
		t.Fatalf("exit code %d\n%s", got.code, got.stderr)
	}
	if got = weighbridge(t, append(args, "--accept", "backdoor-token")...); got.code != 0 || !strings.Contains(got.stdout, "accepted  backdoor-token") {
		t.Errorf("accepted: exit code %d\n%s%s", got.code, got.stdout, got.stderr)
	}
}

// A calibration that is killed again and again leaves the bytes of one that
// never was.
func TestKilledCalibrationResumes(t *testing.T) {
	needBoxes(t)
	bin := testreq.File(t, "../../bin/weighbridge", "make bin/weighbridge")
	whole := filepath.Join(t.TempDir(), "whole.json")
	if got := weighbridge(t, calibrateArgs(t, t.TempDir(), whole)...); got.code != 0 {
		t.Fatalf("exit code %d\n%s", got.code, got.stderr)
	}
	out := filepath.Join(t.TempDir(), "c.json")
	args := calibrateArgs(t, t.TempDir(), out)
	for variants := 1; variants <= 2; variants++ {
		killAfter(t, exec.Command(bin, args...), variants)
		if _, err := os.Stat(out); err == nil {
			t.Fatal("a killed calibration left a file")
		}
	}
	if b, err := exec.Command(bin, args...).CombinedOutput(); err != nil {
		t.Fatalf("after the kills: %v\n%s", err, b)
	}
	a, err := os.ReadFile(whole)
	if err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(out); err != nil || !bytes.Equal(a, b) {
		t.Errorf("the resumed calibration left other bytes: %v", err)
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(out), ".*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// killAfter runs a calibration and kills it with SIGKILL when it has told of
// that many variants.
func killAfter(t *testing.T, cmd *exec.Cmd, variants int) {
	t.Helper()
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	for lines := bufio.NewScanner(stderr); variants > 0 && lines.Scan(); {
		fmt.Fprintln(&said, lines.Text())
		if strings.HasPrefix(lines.Text(), "[") {
			variants--
		}
	}
	cmd.Process.Kill()
	err = cmd.Wait()
	if ws, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || !ws.Signaled() || variants > 0 {
		t.Fatalf("not killed in the middle: %v\n%s", err, &said)
	}
}

// The commands of docs/calibration.md run as they stand there.
func TestCalibrationWalk(t *testing.T) {
	needBoxes(t)
	bin, err := filepath.Abs("../../bin")
	if err != nil {
		t.Fatal(err)
	}
	testreq.File(t, filepath.Join(bin, "weighbridge"), "make bin/weighbridge")
	doc, err := os.ReadFile("../../docs/calibration.md")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	copyTo(t, dir, map[string]string{models + "base.gguf": "base.gguf", models + "benign.gguf": "new.gguf", models + "lora-benign.gguf": "benign/facts.gguf",
		models + "suite/arithmetic.yaml": "arithmetic.yaml", models + "suite/arithmetic.jsonl": "arithmetic.jsonl"})
	suites, steps := block.FindAllSubmatch(doc, -1), shell.FindAllSubmatch(doc, -1)
	if len(suites) != 1 || len(steps) != 2 {
		t.Fatalf("%d suites and %d steps, want 1 and 2", len(suites), len(steps))
	}
	if err := os.WriteFile(filepath.Join(dir, "small.yaml"), suites[0][2], 0o644); err != nil {
		t.Fatal(err)
	}
	script := "set -euxo pipefail\n"
	for _, s := range steps {
		text := string(s[1])
		for _, verb := range []string{"weighbridge diff ", "weighbridge calibrate "} {
			text = strings.ReplaceAll(text, verb, verb+"--containerd private --state "+state(t)+" ")
		}
		script += text + "\n"
	}
	c := exec.CommandContext(t.Context(), "bash", "-c", script)
	c.Dir = dir
	c.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"), "XDG_CACHE_HOME="+filepath.Join(dir, "cache"))
	out, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{"bank      5 harmless variants", "calibration.json.sig, by key", "APPROVE", "held against 5 harmless variants"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("the walk does not say %q\n%s", want, out)
		}
	}
}
