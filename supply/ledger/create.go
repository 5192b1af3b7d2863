package ledger

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/weighbridge/weighbridge/internal/durable"
	"github.com/weighbridge/weighbridge/supply/ledger/proof"
	"github.com/weighbridge/weighbridge/supply/ledger/tiles"
)

// The files of ours in a ledger's folder.
const (
	ownDir  = ".weighbridge"
	keyFile = ownDir + "/verifier"
	lock    = ownDir + "/lock"
)

// ErrKey is a private key that cannot be used, or is not this ledger's.
var ErrKey = errors.New("unusable ledger key")

// ErrExists says that a ledger is there already.
var ErrExists = errors.New("a ledger is there already")

// Key is a ledger's private key.
type Key struct {
	note.Signer
	Verifier string // public: "origin+hash+base64"
}

// GenerateKey makes an Ed25519 key for an origin: a name without scheme, such
// as ledger.example.com/gate. private is the text that ParseKey reads.
func GenerateKey(origin string) (private, verifier string, err error) {
	if origin == "" || len(origin) > 255 || strings.ContainsFunc(origin, func(r rune) bool { return r <= ' ' || r == '+' || r > '~' }) {
		return "", "", fmt.Errorf("%w: origin %.80q: printable ASCII without spaces and +, such as ledger.example.com/gate", ErrKey, origin)
	}
	return note.GenerateKey(rand.Reader, origin)
}

// ParseKey reads a private key.
func ParseKey(private string, verifier string) (Key, error) {
	s, err := note.NewSigner(strings.TrimSpace(private))
	if err != nil {
		return Key{}, fmt.Errorf("%w: %w", ErrKey, err)
	}
	return NewKey(s, verifier)
}

// NewKey takes a signer from elsewhere, such as a hardware module. It signs
// once to see that the two belong together.
func NewKey(s note.Signer, verifier string) (Key, error) {
	v, err := proof.LogKeys.ParseKey(strings.TrimSpace(verifier))
	if err != nil {
		return Key{}, err
	}
	const text = "does this key belong to that verifier?\n"
	sig, err := s.Sign([]byte(text))
	if err != nil {
		return Key{}, fmt.Errorf("%w: signing: %w", ErrKey, err)
	}
	if s.Name() != v.Name() || s.KeyHash() != v.KeyHash() || !v.Verify([]byte(text), sig) {
		return Key{}, fmt.Errorf("%w: %s (%08x) is not the private key of %s", ErrKey, s.Name(), s.KeyHash(), strings.TrimSpace(verifier))
	}
	return Key{s, strings.TrimSpace(verifier)}, nil
}

// WriteKeyFile writes a private key readable by its owner alone.
func WriteKeyFile(path, private string) error {
	if _, err := os.Lstat(path); err == nil {
		return fmt.Errorf("%w: key file %s: it will not be overwritten", ErrExists, path)
	}
	return durable.Write(path, 0o600, func(w io.Writer) error {
		_, err := io.WriteString(w, private+"\n")
		return err
	})
}

// ReadKeyFile reads a private key file, and refuses one that others can read.
func ReadKeyFile(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return "", err
	}
	if !st.Mode().IsRegular() || st.Mode().Perm()&0o077 != 0 {
		return "", fmt.Errorf("%w: %s has mode %04o: others can read it (chmod 600, and consider it lost)", ErrKey, path, st.Mode().Perm())
	}
	b, err := io.ReadAll(io.LimitReader(f, 64<<10))
	return strings.TrimSpace(string(b)), err
}

// Create makes an empty ledger of the key's origin in dir, which has to be
// empty or absent, and publishes its first checkpoint, of size 0.
func Create(dir string, key Key) error {
	switch names, err := os.ReadDir(dir); {
	case errors.Is(err, fs.ErrNotExist):
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	case err != nil:
		return err
	case len(names) > 0:
		if _, err := os.Stat(filepath.Join(dir, "checkpoint")); err == nil {
			return fmt.Errorf("%w: %s", ErrExists, dir)
		}
		return fmt.Errorf("%w: %s is not empty", ErrExists, dir)
	}
	if err := os.MkdirAll(filepath.Join(dir, ownDir), 0o755); err != nil {
		return err
	}
	empty, err := tlog.TreeHash(0, nil)
	if err != nil {
		return err
	}
	text := fmt.Sprintf("%s\n0\n%s\n", key.Name(), empty)
	checkpoint, err := note.Sign(&note.Note{Text: text}, key)
	if err != nil {
		return fmt.Errorf("%w: signing: %w", ErrKey, err)
	}
	for _, f := range []struct {
		name string
		b    []byte
	}{{keyFile, []byte(key.Verifier + "\n")}, {"checkpoint", checkpoint}} {
		err := durable.Write(filepath.Join(dir, f.name), 0o644, func(w io.Writer) error {
			_, err := w.Write(f.b)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// VerifierKey reads the public key that a ledger says is its own. It is a
// convenience for its operator: whoever verifies gets the key by another way.
func VerifierKey(dir string) (string, error) {
	b, err := os.ReadFile(filepath.Join(dir, keyFile))
	if errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("%w: %s (weighbridge ledger init makes one)", tiles.ErrNotLedger, dir)
	}
	return strings.TrimSpace(string(b)), err
}
