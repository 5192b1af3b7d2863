package entry

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Type is a closed list: Rules has them all.
type Type string

// The types of entries.
const (
	Ingest         Type = "ingest"          // foreign weights were admitted or refused
	VerifyResult   Type = "verify-result"   // signature, SBOM, provenance … were checked
	ProvenanceLink Type = "provenance-link" // the model was made from what the evidence names
	EvalCriteria   Type = "eval-criteria"   // the bar, before the run
	EvalResult     Type = "eval-result"     // what a run measured
	Verdict        Type = "verdict"         // what the policy made of it
	PolicyVersion  Type = "policy-version"  // a policy came into force
	Approval       Type = "approval"        // a person approved, and signed it
	Rejection      Type = "rejection"       // a person rejected
	Escalation     Type = "escalation"      // somebody has to look
	AliasMove      Type = "alias-move"      // champion, canary … points to another model
	Deploy         Type = "deploy"          // a model went into an environment
	Rollback       Type = "rollback"        // an alias went back
	RevokeKey      Type = "revoke-key"
	RevokeIdentity Type = "revoke-identity"
	RevokeModel    Type = "revoke-model"
	RBACChange     Type = "rbac-change"
	MonitorAlert   Type = "monitor-alert"
	ConfigChange   Type = "config-change"
)

// Rule is what a type's entries carry beside format, time and actor. Fields are
// named as in the JSON.
type Rule struct {
	Type      Type
	Required  []string
	Optional  []string
	Decisions []string // closed list; a type without has no decision
	// FreeText says that a person writes Reason; otherwise it is rule codes.
	FreeText bool
}

var subject = []string{"identity", "name", "oci"}

// Rules holds every type, in the order of the documentation.
var Rules = []Rule{
	{Type: Ingest, Required: []string{"decision", "evidence"}, Optional: with(subject, "model", "environment", "policy", "reason"), Decisions: []string{"admit", "refuse"}},
	{Type: VerifyResult, Required: []string{"model", "decision"}, Optional: with(subject, "environment", "evidence", "policy", "reason"), Decisions: []string{"valid", "bad", "ambiguous", "absent"}},
	{Type: ProvenanceLink, Required: []string{"model", "evidence"}, Optional: with(subject, "reason")},
	{Type: EvalCriteria, Required: []string{"policy", "evidence"}, Optional: with(subject, "model", "environment")},
	{Type: EvalResult, Required: []string{"model", "evidence", "decision"}, Optional: with(subject, "environment", "policy", "reason"), Decisions: []string{"passed", "warned", "failed"}},
	{Type: Verdict, Required: []string{"model", "identity", "environment", "evidence", "policy", "decision"}, Optional: []string{"name", "oci", "reason"}, Decisions: []string{"approve", "reject", "escalate"}},
	{Type: PolicyVersion, Required: []string{"policy", "previous", "new"}, Optional: []string{"environment", "reason", "signature"}, FreeText: true},
	{Type: Approval, Required: []string{"model", "environment", "evidence", "policy", "decision", "reason", "expires", "nonce", "signature"}, Optional: subject, Decisions: []string{"approve"}, FreeText: true},
	{Type: Rejection, Required: []string{"model", "environment", "decision", "reason"}, Optional: with(subject, "evidence", "policy", "nonce", "signature"), Decisions: []string{"reject"}, FreeText: true},
	{Type: Escalation, Required: []string{"model", "environment", "decision", "reason"}, Optional: with(subject, "evidence", "policy", "nonce", "signature"), Decisions: []string{"escalate"}, FreeText: true},
	{Type: AliasMove, Required: []string{"model", "environment", "alias", "previous", "new"}, Optional: with(subject, "evidence", "policy", "reason", "nonce", "signature"), FreeText: true},
	{Type: Deploy, Required: []string{"model", "environment", "evidence", "previous", "new"}, Optional: with(subject, "alias", "policy", "reason", "nonce", "signature"), FreeText: true},
	{Type: Rollback, Required: []string{"model", "environment", "alias", "previous", "new", "reason"}, Optional: with(subject, "evidence", "policy", "nonce", "signature"), FreeText: true},
	{Type: RevokeKey, Required: []string{"target", "since", "reason"}, Optional: []string{"environment", "evidence", "nonce", "signature"}, FreeText: true},
	{Type: RevokeIdentity, Required: []string{"target", "since", "reason"}, Optional: []string{"environment", "evidence", "nonce", "signature"}, FreeText: true},
	{Type: RevokeModel, Required: []string{"model", "since", "reason"}, Optional: with(subject, "environment", "evidence", "nonce", "signature"), FreeText: true},
	{Type: RBACChange, Required: []string{"previous", "new", "reason"}, Optional: []string{"environment", "evidence", "nonce", "signature"}, FreeText: true},
	{Type: MonitorAlert, Required: []string{"model", "environment", "evidence", "reason"}, Optional: subject},
	{Type: ConfigChange, Required: []string{"previous", "new", "reason"}, Optional: []string{"environment", "evidence", "nonce", "signature"}, FreeText: true},
}

