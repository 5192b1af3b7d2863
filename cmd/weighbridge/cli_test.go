package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite the golden files")

const models = "../../testdata/models/"

// cli is one command line run in this process.
type cli struct {
	code           int
	stdout, stderr string
}

// weighbridge runs a command line. Its engine is the one that make builds.
func weighbridge(t *testing.T, args ...string) cli {
	t.Helper()
	return weighbridgeIn(t, t.Context(), map[string]string{"XDG_CACHE_HOME": t.TempDir()}, args...)
}

func weighbridgeIn(t *testing.T, ctx context.Context, env map[string]string, args ...string) cli {
	t.Helper()
	bin, err := filepath.Abs("../../bin/weighbridge")
	if err != nil {
		t.Fatal(err)
	}
	var stdout, stderr bytes.Buffer
	a := &app{
		Stdout: &stdout, Stderr: &stderr, Executable: bin,
		Getenv: func(k string) string { return env[k] },
		Notify: func(context.Context) (context.Context, context.CancelFunc) { return context.WithCancel(ctx) },
	}
	code := run(a, args)
	return cli{code, stdout.String(), stderr.String()}
}

func write(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// Everything that a user can get wrong before anything is measured: exit code
// 2, one line that says what and where, and nothing written.
func TestUsageErrors(t *testing.T) {
	base := models + "base.gguf"
	pair := []string{"diff", "--baseline", base, "--candidate", base}
	with := func(more ...string) []string { return append(append([]string{}, pair...), more...) }
	for name, tc := range map[string]struct {
		args []string
		want string
	}{
		"unknown verb":         {[]string{"dif"}, "unknown command"},
		"unknown flag":         {with("--sute", "quick"), "unknown flag: --sute"},
		"argument too many":    {with("more"), "diff --help"},
		"no baseline":          {[]string{"diff", "--candidate", base}, "--baseline is required"},
		"no candidate":         {[]string{"diff", "--baseline", base}, "nothing to judge"},
		"baseline not there":   {[]string{"diff", "--baseline", "/no/such.gguf", "--candidate", base}, "/no/such.gguf"},
		"a folder":             {[]string{"diff", "--baseline", base, "--candidate", models}, "testdata/models"},
		"scale, no adapter":    {with("--candidate-adapter-scale", "2"), "scale"},
		"adapter is a model":   {with("--candidate-adapter", base), "base.gguf"},
		"other architecture":   {with("--candidate-adapter", models+"malformed/adapter-other-arch.gguf"), "adapter-other-arch.gguf"},
		"unknown suite":        {with("--suite", "quik"), "quik"},
		"suite, unknown field": {with("--suite", write(t, "s.yaml", "suite: s\nprobs: []\n")), "s.yaml:2"},
		"suite, unknown probe": {with("--suite", write(t, "s.yaml", "suite: s\nprobes:\n  - probe: metadta\n")), "s.yaml:3"},
		"suite, same id twice": {with("--suite", write(t, "s.yaml", "suite: s\nprobes:\n  - probe: metadata\n  - probe: metadata\n")), "s.yaml:4"},
		"bad document":         {with("--documents", write(t, "d.jsonl", "{\"id\":\"a\",\"text\":\"t\"}\n{\"id\":\"b\"}\n")), "d.jsonl:2"},
		"bad canary":           {with("--canaries", write(t, "c.jsonl", "{\"id\":\"a\",\"prefix\":\"p\",\"secret\":\"s\"}\n{\"id\":\"b\"}\n")), "c.jsonl:2"},
		"policy not there":     {with("--policy", "/no/policy.yaml"), "/no/policy.yaml"},
		"policy, misspelt":     {with("--policy", write(t, "p.yaml", "policy: p\nversion: 1\nalpha: 0.01\nruls: []\n")), "ruls"},
		"out is a file":        {with("--out", base), "--out"},
		"store below a file":   {with("--store", base+"/store"), "store"},
		"no engine":            {with("--engine", "/no/engine"), "/no/engine"},
		"jobs":                 {with("--jobs", "-1"), "--jobs"},
		"not a report":         {[]string{"report", base}, "base.gguf"},
		"report not there":     {[]string{"report", "/no/report.parquet"}, "/no/report.parquet"},
		"unknown probe":        {[]string{"probes", "show", "metadta"}, "there are"},
		"lint":                 {[]string{"suites", "lint", write(t, "s.yaml", "suite: s\nprobs: []\n")}, "problems"},
		"inspect, not a GGUF":  {[]string{"inspect", models + "malformed/not-a-gguf.gguf"}, "not a GGUF file"},
	} {
		t.Run(name, func(t *testing.T) {
			cwd := t.TempDir()
			if !strings.Contains(strings.Join(tc.args, " "), "--out") && tc.args[0] == "diff" {
				tc.args = append(tc.args, "--out", filepath.Join(cwd, "out"))
			}
			got := weighbridge(t, tc.args...)
			if got.code != exitUsage || !strings.Contains(got.stderr, tc.want) {
				t.Errorf("exit code %d, want %d; stderr %q, want %q in it", got.code, exitUsage, got.stderr, tc.want)
			}
			if n := strings.Count(got.stderr, "\n"); n != 1 {
				t.Errorf("%d lines on standard error:\n%s", n, got.stderr)
			}
			if left, _ := filepath.Glob(filepath.Join(cwd, "out", "*")); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

// Every malformed file is refused by name before a box is started, as a
// candidate as well as when it is inspected; those that only a look at the
// whole pair can refuse are not among them.
func TestMalformedFilesAreRefused(t *testing.T) {
	afterwards := []string{"adapter-", "template-", "hostile-name", "invalid-utf8-name", "valid-control", "missing-tensor", "missing-tokenizer", "nan-tensor", "bad-merge"}
	files, err := filepath.Glob(models + "malformed/*.gguf")
	if err != nil || len(files) < 30 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		name := filepath.Base(file)
		later := false
		for _, p := range afterwards {
			later = later || strings.HasPrefix(name, p)
		}
		if later {
			continue
		}
		t.Run(name, func(t *testing.T) {
			for _, args := range [][]string{
				{"inspect", file},
				{"diff", "--baseline", models + "base.gguf", "--candidate", file, "--out", t.TempDir()},
			} {
				got := weighbridge(t, args...)
				if got.code != exitUsage || !strings.Contains(got.stderr, name) {
					t.Errorf("%s: exit code %d, stderr %q", args[0], got.code, got.stderr)
				}
			}
		})
	}
}

func TestGolden(t *testing.T) {
	for name, args := range map[string][]string{
		"help":            {"--help"},
		"diff-help":       {"diff", "--help"},
		"calibrate-help":  {"calibrate", "--help"},
		"probes-list":     {"probes", "list"},
		"suites-list":     {"suites", "list"},
		"inspect-hostile": {"inspect", models + "malformed/hostile-name.gguf"},
	} {
		t.Run(name, func(t *testing.T) {
			got := weighbridge(t, args...)
			if got.code != 0 || got.stderr != "" {
				t.Fatalf("exit code %d, stderr %q", got.code, got.stderr)
			}
			golden := filepath.Join("testdata", name+".stdout")
			if *update {
				if err := os.WriteFile(golden, []byte(got.stdout), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(string(want), got.stdout); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestNothingHostileReachesTheTerminal(t *testing.T) {
	for _, file := range []string{"hostile-name.gguf", "invalid-utf8-name.gguf"} {
		out := weighbridge(t, "inspect", models+"malformed/"+file).stdout
		for _, r := range out {
			if r != '\n' && (r < ' ' || r == 0x7f || r >= 0x202a && r <= 0x202e) {
				t.Errorf("%s: %U reaches the terminal", file, r)
			}
		}
	}
}

func TestInspectJSON(t *testing.T) {
	got := weighbridge(t, "inspect", "--json", models+"base.gguf")
	var s struct {
		Kind     string `json:"kind"`
		Identity string `json:"identity"`
	}
	if err := json.Unmarshal([]byte(got.stdout), &s); err != nil || got.code != 0 {
		t.Fatalf("exit code %d, %v", got.code, err)
	}
	if s.Kind != "model" || !strings.HasPrefix(s.Identity, "sha256:") {
		t.Errorf("got %+v", s)
	}
}

func TestShowEveryProbe(t *testing.T) {
	for _, line := range strings.Split(strings.TrimSpace(weighbridge(t, "probes", "list").stdout), "\n") {
		id := strings.Fields(line)[0]
		got := weighbridge(t, "probes", "show", id)
		for _, part := range []string{"Method:", "Null:", "Cost:", "Sees:", "Blind:", "Needs:"} {
			if got.code != 0 || !strings.Contains(got.stdout, part) {
				t.Errorf("probes show %s: exit code %d, no %q", id, got.code, part)
			}
		}
	}
}
