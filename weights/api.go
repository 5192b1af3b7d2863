package weights

import (
	"context"

	"github.com/weighbridge/weighbridge/weights/gguf"
)

// Identity names weights by content: "sha256:" and 64 hex digits.
type Identity string

// FileDigest is one file of an artifact.
type FileDigest struct {
	Path   string `json:"path"`   // inside the model; "adapter.gguf" for the adapter
	SHA256 string `json:"sha256"` // 64 hex digits
	Bytes  int64  `json:"bytes"`
}

// Adapter is an opened GGUF LoRA adapter.
type Adapter struct {
	Alpha float32       // adapter.lora.alpha; 0 means that the rank cancels it
	Scale float32       // the artifact's factor
	Pairs []AdapterPair // in the order of the adapter file
}

// AdapterPair updates one tensor of the model: ΔW = Scale · B·A.
type AdapterPair struct {
	Tensor string  `json:"tensor"`
	Rank   int     `json:"rank"`
	Scale  float64 `json:"scale"` // alpha/rank × the artifact's factor
	A, B   gguf.Tensor
}

// LowRank is a matrix held as Scale · Left·Right, exactly as an adapter stores it.
type LowRank struct {
	Rows, Cols, Rank int
	Scale            float64
	Left             []float32 // Rows × Rank, row-major
	Right            []float32 // Rank × Cols, row-major
}

// Factors reads the update of one tensor; ok is false when the adapter leaves it alone.
func (m *Model) Factors(ctx context.Context, name string) (f *LowRank, ok bool, err error) {
	return nil, false, errSkeleton
}

// RelationKind says how a candidate's weights come from the baseline's.
type RelationKind string

// The relations, from the closest to none.
const (
	SameBits    RelationKind = "same-bits"   // every tensor has the baseline's bits
	Requantised RelationKind = "requantised" // the baseline in another number format, to the bit or within rounding
	Derived     RelationKind = "derived"     // same shape and vocabulary, other values; or an adapter on the baseline
	Unrelated   RelationKind = "unrelated"   // another architecture, shape, vocabulary, or independent values
)

// Relation is the claimed-or-found relation of a pair with its reason.
type Relation struct {
	Kind     RelationKind `json:"kind"`
	Reason   string       `json:"reason"`    // one sentence
	SameFile bool         `json:"same_file"` // the two identities are equal
	Exact    bool         `json:"exact"`     // Requantised only: proven to the bit for every tensor
}

// TensorName is a tensor's name taken apart.
type TensorName struct {
	Layer int    `json:"layer"` // block index, -1 outside of the blocks
	Kind  string `json:"kind"`  // "attn_q", "ffn_down", "token_embd", "output", …
	Part  string `json:"part"`  // "weight", "bias" or ""
}

// TensorDelta compares one tensor of the pair. W is the baseline's tensor, ΔW
// what the candidate adds to it, adapters included. Values that are NaN or
// infinite on either side are counted and left out of every figure.
type TensorDelta struct {
	Name string `json:"name"`
	TensorName
	Against       string   `json:"against"` // baseline tensor, where the name differs (tied heads)
	Shape         []uint64 `json:"shape"`   // ggml order
	BaselineType  string   `json:"baseline_type"`
	CandidateType string   `json:"candidate_type"`
	SameBits      bool     `json:"same_bits"` // stored bytes equal, no update by an adapter

	Norm         float64 `json:"norm"`            // ‖W‖_F
	DeltaNorm    float64 `json:"delta_norm"`      // ‖ΔW‖_F
	Relative     float64 `json:"relative_change"` // ‖ΔW‖_F / ‖W‖_F; over the candidate's norm where W is zero
	Cosine       float64 `json:"cosine"`          // of W and W+ΔW as vectors; 1 when both are zero
	MaxAbs       float64 `json:"max_abs_delta"`
	Differing    int64   `json:"differing"` // values that differ
	Values       int64   `json:"values"`
	LowRank      int     `json:"low_rank"`      // known bound on rank(ΔW) from adapters, 0 when none is known
	BadBaseline  int64   `json:"bad_baseline"`  // NaN or infinite values
	BadCandidate int64   `json:"bad_candidate"` // NaN or infinite values
	FirstBad     int64   `json:"first_bad"`     // index of the first such value, -1 when none

	Requant Requant `json:"requant"`
}

