package reports

import (
	"reflect"
	"strconv"

	"github.com/parquet-go/parquet-go"
)

// Version is the format of the file that [Create] writes. [Open] reads it and
// every older one.
const Version = 3

// lastOf names the last column of the older formats: a newer one adds columns
// behind, and row kinds.
var lastOf = map[int]string{1: "Flip", 2: "MadeFrom"}

// schemas are the columns of each format, by its number as files state it.
var schemas = func() map[string]*parquet.Schema {
	all := map[string]*parquet.Schema{strconv.Itoa(Version): schema}
	for version, last := range lastOf {
		t := reflect.TypeFor[row]()
		var fields []reflect.StructField
		for i := range t.NumField() {
			fields = append(fields, t.Field(i))
			if t.Field(i).Name == last {
				break
			}
		}
		of := reflect.New(reflect.StructOf(fields)).Interface()
		all[strconv.Itoa(version)] = parquet.NewSchema("weighbridge", parquet.SchemaOf(of))
	}
	return all
}()

// The row kinds, in the order in which they stand in the file. Kinds with many
// rows keep the order that they have in the record.
const (
	kindVerdict  = "verdict"
	kindReason   = "reason"
	kindEvidence = "evidence"
	kindProblem  = "problem" // of the evidence row before it
	kindLineage  = "lineage"
	kindArtifact = "artifact"
	kindBox      = "box"
	kindProbe    = "probe"
	kindFinding  = "finding"
	kindTensor   = "tensor"
	kindItem     = "item"
)

