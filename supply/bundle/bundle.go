package bundle

import (
	"encoding/json"
	"errors"
	"fmt"
)

// ErrFormat is a bundle that cannot be read; the message names the field.
var ErrFormat = errors.New("not a usable signature bundle")

// ErrSignature is a bundle whose signature does not hold.
var ErrSignature = errors.New("the signature does not hold")

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
	Hint      string   // of the key, for Key
	Chain     [][]byte // DER, leaf first, for Certificate and Keyless
	Payload   []byte   // the statement, exactly as signed
	Signature []byte   // ASN.1 DER
	// Timestamps are RFC 3161 responses (DER), not yet verified.
	Timestamps [][]byte

	Statement Statement // parsed from Payload
}

type wire struct {
	MediaType string `json:"mediaType"`
	Material  struct {
		PublicKey *struct {
			Hint string `json:"hint"`
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

// Parse opens a bundle. Errors wrap ErrFormat.
func Parse(raw []byte) (*Bundle, error) {
	bad := func(format string, args ...any) (*Bundle, error) {
		return nil, fmt.Errorf("%w: %w", ErrFormat, fmt.Errorf(format, args...))
	}
	var w wire
	if err := json.Unmarshal(raw, &w); err != nil {
		return bad("%w", err)
	}
	switch {
	case w.MediaType != MediaType:
		return bad("mediaType is %q, wanted %q", w.MediaType, MediaType)
	case w.Envelope == nil:
		return bad("dsseEnvelope is missing")
	case w.Envelope.PayloadType != PayloadType:
		return bad("dsseEnvelope.payloadType is %q, wanted %q", w.Envelope.PayloadType, PayloadType)
	case len(w.Envelope.Signatures) != 1:
		return bad("dsseEnvelope.signatures has %d entries, wanted exactly 1", len(w.Envelope.Signatures))
	}
	b := &Bundle{Raw: raw, Payload: w.Envelope.Payload, Signature: w.Envelope.Signatures[0].Sig}
	switch m := &w.Material; {
	case m.PublicKey != nil:
		b.Kind, b.Hint = Key, m.PublicKey.Hint
	case m.Chain != nil:
		b.Kind = Certificate
		for _, c := range m.Chain.Certificates {
			b.Chain = append(b.Chain, c.RawBytes)
		}
	case m.Certificate != nil:
		b.Kind, b.Chain = Keyless, [][]byte{m.Certificate.RawBytes}
	default:
		return bad("verificationMaterial names no key and no certificate")
	}
	if t := w.Material.Timestamps; t != nil {
		for _, x := range t.RFC3161 {
			b.Timestamps = append(b.Timestamps, x.SignedTimestamp)
		}
	}
	if err := json.Unmarshal(b.Payload, &b.Statement); err != nil {
		return bad("dsseEnvelope.payload: %w", err)
	}
	return b, nil
}
