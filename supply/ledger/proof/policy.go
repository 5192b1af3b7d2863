package proof

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// The ways in which verification fails. Each error of this package is one.
var (
	// ErrPolicy is a trust policy or verifier key that cannot be used.
	ErrPolicy = errors.New("unusable ledger policy")
	// ErrFormat is a receipt, checkpoint or proof that cannot be read.
	ErrFormat = errors.New("malformed ledger document")
	// ErrSignature is a checkpoint that no trusted log has signed.
	ErrSignature = errors.New("checkpoint not signed by a trusted ledger")
	// ErrQuorum is a signed checkpoint that too few witnesses have seen.
	ErrQuorum = errors.New("checkpoint not cosigned by enough witnesses")
	// ErrProof is a hash path that does not lead to the checkpoint's root.
	ErrProof = errors.New("ledger proof does not hold")
)

// maxPolicy bounds a policy file, in bytes; maxParts its logs, witnesses and
// groups, each.
const (
	maxPolicy = 1 << 20
	maxParts  = 1024
)

// Policy says which logs are trusted and which witnesses have to cosign.
type Policy struct {
	logs      []*verifier
	witnesses []string    // names in the policy
	keys      []*verifier // of witnesses, in their order
	quorum    func(map[string]bool) bool
	rule      string // the quorum's name
}

// ForKey is the policy that trusts one log and asks for no witness.
func ForKey(vkey string) (*Policy, error) {
	v, err := LogKeys.parse(strings.TrimSpace(vkey))
	if err != nil {
		return nil, err
	}
	return &Policy{logs: []*verifier{v}, quorum: func(map[string]bool) bool { return true }, rule: "none"}, nil
}

// ParsePolicy reads a policy file (https://c2sp.org/tlog-policy).
func ParsePolicy(src []byte) (*Policy, error) { return ParsePolicyWith(src, LogKeys, WitnessKeys) }

// ParsePolicyWith is ParsePolicy for other key types.
func ParsePolicyWith(src []byte, logKeys, witnessKeys KeyTypes) (*Policy, error) {
	if len(src) > maxPolicy {
		return nil, fmt.Errorf("%w: %d bytes, at most %d", ErrPolicy, len(src), maxPolicy)
	}
	b := policyBuilder{types: [2]KeyTypes{logKeys, witnessKeys}, rules: map[string]func(map[string]bool) bool{}, used: map[string]bool{}}
	for i, line := range strings.Split(string(src), "\n") {
		fields := strings.FieldsFunc(line, func(r rune) bool { return r == ' ' || r == '\t' })
		if len(fields) == 0 || strings.HasPrefix(fields[0], "#") {
			continue
		}
		if j := strings.IndexFunc(line, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }); j >= 0 {
			return nil, fmt.Errorf("%w: line %d: control character at byte %d", ErrPolicy, i+1, j)
		}
		if err := b.line(fields); err != nil {
			return nil, fmt.Errorf("%w: line %d: %w", ErrPolicy, i+1, err)
		}
	}
	if b.p.quorum == nil {
		return nil, fmt.Errorf("%w: no quorum line; write \"quorum none\" if no witness is asked for", ErrPolicy)
	}
	return &b.p, nil
}

type policyBuilder struct {
	p     Policy
	types [2]KeyTypes // logs, witnesses
	rules map[string]func(map[string]bool) bool
	used  map[string]bool // names that are members of a group already
}

func (b *policyBuilder) line(f []string) error {
	switch f[0] {
	case "log":
		return b.log(f)
	case "witness":
		return b.witness(f)
	case "group":
		return b.group(f)
	case "quorum":
		return b.quorum(f)
	}
	return fmt.Errorf("unknown keyword %.40q", f[0])
}

