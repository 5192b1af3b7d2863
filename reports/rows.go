package reports

import (
	"errors"
	"fmt"

	"github.com/weighbridge/weighbridge/record"
)

// runRows lists the rows of everything but the items, in file order.
func runRows(run *record.Run) []row {
	rows := []row{verdictRow(run)}
	for i := range run.Verdict.Reasons {
		r := &run.Verdict.Reasons[i]
		rows = append(rows, row{Kind: kindReason, Rule: r.Rule, Outcome: string(r.Outcome), Message: r.Message, Findings: r.Findings})
	}
	for _, e := range run.Evidence {
		rows = append(rows, evidenceRow(&e))
		for _, x := range e.Problems {
			rows = append(rows, row{Kind: kindProblem, Name: string(e.Kind), Rule: x.Rule, Subject: x.Subject, Detail: x.Detail})
		}
	}
	for _, l := range run.Lineage {
		rows = append(rows, row{Kind: kindLineage, MadeFrom: l.From, Role: l.Role, Name: l.Name, Digest: l.Digest, Status: string(l.State), Detail: l.Detail})
	}
	for _, a := range run.Artifacts {
		rows = append(rows, row{Kind: kindArtifact, Side: a.Side, Role: a.Role, Name: a.Name, Digest: a.Digest,
			Size: &a.Size, FileFormat: a.Format, Arch: a.Arch, Params: &a.Params, Quant: a.Quant})
	}
	for _, b := range run.Boxes {
		r := row{Kind: kindBox, Side: b.Side, Runtime: b.Runtime, Image: b.Image, Engine: b.Engine}
		for _, c := range b.Checks {
			r.Checks = append(r.Checks, checkRow{valid(c.Name), valid(c.Want), valid(c.Got), c.OK})
		}
		rows = append(rows, r)
	}
	for _, p := range run.Probes {
		rows = append(rows, row{Kind: kindProbe, Probe: p.Probe, Question: p.Question, Status: p.Status, Reason: p.Reason,
			Required: &p.Required, Tests: whole(p.Tests), Budget: whole(p.Budget), AskedB: whole(p.AskedB), AskedC: whole(p.AskedC),
			DecodedB: whole(p.DecodedB), DecodedC: whole(p.DecodedC), Sees: p.Sees, Blind: p.Blind})
	}
	for i := range run.Findings {
		rows = append(rows, findingRow(&run.Findings[i]))
	}
	for _, t := range run.Tensors {
		layer := int32(t.Layer)
		rows = append(rows, row{Kind: kindTensor, Name: t.Name, Layer: &layer, TensorKind: t.Kind, Equal: &t.Equal,
			Relative: &t.Relative, Max: &t.Max, Changed: &t.Changed, Spectrum: t.Spectrum, Leading: t.Leading, Tokens: t.Tokens})
	}
	for i := range rows {
		rows[i].makeValid()
	}
	return rows
}

func verdictRow(run *record.Run) row {
	m, v := &run.Meta, &run.Verdict
	format := int32(m.Format)
	r := row{Kind: kindVerdict, Outcome: string(v.Outcome), Policy: v.Policy, Digest: v.Digest,
		Format: &format, Tool: m.Tool, Seed: &m.Seed, Level: m.Level, Suites: m.Suites, Plan: m.Plan,
		BaselineID: m.Baseline, CandidateID: m.Candidate, Relation: m.Relation, Why: m.Why, Alpha: &m.Alpha, Tests: whole(m.Tests),
		Model: m.Model, Environment: m.Environment, Now: m.Now,
		Calibration: m.Calibration, CalibrationSigner: m.CalibrationSigner, CalibrationEngine: m.CalibrationEngine}
	if m.CalibrationAlpha != 0 {
		r.CalibrationAlpha = &m.CalibrationAlpha
	}
	r.CalibrationVariants, r.CalibrationTests = counted(m.CalibrationVariants), counted(m.CalibrationTests)
	return r
}

func evidenceRow(e *record.Evidence) row {
	return row{Kind: kindEvidence, Name: string(e.Kind), Status: string(e.State), Detail: e.Detail, Digest: e.Digest,
		Signer: e.Signer, Time: e.Time, Files: wide(e.Files), Size: e.Bytes, Roots: e.Roots, Identity: e.Identity,
		Method: e.Method, Ignored: e.Ignored, Licences: e.Licences, BaseModels: e.BaseModels, Datasets: wide(e.Datasets),
		Checked: wide(e.Checked), Unchecked: wide(e.Unchecked), Gaps: e.Gaps, Builder: e.Builder, Index: e.Index}
}

func findingRow(f *record.Finding) row {
	r := row{Kind: kindFinding, ID: f.ID, Probe: f.Probe, Rule: f.Rule, Tier: string(f.Tier), Class: string(f.Class),
		Title: f.Title, Detail: f.Detail, Subject: f.Subject, Trigger: f.Trigger, Payload: f.Payload,
		Statistic: f.Statistic, Value: f.Value, Low: f.Low, High: f.High, N: whole(f.N), P: f.P, PHolm: f.PHolm,
		MDE: f.MDE, Margin: f.Margin, Null: f.Null, Families: f.Families, PBank: f.PBank}
	if f.Value != nil || f.LowerIsWorse {
		r.LowerIsWorse = &f.LowerIsWorse
	}
	r.BankN = counted(f.BankN)
	for _, x := range f.Transcript {
		r.Transcript = append(r.Transcript, exchangeRow{valid(x.Condition), valid(x.Request), valid(x.Baseline), valid(x.Candidate)})
	}
	return r
}

