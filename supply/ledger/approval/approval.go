// Package approval checks who signed an entry: SSHSIG signatures (`ssh-keygen
// -Y sign -n weighbridge-approval@weighbridge.dev`) against an allowed_signers
// file, as ssh-keygen(1), "ALLOWED SIGNERS", describes it.
//
// In: an entry with its signature, the file's bytes and the time to judge at.
// Out: nothing when the entry's actor may sign and did, else an error that says
// what does not hold.
//
// It will not accept certificates (cert-authority lines are refused by name),
// count approvers, or decide who has to approve: that is the release policy's.
package approval

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hiddeco/sshsig"
	"golang.org/x/crypto/ssh"

	"github.com/weighbridge/weighbridge/supply/ledger/entry"
)

// Namespace keeps these signatures apart from those for git, mail and others.
const Namespace = "weighbridge-approval@weighbridge.dev"

// ErrSigners is an allowed_signers file that cannot be used.
var ErrSigners = errors.New("unusable allowed_signers file")

// ErrSignature is a signature that does not speak for the entry's actor.
var ErrSignature = errors.New("approval not accepted")

const maxSigners = 1 << 20 // bytes of an allowed_signers file

// Signers is an allowed_signers file.
type Signers struct{ lines []line }

type line struct {
	number        int
	principals    []string // patterns; a leading ! excludes
	namespaces    []string // patterns; nil allows all
	after, before time.Time
	key           ssh.PublicKey
}

// Parse reads an allowed_signers file. Times without a zone are UTC here
// (ssh-keygen takes the machine's zone, which an audit elsewhere cannot know).
func Parse(src []byte) (*Signers, error) {
	if len(src) > maxSigners {
		return nil, fmt.Errorf("%w: %d bytes, at most %d", ErrSigners, len(src), maxSigners)
	}
	s := &Signers{}
	for i, text := range strings.Split(string(src), "\n") {
		text = strings.TrimSpace(text)
		if text == "" || text[0] == '#' {
			continue
		}
		l, err := parseLine(text)
		if err != nil {
			return nil, fmt.Errorf("%w: line %d: %w", ErrSigners, i+1, err)
		}
		l.number = i + 1
		s.lines = append(s.lines, l)
	}
	if len(s.lines) == 0 {
		return nil, fmt.Errorf("%w: it names nobody", ErrSigners)
	}
	return s, nil
}

func parseLine(text string) (line, error) {
	var l line
	who, rest, ok := cutField(text)
	if !ok {
		return l, errors.New("want: principals [options] keytype base64-key [comment]")
	}
	l.principals = strings.Split(strings.Trim(who, `"`), ",")
	for _, p := range l.principals {
		if strings.Trim(p, "!") == "" {
			return l, errors.New("an empty principal")
		}
	}
	key, _, options, more, err := ssh.ParseAuthorizedKey([]byte(rest))
	if err != nil {
		return l, fmt.Errorf("public key: %w", err)
	}
	if len(bytes.TrimSpace(more)) > 0 {
		return l, errors.New("a second key on the line")
	}
	l.key = key
	for _, o := range options {
		if err := l.option(o); err != nil {
			return l, err
		}
	}
	if _, ok := key.(*ssh.Certificate); ok {
		return l, errors.New("a certificate: give the key itself")
	}
	if !l.after.IsZero() && !l.before.IsZero() && !l.after.Before(l.before) {
		return l, errors.New("valid-after is not before valid-before")
	}
	return l, nil
}

func (l *line) option(o string) (err error) {
	name, value, _ := strings.Cut(o, "=")
	value = strings.Trim(value, `"`)
	switch strings.ToLower(name) {
	case "namespaces":
		l.namespaces = strings.Split(value, ",")
	case "valid-after":
		l.after, err = parseTime(value)
	case "valid-before":
		l.before, err = parseTime(value)
	case "cert-authority":
		return errors.New("cert-authority is not supported: list the keys themselves")
	default:
		return fmt.Errorf("unknown option %.40q", name)
	}
	return err
}

