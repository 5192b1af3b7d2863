package supply

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/weighbridge/weighbridge/record"
	"github.com/weighbridge/weighbridge/supply/bundle"
	"github.com/weighbridge/weighbridge/supply/formats"
	"github.com/weighbridge/weighbridge/supply/manifest"
	"github.com/weighbridge/weighbridge/supply/provenance"
	"github.com/weighbridge/weighbridge/supply/signing"
	"github.com/weighbridge/weighbridge/supply/trust"
)

// Config says what is checked and by whose word.
type Config struct {
	Dir string // the model's folder
	// Model is the name that signers are allowed or not; empty means the
	// folder's own name.
	Model       string
	Environment string        // empty where none is meant
	Dataset     bool          // the folder holds training data
	Trust       *trust.Policy // nil: signatures are looked at, and nobody is trusted
	Now         time.Time
	// Ledger proves the intake; nil means that the ledger is not asked.
	Ledger Ledger
	// Lookup finds bytes that provenance speaks about; nil: none are at hand.
	Lookup provenance.Lookup
}

// Ledger finds the proof that a model was taken in.
type Ledger interface {
	// Intake looks for the admission of a model under any of its names: roots
	// and identity, with or without sha256:. found is false where there is
	// none; an error is a fault.
	Intake(ctx context.Context, names []string) (r Intake, found bool, err error)
}

// Intake is an entry of the ledger. Where its proof does not hold, Problems say
// why, and nothing else of it counts.
type Intake struct {
	Index  int64 // of the last admission
	Time   time.Time
	Digest string // sha256:… of the entry
	// Documents maps the digest (sha256:…) of each document that lay beside the
	// model at some admission to the time of the first: proof that it is so old.
	Documents map[string]time.Time
	Problems  []record.Problem
}

// Assessment is everything that lies around the weights, judged.
type Assessment struct {
	Manifest   *manifest.Manifest // nil where the folder cannot be a model
	Root       string             // OMS root, hex
	PythonRoot string             // in the Python implementation's order; often the same
	Identity   string             // sha256:…
	// Evidence has one record of each of Kinds, in that order.
	Evidence []record.Evidence
	Lineage  []record.Link
	// Aside are the claims beside the model that nothing was concluded from.
	Aside []record.Problem
	// Formats is every file of the model.
	Formats []formats.File
	// Claims are all bundles in claims.jsonl that can be read, verdicts among
	// them; nothing in them was trusted for that.
	Claims []*bundle.Bundle
}

// Kinds are the kinds of evidence that [Check] gives.
var Kinds = []record.EvidenceKind{
	record.Checksums, record.ModelSignature, record.FileFormats, record.BillOfMaterials,
	record.Provenance, record.Revocation, record.LedgerProof,
}

// The rules of this package's own problems.
const (
	RuleUnsigned     = "unsigned"        // nobody signed it
	RuleNotRegular   = "evidence-file"   // an evidence file that is a link, a fifo …
	RuleIgnoredPaths = "ignored-paths"   // the signer left paths out beyond the usual
	RuleDraftDiffers = "draft-differs"   // the draft beside a signed claim says something else
	RuleOtherModel   = "claim-model"     // a claim about other files
	RuleClaims       = "claims-line"     // a line of claims.jsonl that is no bundle
	RuleSuperseded   = "claim-old"       // a newer one by a trusted signer exists
	RuleBaseRevoked  = "base-revoked"    // something that the model was made from is revoked
	RuleUnproven     = "intake-unproven" // the ledger's proof does not hold
	RuleRefused      = "intake-refused"  // the last intake of this model was refused
)

// Of gives the evidence of a kind.
func (a *Assessment) Of(kind record.EvidenceKind) record.Evidence {
	i := slices.IndexFunc(a.Evidence, func(e record.Evidence) bool { return e.Kind == kind })
	if i < 0 {
		return record.Evidence{Kind: kind, State: record.NotAsked}
	}
	return a.Evidence[i]
}

// Names are all names under which the model is known: its roots, as hex, and
// its identity.
func (a *Assessment) Names() []string {
	names := []string{a.Root}
	if a.PythonRoot != a.Root {
		names = append(names, a.PythonRoot)
	}
	return append(names, a.Identity)
}

// Check reads the folder once and judges what lies in it. What it read is still
// there, unchanged, when it returns.
//
// Errors: those of the file system, of Ledger and Lookup, of ctx, and
// manifest.ErrFolder where the folder changed meanwhile. Whatever is wrong with
// the model or its documents is evidence.
func Check(ctx context.Context, c Config) (*Assessment, error) {
	if c.Now.IsZero() {
		return nil, errors.New("checking evidence needs a time")
	}
	k := &checker{Config: c, by: map[record.EvidenceKind]*record.Evidence{}}
	for _, kind := range Kinds {
		k.by[kind] = &record.Evidence{Kind: kind, State: record.NotAsked}
	}
	if k.Model == "" {
		abs, err := filepath.Abs(c.Dir)
		if err != nil {
			return nil, err
		}
		k.Model = filepath.Base(abs)
	}
	if err := k.run(ctx); err != nil {
		return nil, err
	}
	for _, kind := range Kinds {
		k.out.Evidence = append(k.out.Evidence, *k.by[kind])
	}
	return &k.out, nil
}

