package supply

import (
	"context"
	"time"

	"github.com/weighbridge/weighbridge/record"
	"github.com/weighbridge/weighbridge/supply/trust"
)

// VerdictChecker looks for a signed verdict that lets a model into an
// environment. Package attest implements it.
type VerdictChecker interface {
	// Require answers with Valid only for an approving verdict about these very
	// files and this environment, by a signer who may, young enough and under a
	// policy that counts there. Everything else is Absent, Ambiguous or Bad with
	// its problems; an error is a fault.
	Require(ctx context.Context, a VerdictAsk) (VerdictAnswer, error)
}

// VerdictAsk is what a deploy step wants to know.
type VerdictAsk struct {
	Dir         string // the model's folder, with its claims.jsonl
	Model       string // the name that the verdict has to be for
	Environment string
	Roots       []string // hex, string order first
	Identity    string   // sha256:…
	Trust       *trust.Policy
	Now         time.Time
	// Documents are times that a ledger proves, by digest of the claim; see
	// Intake.
	Documents map[string]time.Time
}

// VerdictAnswer is what was found.
type VerdictAnswer struct {
	State    record.EvidenceState
	Detail   string // one line
	Signer   string
	Digest   string // sha256:… of the claim
	Problems []record.Problem
}
