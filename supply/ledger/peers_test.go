package ledger_test

import (
	"errors"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/weighbridge/weighbridge/supply/ledger"
	"github.com/weighbridge/weighbridge/supply/ledger/internal/peer"
	"github.com/weighbridge/weighbridge/supply/ledger/proof"
	"github.com/weighbridge/weighbridge/supply/ledger/witness"
)

// policyOf writes a tlog-policy with one witness.
func policyOf(key ledger.Key, witnessKey, url string) []byte {
	return fmt.Appendf(nil, "log %s\nwitness w %s %s\nquorum w\n", key.Verifier, witnessKey, url)
}

func parsed(t testing.TB, policy []byte) *proof.Policy {
	t.Helper()
	p, err := proof.ParsePolicy(policy)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// litewitness cosigns our checkpoints; while it is down nothing is proven, a
// rollback is stored all the same, and both are proven when it is back.
func TestLitewitness(t *testing.T) {
	dir, key := fresh(t)
	w := peer.Litewitness(t, "witness.example/lite", origin, key.Verifier)
	policy := policyOf(key, w.Key, w.URL)
	l := open(t, dir, ledger.Options{Key: key, Witnesses: policy, Timeout: 3 * time.Second})
	for i := range 3 {
		r, err := l.Append(t.Context(), verdict(i))
		if err != nil {
			t.Fatal(err)
		}
		p, err := proof.Verify(r.Marshal(), canonical(t, verdict(i)), parsed(t, policy))
		if err != nil || len(p.Checkpoint.Cosigned) != 1 {
			t.Fatalf("receipt %d: %v", i, err)
		}
	}
	before, err := l.Checkpoint()
	if err != nil {
		t.Fatal(err)
	}

	w.Stop()
	var unproven *ledger.Unproven
	_, err = l.Append(t.Context(), verdict(3))
	if !errors.As(err, &unproven) || unproven.Index != 3 || !strings.Contains(err.Error(), w.URL) {
		t.Fatalf("with the witness stopped: %v, want an Unproven that names %s", err, w.URL)
	}
	if now, err := l.Checkpoint(); err != nil || now.N != before.N {
		t.Fatalf("a checkpoint of size %d was published without its witness, %v", now.N, err)
	}
	back := move("champion", "none", string(hexDigest('1')))
	back.Type, back.Reason = "rollback", "complaints"
	if i, err := l.AppendDurable(t.Context(), back); err != nil || i != 4 {
		t.Fatalf("rollback: entry %d, %v", i, err)
	}
	if p, err := l.Pending(); err != nil || len(p) != 2 || p[0].Index != 3 {
		t.Fatalf("pending %v, %v", p, err)
	}
	if err := l.Close(); !errors.Is(err, ledger.ErrUnproven) {
		t.Fatalf("closing: %v", err)
	}

	w.Start()
	l = open(t, dir, ledger.Options{Key: key, Witnesses: policy, Timeout: 10 * time.Second})
	if c, err := l.Publish(t.Context()); err != nil || c.N != 5 {
		t.Fatalf("published %v, %v", c, err)
	}
	if p, err := l.Pending(); err != nil || len(p) != 0 {
		t.Fatalf("pending %v, %v", p, err)
	}
}

// Our witness through Tessera's client, with another quorum of two.
func TestOurWitnessServesTessera(t *testing.T) {
	dir, key := fresh(t)
	var lines strings.Builder
	fmt.Fprintf(&lines, "log %s\n", key.Verifier)
	for i := range 2 {
		s := cosigner(t, fmt.Sprintf("witness.example/%d", i))
		w, err := witness.New(t.TempDir(), s, trust(t, key), func(err error) { t.Error(err) })
		if err != nil {
			t.Fatal(err)
		}
		srv := httptest.NewServer(w)
		t.Cleanup(srv.Close)
		fmt.Fprintf(&lines, "witness w%d %s %s\n", i, s.VerifierKey(), srv.URL)
	}
	lines.WriteString("group both all w0 w1\nquorum both\n")
	policy := []byte(lines.String())
	l := open(t, dir, ledger.Options{Key: key, Witnesses: policy})
	for i := range 5 {
		r, err := l.Append(t.Context(), verdict(i))
		if err != nil {
			t.Fatal(err)
		}
		p, err := proof.Verify(r.Marshal(), canonical(t, verdict(i)), parsed(t, policy))
		if err != nil || len(p.Checkpoint.Cosigned) != 2 {
			t.Fatalf("receipt %d: %v", i, err)
		}
	}
}

func cosigner(t testing.TB, name string) *proof.Cosigner {
	t.Helper()
	private, _, err := ledger.GenerateKey(name)
	if err != nil {
		t.Fatal(err)
	}
	s, err := proof.NewCosigner(private, func() time.Time { return day })
	if err != nil {
		t.Fatal(err)
	}
	var _ note.Signer = s
	return s
}

// Tessera's own fsck accepts our tree, and finds a flipped byte in it.
func TestTesseraFsck(t *testing.T) {
	program := peer.Path(t, "fsck")
	dir, key := filled(t, 600)
	pub := filepath.Join(t.TempDir(), "pub")
	if err := os.WriteFile(pub, []byte(key.Verifier), 0o644); err != nil {
		t.Fatal(err)
	}
	// It exits with 0 whatever it finds, and hangs after some errors: what it
	// says counts.
	fsck := func() string {
		out, stop := peer.Start(t, program, "-ui=false", "-logtostderr", "-v=1", "-storage_url=file://"+dir+"/", "-public_key="+pub)
		defer stop()
		peer.Wait(t, "fsck to come to an end", func() bool {
			return strings.Contains(out.String(), "Completed") || strings.Contains(out.String(), "Invalid")
		})
		return out.String()
	}
	if out := fsck(); strings.Contains(out, "failed") || strings.Contains(out, "Invalid") {
		t.Fatalf("fsck: %s", out)
	}
	flip(t, filepath.Join(dir, "tile", "entries", "001"), 1000)
	if out := fsck(); !strings.Contains(out, "Invalid") {
		t.Fatalf("fsck does not see a flipped byte: %s", out)
	}
}

// flip turns one bit of a file.
func flip(t testing.TB, path string, at int) {
	t.Helper()
	change(t, path, at, func(b byte) byte { return b ^ 1 })
}

// reletter puts another letter into base64, which stays base64.
func reletter(t testing.TB, path string, at int) {
	t.Helper()
	change(t, path, at, func(b byte) byte {
		if b == 'A' {
			return 'B'
		}
		return 'A'
	})
}

func change(t testing.TB, path string, at int, to func(byte) byte) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[at] = to(b[at])
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
}
