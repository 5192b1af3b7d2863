package decide

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weighbridge/weighbridge/policies"
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
		"no probes at all":               {&record.Run{Meta: record.Meta{Relation: "derived"}}, record.Escalate, "none"},
		"an empty record":                {&record.Run{}, record.Escalate, "unrelated"},
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
	for name, when := range evaluationErrors {
		t.Run(name, func(t *testing.T) {
			v := policy(t, when).Decide(many())
			if v.Outcome != record.Escalate || !strings.Contains(v.Reasons[0].Message, "cannot be evaluated") {
				t.Errorf("got %s: %v", v.Outcome, v.Reasons[0])
			}
		})
	}
}

// many is a run with enough findings for nested loops to become expensive.
func many() *record.Run {
	r := run()
	for range 12 {
		finding(record.Consistent, record.Behaviour)(r)
	}
	return r
}

// evaluationErrors are conditions that do not come to a value for [many]. Each
// but the first few would be true for CEL itself.
var evaluationErrors = map[string]string{
	"absent number":                      `finding.p < 0.05`,
	"absent text":                        `finding.trigger != "x"`,
	"absent list":                        `finding.families.all(f, f == "TOK")`,
	"absent evidence":                    `evidence.signature.state == "valid"`,
	"presence of a field of what is not": `!has(evidence.signature.signer)`,
	"division by zero":                   `1 / (size(findings) - size(findings)) == 1`,
	"no timestamp":                       `timestamp(finding.title + "x") > timestamp("2026-01-01T00:00:00Z")`,
	"index beyond the list":              `findings[99].tier == "PROVEN"`,
	"absorbed by or":                     `finding.p < 0.05 || true`,
	"absorbed by or, other way round":    `finding.p < 0.05 || finding.tier != "PROVEN"`,
	"absorbed by and, negated":           `!(finding.p < 0.05 && false)`,
	"absorbed by exists":                 `findings.exists(f, has(f.title) ? f.title == "it did" : f.p < 0.5)`,
	"absorbed by all, negated":           `!findings.all(f, has(f.title) ? f.title != "it did" : f.p < 0.5)`,
	"absorbed in the last of many":       `probes.exists(p, p.reason == "no template")`,
	"absorbed inside a call":             `size([finding.p < 0.05 || true]) == 1`,
	"cost without bounds":                `findings.all(a, findings.all(b, findings.all(c, findings.all(d, findings.all(e, findings.all(f, findings.all(g, findings.all(h, a.id != "" && b.id != "" && c.id != "" && d.id != "" && e.id != "" && f.id != "" && g.id != "" && h.id != ""))))))))`,
}

// What asks first is no error, and neither is what is never evaluated.
func TestAskingFirst(t *testing.T) {
	for _, when := range []string{
		`!has(finding.p) || finding.p < 0.05`,
		`!(has(finding.p) && finding.p < 0.05)`,
		`has(finding.title) ? finding.title == "it did" : true`,
		`!has(evidence.signature)`,
		`findings.all(f, !has(f.p_holm) || f.p_holm > 0.5)`,
		`true || finding.p < 0.05`,
	} {
		if v := policy(t, when).Decide(many()); v.Outcome != record.Approve {
			t.Errorf("%s: got %s: %v", when, v.Outcome, v.Reasons[0])
		}
	}
}

// A pattern that is a literal is compiled once, and still is a pattern: it
// matches in the middle, and what it is asked of has to be there.
func TestPatterns(t *testing.T) {
	for when, want := range map[string]record.Outcome{
		`findings.exists(f, has(f.title) && f.title.matches("d[ia]d$"))`: record.Approve,
		`finding.id.matches("^[a-z]+/")`:                                 record.Approve,
		`finding.id.matches("^/")`:                                       record.Escalate,
		`matches(finding.id, finding.probe)`:                             record.Approve,
		`finding.trigger.matches("x") || true`:                           record.Escalate,
		`!finding.trigger.matches("x")`:                                  record.Escalate,
	} {
		if v := policy(t, when).Decide(many()); v.Outcome != want {
			t.Errorf("%s: got %s: %v", when, v.Outcome, v.Reasons[0])
		}
	}
	if _, err := Parse("p.yaml", []byte(ruleHead+"  each: finding\n  when: finding.id.matches(\"(\")\n")); !errors.Is(err, ErrPolicy) {
		t.Errorf("a pattern that is none: %v", err)
	}
}

