package proof

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/mod/sumdb/note"
)

// Signature types of C2SP signed-note.
const (
	AlgEd25519     = 0x01 // the log's own signature
	AlgCosignature = 0x04 // a witness: Ed25519 over time and checkpoint
)

// KeyType makes the check of one signature type from a raw public key. The
// message is the note's text. See Policy: more types can be given to it than
// the two that this package knows.
type KeyType func(name string, key []byte) (func(msg, sig []byte) bool, error)

// KeyTypes maps signature types to what checks them.
type KeyTypes map[byte]KeyType

// LogKeys and WitnessKeys are the types that are known without being asked for.
var (
	LogKeys     = KeyTypes{AlgEd25519: ed25519Key}
	WitnessKeys = KeyTypes{AlgCosignature: cosignatureKey}
)

type verifier struct {
	name   string
	hash   uint32
	key    string // type and raw key: equal for two names of one key
	verify func(msg, sig []byte) bool
}

func (v *verifier) Name() string                { return v.name }
func (v *verifier) KeyHash() uint32             { return v.hash }
func (v *verifier) Verify(msg, sig []byte) bool { return v.verify(msg, sig) }

// ParseKey reads a verifier key ("name+hash+base64") of one of the types.
func (types KeyTypes) ParseKey(vkey string) (note.Verifier, error) { return types.parse(vkey) }

func (types KeyTypes) parse(vkey string) (*verifier, error) {
	name, rest, _ := strings.Cut(vkey, "+")
	hash16, key64, _ := strings.Cut(rest, "+")
	hash, err := strconv.ParseUint(hash16, 16, 32)
	if err != nil || len(hash16) != 8 || !validName(name) {
		return nil, fmt.Errorf("%w: verifier key %.100q: want name+hash+base64", ErrPolicy, vkey)
	}
	raw, err := base64.StdEncoding.Strict().DecodeString(key64)
	if err != nil || len(raw) < 2 {
		return nil, fmt.Errorf("%w: verifier key of %s: bad base64", ErrPolicy, name)
	}
	if want := keyHash(name, raw); uint32(hash) != want {
		return nil, fmt.Errorf("%w: verifier key of %s: its hash is %08x, not %s: a character was lost or changed", ErrPolicy, name, want, hash16)
	}
	mk, ok := types[raw[0]]
	if !ok {
		return nil, fmt.Errorf("%w: verifier key of %s: signature type %#02x is not one that can be checked in this place", ErrPolicy, name, raw[0])
	}
	verify, err := mk(name, raw[1:])
	if err != nil {
		return nil, fmt.Errorf("%w: verifier key of %s: %w", ErrPolicy, name, err)
	}
	return &verifier{name, uint32(hash), string(raw), verify}, nil
}

func ed25519Key(_ string, key []byte) (func(msg, sig []byte) bool, error) {
	if len(key) != ed25519.PublicKeySize {
		return nil, fmt.Errorf("%d bytes, want %d", len(key), ed25519.PublicKeySize)
	}
	return func(msg, sig []byte) bool { return ed25519.Verify(key, msg, sig) }, nil
}

// A cosignature is an 8-byte big-endian time and an Ed25519 signature over
// "cosignature/v1\ntime T\n" and the note's text (C2SP tlog-cosignature).
func cosignatureKey(_ string, key []byte) (func(msg, sig []byte) bool, error) {
	if len(key) != ed25519.PublicKeySize {
		return nil, fmt.Errorf("%d bytes, want %d", len(key), ed25519.PublicKeySize)
	}
	return func(msg, sig []byte) bool {
		if len(sig) != 8+ed25519.SignatureSize {
			return false
		}
		t := binary.BigEndian.Uint64(sig)
		return t < 1<<63 && ed25519.Verify(key, cosigned(t, msg), sig[8:])
	}, nil
}

func cosigned(t uint64, msg []byte) []byte {
	return append(fmt.Appendf(nil, "cosignature/v1\ntime %d\n", t), msg...)
}

// Cosigner signs checkpoints as a witness does (type 0x04).
type Cosigner struct {
	name string
	hash uint32
	key  ed25519.PrivateKey
	now  func() time.Time
}

// NewCosigner makes a witness' signer of a private key in the form of
// note.GenerateKey ("PRIVATE+KEY+name+hash+base64"). now gives the time that
// goes into cosignatures.
func NewCosigner(skey string, now func() time.Time) (*Cosigner, error) {
	if _, err := note.NewSigner(skey); err != nil {
		return nil, fmt.Errorf("%w: witness key: %w", ErrPolicy, err)
	}
	f := strings.SplitN(strings.TrimSpace(skey), "+", 5) // the form is checked above
	raw, err := base64.StdEncoding.DecodeString(f[4])
	if err != nil || len(raw) != 1+ed25519.SeedSize || raw[0] != AlgEd25519 {
		return nil, fmt.Errorf("%w: witness key of %s is not Ed25519", ErrPolicy, f[2])
	}
	c := &Cosigner{name: f[2], key: ed25519.NewKeyFromSeed(raw[1:]), now: now}
	c.hash = keyHash(c.name, c.raw())
	return c, nil
}

func (c *Cosigner) raw() []byte {
	return append([]byte{AlgCosignature}, c.key.Public().(ed25519.PublicKey)...)
}

// Name, KeyHash and Sign make a Cosigner a note.Signer.
func (c *Cosigner) Name() string    { return c.name }
func (c *Cosigner) KeyHash() uint32 { return c.hash }

// Sign signs a checkpoint's text.
func (c *Cosigner) Sign(msg []byte) ([]byte, error) {
	t := uint64(c.now().Unix())
	return append(binary.BigEndian.AppendUint64(nil, t), ed25519.Sign(c.key, cosigned(t, msg))...), nil
}

// VerifierKey is the public key, as policies write it.
func (c *Cosigner) VerifierKey() string {
	return fmt.Sprintf("%s+%08x+%s", c.name, c.hash, base64.StdEncoding.EncodeToString(c.raw()))
}

func keyHash(name string, raw []byte) uint32 {
	h := sha256.Sum256(append([]byte(name+"\n"), raw...))
	return binary.BigEndian.Uint32(h[:])
}

func validName(s string) bool {
	return s != "" && utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsSpace) && !strings.Contains(s, "+")
}
