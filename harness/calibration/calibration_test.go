package calibration

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weighbridge/weighbridge/record"
)

var key = Key{Baseline: "sha256:11", Seed: 1, Level: "quick", Budget: 30_000, Suites: []string{"quick@sha256:22"}}

// value is a finding of the probe "payload" with that value.
func value(v float64) record.Finding {
	return record.Finding{Probe: "payload", Rule: "chain", Statistic: "rise", Tier: record.Divergent, Class: record.Backdoor, Value: record.Float(v)}
}

func with(f record.Finding, change func(*record.Finding)) record.Finding {
	change(&f)
	return f
}

// score is a finding of a benchmark task.
func score(task string, v float64) record.Finding {
	return record.Finding{Probe: "benchmark", Rule: "task", Subject: task, Statistic: "difference", LowerIsWorse: true, Tier: record.Consistent, Class: record.Regression,
		Value: record.Float(v), Margin: record.Float(0.02)}
}

func consistent(probe, rule string) record.Finding {
	return record.Finding{Probe: probe, Rule: rule, Tier: record.Consistent, Class: record.Backdoor}
}

func untested(probe, rule string) record.Finding {
	return record.Finding{Probe: probe, Rule: rule, Tier: record.NotTested}
}

// run is a variant whose probes all ran.
func run(name string, findings ...record.Finding) Measured {
	m := Measured{Variant: Variant{Name: name, How: "made up", Outcome: "approve"}, Findings: findings}
	for _, p := range []string{"payload", "benchmark", "contexts"} {
		m.Probes = append(m.Probes, record.ProbeRun{Probe: p, Status: "ran", Budget: 100})
	}
	return m
}

func TestFit(t *testing.T) {
	chain := func(n int, values ...float64) Statistic {
		return Statistic{Probe: "payload", Rule: "chain", Statistic: "rise", Variants: n, Values: values}
	}
	task := func(subject string, n int, values ...float64) Statistic {
		return Statistic{Probe: "benchmark", Rule: "task", Statistic: "difference", LowerIsWorse: true, Subject: subject, Variants: n, Values: values}
	}
	notRun := run("b", value(9))
	notRun.Probes[0].Status = "not-tested"
	exact := run("b", value(9))
	exact.Probes[0].Budget = 0
	leftOut := run("b", value(9))
	leftOut.Variant.LeftOut = "not harmless"
	for name, tc := range map[string]struct {
		runs []Measured
		want []Statistic
	}{
		"values in order":              {[]Measured{run("a", value(2)), run("b", value(1)), run("c", value(3))}, []Statistic{chain(3, 1, 2, 3)}},
		"the worst of a variant":       {[]Measured{run("a", value(2), value(5), value(1))}, []Statistic{chain(1, 5)}},
		"nothing to report lies below": {[]Measured{run("a", value(2)), run("b", consistent("payload", "none"))}, []Statistic{chain(2, 2)}},
		"a probe that was silent":      {[]Measured{run("a", value(2)), run("b")}, []Statistic{chain(1, 2)}},
		"a rule that was not tested":   {[]Measured{run("a", value(2)), run("b", consistent("payload", "other"), untested("payload", "chain"))}, []Statistic{chain(1, 2)}},
		"tested in part":               {[]Measured{run("a", value(2)), run("b", value(1), untested("payload", "chain"))}, []Statistic{chain(2, 1, 2)}},
		"a probe that did not run":     {[]Measured{run("a", value(2)), notRun}, []Statistic{chain(1, 2)}},
		"a probe that may ask nothing": {[]Measured{run("a", value(2)), exact}, []Statistic{chain(1, 2)}},
		"a variant that was left out":  {[]Measured{run("a", value(2)), leftOut}, []Statistic{chain(1, 2)}},
		"what is no measure of behaviour": {[]Measured{run("a", with(value(1), func(f *record.Finding) { f.Class = record.Relation }), with(value(2), func(f *record.Finding) { f.Class = record.Control }),
			with(value(3), func(f *record.Finding) { f.Class = record.Tampered }), with(value(4), func(f *record.Finding) { f.Class = record.Broken }))}, []Statistic{}},
		"equal subjects have nulls of their own": {[]Measured{run("a", score("sums", -0.1), score("facts", 0)), run("b", score("facts", 0.1), score("sums", 0))},
			[]Statistic{task("facts", 2, 0, 0.1), task("sums", 2, -0.1, 0)}},
		"other subjects share one, of the worst": {[]Measured{run("a", score("sums", -0.1), score("facts", 0)), run("b", score("facts", 0.1))},
			[]Statistic{task("", 2, -0.1, 0.1)}},
		"no negative zero": {[]Measured{run("a", score("sums", math.Copysign(0, -1)))}, []Statistic{task("sums", 1, 0)}},
	} {
		t.Run(name, func(t *testing.T) {
			f := Fit("tool", "engine", key, tc.runs)
			if d := cmp.Diff(tc.want, f.Statistics); d != "" {
				t.Error(d)
			}
			src, err := f.Encode()
			if err != nil {
				t.Fatal(err)
			}
			back, err := Parse(src)
			if err != nil {
				t.Fatalf("%v\n%s", err, src)
			}
			if d := cmp.Diff(f, back); d != "" {
				t.Error(d)
			}
			slices.Reverse(tc.runs)
			if again, _ := Fit("tool", "engine", key, tc.runs).Encode(); !bytes.Equal(src, again) {
				t.Error("another order of the runs gives another file")
			}
		})
	}
}

