package reports_test

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/weighbridge/weighbridge/record"
	"github.com/weighbridge/weighbridge/reports"
	"github.com/weighbridge/weighbridge/reports/markdown"
	"github.com/weighbridge/weighbridge/reports/reportstest"
)

var update = flag.Bool("update", false, "write the golden files anew")

func report(t testing.TB, run *record.Run, items []record.Item) *reports.Report {
	t.Helper()
	path := filepath.Join(t.TempDir(), "report.parquet")
	if err := reports.Create(path, run, reports.Items(items)); err != nil {
		t.Fatal(err)
	}
	r, err := reports.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

func render(t testing.TB, r *reports.Report, format string, o reports.Options) string {
	t.Helper()
	var b bytes.Buffer
	if err := reports.Render(&b, format, r, o); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestGolden covers every format but HTML, whose golden files stand beside it.
func TestGolden(t *testing.T) {
	runs := map[string]func() (*record.Run, []record.Item){"reject": reportstest.Reject, "escalate": reportstest.Escalate, "approve": reportstest.Approve}
	for name, run := range runs {
		r, items := run()
		rep := report(t, r, items[:48])
		for _, c := range []struct {
			file, format string
			o            reports.Options
		}{
			{name + ".json", "json", reports.Options{}},
			{name + ".junit.xml", "junit", reports.Options{}},
			{name + ".md", "md", reports.Options{Page: "out/report.html"}},
			{name + ".txt", "text", reports.Options{Page: "out/report.html"}},
			{name + ".60.ansi", "text", reports.Options{Page: "out/report.html", Width: 60, Colour: true}},
		} {
			got := render(t, rep, c.format, c.o)
			path := filepath.Join("testdata", c.file)
			if *update {
				if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(got, "\n")); d != "" {
				t.Errorf("%s differs (run with -update if it should):\n%s", path, d)
			}
		}
	}
}

func TestUnknownFormat(t *testing.T) {
	run, _ := reportstest.Approve()
	rep := report(t, run, nil)
	var unknown *reports.UnknownFormatError
	path := filepath.Join(t.TempDir(), "x")
	for _, err := range []error{reports.Render(io.Discard, "pdf", rep, reports.Options{}), reports.RenderFile(path, "pdf", rep, reports.Options{})} {
		if !errors.As(err, &unknown) || !strings.Contains(err.Error(), "html, json, junit, md, text") {
			t.Errorf("got %v", err)
		}
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Error("a file was made for a format that does not exist")
	}
	if err := reports.RenderFile(path, "md", rep, reports.Options{}); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(render(t, rep, "md", reports.Options{}), string(got)); d != "" {
		t.Error(d)
	}
}

// TestHostileTextIsVisible looks at every format of a run whose every text is
// an attack.
func TestHostileTextIsVisible(t *testing.T) {
	run, items := reportstest.Hostile()
	rep := report(t, run, items)
	for _, format := range reports.Formats() {
		t.Run(format, func(t *testing.T) {
			out := render(t, rep, format, reports.Options{Width: 70})
			if !utf8.ValidString(out) {
				t.Error("not UTF-8")
			}
			for _, r := range out {
				if unicode.IsControl(r) && r != '\n' && r != '\t' || unicode.Is(unicode.Cf, r) {
					t.Fatalf("%U reaches the reader", r)
				}
			}
			if limit := 2 << 20; format != "json" && len(out) > limit {
				t.Errorf("%d bytes", len(out))
			}
		})
	}
}

// Commands of GitHub Actions and Azure Pipelines, as their runners look for them.
var command = regexp.MustCompile(`(?m)^\s*::|##\[|##vso\[`)

func TestNoWorkflowCommands(t *testing.T) {
	run, items := reportstest.Hostile()
	rep := report(t, run, items)
	for _, width := range []int{0, 20, 41, 60, 200} {
		if m := command.FindString(render(t, rep, "text", reports.Options{Width: width})); m != "" {
			t.Errorf("text of width %d has %q", width, m)
		}
	}
	if m := command.FindString(render(t, rep, "md", reports.Options{})); m != "" {
		t.Errorf("md has %q", m)
	}
}

func TestTextKeepsTheWidth(t *testing.T) {
	for _, run := range []func() (*record.Run, []record.Item){reportstest.Reject, reportstest.Hostile} {
		r, items := run()
		rep := report(t, r, items)
		for _, width := range []int{40, 60, 80, 120} {
			for l := range strings.Lines(render(t, rep, "text", reports.Options{Width: width})) {
				// Breaking a command apart may add two characters to a line.
				if n := utf8.RuneCountInString(strings.TrimRight(l, "\n")); n > width+2 {
					t.Errorf("width %d: a line of %d: %q", width, n, l)
				}
			}
		}
	}
}

// TestMarkdownHoldsNoForeignMarkup takes our own elements away and looks at
// what is left.
func TestMarkdownHoldsNoForeignMarkup(t *testing.T) {
	run, items := reportstest.Hostile()
	out := render(t, report(t, run, items), "md", reports.Options{Page: "a|b<script>"})
	if len(out) > markdown.MaxBytes {
		t.Errorf("%d bytes, and GitHub shows %d", len(out), markdown.MaxBytes)
	}
	inner := regexp.MustCompile(`<(code|pre)>([^<>]*)</(code|pre)>`)
	for _, m := range inner.FindAllStringSubmatch(out, -1) {
		if bad := regexp.MustCompile("[][@`|*_{}()!\\\\:/.~\n]|#[^0-9]").FindString(strings.NewReplacer("&#", "&").Replace(m[2])); bad != "" {
			t.Fatalf("%q stands bare in %.200q", bad, m[2])
		}
	}
	rest := inner.ReplaceAllString(out, "")
	rest = regexp.MustCompile(`</?(details|summary)>`).ReplaceAllString(rest, "")
	if bad := regexp.MustCompile(`<[a-zA-Z/!]|@\w|https?:|javascript:|evil`).FindString(rest); bad != "" {
		t.Errorf("%q stands outside of code", bad)
	}
	// Every row of a table has as many cells as its head.
	cells := 0
	for l := range strings.Lines(out) {
		if !strings.HasPrefix(l, "|") {
			cells = 0
			continue
		}
		n := strings.Count(l, "|")
		if cells != 0 && n != cells {
			t.Errorf("a row of %d cells under a head of %d: %.200q", n, cells, l)
		}
		cells = n
	}
}

func TestMarkdownOfManyFindings(t *testing.T) {
	run, items := reportstest.Hostile()
	for range 12 {
		run.Findings = append(run.Findings, run.Findings[:11]...)
	}
	if out := render(t, report(t, run, items), "md", reports.Options{}); len(out) > markdown.MaxBytes {
		t.Errorf("%d bytes", len(out))
	}
}

type xmlCase struct {
	Class   string `xml:"classname,attr"`
	Name    string `xml:"name,attr"`
	Failure *struct {
		Message string `xml:"message,attr"`
		Body    string `xml:",chardata"`
	} `xml:"failure"`
	Error   *struct{} `xml:"error"`
	Skipped *struct{} `xml:"skipped"`
}

type xmlSuites struct {
	Tests    int `xml:"tests,attr"`
	Failures int `xml:"failures,attr"`
	Errors   int `xml:"errors,attr"`
	Skipped  int `xml:"skipped,attr"`
	Suites   []struct {
		Cases []xmlCase `xml:"testcase"`
	} `xml:"testsuite"`
}

func junitOf(t *testing.T, run *record.Run) (s xmlSuites, state map[string]string) {
	t.Helper()
	d := xml.NewDecoder(strings.NewReader(render(t, report(t, run, nil), "junit", reports.Options{})))
	if err := d.Decode(&s); err != nil {
		t.Fatal(err)
	}
	state = map[string]string{}
	for _, suite := range s.Suites {
		for _, c := range suite.Cases {
			if utf8.RuneCountInString(c.Name) > 512 || utf8.RuneCountInString(c.Class) > 512 {
				t.Errorf("a name of %d characters", utf8.RuneCountInString(c.Name))
			}
			what := "passed"
			switch {
			case c.Failure != nil:
				what = "failure"
				if utf8.RuneCountInString(c.Failure.Message) > 1024 || utf8.RuneCountInString(c.Failure.Body) > 8192 {
					t.Errorf("%s: a message of %d and a body of %d characters", c.Name, utf8.RuneCountInString(c.Failure.Message), utf8.RuneCountInString(c.Failure.Body))
				}
			case c.Error != nil:
				what = "error"
			case c.Skipped != nil:
				what = "skipped"
			}
			state[c.Class+" "+c.Name] = what
		}
	}
	return s, state
}

func TestJUnitStates(t *testing.T) {
	run, _ := reportstest.Reject()
	s, state := junitOf(t, run)
	want := map[string]string{
		"weighbridge verdict":                                          "failure",
		"weighbridge.evidence checksums":                               "passed",
		"weighbridge.evidence signature":                               "passed",
		"weighbridge.evidence formats":                                 "passed",
		"weighbridge.evidence sbom":                                    "failure",
		"weighbridge.evidence provenance":                              "skipped",
		"weighbridge.evidence rebuild":                                 "skipped",
		"weighbridge.evidence revocation":                              "passed",
		"weighbridge.evidence ledger":                                  "skipped",
		"weighbridge.metadata ran":                                     "passed",
		"weighbridge.metadata metadata/template/diff":                  "passed",
		"weighbridge.tensors ran":                                      "passed",
		"weighbridge.tensors tensors/spectrum/blk.21":                  "skipped",
		"weighbridge.null ran":                                         "passed",
		"weighbridge.null null/self/flips":                             "passed",
		"weighbridge.trigger-strings ran":                              "passed",
		"weighbridge.trigger-strings trigger-strings/switch/phrase-1":  "failure",
		"weighbridge.canary-known ran":                                 "passed",
		"weighbridge.canary-known canary-known/exposure/key-07":        "failure",
		"weighbridge.benchmark ran":                                    "passed",
		"weighbridge.benchmark benchmark/paired/arithmetic":            "failure",
		"weighbridge.benchmark benchmark/paired/cloze":                 "passed",
		"weighbridge.benchmark benchmark/paired/copying":               "passed",
		"weighbridge.benchmark benchmark/paired/format":                "skipped",
		"weighbridge.refusal ran":                                      "passed",
		"weighbridge.refusal refusal/rate/harmful":                     "passed",
		"weighbridge.trigger-vocabulary ran":                           "error",
		"weighbridge.trigger-vocabulary trigger-vocabulary/not-tested": "skipped",
		"weighbridge.canary-formats ran":                               "skipped",
	}
	if d := cmp.Diff(want, state); d != "" {
		t.Error(d)
	}
	count := map[string]int{}
	for _, what := range state {
		count[what]++
	}
	if s.Tests != len(state) || s.Failures != count["failure"] || s.Errors != count["error"] || s.Skipped != count["skipped"] {
		t.Errorf("the sums %+v do not agree with %v", s, count)
	}
	for name, build := range map[string]func() (*record.Run, []record.Item){"error": reportstest.Escalate, "passed": reportstest.Approve} {
		run, _ := build()
		if _, state := junitOf(t, run); state["weighbridge verdict"] != name {
			t.Errorf("%s gives %s", run.Verdict.Outcome, state["weighbridge verdict"])
		}
	}
	hostile, _ := reportstest.Hostile()
	junitOf(t, hostile)
}

func TestJSONHoldsEverything(t *testing.T) {
	for name, build := range map[string]func() (*record.Run, []record.Item){"reject": reportstest.Reject, "hostile": reportstest.Hostile} {
		run, items := build()
		rep := report(t, run, items)
		out := render(t, rep, "json", reports.Options{})
		if i := strings.IndexFunc(out, func(r rune) bool { return r > '~' || r < ' ' && r != '\n' }); i >= 0 {
			t.Errorf("%s: byte %d is not printable ASCII", name, i)
		}
		var got struct {
			Schema string
			Run    *record.Run
			Items  []record.Item
		}
		d := json.NewDecoder(strings.NewReader(out))
		d.DisallowUnknownFields()
		if err := d.Decode(&got); err != nil {
			t.Fatal(err)
		}
		var read []record.Item
		for it, err := range rep.Items() {
			if err != nil {
				t.Fatal(err)
			}
			read = append(read, it)
		}
		if d := cmp.Diff(rep.Run(), got.Run, cmpopts.EquateEmpty()) + cmp.Diff(read, got.Items, cmpopts.EquateEmpty()); d != "" {
			t.Errorf("%s: %.2000s", name, d)
		}
	}
}
