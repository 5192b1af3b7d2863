package trust

import (
	"crypto/ecdsa"
	"crypto/x509"
	"errors"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/weighbridge/weighbridge/supply/bundle"
)

// ErrTrust is a trust file that cannot be used. The message has file and line.
var ErrTrust = errors.New("unusable trust file")

// What is a kind of statement that a signer may make.
type What string

// The kinds of statements.
const (
	Model      What = "model"
	Dataset    What = "dataset"
	SBOM       What = "sbom"
	Provenance What = "provenance"
	Verdict    What = "verdict"
)

var whats = []What{Model, Dataset, SBOM, Provenance, Verdict}

// Policy is a trust file that was read. It does not change.
type Policy struct {
	// Path is the file as it was named by the caller.
	Path string
	// Digest is sha256:… over the trust file and every file it names; the
	// comment of Parse defines it.
	Digest       string
	Signers      []*Signer
	Revocations  []Revocation
	Environments map[string]Environment
	Ledger       *Ledger             // nil where the file names none
	Timestamping []*x509.Certificate // of RFC 3161 authorities
}

// Signer is one entry of signers.
type Signer struct {
	Name         string
	Method       bundle.Kind
	May          []What
	Models       []string  // patterns; empty means every model
	Environments []string  // empty means every environment
	From, Until  time.Time // zero: no limit; Until is the first moment that is too late
	Person       string
	Verifier     string // verifier.id, for verdicts
	KeyID        string // as bundles hint it; empty but for keys
	Line         int    // in the trust file

	key     *ecdsa.PublicKey
	roots   *x509.CertPool
	subject string
	email   string
	dns     string
	uri     string

	identity     string
	identityExpr *regexp.Regexp // fits whole identities
	identityText string
	issuer       string
	trustedRoot  []byte
}

// Revocation takes trust away. Exactly one of Key, Signer and Model is set.
type Revocation struct {
	Key    string // 64 hex digits
	Signer string
	Model  string // 64 hex digits: a root or an identity
	From   time.Time
	Reason string
	Line   int
}

// Environment is what a place of deployment asks of verdicts.
type Environment struct {
	// MaxVerdictAge bounds the age of a verdict; 0 means no bound.
	MaxVerdictAge time.Duration
	// Policies are the digests (sha256:…) of gate policies that count there;
	// empty means every policy.
	Policies []string
}

// Ledger is the transparency log whose receipts count.
type Ledger struct {
	Origin        string
	PublicKey     string // note verifier string
	WitnessPolicy []byte // content of the C2SP tlog-policy file, nil where none is named
}

// Find gives the signer of that name.
func (p *Policy) Find(name string) (*Signer, bool) {
	i := slices.IndexFunc(p.Signers, func(s *Signer) bool { return s.Name == name })
	if i < 0 {
		return nil, false
	}
	return p.Signers[i], true
}

// Match says whether a model name fits a pattern; the package comment has the
// rules. A malformed pattern fits nothing.
func Match(pattern, name string) bool {
	return match(strings.Split(pattern, "/"), strings.Split(name, "/"))
}

func match(pattern, name []string) bool {
	// The table of which tails fit is filled from the back, so that many ** cost
	// a product and not a power.
	fits := make([]bool, len(name)+1)
	fits[len(name)] = true
	for i := len(pattern) - 1; i >= 0; i-- {
		next := make([]bool, len(name)+1)
		for j := len(name); j >= 0; j-- {
			if pattern[i] == "**" {
				next[j] = fits[j] || j < len(name) && next[j+1]
				continue
			}
			if j < len(name) && fits[j+1] {
				next[j], _ = path.Match(pattern[i], name[j])
			}
		}
		fits = next
	}
	return fits[0]
}

func badPattern(p string) bool {
	if p == "" {
		return true
	}
	for seg := range strings.SplitSeq(p, "/") {
		if _, err := path.Match(seg, ""); err != nil || seg == "" || seg != "**" && strings.Contains(seg, "**") {
			return true
		}
	}
	return false
}

var hex64 = regexp.MustCompile(`^[0-9a-f]{64}$`)
