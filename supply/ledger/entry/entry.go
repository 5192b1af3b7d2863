package entry

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/gowebpki/jcs"
)

// PredicateType names the format of entries, version 1.
const PredicateType = "https://weighbridge.dev/ledger/entry/v1"

// Version is the only version so far.
const Version = 1

// The bounds of an entry.
const (
	MaxBytes    = 65535 // C2SP tlog-tiles: entries have a 16-bit length
	MaxReason   = 512   // bytes
	MaxEvidence = 256   // digests
)

// ErrEntry says that an entry breaks a rule of this package.
var ErrEntry = errors.New("not a ledger entry")

// Digest is "sha256:" and 64 lower-case hex digits.
type Digest string

// SHA256 makes a Digest of hex digits with or without the prefix, such as a
// manifest's root. Validate finds what is not one.
func SHA256(hexDigits string) Digest {
	return Digest("sha256:" + strings.TrimPrefix(hexDigits, "sha256:"))
}

// None is the state of what does not exist yet: an alias never set, a policy
// without a forerunner.
const None = "none"

// Evidence is one document that an entry speaks about: its digest, never its
// content.
type Evidence struct {
	// Kind names what the document is: report, policy, vsa, sbom, base-model …
	Kind   string `json:"kind"`
	Digest Digest `json:"digest"`
}

// Entry is one event at the gate. Empty fields are not written. Rules says
// which type needs which.
type Entry struct {
	PredicateType string `json:"predicateType"`
	Version       int    `json:"version"`
	Type          Type   `json:"type"`
	// Time is when the event happened by its author's clock: RFC 3339, UTC,
	// whole seconds. It is recorded, never relied on for order: the index is.
	Time string `json:"time"`
	// Actor is who did it: a login, an e-mail address, a key's fingerprint, a
	// workload's URI.
	Actor string `json:"actor"`
	// Model is the OMS root of the weights, Identity their weighbridge identity.
	Model    Digest `json:"model,omitempty"`
	Identity Digest `json:"identity,omitempty"`
	// Name is the model's name in the trust policy.
	Name string `json:"name,omitempty"`
	// OCI is the digest of the manifest in a registry, where there is one.
	OCI         Digest     `json:"oci,omitempty"`
	Environment string     `json:"environment,omitempty"`
	Evidence    []Evidence `json:"evidence,omitempty"` // sorted by kind, then digest
	Policy      Digest     `json:"policy,omitempty"`
	Decision    string     `json:"decision,omitempty"` // one of the type's decisions
	Alias       string     `json:"alias,omitempty"`    // baseline, canary, champion, hotfix-1 …
	Previous    string     `json:"previous,omitempty"` // digest, or None
	New         string     `json:"new,omitempty"`      // digest, or None
	// Target is the key ID or identity that a revocation is about.
	Target string `json:"target,omitempty"`
	// Since is the time from which a revocation counts, RFC 3339.
	Since string `json:"since,omitempty"`
	// Reason is free text of a person, or rule codes (see Codes) of a program.
	Reason string `json:"reason,omitempty"`
	// Expires and Nonce bind an approval to a time and to one use.
	Expires string `json:"expires,omitempty"`
	Nonce   string `json:"nonce,omitempty"` // 32 hex digits
	// Signature is the SSHSIG blob over Unsigned's bytes, in base64.
	Signature string `json:"signature,omitempty"`
}

// New begins an entry: format, type, time and actor. Order of digests in
// Evidence does not matter: Canonical sorts them.
func New(t Type, at time.Time, actor string) Entry {
	return Entry{PredicateType: PredicateType, Version: Version, Type: t, Time: Stamp(at), Actor: actor}
}

// Stamp writes a time as entries do.
func Stamp(t time.Time) string { return t.UTC().Truncate(time.Second).Format(time.RFC3339) }