func TestOnErrorRejects(t *testing.T) {
	p, err := Parse("p.yaml", []byte("policy: p\nversion: 1\nalpha: 0.01\nrules:\n- {name: r, verdict: escalate, on_error: reject, when: evidence.sbom.state != \"valid\"}\n"))
	if err != nil {
		t.Fatal(err)
	}
	if v := p.Decide(run()); v.Outcome != record.Reject {
		t.Errorf("got %s", v.Outcome)
	}
}

const (
	head     = "policy: p\nversion: 1\nalpha: 0.01\n"
	ruleHead = head + "rules:\n- name: r\n  verdict: reject\n"
)

// refused are policy files that do not load, with a part of what is said.
var refused = map[string]struct{ src, want string }{
	"unknown key":             {head + "colour: red\n" + ruleHead[len(head):] + "  when: 'true'\n", "colour"},
	"no rules":                {head, "no rules"},
	"syntax":                  {ruleHead + "  when: 'findings.exists('\n", "rule r: when"},
	"unknown variable":        {ruleHead + "  when: 'verdict == 1'\n", "undeclared reference"},
	"not a truth value":       {ruleHead + "  when: '1 + 1'\n", "not a truth value"},
	"unknown verdict":         {head + "rules:\n- name: r\n  verdict: allow\n  when: 'true'\n", "allow"},
	"duplicate rule":          {ruleHead + "  when: 'true'\n- name: r\n  verdict: reject\n  when: 'true'\n", "taken"},
	"alpha":                   {"policy: p\nversion: 1\nalpha: 2\n" + ruleHead[len(head):] + "  when: 'true'\n", "alpha"},
	"field without a subject": {ruleHead + "  when: 'true'\n  message: '{{title}}'\n", "title"},
	"unknown version":         {"policy: p\nversion: 9\nalpha: 0.01\n" + ruleHead[len(head):] + "  when: 'true'\n", "version: 9"},
	"unknown subject":         {ruleHead + "  each: item\n  when: 'true'\n", "item"},
	"not YAML":                {"\x00\x01", ""},
	"too large":               {strings.Repeat("#", maxPolicy+1), "at most"},
	"misspelt field":          {ruleHead + "  each: finding\n  when: finding.teir == \"PROVEN\"\n", "p.yaml:8:16: rule r: when: undefined field 'teir' (did you mean tier?)"},
	"misspelt kind":           {ruleHead + "  when: evidence.signatur.state == \"bad\"\n", "did you mean signature?"},
	"misspelt field of one":   {ruleHead + "  when: evidence.sbom.licenses == []\n", "did you mean licences?"},
	"wrong type":              {ruleHead + "  each: finding\n  when: finding.title > 3\n", "no matching overload"},
	"misspelt tier":           {ruleHead + "  each: finding\n  when: finding.tier == \"PROVED\"\n", "did you mean \"PROVEN\"?"},
	"misspelt class in list":  {ruleHead + "  each: finding\n  when: |\n    finding.tier != \"PROVEN\" &&\n      finding.class in [\"leak\", \"bakdoor\"]\n", "p.yaml:10:33: "},
	"unknown state":           {ruleHead + "  when: evidence.list.exists(e, \"ok\" == e.state)\n", "there are \"valid\""},
	"unknown relation":        {ruleHead + "  when: run.relation == \"same\"\n", "is no relation that Run"},
	"dyn hides a field":       {ruleHead + "  each: finding\n  when: dyn(finding).teir == \"PROVEN\"\n", "dyn()"},
	"mixed list hides it":     {ruleHead + "  when: '[evidence.sbom, run][0].teir == 1'\n", "not known"},
	"subject of another":      {ruleHead + "  each: probe\n  when: finding.tier == \"PROVEN\"\n", "undeclared reference to 'finding'"},
	"makes an object":         {ruleHead + "  when: 'weighbridge.Finding{} == weighbridge.Finding{}'\n", "makes no objects"},
	"on_error approves":       {ruleHead + "  on_error: approve\n  when: 'true'\n", "on_error"},
	"requirement with when":   {ruleHead + "  when: 'true'\nrequire:\n- {name: q, when: 'true'}\n", "`that:`"},
	"requirement, misspelt":   {ruleHead + "  when: 'true'\nrequire:\n- {name: q, that: 'has(evidence.provenence)'}\n", "did you mean provenance?"},
	"message, misspelt":       {ruleHead + "  each: finding\n  when: 'true'\n  message: '{{finding.titel}}'\n", "did you mean title?"},
	"message, not a text":     {ruleHead + "  each: finding\n  when: 'true'\n  message: '{{transcript}}'\n", "cannot be put into words"},
	"condition is a list":     {ruleHead + "  when: [1, 2]\n", "a text is wanted"},
}

