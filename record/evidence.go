package record

// Evidence is what one kind of supply-chain check found about the candidate.
// A run has at most one of each kind. An empty optional field says nothing: a
// policy that reads it without asking has() first is not answered.
type Evidence struct {
	Kind   EvidenceKind  `json:"kind"`
	State  EvidenceState `json:"state"`
	Detail string        `json:"detail"` // one line that a person reads first
	// Problems are the reasons for every state but valid, in the order found.
	Problems []Problem `json:"problems,omitempty"`

	Digest string `json:"digest,omitempty"` // sha256:… of the document that was judged
	Signer string `json:"signer,omitempty"` // its name in the trust file
	Time   string `json:"time,omitempty"`   // RFC 3339, the time that the signature was judged at

	// checksums
	Files *int   `json:"files,omitempty"`
	Bytes *int64 `json:"bytes,omitempty"`
	// Roots are the names under which the model is found: its OMS root and,
	// where it differs, the one in the Python implementation's order.
	Roots    []string `json:"roots,omitempty"`
	Identity string   `json:"identity,omitempty"`
	// signature
	Method  string   `json:"method,omitempty"`  // key, certificate, sigstore
	Ignored []string `json:"ignored,omitempty"` // paths that the signer left out beyond the usual
	// sbom and provenance
	Licences   []string `json:"licences,omitempty"`    // SPDX identifiers or names, sorted
	BaseModels []string `json:"base_models,omitempty"` // digests of ancestors, sorted
	Datasets   *int     `json:"datasets,omitempty"`    // training data snapshots named with a digest
	Checked    *int     `json:"checked,omitempty"`     // claimed digests that were compared with bytes at hand
	Unchecked  *int     `json:"unchecked,omitempty"`   // claimed digests with nothing at hand to compare
	Gaps       []string `json:"gaps,omitempty"`        // links of the lineage that are missing or ambiguous
	Builder    string   `json:"builder,omitempty"`     // builder.id
	// ledger
	Index *int64 `json:"index,omitempty"` // of the entry that proves the intake
}

// EvidenceKind is a closed list.
type EvidenceKind string

// The kinds of evidence.
const (
	Checksums       EvidenceKind = "checksums"  // every file is listed, and as it was signed
	ModelSignature  EvidenceKind = "signature"  // somebody who may, signed the list
	FileFormats     EvidenceKind = "formats"    // nothing in the folder can execute code
	BillOfMaterials EvidenceKind = "sbom"       // the BOM is signed, valid and about these bytes
	Provenance      EvidenceKind = "provenance" // where the weights come from
	Rebuild         EvidenceKind = "rebuild"    // made again from baseline and recipe, bit for bit
	Revocation      EvidenceKind = "revocation" // neither model, key nor signer is revoked
	LedgerProof     EvidenceKind = "ledger"     // the intake is in the ledger, proven
)

// EvidenceKinds lists the kinds in the order of reports.
var EvidenceKinds = []EvidenceKind{Checksums, ModelSignature, FileFormats, BillOfMaterials, Provenance, Rebuild, Revocation, LedgerProof}

// EvidenceState says what a check came to.
type EvidenceState string

// The states. Only Valid speaks for the candidate.
const (
	Valid     EvidenceState = "valid"
	Bad       EvidenceState = "bad"       // present and wrong
	Ambiguous EvidenceState = "ambiguous" // present, and proves less than it has to
	Absent    EvidenceState = "absent"
	NotAsked  EvidenceState = "not-asked" // this run did not look
)

// Problem is one reason against a piece of evidence.
type Problem struct {
	Rule    string `json:"rule"`    // stable code, such as file-missing
	Subject string `json:"subject"` // file, field or link that it is about
	Detail  string `json:"detail"`  // what is wrong, and the way out
}

// Link is one edge of the candidate's lineage: what it was made from.
type Link struct {
	From string `json:"from"` // name of what was made; the candidate is "model"
	Role string `json:"role"` // base-model, dataset, code, environment, recipe, builder
	Name string `json:"name"` // name of what it was made from, unique in the lineage
	// Digest is of Name's content as algorithm:hex, empty where the lineage gives none.
	Digest string        `json:"digest,omitempty"`
	State  EvidenceState `json:"state"` // valid: compared with bytes at hand; ambiguous: only claimed; absent: a gap
	Detail string        `json:"detail,omitempty"`
}
