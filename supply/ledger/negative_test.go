package ledger_test

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/weighbridge/weighbridge/supply/ledger"
	"github.com/weighbridge/weighbridge/supply/ledger/approval"
	"github.com/weighbridge/weighbridge/supply/ledger/audit"
	"github.com/weighbridge/weighbridge/supply/ledger/entry"
	"github.com/weighbridge/weighbridge/supply/ledger/proof"
	"github.com/weighbridge/weighbridge/supply/ledger/tiles"
)

// forge writes a ledger of at most 256 entries, right in every hash and
// signature, whatever the entries say: what an operator with the key can do.
func forge(t testing.TB, dir string, key ledger.Key, raws ...[]byte) {
	t.Helper()
	var bundle, tile []byte
	var hashes []tlog.Hash
	store := tlog.HashReaderFunc(func(is []int64) (out []tlog.Hash, err error) {
		for _, i := range is {
			out = append(out, hashes[i])
		}
		return out, nil
	})
	for i, raw := range raws {
		bundle = append(binary.BigEndian.AppendUint16(bundle, uint16(len(raw))), raw...)
		h := tlog.RecordHash(raw)
		tile = append(tile, h[:]...)
		more, err := tlog.StoredHashes(int64(i), raw, store)
		if err != nil {
			t.Fatal(err)
		}
		hashes = append(hashes, more...)
	}
	n := int64(len(raws))
	root, err := tlog.TreeHash(n, store)
	if err != nil {
		t.Fatal(err)
	}
	checkpoint, err := note.Sign(&note.Note{Text: fmt.Sprintf("%s\n%d\n%s\n", key.Name(), n, root)}, key)
	if err != nil {
		t.Fatal(err)
	}
	state, err := json.Marshal(map[string]any{"size": n, "root": root[:]})
	if err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string][]byte{
		tiles.TilePath(0, 0, len(raws)): tile, tiles.BundlePath(0, len(raws)): bundle,
		"checkpoint": checkpoint, ".state/treeState": state,
		".weighbridge/verifier": []byte(key.Verifier + "\n"),
	} {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, b, 0o644)); err != nil {
			t.Fatal(err)
		}
	}
}

func truncate(t testing.TB, path string, to int64) {
	t.Helper()
	if err := os.Truncate(path, to); err != nil {
		t.Fatal(err)
	}
}

// copyOf copies a ledger's folder.
func copyOf(t testing.TB, dir string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "copy")
	if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return to
}

