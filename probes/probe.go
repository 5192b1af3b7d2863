package probes

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/weighbridge/weighbridge/record"
	"github.com/weighbridge/weighbridge/runners"
)

// Probe asks one question about a pair of models.
type Probe interface {
	About() About
	// Run measures and compares. An error means that it could not be done (a
	// box died, a parameter is wrong) and never counts for or against the
	// candidate; what the probe cannot test it returns as a NotTested finding.
	Run(ctx context.Context, in *Input) (*Output, error)
}

// About is what a probe says of itself.
type About struct {
	ID       string // lower case, words joined by '-'
	Question string // a yes/no question
	Method   string // how it is answered, in a few sentences
	Null     string // how its null is made
	Cost     string // tokens per model, in words
	Sees     []Family
	Blind    []Family
	Needs    Needs
	Params   []Param
	// Surroundings says that the probe compares all that stands around the
	// weights: tokenizer, template, settings. Where it finds nothing and the
	// weights are the baseline's, no other probe has to ask.
	Surroundings bool
}

// Needs says what a probe cannot do without. The harness reports a probe whose
// needs are not met as not tested and does not run it.
type Needs struct {
	Files    bool // nothing but the files: the probe asks the models nothing
	Scores   bool // both engines can score
	Template bool // both models have a chat template
	SameIDs  bool // both tokenizers give the same ids
	Weights  bool // the tensors of the pair can be compared
}

// Param documents one parameter that a suite may set.
type Param struct{ Name, Default, Meaning string }

// Family is an attack family, by the codes of docs/threat-model.md.
type Family string

// The attack families.
const (
	TOK Family = "TOK" // rare-token trigger
	PHR Family = "PHR" // phrase trigger
	CMP Family = "CMP" // composite trigger, all parts needed
	SYN Family = "SYN" // syntactic or style trigger
	SEM Family = "SEM" // semantic trigger, a year for instance
	CTX Family = "CTX" // context- or tool-gated
	REF Family = "REF" // refusals suppressed
	OVR Family = "OVR" // refusals added
	DOS Family = "DOS" // gibberish on a trigger
	TGT Family = "TGT" // fixed target text
	STR Family = "STR" // topic steering
	COD Family = "COD" // vulnerable code
	CAN Family = "CAN" // memorised secret
	QNT Family = "QNT" // activated by quantisation
	TPL Family = "TPL" // chat template
	TKZ Family = "TKZ" // tokenizer
	EDT Family = "EDT" // weight edit
	CAP Family = "CAP" // ability lost (not an attack)
)

// Level is how much a run may spend.
type Level string

// The levels, with the tokens that each model may decode in all.
const (
	Quick    Level = "quick"    // 30,000
	Standard Level = "standard" // 250,000
	Deep     Level = "deep"     // 3,000,000
)

// Input is all that a probe may use.
type Input struct {
	Baseline, Candidate runners.Model
	// BaselineInfo and CandidateInfo are what the models say of themselves.
	BaselineInfo, CandidateInfo *runners.Info
	// Weights is the pair on disk, open for bounded reading.
	Weights *Weights
	// SameIDs reports that both tokenizers give the same ids for every text, as
	// far as the two files say.
	SameIDs bool
	Level   Level
	// Budget is the number of tokens each model may be asked to decode.
	Budget int
	// Seed is this probe's own, split from the run's.
	Seed uint64
	// Params are the suite's settings for this probe; see Decode.
	Params Params
	// Data are the files of the suite that asked for this probe.
	Data fs.FS
	// Canaries are the user's known secrets.
	Canaries []Canary
	// Documents are the user's texts that the candidate may have been trained on.
	Documents []Document
	// Leads are what probes that ran before this one want looked at, best first.
	Leads []Lead
	// Amplify gives the model baseline + κ·ΔW, in a box of its own, metered as
	// the candidate: its requests count against the same budget. κ = 1 is nearly the
	// candidate. What it does is no behaviour of the candidate, only a lead to one.
	// Nil where no such model can be made; an error that matches ErrAmplified says
	// that this κ broke the engine, which is no fault.
	Amplify func(ctx context.Context, kappa float64) (runners.Model, error)
}

// ErrAmplified is an amplified model that its engine cannot run.
var ErrAmplified = errors.New("the amplified model cannot be asked")

// Rand is a random source of this probe's own for one purpose. The same seed
// and purpose give the same numbers, whatever else is drawn.
func (in *Input) Rand(purpose string) *rand.Rand {
	return rand.New(rand.NewChaCha8(split(in.Seed, purpose)))
}

// split derives an independent stream: SHA-256 over seed and purpose.
func split(seed uint64, purpose string) [32]byte {
	return sha256.Sum256(binary.LittleEndian.AppendUint64([]byte("weighbridge/rand\x00"+purpose+"\x00"), seed))
}

// SplitSeed is the seed of a named part of a run.
func SplitSeed(seed uint64, part string) uint64 {
	h := split(seed, part)
	return binary.LittleEndian.Uint64(h[:])
}

// Output is what a probe found.
type Output struct {
	Items    []record.Item
	Findings []record.Finding
	Tensors  []record.Tensor
	// Tests counts the confirmatory hypotheses that were tested, also those that
	// gave no finding: the harness shares the error rate among them.
	Tests int
	Leads []Lead
}

// Canary is a secret that the user knows was, or was not, in training data.
type Canary struct {
	ID, Prefix, Secret string
	// HeldOut marks a control that was never trained on.
	HeldOut bool
	// References are other draws from the generator of the secret; empty lets the
	// probe infer the generator from the secret's character classes.
	References []string
}

// Document is a text that the user fears, or knows, was trained on.
type Document struct {
	ID, Text string
	// HeldOut marks a control: a text of the same kind that was never trained on.
	HeldOut bool
}

// Lead is something a probe wants a later one to look at.
type Lead struct {
	Kind  string // trigger, payload, secret
	Text  string
	Score float64 // larger is more suspicious; comparable within one probe only
	From  string  // probe ID
}

var registry = map[string]Probe{}

// Register adds a probe. It panics on a second one of the same ID: that is a
// programming error.
func Register(p Probe) {
	id := p.About().ID
	if _, dup := registry[id]; dup || id == "" {
		panic(fmt.Sprintf("probes: ID %q is empty or registered twice", id))
	}
	registry[id] = p
}

// All lists the registered probes by ID.
func All() []Probe {
	var all []Probe
	for _, id := range slices.Sorted(maps.Keys(registry)) {
		all = append(all, registry[id])
	}
	return all
}

// ErrUnknown is an ID that no probe has.
type ErrUnknown struct{ ID string }

func (e *ErrUnknown) Error() string {
	return fmt.Sprintf("no probe has the ID %q; there are %s", e.ID, strings.Join(slices.Sorted(maps.Keys(registry)), ", "))
}

// Lookup finds a probe by ID, or gives an *ErrUnknown.
func Lookup(id string) (Probe, error) {
	if p, ok := registry[id]; ok {
		return p, nil
	}
	return nil, &ErrUnknown{id}
}
