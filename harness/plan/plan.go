package plan

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"

	"github.com/weighbridge/weighbridge/probes"
)

// ErrPlan is a combination of suites that makes no plan.
var ErrPlan = errors.New("nothing sensible to run")

// Suite is what a suite asks for.
type Suite struct {
	Name   string
	Digest string // of everything the suite consists of
	Level  probes.Level
	Budget int // tokens that each model may decode in all
	Steps  []Entry
}

// Entry is one probe that a suite asks for.
type Entry struct {
	ID       string // unique in the suite; the probe's ID unless it is asked for twice
	Probe    string
	Required bool
	Budget   int // tokens per model; 0 for probes that ask the models nothing
	Params   probes.Params
	Data     fs.FS
}

// Input is all that a plan depends on.
type Input struct {
	Seed      uint64
	Baseline  string // identities
	Candidate string
	Engine    string // what answers: engine build, CPU, runtime
	Canaries  string // digest of the canary file, or empty
	Suites    []Suite
}

// Plan is an ordered list of steps.
type Plan struct {
	Seed      uint64       `json:"seed"`
	Level     probes.Level `json:"level"`
	Baseline  string       `json:"baseline"`
	Candidate string       `json:"candidate"`
	Engine    string       `json:"engine"`
	Canaries  string       `json:"canaries"`
	Suites    []string     `json:"suites"` // name@digest
	Steps     []Step       `json:"steps"`
}

// Step is one probe with everything it will be given.
type Step struct {
	ID       string          `json:"id"`
	Probe    string          `json:"probe"`
	Suite    string          `json:"suite"`
	Level    probes.Level    `json:"level"`
	Required bool            `json:"required"`
	Budget   int             `json:"budget"`
	Seed     uint64          `json:"seed"`
	Params   json.RawMessage `json:"params,omitempty"`
	Data     fs.FS           `json:"-"` // covered by the suite's digest
}

// Make plans the suites one after the other. A step's seed is split from the
// run's by suite and ID, so that adding a step changes no other.
func Make(in Input) (*Plan, error) {
	p := &Plan{Seed: in.Seed, Baseline: in.Baseline, Candidate: in.Candidate, Engine: in.Engine, Canaries: in.Canaries}
	taken := map[string]string{}
	for _, s := range in.Suites {
		p.Suites = append(p.Suites, s.Name+"@"+s.Digest)
		switch {
		case p.Level == "":
			p.Level = s.Level
		case p.Level != s.Level:
			p.Level = "mixed"
		}
		for _, e := range s.Steps {
			if other, dup := taken[e.ID]; dup {
				return nil, fmt.Errorf("%w: suites %s and %s both have a step %q; give one of them another id", ErrPlan, other, s.Name, e.ID)
			}
			taken[e.ID] = s.Name
			p.Steps = append(p.Steps, Step{
				ID: e.ID, Probe: e.Probe, Suite: s.Name, Level: s.Level, Required: e.Required, Budget: e.Budget,
				Seed: probes.SplitSeed(in.Seed, s.Name+"/"+e.ID), Params: json.RawMessage(e.Params), Data: e.Data,
			})
		}
	}
	if len(p.Steps) == 0 {
		return nil, fmt.Errorf("%w: the suites hold no probe", ErrPlan)
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
