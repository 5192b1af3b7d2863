package intake

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/weighbridge/weighbridge/record"
	"github.com/weighbridge/weighbridge/supply/manifest"
	"github.com/weighbridge/weighbridge/supply/store"
)

var (
	// ErrSource is a source that cannot be used: not what it is said to be, or
	// not found. The message says which and what to do.
	ErrSource = errors.New("unusable source")
	// ErrChanged is a source that changed while it was copied.
	ErrChanged = errors.New("the source changed while it was copied")
)

// Source is where a model comes from.
type Source interface {
	// Origin names the source. An interrupted intake is gone on with when the
	// same origin comes again.
	Origin() store.Origin
	// Fetch adds every file of the model and of its evidence to the intake.
	// What the source itself gets wrong is a *store.Violation.
	Fetch(ctx context.Context, in *store.Intake) error
}

// Assessment is what a judgement of the quarantined folder came to.
type Assessment struct {
	Manifest *manifest.Manifest // nil where the evidence says that the folder is no model
	Evidence []record.Evidence
}

// Check judges the model in dir. An error is a fault, never a judgement.
type Check func(ctx context.Context, dir string) (*Assessment, error)

// Event is what the ledger is told about an intake.
type Event struct {
	Admitted bool
	Origin   store.Origin
	Root     string // OMS root, "" where the intake did not get so far
	Identity string // likewise
	// Documents are what the intake was decided by: first the assessment (or,
	// where it did not come to one, the reasons), then what lay beside the model.
	Documents []Document
	Rules     []string // why it was refused
}

// Document is something that an intake was decided by.
type Document struct {
	Kind   string // assessment, refusal, signature, claims, sbom, provenance
	SHA256 string // 64 hex digits
}

// Ledger records intakes. It returns the proof when the entry is provable.
type Ledger interface {
	Intake(ctx context.Context, e Event) (*store.Proof, error)
}

// Config is one intake.
type Config struct {
	Store  *store.Store
	Source Source
	Check  Check
	// Ledger may be nil; then nothing is recorded, and the outcome says so.
	Ledger Ledger
	// Require are the kinds of evidence that have to be valid.
	Require []record.EvidenceKind
	Limits  store.Limits
	// Conversion is set where the source makes one model from another.
	Conversion *store.Conversion
}

// Outcome is how an intake ended.
type Outcome struct {
	Admitted bool              `json:"admitted"`
	Origin   store.Origin      `json:"origin"`
	Problems []record.Problem  `json:"problems,omitempty"` // why it was refused
	Evidence []record.Evidence `json:"evidence,omitempty"`
	Entry    *store.Entry      `json:"model,omitempty"`   // of an admitted model
	Refused  string            `json:"refused,omitempty"` // folder with the reason of a refused one
	Resumed  bool              `json:"resumed,omitempty"` // an interrupted intake was gone on with
	Recorded bool              `json:"recorded"`          // in a ledger
}

// The rules of refusals that neither the store nor a check has.
const (
	RuleRequired = "evidence-required" // Config.Require wants it valid, and it is not
	RuleEmpty    = "model-empty"       // nothing but evidence was brought in
)

// Ingest brings one model in. A refusal is an Outcome; an error means that
// nothing was decided, and the same call goes on from there.
func Ingest(ctx context.Context, c Config) (_ *Outcome, err error) {
	in, err := c.Store.Begin(ctx, c.Source.Origin(), c.Limits)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	out := &Outcome{Origin: in.Origin(), Resumed: in.Resumed}

	err = c.Source.Fetch(ctx, in)
	var v *store.Violation
	if errors.As(err, &v) {
		out.Problems = []record.Problem{{Rule: v.Rule, Subject: v.Subject, Detail: v.Detail}}
		return out, c.refuse(ctx, in, nil, out)
	}
	if err != nil {
		return nil, err
	}
	if !slices.ContainsFunc(in.Files(), func(f store.Stored) bool { return !slices.Contains(manifest.EvidenceFiles, f.Name) }) {
		out.Problems = []record.Problem{{Rule: RuleEmpty, Subject: "model", Detail: "the source holds no files of a model"}}
		return out, c.refuse(ctx, in, nil, out)
	}
	dir, err := in.Folder()
	if err != nil {
		return nil, err
	}
	a, err := c.Check(ctx, dir)
	if err != nil {
		return nil, fmt.Errorf("judging the quarantined model: %w", err)
	}
	out.Evidence = a.Evidence
	if out.Problems = c.against(a.Evidence); len(out.Problems) > 0 {
		return out, c.refuse(ctx, in, a, out)
	}
	proof, err := c.tell(ctx, in, a, out)
	if err != nil {
		return nil, err
	}
	out.Entry, err = in.Admit(ctx, store.Admission{Manifest: a.Manifest, Evidence: a.Evidence, Proof: proof, Conversion: c.Conversion})
	if err != nil {
		return nil, err
	}
	out.Admitted = true
	return out, nil
}