// row is one row of the file. Every column is NULL in the rows that it does
// not belong to; which those are is in docs/report-schema.md. An empty string
// is stored as NULL, a zero as zero.
type row struct {
	Kind string `parquet:"kind,dict"`

	// Shared by several kinds.
	Probe     string `parquet:"probe,optional,dict"`
	ID        string `parquet:"id,optional"`
	Side      string `parquet:"side,optional,dict"`
	Name      string `parquet:"name,optional"`
	Rule      string `parquet:"rule,optional,dict"`
	Outcome   string `parquet:"outcome,optional,dict"`
	Status    string `parquet:"status,optional,dict"`
	Detail    string `parquet:"detail,optional"`
	Digest    string `parquet:"digest,optional"`
	Tests     *int64 `parquet:"tests,optional"`
	Condition string `parquet:"condition,optional,dict"`

	// verdict
	Policy      string   `parquet:"policy,optional"`
	Format      *int32   `parquet:"format_version,optional"`
	Tool        string   `parquet:"tool,optional"`
	Seed        *uint64  `parquet:"seed,optional"`
	Level       string   `parquet:"level,optional"`
	Suites      []string `parquet:"suites,optional,list"`
	Plan        string   `parquet:"plan,optional"`
	BaselineID  string   `parquet:"baseline_id,optional"`
	CandidateID string   `parquet:"candidate_id,optional"`
	Relation    string   `parquet:"relation,optional"`
	Why         string   `parquet:"why,optional"`
	Alpha       *float64 `parquet:"alpha,optional"`

	// reason
	Message  string   `parquet:"message,optional"`
	Findings []string `parquet:"findings,optional,list"`

	// artifact
	Role       string `parquet:"role,optional"`
	Size       *int64 `parquet:"size_bytes,optional"`
	FileFormat string `parquet:"file_format,optional"`
	Arch       string `parquet:"arch,optional"`
	Params     *int64 `parquet:"params,optional"`
	Quant      string `parquet:"quant,optional"`

	// box
	Runtime string     `parquet:"runtime,optional"`
	Image   string     `parquet:"image,optional"`
	Engine  string     `parquet:"engine,optional"`
	Checks  []checkRow `parquet:"checks,optional,list"`

	// probe
	Question string   `parquet:"question,optional"`
	Reason   string   `parquet:"reason,optional"`
	Required *bool    `parquet:"required,optional"`
	Budget   *int64   `parquet:"budget_tokens,optional"`
	AskedB   *int64   `parquet:"asked_tokens_b,optional"`
	AskedC   *int64   `parquet:"asked_tokens_c,optional"`
	DecodedB *int64   `parquet:"decoded_tokens_b,optional"`
	DecodedC *int64   `parquet:"decoded_tokens_c,optional"`
	Sees     []string `parquet:"sees,optional,list"`
	Blind    []string `parquet:"blind,optional,list"`

	// finding
	Tier       string        `parquet:"tier,optional,dict"`
	Class      string        `parquet:"class,optional,dict"`
	Title      string        `parquet:"title,optional"`
	Subject    string        `parquet:"subject,optional"`
	Trigger    string        `parquet:"trigger,optional"`
	Payload    string        `parquet:"payload,optional"`
	Statistic  string        `parquet:"statistic,optional,dict"`
	Value      *float64      `parquet:"value,optional"`
	Low        *float64      `parquet:"low,optional"`
	High       *float64      `parquet:"high,optional"`
	N          *int64        `parquet:"n,optional"`
	P          *float64      `parquet:"p,optional"`
	PHolm      *float64      `parquet:"p_holm,optional"`
	MDE        *float64      `parquet:"mde,optional"`
	Margin     *float64      `parquet:"margin,optional"`
	Null       string        `parquet:"null_source,optional"`
	Families   []string      `parquet:"families,optional,list"`
	Transcript []exchangeRow `parquet:"transcript,optional,list"`

	// tensor
	Layer      *int32    `parquet:"layer,optional"`
	TensorKind string    `parquet:"tensor_kind,optional,dict"`
	Equal      *bool     `parquet:"equal,optional"`
	Relative   *float64  `parquet:"relative_change,optional"`
	Max        *float64  `parquet:"max_change,optional"`
	Changed    *float64  `parquet:"changed_fraction,optional"`
	Spectrum   []float64 `parquet:"spectrum,optional,list"`

	// item
	Task      string   `parquet:"task,optional,dict"`
	Cluster   string   `parquet:"cluster,optional"`
	Prompt    string   `parquet:"prompt,optional"`
	Expected  string   `parquet:"expected,optional"`
	Baseline  string   `parquet:"baseline,optional"`
	Candidate string   `parquet:"candidate,optional"`
	ScoreB    *float64 `parquet:"score_b,optional"`
	ScoreC    *float64 `parquet:"score_c,optional"`
	Effect    *float64 `parquet:"effect,optional"`
	Flip      string   `parquet:"flip,optional,dict"`

	// Since format 2.

	// verdict
	Model       string `parquet:"model,optional"`
	Environment string `parquet:"environment,optional"`
	Now         string `parquet:"judging_time,optional"`

	// evidence
	Signer     string   `parquet:"signer,optional"`
	Time       string   `parquet:"signature_time,optional"`
	Files      *int64   `parquet:"files,optional"`
	Roots      []string `parquet:"roots,optional,list"`
	Identity   string   `parquet:"identity,optional"`
	Method     string   `parquet:"method,optional"`
	Ignored    []string `parquet:"ignored,optional,list"`
	Licences   []string `parquet:"licences,optional,list"`
	BaseModels []string `parquet:"base_models,optional,list"`
	Datasets   *int64   `parquet:"datasets,optional"`
	Checked    *int64   `parquet:"checked,optional"`
	Unchecked  *int64   `parquet:"unchecked,optional"`
	Gaps       []string `parquet:"gaps,optional,list"`
	Builder    string   `parquet:"builder,optional"`
	Index      *int64   `parquet:"ledger_index,optional"`

	// lineage
	MadeFrom string `parquet:"link_from,optional"`

	// Since format 3.

	// tensor
	Leading *float64 `parquet:"leading_share,optional"`
	Tokens  []string `parquet:"lens_tokens,optional,list"`

	// verdict
	Calibration         string   `parquet:"calibration,optional"`
	CalibrationSigner   string   `parquet:"calibration_signer,optional"`
	CalibrationEngine   string   `parquet:"calibration_engine,optional"`
	CalibrationVariants *int64   `parquet:"calibration_variants,optional"`
	CalibrationTests    *int64   `parquet:"calibration_tests,optional"`
	CalibrationAlpha    *float64 `parquet:"calibration_alpha,optional"`

	// finding
	LowerIsWorse *bool    `parquet:"lower_is_worse,optional"`
	PBank        *float64 `parquet:"p_bank,optional"`
	BankN        *int64   `parquet:"bank_n,optional"`
}

type checkRow struct {
	Name string `parquet:"name"`
	Want string `parquet:"want"`
	Got  string `parquet:"got"`
	OK   bool   `parquet:"ok"`
}

type exchangeRow struct {
	Condition string `parquet:"condition"`
	Request   string `parquet:"request"`
	Baseline  string `parquet:"baseline"`
	Candidate string `parquet:"candidate"`
}
