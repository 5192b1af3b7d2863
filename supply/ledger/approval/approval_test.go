package approval_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/weighbridge/weighbridge/supply/ledger/approval"
	"github.com/weighbridge/weighbridge/supply/ledger/entry"
	"github.com/weighbridge/weighbridge/supply/ledger/internal/peer"
)

var at = time.Date(2026, 5, 17, 12, 0, 0, 0, time.UTC)

func digest(c byte) entry.Digest { return entry.SHA256(strings.Repeat(string(c), 64)) }

func draft(actor string) entry.Entry {
	e := entry.New(entry.Approval, at, actor)
	e.Model, e.Environment, e.Policy = digest('a'), "prod", digest('b')
	e.Evidence = []entry.Evidence{{Kind: "vsa", Digest: digest('c')}}
	e.Decision, e.Reason, e.Expires, e.Nonce = "approve", "read the report", "2027-01-01T00:00:00Z", strings.Repeat("0f", 16)
	return e
}

// person is somebody with an SSH key, made and used by ssh-keygen.
type person struct{ id, public string }

func newPerson(t *testing.T, kind ...string) person {
	t.Helper()
	id := filepath.Join(t.TempDir(), "id")
	peer.Run(t, "", peer.Tool(t, "ssh-keygen"), append([]string{"-q", "-N", "", "-C", "a comment", "-f", id, "-t"}, kind...)...)
	b, err := os.ReadFile(id + ".pub")
	if err != nil {
		t.Fatal(err)
	}
	return person{id, strings.TrimSpace(string(b))}
}

// sign has ssh-keygen sign what Draft gives.
func (p person) sign(t *testing.T, e entry.Entry, namespace string) entry.Entry {
	t.Helper()
	raw, err := e.Draft()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "approval.json")
	if err := os.WriteFile(file, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	peer.Run(t, "", peer.Tool(t, "ssh-keygen"), "-q", "-Y", "sign", "-f", p.id, "-n", namespace, file)
	armored, err := os.ReadFile(file + ".sig")
	if err != nil {
		t.Fatal(err)
	}
	if e, err = approval.Attach(e, armored); err != nil {
		t.Fatal(err)
	}
	return e
}