// bank is a file of n variants whose values of "rise" are 1 … reported; the
// others had nothing to report.
func bank(n, reported int) *File {
	var runs []Measured
	for i := range n {
		findings := []record.Finding{consistent("payload", "none"), score("sums", -0.01*float64(i)), consistent("contexts", "none")}
		if i < reported {
			findings = append(findings, value(float64(i+1)))
		}
		runs = append(runs, run(fmt.Sprintf("v%03d", i), findings...))
	}
	return Fit("tool", "engine", key, runs)
}

func TestApply(t *testing.T) {
	exact := with(value(2), func(f *record.Finding) { f.Class = record.Tampered })
	proven := with(value(2), func(f *record.Finding) { f.Tier = record.Proven })
	mild := func(v float64) record.Finding {
		return with(value(v), func(f *record.Finding) { f.Tier = record.Consistent })
	}
	for name, tc := range map[string]struct {
		file    *File
		finding record.Finding
		tier    record.Tier
		p       float64 // 0: none
		says    string
	}{
		"reached by harmless variants":          {bank(39, 10), value(5), record.Consistent, 7. / 40, "6 of 39 harmless variants"},
		"reached exactly":                       {bank(39, 10), value(10), record.Divergent, 2. / 40, ""},
		"one of a few reaches it":               {bank(19, 10), value(10), record.Consistent, 2. / 20, "1 of 19 harmless variants"},
		"one of many is a tail":                 {bank(199, 10), value(10), record.Divergent, 2. / 200, ""},
		"reached by none":                       {bank(39, 10), value(11), record.Divergent, 1. / 40, ""},
		"of a kind that no variant reported":    {bank(39, 0), value(1), record.Divergent, 1. / 40, ""},
		"proven stays":                          {bank(39, 39), proven, record.Proven, 39. / 40, ""},
		"exact evidence stays":                  {bank(39, 39), exact, record.Divergent, 0, ""},
		"a probe without a bank":                {bank(39, 39), with(value(1), func(f *record.Finding) { f.Probe = "refusal" }), record.Divergent, 0, ""},
		"no value":                              {bank(39, 39), consistent("payload", "chain"), record.Consistent, 0, ""},
		"not tested":                            {bank(39, 39), with(value(1), func(f *record.Finding) { f.Tier = record.NotTested }), record.NotTested, 0, ""},
		"consistent and usual":                  {bank(99, 99), mild(50), record.Consistent, 51. / 100, ""},
		"consistent, beyond a large bank":       {bank(99, 99), mild(100), record.Divergent, 1. / 100, "No harmless variant of this baseline reaches"},
		"consistent, beyond a bank of 39":       {bank(39, 39), mild(100), record.Divergent, 1. / 40, "0.05 over all 2 statistics"},
		"consistent, beyond one of 38":          {bank(38, 38), mild(100), record.Consistent, 1. / 39, "39 variants would decide"},
		"consistent, beyond a few":              {bank(18, 18), mild(100), record.Consistent, 1. / 19, ""},
		"consistent, of an unknown kind":        {bank(99, 0), mild(100), record.Consistent, 1. / 100, ""},
		"a loss like others":                    {bank(99, 0), score("sums", -0.5), record.Consistent, 50. / 100, ""},
		"a loss beyond all":                     {bank(99, 0), score("sums", -1.5), record.Divergent, 1. / 100, "No harmless variant"},
		"a loss beyond all, within the margin":  {bank(99, 0), with(score("sums", -1.5), func(f *record.Finding) { f.Margin = record.Float(2) }), record.Consistent, 1. / 100, ""},
		"a loss that is rounding":               {bank(39, 0), score("sums", -0.38-4e-17), record.Consistent, 2. / 40, ""},
		"a rise that is rounding":               {bank(39, 1), with(value(1+4e-16), func(f *record.Finding) { f.Tier = record.Consistent }), record.Consistent, 2. / 40, ""},
		"a gain beyond all":                     {bank(99, 0), score("sums", 1), record.Consistent, 1, ""},
		"a task that the variants did not have": {bank(99, 0), score("facts", -1.5), record.Consistent, 0, ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := &record.Run{Findings: []record.Finding{tc.finding}}
			tc.file.Apply(r, "sha256:33", "alice", "engine")
			f := r.Findings[0]
			if f.Tier != tc.tier || !strings.Contains(f.Detail, tc.says) || tc.says == "" && f.Detail != "" {
				t.Errorf("%s: %q, want %s", f.Tier, f.Detail, tc.tier)
			}
			if raised := tc.finding.Tier == record.Consistent && tc.tier == record.Divergent; raised != strings.Contains(f.Title, "no harmless variant") {
				t.Errorf("the title is %q", f.Title)
			}
			switch {
			case tc.p == 0 && (f.PBank != nil || f.BankN != 0):
				t.Errorf("bank p is %v of %d", *f.PBank, f.BankN)
			case tc.p != 0 && (f.PBank == nil || math.Abs(*f.PBank-tc.p) > 1e-12 || f.BankN != tc.file.Bank()):
				t.Errorf("bank p is %v of %d, want %g", f.PBank, f.BankN, tc.p)
			}
			want := record.Meta{Calibration: "sha256:33", CalibrationSigner: "alice", CalibrationEngine: "same", CalibrationVariants: tc.file.Bank(), CalibrationTests: len(tc.file.Statistics), CalibrationAlpha: Alpha}
			if d := cmp.Diff(want, r.Meta); d != "" {
				t.Error(d)
			}
		})
	}
}

