package trust

import (
	"cmp"
	"crypto/ecdsa"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/weighbridge/weighbridge/record"
	"github.com/weighbridge/weighbridge/supply/bundle"
	"github.com/weighbridge/weighbridge/supply/signing/timestamp"
)

// The rules of problems that this package finds. A signature that names a signer
// of the trust file and does not hold has one of package bundle's.
const (
	RuleSignerUnknown     = "signer-unknown"       // nobody in the trust file made it
	RuleSignerScope       = "signer-scope"         // the signer may not make such statements
	RuleSignerModel       = "signer-model"         // nor for this model
	RuleSignerEnvironment = "signer-environment"   // nor for this environment
	RuleSignerEarly       = "signer-not-yet-valid" // judged before its validity
	RuleSignerExpired     = "signer-expired"       // judged after its validity
	RuleKeyRevoked        = "key-revoked"
	RuleSignerRevoked     = "signer-revoked"
	RuleModelRevoked      = "model-revoked"
)

// Ask is what a bundle is needed for.
type Ask struct {
	What        What
	Model       string // the name the caller knows the model by
	Environment string // empty where none is meant
	Now         time.Time
	// LedgerTime is when the ledger proves that the statement was there, nil
	// where nothing proves it.
	LedgerTime *time.Time
}

// Judge verifies the bundle's signature with each signer of its method and asks
// whether that signer may. It gives the first who holds and the time judged at;
// KeyID of the signer is that of the key that signed, for certificates too.
// Otherwise the signer is nil and the problems say why nobody holds, those of
// the signers whose signature it is before all others.
func (p *Policy) Judge(b *bundle.Bundle, ask Ask) (*Signer, time.Time, []record.Problem) {
	at := ask.Now
	if ask.LedgerTime != nil {
		at = *ask.LedgerTime
	}
	if len(p.Timestamping) > 0 && len(b.Timestamps) > 0 {
		if t, err := timestamp.Verify(b, p.Timestamping); err == nil {
			at = t
		}
	}
	var known, near []record.Problem // of signers who made it, of signers it names
	for _, s := range p.Signers {
		if s.Method != b.Kind {
			continue
		}
		who, when, err := s.verify(b, at)
		if errors.Is(err, errNotMine) {
			continue
		}
		if err != nil {
			near = append(near, record.Problem{Rule: cmp.Or(bundle.Rule(err), bundle.RuleInvalid), Subject: s.Name, Detail: err.Error()})
			continue
		}
		problems := append(who.allows(ask, when), p.Revoked(nil, who.KeyID, who.Name, when)...)
		if len(problems) == 0 {
			return who, when, nil
		}
		known = append(known, problems...)
	}
	switch {
	case len(known) > 0:
		return nil, at, known
	case len(near) > 0:
		return nil, at, near
	}
	id := keyOf(b)
	return nil, at, append(p.Revoked(nil, id, "", at), record.Problem{
		Rule: RuleSignerUnknown, Subject: id,
		Detail: fmt.Sprintf("no signer in %s made it; it is signed by %s. Add the signer to the trust file if it is to count", p.Path, described(b, id)),
	})
}

// keyOf names the key that the bundle says it was signed with, or "".
func keyOf(b *bundle.Bundle) string {
	if b.Kind == bundle.Key {
		return b.Hint
	}
	if len(b.Chain) == 0 {
		return ""
	}
	c, err := x509.ParseCertificate(b.Chain[0])
	if err != nil {
		return ""
	}
	key, ok := c.PublicKey.(*ecdsa.PublicKey)
	if !ok {
		return ""
	}
	id, err := bundle.KeyID(key)
	if err != nil {
		return ""
	}
	return id
}

func described(b *bundle.Bundle, id string) string {
	switch {
	case id == "":
		return "a " + string(b.Kind) + " it does not name"
	case b.Kind == bundle.Key:
		return "key " + id
	}
	return fmt.Sprintf("a certificate (%s) with key %s", b.Kind, id)
}

// errNotMine is a bundle that another one signed.
var errNotMine = errors.New("signed by somebody else")

// verify checks the signature itself. The error is errNotMine where the bundle
// does not even name this signer.
func (s *Signer) verify(b *bundle.Bundle, at time.Time) (*Signer, time.Time, error) {
	switch s.Method {
	case bundle.Key:
		if err := b.VerifyKey(s.key); err != nil {
			if b.Hint != s.KeyID { // without a hint it may be anyone's
				err = errNotMine
			}
			return nil, at, err
		}
		return s, at, nil
	case bundle.Certificate:
		leaf, err := b.VerifyCertificate(s.roots, at)
		if err != nil {
			return nil, at, s.near(b, err)
		}
		if err := s.is(leaf); err != nil {
			return nil, at, errNotMine
		}
		return s.with(b), at, nil
	case bundle.Keyless:
		when, err := s.verifyKeyless(b)
		if err != nil {
			return nil, at, s.near(b, err)
		}
		return s.with(b), when, nil
	}
	return nil, at, errNotMine
}

