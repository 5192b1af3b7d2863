package bundle

import (
	"errors"
	"fmt"
)

// ErrFormat is a bundle that cannot be read; the message names the field.
var ErrFormat = errors.New("not a usable signature bundle")

// ErrSignature is a bundle whose signature does not hold.
var ErrSignature = errors.New("the signature does not hold")

// ErrKey is a key or certificate file that cannot be used.
var ErrKey = errors.New("unusable key")

// The rules of errors that wrap ErrFormat; see [Rule].
const (
	RuleSize          = "bundle-size"           // larger than MaxBundle
	RuleJSON          = "bundle-json"           // not one JSON object, or with a key twice
	RuleMediaType     = "bundle-media-type"     //
	RuleEnvelope      = "bundle-envelope"       // no DSSE envelope, or no payload in it
	RulePayloadType   = "bundle-payload-type"   //
	RuleSignatures    = "bundle-signatures"     // not exactly one signature
	RuleMaterial      = "bundle-material"       // not exactly one way to find the signer
	RuleStatement     = "statement-json"        // the payload is no JSON object
	RuleStatementType = "statement-type"        //
	RulePredicateType = "statement-predicate"   // it names no predicate type
	RuleSubject       = "statement-subject"     // no subject, or one without a digest
	RuleLine          = "claims-line"           // a line of claims.jsonl that is too long, or too many
	RuleMethod        = "signature-method"      // signed in another way than the caller trusts
	RuleKey           = "signature-key"         // signed by another key
	RuleInvalid       = "signature-invalid"     // the mathematics say no
	RuleUntrusted     = "certificate-untrusted" // no chain to the roots
	RuleExpired       = "certificate-expired"
	RuleNotYet        = "certificate-not-yet-valid"
	RuleUsage         = "certificate-usage" // not for signing
	RuleCertKey       = "certificate-key"   // not ECDSA on a curve of OMS
	RuleCertificate   = "certificate-bad"   // cannot be parsed
)

// fault is an error with the stable code of what is wrong.
type fault struct {
	rule string
	is   error // ErrFormat, ErrSignature
	err  error
}

func (f *fault) Error() string   { return f.is.Error() + ": " + f.err.Error() }
func (f *fault) Unwrap() []error { return []error{f.is, f.err} }

// Faultf makes an error of a rule that wraps is (ErrFormat or ErrSignature).
// Packages on top of this one have rules of their own.
func Faultf(is error, rule, format string, args ...any) error {
	return &fault{rule: rule, is: is, err: fmt.Errorf(format, args...)}
}

// Rule is the stable code of an error of this package and of those on top of
// it, for a [github.com/weighbridge/weighbridge/record.Problem]; "" where it has none.
func Rule(err error) string {
	var f *fault
	if errors.As(err, &f) {
		return f.rule
	}
	return ""
}