func with(more []string, fields ...string) []string { return append(fields, more...) }

// RuleOf gives the rule of a type.
func RuleOf(t Type) (Rule, bool) {
	i := slices.IndexFunc(Rules, func(r Rule) bool { return r.Type == t })
	if i < 0 {
		return Rule{}, false
	}
	return Rules[i], true
}

// Types lists every type, in the order of Rules.
func Types() []Type {
	out := make([]Type, len(Rules))
	for i, r := range Rules {
		out[i] = r.Type
	}
	return out
}

// shapes holds, for each field that a type may carry, what its text looks like.
// None of them admits a space, so that no sentence fits in a field meant for a
// name.
var shapes = map[string]*regexp.Regexp{
	"model": digestShape, "identity": digestShape, "oci": digestShape, "policy": digestShape,
	"name":        regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,199}$`),
	"environment": regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,62}$`), // a DNS label, as VSA resource URIs need
	"alias":       regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,62}$`),
	"previous":    stateShape, "new": stateShape,
	"target":  regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:/@+=-]{0,254}$`),
	"nonce":   regexp.MustCompile(`^[0-9a-f]{32}$`),
	"actor":   regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:/@+=-]{0,254}$`),
	"kind":    regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,62}$`),
	"code":    regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,99}$`),
	"expires": nil, "since": nil, "reason": nil, "evidence": nil, "decision": nil, "signature": nil,
}

var (
	digestShape = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)
	stateShape  = regexp.MustCompile(`^(none|sha256:[0-9a-f]{64})$`)
	base64Shape = regexp.MustCompile(`^[A-Za-z0-9+/]+={0,2}$`)
)

func (e Entry) texts() map[string]string {
	m := map[string]string{
		"model": string(e.Model), "identity": string(e.Identity), "name": e.Name, "oci": string(e.OCI),
		"environment": e.Environment, "policy": string(e.Policy), "decision": e.Decision, "alias": e.Alias,
		"previous": e.Previous, "new": e.New, "target": e.Target, "since": e.Since, "reason": e.Reason,
		"expires": e.Expires, "nonce": e.Nonce, "signature": e.Signature, "evidence": "",
	}
	if len(e.Evidence) > 0 {
		m["evidence"] = "present"
	}
	return m
}

func bad(field, format string, args ...any) error {
	return fmt.Errorf("%w: %s: %s", ErrEntry, field, fmt.Sprintf(format, args...))
}

func (e Entry) validate() error {
	if e.PredicateType != PredicateType {
		return bad("predicateType", "%.80q, want %q", e.PredicateType, PredicateType)
	}
	if e.Version != Version {
		return bad("version", "%d, and this program knows %d", e.Version, Version)
	}
	rule, ok := RuleOf(e.Type)
	if !ok {
		return bad("type", "%.80q is none of %v", string(e.Type), Types())
	}
	if err := timeShape("time", e.Time); err != nil {
		return err
	}
	if !shapes["actor"].MatchString(e.Actor) {
		return bad("actor", "%.80q is not a name: letters, digits and ._:/@+=- only, at most 255", e.Actor)
	}
	texts := e.texts()
	for _, f := range rule.Required {
		if texts[f] == "" {
			return bad(f, "an entry of type %s needs it", e.Type)
		}
	}
	for _, f := range slices.Sorted(keys(texts)) {
		if texts[f] == "" {
			continue
		}
		if !slices.Contains(rule.Required, f) && !slices.Contains(rule.Optional, f) {
			return bad(f, "an entry of type %s has no such field", e.Type)
		}
		if s := shapes[f]; s != nil && !s.MatchString(texts[f]) {
			return bad(f, "%.80q does not match %s", texts[f], s)
		}
	}
	for _, check := range []func(Rule) error{e.checkDecision, e.checkEvidence, e.checkTimes, e.checkReason, e.checkStates, e.checkSignature} {
		if err := check(rule); err != nil {
			return err
		}
	}
	return nil
}

func keys(m map[string]string) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

func timeShape(field, s string) error {
	t, err := time.Parse(time.RFC3339, s)
	if err != nil || Stamp(t) != s {
		return bad(field, "%.80q is not a time such as 2026-01-31T09:30:00Z (UTC, whole seconds)", s)
	}
	return nil
}

func (e Entry) checkDecision(r Rule) error {
	if e.Decision != "" && !slices.Contains(r.Decisions, e.Decision) {
		return bad("decision", "%.80q, and an entry of type %s says one of %s", e.Decision, e.Type, strings.Join(r.Decisions, ", "))
	}
	switch {
	case e.Type == Ingest && e.Decision == "admit" && (e.Model == "" || e.Identity == ""):
		return bad("model", "what is admitted needs model and identity")
	case e.Type == Ingest && e.Decision == "refuse" && e.Reason == "":
		return bad("reason", "what is refused needs its rule codes")
	}
	return nil
}

func (e Entry) checkEvidence(Rule) error {
	if len(e.Evidence) > MaxEvidence {
		return bad("evidence", "%d digests, and an entry has at most %d: log the digest of their list", len(e.Evidence), MaxEvidence)
	}
	for i, v := range e.Evidence {
		field := fmt.Sprintf("evidence[%d]", i)
		if !shapes["kind"].MatchString(v.Kind) {
			return bad(field+".kind", "%.80q does not match %s", v.Kind, shapes["kind"])
		}
		if !digestShape.MatchString(string(v.Digest)) {
			return bad(field+".digest", "%.80q does not match %s", string(v.Digest), digestShape)
		}
		if i > 0 && compareEvidence(e.Evidence[i-1], v) >= 0 {
			return bad(field, "out of order, or there twice")
		}
	}
	return nil
}

func (e Entry) checkTimes(Rule) error {
	for _, f := range [][2]string{{"expires", e.Expires}, {"since", e.Since}} {
		if f[1] != "" {
			if err := timeShape(f[0], f[1]); err != nil {
				return err
			}
		}
	}
	if e.Expires != "" && e.Expires <= e.Time { // both in Stamp's form, which sorts as text
		return bad("expires", "%s is not after the entry's time %s", e.Expires, e.Time)
	}
	return nil
}

func (e Entry) checkReason(r Rule) error {
	if len(e.Reason) > MaxReason {
		return bad("reason", "%d bytes, and it has at most %d", len(e.Reason), MaxReason)
	}
	if !utf8.ValidString(e.Reason) || strings.ContainsFunc(e.Reason, func(c rune) bool { return c == utf8.RuneError || !unicode.IsPrint(c) }) {
		return bad("reason", "it is one line of printable text")
	}
	if r.FreeText || e.Reason == "" {
		return nil
	}
	for _, code := range strings.Split(e.Reason, "; ") {
		if !shapes["code"].MatchString(code) {
			return bad("reason", "%.80q is not a rule code: an entry of type %s is written by a program, and has codes joined by %q, no prose", code, e.Type, "; ")
		}
	}
	return nil
}

// checkStates holds what the fields say about each other.
func (e Entry) checkStates(Rule) error {
	switch e.Type {
	case AliasMove, Rollback, Deploy:
		if e.New != string(e.Model) {
			return bad("new", "%.80q is not the entry's model %s", e.New, e.Model)
		}
	case PolicyVersion:
		if e.New != string(e.Policy) {
			return bad("new", "%.80q is not the entry's policy %s", e.New, e.Policy)
		}
	}
	if e.New != "" && e.New == e.Previous && e.Type != Deploy {
		return bad("new", "it is the previous state: nothing changes")
	}
	return nil
}

func (e Entry) checkSignature(Rule) error {
	if e.Signature != "" && !base64Shape.MatchString(e.Signature) {
		return bad("signature", "it is the body of an SSH SIGNATURE block, base64 in one line")
	}
	return nil
}