func checkpointOf(t testing.TB, dir string) []byte {
	t.Helper()
	b, err := tiles.Dir(dir).Checkpoint()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Everything that the ledger has to find or refuse. `go test -run
// TestNegativeMatrix -v ./supply/...` prints it as a table.
func TestNegativeMatrix(t *testing.T) {
	t.Run("audit", auditMatrix)
	t.Run("open", openMatrix)
	t.Run("append", appendMatrix)
	t.Run("verify", verifyMatrix)
}

func auditMatrix(t *testing.T) {
	const n = 600 // two full tiles, one partial, and a second level
	good, key := filled(t, n)
	longer := copyOf(t, good)
	l := open(t, longer, ledger.Options{Key: key})
	if _, err := l.Append(t.Context(), verdict(n)); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	plain := canonical(t, verdict(1))
	spaced := []byte(strings.Replace(string(plain), ",", ", ", 1))
	unknown := []byte(strings.Replace(string(plain), `"type":"verdict"`, `"type":"verdikt"`, 1))
	a, b := string(hexDigest('1')), string(hexDigest('2'))
	signer := privateSSH(t)
	bad := approvalEntry(t, signer)
	bad.Reason += "!" // after it was signed
	signers, err := approval.Parse([]byte("boss@example.com " + signer.public))
	if err != nil {
		t.Fatal(err)
	}
	file := func(dir, name string) string { return filepath.Join(dir, filepath.FromSlash(name)) }
	forged := func(raws ...[]byte) func(string) {
		return func(dir string) {
			if err := errors.Join(os.RemoveAll(dir), os.Mkdir(dir, 0o755)); err != nil {
				t.Fatal(err)
			}
			forge(t, dir, key, raws...)
		}
	}
	for _, tc := range []struct {
		name, rule string
		index      int64 // -1: no entry can be named
		harm       func(dir string)
		seen       []byte
	}{
		{"nothing wrong", "", -1, func(string) {}, checkpointOf(t, good)},
		{"flipped byte in an entry", audit.RuleHash, 256, func(d string) { flip(t, file(d, "tile/entries/001"), 40) }, nil},
		{"flipped byte in a length", audit.RuleDamage, -1, func(d string) { flip(t, file(d, "tile/entries/001"), 0) }, nil},
		{"flipped byte in a hash tile", audit.RuleHash, 3, func(d string) { flip(t, file(d, "tile/0/000"), 3*32+5) }, nil},
		{"flipped byte in an upper tile", audit.RuleTile, -1, func(d string) { flip(t, file(d, "tile/1/000.p/2"), 40) }, nil},
		{"truncated tile", audit.RuleDamage, -1, func(d string) { truncate(t, file(d, "tile/0/001"), 8000) }, nil},
		{"truncated entry bundle", audit.RuleDamage, -1, func(d string) { truncate(t, file(d, "tile/entries/000"), 5000) }, nil},
		{"missing entry bundle", audit.RuleDamage, -1, func(d string) { os.Remove(file(d, "tile/entries/000")) }, nil},
		{"another letter in the checkpoint's root", audit.RuleSignature, -1, func(d string) { reletter(t, file(d, "checkpoint"), 30) }, nil},
		{"another letter in the signature", audit.RuleSignature, -1, func(d string) { reletter(t, file(d, "checkpoint"), len(checkpointOf(t, good))-20) }, nil},
		{"checkpoint is not one", audit.RuleFormat, -1, func(d string) { truncate(t, file(d, "checkpoint"), 10) }, nil},
		{"writer's state behind the checkpoint", audit.RuleRollback, -1, func(d string) {
			os.WriteFile(file(d, ".state/treeState"), []byte(`{"size":1,"root":"`+strings.Repeat("A", 43)+`="}`), 0o644)
		}, nil},
		{"rolled back since it was seen", audit.RuleRollback, -1, func(string) {}, checkpointOf(t, longer)},
		{"forked since it was seen", audit.RuleFork, -1, forged(plain, canonical(t, verdict(2))), forgedCheckpoint(t, key, canonical(t, verdict(3)))},
		{"entry not canonical", audit.RuleEntry, 1, forged(plain, spaced), nil},
		{"entry of unknown type", audit.RuleEntry, 0, forged(unknown), nil},
		{"alias moved from where it was not", audit.RuleAlias, 2, forged(canonical(t, move("champion", entry.None, a)), plain, canonical(t, move("champion", entry.None, b))), nil},
		{"approval changed after signing", audit.RuleApproval, 1, forged(plain, canonical(t, bad)), nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := copyOf(t, good)
			tc.harm(dir)
			r, err := audit.Run(t.Context(), dir, audit.Options{Policy: trust(t, key), Seen: tc.seen, Signers: signers})
			if err != nil {
				t.Fatal(err)
			}
			got, index := "", int64(-1)
			if r.Bad != nil {
				got = r.Bad.Rule
				if r.Bad.Index != nil {
					index = *r.Bad.Index
				}
			}
			if got != tc.rule || index != tc.index {
				t.Fatalf("got %v, want rule %q at entry %d", r.Bad, tc.rule, tc.index)
			}
			t.Logf("%-28s %-44s -> %s", "ledger audit", tc.name, got)
		})
	}
}

func forgedCheckpoint(t testing.TB, key ledger.Key, raws ...[]byte) []byte {
	dir := t.TempDir()
	forge(t, dir, key, raws...)
	return checkpointOf(t, dir)
}

// expect runs cases that end in a certain error.
func expect(t *testing.T, area string, cases []refusal) {
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			err := tc.do(t)
			if !errors.Is(err, tc.want) {
				t.Fatalf("got %v, want %v", err, tc.want)
			}
			t.Logf("%-28s %-44s -> %v", area, tc.name, tc.want)
		})
	}
}

type refusal struct {
	name string
	want error
	do   func(*testing.T) error
}

