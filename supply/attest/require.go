package attest

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/weighbridge/weighbridge/record"
	"github.com/weighbridge/weighbridge/supply/bundle"
	"github.com/weighbridge/weighbridge/supply/trust"
)

// The rules of problems with verdicts.
const (
	RuleMissing     = "verdict-missing"     // no verdict for this model in this environment
	RuleFailed      = "verdict-failed"      // the newest one rejects it
	RuleExpired     = "verdict-expired"     // older than the environment allows
	RuleFuture      = "verdict-future"      // made after now
	RulePolicy      = "verdict-policy"      // decided by a policy that does not count here
	RuleVerifier    = "verdict-verifier"    // the signer may not speak for that verifier.id
	RuleEnvironment = "verdict-environment" // for another environment
	RuleModel       = "verdict-model"       // for another model
	RuleMalformed   = "verdict-malformed"   // not a usable VSA
	RuleLevel       = "verdict-level"       // it passed, and not at our level
)

// Names are all names of a model: its roots as hex, and its identity.
type Names struct {
	Roots    []string
	Identity string // sha256:…
}

// Accepted is a verdict that opens the gate.
type Accepted struct {
	Signer   string    `json:"signer"`
	Verifier string    `json:"verifier"`
	Policy   string    `json:"policy"` // sha256:…
	Time     time.Time `json:"time"`
	Digest   string    `json:"digest"` // sha256:… of the bundle
}

// skew is how far in the future a verdict may lie: clocks differ.
const skew = 5 * time.Minute

// Require looks for the newest verdict about the model in the environment, by a
// signer who may give one, and says whether it opens the gate. A verdict
// that does not count leaves a problem, and the gate shut: nil and at least one
// problem. A newer rejection by a trusted signer beats an older approval, and
// so does any verdict that is newest and does not hold by its own content.
func Require(claims []*bundle.Bundle, t *trust.Policy, names Names, model, environment string, now time.Time) (*Accepted, []record.Problem) {
	var problems, elsewhere []record.Problem
	var newest *candidate
	for _, b := range claims {
		if b.Statement.PredicateType != bundle.PredicateVSA {
			continue
		}
		subject := fmt.Sprintf("claims.jsonl:%d", b.Line)
		fail := func(rule, format string, args ...any) {
			elsewhere = append(elsewhere, record.Problem{Rule: rule, Subject: subject, Detail: fmt.Sprintf(format, args...)})
		}
		var s summary
		if err := json.Unmarshal(b.Statement.Predicate, &s); err != nil {
			fail(RuleMalformed, "the predicate is no verification summary: %v", err)
			continue
		}
		if !names.in(b.Statement) {
			fail(RuleModel, "it is about other files")
			continue
		}
		if s.ResourceURI != Resource(model, environment) {
			rule := RuleModel
			if strings.HasPrefix(s.ResourceURI, strings.TrimSuffix(Resource(model, ""), "environment=")) {
				rule = RuleEnvironment
			}
			fail(rule, "it is for %.300q, and this is %q", s.ResourceURI, Resource(model, environment))
			continue
		}
		signer, _, why := t.Judge(b, trust.Ask{What: trust.Verdict, Model: model, Environment: environment, Now: now})
		if signer == nil {
			for _, p := range why {
				p.Subject = subject + ": " + p.Subject
				elsewhere = append(elsewhere, p)
			}
			continue
		}
		if signer.Verifier != s.Verifier.ID {
			fail(RuleVerifier, "%s signs for %q, and the verdict is by %.300q", signer.Name, signer.Verifier, s.Verifier.ID)
			continue
		}
		at, err := time.Parse(time.RFC3339, s.TimeVerified)
		if err != nil {
			fail(RuleMalformed, "timeVerified: %v", err)
			continue
		}
		if c := (&candidate{b, s, signer, at, subject}); newest == nil || !at.Before(newest.at) {
			newest = c
		}
	}
	if newest == nil {
		problems = append(problems, record.Problem{Rule: RuleMissing, Subject: Resource(model, environment),
			Detail: "no trusted verdict about this model for this environment; run weighbridge diff and attest"})
		return nil, append(problems, elsewhere...)
	}
	if problems = newest.judge(t, names, environment, now); len(problems) > 0 {
		return nil, append(problems, elsewhere...)
	}
	return &Accepted{Signer: newest.signer.Name, Verifier: newest.Verifier.ID, Policy: "sha256:" + newest.Policy.Digest["sha256"], Time: newest.at, Digest: newest.Digest()}, elsewhere
}

// in reports that a statement is about the model: by root, and by identity,
// which binds names, where the statement has it.
func (n Names) in(st bundle.Statement) bool {
	for _, s := range st.Subject {
		if !slices.Contains(n.Roots, s.Digest["sha256"]) {
			continue
		}
		if id, ok := s.Digest[bundle.IdentityDigest]; !ok || "sha256:"+id == n.Identity {
			return true
		}
	}
	return false
}

// candidate is a verdict by somebody who may give one.
type candidate struct {
	*bundle.Bundle
	summary
	signer  *trust.Signer
	at      time.Time
	subject string
}

// judge gives what keeps the gate shut.
func (c *candidate) judge(t *trust.Policy, names Names, environment string, now time.Time) (problems []record.Problem) {
	fail := func(rule, format string, args ...any) {
		problems = append(problems, record.Problem{Rule: rule, Subject: c.subject, Detail: fmt.Sprintf(format, args...)})
	}
	problems = t.Revoked(append(slices.Clone(names.Roots), names.Identity), "", "", now)
	if c.VerificationResult != "PASSED" {
		fail(RuleFailed, "%s decided %.20q at %s", c.signer.Name, c.VerificationResult, c.TimeVerified)
	} else if !slices.Contains(c.VerifiedLevels, Level) {
		fail(RuleLevel, "verifiedLevels %.200q lack %s", c.VerifiedLevels, Level)
	}
	env := t.Environments[environment]
	policy := "sha256:" + c.Policy.Digest["sha256"]
	if len(env.Policies) > 0 && !slices.Contains(env.Policies, policy) {
		fail(RulePolicy, "decided by policy %s, and %s counts %s", policy, environment, strings.Join(env.Policies, ", "))
	}
	switch age := now.Sub(c.at); {
	case age < -skew:
		fail(RuleFuture, "made at %s, which is yet to come", c.TimeVerified)
	case env.MaxVerdictAge > 0 && age > env.MaxVerdictAge:
		fail(RuleExpired, "made at %s, %s ago; %s allows %s. Judge the model again", c.TimeVerified, age.Round(time.Minute), environment, env.MaxVerdictAge)
	}
	return problems
}
