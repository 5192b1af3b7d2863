package supply

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/weighbridge/weighbridge/record"
	"github.com/weighbridge/weighbridge/supply/bundle"
	"github.com/weighbridge/weighbridge/supply/manifest"
	"github.com/weighbridge/weighbridge/supply/provenance"
	"github.com/weighbridge/weighbridge/supply/sbom"
	"github.com/weighbridge/weighbridge/supply/trust"
)

// claim is one line of claims.jsonl that is about this model.
type claim struct {
	*bundle.Bundle
	digest   string
	signer   *trust.Signer // nil where nobody trusted made it
	at       time.Time     // judged at
	problems []record.Problem
}

func (c claim) name() string { return fmt.Sprintf("%s:%d", manifest.ClaimsFile, c.Line) }

// claims judges what is claimed about the model: its BOM and its provenance.
func (k *checker) claims(ctx context.Context) error {
	found, err := k.readClaims()
	if err != nil {
		return err
	}
	err = k.document(record.BillOfMaterials, manifest.BOMFile, trust.SBOM, found[trust.SBOM], func(e *record.Evidence, predicate []byte, _ bundle.Statement) error {
		return k.bom(e, predicate)
	})
	if err != nil {
		return err
	}
	return k.document(record.Provenance, manifest.ProvenanceFile, trust.Provenance, found[trust.Provenance], func(e *record.Evidence, _ []byte, st bundle.Statement) error {
		return k.provenance(ctx, e, st)
	})
}

// readClaims sorts the claims by what they say, and sets those aside that are
// not about this model.
func (k *checker) readClaims() (map[trust.What][]claim, error) {
	if p, bad := k.files.bad[manifest.ClaimsFile]; bad {
		k.out.Aside = append(k.out.Aside, p)
		return nil, nil
	}
	if _, ok := k.files.content[manifest.ClaimsFile]; !ok {
		return nil, nil
	}
	all, err := bundle.ReadClaims(filepath.Join(k.Dir, manifest.ClaimsFile), bundle.StatementTypeV01)
	if err != nil {
		if !errors.Is(err, bundle.ErrFormat) {
			return nil, err
		}
		k.out.Aside = append(k.out.Aside, record.Problem{Rule: RuleClaims, Subject: manifest.ClaimsFile, Detail: err.Error()})
	}
	k.out.Claims = all
	found := map[trust.What][]claim{}
	for _, b := range all {
		what, ok := claimed(b.Statement.PredicateType)
		if !ok {
			continue // verdicts and the like: package attest
		}
		c := claim{Bundle: b, digest: digest(b.Raw)}
		if why := k.about(b.Statement); why != "" {
			k.out.Aside = append(k.out.Aside, record.Problem{Rule: RuleOtherModel, Subject: c.name(), Detail: why})
			continue
		}
		c.signer, c.at, c.problems = k.ask(b, what, c.digest)
		found[what] = append(found[what], c)
	}
	return found, nil
}

func claimed(predicateType string) (trust.What, bool) {
	switch {
	case predicateType == bundle.PredicateCycloneDX, strings.HasPrefix(predicateType, bundle.PredicateCycloneDX+"/v"):
		return trust.SBOM, true
	case predicateType == bundle.PredicateProvenance:
		return trust.Provenance, true
	}
	return "", false
}

// about says why a statement is not about these files, or "". A root does not
// bind names; where the statement has the identity too, that has to fit.
func (k *checker) about(st bundle.Statement) string {
	for _, s := range st.Subject {
		root := s.Digest["sha256"]
		if root != k.out.Root && root != k.out.PythonRoot {
			continue
		}
		if id, ok := s.Digest[bundle.IdentityDigest]; ok && id != strings.TrimPrefix(k.out.Identity, "sha256:") {
			return "it is about files with these contents and other names"
		}
		return ""
	}
	if len(st.Subject) == 0 {
		return "it has no subject"
	}
	return fmt.Sprintf("it is about sha256:%.64s, and this model is sha256:%s", st.Subject[0].Digest["sha256"], k.out.Root)
}