func (b *policyBuilder) log(f []string) error {
	if len(f) != 2 && len(f) != 3 {
		return errors.New("want: log <vkey> [<url>]")
	}
	v, err := b.types[0].parse(f[1])
	if err != nil {
		return err
	}
	if twice(b.p.logs, v) {
		return fmt.Errorf("the key of log %s is there twice", v.name)
	}
	if len(b.p.logs) == maxParts {
		return fmt.Errorf("more than %d logs", maxParts)
	}
	b.p.logs = append(b.p.logs, v)
	return nil
}

func twice(vs []*verifier, v *verifier) bool {
	return slices.ContainsFunc(vs, func(o *verifier) bool { return o.key == v.key })
}

func (b *policyBuilder) define(name string, rule func(map[string]bool) bool) error {
	if name == "none" || b.rules[name] != nil {
		return fmt.Errorf("the name %.80q is taken", name)
	}
	if len(b.rules) == 2*maxParts {
		return fmt.Errorf("more than %d witnesses and groups", 2*maxParts)
	}
	b.rules[name] = rule
	return nil
}

func (b *policyBuilder) witness(f []string) error {
	if len(f) != 3 && len(f) != 4 {
		return errors.New("want: witness <name> <vkey> [<url>]")
	}
	v, err := b.types[1].parse(f[2])
	if err != nil {
		return err
	}
	if twice(b.p.keys, v) {
		return fmt.Errorf("the key of witness %s is there twice", f[1])
	}
	b.p.witnesses = append(b.p.witnesses, f[1])
	b.p.keys = append(b.p.keys, v)
	return b.define(f[1], func(seen map[string]bool) bool { return seen[f[1]] })
}

func (b *policyBuilder) group(f []string) error {
	if len(f) < 4 {
		return errors.New("want: group <name> <k>|any|all <name>…")
	}
	members := f[3:]
	k, err := strconv.Atoi(f[2])
	switch {
	case f[2] == "any":
		k = 1
	case f[2] == "all":
		k = len(members)
	case err != nil || k < 1 || k > len(members) || strconv.Itoa(k) != f[2]:
		return fmt.Errorf("threshold %.20q of group %.80q: want any, all or 1 to %d", f[2], f[1], len(members))
	}
	var rules []func(map[string]bool) bool
	for _, m := range members {
		r := b.rules[m]
		if r == nil {
			return fmt.Errorf("group %.80q: no witness or group %.80q above this line", f[1], m)
		}
		if b.used[m] {
			return fmt.Errorf("group %.80q: %.80q is a member already, and counts once", f[1], m)
		}
		b.used[m] = true
		rules = append(rules, r)
	}
	return b.define(f[1], func(seen map[string]bool) bool {
		n := 0
		for _, r := range rules {
			if r(seen) {
				n++
			}
		}
		return n >= k
	})
}

func (b *policyBuilder) quorum(f []string) error {
	if len(f) != 2 {
		return errors.New("want: quorum <name>|none")
	}
	if b.p.quorum != nil {
		return errors.New("a second quorum line")
	}
	b.p.rule = f[1]
	if f[1] == "none" {
		b.p.quorum = func(map[string]bool) bool { return true }
		return nil
	}
	if b.p.quorum = b.rules[f[1]]; b.p.quorum == nil {
		return fmt.Errorf("no witness or group %.80q above this line", f[1])
	}
	return nil
}

// Logs lists the origins of the policy's logs.
func (p *Policy) Logs() []string {
	out := make([]string, len(p.logs))
	for i, l := range p.logs {
		out[i] = l.name
	}
	return out
}

// WithLog is p with a further trusted log: for a policy file without log lines.
func (p *Policy) WithLog(vkey string) (*Policy, error) {
	v, err := LogKeys.parse(strings.TrimSpace(vkey))
	if err != nil {
		return nil, err
	}
	q := *p
	if !twice(q.logs, v) {
		q.logs = append(slices.Clone(q.logs), v)
	}
	return &q, nil
}

// Verifier makes a Policy a note.Verifiers.
func (p *Policy) Verifier(name string, hash uint32) (note.Verifier, error) {
	for _, v := range slices.Concat(p.logs, p.keys) {
		if v.name == name && v.hash == hash {
			return v, nil
		}
	}
	return nil, &note.UnknownVerifierError{Name: name, KeyHash: hash}
}

