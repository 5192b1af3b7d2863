package decide

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weighbridge/weighbridge/record"
)

func run(mods ...func(*record.Run)) *record.Run {
	r := &record.Run{
		Meta: record.Meta{Relation: "derived"},
		Probes: []record.ProbeRun{
			{Probe: "metadata", Status: "ran", Required: true},
			{Probe: "refusal", Status: "not-tested", Reason: "no template"},
		},
		Findings: []record.Finding{{ID: "metadata/equal", Probe: "metadata", Tier: record.Consistent, Class: record.Tampered}},
	}
	for _, m := range mods {
		m(r)
	}
	return r
}

func finding(t record.Tier, c record.Class) func(*record.Run) {
	return func(r *record.Run) {
		r.Findings = append(r.Findings, record.Finding{ID: "x/y", Probe: "x", Tier: t, Class: c, Title: "it did"})
	}
}

func TestDefaultPolicy(t *testing.T) {
	for name, tc := range map[string]struct {
		run  *record.Run
		want record.Outcome
		rule string
	}{
		"all required checks pass":       {run(), record.Approve, "every-check-passed"},
		"proven backdoor":                {run(finding(record.Proven, record.Backdoor)), record.Reject, "proven-harm"},
		"proven leak":                    {run(finding(record.Proven, record.Leak)), record.Reject, "proven-harm"},
		"broken artifact":                {run(finding(record.Proven, record.Broken)), record.Reject, "proven-harm"},
		"regression":                     {run(finding(record.Proven, record.Regression)), record.Reject, "proven-regression"},
		"divergent backdoor":             {run(finding(record.Divergent, record.Backdoor)), record.Escalate, "unexplained-difference"},
		"visible change of behaviour":    {run(finding(record.Divergent, record.Behaviour)), record.Approve, "every-check-passed"},
		"reject beats escalate":          {run(finding(record.Divergent, record.Leak), finding(record.Proven, record.Leak)), record.Reject, "proven-harm"},
		"unrelated":                      {run(func(r *record.Run) { r.Meta.Relation = "unrelated" }), record.Escalate, "unrelated"},
		"unrelated, worse":               {run(finding(record.Proven, record.Regression), func(r *record.Run) { r.Meta.Relation = "unrelated" }), record.Escalate, "unrelated"},
		"unrelated, with a trigger":      {run(finding(record.Proven, record.Backdoor), func(r *record.Run) { r.Meta.Relation = "unrelated" }), record.Escalate, "unrelated"},
		"unrelated, with a leak":         {run(finding(record.Proven, record.Leak), func(r *record.Run) { r.Meta.Relation = "unrelated" }), record.Reject, "proven-harm"},
		"required probe not tested":      {run(func(r *record.Run) { r.Probes[1].Required = true }), record.Escalate, "required-probe-not-tested"},
		"required probe without finding": {run(func(r *record.Run) { r.Findings = nil }), record.Escalate, "no-evidence"},
		"nothing was required":           {run(func(r *record.Run) { r.Probes = r.Probes[1:] }), record.Escalate, "none"},
		"no probes at all":               {&record.Run{}, record.Escalate, "none"},
	} {
		t.Run(name, func(t *testing.T) {
			v := Default().Decide(tc.run)
			if v.Outcome != tc.want || v.Reasons[0].Rule != tc.rule {
				t.Errorf("got %s by %v, want %s by %s", v.Outcome, v.Reasons, tc.want, tc.rule)
			}
		})
	}
}

func TestReasonsNameTheirFindings(t *testing.T) {
	v := Default().Decide(run(finding(record.Proven, record.Leak)))
	want := record.Reason{Rule: "proven-harm", Outcome: record.Reject, Message: "it did", Findings: []string{"x/y"}}
	if d := cmp.Diff(want, v.Reasons[0]); d != "" {
		t.Error(d)
	}
}

func policy(t *testing.T, when string) *Policy {
	t.Helper()
	p, err := Parse("p.yaml", []byte("policy: p\nversion: 1\nalpha: 0.01\nrules:\n- name: r\n  each: finding\n  verdict: approve\n  when: |\n    "+when+"\n"))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// A policy that cannot be evaluated must never open the gate.
func TestEvaluationErrorsEscalate(t *testing.T) {
	for name, when := range map[string]string{
		"absent number":       `finding.p < 0.05`,
		"misspelt field":      `finding.teir == "PROVEN"`,
		"wrong type":          `finding.title > 3`,
		"division by zero":    `1 / finding.n == 1`,
		"cost without bounds": `findings.all(a, findings.all(b, findings.all(c, findings.all(d, findings.all(e, findings.all(f, findings.all(g, findings.all(h, a.id != "" && b.id != "" && c.id != "" && d.id != "" && e.id != "" && f.id != "" && g.id != "" && h.id != ""))))))))`,
	} {
		t.Run(name, func(t *testing.T) {
			r := run()
			for range 12 {
				finding(record.Consistent, record.Behaviour)(r)
			}
			v := policy(t, when).Decide(r)
			if v.Outcome != record.Escalate || !strings.Contains(v.Reasons[0].Message, "cannot be evaluated") {
				t.Errorf("got %s: %v", v.Outcome, v.Reasons[0])
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	head := "policy: p\nversion: 1\nalpha: 0.01\n"
	rule := "rules:\n- name: r\n  verdict: reject\n"
	for name, tc := range map[string]struct{ src, want string }{
		"unknown field":     {head + "colour: red\n" + rule + "  when: 'true'\n", "colour"},
		"no rules":          {head, "no rules"},
		"syntax":            {head + rule + "  when: 'findings.exists('\n", "rule r: when"},
		"unknown variable":  {head + rule + "  when: 'verdict == 1'\n", "undeclared reference"},
		"not a truth value": {head + rule + "  when: '1 + 1'\n", "not a truth value"},
		"unknown verdict":   {head + "rules:\n- name: r\n  verdict: allow\n  when: 'true'\n", "allow"},
		"duplicate rule":    {head + rule + "  when: 'true'\n- name: r\n  verdict: reject\n  when: 'true'\n", "taken"},
		"alpha":             {"policy: p\nversion: 1\nalpha: 2\n" + rule + "  when: 'true'\n", "alpha"},
		"message field":     {head + rule + "  when: 'true'\n  message: '{{title}}'\n", "title"},
		"version":           {"policy: p\nversion: 9\nalpha: 0.01\n" + rule + "  when: 'true'\n", "version: 9"},
		"each":              {head + "rules:\n- name: r\n  verdict: reject\n  each: item\n  when: 'true'\n", "item"},
		"not YAML":          {"\x00\x01", ""},
		"too large":         {strings.Repeat("#", maxPolicy+1), "at most"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Parse("p.yaml", []byte(tc.src))
			if !errors.Is(err, ErrPolicy) || !strings.Contains(err.Error(), tc.want) || !strings.Contains(err.Error(), "p.yaml") {
				t.Errorf("got %v, want an ErrPolicy about %q", err, tc.want)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	f.Add(defaultYAML)
	f.Fuzz(func(t *testing.T, src []byte) {
		p, err := Parse("p.yaml", src)
		if err != nil && !errors.Is(err, ErrPolicy) {
			t.Fatalf("error %v is no ErrPolicy", err)
		}
		if err == nil {
			p.Decide(run())
		}
	})
}
