package record

// Tier says how strong a finding's evidence is.
type Tier string

// The tiers. The word "clean" is not among them: no test supports it.
const (
	// Proven: a transcript, template or tensor that anyone can replay.
	Proven Tier = "PROVEN"
	// Divergent: a difference beyond the null whose cause is not shown.
	Divergent Tier = "DIVERGENT"
	// Consistent: tested, no excess, with the power to see an effect of size MDE.
	Consistent Tier = "CONSISTENT"
	// NotTested: not measured, for the reason in Detail.
	NotTested Tier = "NOT_TESTED"
)

// Class says what a finding is about.
type Class string

// The closed list of classes.
const (
	Backdoor   Class = "backdoor"   // a condition switches behaviour
	Leak       Class = "leak"       // something memorised comes out
	Regression Class = "regression" // an ability or a refusal got worse
	Broken     Class = "broken"     // the artifact is malformed, crashes, hangs or exhausts its box
	Tampered   Class = "tampered"   // template, tokenizer or metadata changed what the weights are told
	Behaviour  Class = "behaviour"  // changed, without harm shown
	Relation   Class = "relation"   // what the candidate is to the baseline
	Control    Class = "control"    // the run's own null controls
)

// Finding is one answer of one probe.
type Finding struct {
	ID     string `json:"id"`    // probe/rule[/subject], stable between runs
	Probe  string `json:"probe"` // ID of the probe
	Rule   string `json:"rule"`  // which of the probe's rules
	Tier   Tier   `json:"tier"`
	Class  Class  `json:"class"`
	Title  string `json:"title"`  // one line a person reads first
	Detail string `json:"detail"` // reason, caveats, what to do next

	Subject string `json:"subject,omitempty"` // tensor, task, token, metadata key, format …
	Trigger string `json:"trigger,omitempty"` // recovered condition, verbatim
	Payload string `json:"payload,omitempty"` // recovered behaviour or secret, verbatim

	Statistic string   `json:"statistic,omitempty"` // name and unit of Value
	Value     *float64 `json:"value,omitempty"`
	Low       *float64 `json:"low,omitempty"` // interval of Value, 95 % unless Detail says otherwise
	High      *float64 `json:"high,omitempty"`
	N         int      `json:"n,omitempty"`      // paired units behind Value
	P         *float64 `json:"p,omitempty"`      // of this hypothesis alone; nil when the evidence is exact
	PHolm     *float64 `json:"p_holm,omitempty"` // adjusted over every hypothesis of the run
	MDE       *float64 `json:"mde,omitempty"`    // smallest effect seen with 80 % power, unit of Value
	Margin    *float64 `json:"margin,omitempty"`
	Null      string   `json:"null,omitempty"` // how the null was made
	// LowerIsWorse says that a smaller Value speaks against the candidate: a
	// difference of abilities. Otherwise a larger one does.
	LowerIsWorse bool `json:"lower_is_worse,omitempty"`

	// PBank is (1 + harmless variants of the baseline that reach Value) ÷
	// (1 + BankN), of this statistic alone; nil without a calibration.
	PBank *float64 `json:"p_bank,omitempty"`
	BankN int      `json:"bank_n,omitempty"` // harmless variants it was measured on

	Families   []string   `json:"families,omitempty"`   // attack families it speaks about (TOK, PHR, …)
	Transcript []Exchange `json:"transcript,omitempty"` // exact requests and answers, to replay
}

// Exchange is one request put to both models, or to one of them.
type Exchange struct {
	Condition string `json:"condition"` // trigger, control, none …
	// Request is the canonical JSON of what was asked: {"messages":[…]} or {"text":"…"}.
	Request   string `json:"request"`
	Baseline  string `json:"baseline"`
	Candidate string `json:"candidate"`
}

// Item is one thing asked of both models, and what came back.
type Item struct {
	Probe     string   `json:"probe"`
	Task      string   `json:"task"` // group inside the probe: a benchmark task, a frame, a format
	ID        string   `json:"id"`   // unique inside (Probe, Task)
	Condition string   `json:"condition,omitempty"`
	Cluster   string   `json:"cluster,omitempty"` // items that are not independent share one
	Prompt    string   `json:"prompt"`
	Expected  string   `json:"expected,omitempty"`
	Baseline  string   `json:"baseline,omitempty"`  // answer
	Candidate string   `json:"candidate,omitempty"` // answer
	ScoreB    *float64 `json:"score_b,omitempty"`   // score of the answer, unit given by the task
	ScoreC    *float64 `json:"score_c,omitempty"`
	Effect    *float64 `json:"effect,omitempty"` // ScoreC − ScoreB
	Flip      string   `json:"flip,omitempty"`   // lost, gained or empty
}

// ProbeRun says what became of one planned probe.
type ProbeRun struct {
	Probe    string `json:"probe"`
	Question string `json:"question"`
	Status   string `json:"status"` // ran, not-tested
	Reason   string `json:"reason,omitempty"`
	Required bool   `json:"required"`
	Tests    int    `json:"tests"`  // confirmatory hypotheses it tested
	Budget   int    `json:"budget"` // tokens allowed per model
	AskedB   int    `json:"asked_b"`
	AskedC   int    `json:"asked_c"`
	DecodedB int    `json:"decoded_b"`
	DecodedC int    `json:"decoded_c"`
	// Families it can see and cannot see.
	Sees  []string `json:"sees,omitempty"`
	Blind []string `json:"blind,omitempty"`
}