// Requant says whether a candidate tensor is the baseline's tensor in another
// number format.
type Requant struct {
	// Checked is "exact" where the baseline was requantised and compared block
	// by block, "bound" where only |w_c-w_b| against the candidate's own block
	// step could be tested, "" where neither applies.
	Checked string `json:"checked"`
	OK      bool   `json:"ok"`
	Blocks  int64  `json:"blocks"`  // blocks in the candidate's tensor
	Unequal int64  `json:"unequal"` // "exact": blocks with other bits
	// MaxSteps is max |w_c-w_b| / step, step being the distance between two
	// neighbouring values of the candidate's block: rounding gives at most ½.
	MaxSteps float64 `json:"max_steps"`
	// Beyond counts values with |w_c-w_b| > (½+slack)·step.
	Beyond int64 `json:"beyond"`
}

// Comparison is the result of comparing a candidate with a baseline.
type Comparison struct {
	Relation      Relation         `json:"relation"`
	Tensors       []TensorDelta    `json:"tensors"` // in the baseline's file order
	OnlyBaseline  []string         `json:"only_baseline"`
	OnlyCandidate []string         `json:"only_candidate"`
	Metadata      []MetadataChange `json:"metadata"`
}

// Compare reads both models once, in bounded memory. The result does not
// depend on the number of processors.
func Compare(ctx context.Context, baseline, candidate *Model) (*Comparison, error) {
	return nil, errSkeleton
}

// SpectrumOptions configures Spectrum. Zero fields mean 8, 8 and 1.
type SpectrumOptions struct {
	K          int    // singular values wanted
	Oversample int    // extra random directions
	Power      int    // power iterations
	Seed       uint64 // of the random directions
}

// Spectrum holds the leading singular triplets of ΔW, as a matrix that maps an
// input of Cols values to an output of Rows values.
type Spectrum struct {
	Name       string      `json:"name"`
	Rows, Cols int         `json:"-"`
	Exact      bool        `json:"exact"` // from an adapter's factors, not estimated
	Sigma      []float64   `json:"sigma"` // descending
	Frobenius  float64     `json:"frobenius"`
	Left       [][]float32 `json:"-"` // per value, length Rows: what ΔW writes
	Right      [][]float32 `json:"-"` // per value, length Cols: what ΔW reads
}

// DeltaSpectrum returns the leading singular values and vectors of ΔW for one
// two-dimensional tensor: exact where ΔW is known to be of low rank, else by a
// seeded randomised range finder (Halko, Martinsson, Tropp 2011, algorithms
// 4.4 and 5.1). Signs are fixed so that the largest entry of each left vector
// is positive.
func DeltaSpectrum(ctx context.Context, baseline, candidate *Model, name string, o SpectrumOptions) (*Spectrum, error) {
	return nil, errSkeleton
}

// MetadataChange is one key that differs. Values are rendered as bounded JSON
// by Inspect's rules; "" where the key is absent.
type MetadataChange struct {
	Key       string `json:"key"`
	Baseline  string `json:"baseline"`
	Candidate string `json:"candidate"`
}

// DiffMetadata lists the keys that differ in type or value, sorted by key.
func DiffMetadata(baseline, candidate *gguf.Metadata) []MetadataChange { return nil }

// TokenType is llama.cpp's token type.
type TokenType int32

// The token types.
const (
	TokenNormal      TokenType = 1
	TokenUnknown     TokenType = 2
	TokenControl     TokenType = 3
	TokenUserDefined TokenType = 4
	TokenUnused      TokenType = 5
	TokenByte        TokenType = 6
)

// Tokenizer is a view of the tokenizer.ggml.* and tokenizer.chat_template keys.
// Its slices are shared with the metadata and must not be changed.
type Tokenizer struct {
	Model     string // "gpt2", "llama", …
	Pre       string // pre-tokeniser
	Tokens    []string
	Types     []TokenType // nil when the file has none
	Scores    []float32   // nil when the file has none
	Merges    []string
	Special   map[string]int    // "bos", "eos", "eot", "unknown", "padding", … to token id
	Flags     map[string]bool   // "add_bos_token", "add_eos_token", "add_space_prefix", …
	Template  string            // chat template, "" when there is none
	Templates map[string]string // further named templates
	Duplicate []int             // ids whose text an earlier id has too
}