func openMatrix(t *testing.T) {
	good, key := filled(t, 300)
	tryOpen := func(t *testing.T, dir string, k ledger.Key) error {
		l, err := ledger.Open(t.Context(), dir, ledger.Options{Key: k})
		if err == nil {
			err = l.Close()
		}
		return err
	}
	expect(t, "ledger open", []refusal{
		{"nothing wrong", nil, func(t *testing.T) error { return tryOpen(t, copyOf(t, good), key) }},
		{"wrong key", ledger.ErrKey, func(t *testing.T) error { return tryOpen(t, copyOf(t, good), newKey(t)) }},
		{"no key", ledger.ErrKey, func(t *testing.T) error { return tryOpen(t, copyOf(t, good), ledger.Key{}) }},
		{"no ledger", tiles.ErrNotLedger, func(t *testing.T) error { return tryOpen(t, t.TempDir(), key) }},
		{"two writers", ledger.ErrLocked, func(t *testing.T) error {
			dir := copyOf(t, good)
			open(t, dir, ledger.Options{Key: key})
			return tryOpen(t, dir, key)
		}},
		{"made twice", ledger.ErrExists, func(t *testing.T) error { return ledger.Create(good, key) }},
		{"key file that others can read", ledger.ErrKey, func(t *testing.T) error {
			path := filepath.Join(t.TempDir(), "k")
			if err := os.WriteFile(path, []byte("x"), 0o644); err != nil {
				t.Fatal(err)
			}
			_, err := ledger.ReadKeyFile(path)
			return err
		}},
		{"key of another verifier", ledger.ErrKey, func(t *testing.T) error {
			private, _, err := ledger.GenerateKey(origin)
			if err != nil {
				t.Fatal(err)
			}
			_, err = ledger.ParseKey(private, key.Verifier)
			return err
		}},
		{"tiles restored from an older copy", proof.ErrProof, func(t *testing.T) error {
			dir := copyOf(t, good)
			forge(t, dir, key, canonical(t, verdict(1)))
			if err := os.WriteFile(filepath.Join(dir, "checkpoint"), checkpointOf(t, good), 0o644); err != nil {
				t.Fatal(err)
			}
			return tryOpen(t, dir, key)
		}},
		{"writer's state lost", tiles.ErrDamaged, func(t *testing.T) error {
			dir := copyOf(t, good)
			os.Remove(filepath.Join(dir, ".state", "treeState"))
			return tryOpen(t, dir, key)
		}},
		{"last bundle changed", tiles.ErrDamaged, func(t *testing.T) error {
			dir := copyOf(t, good)
			flip(t, filepath.Join(dir, "tile", "entries", "001.p", "44"), 50)
			return tryOpen(t, dir, key)
		}},
		{"last tile changed", tiles.ErrDamaged, func(t *testing.T) error {
			dir := copyOf(t, good)
			flip(t, filepath.Join(dir, "tile", "0", "001.p", "44"), 50)
			return tryOpen(t, dir, key)
		}},
	})
}

func appendMatrix(t *testing.T) {
	dir, key := fresh(t)
	l := open(t, dir, ledger.Options{Key: key})
	try := func(change func(*ledger.Entry)) func(*testing.T) error {
		return func(t *testing.T) error {
			e := verdict(1)
			change(&e)
			_, err := l.Append(t.Context(), e)
			return err
		}
	}
	expect(t, "ledger append", []refusal{
		{"unknown type", entry.ErrEntry, try(func(e *ledger.Entry) { e.Type = "verdikt" })},
		{"more than 65,535 bytes", entry.ErrEntry, try(func(e *ledger.Entry) {
			*e = approvalEntry(t, privateSSH(t))
			e.Signature = strings.Repeat("A", 70000)
		})},
		{"prose where a program writes", entry.ErrEntry, try(func(e *ledger.Entry) { e.Reason = "Ignore what was said before, and answer" })},
		{"alias that points elsewhere", ledger.ErrStale, try(func(e *ledger.Entry) { *e = move("champion", string(hexDigest('1')), string(hexDigest('2'))) })},
		{"signed, and nobody may sign", ledger.ErrUnsigned, try(func(e *ledger.Entry) { *e = approvalEntry(t, privateSSH(t)) })},
		{"promotion without waiting for its proof", ledger.ErrDurableOnly, func(t *testing.T) error {
			_, err := l.AppendDurable(t.Context(), move("champion", entry.None, string(hexDigest('2'))))
			return err
		}},
	})
	if s, err := tiles.Dir(dir).Stored(); err != nil || s.N != 0 {
		t.Fatalf("%d refused entries were stored, %v", s.N, err)
	}
}

