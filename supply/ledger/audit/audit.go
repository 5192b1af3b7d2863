// Package audit recomputes a ledger from its entries alone.
//
// In: a ledger's folder, a policy, the checkpoint seen last time. Out: what is
// in it, or the first thing that is wrong: the entry's index, the file, what
// differs. Every hash tile and root is made again, every entry is read in its
// canonical form, every alias followed, every person's signature checked.
//
// It will not write: whoever audits keeps the checkpoint that it gives back,
// and shows it the next time. Without it, or without a witness, an operator who
// rewrites everything consistently and signs it anew is not found.
package audit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/weighbridge/weighbridge/supply/ledger"
	"github.com/weighbridge/weighbridge/supply/ledger/approval"
	"github.com/weighbridge/weighbridge/supply/ledger/entry"
	"github.com/weighbridge/weighbridge/supply/ledger/proof"
	"github.com/weighbridge/weighbridge/supply/ledger/tiles"
)

// Options of Run. Policy is needed.
type Options struct {
	Policy *proof.Policy
	// Seen is a checkpoint that the same policy was satisfied with earlier.
	Seen []byte
	// Signers checks people's signatures, as of the entry's time; nil leaves
	// them out and counts them in Result.Unchecked.
	Signers *approval.Signers
}

// Result is what the ledger holds. With Bad it ends before it.
type Result struct {
	Checkpoint *proof.Checkpoint `json:"-"`
	Origin     string            `json:"origin"`
	Size       int64             `json:"size"`    // entries under the checkpoint
	Root       string            `json:"root"`    // of the checkpoint, base64
	Stored     int64             `json:"stored"`  // entries on disk
	Pending    []int64           `json:"pending"` // stored and not proven
	Cosigned   []string          `json:"cosigned"`
	Types      map[string]int64  `json:"types"`
	Signed     int64             `json:"signed"`    // people's signatures that hold
	Unchecked  int64             `json:"unchecked"` // people's signatures without Signers
	// ClockBack counts entries whose time is before that of the one before.
	// Times are recorded; order is the index.
	ClockBack int64 `json:"clock_back"`
	Bad       *Bad  `json:"bad,omitempty"`
}

// Bad is the first thing that is wrong.
type Bad struct {
	Rule  string `json:"rule"`            // stable code
	Index *int64 `json:"index,omitempty"` // of the entry, where one can be named
	File  string `json:"file,omitempty"`  // inside the folder
	Why   string `json:"why"`
}

func (b *Bad) Error() string {
	where := b.File
	if b.Index != nil {
		where = fmt.Sprintf("entry %d (%s)", *b.Index, b.File)
	}
	return fmt.Sprintf("%s: %s: %s", b.Rule, where, b.Why)
}

// The rule codes of Bad.
const (
	RuleSignature = "checkpoint-signature" // no trusted key signed the checkpoint
	RuleQuorum    = "checkpoint-quorum"    // too few witnesses cosigned it
	RuleFormat    = "checkpoint-format"
	RuleRollback  = "rolled-back"     // fewer entries than were seen, or than were signed
	RuleFork      = "forked"          // other entries than were seen
	RuleDamage    = "damaged"         // a file is missing, cut or grown
	RuleHash      = "entry-hash"      // an entry is not what its tile says
	RuleTile      = "tile-hash"       // a tile is not what the entries make
	RuleRoot      = "root"            // the entries do not lead to the checkpoint's root
	RuleEntry     = "entry-format"    // not canonical, not a known type, a field missing
	RuleAlias     = "alias-chain"     // a move that does not start where the alias pointed
	RuleApproval  = "entry-signature" // a person's signature does not hold
)

// Run audits a folder. Errors are faults of the machine or of what it was given
// to judge by; whatever is wrong with the ledger is Result.Bad.
func Run(ctx context.Context, dir string, o Options) (*Result, error) {
	a := &auditor{d: tiles.Dir(dir), o: o, r: &Result{Types: map[string]int64{}, Pending: []int64{}, Cosigned: []string{}}}
	err := a.run(ctx)
	var damage *tiles.Damage
	switch {
	case errors.As(err, &a.r.Bad):
	case errors.As(err, &damage):
		a.r.Bad = &Bad{Rule: RuleDamage, File: damage.File, Why: damage.Why}
	case err != nil:
		return nil, fmt.Errorf("auditing %s: %w", dir, err)
	}
	return a.r, nil
}

type auditor struct {
	d       tiles.Dir
	o       Options
	r       *Result
	tree    tree
	aliases ledger.Aliases
	last    string // time of the entry before
}

// mark is a size at which the recomputed root has to be a certain one.
type mark struct {
	tlog.Tree
	rule, file, what string
	tiles            bool // partial tiles of this size are on disk
}

