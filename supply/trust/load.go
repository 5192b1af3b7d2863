package trust

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"
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
