package trust

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/weighbridge/weighbridge/supply/bundle"
	"github.com/weighbridge/weighbridge/supply/signing/keyless"
)

// Bounds of what is read. The YAML parser takes time that grows with the square
// of some inputs.
const (
	maxFile  = 256 << 10
	maxNamed = 4 << 20 // a file that the trust file names
)

// Load reads a trust file and the files it names, which lie relative to it.
// Errors wrap ErrTrust, but for those of the file system on path itself.
func Load(path string) (*Policy, error) {
	src, err := read(path, maxFile)
	if err != nil {
		return nil, fmt.Errorf("trust file: %w", err)
	}
	dir := filepath.Dir(path)
	return Parse(path, src, func(name string) ([]byte, error) {
		if !filepath.IsAbs(name) {
			name = filepath.Join(dir, filepath.FromSlash(name))
		}
		return read(name, maxNamed)
	})
}

func read(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	src, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(src)) > limit {
		err = fmt.Errorf("%s has more than %d bytes", path, limit)
	}
	return src, err
}

// Parse reads the text of a trust file; open gives the files it names. Errors
// wrap ErrTrust.
//
// The Digest is SHA-256 over lines "file HEX NAME\n", of the trust file (NAME
// "trust.yaml", quoted as by strconv.Quote) and of each named file as it is
// named, in the order of their names as bytes: a trust file whose keys changed
// is another one.
func Parse(name string, src []byte, open func(name string) ([]byte, error)) (*Policy, error) {
	l := &loader{file: name, open: open, named: map[string][]byte{}, owner: map[string]string{}}
	w, err := l.decode(src)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrTrust, err)
	}
	p := &Policy{Path: name, Environments: map[string]Environment{}}
	if err := l.build(p, w); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrTrust, err)
	}
	p.Digest = l.digest(src)
	return p, nil
}

type loader struct {
	file  string
	open  func(string) ([]byte, error)
	named map[string][]byte
	owner map[string]string // signer by key ID
}

func (l *loader) bad(line int, format string, args ...any) error {
	if line == 0 {
		return fmt.Errorf("%s: %w", l.file, fmt.Errorf(format, args...))
	}
	return fmt.Errorf("%s:%d: %w", l.file, line, fmt.Errorf(format, args...))
}

func (l *loader) read(v at[string]) ([]byte, error) {
	if v.Value == "" {
		return nil, l.bad(v.Line, "the name of a file is empty")
	}
	if src, ok := l.named[v.Value]; ok {
		return src, nil
	}
	src, err := l.open(v.Value)
	if err != nil {
		return nil, l.bad(v.Line, "%w", err)
	}
	l.named[v.Value] = src
	return src, nil
}

func (l *loader) digest(src []byte) string {
	type entry struct{ name, hex string }
	sum := func(b []byte) string { s := sha256.Sum256(b); return hex.EncodeToString(s[:]) }
	lines := []entry{{"trust.yaml", sum(src)}}
	for name, b := range l.named {
		lines = append(lines, entry{name, sum(b)})
	}
	slices.SortFunc(lines, func(a, b entry) int {
		return strings.Compare(a.name+"\x00"+a.hex, b.name+"\x00"+b.hex)
	})
	h := sha256.New()
	for _, e := range lines {
		fmt.Fprintf(h, "file %s %s\n", e.hex, strconv.Quote(e.name))
	}
	return "sha256:" + hex.EncodeToString(h.Sum(nil))
}

func (l *loader) build(p *Policy, w *wireFile) error {
	if w.Version.Value != 1 {
		return l.bad(w.Version.Line, "`version: %d` is not known; this weighbridge reads version 1", w.Version.Value)
	}
	for _, ws := range w.Signers {
		s, err := l.signer(ws)
		if err != nil {
			return err
		}
		if old, dup := p.Find(s.Name); dup {
			return l.bad(s.Line, "the signer %q is there already, on line %d", s.Name, old.Line)
		}
		p.Signers = append(p.Signers, s)
	}
	for _, wr := range w.Revocations {
		r, err := l.revocation(p, wr)
		if err != nil {
			return err
		}
		p.Revocations = append(p.Revocations, r)
	}
	for name, we := range w.Environments {
		e, err := l.environment(name, we)
		if err != nil {
			return err
		}
		p.Environments[name] = e
	}
	if w.Ledger != nil {
		var err error
		if p.Ledger, err = l.ledger(w.Ledger); err != nil {
			return err
		}
	}
	if t := w.Timestamping; t != nil {
		var err error
		if p.Timestamping, err = l.certificates(t.Line, "timestamping: roots", t.Value.Roots); err != nil {
			return err
		}
	}
	return nil
}

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