func itemRow(it *record.Item) row {
	return row{Kind: kindItem, Probe: valid(it.Probe), Task: valid(it.Task), ID: valid(it.ID), Condition: valid(it.Condition),
		Cluster: valid(it.Cluster), Prompt: valid(it.Prompt), Expected: valid(it.Expected),
		Baseline: valid(it.Baseline), Candidate: valid(it.Candidate),
		ScoreB: it.ScoreB, ScoreC: it.ScoreC, Effect: it.Effect, Flip: valid(it.Flip)}
}

func whole(n int) *int64 {
	x := int64(n)
	return &x
}

// counted is NULL where nothing was counted.
func counted(n int) *int64 {
	if n == 0 {
		return nil
	}
	return whole(n)
}

// wide and narrow keep the difference between no number and zero.
func wide(n *int) *int64 {
	if n == nil {
		return nil
	}
	return whole(*n)
}

func narrow(n *int64) *int {
	if n == nil {
		return nil
	}
	x := int(*n)
	return &x
}

// texts are the row's strings outside lists.
func (r *row) texts() []*string {
	return []*string{
		&r.Probe, &r.ID, &r.Side, &r.Name, &r.Rule, &r.Outcome, &r.Status, &r.Detail, &r.Digest, &r.Condition,
		&r.Policy, &r.Tool, &r.Level, &r.Plan, &r.BaselineID, &r.CandidateID, &r.Relation, &r.Why, &r.Message,
		&r.Role, &r.FileFormat, &r.Arch, &r.Quant, &r.Runtime, &r.Image, &r.Engine, &r.Question, &r.Reason,
		&r.Tier, &r.Class, &r.Title, &r.Subject, &r.Trigger, &r.Payload, &r.Statistic, &r.Null, &r.TensorKind,
		&r.Task, &r.Cluster, &r.Prompt, &r.Expected, &r.Baseline, &r.Candidate, &r.Flip,
		&r.Model, &r.Environment, &r.Now, &r.Signer, &r.Time, &r.Identity, &r.Method, &r.Builder, &r.MadeFrom,
		&r.Calibration, &r.CalibrationSigner, &r.CalibrationEngine,
	}
}

// lists are the row's lists of strings.
func (r *row) lists() []*[]string {
	return []*[]string{&r.Suites, &r.Findings, &r.Sees, &r.Blind, &r.Families,
		&r.Roots, &r.Ignored, &r.Licences, &r.BaseModels, &r.Gaps, &r.Tokens}
}

// makeValid makes every text of the row UTF-8; see valid.
func (r *row) makeValid() {
	for _, s := range r.texts() {
		*s = valid(*s)
	}
	for _, l := range r.lists() {
		*l = validAll(*l)
	}
}

// textBytes is the size of the row's text.
func (r *row) textBytes() int {
	if r.Kind == kindItem {
		return len(r.Prompt) + len(r.Expected) + len(r.Baseline) + len(r.Candidate) + len(r.ID) + len(r.Cluster)
	}
	n := 0
	for _, s := range r.texts() {
		n += len(*s)
	}
	for _, l := range r.lists() {
		for _, s := range *l {
			n += len(s)
		}
	}
	for _, c := range r.Checks {
		n += len(c.Name) + len(c.Want) + len(c.Got)
	}
	for _, x := range r.Transcript {
		n += len(x.Condition) + len(x.Request) + len(x.Baseline) + len(x.Candidate)
	}
	return n
}

// validAll leaves list alone: it belongs to the caller.
func validAll(list []string) []string {
	if len(list) == 0 {
		return nil
	}
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = valid(s)
	}
	return out
}

// runBuilder puts rows together to a run again.
type runBuilder struct {
	run      *record.Run
	verdicts int
}

