package plan

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"

	"github.com/weighbridge/weighbridge/probes"
	"github.com/weighbridge/weighbridge/suites"
)

// ErrPlan is a combination of suites that makes no plan.
var ErrPlan = errors.New("nothing sensible to run")

// Input is all that a plan depends on.
type Input struct {
	Seed      uint64
	Baseline  string // identities
	Candidate string
	Engine    string // what answers: engine build, CPU, runtime
	Canaries  string // digest of the canary file, or empty
	Documents string // digest of the documents, or empty
	Suite     *suites.Suite
	// AskSettled: the models are asked even where their weights settle it.
	AskSettled bool
	// Calibration is the digest of the file that the run is held against, or empty.
	Calibration string
}

// Plan is an ordered list of steps.
type Plan struct {
	Seed      uint64       `json:"seed"`
	Level     probes.Level `json:"level"`
	Baseline  string       `json:"baseline"`
	Candidate string       `json:"candidate"`
	Engine    string       `json:"engine"`
	Canaries  string       `json:"canaries"`
	Documents string       `json:"documents,omitempty"`
	Suites    []string     `json:"suites"` // name@digest
	Steps     []Step       `json:"steps"`

	AskSettled  bool   `json:"ask_settled,omitempty"`
	Calibration string `json:"calibration,omitempty"`
}

// Step is one probe with everything it will be given.
type Step struct {
	ID       string          `json:"id"`
	Probe    string          `json:"probe"`
	Level    probes.Level    `json:"level"`
	Required bool            `json:"required"`
	Budget   int             `json:"budget"`
	Rest     bool            `json:"rest,omitempty"` // it may also spend what steps before it left over
	Seed     uint64          `json:"seed"`
	Params   json.RawMessage `json:"params,omitempty"`
	Data     fs.FS           `json:"-"` // covered by the suite's digest
}

// Make plans the suite's entries in their order. A step's seed is split from
// the run's by its ID, so that adding a step changes no other.
func Make(in Input) (*Plan, error) {
	if in.Suite == nil || len(in.Suite.Entries) == 0 {
		return nil, fmt.Errorf("%w: the suites hold no probe", ErrPlan)
	}
	p := &Plan{
		Seed: in.Seed, Level: in.Suite.Level, Baseline: in.Baseline, Candidate: in.Candidate,
		Engine: in.Engine, Canaries: in.Canaries, Documents: in.Documents, AskSettled: in.AskSettled, Calibration: in.Calibration,
	}
	for _, s := range in.Suite.Sources {
		p.Suites = append(p.Suites, s.Name+"@"+s.Digest)
	}
	taken := map[string]bool{}
	for _, e := range in.Suite.Entries {
		if taken[e.ID] {
			return nil, fmt.Errorf("%w: two steps are called %q; give one of them another id", ErrPlan, e.ID)
		}
		taken[e.ID] = true
		p.Steps = append(p.Steps, Step{
			ID: e.ID, Probe: e.Probe, Level: in.Suite.Level, Required: e.Required, Budget: e.Budget, Rest: e.Rest,
			Seed: probes.SplitSeed(in.Seed, e.ID), Params: json.RawMessage(e.Params), Data: e.Data,
		})
	}
	return p, nil
}

// Digest names the plan: SHA-256 over its JSON.
func (p *Plan) Digest() (string, error) {
	b, err := json.Marshal(p)
	if err != nil {
		return "", fmt.Errorf("digesting the plan: %w", err)
	}
	h := sha256.Sum256(b)
	return "sha256:" + hex.EncodeToString(h[:]), nil
}