func (a *auditor) run(ctx context.Context) error {
	marks, err := a.marks()
	if err != nil {
		return err
	}
	end := marks[len(marks)-1].N
	for at := int64(0); ; {
		for len(marks) > 0 && marks[0].N == at {
			if err := a.reach(marks[0]); err != nil {
				return err
			}
			marks = marks[1:]
		}
		if at == end {
			return nil
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		// Up to the next mark or the end of the bundle, whichever is first.
		n := at / tiles.Width
		to := min(marks[0].N, (n+1)*tiles.Width)
		if err := a.bundle(n, at, to, min(end, (n+1)*tiles.Width)); err != nil {
			return err
		}
		at = to
	}
}

// marks reads the checkpoint, what was seen before and what is on disk.
func (a *auditor) marks() ([]mark, error) {
	raw, err := a.d.Checkpoint()
	if err != nil {
		return nil, err
	}
	c, err := a.o.Policy.Open(raw)
	for rule, is := range map[string]error{RuleSignature: proof.ErrSignature, RuleQuorum: proof.ErrQuorum, RuleFormat: proof.ErrFormat} {
		if errors.Is(err, is) {
			return nil, &Bad{Rule: rule, File: "checkpoint", Why: err.Error()}
		}
	}
	if err != nil {
		return nil, err
	}
	a.r.Checkpoint, a.r.Origin, a.r.Size, a.r.Root = c, c.Origin, c.N, c.Hash.String()
	a.r.Cosigned = append(a.r.Cosigned, c.Cosigned...)
	marks := []mark{{c.Tree, RuleRoot, "checkpoint", "the entries do not lead to its root", true}}
	if a.o.Seen != nil {
		s, err := a.o.Policy.Open(a.o.Seen)
		if err != nil {
			return nil, fmt.Errorf("the checkpoint seen before: %w", err)
		}
		if s.Origin != c.Origin {
			return nil, &Bad{Rule: RuleFork, File: "checkpoint", Why: fmt.Sprintf("origin %s, and %s was seen before", c.Origin, s.Origin)}
		}
		if s.N > c.N {
			return nil, &Bad{Rule: RuleRollback, File: "checkpoint", Why: fmt.Sprintf("%d entries, and a checkpoint of %d was seen before", c.N, s.N)}
		}
		marks = append(marks, mark{s.Tree, RuleFork, "checkpoint", "the entries are not those of the checkpoint seen before", false})
	}
	stored := c.Tree
	if _, err := os.Stat(filepath.Join(string(a.d), ".state")); err == nil {
		if stored, err = a.d.Stored(); err != nil {
			return nil, err
		}
	} else if !errors.Is(err, fs.ErrNotExist) { // a copy of the public files alone is fine
		return nil, err
	}
	if stored.N < c.N {
		return nil, &Bad{Rule: RuleRollback, File: ".state/treeState", Why: fmt.Sprintf("%d entries on disk, and the checkpoint has %d", stored.N, c.N)}
	}
	marks = append(marks, mark{stored, RuleRoot, ".state/treeState", "the entries do not lead to its root", true})
	a.r.Stored = stored.N
	for i := c.N; i < stored.N; i++ {
		a.r.Pending = append(a.r.Pending, i)
	}
	slices.SortStableFunc(marks, func(x, y mark) int { return cmp.Compare(x.N, y.N) })
	return marks, nil
}

// reach compares the recomputed tree with a mark.
func (a *auditor) reach(m mark) error {
	if m.tiles {
		for level, hs := range a.tree.open {
			if len(hs) > 0 {
				if err := a.tile(level, a.tree.done(level), hs); err != nil {
					return err
				}
			}
		}
	}
	if got := a.tree.root(); got != m.Hash {
		return &Bad{Rule: m.rule, File: m.file, Why: fmt.Sprintf("%s: at %d entries it is %s, recomputed %s", m.what, m.N, m.Hash, got)}
	}
	return nil
}

// bundle takes the entries from and to, of the bundle n that is width wide.
func (a *auditor) bundle(n, from, to, end int64) error {
	es, err := a.d.Bundle(n, int(end-n*tiles.Width))
	if err != nil {
		return err
	}
	width := len(es)
	t, err := a.d.Tile(0, n, width)
	if err != nil {
		return err
	}
	for i := from; i < to; i++ {
		raw := es[i-n*tiles.Width]
		h := tlog.RecordHash(raw)
		said := tlog.Hash(t[(i-n*tiles.Width)*tlog.HashSize:])
		if h != said {
			return &Bad{Rule: RuleHash, Index: &i, File: tiles.BundlePath(n, width), Why: fmt.Sprintf("its bytes hash to %s, and %s says %s", h, tiles.TilePath(0, n, width), said)}
		}
		if err := a.entry(i, tiles.BundlePath(n, width), raw); err != nil {
			return err
		}
		if err := a.tree.add(h, a.tile); err != nil {
			return err
		}
	}
	return nil
}

func (a *auditor) entry(i int64, file string, raw []byte) error {
	e, err := entry.Parse(raw)
	if err != nil {
		return &Bad{Rule: RuleEntry, Index: &i, File: file, Why: err.Error()}
	}
	if err := a.aliases.Apply(e); err != nil {
		return &Bad{Rule: RuleAlias, Index: &i, File: file, Why: err.Error()}
	}
	if e.Signature != "" {
		if a.o.Signers == nil {
			a.r.Unchecked++
		} else {
			at, err := time.Parse(time.RFC3339, e.Time)
			if err == nil {
				err = a.o.Signers.Check(e, at)
			}
			if err != nil {
				return &Bad{Rule: RuleApproval, Index: &i, File: file, Why: err.Error()}
			}
			a.r.Signed++
		}
	}
	if e.Time < a.last {
		a.r.ClockBack++
	}
	a.last = e.Time
	a.r.Types[string(e.Type)]++
	return nil
}

// tile compares hashes that were made from the entries with the file.
func (a *auditor) tile(level int, n int64, want []tlog.Hash) error {
	b, err := a.d.Tile(level, n, len(want))
	if err != nil {
		return err
	}
	for i, h := range want {
		if tlog.Hash(b[i*tlog.HashSize:]) != h {
			return &Bad{Rule: RuleTile, File: tiles.TilePath(level, n, len(want)), Why: fmt.Sprintf("hash %d is %s, and the entries make %s", i, tlog.Hash(b[i*tlog.HashSize:]), h)}
		}
	}
	return nil
}
