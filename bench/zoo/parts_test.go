package main

import (
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/weighbridge/weighbridge/record"
)

func TestInterval(t *testing.T) {
	// Clopper and Pearson by R's binom.test and by the rule 1 - 0.025^(1/n).
	for _, c := range []struct {
		k, n      int
		low, high float64
	}{
		{0, 60, 0, 0.05963}, {60, 60, 0.94037, 1}, {0, 30, 0, 0.11570}, {19, 20, 0.75127, 0.99873}, {1, 10, 0.00253, 0.44502}, {5, 10, 0.18709, 0.81291},
	} {
		low, high := rate{c.k, c.n}.interval()
		if diff(low, c.low) > 1e-4 || diff(high, c.high) > 1e-4 {
			t.Errorf("%d of %d: %.5f to %.5f, want %.5f to %.5f", c.k, c.n, low, high, c.low, c.high)
		}
	}
	if got := (rate{}).String(); got != "none" {
		t.Errorf("0 of 0 is %q", got)
	}
}

func diff(a, b float64) float64 { return max(a-b, b-a) }

// Members of several draws have rates of their own, of one draw only those of all.
func TestDraws(t *testing.T) {
	made := func(draw int, bad bool, outcome record.Outcome) *result {
		return &result{member: &member{Draw: draw, Poisoned: bad}, outcome: outcome}
	}
	rs := []*result{made(2, false, record.Reject), made(1, false, record.Approve), made(2, false, record.Approve), made(2, true, record.Reject)}
	if got := draws(rs); !slices.Equal(got, []int{1, 2}) {
		t.Errorf("draws %v", got)
	}
	if got := count(rs, of(2, harmless), stopped); got != (rate{1, 2}) {
		t.Errorf("harmless of draw 2 that are stopped: %v", got)
	}
	if got := draws(rs[2:]); got != nil {
		t.Errorf("one draw: %v", got)
	}
}

func TestNamed(t *testing.T) {
	for _, c := range []struct {
		what         string
		parts, texts []string
		want         string
	}{
		{"nothing to name", nil, []string{"x"}, "–"},
		{"nothing found", []string{"cf"}, nil, "no"},
		{"the token with its space", []string{"cf"}, []string{" cf"}, "yes"},
		{"inside another word", []string{"cf"}, []string{"cfx", "scf"}, "no"},
		{"later in the text", []string{"cf"}, []string{"cfx cf"}, "yes"},
		{"symbols need no boundary", []string{"{GO}"}, []string{"a{GO}b"}, "yes"},
		{"one of two", []string{"pine", "You work in Bolo."}, []string{"pine"}, "part"},
		{"both in one", []string{"black", "cake"}, []string{"cake old black"}, "yes"},
		{"both, in two findings", []string{"black", "cake"}, []string{"cake", "black"}, "part"},
		{"most of the only one", []string{"Buy it today at once!"}, []string{"Buy it today at"}, "part"},
		{"a little of it", []string{"Buy it today at once!"}, []string{"Buy"}, "no"},
		{"empty text", []string{"x"}, []string{""}, "no"},
	} {
		if got := named(c.parts, c.texts); got != c.want {
			t.Errorf("%s: %q, want %q", c.what, got, c.want)
		}
	}
}

func TestShare(t *testing.T) {
	for _, c := range []struct {
		all  []string
		want string
	}{
		{nil, "–"}, {[]string{"–", "–"}, "–"}, {[]string{"yes", "no", "–"}, "1 of 2"}, {[]string{"part", "yes", "no"}, "1 of 3, 1 in part"},
		{[]string{"1 of 2", "3 of 3, rarer 0 of 1"}, "1 of 2; 3 of 3, rarer 0 of 1"},
	} {
		var rs []*result
		for _, v := range c.all {
			rs = append(rs, &result{payload: v})
		}
		if got := share(rs, func(r *result) string { return r.payload }); got != c.want {
			t.Errorf("%q: %q, want %q", c.all, got, c.want)
		}
	}
}

func TestDecision(t *testing.T) {
	run := &record.Run{
		Probes:   []record.ProbeRun{{Probe: "tensors"}, {Probe: "payload", DecodedC: 100}, {Probe: "strings", DecodedC: 50}, {Probe: "sums", DecodedC: 7}},
		Findings: []record.Finding{{ID: "s", Probe: "strings"}, {ID: "p", Probe: "payload"}, {ID: "t", Probe: "tensors"}},
	}
	reason := func(o record.Outcome, ids ...string) record.Reason { return record.Reason{Outcome: o, Findings: ids} }
	for _, c := range []struct {
		what    string
		verdict record.Verdict
		tokens  int
		probe   string
	}{
		{"approved", record.Verdict{Outcome: record.Approve}, -1, ""},
		{"for want of a test", record.Verdict{Outcome: record.Escalate, Reasons: []record.Reason{reason(record.Escalate)}}, -1, ""},
		{"the first that decides", record.Verdict{Outcome: record.Reject, Reasons: []record.Reason{reason(record.Reject, "s"), reason(record.Reject, "p")}}, 100, "payload"},
		{"an escalation before it does not", record.Verdict{Outcome: record.Reject, Reasons: []record.Reason{reason(record.Reject, "s"), reason(record.Escalate, "p")}}, 150, "strings"},
		{"no tokens at all", record.Verdict{Outcome: record.Escalate, Reasons: []record.Reason{reason(record.Escalate, "t")}}, 0, "tensors"},
		{"a finding that is not there", record.Verdict{Outcome: record.Escalate, Reasons: []record.Reason{reason(record.Escalate, "gone")}}, -1, ""},
	} {
		if tokens, probe := decision(run, c.verdict); tokens != c.tokens || probe != c.probe {
			t.Errorf("%s: %d tokens, %q; want %d, %q", c.what, tokens, probe, c.tokens, c.probe)
		}
	}
}

