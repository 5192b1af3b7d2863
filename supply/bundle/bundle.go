package bundle

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"slices"
)

// MaxBundle bounds one bundle, in bytes: the signature of a model of some
// 250,000 files.
const MaxBundle = 64 << 20

// Kind is how a bundle says who signed it.
type Kind string

// The kinds of verification material.
const (
	Key         Kind = "key"
	Certificate Kind = "certificate"
	Keyless     Kind = "sigstore"
)

// Bundle is an opened bundle. Nothing in it is trusted before one of the Verify
// functions returned nil.
type Bundle struct {
	Raw       []byte // as it came
	Kind      Kind
	Hint      string   // of the key, for Key; "" in bundles from before OMS 1.1
	Chain     [][]byte // DER, leaf first, for Certificate and Keyless
	Payload   []byte   // the statement, exactly as signed
	Signature []byte   // ASN.1 DER
	// Timestamps are RFC 3161 responses (DER), not yet verified.
	Timestamps [][]byte
	// Line is where ReadClaims found it, from 1; 0 for others.
	Line int

	Statement Statement // parsed from Payload
}

type wire struct {
	MediaType string `json:"mediaType"`
	Material  struct {
		PublicKey *struct {
			Hint *string `json:"hint"`
		} `json:"publicKey,omitempty"`
		Chain *struct {
			Certificates []rawBytes `json:"certificates"`
		} `json:"x509CertificateChain,omitempty"`
		Certificate *rawBytes         `json:"certificate,omitempty"`
		TlogEntries []json.RawMessage `json:"tlogEntries"`
		Timestamps  *struct {
			RFC3161 []struct {
				SignedTimestamp []byte `json:"signedTimestamp"`
			} `json:"rfc3161Timestamps"`
		} `json:"timestampVerificationData,omitempty"`
	} `json:"verificationMaterial"`
	Envelope *struct {
		Payload     []byte      `json:"payload"`
		PayloadType string      `json:"payloadType"`
		Signatures  []signature `json:"signatures"`
	} `json:"dsseEnvelope"`
	Message json.RawMessage `json:"messageSignature,omitempty"`
}

type rawBytes struct {
	RawBytes []byte `json:"rawBytes"`
}

type signature struct {
	Sig   []byte `json:"sig"`
	KeyID string `json:"keyid"`
}

// PAE is DSSE's pre-authentication encoding of a payload of PayloadType: what
// is signed.
func PAE(payload []byte) []byte {
	return fmt.Appendf(nil, "DSSEv1 %d %s %d %s", len(PayloadType), PayloadType, len(payload), payload)
}

// maxChain and maxTimestamps bound what a hostile bundle makes a verifier do.
const (
	maxChain      = 10
	maxTimestamps = 8
)

// Parse opens a bundle whose statement is of StatementType, or of one of the
// further types allowed. Fields it does not know are ignored, as OMS wants it.
// Errors wrap ErrFormat and have a [Rule].
func Parse(raw []byte, allow ...string) (*Bundle, error) {
	bad := func(rule, format string, args ...any) (*Bundle, error) {
		return nil, Faultf(ErrFormat, rule, format, args...)
	}
	if len(raw) > MaxBundle {
		return bad(RuleSize, "%d bytes; the limit is %d", len(raw), MaxBundle)
	}
	if err := Strict(raw); err != nil {
		return bad(RuleJSON, "%w", err)
	}
	var w wire
	if err := json.Unmarshal(raw, &w); err != nil {
		return bad(RuleJSON, "%w", err)
	}
	switch {
	case w.MediaType != MediaType:
		return bad(RuleMediaType, "mediaType is %q, wanted %q", w.MediaType, MediaType)
	case w.Envelope == nil:
		return bad(RuleEnvelope, "dsseEnvelope is missing")
	case len(w.Message) > 0 && string(w.Message) != "null":
		return bad(RuleEnvelope, "messageSignature stands beside dsseEnvelope")
	case w.Envelope.PayloadType != PayloadType:
		return bad(RulePayloadType, "dsseEnvelope.payloadType is %q, wanted %q", w.Envelope.PayloadType, PayloadType)
	case len(w.Envelope.Payload) == 0:
		return bad(RuleEnvelope, "dsseEnvelope.payload is empty")
	case len(w.Envelope.Signatures) != 1:
		return bad(RuleSignatures, "dsseEnvelope.signatures has %d entries, wanted exactly 1", len(w.Envelope.Signatures))
	case len(w.Envelope.Signatures[0].Sig) == 0:
		return bad(RuleSignatures, "dsseEnvelope.signatures[0].sig is empty")
	}
	b := &Bundle{Raw: raw, Payload: w.Envelope.Payload, Signature: w.Envelope.Signatures[0].Sig}
	ways := 0
	if m := w.Material.PublicKey; m != nil {
		ways++
		b.Kind = Key
		if m.Hint != nil {
			b.Hint = *m.Hint
		}
	}
	if m := w.Material.Chain; m != nil {
		ways++
		b.Kind = Certificate
		for _, c := range m.Certificates {
			b.Chain = append(b.Chain, c.RawBytes)
		}
	}
	if m := w.Material.Certificate; m != nil {
		ways++
		b.Kind, b.Chain = Keyless, [][]byte{m.RawBytes}
	}
	switch {
	case ways != 1:
		return bad(RuleMaterial, "verificationMaterial has %d of publicKey, x509CertificateChain and certificate, wanted exactly 1", ways)
	case b.Kind != Key && (len(b.Chain) == 0 || len(b.Chain) > maxChain):
		return bad(RuleMaterial, "verificationMaterial.x509CertificateChain has %d certificates, wanted 1 to %d", len(b.Chain), maxChain)
	case slices.ContainsFunc(b.Chain, func(der []byte) bool { return len(der) == 0 }):
		return bad(RuleMaterial, "verificationMaterial has a certificate without rawBytes")
	}
	if t := w.Material.Timestamps; t != nil {
		if len(t.RFC3161) > maxTimestamps {
			return bad(RuleMaterial, "timestampVerificationData has %d timestamps, the limit is %d", len(t.RFC3161), maxTimestamps)
		}
		for _, x := range t.RFC3161 {
			b.Timestamps = append(b.Timestamps, x.SignedTimestamp)
		}
	}
	var err error
	b.Statement, err = ParseStatement(b.Payload, allow...)
	return b, err
}

// Digest names the bundle by its bytes, as sha256:….
func (b *Bundle) Digest() string { return fmt.Sprintf("sha256:%x", sha256.Sum256(b.Raw)) }
