package ledger

import (
	"fmt"

	"github.com/weighbridge/weighbridge/supply/ledger/entry"
	"github.com/weighbridge/weighbridge/supply/ledger/tiles"
)

// Aliases are what each alias points to, after a number of entries.
type Aliases struct {
	Size  int64 // entries seen
	state map[AliasName]string
}

// AliasName is one alias of one model name in one environment.
type AliasName struct{ Name, Environment, Alias string }

// AliasOf gives the alias that an entry moves.
func AliasOf(e Entry) (AliasName, bool) {
	return AliasName{e.Name, e.Environment, e.Alias}, moves(e)
}

func moves(e Entry) bool { return e.Type == entry.AliasMove || e.Type == entry.Rollback }

// Get is the model root that the alias points to, or entry.None.
func (a *Aliases) Get(n AliasName) string {
	if s, ok := a.state[n]; ok {
		return s
	}
	return entry.None
}

// Apply takes the next entry, and reports a move that does not start where the
// alias points.
func (a *Aliases) Apply(e Entry) error {
	a.Size++
	n, ok := AliasOf(e)
	if !ok {
		return nil
	}
	at := a.Get(n)
	if a.state == nil {
		a.state = map[AliasName]string{}
	}
	a.state[n] = e.New
	if at != e.Previous {
		return fmt.Errorf("%w: %s in %s points to %s, not %s", ErrStale, e.Alias, e.Environment, at, e.Previous)
	}
	return nil
}

// read brings a up to size.
func (a *Aliases) read(d tiles.Dir, size int64) error {
	for i, item := range d.Bundles(a.Size, size) {
		if item.Err != nil {
			return item.Err
		}
		e, err := entry.Parse(item.Raw)
		if err != nil {
			return fmt.Errorf("entry %d: %w", i, err)
		}
		if err := a.Apply(e); err != nil {
			return fmt.Errorf("entry %d: %w", i, err)
		}
	}
	return nil
}

// Alias reads what an alias points to now, stored entries included.
func (l *Ledger) Alias(n AliasName) (string, error) {
	l.aliasMu.Lock()
	defer l.aliasMu.Unlock()
	if err := l.readAliases(); err != nil {
		return "", err
	}
	return l.aliases.Get(n), nil
}

func (l *Ledger) readAliases() error {
	if l.aliases == nil {
		l.aliases = &Aliases{}
	}
	stored, err := l.dir.Stored()
	if err == nil {
		err = l.aliases.read(l.dir, stored.N)
	}
	if err != nil {
		return fmt.Errorf("ledger %s: reading aliases: %w", string(l.dir), err)
	}
	return nil
}

func (l *Ledger) checkAlias(e Entry) error {
	if err := l.readAliases(); err != nil {
		return err
	}
	n, _ := AliasOf(e)
	if at := l.aliases.Get(n); at != e.Previous {
		return fmt.Errorf("%w: %s in %s points to %s, not %s: look again and decide anew", ErrStale, e.Alias, e.Environment, at, e.Previous)
	}
	return nil
}
