package html

import (
	"bytes"
	"fmt"
	"html/template"
	"math"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weighbridge/weighbridge/record"
	"github.com/weighbridge/weighbridge/reports/reportstest"
)

const maxBytes = 3_000_000

func TestSizeIsBounded(t *testing.T) {
	reject, _ := reportstest.Reject()
	var b bytes.Buffer
	if err := Render(&b, reject, reportstest.Stream(100_000)); err != nil {
		t.Fatal(err)
	}
	if b.Len() > maxBytes {
		t.Errorf("100,000 items make a page of %d bytes", b.Len())
	}
	if !strings.Contains(b.String(), "more are in report.parquet") {
		t.Error("the page does not say what it leaves out")
	}
	t.Logf("100,000 items: %d bytes", b.Len())

	// Everything many times over, with the longest texts there are.
	hostile, items := reportstest.Hostile()
	for i := range hostile.Findings {
		hostile.Findings[i].ID = fmt.Sprint(i)
	}
	for range 30 {
		hostile.Findings = append(hostile.Findings, hostile.Findings[:11]...)
		items = append(items, items[:60]...)
		hostile.Boxes = append(hostile.Boxes, hostile.Boxes[0])
		hostile.Probes = append(hostile.Probes, hostile.Probes[:9]...)
		hostile.Artifacts = append(hostile.Artifacts, hostile.Artifacts[:3]...)
		hostile.Evidence = append(hostile.Evidence, hostile.Evidence[:3]...)
		hostile.Verdict.Reasons = append(hostile.Verdict.Reasons, hostile.Verdict.Reasons[:4]...)
	}
	long := strings.Repeat("\u202e<", 4000)
	for i := range items {
		items[i].Flip, items[i].Task = "lost", fmt.Sprint(long, i)
		items[i].Prompt, items[i].Baseline, items[i].Candidate = long, long, long+"x"
	}
	for i := range 20_000 {
		hostile.Tensors = append(hostile.Tensors, record.Tensor{Name: long, Layer: i / 10, Kind: fmt.Sprint(long, i%70), Relative: 0.1})
	}
	if n := len(render(t, hostile, items)); n > maxBytes {
		t.Errorf("a hostile run makes a page of %d bytes", n)
	} else {
		t.Logf("hostile: %d bytes", n)
	}
}

func TestEmptyRun(t *testing.T) {
	out := string(render(t, &record.Run{Verdict: record.Verdict{Outcome: record.Escalate}}, nil))
	for _, want := range []string{"None were recovered", "No figure was taken", "No answer flipped", "Tensors were not compared", "no proof of a box"} {
		if !strings.Contains(out, want) {
			t.Errorf("the page does not say %q", want)
		}
	}
}

// TestFiguresAreNumbers draws figures that break axes.
func TestFiguresAreNumbers(t *testing.T) {
	f := record.Float
	for _, fs := range [][]*record.Finding{
		{{Value: f(0)}},
		{{Value: f(math.NaN())}, {Value: f(math.Inf(1)), Low: f(math.Inf(-1)), High: f(math.NaN())}},
		{{Value: f(math.MaxFloat64), Low: f(-math.MaxFloat64), High: f(math.MaxFloat64), MDE: f(math.Inf(1)), Margin: f(math.MaxFloat64)}},
		{{Value: f(5e-324), Low: f(-5e-324), High: f(5e-324), MDE: f(-3), Margin: f(-2)}},
		{{Value: f(3), Low: f(9), High: f(1)}},
	} {
		a := axisOf(fs)
		for _, x := range fs {
			svg := string(forest(x, a))
			if bad := regexp.MustCompile(`"[^"]*(NaN|Inf)"|="-\d`).FindString(strings.ReplaceAll(svg, "aria-label", "")); bad != "" && !strings.Contains(bad, "value") {
				t.Errorf("%v: %s in %s", *x.Value, bad, svg)
			}
		}
	}
	for _, x := range []float64{math.NaN(), math.Inf(1), -1, 0} {
		if h := heatMap([]record.Tensor{{Kind: "k", Relative: x}}); !strings.Contains(string(h.Change), "class=\"h") {
			t.Errorf("%v has no cell", x)
		}
	}
}

func TestDiff(t *testing.T) {
	for _, c := range []struct{ a, b, left, right string }{
		{"", "", "", ""},
		{"same words", "same words", "same words", "same words"},
		{"a red fox", "a blue fox", "a <del>red</del> fox", "a <ins>blue</ins> fox"},
		{"one two three", "four five six", "<del>one two three</del>", "<ins>four five six</ins>"},
		{"x", "", "<del>x</del>", ""},
		{"<b>", "<i>", "&lt;<del>b</del>&gt;", "&lt;<ins>i</ins>&gt;"},
		{"a\u202eb", "a", "a<del><i class=m>⟦U+202E⟧</i>b</del>", "a"},
	} {
		l, r := diff(c.a, c.b, 1000)
		if d := cmp.Diff([]template.HTML{template.HTML(c.left), template.HTML(c.right)}, []template.HTML{l, r}); d != "" {
			t.Errorf("%q and %q: %s", c.a, c.b, d)
		}
	}
	l, r := diff(strings.Repeat("w ", 5000), strings.Repeat("v ", 5000), 500)
	if !strings.Contains(string(l), "more)") || len(l)+len(r) > 3000 {
		t.Errorf("long texts are not cut: %d bytes", len(l)+len(r))
	}
}

var tags = regexp.MustCompile(`<[^>]*>`)

// FuzzDiff takes the page's own elements away again: both texts are whole.
func FuzzDiff(f *testing.F) {
	f.Add("a red fox", "a blue fox")
	f.Add("\x1b[0m\n\u202e", "<script>\xff")
	f.Fuzz(func(t *testing.T, a, b string) {
		if len(a)+len(b) > 400 {
			return
		}
		l, r := diff(a, b, 1<<20)
		for _, c := range []struct {
			out  template.HTML
			text string
		}{{l, a}, {r, b}} {
			if got, want := tags.ReplaceAllString(string(c.out), ""), tags.ReplaceAllString(string(block(c.text, 0)), ""); got != want {
				t.Errorf("%q became %q, want %q", c.text, got, want)
			}
			if bad := regexp.MustCompile(`<(?:[^/ids]|/?script|i [^c])`).FindString(string(c.out)); bad != "" {
				t.Errorf("%q opens %q", c.text, bad)
			}
		}
	})
}
