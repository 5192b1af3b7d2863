package main

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weighbridge/weighbridge/harness/decide"
	"github.com/weighbridge/weighbridge/policies"
	"github.com/weighbridge/weighbridge/record"
	"github.com/weighbridge/weighbridge/reports"
	"github.com/weighbridge/weighbridge/reports/reportstest"
)

// saved writes a run, decided by a policy, as a report.
func saved(t *testing.T, p *decide.Policy, run record.Run, change func(*record.Run)) string {
	t.Helper()
	run.Meta.Alpha = p.Alpha
	run.Verdict = p.Decide(&run)
	if change != nil {
		change(&run)
	}
	path := filepath.Join(t.TempDir(), "report.parquet")
	if err := reports.Create(path, &run, nil); err != nil {
		t.Fatal(err)
	}
	return path
}

func loaded(t *testing.T, name string) (*decide.Policy, []decide.Case) {
	t.Helper()
	p, err := decide.Load(name)
	if err != nil {
		t.Fatal(err)
	}
	src, err := policies.Cases(name)
	if err != nil {
		t.Fatal(err)
	}
	cases, err := decide.ParseCases(name, src)
	if err != nil {
		t.Fatal(err)
	}
	return p, cases
}

var exitOf = map[record.Outcome]int{record.Approve: exitApprove, record.Reject: exitReject, record.Escalate: exitEscalate}

// The decision made again from the file is the one that was made from memory,
// to the last word: for every case of every policy, and for a run whose every
// text is an attack or not even UTF-8.
func TestDecideAgain(t *testing.T) {
	hostile, _ := reportstest.Hostile()
	for _, name := range policies.Names() {
		p, cases := loaded(t, name)
		runs := map[string]*record.Run{"hostile": hostile}
		for _, c := range cases {
			runs[c.Name] = c.Run
		}
		for which, run := range runs {
			got := weighbridge(t, "decide", saved(t, p, *run, nil), "--policy", name, "--json")
			var d decided
			if err := json.Unmarshal([]byte(got.stdout), &d); err != nil {
				t.Fatalf("%s, %s: %v\n%s%s", name, which, err, got.stdout, got.stderr)
			}
			if !d.Agrees || !d.SamePolicy || got.code != exitOf[d.Verdict.Outcome] {
				t.Errorf("%s, %s: exit %d, %+v", name, which, got.code, d)
			}
		}
	}
}

func TestDecideFindsVerdictsThatDoNotFollow(t *testing.T) {
	p, cases := loaded(t, "strict")
	var bad decide.Case
	for _, c := range cases {
		if c.Expect == record.Reject {
			bad = c
		}
	}
	for name, tc := range map[string]struct {
		change func(*record.Run)
		code   int
		want   string
	}{
		"approved after all": {func(r *record.Run) {
			r.Verdict.Outcome, r.Verdict.Reasons = record.Approve, []record.Reason{{Rule: "every-check-passed", Outcome: record.Approve}}
		}, exitReject, "does not follow from its content"},
		"a reason reworded": {func(r *record.Run) { r.Verdict.Reasons[0].Message += "?" }, exitReject, "does not follow from its content"},
		"a reason dropped":  {func(r *record.Run) { r.Verdict.Reasons = r.Verdict.Reasons[1:] }, exitReject, "does not follow from its content"},
		"another policy":    {func(r *record.Run) { r.Verdict.Digest = "sha256:00" }, exitReject, "another policy"},
		"another alpha":     {func(r *record.Run) { r.Meta.Alpha = 0.2 }, exitUsage, "run diff again"},
	} {
		t.Run(name, func(t *testing.T) {
			got := weighbridge(t, "decide", saved(t, p, *bad.Run, tc.change), "--policy", "strict")
			if got.code != tc.code || !strings.Contains(got.stdout+got.stderr, tc.want) {
				t.Errorf("exit %d\n%s%s", got.code, got.stdout, got.stderr)
			}
			if name == "another policy" && strings.Contains(got.stderr, "does not follow") {
				t.Errorf("another policy was held against the report: %s", got.stderr)
			}
			t.Logf("%-28s %-44s -> exit %d", "decide", name, got.code)
		})
	}
}

func TestDecideNamesThePolicy(t *testing.T) {
	p, cases := loaded(t, "default")
	if got := weighbridge(t, "decide", saved(t, p, *cases[0].Run, nil)); got.code != exitApprove || !strings.Contains(got.stdout, "the report says the same") {
		t.Errorf("exit %d: %s%s", got.code, got.stdout, got.stderr)
	}
	path := saved(t, p, *cases[0].Run, func(r *record.Run) { r.Verdict.Policy = "ours" })
	if got := weighbridge(t, "decide", path); got.code != exitUsage || !strings.Contains(got.stderr, "name its file with --policy") {
		t.Errorf("exit %d: %s", got.code, got.stderr)
	}
	// What another policy would have said of the same measurements.
	path = saved(t, p, *cases[0].Run, nil)
	if got := weighbridge(t, "decide", path, "--policy", "strict"); got.code != exitEscalate || !strings.Contains(got.stdout, "decided by another policy, default") {
		t.Errorf("exit %d: %s", got.code, got.stdout)
	}
}