// Codes joins rule codes into the Reason of an entry that a program writes:
// sorted, without duplicates, cut to what fits in MaxReason.
func Codes(codes ...string) string {
	codes = slices.Compact(slices.Sorted(slices.Values(codes)))
	const more = "; more"
	var b strings.Builder
	for i, c := range codes {
		if i > 0 {
			c = "; " + c
		}
		if b.Len()+len(c)+len(more) > MaxReason {
			b.WriteString(more)
			break
		}
		b.WriteString(c)
	}
	return b.String()
}

// Draft gives the bytes that an approver signs: e's canonical form without a
// signature. Every rule is checked but that one is needed.
func (e Entry) Draft() ([]byte, error) {
	e.Signature = "draft" // stands in for a signature where the type needs one
	if rule, ok := RuleOf(e.Type); ok && !slices.Contains(slices.Concat(rule.Required, rule.Optional), "signature") {
		return nil, bad("type", "an entry of type %s is not signed", e.Type)
	}
	e.Evidence = slices.SortedFunc(slices.Values(e.Evidence), compareEvidence)
	if err := e.validate(); err != nil {
		return nil, err
	}
	e.Signature = ""
	return e.encode()
}

// ParseDraft reads the bytes of Draft.
func ParseDraft(raw []byte) (Entry, error) { return parse(raw, true) }

// Canonical checks e and gives its bytes.
func (e Entry) Canonical() ([]byte, error) {
	e.Evidence = slices.SortedFunc(slices.Values(e.Evidence), compareEvidence)
	if err := e.validate(); err != nil {
		return nil, err
	}
	return e.encode()
}

func compareEvidence(a, b Evidence) int {
	return strings.Compare(a.Kind+"\n"+string(a.Digest), b.Kind+"\n"+string(b.Digest))
}

func (e Entry) encode() ([]byte, error) {
	raw, err := json.Marshal(e)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrEntry, err)
	}
	if raw, err = jcs.Transform(raw); err != nil {
		return nil, fmt.Errorf("%w: canonical JSON: %w", ErrEntry, err)
	}
	if len(raw) > MaxBytes {
		return nil, fmt.Errorf("%w: %d bytes, and an entry has at most %d: put the documents in the store and log their digests", ErrEntry, len(raw), MaxBytes)
	}
	return raw, nil
}

// Parse reads an entry in its canonical form, and nothing else: unknown and
// repeated members, other spellings and spaces are errors.
func Parse(raw []byte) (Entry, error) { return parse(raw, false) }

func parse(raw []byte, draft bool) (Entry, error) {
	var e Entry
	if len(raw) > MaxBytes {
		return e, fmt.Errorf("%w: %d bytes, and an entry has at most %d", ErrEntry, len(raw), MaxBytes)
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(&e); err != nil {
		return Entry{}, fmt.Errorf("%w: offset %d: %w", ErrEntry, d.InputOffset(), err)
	}
	if _, err := d.Token(); err != io.EOF {
		return Entry{}, fmt.Errorf("%w: offset %d: something follows the object", ErrEntry, d.InputOffset())
	}
	again, err := e.again(draft)
	if err != nil {
		return Entry{}, err
	}
	if !bytes.Equal(raw, again) {
		at := 0
		for at < len(raw) && at < len(again) && raw[at] == again[at] {
			at++
		}
		return Entry{}, fmt.Errorf("%w: offset %d: not canonical JSON (RFC 8785): a member is repeated, empty, out of order or spelt differently", ErrEntry, at)
	}
	return e, nil
}

// again writes what was read, in the order in which it was read.
func (e Entry) again(draft bool) ([]byte, error) {
	if draft {
		if e.Signature != "" {
			return nil, bad("signature", "a draft has none")
		}
		return e.Draft()
	}
	if err := e.validate(); err != nil {
		return nil, err
	}
	return e.encode()
}

// NonceOf makes a nonce of 16 random bytes.
func NonceOf(random [16]byte) string { return hex.EncodeToString(random[:]) }