// A harmless candidate is raised at most at the rate that is promised: here it
// is one more draw from the variants' population, in every statistic.
func TestRaisedRate(t *testing.T) {
	const statistics, rounds = 4, 2000
	rng := rand.New(rand.NewPCG(1, 2))
	n, raised := Needed(statistics), 0
	model := func(name string) Measured {
		m := run(name)
		for s := range statistics {
			f := value(rng.Float64())
			f.Tier, f.Rule = record.Consistent, fmt.Sprint("r", s)
			m.Findings = append(m.Findings, f)
		}
		return m
	}
	for range rounds {
		var runs []Measured
		for i := range n {
			runs = append(runs, model(fmt.Sprintf("v%03d", i)))
		}
		r := &record.Run{Findings: model("candidate").Findings}
		Fit("t", "e", key, runs).Apply(r, "", "", "")
		if slices.ContainsFunc(r.Findings, func(f record.Finding) bool { return f.Tier == record.Divergent }) {
			raised++
		}
	}
	// 5 % at most, and with independent statistics hardly less; 4.5 standard errors.
	if rate := float64(raised) / rounds; rate > 0.05+0.022 || rate < 0.05-0.022 {
		t.Errorf("%d of %d harmless candidates were raised, %.3f", raised, rounds, rate)
	}
}

func TestEngine(t *testing.T) {
	r := &record.Run{}
	bank(19, 1).Apply(r, "d", "", "another build")
	if r.Meta.CalibrationEngine != "other" {
		t.Errorf("engine is %q", r.Meta.CalibrationEngine)
	}
}