// checker is one run of Check.
type checker struct {
	Config
	out   Assessment
	by    map[record.EvidenceKind]*record.Evidence
	files files
	sig   *signing.Signature // nil where there is none that can be read
	taken *Intake            // proven, or nil
	// against are the revocations of keys and signers that judgements met.
	against []record.Problem
}

func (k *checker) run(ctx context.Context) (err error) {
	if k.out.Manifest, err = manifest.Dir(ctx, k.Dir, manifest.Options{}); err != nil {
		return k.unreadable(err)
	}
	m := k.out.Manifest
	id, _ := m.Identity()
	k.out.Root, k.out.PythonRoot, k.out.Identity = m.Root(), m.PythonRoot(), string(id)
	if k.files, err = readFiles(k.Dir); err != nil {
		return err
	}
	for _, step := range []func(context.Context) error{k.ledger, k.checksums, k.formats, k.signature, k.claims, k.revocation, k.recheck} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// unreadable is what can be said of a folder that cannot be a model.
func (k *checker) unreadable(err error) error {
	var folder *manifest.FolderError
	if !errors.As(err, &folder) || slices.ContainsFunc(folder.Problems, func(p record.Problem) bool { return p.Rule == manifest.RuleChanged }) {
		return err
	}
	for kind, e := range k.by {
		e.Detail = "the folder cannot be read as a model"
		if kind == record.Checksums {
			e.State, e.Problems = record.Bad, folder.Problems
			e.Detail = first(folder.Problems)
		}
	}
	return nil
}

func (k *checker) ledger(ctx context.Context) error {
	e := k.by[record.LedgerProof]
	if k.Ledger == nil {
		e.Detail = "no ledger was given"
		return nil
	}
	in, found, err := k.Ledger.Intake(ctx, k.out.Names())
	switch {
	case err != nil:
		return fmt.Errorf("asking the ledger: %w", err)
	case !found:
		e.State, e.Detail = record.Absent, "no admission of this model is in the ledger"
	case len(in.Problems) > 0:
		e.State, e.Problems, e.Detail = record.Bad, in.Problems, first(in.Problems)
	default:
		e.State, e.Index, e.Digest, e.Time = record.Valid, &in.Index, in.Digest, stamp(in.Time)
		e.Detail = fmt.Sprintf("taken in with entry %d, at %s", in.Index, e.Time)
		k.taken = &in
	}
	return nil
}

// since is when the ledger proves that a document was there, or nil.
func (k *checker) since(digest string) *time.Time {
	if k.taken == nil {
		return nil
	}
	t, ok := k.taken.Documents[digest]
	if !ok {
		return nil
	}
	return &t
}

// checksums compares the folder with the signed list, whoever signed it.
func (k *checker) checksums(ctx context.Context) error {
	e, m := k.by[record.Checksums], k.out.Manifest
	n, bytes := len(m.Resources), m.Bytes()
	e.Files, e.Bytes, e.Identity = &n, &bytes, k.out.Identity
	e.Roots = []string{k.out.Root}
	if k.out.PythonRoot != k.out.Root {
		e.Roots = append(e.Roots, k.out.PythonRoot)
	}
	raw, ok := k.files.content[manifest.SignatureFile]
	if !ok {
		e.State, e.Detail = record.Absent, fmt.Sprintf("%d files, and no signed list to compare them with; make one with `weighbridge sign`", n)
		if p, bad := k.files.bad[manifest.SignatureFile]; bad {
			e.State, e.Problems, e.Detail = record.Bad, []record.Problem{p}, p.Detail
		}
		return nil
	}
	e.Digest = digest(raw)
	sig, err := signing.Open(raw)
	if err != nil {
		p := record.Problem{Rule: ruleOf(err), Subject: manifest.SignatureFile, Detail: err.Error()}
		e.State, e.Problems, e.Detail = record.Bad, []record.Problem{p}, p.Detail
		return nil
	}
	k.sig = sig
	_, problems, err := signing.Compare(ctx, k.Dir, sig, signing.Options{Manifest: m})
	if err != nil {
		return err
	}
	if slices.ContainsFunc(problems, func(p record.Problem) bool { return p.Rule == manifest.RuleChanged }) {
		return fmt.Errorf("%s: %w", k.Dir, &manifest.FolderError{Problems: problems})
	}
	if len(problems) > 0 {
		e.State, e.Problems = record.Bad, problems
		e.Detail = fmt.Sprintf("%d differences from what was signed; first: %s", len(problems), first(problems))
		return nil
	}
	e.State, e.Detail = record.Valid, fmt.Sprintf("%d files, %d bytes, as they were signed", n, bytes)
	// By shards, or by another hash. The root of a part is no name of the whole:
	// what was said of the part would then be taken for said of what hides there.
	if sig.Root != "" && !slices.Contains(e.Roots, sig.Root) && len(sig.Hidden(manifest.SignatureFile)) == 0 {
		e.Roots = append(e.Roots, sig.Root)
	}
	return nil
}

func (k *checker) formats(ctx context.Context) (err error) {
	e := k.by[record.FileFormats]
	if k.out.Formats, err = formats.Scan(ctx, k.Dir, k.out.Manifest); err != nil {
		return err
	}
	e.Problems, e.State = formats.Problems(k.out.Formats)
	if e.Detail = fmt.Sprintf("%d files, none can execute", len(k.out.Formats)); len(e.Problems) > 0 {
		e.Detail = fmt.Sprintf("%d of %d files; first: %s", len(e.Problems), len(k.out.Formats), first(e.Problems))
	}
	return nil
}

func (k *checker) signature(context.Context) error {
	e := k.by[record.ModelSignature]
	sums := k.by[record.Checksums]
	if k.sig == nil {
		e.State, e.Problems, e.Detail = sums.State, sums.Problems, sums.Detail
		if sums.State == record.Absent {
			e.Detail = "no " + manifest.SignatureFile
		}
		return nil
	}
	b := k.sig.Bundle
	e.Digest, e.Method = sums.Digest, string(b.Kind)
	what := trust.Model
	if k.Dataset {
		what = trust.Dataset
	}
	k.judge(e, b, what)
	if e.State == record.Valid {
		e.Detail = fmt.Sprintf("signed by %s", e.Signer)
	}
	k.ignored(e)
	return nil
}

// ignored reports what the signer left out beyond the usual.
func (k *checker) ignored(e *record.Evidence) {
	e.Ignored = k.sig.Hidden(manifest.SignatureFile)
	if len(e.Ignored) == 0 {
		return
	}
	var matters []string
	for _, f := range k.out.Formats {
		if manifest.Covered(f.Name, e.Ignored) && (formats.Weights(f.Name) || !harmless[f.Format]) {
			matters = append(matters, f.Name)
		}
	}
	p := record.Problem{Rule: RuleIgnoredPaths, Subject: e.Ignored[0], Detail: "the signer left out " + strings.Join(e.Ignored, ", ")}
	if len(matters) > 0 {
		p.Subject = matters[0]
		p.Detail += fmt.Sprintf("; %d files there are no mere documents, such as %s, and nobody signed them", len(matters), matters[0])
		if e.State == record.Valid {
			e.State, e.Detail = record.Ambiguous, p.Detail
		}
	}
	e.Problems = append(e.Problems, p)
}

// harmless are the formats that a signer may leave out without hiding weights,
// code or what steers either.
var harmless = map[string]bool{"text": true, "image": true, "audio": true, "document": true, "empty": true}

func (k *checker) revocation(context.Context) error {
	e := k.by[record.Revocation]
	if k.Trust == nil {
		e.Detail = "no trust file was given"
		return nil
	}
	names := k.out.Names()
	if k.sig != nil && k.sig.Root != "" {
		names = append(names, k.sig.Root)
	}
	e.Problems = k.Trust.Revoked(names, "", "", k.Now)
	for _, l := range k.out.Lineage {
		if l.Digest == "" {
			continue
		}
		_, hex, _ := strings.Cut(l.Digest, ":")
		for _, p := range k.Trust.Revoked([]string{hex}, "", "", k.Now) {
			e.Problems = append(e.Problems, record.Problem{Rule: RuleBaseRevoked, Subject: l.Name, Detail: l.Role + " " + p.Detail})
		}
	}
	for _, p := range k.against {
		if !slices.Contains(e.Problems, p) {
			e.Problems = append(e.Problems, p)
		}
	}
	if e.State, e.Detail = record.Valid, "neither model, nor what it was made from, nor key, nor signer is revoked"; len(e.Problems) > 0 {
		e.State, e.Detail = record.Bad, first(e.Problems)
	}
	e.Digest = k.Trust.Digest
	return nil
}

// recheck proves that what was judged is what lies there now.
func (k *checker) recheck(ctx context.Context) error {
	if err := k.out.Manifest.Recheck(ctx, k.Dir); err != nil {
		return err
	}
	return k.files.recheck(k.Dir)
}

func first(problems []record.Problem) string {
	if len(problems) == 0 {
		return ""
	}
	p := problems[0]
	if p.Subject == "" {
		return p.Detail
	}
	return p.Subject + ": " + p.Detail
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