func (l *loader) revocation(p *Policy, w at[wireRevocation]) (Revocation, error) {
	v := w.Value
	r := Revocation{Key: v.Key.Value, Signer: v.Signer.Value, Model: strings.TrimPrefix(v.Model.Value, "sha256:"), Reason: v.Reason, Line: w.Line}
	none := func(line int, format string, args ...any) (Revocation, error) {
		if line == 0 {
			line = w.Line
		}
		return Revocation{}, l.bad(line, "revocation: %w", fmt.Errorf(format, args...))
	}
	set := 0
	for _, s := range []string{r.Key, r.Signer, r.Model} {
		if s != "" {
			set++
		}
	}
	switch {
	case set != 1:
		return none(0, "it names %d of `key:`, `signer:` and `model:`; exactly one is revoked", set)
	case r.Key != "" && !hex64.MatchString(r.Key):
		return none(v.Key.Line, "`key: %s` is no key ID; that is the 64 hex digits of sha256sum over the public key's PEM file", r.Key)
	case r.Model != "" && !hex64.MatchString(r.Model):
		return none(v.Model.Line, "`model: %s` is neither a root nor an identity, both 64 hex digits", r.Model)
	case r.Reason == "":
		return none(0, "`reason:` is missing")
	case v.From.Value == "":
		return none(0, "`from:` is missing: the date from which it counts")
	}
	if _, known := p.Find(r.Signer); r.Signer != "" && !known {
		return none(v.Signer.Line, "there is no signer %q; to revoke a signer that is gone, revoke its key", r.Signer)
	}
	var err error
	r.From, err = l.date(v.From, false)
	return r, err
}

func (l *loader) environment(name string, w at[wireEnvironment]) (Environment, error) {
	v := w.Value
	if !plain(name) {
		return Environment{}, l.bad(w.Line, "%q is no name of an environment", name)
	}
	e := Environment{}
	if v.MaxVerdictAge.Value != "" {
		d, err := time.ParseDuration(v.MaxVerdictAge.Value)
		if err != nil || d <= 0 {
			return e, l.bad(v.MaxVerdictAge.Line, "environment %s: `max_verdict_age: %s` is no positive duration such as 720h", name, v.MaxVerdictAge.Value)
		}
		e.MaxVerdictAge = d
	}
	for _, d := range v.Policies {
		if !hex64.MatchString(strings.TrimPrefix(d.Value, "sha256:")) || !strings.HasPrefix(d.Value, "sha256:") {
			return e, l.bad(d.Line, "environment %s: `policies:` %q is no digest (sha256: and 64 hex digits)", name, d.Value)
		}
		e.Policies = append(e.Policies, d.Value)
	}
	if v.Policies != nil && len(v.Policies) == 0 {
		return e, l.bad(w.Line, "environment %s: `policies: []` would allow none; leave the field out to mean every one", name)
	}
	return e, nil
}

func (l *loader) ledger(w *at[wireLedger]) (*Ledger, error) {
	v := w.Value
	if !plain(v.Origin) {
		return nil, l.bad(w.Line, "ledger: `origin:` is missing")
	}
	key, err := note.NewVerifier(v.PublicKey.Value)
	if err != nil {
		return nil, l.bad(v.PublicKey.or(w.Line).Line, "ledger: `public_key:` is no note verifier key (name+hash+key): %w", err)
	}
	if key.Name() != v.Origin {
		return nil, l.bad(v.PublicKey.Line, "ledger: `public_key:` is of %q, not of the origin %q", key.Name(), v.Origin)
	}
	out := &Ledger{Origin: v.Origin, PublicKey: v.PublicKey.Value}
	if v.WitnessPolicy.Value != "" {
		if out.WitnessPolicy, err = l.read(v.WitnessPolicy); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// date reads RFC 3339 or a date alone, which as an end means its last moment.
func (l *loader) date(v at[string], end bool) (time.Time, error) {
	if v.Value == "" {
		return time.Time{}, nil
	}
	if t, err := time.Parse(time.RFC3339, v.Value); err == nil {
		return t.UTC(), nil
	}
	t, err := time.Parse(time.DateOnly, v.Value)
	if err != nil {
		return t, l.bad(v.Line, "%q is neither a date such as 2026-05-01 nor a time as of RFC 3339", v.Value)
	}
	if end {
		t = t.AddDate(0, 0, 1)
	}
	return t, nil
}

// plain reports whether s can stand in a line of a report as it is.
func plain(s string) bool {
	return s != "" && len(s) <= 128 && !strings.ContainsFunc(s, func(r rune) bool { return r == 0xFFFD || !strconv.IsPrint(r) })
}
