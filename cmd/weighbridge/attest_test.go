package main

import (
	"crypto/elliptic"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weighbridge/weighbridge/record"
	"github.com/weighbridge/weighbridge/supply/bundle"
	"github.com/weighbridge/weighbridge/supply/bundle/bundletest"
	"github.com/weighbridge/weighbridge/supply/manifest"
)

// A verdict goes out when the report holds it and is about the folder, and then
// opens what it was given for, and nothing else.
func TestAttest(t *testing.T) {
	const content = "the weights"
	key := bundletest.NewKey(t, elliptic.P256())
	trustFile := write(t, "trust.yaml", fmt.Sprintf("version: 1\nsigners:\n  - {name: gate, key: %s, may: [verdict], verifier: \"https://example.com/gate\"}\n", key.Public))
	p, cases := loaded(t, "default")
	of := func(o record.Outcome) *record.Run {
		for _, c := range cases {
			if c.Expect == o {
				return c.Run
			}
		}
		t.Fatalf("no case of the default policy expects %s", o)
		return nil
	}
	about := func(r *record.Run) {
		r.Artifacts = []record.Artifact{
			{Side: "baseline", Role: "model", Name: "base.gguf", Digest: "sha256:" + strings.Repeat("0", 64)},
			{Side: "candidate", Role: "model", Name: "model.gguf", Digest: fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(content)))},
		}
	}
	for name, tc := range map[string]struct {
		outcome record.Outcome
		change  func(*record.Run)
		args    []string
		code    int
		says    string
		claims  int
		open    bool // --require-verdict env=prod is satisfied afterwards
	}{
		"approve":                 {record.Approve, about, nil, 0, "signed", 3, true},
		"reject":                  {record.Reject, about, nil, 0, "signed", 2, false},
		"escalate":                {record.Escalate, about, nil, 0, "a person has to decide", 1, false},
		"another environment":     {record.Approve, about, []string{"--environment", "staging"}, 0, "signed", 3, false},
		"another name":            {record.Approve, about, []string{"--name", "other"}, 0, "signed", 3, false},
		"another folder":          {record.Approve, func(r *record.Run) { about(r); r.Artifacts[1].Digest = "sha256:" + strings.Repeat("1", 64) }, nil, exitUsage, "no file of the folder", 0, false},
		"judged for another name": {record.Approve, func(r *record.Run) { about(r); r.Meta.Model = "other" }, nil, exitUsage, "run diff again", 0, false},
		"judged for elsewhere":    {record.Approve, func(r *record.Run) { about(r); r.Meta.Environment = "staging" }, nil, exitUsage, "run diff again", 0, false},
		"a verdict that does not follow": {record.Reject, func(r *record.Run) {
			about(r)
			r.Verdict.Outcome, r.Verdict.Reasons = record.Approve, []record.Reason{{Rule: "every-check-passed", Outcome: record.Approve}}
		}, nil, exitReject, "does not follow", 0, false},
		"an unknown policy": {record.Approve, func(r *record.Run) { about(r); r.Verdict.Policy = "ours" }, nil, exitUsage, "--policy", 0, false},
		"another policy":    {record.Approve, about, []string{"--policy", "strict"}, exitUsage, "give that one", 0, false},
		"no URI":            {record.Approve, about, []string{"--verifier", "gate"}, exitUsage, "is not a URI", 0, false},
		"no actor":          {record.Approve, about, []string{"--ledger", "l"}, exitUsage, "--actor", 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			dir := bundletest.Folder(t, map[string]string{"weights.txt": content})
			report := saved(t, p, *of(tc.outcome), tc.change)
			got := weighbridge(t, append([]string{"attest", report, "--model", dir, "--environment", "prod",
				"--verifier", "https://example.com/gate", "--key", key.File}, tc.args...)...)
			if got.code != tc.code || !strings.Contains(got.stdout+got.stderr, tc.says) {
				t.Errorf("exit %d\n%s%s", got.code, got.stdout, got.stderr)
			}
			claims, err := bundle.ReadClaims(filepath.Join(dir, manifest.ClaimsFile))
			if err != nil || len(claims) != tc.claims {
				t.Errorf("%d claims, want %d: %v", len(claims), tc.claims, err)
			}
			verdict := weighbridge(t, "verify", dir, "--trust", trustFile, "--require-verdict", "env=prod", "--model", "model", "--require", "verdict")
			if (verdict.code == 0) != tc.open {
				t.Errorf("the gate: exit %d\n%s%s", verdict.code, verdict.stdout, verdict.stderr)
			}
			if tc.open != strings.Contains(verdict.stdout, "approved for prod by gate") {
				t.Errorf("the gate says\n%s", verdict.stdout)
			}
		})
	}
}

// The ledger has the verdict before it goes out, and its proof holds offline.
func TestAttestEntersTheLedger(t *testing.T) {
	dir := bundletest.Folder(t, map[string]string{"w": "1"})
	key := bundletest.NewKey(t, elliptic.P256())
	p, cases := loaded(t, "default")
	report := saved(t, p, *cases[0].Run, func(r *record.Run) {
		r.Artifacts = []record.Artifact{{Side: "candidate", Role: "model", Name: "w", Digest: fmt.Sprintf("sha256:%x", sha256.Sum256([]byte("1")))}}
	})
	at := t.TempDir()
	ledger, receipt := filepath.Join(at, "ledger"), filepath.Join(at, "verdict")
	made := weighbridge(t, "ledger", "init", ledger, "--origin", "ledger.example/test")
	if made.code != 0 {
		t.Fatal(made.stderr)
	}
	got := weighbridge(t, "attest", report, "--model", dir, "--environment", "prod", "--verifier", "https://example.com/gate", "--key", key.File,
		"--ledger", ledger, "--actor", "ci@example.com", "--receipt", receipt, "--json")
	if got.code != 0 || !strings.HasPrefix(got.stdout, "{") {
		t.Fatalf("exit %d\n%s%s", got.code, got.stdout, got.stderr)
	}
	if v := weighbridge(t, "ledger", "verify", receipt+".tlog-proof", "--entry", receipt+".json", "--key", strings.TrimSpace(made.stdout)); v.code != 0 {
		t.Errorf("exit %d\n%s%s", v.code, v.stdout, v.stderr)
	}
	entry, err := os.ReadFile(receipt + ".json")
	if err != nil {
		t.Fatal(err)
	}
	claims, err := bundle.ReadClaims(filepath.Join(dir, manifest.ClaimsFile))
	if err != nil || len(claims) == 0 {
		t.Fatal(len(claims), err)
	}
	for _, c := range claims {
		if !strings.Contains(string(entry), c.Digest()) {
			t.Errorf("the entry does not name the %s %s", c.Statement.PredicateType, c.Digest())
		}
	}
}
