package ledger_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weighbridge/weighbridge/supply/ledger"
	"github.com/weighbridge/weighbridge/supply/ledger/audit"
	"github.com/weighbridge/weighbridge/supply/ledger/entry"
	"github.com/weighbridge/weighbridge/supply/ledger/proof"
	"github.com/weighbridge/weighbridge/supply/ledger/tiles"
)

const origin = "ledger.example/gate"

var day = time.Date(2026, 5, 17, 9, 30, 0, 0, time.UTC)

func hexDigest(c byte) entry.Digest { return entry.SHA256(strings.Repeat(string(c), 64)) }

func verdict(i int) ledger.Entry {
	e := entry.New(entry.Verdict, day.Add(time.Duration(i)*time.Second), "ci@example.com")
	e.Model, e.Identity, e.Environment, e.Policy = hexDigest('a'), hexDigest('b'), "prod", hexDigest('c')
	e.Decision = "approve"
	e.Evidence = []entry.Evidence{{Kind: "report", Digest: entry.SHA256(fmt.Sprintf("%064x", i))}}
	return e
}

func move(alias, from, to string) ledger.Entry {
	e := entry.New(entry.AliasMove, day, "ops@example.com")
	e.Model, e.Environment, e.Alias, e.Previous, e.New = entry.Digest(to), "prod", alias, from, to
	return e
}

func newKey(t testing.TB) ledger.Key {
	t.Helper()
	private, public, err := ledger.GenerateKey(origin)
	if err != nil {
		t.Fatal(err)
	}
	k, err := ledger.ParseKey(private, public)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// fresh makes an empty ledger.
func fresh(t testing.TB) (dir string, key ledger.Key) {
	t.Helper()
	dir, key = filepath.Join(t.TempDir(), "ledger"), newKey(t)
	if err := ledger.Create(dir, key); err != nil {
		t.Fatal(err)
	}
	return dir, key
}

func open(t testing.TB, dir string, o ledger.Options) *ledger.Ledger {
	t.Helper()
	l, err := ledger.Open(t.Context(), dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil && !errors.Is(err, ledger.ErrUnproven) {
			t.Error(err)
		}
	})
	return l
}

