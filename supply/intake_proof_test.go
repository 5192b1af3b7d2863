package supply

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/weighbridge/weighbridge/record"
	"github.com/weighbridge/weighbridge/supply/ledger"
	"github.com/weighbridge/weighbridge/supply/ledger/entry"
	"github.com/weighbridge/weighbridge/supply/trust"
)

// A real ledger: intakes of this model and of others, admitted and refused.
func TestIntakeInALedger(t *testing.T) {
	b := newBench(t)
	b.complete()
	first, err := Check(t.Context(), b.config())
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "ledger")
	private, verifier, err := ledger.GenerateKey("ledger.example.com/gate")
	if err != nil {
		t.Fatal(err)
	}
	key, err := ledger.ParseKey(private, verifier)
	if err != nil {
		t.Fatal(err)
	}
	if err := ledger.Create(dir, key); err != nil {
		t.Fatal(err)
	}
	l, err := ledger.Open(t.Context(), dir, ledger.Options{Key: key})
	if err != nil {
		t.Fatal(err)
	}
	add := func(at, root, identity, decision string, documents ...string) *ledger.Receipt {
		t.Helper()
		when, err := time.Parse(time.DateOnly, at)
		if err != nil {
			t.Fatal(err)
		}
		e := entry.New(entry.Ingest, when, "gate@example.com")
		e.Model, e.Identity, e.Decision = entry.SHA256(root), entry.SHA256(identity), decision
		if decision == "refuse" {
			e.Reason = entry.Codes("format-executable")
		}
		for _, d := range append(documents, "sha256:"+strings.Repeat("ee", 32)) {
			e.Evidence = append(e.Evidence, entry.Evidence{Kind: "document", Digest: entry.Digest(d)})
		}
		r, err := l.Append(t.Context(), e)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	sig := first.Of(record.ModelSignature).Digest
	receiptOf := func(name string, r *ledger.Receipt) string {
		t.Helper()
		path := filepath.Join(t.TempDir(), name+".tlog-proof")
		put(t, path, string(r.Marshal()))
		return path
	}
	add("2026-01-01", strings.Repeat("11", 32), strings.Repeat("22", 32), "admit", sig)
	add("2026-02-01", first.Root, strings.Repeat("22", 32), "admit", sig) // the same contents under other names
	own := &trust.Ledger{Origin: "ledger.example.com/gate", PublicKey: verifier}
	check := func(path string, t2 *trust.Ledger) *Assessment {
		t.Helper()
		c := b.config()
		if c.Ledger, err = OpenLedger(path, t2); err != nil {
			t.Fatal(err)
		}
		a, err := Check(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	if e := check(dir, own).Of(record.LedgerProof); e.State != record.Absent {
		t.Errorf("only others are in it: %+v", e)
	}
	b.revoke("key", b.ids["alice"], "2026-05-01")
	r := add("2026-03-01", first.Root, first.Identity, "admit", sig)
	add("2026-04-01", first.PythonRoot, first.Identity, "admit")
	a := check(dir, own)
	if e := a.Of(record.LedgerProof); e.State != record.Valid || *e.Index != 3 {
		t.Errorf("%+v", e)
	}
	if e := a.Of(record.ModelSignature); e.State != record.Valid || e.Time != "2026-03-01T00:00:00Z" {
		t.Errorf("signed before the revocation, as the ledger proves: %+v", e)
	}

	// The receipt alone, with its entry beside it.
	path := receiptOf("intake", r)
	if _, err := OpenLedger(path, own); !errors.Is(err, ErrLedger) {
		t.Errorf("a receipt without its entry: %v", err)
	}
	e := entry.New(entry.Ingest, time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC), "gate@example.com")
	e.Model, e.Identity, e.Decision = entry.SHA256(first.Root), entry.SHA256(first.Identity), "admit"
	e.Evidence = []entry.Evidence{{Kind: "document", Digest: entry.Digest(sig)}, {Kind: "document", Digest: entry.SHA256(strings.Repeat("ee", 32))}}
	raw, err := e.Canonical()
	if err != nil {
		t.Fatal(err)
	}
	beside := strings.TrimSuffix(path, ".tlog-proof") + ".json"
	put(t, beside, string(raw))
	if e := check(path, own).Of(record.LedgerProof); e.State != record.Valid || *e.Index != 2 {
		t.Errorf("by its receipt: %+v", e)
	}
	put(t, beside, strings.Replace(string(raw), "2026-03-01", "2020-03-01", 1))
	if e := check(path, own).Of(record.LedgerProof); e.State != record.Bad || e.Problems[0].Rule != RuleUnproven {
		t.Errorf("a forged entry: %+v", e)
	}

	// A ledger that the trust file does not name.
	_, stranger, err := ledger.GenerateKey("ledger.example.com/gate")
	if err != nil {
		t.Fatal(err)
	}
	if e := check(dir, &trust.Ledger{Origin: own.Origin, PublicKey: stranger}).Of(record.LedgerProof); e.State != record.Bad || e.Problems[0].Rule != RuleUnproven {
		t.Errorf("another key: %+v", e)
	}

	add("2026-05-01", first.Root, first.Identity, "refuse")
	if e := check(dir, own).Of(record.LedgerProof); e.State != record.Bad || e.Problems[0].Rule != RuleRefused {
		t.Errorf("refused later: %+v", e)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}

	// A tile that lies.
	tile := filepath.Join(dir, "tile", "entries", "000.p", "5")
	src, err := os.ReadFile(tile)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(tile, 0o644); err != nil {
		t.Fatal(err)
	}
	put(t, tile, strings.Replace(string(src), `"refuse"`, `"forged"`, 1))
	if e := check(dir, own).Of(record.LedgerProof); e.State != record.Bad || e.Problems[0].Rule != RuleUnproven {
		t.Errorf("a forged entry: %+v", e)
	}
	// Even where the entry is made to be about another model.
	put(t, tile, strings.ReplaceAll(string(src), strings.TrimPrefix(first.Identity, "sha256:"), strings.Repeat("33", 32)))
	if e := check(dir, own).Of(record.LedgerProof); e.State != record.Bad || e.Problems[0].Rule != RuleUnproven {
		t.Errorf("a hidden refusal: %+v", e)
	}
	if _, err := OpenLedger(dir, nil); !errors.Is(err, ErrLedger) {
		t.Errorf("no ledger in the trust file: %v", err)
	}
	if _, err := OpenLedger(filepath.Join(dir, "checkpoint"), own); !errors.Is(err, ErrLedger) {
		t.Errorf("neither folder nor receipt: %v", err)
	}
}
