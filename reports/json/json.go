// Package json renders a run and its items as one JSON text, described in
// docs/report-schema.md.
//
// The text is ASCII: whatever else a string holds is escaped, so that printing
// the report cannot harm a terminal and loses nothing. JSON has no infinity
// and no NaN; such a figure is null.
package json

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"math"
	"slices"

	"github.com/weighbridge/weighbridge/record"
	"github.com/weighbridge/weighbridge/reports/safetext"
)

// Schema names the shape of the text. It changes when a reader would have to.
const Schema = "weighbridge.report/1"

// tensor shadows the figures of record.Tensor that may be infinite.
type tensor struct {
	record.Tensor
	Relative *float64   `json:"relative"`
	Max      *float64   `json:"max"`
	Changed  *float64   `json:"changed"`
	Spectrum []*float64 `json:"spectrum,omitempty"`
	Leading  *float64   `json:"leading,omitempty"`
}

// run shadows the lists of record.Run whose elements are changed, and makes
// lists that are empty [] instead of null.
type run struct {
	Meta      record.Meta       `json:"meta"`
	Verdict   record.Verdict    `json:"verdict"`
	Evidence  []record.Evidence `json:"evidence"`
	Lineage   []record.Link     `json:"lineage"`
	Findings  []record.Finding  `json:"findings"`
	Probes    []record.ProbeRun `json:"probes"`
	Artifacts []record.Artifact `json:"artifacts"`
	Tensors   []tensor          `json:"tensors"`
	Boxes     []record.Box      `json:"boxes"`
}

// Render writes the text. Items are written one to a line.
func Render(w io.Writer, r *record.Run, items iter.Seq2[record.Item, error]) error {
	b := bufio.NewWriterSize(w, 1<<16)
	head, err := encode(convert(r))
	if err != nil {
		return err
	}
	fmt.Fprintf(b, "{\"schema\":%q,\n\"run\":%s,\n\"items\":[", Schema, head)
	sep := "\n"
	n := 0
	for it, err := range items {
		if err != nil {
			return err
		}
		it.ScoreB, it.ScoreC, it.Effect = finite(it.ScoreB), finite(it.ScoreC), finite(it.Effect)
		line, err := encode(it)
		if err != nil {
			return fmt.Errorf("item %d: %w", n, err)
		}
		b.WriteString(sep)
		b.WriteString(line)
		sep = ",\n"
		n++
	}
	b.WriteString("\n]}\n")
	return b.Flush()
}

func encode(v any) (string, error) {
	data, err := json.Marshal(v)
	return safetext.ASCIIJSON(string(data)), err
}

func finite(p *float64) *float64 {
	if p == nil || math.IsInf(*p, 0) || math.IsNaN(*p) {
		return nil
	}
	return p
}

// some makes a list that is never null.
func some[T any](s []T) []T { return append(make([]T, 0, len(s)), s...) }

func convert(r *record.Run) run {
	out := run{Meta: r.Meta, Verdict: r.Verdict, Evidence: some(r.Evidence), Lineage: some(r.Lineage), Findings: some(r.Findings), Probes: some(r.Probes),
		Artifacts: some(r.Artifacts), Boxes: some(r.Boxes), Tensors: make([]tensor, 0, len(r.Tensors))}
	out.Meta.Suites, out.Verdict.Reasons = some(r.Meta.Suites), some(r.Verdict.Reasons)
	for i := range out.Findings {
		f := &out.Findings[i]
		for _, p := range []**float64{&f.Value, &f.Low, &f.High, &f.P, &f.PHolm, &f.MDE, &f.Margin, &f.PBank} {
			*p = finite(*p)
		}
	}
	for i := range out.Boxes {
		out.Boxes[i].Checks = some(out.Boxes[i].Checks)
	}
	for _, t := range r.Tensors {
		j := tensor{Tensor: t, Relative: finite(&t.Relative), Max: finite(&t.Max), Changed: finite(&t.Changed), Leading: finite(t.Leading)}
		for _, s := range slices.Clone(t.Spectrum) {
			j.Spectrum = append(j.Spectrum, finite(&s))
		}
		out.Tensors = append(out.Tensors, j)
	}
	return out
}