func canonical(t testing.TB, e ledger.Entry) []byte {
	t.Helper()
	b, err := e.Canonical()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func trust(t testing.TB, k ledger.Key) *proof.Policy {
	t.Helper()
	p, err := proof.ForKey(k.Verifier)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// filled is a closed ledger of n verdicts.
func filled(t testing.TB, n int) (dir string, key ledger.Key) {
	t.Helper()
	dir, key = fresh(t)
	l := open(t, dir, ledger.Options{Key: key, Batch: 256, BatchAge: 2 * time.Millisecond})
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			if _, err := l.Append(t.Context(), verdict(i)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return dir, key
}

func TestAppendProvesEveryEntry(t *testing.T) {
	dir, key := fresh(t)
	l := open(t, dir, ledger.Options{Key: key, Batch: 64, BatchAge: 2 * time.Millisecond})
	const n = 300 // more than one tile
	receipts := make([]*ledger.Receipt, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			r, err := l.Append(t.Context(), verdict(i))
			if err != nil {
				t.Error(err)
				return
			}
			receipts[i] = r
		})
	}
	wg.Wait()
	seen := map[int64]bool{}
	for i, r := range receipts {
		p, err := ledger.VerifyReceipt(r.Marshal(), canonical(t, verdict(i)), trust(t, key))
		if err != nil {
			t.Fatalf("receipt %d: %v", i, err)
		}
		if seen[p.Index] {
			t.Fatalf("index %d was given twice", p.Index)
		}
		seen[p.Index] = true
		if _, err := ledger.VerifyReceipt(r.Marshal(), canonical(t, verdict(i+1)), trust(t, key)); !errors.Is(err, proof.ErrProof) {
			t.Fatalf("receipt %d holds for another entry: %v", i, err)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Append(t.Context(), verdict(0)); !errors.Is(err, ledger.ErrClosed) {
		t.Fatalf("a closed ledger: %v", err)
	}
}

func TestReopenedLedgerGoesOn(t *testing.T) {
	dir, key := fresh(t)
	for i := range 4 {
		l := open(t, dir, ledger.Options{Key: key})
		r, err := l.Append(t.Context(), verdict(i))
		if err != nil {
			t.Fatal(err)
		}
		if r.Index != int64(i) {
			t.Fatalf("index %d, want %d", r.Index, i)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// Many small writes leave no copy of every state of a bundle behind.
func TestPartialFilesAreSwept(t *testing.T) {
	dir, key := fresh(t)
	const n = 520
	l := open(t, dir, ledger.Options{Key: key, Batch: 4, BatchAge: time.Millisecond})
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			if _, err := l.Append(t.Context(), verdict(i)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	old, err := filepath.Glob(filepath.Join(dir, "tile", "*", "00[01].p"))
	if err != nil || len(old) == 0 {
		t.Fatalf("no partial files to sweep: %v", err)
	}
	if err := open(t, dir, ledger.Options{Key: key}).Close(); err != nil {
		t.Fatal(err)
	}
	for _, gone := range []string{"tile/0/000.p", "tile/0/001.p", "tile/entries/000.p", "tile/entries/001.p"} {
		if _, err := os.Stat(filepath.Join(dir, gone)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: %v", gone, err)
		}
	}
	r, err := audit.Run(t.Context(), dir, audit.Options{Policy: trust(t, key)})
	if err != nil || r.Bad != nil || r.Size != n {
		t.Fatalf("%+v %v", r, err)
	}
}

func TestClockSetBackDoesNotStopPublication(t *testing.T) {
	dir, key := filled(t, 1)
	later := time.Now().Add(time.Hour)
	if err := os.Chtimes(filepath.Join(dir, "checkpoint"), later, later); err != nil {
		t.Fatal(err)
	}
	l := open(t, dir, ledger.Options{Key: key})
	early := verdict(0)
	early.Time = "2001-01-01T00:00:00Z"
	early.Evidence[0].Digest = hexDigest('9')
	r, err := l.Append(t.Context(), early)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := tiles.Dir(dir).Entry(r.Index, r.Index+1)
	if err != nil || !strings.Contains(string(raw), "2001-01-01T00:00:00Z") {
		t.Fatalf("%s, %v", raw, err)
	}
}

func TestAliasMovesStartWhereTheAliasPoints(t *testing.T) {
	dir, key := fresh(t)
	a, b := string(hexDigest('1')), string(hexDigest('2'))
	l := open(t, dir, ledger.Options{Key: key, Batch: 16, BatchAge: time.Millisecond})
	if _, err := l.Append(t.Context(), move("champion", entry.None, a)); err != nil {
		t.Fatal(err)
	}
	// Two at once want to move it: one of them has to look again.
	var wg sync.WaitGroup
	errs := make([]error, 8)
	for i := range errs {
		wg.Go(func() { _, errs[i] = l.Append(t.Context(), move("champion", a, b)) })
	}
	wg.Wait()
	done := 0
	for _, err := range errs {
		switch {
		case err == nil:
			done++
		case !errors.Is(err, ledger.ErrStale):
			t.Fatal(err)
		}
	}
	if done != 1 {
		t.Fatalf("%d of the moves went through, want 1", done)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = open(t, dir, ledger.Options{Key: key})
	back := entry.New(entry.Rollback, day, "ops@example.com")
	back.Model, back.Environment, back.Alias, back.Previous, back.New, back.Reason = entry.Digest(a), "prod", "champion", b, a, "complaints"
	i, err := l.AppendDurable(t.Context(), back)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Publish(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got, err := l.Alias(ledger.AliasName{Environment: "prod", Alias: "champion"}); err != nil || got != a || i != 2 {
		t.Fatalf("champion is %s after entry %d, %v", got, i, err)
	}
	if _, err := l.AppendDurable(t.Context(), move("champion", a, b)); !errors.Is(err, ledger.ErrDurableOnly) {
		t.Fatalf("a promotion was stored without proof: %v", err)
	}
}

// The program that a deploy step calls links package proof: it has to stay
// free of Tessera and all that comes with it.
func TestVerificationStandsOnModAlone(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", "-f", "{{if not .Standard}}{{.ImportPath}}{{end}}", "../ledger/proof", "../ledger/entry").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range strings.Fields(string(out)) {
		switch {
		case strings.HasPrefix(p, "golang.org/x/mod/"), p == "github.com/gowebpki/jcs",
			strings.HasPrefix(p, "github.com/weighbridge/weighbridge/supply/ledger/"):
		default:
			t.Errorf("package proof or entry depends on %s", p)
		}
	}
}
