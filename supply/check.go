package supply

import (
	"context"
	"time"

	"github.com/weighbridge/weighbridge/record"
	"github.com/weighbridge/weighbridge/supply/bundle"
	"github.com/weighbridge/weighbridge/supply/manifest"
	"github.com/weighbridge/weighbridge/supply/trust"
)

// Config says what is checked and by whose word.
type Config struct {
	Dir string // the model's folder
	// Model is the name that signers are allowed or not; empty means the
	// folder's own name.
	Model       string
	Environment string        // empty where none is meant
	Trust       *trust.Policy // nil: signatures are looked at, and nobody is trusted
	Now         time.Time
	// Ledger proves the intake; nil means that the ledger is not asked.
	Ledger Ledger
	// CheckBOM and CheckProvenance judge those documents once they are known
	// to be what somebody signed.
	CheckBOM        BOMChecker
	CheckProvenance ProvenanceChecker
	// Jobs bounds how many files are hashed at once; 0 means all cores.
	Jobs int
}

// Ledger finds the proof that a model was taken in.
type Ledger interface {
	// Intake looks for the intake of a model under any of its names (roots,
	// identity). found is false where there is none; an error is a fault.
	Intake(ctx context.Context, names []string) (r Intake, found bool, err error)
}

// Intake is a proven entry of the ledger. Where the proof does not hold,
// Problems say why.
type Intake struct {
	Index    int64
	Time     time.Time
	Digest   string // sha256:… of the entry
	Problems []record.Problem
}

// BOMChecker compares a CycloneDX BOM with the files it is about.
type BOMChecker func(src []byte, m *manifest.Manifest) (BOMFacts, []record.Problem, error)

// BOMFacts is what a BOM claims.
type BOMFacts struct {
	Licences, BaseModels []string
	Datasets             *int
}

// ProvenanceChecker compares a provenance statement with the files it is about
// and with the bytes at hand.
type ProvenanceChecker func(st bundle.Statement, m *manifest.Manifest) (ProvenanceFacts, []record.Link, []record.Problem, error)

// ProvenanceFacts is what a provenance statement claims and what of it was
// compared.
type ProvenanceFacts struct {
	Builder            string
	BaseModels, Gaps   []string
	Datasets           *int
	Checked, Unchecked *int
}

// Assessment is everything that lies around the weights, judged.
type Assessment struct {
	Manifest   *manifest.Manifest
	Root       string // OMS root, hex
	PythonRoot string // in the Python implementation's order; often the same
	Identity   string // sha256:…
	// Evidence has one record of each kind that this package checks, in the
	// order of record.EvidenceKinds.
	Evidence []record.Evidence
	Lineage  []record.Link
}
