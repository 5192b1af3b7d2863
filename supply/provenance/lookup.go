package provenance

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// At looks dependencies of the candidate up by their names. Ancestors may use
// the same names for other things, so that theirs are not looked up.
func At(paths map[string]string) Lookup {
	return func(_ context.Context, q Query) (string, bool, error) {
		if q.From != Candidate {
			return "", false, nil
		}
		path, ok := paths[q.Name]
		return path, ok, nil
	}
}

// First asks one lookup after another; nil ones are passed over.
func First(lookups ...Lookup) Lookup {
	return func(ctx context.Context, q Query) (string, bool, error) {
		for _, l := range lookups {
			if l == nil {
				continue
			}
			if path, ok, err := l(ctx, q); ok || err != nil {
				return path, ok, err
			}
		}
		return "", false, nil
	}
}

// ParseAt reads NAME=PATH arguments. Every NAME must be a dependency of the
// document: a misspelt one would go unnoticed as "not at hand". Errors wrap
// ErrUsage.
func ParseAt(args []string, d *Document) (map[string]string, error) {
	known := map[string]bool{}
	for i := range d.Dependencies {
		known[d.Dependencies[i].Label()] = true
	}
	delete(known, "")
	at := map[string]string{}
	for _, a := range args {
		// A name may hold "=", as URIs do; the longest known one counts.
		name, path := "", ""
		for i := range len(a) {
			if a[i] == '=' && known[a[:i]] {
				name, path = a[:i], a[i+1:]
			}
		}
		switch {
		case name == "" && !strings.Contains(a, "="):
			return nil, fmt.Errorf("%w: %q is not NAME=PATH", ErrUsage, a)
		case name == "":
			return nil, fmt.Errorf("%w: no dependency is called as in %q; there are %q", ErrUsage, a, slices.Sorted(maps.Keys(known)))
		case path == "":
			return nil, fmt.Errorf("%w: %q names no path", ErrUsage, a)
		case at[name] != "":
			return nil, fmt.Errorf("%w: %q is given two paths", ErrUsage, name)
		}
		at[name] = path
	}
	return at, nil
}

// Lookup finds what c was read from by each of its digests.
func (c *Content) Lookup() Lookup {
	return func(_ context.Context, q Query) (string, bool, error) {
		for alg, hex := range q.Digest {
			if slices.Contains(c.Digests[alg], hex) {
				return c.path, true, nil
			}
		}
		return "", false, nil
	}
}