// parseTime reads YYYYMMDD[HHMM[SS]] with an optional Z.
func parseTime(s string) (time.Time, error) {
	for _, layout := range []string{"20060102", "200601021504", "20060102150405"} {
		if t, err := time.Parse(layout, strings.TrimSuffix(s, "Z")); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("time %.40q: want YYYYMMDD, YYYYMMDDHHMM or YYYYMMDDHHMMSS, optionally with Z", s)
}

// cutField cuts the first field, which may be quoted.
func cutField(s string) (field, rest string, ok bool) {
	if strings.HasPrefix(s, `"`) {
		end := strings.IndexByte(s[1:], '"')
		if end < 0 {
			return "", "", false
		}
		return s[:end+2], strings.TrimSpace(s[end+2:]), true
	}
	i := strings.IndexAny(s, " \t")
	if i < 0 {
		return "", "", false
	}
	return s[:i], strings.TrimSpace(s[i:]), true
}

// matches holds a name against a pattern list as ssh does: one must match and
// none of those with a leading ! may.
func matches(patterns []string, name string) bool {
	yes := false
	for _, p := range patterns {
		p, not := strings.CutPrefix(p, "!")
		switch hit := glob(p, name); {
		case hit && not:
			return false
		case hit:
			yes = true
		}
	}
	return yes
}

// glob matches the whole of s: * is any run of bytes, ? is one byte. Unlike
// path.Match, * crosses slashes. It takes time in len(p)·len(s).
func glob(p, s string) bool {
	star, mark, i, j := -1, 0, 0, 0
	for j < len(s) {
		switch {
		case i < len(p) && p[i] == '*':
			star, mark, i = i, j, i+1
		case i < len(p) && (p[i] == '?' || p[i] == s[j]):
			i, j = i+1, j+1
		case star >= 0:
			mark++
			i, j = star+1, mark
		default:
			return false
		}
	}
	return strings.Trim(p[i:], "*") == ""
}

// Attach puts the SSHSIG block that ssh-keygen wrote into an entry.
func Attach(e entry.Entry, armored []byte) (entry.Entry, error) {
	sig, err := sshsig.Unarmor(armored)
	if err != nil {
		return e, fmt.Errorf("%w: the signature file: %w", ErrSignature, err)
	}
	e.Signature = base64.StdEncoding.EncodeToString(sig.Marshal())
	return e, nil
}

// Check verifies e's signature: over its canonical bytes without the signature,
// in our namespace, by a key that the file allows to e.Actor at that time.
func (s *Signers) Check(e entry.Entry, at time.Time) error {
	raw, err := base64.StdEncoding.Strict().DecodeString(e.Signature)
	if err != nil || len(raw) == 0 {
		return fmt.Errorf("%w: the entry carries no signature", ErrSignature)
	}
	sig, err := sshsig.ParseSignature(raw)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrSignature, err)
	}
	signed, err := e.Draft()
	if err != nil {
		return err
	}
	if sig.Namespace != Namespace {
		return fmt.Errorf("%w: it was made for namespace %.80q, not %q (ssh-keygen -Y sign -n %s)", ErrSignature, sig.Namespace, Namespace, Namespace)
	}
	if err := sshsig.Verify(bytes.NewReader(signed), sig, sig.PublicKey, sig.HashAlgorithm, Namespace); err != nil {
		return fmt.Errorf("%w: not a signature over this entry: %w", ErrSignature, err)
	}
	return s.allowed(e.Actor, sig.PublicKey, at)
}

func (s *Signers) allowed(actor string, key ssh.PublicKey, at time.Time) error {
	id := ssh.FingerprintSHA256(key)
	same := func(l line) bool { return bytes.Equal(l.key.Marshal(), key.Marshal()) }
	if !slices.ContainsFunc(s.lines, same) {
		return fmt.Errorf("%w: nobody may sign with key %s", ErrSignature, id)
	}
	var why []string
	for _, l := range s.lines {
		switch {
		case !same(l):
		case !matches(l.principals, actor):
			why = append(why, fmt.Sprintf("line %d is not for %s", l.number, actor))
		case l.namespaces != nil && !matches(l.namespaces, Namespace):
			why = append(why, fmt.Sprintf("line %d does not allow namespace %s", l.number, Namespace))
		case !l.after.IsZero() && at.Before(l.after):
			why = append(why, fmt.Sprintf("line %d is valid after %s", l.number, l.after.Format(time.RFC3339)))
		case !l.before.IsZero() && !at.Before(l.before):
			why = append(why, fmt.Sprintf("line %d was valid before %s", l.number, l.before.Format(time.RFC3339)))
		default:
			return nil
		}
	}
	return fmt.Errorf("%w: key %s at %s: %s", ErrSignature, id, at.UTC().Format(time.RFC3339), strings.Join(why, "; "))
}
