package html

import (
	"encoding/xml"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weighbridge/weighbridge/record"
	"github.com/weighbridge/weighbridge/reports/reportstest"
)

// lineageRun is a fine-tune of a quantised model, with every state.
func lineageRun() (*record.Run, []record.Item) {
	run, items := reportstest.Escalate()
	h := func(s string) string { return "sha256:" + strings.Repeat(s, 64/len(s)) }
	run.Lineage = []record.Link{
		{From: "model", Role: "builder", Name: "https://ci.example.org/support/fine-tune", State: record.Ambiguous, Detail: "who signs vouches for it"},
		{From: "model", Role: "base-model", Name: "harbour-1b-instruct", Digest: h("a1"), State: record.Valid, Detail: "the sha256 digest is that of what is at hand"},
		{From: "model", Role: "dataset", Name: "support-tickets-2026-q1", Digest: h("b2"), State: record.Valid, Detail: "the sha256 digest is that of what is at hand"},
		{From: "model", Role: "dataset", Name: "preference-pairs", Digest: h("c3"), State: record.Bad, Detail: "what is at hand has another sha256 digest"},
		{From: "model", Role: "code", Name: "trainer", Digest: "gitCommit:" + strings.Repeat("d4", 20), State: record.Ambiguous, Detail: "the working tree differed from the commit in 2 files (\"train.py\", \"loss.py\"); commit them and add the code again"},
		{From: "model", Role: "environment", Name: "(no environment)", State: record.Absent, Detail: "a fine-tune has to name one"},
		{From: "harbour-1b-instruct", Role: "base-model", Name: "harbour-1b", Digest: h("e5"), State: record.Valid, Detail: "the sha256 digest is that of what is at hand"},
		{From: "harbour-1b-instruct", Role: "dataset", Name: "instructions-v3", Digest: h("f6"), State: record.Ambiguous, Detail: "claimed; not at hand"},
		{From: "harbour-1b-instruct", Role: "code", Name: "trainer", Digest: "gitCommit:" + strings.Repeat("d4", 20), State: record.Ambiguous, Detail: "claimed; not at hand"},
	}
	return run, items
}

func init() { runs["lineage"] = lineageRun }

// well reports the first thing that a strict reader of XML trips over.
func well(svg string) error {
	d := xml.NewDecoder(strings.NewReader(svg))
	for {
		if _, err := d.Token(); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
	}
}

func TestLineageGolden(t *testing.T) {
	run, _ := lineageRun()
	got := string(newLineage(run.Lineage).SVG)
	if err := well(got); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join("testdata", "lineage.svg")
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Errorf("the picture differs from %s; run with -update if it should: %s", path, d)
	}
}

func TestLineageOnThePage(t *testing.T) {
	out := string(renderRun(t, "lineage"))
	for _, want := range []string{
		`<a href="#lineage">`, `<h2 id="lineage">`, "harbour-1b-instruct", ">missing<", ">contradicted<", ">claimed only<", ">compared<",
		"3 of its links were compared with bytes at hand, 4 are only claimed",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if strings.Contains(string(renderRun(t, "approve")), `id="lineage"`) {
		t.Error("a run without provenance has a lineage")
	}
}

func TestLineageIsBoundedAndSafe(t *testing.T) {
	hostile := "</svg><script>alert(1)</script>\u202e\x00\"' onload=x" + strings.Repeat("long", 500)
	var loop, wide, deep []record.Link
	for i := range 5000 {
		name := fmt.Sprint(hostile, i)
		wide = append(wide, record.Link{From: "model", Role: hostile, Name: name, Digest: hostile, State: record.EvidenceState(hostile), Detail: hostile})
		from := "model"
		if i > 0 {
			from = fmt.Sprint(i - 1)
		}
		deep = append(deep, record.Link{From: from, Role: "base-model", Name: fmt.Sprint(i), State: record.Valid})
	}
	loop = []record.Link{
		{From: "model", Role: "base-model", Name: "a", State: record.Valid},
		{From: "a", Role: "base-model", Name: "b", State: record.Valid},
		{From: "b", Role: "base-model", Name: "a", State: record.Bad},
		{From: "b", Role: "base-model", Name: "model", State: record.Bad},
		{From: "b", Role: "base-model", Name: "b", State: record.Bad},
		{From: "nowhere", Role: "dataset", Name: "lost", State: record.Valid},
	}
	for _, c := range []struct {
		name       string
		links      []record.Link
		nodes, out int
	}{
		{"wide", wide, maxNodes + 1, 5000 - maxNodes},
		{"deep", deep, maxGenerations + 1, 5000 - maxGenerations},
		{"loop", loop, 3, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := newLineage(c.links)
			svg := string(l.SVG)
			if err := well(svg); err != nil {
				t.Error(err)
			}
			if n := strings.Count(svg, `<g class="node`); n != c.nodes || l.NodesOut != c.out {
				t.Errorf("%d boxes and %d left out, want %d and %d", n, l.NodesOut, c.nodes, c.out)
			}
			if bad := regexp.MustCompile(`<script|\x00|\x{202e}| onload=x[^;& "<]*"`).FindString(svg); bad != "" {
				t.Errorf("the picture holds %q", bad)
			}
			if len(svg) > 200_000 || len(l.Links) > maxRows {
				t.Errorf("%d bytes, %d rows", len(svg), len(l.Links))
			}
			run, items := reportstest.Approve()
			run.Lineage = c.links
			if n := len(render(t, run, items)); n > maxBytes {
				t.Errorf("a page of %d bytes", n)
			}
		})
	}
}

func TestLineageIsDeterministic(t *testing.T) {
	run, _ := lineageRun()
	want := newLineage(run.Lineage).SVG
	for range 20 {
		if newLineage(run.Lineage).SVG != want {
			t.Fatal("two pictures of one lineage")
		}
	}
}
