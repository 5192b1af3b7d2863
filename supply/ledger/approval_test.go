package ledger_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"strings"
	"testing"

	"github.com/hiddeco/sshsig"
	"golang.org/x/crypto/ssh"

	"github.com/weighbridge/weighbridge/supply/ledger"
	"github.com/weighbridge/weighbridge/supply/ledger/approval"
	"github.com/weighbridge/weighbridge/supply/ledger/entry"
)

func sha256Of(b []byte) [32]byte { return sha256.Sum256(b) }

// sshKey is a person's key.
type sshKey struct {
	ssh.Signer
	public string // a line of authorized_keys
}

func privateSSH(t testing.TB) sshKey {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return sshKey{s, string(ssh.MarshalAuthorizedKey(s.PublicKey()))}
}

// approvalEntry is an approval signed by boss@example.com.
func approvalEntry(t testing.TB, key sshKey) ledger.Entry {
	t.Helper()
	e := entry.New(entry.Approval, day, "boss@example.com")
	e.Model, e.Identity, e.Environment, e.Policy = hexDigest('a'), hexDigest('b'), "prod", hexDigest('c')
	e.Evidence = []entry.Evidence{{Kind: "vsa", Digest: hexDigest('d')}}
	e.Decision, e.Reason, e.Expires, e.Nonce = "approve", "read the report, fine", "2027-01-01T00:00:00Z", strings.Repeat("0f", 16)
	draft, err := e.Draft()
	if err != nil {
		t.Fatal(err)
	}
	sig, err := sshsig.Sign(bytes.NewReader(draft), key, sshsig.HashSHA512, approval.Namespace)
	if err != nil {
		t.Fatal(err)
	}
	if e, err = approval.Attach(e, sshsig.Armor(sig)); err != nil {
		t.Fatal(err)
	}
	return e
}

// An approval goes into the ledger with its signature, and its receipt covers
// both.
func TestAppendApproval(t *testing.T) {
	dir, key := fresh(t)
	person := privateSSH(t)
	signers, err := approval.Parse([]byte("boss@example.com " + person.public))
	if err != nil {
		t.Fatal(err)
	}
	l := open(t, dir, ledger.Options{Key: key, Signers: signers})
	e := approvalEntry(t, person)
	r, err := l.Append(t.Context(), e)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ledger.VerifyReceipt(r.Marshal(), canonical(t, e), trust(t, key)); err != nil {
		t.Fatal(err)
	}
	e.Environment = "staging"
	if _, err := l.Append(t.Context(), e); err == nil {
		t.Fatal("an approval for another environment was accepted")
	}
}