func TestParseRefuses(t *testing.T) {
	for name, tc := range refused {
		t.Run(name, func(t *testing.T) {
			_, err := Parse("p.yaml", []byte(tc.src))
			if !errors.Is(err, ErrPolicy) || !strings.Contains(err.Error(), tc.want) || !strings.Contains(err.Error(), "p.yaml") {
				t.Errorf("got %v, want an ErrPolicy about %q", err, tc.want)
			}
		})
	}
}

// TestNegativeMatrix prints what becomes of every policy that is wrong, and of
// every run that a policy cannot judge.
func TestNegativeMatrix(t *testing.T) {
	line := func(t *testing.T, name, outcome string) { t.Logf("%-28s %-44s -> %s", "policy", name, outcome) }
	for _, name := range slices.Sorted(maps.Keys(refused)) {
		t.Run(name, func(t *testing.T) {
			_, err := Parse("p.yaml", []byte(refused[name].src))
			if !errors.Is(err, ErrPolicy) {
				t.Fatalf("got %v", err)
			}
			line(t, name, "ErrPolicy: fails at lint")
		})
	}
	for _, name := range slices.Sorted(maps.Keys(evaluationErrors)) {
		t.Run(name, func(t *testing.T) {
			v := policy(t, evaluationErrors[name]).Decide(many())
			if v.Outcome != record.Escalate {
				t.Fatalf("got %s", v.Outcome)
			}
			line(t, name, "escalate: "+cut(strings.TrimPrefix(v.Reasons[0].Message, "the rule cannot be evaluated: ")))
		})
	}
	for name, src := range map[string]string{
		"no approve rule":      ruleHead + "  when: 'false'\n",
		"nothing that applies": head + "rules:\n- {name: r, verdict: approve, when: 'false'}\n",
	} {
		t.Run(name, func(t *testing.T) {
			p, err := Parse("p.yaml", []byte(src))
			if err != nil {
				t.Fatal(err)
			}
			if v := p.Decide(run()); v.Outcome != record.Escalate || v.Reasons[0].Rule != "none" {
				t.Fatalf("got %s by %v", v.Outcome, v.Reasons)
			}
			line(t, name, "escalate: no rule speaks for the run")
		})
	}
}

func cut(s string) string { return s[:min(len(s), 70)] }

func FuzzParse(f *testing.F) {
	src, err := policies.Source(policies.Default)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(src)
	for _, r := range refused {
		if len(r.src) < 1<<12 {
			f.Add([]byte(r.src))
		}
	}
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
