package supply

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/weighbridge/weighbridge/record"
	"github.com/weighbridge/weighbridge/supply/ledger/entry"
	"github.com/weighbridge/weighbridge/supply/ledger/proof"
	"github.com/weighbridge/weighbridge/supply/ledger/tiles"
	"github.com/weighbridge/weighbridge/supply/trust"
)

// ErrLedger is a ledger or receipt that cannot be asked.
var ErrLedger = errors.New("unusable ledger")

// OpenLedger makes a [Ledger] of a ledger's folder, or of one receipt
// (PREFIX.tlog-proof, with the entry beside it as PREFIX.json). Nothing in it
// counts that the trust file's key, and its witnesses, did not sign.
func OpenLedger(path string, t *trust.Ledger) (Ledger, error) {
	if t == nil {
		return nil, fmt.Errorf("%w: the trust file names none; add `ledger:` with its origin and public_key", ErrLedger)
	}
	policy, err := proof.ForKey(t.PublicKey)
	if t.WitnessPolicy != nil {
		if policy, err = proof.ParsePolicy(t.WitnessPolicy); err == nil && !slices.Contains(policy.Logs(), t.Origin) {
			policy, err = policy.WithLog(t.PublicKey)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrLedger, err)
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrLedger, err)
	}
	if info.IsDir() {
		return folder{tiles.Dir(path), policy, t.Origin}, nil
	}
	prefix, ok := strings.CutSuffix(path, ".tlog-proof")
	if !ok {
		return nil, fmt.Errorf("%w: %s is neither a ledger's folder nor a receipt (.tlog-proof)", ErrLedger, path)
	}
	receipt, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrLedger, err)
	}
	raw, err := os.ReadFile(prefix + ".json")
	if err != nil {
		return nil, fmt.Errorf("%w: the entry of the receipt: %w", ErrLedger, err)
	}
	return single{receipt, raw, policy}, nil
}

// folder is a ledger on disk.
type folder struct {
	dir    tiles.Dir
	policy *proof.Policy
	origin string
}

// Intake implements [Ledger].
func (f folder) Intake(ctx context.Context, names []string) (Intake, bool, error) {
	raw, err := f.dir.Checkpoint()
	if err != nil {
		return Intake{}, false, fmt.Errorf("%w: %w", ErrLedger, err)
	}
	c, err := f.policy.Open(raw)
	if err != nil {
		return unproven("checkpoint", err), true, nil
	}
	if c.Origin != f.origin {
		return unproven("checkpoint", fmt.Errorf("it is of the ledger %q, wanted %q", c.Origin, f.origin)), true, nil
	}
	// Every entry is held against the tiles, and these against the checkpoint:
	// whoever could rewrite one unseen could hide a refusal.
	in, found := Intake{Documents: map[string]time.Time{}}, false
	hashes := f.dir.Hashes(c.Tree)
	var leaves []int64
	var raws [][]byte
	for index, item := range f.dir.Bundles(0, c.N) {
		if err := ctx.Err(); err != nil {
			return Intake{}, false, err
		}
		if item.Err != nil {
			return damaged(fmt.Sprintf("entry %d", index), item.Err)
		}
		leaves, raws = append(leaves, tlog.StoredHashIndex(0, index)), append(raws, item.Raw)
		if len(raws) < tiles.Width && index+1 < c.N {
			continue
		}
		have, err := hashes.ReadHashes(leaves)
		if err != nil {
			return damaged("tiles", err)
		}
		for i, raw := range raws {
			at := index - int64(len(raws)-1-i)
			if tlog.RecordHash(raw) != have[i] {
				return unproven(fmt.Sprintf("entry %d", at), errors.New("it is not what the ledger's checkpoint covers; see `weighbridge ledger audit`")), true, nil
			}
			if !mentions(raw, names) {
				continue
			}
			e, err := entry.Parse(raw)
			if err != nil {
				return unproven(fmt.Sprintf("entry %d", at), err), true, nil
			}
			if admission(e, names) {
				found = true
				in.take(e, at, raw)
			}
		}
		leaves, raws = leaves[:0], raws[:0]
	}
	return in, found, nil
}

// single is one receipt with its entry.
type single struct {
	receipt, entry []byte
	policy         *proof.Policy
}

// Intake implements [Ledger].
func (s single) Intake(_ context.Context, names []string) (Intake, bool, error) {
	proven, err := proof.Verify(s.receipt, s.entry, s.policy)
	if err != nil {
		return unproven("receipt", err), true, nil
	}
	e, err := entry.Parse(s.entry)
	if err != nil {
		return unproven("receipt", err), true, nil
	}
	if !admission(e, names) {
		return Intake{}, false, nil
	}
	in := Intake{Documents: map[string]time.Time{}}
	in.take(e, proven.Index, s.entry)
	return in, true, nil
}

func unproven(subject string, err error) Intake {
	return Intake{Problems: []record.Problem{{Rule: RuleUnproven, Subject: subject, Detail: err.Error()}}}
}

// damaged tells a ledger that is broken from a disk that is.
func damaged(subject string, err error) (Intake, bool, error) {
	if errors.Is(err, tiles.ErrDamaged) {
		return unproven(subject, err), true, nil
	}
	return Intake{}, false, fmt.Errorf("reading the ledger: %s: %w", subject, err)
}

// mentions spares parsing what cannot be about the model.
func mentions(raw []byte, names []string) bool {
	return slices.ContainsFunc(names, func(n string) bool {
		return bytes.Contains(raw, []byte(strings.TrimPrefix(n, "sha256:")))
	})
}

// admission reports whether the entry is an intake of the model. A root alone
// does not bind names: where the entry has an identity, that decides.
func admission(e entry.Entry, names []string) bool {
	if e.Type != entry.Ingest {
		return false
	}
	id := e.Identity
	if id == "" {
		id = e.Model
	}
	return slices.ContainsFunc(names, func(n string) bool { return entry.SHA256(n) == id })
}

// take adds a proven entry; they come in the ledger's order.
func (in *Intake) take(e entry.Entry, index int64, raw []byte) {
	at, err := time.Parse(time.RFC3339, e.Time)
	if err != nil { // entry.Parse has checked it
		return
	}
	in.Index, in.Time, in.Digest, in.Problems = index, at, digest(raw), nil
	if e.Decision != "admit" {
		in.Problems = []record.Problem{{Rule: RuleRefused, Subject: fmt.Sprintf("entry %d", index), Detail: "its last intake was refused: " + e.Reason}}
		return
	}
	for _, x := range e.Evidence {
		if t, known := in.Documents[string(x.Digest)]; !known || at.Before(t) {
			in.Documents[string(x.Digest)] = at
		}
	}
}