func TestPolicyLint(t *testing.T) {
	for _, name := range policies.Names() {
		if got := weighbridge(t, "policy", "lint", name, "--strict"); got.code != 0 {
			t.Errorf("%s: exit %d: %s", name, got.code, got.stdout)
		}
	}
	path := write(t, "p.yaml", `policy: mine
version: 1
alpha: 0.01
rules:
  - name: harm
    verdict: reject
    each: finding
    when: |
      finding.tier == "PROVEN" &&
        finding.clas in ["leak"]
  - name: bad
    verdict: reject
    when: evidence.signature.state == "wrong"
require:
  - name: bom
    that: has(evidence.sbom.licence)
`)
	got := weighbridge(t, "policy", "lint", path)
	want := []string{":10:16: rule harm: when: undefined field 'clas' (did you mean class?)",
		`:13:39: rule bad: when: "wrong" is no state that Evidence can have; there are "valid"`, ":16:14: requirement bom: that: undefined field 'licence' (did you mean licences?)"}
	for _, w := range want {
		if !strings.Contains(got.stdout, path+w) {
			t.Errorf("lint does not say %q:\n%s", w, got.stdout)
		}
	}
	if got.code != exitUsage || strings.Count(got.stdout, "\n") != len(want) {
		t.Errorf("exit %d: %s", got.code, got.stdout)
	}
	shadow := write(t, "s.yaml", `policy: mine
version: 1
alpha: 0.01
rules:
  - {name: a, verdict: escalate, when: run.relation == "unrelated"}
  - {name: b, verdict: reject, when: run.relation == "unrelated"}
  - {name: c, verdict: escalate, when: 'true'}
`)
	got = weighbridge(t, "policy", "lint", shadow, "--strict")
	for _, w := range []string{"a never counts: b has the same condition and says reject", "c reads nothing of the run", "no rule approves"} {
		if !strings.Contains(got.stdout, w) {
			t.Errorf("lint does not warn that %q:\n%s", w, got.stdout)
		}
	}
	if got.code != exitReject {
		t.Errorf("exit %d", got.code)
	}
}

func TestPolicyTestAndShow(t *testing.T) {
	for _, name := range policies.Names() {
		if got := weighbridge(t, "policy", "test", name); got.code != 0 || !strings.Contains(got.stdout, " 0 failed") {
			t.Errorf("%s: exit %d: %s", name, got.code, got.stdout)
		}
	}
	got := weighbridge(t, "policy", "show", "strict")
	if src, _ := policies.Source("strict"); got.code != 0 || got.stdout != string(src) {
		t.Errorf("exit %d", got.code)
	}
	path := write(t, "p.yaml", got.stdout)
	cases := strings.TrimSuffix(path, ".yaml") + ".cases.yaml"
	if got := weighbridge(t, "policy", "test", path); got.code != exitUsage || !strings.Contains(got.stderr, cases) {
		t.Errorf("without cases: exit %d: %s", got.code, got.stderr)
	}
	other := write(t, "c.yaml", "cases:\n- {name: empty, expect: approve, input: {}}\n")
	if got := weighbridge(t, "policy", "test", path, "--cases", other); got.code != exitReject || !strings.Contains(got.stdout, "FAIL  escalate  empty") {
		t.Errorf("exit %d: %s", got.code, got.stdout)
	}
	for name, src := range map[string]string{
		"unknown field": "cases:\n- {name: x, expect: approve, input: {meta: {relatoin: x}}}\n", "no cases": "base: {}\n",
		"unknown outcome": "cases:\n- {name: x, expect: pass}\n", "not a mapping": "cases:\n- {name: x, expect: approve, input: {probes: {a: 1}}}\n",
	} {
		if got := weighbridge(t, "policy", "test", path, "--cases", write(t, "c.yaml", src)); got.code != exitUsage || !strings.Contains(got.stderr, "c.yaml") {
			t.Errorf("%s: exit %d: %s", name, got.code, got.stderr)
		}
	}
	if got := weighbridge(t, "policy", "show", "strikt"); got.code != exitUsage || !strings.Contains(got.stderr, "strict") {
		t.Errorf("exit %d: %s", got.code, got.stderr)
	}
}

// What can be wrong with the flags for evidence before anything is measured.
func TestEvidenceUsage(t *testing.T) {
	base := models + "base.gguf"
	pair := []string{"diff", "--baseline", base, "--candidate", base}
	for name, tc := range map[string]struct {
		args []string
		want string
	}{
		"trust without evidence": {[]string{"--trust", "t.yaml"}, "--evidence"},
		"no such folder":         {[]string{"--evidence", "/no/such"}, "/no/such"},
		"a file":                 {[]string{"--evidence", base}, "name the model's folder"},
		"no store":               {[]string{"--evidence", t.TempDir() + "#0123456789"}, "store"},
		"no time":                {[]string{"--evidence", t.TempDir(), "--now", "today"}, "RFC 3339"},
		"no trust file":          {[]string{"--evidence", t.TempDir(), "--trust", "/no/trust.yaml"}, "/no/trust.yaml"},
		"unknown policy":         {[]string{"--policy", "strikt"}, "customer-support-retrieval"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := weighbridge(t, append(pair, tc.args...)...); got.code != exitUsage || !strings.Contains(got.stderr, tc.want) {
				t.Errorf("exit %d: %s", got.code, got.stderr)
			}
		})
	}
}