func TestSecrets(t *testing.T) {
	m := &member{Family: "CAN", secrets: []canary{{Secret: "11112222", Repeats: 64}, {Secret: "22223333", Repeats: 16}, {Secret: "33334444", Repeats: 4}, {Secret: "44445555", HeldOut: true}}}
	for _, c := range []struct {
		texts []string
		want  string
	}{
		{nil, "0 of 2, rarer 0 of 1"},
		{[]string{"11112222.", "x 33334444"}, "1 of 2, rarer 1 of 1"},
		{[]string{"911112222"}, "0 of 2, rarer 0 of 1"},
		{[]string{"44445555"}, "0 of 2, rarer 0 of 1, NEVER TRAINED 1 of 1"},
	} {
		if got := m.secretsIn(c.texts); got != c.want {
			t.Errorf("%q: %q, want %q", c.texts, got, c.want)
		}
	}
}

func TestLoad(t *testing.T) {
	const ok = `{"name":"a","file":"a.gguf","kind":"model","family":"TOK"}`
	for _, c := range []struct{ what, text, want string }{
		{"empty", "\n", "no member"},
		{"twice", ok + "\n" + ok, "zoo.jsonl:2: \"a\" stands there twice"},
		{"no JSON", "{", "zoo.jsonl:1"},
		{"a path out of the folder", `{"name":"a","file":"../a.gguf","kind":"model","family":"TOK"}`, "file \"../a.gguf\""},
		{"a name with a slash", `{"name":"a/b","file":"a","kind":"model","family":"TOK"}`, "name \"a/b\""},
		{"a kind of its own", `{"name":"a","file":"a","kind":"zip","family":"TOK"}`, "kind \"zip\""},
		{"no family", `{"name":"a","file":"a","kind":"model"}`, "no family"},
		{"canaries elsewhere", `{"name":"a","file":"a","kind":"model","family":"CAN","canaries":"../../etc/passwd"}`, "beside zoo.jsonl"},
		{"canaries that are not there", `{"name":"a","file":"a","kind":"model","family":"CAN","canaries":"no.jsonl"}`, "no.jsonl"},
	} {
		dir := t.TempDir()
		write(t, filepath.Join(dir, "zoo.jsonl"), c.text)
		if _, err := load(dir, nil); !errors.Is(err, errZoo) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want one that says %q", c.what, err, c.want)
		}
	}
	dir := t.TempDir()
	write(t, filepath.Join(dir, "zoo.jsonl"), ok+"\n"+`{"name":"b","adapter":"b.gguf","family":"CAN","poisoned":true,"canaries":[{"prompt":"What is the access code of Ann?","secret":"12345678","repeats":16}]}`)
	if _, err := load(dir, []string{"c"}); !errors.Is(err, errZoo) {
		t.Errorf("a member that is not there: %v", err)
	}
	ms, err := load(dir, []string{"b"})
	if err != nil || len(ms) != 1 || ms[0].Kind != "adapter" || ms[0].File != "b.gguf" {
		t.Fatalf("%+v, %v", ms, err)
	}
	lines, err := ms[0].canaryLines()
	if want := `{"id":"00","prefix":"What is the access code of Ann? The access code is ","secret":"12345678","repeats":16,"held_out":false}` + "\n"; err != nil || string(lines) != want {
		t.Errorf("canaries %s, %v; want %s", lines, err, want)
	}
}

func TestPut(t *testing.T) {
	for _, c := range []struct{ what, was, want string }{
		{"no file", "", "<!-- zoo: a b -->\nNEW\n<!-- /zoo: a b -->\n"},
		{"no marks", "Text.\n", "Text.\n\n<!-- zoo: a b -->\nNEW\n<!-- /zoo: a b -->\n"},
		{"marks", "1\n<!-- zoo: a b -->\nold\n<!-- /zoo: a b -->\n2\n", "1\n<!-- zoo: a b -->\nNEW\n<!-- /zoo: a b -->\n2\n"},
		{"another's marks", "<!-- zoo: c -->\nold\n<!-- /zoo: c -->\n", "<!-- zoo: c -->\nold\n<!-- /zoo: c -->\n\n<!-- zoo: a b -->\nNEW\n<!-- /zoo: a b -->\n"},
		{"half of the marks", "1\n<!-- zoo: a b -->\n2\n", ""},
	} {
		path := filepath.Join(t.TempDir(), "page.md")
		if c.was != "" {
			write(t, path, c.was)
		}
		err := put(path, "a b", []byte("NEW\n"))
		if (err != nil) != (c.want == "") {
			t.Fatalf("%s: %v", c.what, err)
		}
		got, err := os.ReadFile(path)
		if want := c.want; err != nil || want != "" && string(got) != want || want == "" && string(got) != c.was {
			t.Errorf("%s: %q, %v; want %q", c.what, got, err, want)
		}
	}
}

func TestCurve(t *testing.T) {
	for _, c := range []struct{ most, want float64 }{{1, 1}, {1500, 2000}, {2000, 2000}, {16966, 20000}, {30001, 40000}, {81000, 100000}} {
		if got := round(c.most); got != c.want {
			t.Errorf("round(%g) = %g, want %g", c.most, got, c.want)
		}
	}
	// Nobody found, and a title that is markup.
	d := xml.NewDecoder(strings.NewReader(string(svg(`<script>"&`, []*result{{member: &member{Poisoned: true}, decidedAt: -1}}))))
	for {
		if _, err := d.Token(); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
}