// Artifact is one file that was compared.
type Artifact struct {
	Side   string `json:"side"` // baseline, candidate
	Role   string `json:"role"` // model, adapter
	Name   string `json:"name"` // as given; never used as a key
	Digest string `json:"digest"`
	Size   int64  `json:"size"`
	Format string `json:"format"`
	Arch   string `json:"arch"`
	Params int64  `json:"params"`
	Quant  string `json:"quant"` // tensor types by bytes, largest first
}

// Tensor is the difference of one tensor of the pair.
type Tensor struct {
	Name     string    `json:"name"`
	Layer    int       `json:"layer"` // -1 when it belongs to none
	Kind     string    `json:"kind"`  // attn_q, ffn_down, token_embd …
	Equal    bool      `json:"equal"`
	Relative float64   `json:"relative"`           // ‖ΔW‖_F / ‖W‖_F
	Max      float64   `json:"max"`                // max |ΔW|
	Changed  float64   `json:"changed"`            // fraction of elements that differ
	Spectrum []float64 `json:"spectrum,omitempty"` // largest singular values of ΔW
	Leading  *float64  `json:"leading,omitempty"`  // part of ‖ΔW‖_F² in the largest of them, 0 to 1
	// Tokens are those that ΔW writes into the residual stream or reads from the
	// embeddings, the strongest first. A guide, no evidence.
	Tokens []string `json:"tokens,omitempty"`
}

// Box is the proof of one box.
type Box struct {
	Side    string  `json:"side"`
	Runtime string  `json:"runtime"`
	Image   string  `json:"image"` // digest of the root file system
	Engine  string  `json:"engine"`
	Checks  []Check `json:"checks"`
}

// Check is one line of a box's self-test.
type Check struct {
	Name string `json:"name"`
	Want string `json:"want"`
	Got  string `json:"got"`
	OK   bool   `json:"ok"`
}

// Outcome is what the gate says.
type Outcome string

// The three outcomes.
const (
	Approve  Outcome = "approve"
	Reject   Outcome = "reject"
	Escalate Outcome = "escalate"
)

// Verdict is the decision and the rules that made it.
type Verdict struct {
	Outcome Outcome  `json:"outcome"`
	Policy  string   `json:"policy"`  // name
	Digest  string   `json:"digest"`  // of the policy file
	Reasons []Reason `json:"reasons"` // those of Outcome first
}

// Reason is one rule that fired.
type Reason struct {
	Rule     string   `json:"rule"`
	Outcome  Outcome  `json:"outcome"`
	Message  string   `json:"message"`
	Findings []string `json:"findings,omitempty"` // IDs
}

// Meta identifies a run.
type Meta struct {
	Format    int      `json:"format"` // version of the record: 2 has evidence in full, 3 with calibration and what the change of a tensor says
	Tool      string   `json:"tool"`   // weighbridge version
	Seed      uint64   `json:"seed"`
	Level     string   `json:"level"`    // quick, standard, deep or custom
	Suites    []string `json:"suites"`   // name@digest
	Plan      string   `json:"plan"`     // digest
	Baseline  string   `json:"baseline"` // identity
	Candidate string   `json:"candidate"`
	Relation  string   `json:"relation"` // same-bits, requantised, derived, unrelated
	Why       string   `json:"why"`      // reason for Relation
	Alpha     float64  `json:"alpha"`    // family-wise error rate over the run
	Tests     int      `json:"tests"`    // hypotheses that Alpha is shared by

	// Set only where the run was held against a calibration of its baseline.
	Calibration         string  `json:"calibration,omitempty"`          // digest of the file
	CalibrationSigner   string  `json:"calibration_signer,omitempty"`   // whose signature was checked; empty where none was
	CalibrationEngine   string  `json:"calibration_engine,omitempty"`   // same, or other than this run's
	CalibrationVariants int     `json:"calibration_variants,omitempty"` // harmless variants in the bank
	CalibrationTests    int     `json:"calibration_tests,omitempty"`    // statistics that CalibrationAlpha is shared by
	CalibrationAlpha    float64 `json:"calibration_alpha,omitempty"`

	// Set only where evidence was asked for.
	Model       string `json:"model,omitempty"`       // name that the candidate is to be published under
	Environment string `json:"environment,omitempty"` // where it is to run
	Now         string `json:"now,omitempty"`         // RFC 3339, the time that evidence was judged at
}

// Run is everything but the items, of which there may be millions.
type Run struct {
	Meta      Meta       `json:"meta"`
	Verdict   Verdict    `json:"verdict"`
	Evidence  []Evidence `json:"evidence"`
	Lineage   []Link     `json:"lineage"`
	Findings  []Finding  `json:"findings"`
	Probes    []ProbeRun `json:"probes"`
	Artifacts []Artifact `json:"artifacts"`
	Tensors   []Tensor   `json:"tensors"`
	Boxes     []Box      `json:"boxes"`
}

// Float returns a pointer to x, for the optional figures.
func Float(x float64) *float64 { return &x }