// What ssh-keygen signs is accepted, for every kind of key that people have.
func TestKeygensSignatures(t *testing.T) {
	for _, kind := range [][]string{{"ed25519"}, {"ecdsa", "-b", "256"}, {"ecdsa", "-b", "521"}, {"rsa", "-b", "3072"}} {
		t.Run(strings.Join(kind, ""), func(t *testing.T) {
			p := newPerson(t, kind...)
			s, err := approval.Parse([]byte("# who may\n\nboss@example.com " + p.public + "\n"))
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Check(p.sign(t, draft("boss@example.com"), approval.Namespace), at); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// Our reading of an allowed_signers file is that of ssh-keygen -Y verify.
func TestNegativeMatrix(t *testing.T) {
	boss, other := newPerson(t, "ed25519"), newPerson(t, "ed25519")
	signed := boss.sign(t, draft("boss@example.com"), approval.Namespace)
	changed := signed
	changed.Environment = "staging"
	for _, tc := range []struct {
		name, signers string
		e             entry.Entry
		want          string // in the error; empty: accepted
		keygen        bool   // ask ssh-keygen too, at the same time
	}{
		{"plain line", "boss@example.com KEY", signed, "", true},
		{"one of several people", "a@example.com,boss@example.com KEY", signed, "", true},
		{"pattern", "*@example.com KEY", signed, "", true},
		{"quoted principals", `"boss@example.com,b@example.com" KEY`, signed, "", true},
		{"our namespace", `boss@example.com namespaces="git,` + approval.Namespace + `" KEY`, signed, "", true},
		{"namespace by pattern", `boss@example.com namespaces="weighbridge-*" KEY`, signed, "", true},
		{"valid then", `boss@example.com valid-after="20260101Z",valid-before="20270101Z" KEY`, signed, "", true},
		{"second line allows", "a@example.com KEY\nboss@example.com KEY", signed, "", true},

		{"other person", "a@example.com KEY", signed, "is not for boss", true},
		{"excluded by pattern", "*@example.com,!boss@example.com KEY", signed, "is not for boss", true},
		{"other key", "boss@example.com OTHER", signed, "nobody may sign", true},
		{"other namespace in the file", `boss@example.com namespaces="git" KEY`, signed, "does not allow namespace", true},
		{"not valid yet", `boss@example.com valid-after="20260601Z" KEY`, signed, "valid after", true},
		{"not valid any more", `boss@example.com valid-before="202605171100Z" KEY`, signed, "valid before", true},
		{"signed for another namespace", "boss@example.com KEY", boss.sign(t, draft("boss@example.com"), "git"), "namespace", true},
		{"changed after signing", "boss@example.com KEY", changed, "not a signature over this entry", true},
		{"signed as somebody else", "boss@example.com KEY", other.sign(t, draft("boss@example.com"), approval.Namespace), "nobody may sign", true},
		{"no signature", "boss@example.com KEY", draft("boss@example.com"), "no signature", false},

		{"file names nobody", "# nobody\n", signed, "names nobody", false},
		{"line without key", "boss@example.com", signed, "line 1", false},
		{"certificate authority", "boss@example.com cert-authority KEY", signed, "cert-authority", false},
		{"unknown option", "boss@example.com verify-required=no KEY", signed, "unknown option", false},
		{"time that is none", `boss@example.com valid-after="soon" KEY`, signed, "time", false},
		{"valid never", `boss@example.com valid-after="20270101",valid-before="20260101" KEY`, signed, "valid-after", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			file := strings.NewReplacer("KEY", boss.public, "OTHER", other.public).Replace(tc.signers) + "\n"
			s, err := approval.Parse([]byte(file))
			if err == nil {
				err = s.Check(tc.e, at)
			}
			known := err == nil || errors.Is(err, approval.ErrSigners) || errors.Is(err, approval.ErrSignature)
			if (err == nil) != (tc.want == "") || !known || err != nil && !strings.Contains(err.Error(), tc.want) {
				t.Fatalf("got %v, want %q", err, tc.want)
			}
			if tc.keygen {
				askKeygen(t, file, tc.e, tc.want == "")
			}
			t.Logf("%-28s %-44s -> %s", "ledger approval", tc.name, tc.want)
		})
	}
}

func askKeygen(t *testing.T, signers string, e entry.Entry, accepted bool) {
	t.Helper()
	raw, err := e.Draft()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	allowed, sig := filepath.Join(dir, "signers"), filepath.Join(dir, "sig")
	armored := "-----BEGIN SSH SIGNATURE-----\n" + e.Signature + "\n-----END SSH SIGNATURE-----\n"
	if err := errors.Join(os.WriteFile(allowed, []byte(signers), 0o600), os.WriteFile(sig, []byte(armored), 0o600)); err != nil {
		t.Fatal(err)
	}
	said := peer.Say(t, string(raw), peer.Tool(t, "ssh-keygen"), "-Y", "verify", "-f", allowed, "-I", e.Actor, "-n", approval.Namespace,
		"-s", sig, "-O", "verify-time="+at.Format("20060102150405Z"))
	if strings.Contains(said, "Good ") != accepted {
		t.Errorf("ssh-keygen says: %s", fmt.Sprintf("%.300s", said))
	}
}

func FuzzParse(f *testing.F) {
	const key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIxMtsT5GR4hYn1bCbWUPcCbWyYNJiTXbDk0ZX0W1mKW"
	f.Add([]byte("a@b.c,!d " + key))
	f.Add([]byte(`"a" namespaces="x,y",valid-after="20260101" ` + key))
	f.Fuzz(func(t *testing.T, src []byte) {
		if _, err := approval.Parse(src); err != nil && !errors.Is(err, approval.ErrSigners) {
			t.Fatal(err)
		}
	})
}