// ask judges a bundle, and keeps the revocations that it meets.
func (k *checker) ask(b *bundle.Bundle, what trust.What, digest string) (*trust.Signer, time.Time, []record.Problem) {
	if k.Trust == nil {
		return nil, k.Now, []record.Problem{{Rule: trust.RuleSignerUnknown, Subject: b.Hint, Detail: "nobody is trusted without a trust file; give one with --trust"}}
	}
	signer, at, problems := k.Trust.Judge(b, trust.Ask{
		What: what, Model: k.Model, Environment: k.Environment, Now: k.Now, LedgerTime: k.since(digest),
	})
	for _, p := range problems {
		if p.Rule == trust.RuleKeyRevoked || p.Rule == trust.RuleSignerRevoked {
			k.against = append(k.against, p)
		}
	}
	return signer, at, problems
}

// judge puts what the trust file says of a bundle into the evidence.
func (k *checker) judge(e *record.Evidence, b *bundle.Bundle, what trust.What) {
	signer, at, problems := k.ask(b, what, e.Digest)
	k.judged(e, signer, at, problems)
}

func (k *checker) judged(e *record.Evidence, signer *trust.Signer, at time.Time, problems []record.Problem) {
	if !at.Equal(k.Now) { // a time that something proves; now would make two runs differ
		e.Time = stamp(at)
	}
	if signer != nil {
		e.State, e.Signer = record.Valid, signer.Name
		return
	}
	// A signature that is nobody's here is worth as much as none: otherwise who
	// signs would fare worse than who does not.
	e.State = record.Bad
	if !slices.ContainsFunc(problems, func(p record.Problem) bool { return p.Rule != trust.RuleSignerUnknown }) {
		e.State = record.Ambiguous
	}
	e.Problems = append(e.Problems, problems...)
	e.Detail = first(problems)
}

// document judges one kind of document: the newest claim by a trusted signer,
// else the newest by anybody, else the unsigned draft.
func (k *checker) document(kind record.EvidenceKind, draftFile string, what trust.What, claims []claim, check func(*record.Evidence, []byte, bundle.Statement) error) error {
	e := k.by[kind]
	draft, drafted := k.files.content[draftFile]
	var chosen *claim
	for i := range claims {
		c := &claims[i]
		switch {
		case chosen == nil, c.signer != nil && chosen.signer == nil, c.signer != nil && !c.at.Before(chosen.at), c.signer == nil && chosen.signer == nil:
			chosen = c
		}
	}
	for i := range claims {
		c := &claims[i]
		switch {
		case c == chosen:
		case c.signer != nil:
			k.out.Aside = append(k.out.Aside, record.Problem{Rule: RuleSuperseded, Subject: c.name(), Detail: fmt.Sprintf("a %s by %s; line %d is newer", what, c.signer.Name, chosen.Line)})
		default:
			for _, p := range c.problems {
				k.out.Aside = append(k.out.Aside, record.Problem{Rule: p.Rule, Subject: c.name(), Detail: p.Detail})
			}
		}
	}
	switch {
	case chosen != nil:
		e.Digest = chosen.digest
		k.judged(e, chosen.signer, chosen.at, chosen.problems)
		if err := check(e, chosen.Statement.Predicate, chosen.Statement); err != nil {
			return err
		}
		if drafted && !sameDraft(draft, chosen.Statement, kind) {
			worse(e, record.Ambiguous, record.Problem{Rule: RuleDraftDiffers, Subject: draftFile, Detail: "it says something else than the signed claim; sign it again, or remove it"})
		}
	case drafted:
		e.Digest, e.State = digest(draft), record.Valid
		st := bundle.Statement{}
		if kind == record.Provenance {
			var err error
			if st, err = provenance.ParseStatement(draft); err != nil {
				worse(e, record.Bad, record.Problem{Rule: ruleOf(err), Subject: draftFile, Detail: err.Error()})
				return nil
			}
		}
		if err := check(e, draft, st); err != nil {
			return err
		}
		worse(e, record.Ambiguous, record.Problem{Rule: RuleUnsigned, Subject: draftFile, Detail: "nobody signed it; sign it with `weighbridge sign`"})
	default:
		e.State, e.Detail = record.Absent, fmt.Sprintf("neither a signed claim nor a %s", draftFile)
		if p, bad := k.files.bad[draftFile]; bad {
			worse(e, record.Bad, p)
		}
		for _, p := range k.out.Aside {
			if p.Rule == RuleClaims || p.Rule == RuleNotRegular && p.Subject == manifest.ClaimsFile {
				worse(e, record.Bad, p)
			}
		}
	}
	return nil
}