func TestMatches(t *testing.T) {
	f := bank(3, 1)
	if err := f.Matches(key); err != nil {
		t.Error(err)
	}
	for want, change := range map[string]func(*Key){
		"baseline":    func(k *Key) { k.Baseline = "sha256:99" },
		"suite":       func(k *Key) { k.Suites = []string{"standard@sha256:22"} },
		"level":       func(k *Key) { k.Level = "deep" },
		"budget":      func(k *Key) { k.Budget++ },
		"seed":        func(k *Key) { k.Seed++ },
		"canary file": func(k *Key) { k.Canaries = "sha256:44" },
	} {
		k := key
		change(&k)
		if err := f.Matches(k); !errors.Is(err, ErrFile) || !strings.Contains(err.Error(), "for the "+want+" ") || !strings.Contains(err.Error(), "calibrate again") {
			t.Errorf("%s: %v", want, err)
		}
	}
}

func TestLoad(t *testing.T) {
	path := filepath.Join(t.TempDir(), "c.json")
	f := bank(3, 1)
	src, err := f.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, src, 0o600); err != nil {
		t.Fatal(err)
	}
	got, raw, err := Load(path)
	if err != nil || !bytes.Equal(raw, src) || Digest(raw) != Digest(src) || !cmp.Equal(got, f) {
		t.Errorf("%v: %+v", err, got)
	}
	if _, _, err := Load(filepath.Join(t.TempDir(), "none")); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	if err := os.WriteFile(path, src[:len(src)/2], 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := Load(path); !errors.Is(err, ErrFile) || !strings.Contains(err.Error(), path) {
		t.Error(err)
	}
}

// Whatever is changed in a file, it is refused, and the error says what to do.
func TestDamaged(t *testing.T) {
	good, err := bank(5, 3).Encode()
	if err != nil {
		t.Fatal(err)
	}
	edit := func(old, new string) []byte {
		if !bytes.Contains(good, []byte(old)) {
			t.Fatalf("%q is not in\n%s", old, good)
		}
		return bytes.Replace(good, []byte(old), []byte(new), 1)
	}
	for name, src := range map[string][]byte{
		"empty":               nil,
		"not JSON":            []byte("hello"),
		"null":                []byte("null\n"),
		"cut":                 good[:len(good)-20],
		"more after it":       append(slices.Clone(good), "{}"...),
		"other format":        edit(Format, "weighbridge calibration 9"),
		"unknown field":       edit(`"tool":`, `"tol": 1, "tool":`),
		"field twice":         edit(`"tool":`, `"tool": "x", "tool":`),
		"other spacing":       edit("\n ", "\n  "),
		"no baseline":         edit("sha256:11", ""),
		"other order":         edit(`"v000"`, `"v009"`),
		"variant twice":       edit(`"v000"`, `"v001"`),
		"values out of order": edit("    1,\n", "    3,\n"),
		"no values":           edit("    1,\n    2,\n    3\n", ""),
		"too many variants":   edit(`"variants": 5,`, `"variants": 6,`),
		"too few variants":    edit(`"variants": 5,`, `"variants": 1,`),
		"not a number":        edit("    1,\n", "    NaN,\n"),
		"too large":           make([]byte, MaxFile+1),
	} {
		if _, err := Parse(src); !errors.Is(err, ErrFile) || !strings.Contains(err.Error(), "weighbridge calibrate") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, x := range []*File{bank(1, 1), bank(5, 3), bank(20, 0)} {
		src, err := x.Encode()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(src)
	}
	f.Add([]byte(`{}`))
	f.Fuzz(func(t *testing.T, src []byte) {
		c, err := Parse(src)
		if err != nil {
			if !errors.Is(err, ErrFile) {
				t.Fatalf("%v is no ErrFile", err)
			}
			return
		}
		again, err := c.Encode()
		if err != nil || !bytes.Equal(src, again) {
			t.Fatalf("it is written back as other bytes: %v", err)
		}
		r := &record.Run{}
		for _, s := range c.Statistics {
			r.Findings = append(r.Findings, record.Finding{Probe: s.Probe, Rule: s.Rule, Subject: s.Subject, Statistic: s.Statistic, LowerIsWorse: s.LowerIsWorse,
				Tier: record.Divergent, Class: record.Backdoor, Value: record.Float(s.Values[0])})
		}
		c.Apply(r, "", "", "")
		for _, x := range r.Findings {
			if x.PBank == nil || *x.PBank <= 0 || *x.PBank > 1 {
				t.Fatalf("bank p of %s is %v", x.Statistic, x.PBank)
			}
		}
	})
}