// against lists the reasons to refuse.
func (c Config) against(evidence []record.Evidence) []record.Problem {
	var ps []record.Problem
	state := map[record.EvidenceKind]record.EvidenceState{}
	for _, e := range evidence {
		state[e.Kind] = e.State
		if e.State != record.Bad {
			continue
		}
		ps = append(ps, e.Problems...)
		if len(e.Problems) == 0 {
			ps = append(ps, record.Problem{Rule: string(e.Kind) + "-bad", Subject: string(e.Kind), Detail: e.Detail})
		}
	}
	for _, k := range c.Require {
		if s := state[k]; s != record.Valid && s != record.Bad {
			if s == "" {
				s = record.NotAsked
			}
			ps = append(ps, record.Problem{Rule: RuleRequired, Subject: string(k), Detail: fmt.Sprintf("it is %s, and this intake requires it to be valid", s)})
		}
	}
	return ps
}

func (c Config) refuse(ctx context.Context, in *store.Intake, a *Assessment, out *Outcome) error {
	proof, err := c.tell(ctx, in, a, out)
	if err != nil {
		return err
	}
	out.Refused, err = in.Refuse(ctx, store.Refusal{Problems: out.Problems, Evidence: out.Evidence, Proof: proof})
	return err
}

// tell puts the outcome into the ledger, before it takes effect: a model that
// the ledger does not know of is never in the store.
func (c Config) tell(ctx context.Context, in *store.Intake, a *Assessment, out *Outcome) (*store.Proof, error) {
	if c.Ledger == nil {
		return nil, nil
	}
	e := Event{Admitted: len(out.Problems) == 0, Origin: in.Origin()}
	for _, p := range out.Problems {
		e.Rules = append(e.Rules, p.Rule)
	}
	if a != nil && a.Manifest != nil {
		e.Root = a.Manifest.Root()
		if id, ok := a.Manifest.Identity(); ok {
			e.Identity = string(id)
		}
	}
	var err error
	if e.Documents, err = documents(in, a, out); err != nil {
		return nil, err
	}
	proof, err := c.Ledger.Intake(ctx, e)
	if err != nil {
		return nil, fmt.Errorf("recording the intake in the ledger: %w", err)
	}
	out.Recorded = true
	return proof, nil
}

// kinds names evidence files in the ledger.
var kinds = map[string]string{
	manifest.SignatureFile: "signature", manifest.ClaimsFile: "claims", manifest.BOMFile: "sbom", manifest.ProvenanceFile: "provenance",
}

// documents lists what the intake was decided by: the assessment or the reasons,
// the documents that were judged, and the files beside the model.
func documents(in *store.Intake, a *Assessment, out *Outcome) ([]Document, error) {
	first, content := "refusal", any(out.Problems)
	if a != nil {
		first, content = "assessment", a.Evidence
	}
	b, err := json.Marshal(content)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(b)
	docs := []Document{{first, hex.EncodeToString(sum[:])}}
	add := func(d Document) {
		if !slices.Contains(docs, d) {
			docs = append(docs, d)
		}
	}
	if a != nil {
		for _, e := range a.Evidence {
			if d, ok := strings.CutPrefix(e.Digest, "sha256:"); ok {
				add(Document{string(e.Kind), d})
			}
		}
	}
	for _, f := range in.Files() {
		if k := kinds[f.Name]; k != "" {
			add(Document{k, f.SHA256})
		}
	}
	return docs, nil
}