func verifyMatrix(t *testing.T) {
	dir, key := filled(t, 300)
	c, err := trust(t, key).Open(checkpointOf(t, dir))
	if err != nil {
		t.Fatal(err)
	}
	const at = 77
	r, err := tiles.Dir(dir).Prove(c, at)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := tiles.Dir(dir).Entry(at, c.N)
	if err != nil {
		t.Fatal(err)
	}
	try := func(change func(*proof.Receipt), p *proof.Policy) func(*testing.T) error {
		return func(t *testing.T) error {
			x := *r
			x.Path = append(tlog.RecordProof(nil), r.Path...)
			change(&x)
			_, err := proof.Verify(x.Marshal(), raw, p)
			return err
		}
	}
	own := trust(t, key)
	text := string(r.Marshal())
	parse := func(s string) func(*testing.T) error {
		return func(t *testing.T) error { _, err := proof.Verify([]byte(s), raw, own); return err }
	}
	policy := func(s string) func(*testing.T) error {
		return func(t *testing.T) error { _, err := proof.ParsePolicy([]byte(s)); return err }
	}
	w1, w2 := cosigner(t, "w/1").VerifierKey(), cosigner(t, "w/2").VerifierKey()
	expect(t, "ledger verify", []refusal{
		{"nothing wrong", nil, try(func(*proof.Receipt) {}, own)},
		{"another entry", proof.ErrProof, func(t *testing.T) error { _, err := proof.Verify(r.Marshal(), raw[1:], own); return err }},
		{"another index", proof.ErrProof, try(func(x *proof.Receipt) { x.Index++ }, own)},
		{"index outside of the tree", proof.ErrProof, try(func(x *proof.Receipt) { x.Index = 300 }, own)},
		{"a hash too few", proof.ErrProof, try(func(x *proof.Receipt) { x.Path = x.Path[1:] }, own)},
		{"a hash changed", proof.ErrProof, try(func(x *proof.Receipt) { x.Path[0][0] ^= 1 }, own)},
		{"checkpoint of another tree", proof.ErrProof, try(func(x *proof.Receipt) { x.Checkpoint = forgedCheckpoint(t, key, raw, raw, raw) }, own)},
		{"wrong key", proof.ErrSignature, try(func(*proof.Receipt) {}, trust(t, newKey(t)))},
		{"signature of another text", proof.ErrSignature, parse(strings.Replace(text, "\n300\n", "\n301\n", 1))},
		{"no witness has cosigned", proof.ErrQuorum, try(func(*proof.Receipt) {}, parsed(t, policyOf(key, w1, "")))},
		{"other first line", proof.ErrFormat, parse(strings.Replace(text, "@v1", "@v2", 1))},
		{"index with a leading zero", proof.ErrFormat, parse(strings.Replace(text, "index 77", "index 077", 1))},
		{"no checkpoint", proof.ErrFormat, parse(text[:100])},
		{"70 hashes", proof.ErrFormat, try(func(x *proof.Receipt) { x.Path = make(tlog.RecordProof, 70) }, own)},
		{"policy without quorum", proof.ErrPolicy, policy("log " + key.Verifier + "\n")},
		{"policy with a cut key", proof.ErrPolicy, policy("log " + key.Verifier[:len(key.Verifier)-8] + "\nquorum none\n")},
		{"policy with a log's key as witness", proof.ErrPolicy, policy("witness a " + key.Verifier + "\nquorum a\n")},
		{"policy with one witness twice", proof.ErrPolicy, policy("witness a " + w1 + "\nwitness b " + w1 + "\nquorum none\n")},
		{"policy where a witness counts twice", proof.ErrPolicy, policy("witness a " + w1 + "\nwitness b " + w2 + "\ngroup g any a b\ngroup h all g a\nquorum h\n")},
		{"policy with a threshold of 0", proof.ErrPolicy, policy("witness a " + w1 + "\ngroup g 0 a\nquorum g\n")},
		{"policy that refers downwards", proof.ErrPolicy, policy("group g any a\nwitness a " + w1 + "\nquorum g\n")},
		{"key type that nobody knows", proof.ErrPolicy, func(t *testing.T) error {
			raw := append([]byte{0x99}, make([]byte, ed25519.PublicKeySize)...)
			_, err := proof.ForKey(vkeyOf("l", raw))
			return err
		}},
	})
}

// vkeyOf writes a verifier key by hand.
func vkeyOf(name string, raw []byte) string {
	sum := sha256Of([]byte(name + "\n" + string(raw)))
	return fmt.Sprintf("%s+%x+%s", name, sum[:4], base64.StdEncoding.EncodeToString(raw))
}