// worse adds a problem and lowers the state where the problem's is lower.
func worse(e *record.Evidence, state record.EvidenceState, problems ...record.Problem) {
	e.Problems = append(e.Problems, problems...)
	if state == e.State || e.State == record.Bad || e.State == record.Ambiguous && state != record.Bad {
		return
	}
	e.State = state
	if len(problems) > 0 {
		e.Detail = first(problems)
	}
}

func (k *checker) bom(e *record.Evidence, src []byte) error {
	facts, problems, err := sbom.Check(src, k.out.Manifest)
	if err != nil {
		return err
	}
	if f := facts; f != nil {
		e.Licences, e.BaseModels, e.Gaps = f.Licences, f.BaseModels, f.Gaps
		e.Datasets, e.Checked, e.Unchecked = &f.Datasets, &f.Checked, &f.Unchecked
		if e.State == record.Valid {
			e.Detail = fmt.Sprintf("CycloneDX %s, signed by %s; %d digests compared, %d not at hand", f.Spec, e.Signer, f.Checked, f.Unchecked)
		}
	}
	if len(problems) > 0 {
		worse(e, sbom.State(problems), problems...)
	}
	return nil
}

func (k *checker) provenance(ctx context.Context, e *record.Evidence, st bundle.Statement) error {
	facts, links, problems, err := provenance.Check(ctx, st, k.out.Manifest, provenance.Options{Lookup: k.Lookup, Now: k.Now})
	if err != nil {
		return err
	}
	k.out.Lineage = links
	if facts != nil {
		f := facts.Evidence(problems)
		e.BaseModels, e.Datasets, e.Checked, e.Unchecked, e.Gaps, e.Builder = f.BaseModels, f.Datasets, f.Checked, f.Unchecked, f.Gaps, f.Builder
		if e.State == record.Valid {
			e.Detail = f.Detail
		}
	}
	if len(problems) > 0 {
		detail := e.Detail
		was := e.State
		worse(e, provenance.StateOf(problems), problems...)
		if was == record.Valid && e.State == record.Ambiguous {
			e.Detail = detail // counts all of them
		}
	}
	return nil
}

// sameDraft reports whether a draft says what the claim says, whatever the
// order of keys and the white space.
func sameDraft(draft []byte, st bundle.Statement, kind record.EvidenceKind) bool {
	predicate := draft
	if kind == record.Provenance {
		parsed, err := provenance.ParseStatement(draft)
		if err != nil {
			return false
		}
		predicate = parsed.Predicate
	}
	a, errA := canonical(predicate)
	b, errB := canonical(st.Predicate)
	return errA == nil && errB == nil && bytes.Equal(a, b)
}

func canonical(src []byte) ([]byte, error) {
	d := json.NewDecoder(bytes.NewReader(src))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, err
	}
	return json.Marshal(v)
}

// ruleOf is the code of an error about a document.
func ruleOf(err error) string {
	if r := bundle.Rule(err); r != "" {
		return r
	}
	return "document-format"
}