func (b *runBuilder) add(r *row) error {
	run := b.run
	switch r.Kind {
	case kindVerdict:
		if b.verdicts++; b.verdicts > 1 {
			return errors.New("more than one verdict row")
		}
		run.Verdict.Outcome, run.Verdict.Policy, run.Verdict.Digest = record.Outcome(r.Outcome), r.Policy, r.Digest
		run.Meta = record.Meta{Format: int(deref(r.Format)), Tool: r.Tool, Seed: deref(r.Seed), Level: r.Level, Suites: list(r.Suites),
			Plan: r.Plan, Baseline: r.BaselineID, Candidate: r.CandidateID, Relation: r.Relation, Why: r.Why,
			Alpha: deref(r.Alpha), Tests: int(deref(r.Tests)), Model: r.Model, Environment: r.Environment, Now: r.Now,
			Calibration: r.Calibration, CalibrationSigner: r.CalibrationSigner, CalibrationEngine: r.CalibrationEngine,
			CalibrationVariants: int(deref(r.CalibrationVariants)), CalibrationTests: int(deref(r.CalibrationTests)), CalibrationAlpha: deref(r.CalibrationAlpha)}
	case kindReason:
		run.Verdict.Reasons = append(run.Verdict.Reasons, record.Reason{Rule: r.Rule, Outcome: record.Outcome(r.Outcome),
			Message: r.Message, Findings: list(r.Findings)})
	case kindEvidence:
		run.Evidence = append(run.Evidence, evidence(r))
	case kindProblem:
		if len(run.Evidence) == 0 || string(run.Evidence[len(run.Evidence)-1].Kind) != r.Name {
			return fmt.Errorf("a problem of evidence %q does not stand behind it", r.Name)
		}
		e := &run.Evidence[len(run.Evidence)-1]
		e.Problems = append(e.Problems, record.Problem{Rule: r.Rule, Subject: r.Subject, Detail: r.Detail})
	case kindLineage:
		run.Lineage = append(run.Lineage, record.Link{From: r.MadeFrom, Role: r.Role, Name: r.Name, Digest: r.Digest,
			State: record.EvidenceState(r.Status), Detail: r.Detail})
	case kindArtifact:
		run.Artifacts = append(run.Artifacts, record.Artifact{Side: r.Side, Role: r.Role, Name: r.Name, Digest: r.Digest,
			Size: deref(r.Size), Format: r.FileFormat, Arch: r.Arch, Params: deref(r.Params), Quant: r.Quant})
	case kindBox:
		box := record.Box{Side: r.Side, Runtime: r.Runtime, Image: r.Image, Engine: r.Engine}
		for _, c := range r.Checks {
			box.Checks = append(box.Checks, record.Check(c))
		}
		run.Boxes = append(run.Boxes, box)
	case kindProbe:
		run.Probes = append(run.Probes, record.ProbeRun{Probe: r.Probe, Question: r.Question, Status: r.Status, Reason: r.Reason,
			Required: deref(r.Required), Tests: int(deref(r.Tests)), Budget: int(deref(r.Budget)),
			AskedB: int(deref(r.AskedB)), AskedC: int(deref(r.AskedC)),
			DecodedB: int(deref(r.DecodedB)), DecodedC: int(deref(r.DecodedC)), Sees: list(r.Sees), Blind: list(r.Blind)})
	case kindFinding:
		run.Findings = append(run.Findings, finding(r))
	case kindTensor:
		run.Tensors = append(run.Tensors, record.Tensor{Name: r.Name, Layer: int(deref(r.Layer)), Kind: r.TensorKind, Equal: deref(r.Equal),
			Relative: deref(r.Relative), Max: deref(r.Max), Changed: deref(r.Changed), Spectrum: list(r.Spectrum), Leading: r.Leading, Tokens: list(r.Tokens)})
	default:
		return fmt.Errorf("a row of kind %q stands before the items", r.Kind)
	}
	return nil
}

func evidence(r *row) record.Evidence {
	return record.Evidence{Kind: record.EvidenceKind(r.Name), State: record.EvidenceState(r.Status), Detail: r.Detail, Digest: r.Digest,
		Signer: r.Signer, Time: r.Time, Files: narrow(r.Files), Bytes: r.Size, Roots: list(r.Roots), Identity: r.Identity,
		Method: r.Method, Ignored: list(r.Ignored), Licences: list(r.Licences), BaseModels: list(r.BaseModels),
		Datasets: narrow(r.Datasets), Checked: narrow(r.Checked), Unchecked: narrow(r.Unchecked), Gaps: list(r.Gaps),
		Builder: r.Builder, Index: r.Index}
}

func finding(r *row) record.Finding {
	f := record.Finding{ID: r.ID, Probe: r.Probe, Rule: r.Rule, Tier: record.Tier(r.Tier), Class: record.Class(r.Class),
		Title: r.Title, Detail: r.Detail, Subject: r.Subject, Trigger: r.Trigger, Payload: r.Payload,
		Statistic: r.Statistic, Value: r.Value, Low: r.Low, High: r.High, N: int(deref(r.N)), P: r.P, PHolm: r.PHolm,
		MDE: r.MDE, Margin: r.Margin, Null: r.Null, Families: list(r.Families),
		LowerIsWorse: deref(r.LowerIsWorse), PBank: r.PBank, BankN: int(deref(r.BankN))}
	for _, x := range r.Transcript {
		f.Transcript = append(f.Transcript, record.Exchange(x))
	}
	return f
}

func (b *runBuilder) done() (*record.Run, error) {
	if b.verdicts == 0 {
		return nil, errors.New("no verdict row")
	}
	switch b.run.Verdict.Outcome {
	case record.Approve, record.Reject, record.Escalate:
		return b.run, nil
	}
	return nil, fmt.Errorf("unknown outcome %q", b.run.Verdict.Outcome)
}

func deref[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}

// list makes no difference between an empty list and none.
func list[T any](s []T) []T {
	if len(s) == 0 {
		return nil
	}
	return s
}