// near tells a certificate that says it is this signer's and does not hold from
// one of somebody else.
func (s *Signer) near(b *bundle.Bundle, err error) error {
	if len(b.Chain) == 0 {
		return err
	}
	leaf, parse := x509.ParseCertificate(b.Chain[0])
	if parse != nil {
		return err
	}
	if s.Method == bundle.Certificate && s.is(leaf) != nil || s.Method == bundle.Keyless && !s.claimed(leaf) {
		return errNotMine
	}
	return err
}

// claimed reports whether a keyless certificate says it is this identity's.
func (s *Signer) claimed(leaf *x509.Certificate) bool {
	names := slices.Concat(leaf.EmailAddresses, leaf.DNSNames)
	for _, u := range leaf.URIs {
		names = append(names, u.String())
	}
	return slices.ContainsFunc(names, func(n string) bool {
		if s.identityExpr != nil {
			return s.identityExpr.MatchString(n)
		}
		return n == s.identity
	})
}

// with is the signer as it signed this bundle.
func (s *Signer) with(b *bundle.Bundle) *Signer {
	c := *s
	c.KeyID = keyOf(b)
	return &c
}

// is compares a leaf with the constraints; every one that is set has to hold.
func (s *Signer) is(leaf *x509.Certificate) error {
	if s.subject != "" && leaf.Subject.String() != s.subject {
		return fmt.Errorf("its subject is %s, wanted %s", leaf.Subject, s.subject)
	}
	if s.email != "" && !slices.Contains(leaf.EmailAddresses, s.email) {
		return fmt.Errorf("its e-mail addresses are %q, wanted %s", leaf.EmailAddresses, s.email)
	}
	if s.dns != "" && !slices.Contains(leaf.DNSNames, s.dns) {
		return fmt.Errorf("its DNS names are %q, wanted %s", leaf.DNSNames, s.dns)
	}
	if s.uri != "" && !slices.ContainsFunc(leaf.URIs, func(u *url.URL) bool { return u.String() == s.uri }) {
		return fmt.Errorf("its URIs are %v, wanted %s", leaf.URIs, s.uri)
	}
	return nil
}

// allows says what stands between this signer and the ask at that time.
func (s *Signer) allows(ask Ask, at time.Time) (out []record.Problem) {
	problem := func(rule, format string, args ...any) {
		out = append(out, record.Problem{Rule: rule, Subject: s.Name, Detail: fmt.Sprintf(format, args...)})
	}
	if !slices.Contains(s.May, ask.What) {
		problem(RuleSignerScope, "it may sign %v, not %s", s.May, ask.What)
	}
	if len(s.Models) > 0 && !slices.ContainsFunc(s.Models, func(p string) bool { return ask.Model != "" && Match(p, ask.Model) }) {
		problem(RuleSignerModel, "it may sign for models %s, not for %s", strings.Join(s.Models, ", "), orNone(ask.Model))
	}
	if len(s.Environments) > 0 && !slices.Contains(s.Environments, ask.Environment) {
		problem(RuleSignerEnvironment, "it may sign for environments %s, not for %s", strings.Join(s.Environments, ", "), orNone(ask.Environment))
	}
	if !s.From.IsZero() && at.Before(s.From) {
		problem(RuleSignerEarly, "judged at %s, before its validity begins at %s", stamp(at), stamp(s.From))
	}
	if !s.Until.IsZero() && !at.Before(s.Until) {
		problem(RuleSignerExpired, "judged at %s, and its validity ended at %s", stamp(at), stamp(s.Until))
	}
	return out
}

func orNone(name string) string {
	if name == "" {
		return "one that is not named"
	}
	return name
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// Revoked gives the revocations that count at that time against a model under
// any of its names (roots in either order, identity; with or without sha256:),
// a key and a signer. Empty arguments are not looked up. For a model, at is the
// moment of asking; for a key or signer, the time its signature is judged at.
func (p *Policy) Revoked(roots []string, keyID, signer string, at time.Time) (out []record.Problem) {
	for _, r := range p.Revocations {
		if at.Before(r.From) {
			continue
		}
		found := func(rule, subject string) {
			out = append(out, record.Problem{Rule: rule, Subject: subject, Detail: fmt.Sprintf("revoked from %s on: %s", stamp(r.From), r.Reason)})
		}
		switch {
		case r.Key != "" && r.Key == keyID:
			found(RuleKeyRevoked, keyID)
		case r.Signer != "" && r.Signer == signer:
			found(RuleSignerRevoked, signer)
		case r.Model != "" && slices.ContainsFunc(roots, func(root string) bool { return strings.TrimPrefix(root, "sha256:") == r.Model }):
			found(RuleModelRevoked, r.Model)
		}
	}
	return out
}