// Checkpoint is a state of the ledger that somebody has signed.
type Checkpoint struct {
	Origin string
	tlog.Tree
	Cosigned []string // names of the policy's witnesses that cosigned it
	Raw      []byte
}

// maxCheckpoint bounds a checkpoint with its signatures, in bytes.
const maxCheckpoint = 1 << 20

// ParseCheckpoint reads a checkpoint without trusting it.
func ParseCheckpoint(raw []byte) (*Checkpoint, error) {
	text, _, ok := bytes.Cut(raw, []byte("\n\n"))
	if !ok || len(raw) > maxCheckpoint {
		return nil, fmt.Errorf("%w: a checkpoint has text, an empty line and signatures, at most %d bytes", ErrFormat, maxCheckpoint)
	}
	return parseText(string(text)+"\n", raw)
}

func parseText(text string, raw []byte) (*Checkpoint, error) {
	f := strings.Split(text, "\n")
	if len(f) < 4 || f[0] == "" {
		return nil, fmt.Errorf("%w: a checkpoint has at least three lines: origin, size, root", ErrFormat)
	}
	n, err := strconv.ParseInt(f[1], 10, 64)
	if err != nil || n < 0 || strconv.FormatInt(n, 10) != f[1] {
		return nil, fmt.Errorf("%w: checkpoint, line 2: size %.40q", ErrFormat, f[1])
	}
	h, err := tlog.ParseHash(f[2])
	if err != nil || h.String() != f[2] {
		return nil, fmt.Errorf("%w: checkpoint, line 3: root %.80q", ErrFormat, f[2])
	}
	return &Checkpoint{Origin: f[0], Tree: tlog.Tree{N: n, Hash: h}, Raw: raw}, nil
}

// Open reads a checkpoint that the policy trusts: signed by a log whose name
// is the origin, and cosigned by the quorum.
func (p *Policy) Open(raw []byte) (*Checkpoint, error) {
	c, err := ParseCheckpoint(raw)
	if err != nil {
		return nil, err
	}
	n, err := note.Open(raw, p)
	var none *note.UnverifiedNoteError
	var wrong *note.InvalidSignatureError
	switch {
	case errors.As(err, &none):
		return nil, fmt.Errorf("%w: %.200s; trusted: %s", ErrSignature, c.Origin, strings.Join(p.Logs(), ", "))
	case errors.As(err, &wrong):
		return nil, fmt.Errorf("%w: the signature of %.200s (%08x) is not over these bytes", ErrSignature, wrong.Name, wrong.Hash)
	case err != nil:
		return nil, fmt.Errorf("%w: checkpoint of %.200s: %w", ErrFormat, c.Origin, err)
	}
	if c, err = parseText(n.Text, raw); err != nil {
		return nil, err
	}
	signed, seen := false, map[string]bool{}
	for _, s := range n.Sigs {
		is := func(v *verifier) bool { return v.name == s.Name && v.hash == s.Hash }
		signed = signed || s.Name == c.Origin && slices.ContainsFunc(p.logs, is)
		if i := slices.IndexFunc(p.keys, is); i >= 0 {
			seen[p.witnesses[i]] = true
		}
	}
	if !signed {
		return nil, fmt.Errorf("%w: origin %.200s; trusted: %s", ErrSignature, c.Origin, strings.Join(p.Logs(), ", "))
	}
	for _, w := range p.witnesses {
		if seen[w] {
			c.Cosigned = append(c.Cosigned, w)
		}
	}
	if !p.quorum(seen) {
		return nil, fmt.Errorf("%w: %s, size %d: quorum %q asks for more than %d of %d witnesses %v", ErrQuorum, c.Origin, c.N, p.rule, len(c.Cosigned), len(p.witnesses), c.Cosigned)
	}
	return c, nil
}
