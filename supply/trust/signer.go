package trust

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"

	"github.com/weighbridge/weighbridge/supply/bundle"
	"github.com/weighbridge/weighbridge/supply/signing/keyless"
)

func (l *loader) signer(w at[wireSigner]) (*Signer, error) {
	v := w.Value
	s := &Signer{Name: v.Name.Value, Person: v.Person, Verifier: v.Verifier.Value, Line: w.Line}
	bad := func(line int, format string, args ...any) (*Signer, error) {
		if line == 0 {
			line = w.Line
		}
		return nil, l.bad(line, "signer %q: %w", s.Name, fmt.Errorf(format, args...))
	}
	if !plain(s.Name) {
		return bad(v.Name.Line, "`name:` has to be 1 to 128 printable characters")
	}
	if v.Person != "" && !plain(v.Person) {
		return bad(0, "`person:` has to be 1 to 128 printable characters")
	}
	if len(v.May) == 0 {
		return bad(0, "`may:` is empty, so it may sign nothing; it lists some of %v", whats)
	}
	for _, m := range v.May {
		if !slices.Contains(whats, m.Value) {
			return bad(m.Line, "`may:` lists %q, which is none of %v", m.Value, whats)
		}
		s.May = append(s.May, m.Value)
	}
	for _, m := range v.Models {
		if badPattern(m.Value) {
			return bad(m.Line, "`models:` the pattern %q is malformed: segments between slashes are patterns as of Go's path.Match, or ** alone", m.Value)
		}
		s.Models = append(s.Models, m.Value)
	}
	for _, e := range v.Environments {
		if !plain(e.Value) {
			return bad(e.Line, "`environments:` %q is no name of an environment", e.Value)
		}
		s.Environments = append(s.Environments, e.Value)
	}
	if v.Models != nil && len(v.Models) == 0 || v.Environments != nil && len(v.Environments) == 0 {
		return bad(0, "an empty list of models or environments would let it sign for none; leave the field out to mean every one")
	}
	if t := v.Valid; t != nil {
		var err error
		if s.From, err = l.date(t.Value.From, false); err != nil {
			return nil, err
		}
		if s.Until, err = l.date(t.Value.Until, true); err != nil {
			return nil, err
		}
		if s.From.IsZero() && s.Until.IsZero() {
			return bad(t.Line, "`valid:` has neither `from:` nor `until:`")
		}
		if !s.Until.IsZero() && !s.From.Before(s.Until) {
			return bad(t.Line, "`valid:` ends before it begins")
		}
	}
	verdicts := slices.Contains(s.May, Verdict)
	if u, err := url.Parse(s.Verifier); verdicts && (err != nil || !u.IsAbs() || !plain(s.Verifier)) {
		return bad(v.Verifier.Line, "who may sign verdicts needs `verifier:`, the absolute URI that verdicts carry as verifier.id; it is %q", s.Verifier)
	}
	if !verdicts && s.Verifier != "" {
		return bad(v.Verifier.Line, "`verifier:` is for signers that may sign verdicts")
	}
	if err := l.method(s, v); err != nil {
		return nil, err
	}
	return s, nil
}

// method reads the one way in which the signer is known.
func (l *loader) method(s *Signer, v wireSigner) error {
	ways := 0
	for _, set := range []bool{v.Key != nil, v.Certificate != nil, v.Keyless != nil} {
		if set {
			ways++
		}
	}
	if ways != 1 {
		return l.bad(s.Line, "signer %q has %d of `key:`, `certificate:` and `keyless:`; exactly one says how it signs", s.Name, ways)
	}
	switch {
	case v.Key != nil:
		s.Method = bundle.Key
		src, err := l.read(*v.Key)
		if err != nil {
			return err
		}
		if s.key, err = bundle.ParsePublicKey(src); err == nil {
			s.KeyID, err = bundle.KeyID(s.key)
		}
		if err != nil {
			return l.bad(v.Key.Line, "`key: %s`: %w", v.Key.Value, err)
		}
		if other, dup := l.owner[s.KeyID]; dup {
			return l.bad(v.Key.Line, "`key: %s` is the key of signer %q too; a key has one owner", v.Key.Value, other)
		}
		l.owner[s.KeyID] = s.Name
	case v.Certificate != nil:
		s.Method = bundle.Certificate
		c := v.Certificate.Value
		s.subject, s.email, s.dns, s.uri = c.Subject, c.Email, c.DNS, c.URI
		if c.Subject+c.Email+c.DNS+c.URI == "" {
			return l.bad(v.Certificate.Line, "`certificate:` needs at least one of `subject:`, `email:`, `dns:` and `uri:`; roots alone let everyone in whom they certify")
		}
		var err error
		if s.roots, err = l.pool(v.Certificate.Line, "certificate: roots", c.Roots); err != nil {
			return err
		}
	default:
		s.Method = bundle.Keyless
		k := v.Keyless.Value
		s.identity, s.identityText, s.issuer = k.Identity, k.IdentityRegexp, k.Issuer
		switch {
		case (k.Identity == "") == (k.IdentityRegexp == ""):
			return l.bad(v.Keyless.Line, "`keyless:` needs either `identity:` or `identity_regexp:`")
		case k.Issuer == "":
			return l.bad(v.Keyless.Line, "`keyless:` needs `issuer:`; the same identity from another issuer is somebody else")
		}
		if x := k.IdentityRegexp; x != "" {
			var err error
			if s.identityExpr, err = regexp.Compile("^(?:" + x + ")$"); err != nil {
				return l.bad(v.Keyless.Line, "`identity_regexp:` %w", err)
			}
		}
		var err error
		if s.trustedRoot, err = l.read(k.TrustedRoot.or(v.Keyless.Line)); err != nil {
			return err
		}
		// No bundle at all is refused only after root and identity are good.
		if _, err := s.verifyKeyless(&bundle.Bundle{}); errors.Is(err, keyless.ErrTrust) {
			return l.bad(v.Keyless.Line, "`keyless:` %w", err)
		}
	}
	return nil
}

func (l *loader) pool(line int, field string, files []at[string]) (*x509.CertPool, error) {
	certs, err := l.certificates(line, field, files)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	for _, c := range certs {
		pool.AddCert(c)
	}
	return pool, nil
}

func (l *loader) certificates(line int, field string, files []at[string]) (out []*x509.Certificate, err error) {
	if len(files) == 0 {
		return nil, l.bad(line, "`%s:` names no PEM file", field)
	}
	for _, f := range files {
		src, err := l.read(f)
		if err != nil {
			return nil, err
		}
		n := 0
		for block, rest := pem.Decode(src); block != nil; block, rest = pem.Decode(rest) {
			if block.Type != "CERTIFICATE" {
				continue
			}
			c, err := x509.ParseCertificate(block.Bytes)
			if err != nil {
				return nil, l.bad(f.Line, "`%s:` %s: certificate %d: %w", field, f.Value, n+1, err)
			}
			out = append(out, c)
			n++
		}
		if n == 0 {
			return nil, l.bad(f.Line, "`%s:` %s holds no PEM certificate", field, f.Value)
		}
	}
	return out, nil
}