// Hyper holds the hyper-parameters every llama-like architecture has. Zero
// means absent.
type Hyper struct {
	Architecture    string  `json:"architecture"`
	Name            string  `json:"name"`
	ContextLength   uint64  `json:"context_length"`
	EmbeddingLength uint64  `json:"embedding_length"`
	FeedForward     uint64  `json:"feed_forward_length"`
	Blocks          uint64  `json:"block_count"`
	Heads           uint64  `json:"head_count"`
	HeadsKV         uint64  `json:"head_count_kv"`
	VocabSize       uint64  `json:"vocab_size"`
	RopeDimensions  uint64  `json:"rope_dimension_count"`
	RopeFreqBase    float64 `json:"rope_freq_base"`
	NormEpsilon     float64 `json:"layer_norm_rms_epsilon"`
	FileType        uint64  `json:"file_type"`
}

// Summary is what `weighbridge inspect` prints: plain, deterministic, bounded,
// JSON-able. Strings are as the file has them, cut to 400 bytes.
type Summary struct {
	Path      string            `json:"path"`
	Kind      string            `json:"kind"` // "model" or "adapter"
	Identity  Identity          `json:"identity,omitempty"`
	Files     []FileDigest      `json:"files"`
	Version   uint32            `json:"gguf_version"`
	Alignment int64             `json:"alignment"`
	Unclaimed int64             `json:"unclaimed_bytes"`
	Hyper     Hyper             `json:"hyper"`
	Values    int64             `json:"parameters"`
	Types     []TypeCount       `json:"types"` // sorted by name
	Tokenizer *TokenizerSummary `json:"tokenizer,omitempty"`
	Adapter   *AdapterSummary   `json:"adapter,omitempty"`
	Metadata  []MetadataLine    `json:"metadata"` // in file order
	Tensors   []TensorLine      `json:"tensors"`  // in file order
}

// TypeCount counts the tensors of one type.
type TypeCount struct {
	Type    string `json:"type"`
	Tensors int    `json:"tensors"`
	Values  int64  `json:"values"`
	Bytes   int64  `json:"bytes"`
}

// TokenizerSummary describes a tokenizer without its arrays.
type TokenizerSummary struct {
	Model          string            `json:"model"`
	Pre            string            `json:"pre"`
	Tokens         int               `json:"tokens"`
	Merges         int               `json:"merges"`
	ByType         map[TokenType]int `json:"by_type"`
	Duplicates     int               `json:"duplicates"`
	Special        map[string]int    `json:"special"`
	Flags          map[string]bool   `json:"flags"`
	TemplateBytes  int               `json:"template_bytes"`
	TemplateSHA256 string            `json:"template_sha256"`
	Templates      []string          `json:"named_templates"`
}

// AdapterSummary describes a LoRA adapter.
type AdapterSummary struct {
	Alpha   float32 `json:"alpha"`
	Scale   float32 `json:"scale"` // the artifact's factor, 0 when opened alone
	Pairs   int     `json:"pairs"`
	MinRank int     `json:"min_rank"`
	MaxRank int     `json:"max_rank"`
	Values  int64   `json:"parameters"`
}

// MetadataLine is one metadata entry, its value as bounded JSON: long strings
// are cut, arrays show their first 8 elements; Digest is over the whole value.
type MetadataLine struct {
	Key    string `json:"key"`
	Type   string `json:"type"`
	Len    int    `json:"len"` // elements of an array, bytes of a string, else 1
	Value  string `json:"value"`
	Digest string `json:"sha256"`
}

// TensorLine is one tensor.
type TensorLine struct {
	Name   string   `json:"name"`
	Type   string   `json:"type"`
	Shape  []uint64 `json:"shape"` // ggml order
	Offset int64    `json:"offset"`
	Bytes  int64    `json:"bytes"`
}

// Inspect summarises an open model.
func Inspect(m *Model) Summary { return Summary{} }

// InspectFile opens, validates, hashes and summarises one GGUF file, model or
// adapter.
func InspectFile(ctx context.Context, path string) (Summary, error) {
	return Summary{}, errSkeleton
}
