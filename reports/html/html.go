package html

import (
	"bufio"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"html/template"
	"io"
	"iter"
	"strings"

	"github.com/weighbridge/weighbridge/record"
	"github.com/weighbridge/weighbridge/reports/internal/view"
	"github.com/weighbridge/weighbridge/reports/safetext"
)

// How much the page shows. Sections that hold long texts stop at a number of
// bytes as well, so that no text can make the page large.
const (
	maxFlips     = 400
	maxFindings  = 200
	maxExchanges = 6
	maxRows      = 60 // of tables whose length is nobody's promise
	maxChecks    = 200
	maxEvidence  = 16 // pieces; there are eight kinds
	maxProblems  = 12 // of one piece of evidence

	recoveredBytes = 700_000
	flipBytes      = 1_100_000
	findingBytes   = 300_000
)

var (
	//go:embed page.html
	pageHTML string
	//go:embed page.css
	pageCSS string
	//go:embed page.js
	pageJS string
)

var page = template.Must(template.New("page").Funcs(template.FuncMap{
	"line": line, "text": block, "plain": safetext.Line,
	"num": view.Num, "opt": view.Opt, "bytes": view.Bytes, "percent": percent, "spectrum": spectrum,
	"count": count, "short": view.Short, "join": func(s []string) string { return strings.Join(s, " ") },
	"tierClass": tierClass, "tierName": tierName, "tier": func(s string) record.Tier { return record.Tier(s) },
	"quotes": quotes,
}).Parse(pageHTML))

// Render writes the page of a run.
func Render(w io.Writer, run *record.Run, items iter.Seq2[record.Item, error]) error {
	v, err := view.Collect(run, items, maxFlips)
	if err != nil {
		return err
	}
	b := bufio.NewWriter(w)
	if err := page.Execute(b, newData(v)); err != nil {
		return err
	}
	return b.Flush()
}

// The style sheet and the script are put in as they are, because the page's
// policy names their digests.
func inline(element, text string) (template.HTML, string) {
	sum := sha256.Sum256([]byte(text))
	return template.HTML("<" + element + ">" + text + "</" + element + ">"), "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

func policy(style, script string) string {
	return "default-src 'none'; style-src " + style + "; script-src " + script + "; img-src data:; base-uri 'none'; form-action 'none'"
}

func count(n any) string {
	switch n := n.(type) {
	case int:
		return view.Count(n)
	case int64:
		return view.Count(n)
	}
	return ""
}

// evidenceClass colours a state; the words say it too.
func evidenceClass(s record.EvidenceState) string {
	switch s {
	case record.Valid:
		return "l-valid"
	case record.Bad:
		return "l-bad"
	case record.Ambiguous:
		return "l-claimed"
	}
	return "l-absent"
}

func tierClass(t record.Tier) string {
	switch t {
	case record.Proven:
		return "t-proven"
	case record.Divergent:
		return "t-divergent"
	case record.Consistent:
		return "t-consistent"
	}
	return "t-not-tested"
}

func tierName(t record.Tier) string {
	switch t {
	case record.Proven:
		return "Proven"
	case record.Divergent:
		return "Divergent"
	case record.Consistent:
		return "Consistent"
	case record.NotTested:
		return "Not tested"
	}
	return "Unknown tier"
}

func spectrum(s []float64) string {
	var parts []string
	for _, x := range s[:min(4, len(s))] {
		parts = append(parts, view.Num(x))
	}
	if len(s) > 4 {
		parts = append(parts, "…")
	}
	return strings.Join(parts, ", ")
}
