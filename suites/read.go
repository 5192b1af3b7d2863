package suites

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"path"
	"slices"

	"github.com/weighbridge/weighbridge/probes"
	"github.com/weighbridge/weighbridge/suites/internal/yml"
	"github.com/weighbridge/weighbridge/suites/task"
)

// Limits of a suite.
const (
	maxEntries = 256
	maxFiles   = 256 // per entry
)

// loader reads one file and gathers its problems.
type loader struct {
	rec      *recorder
	root     *yml.Node
	suite    *Suite
	problems []error
}

func (l *loader) bad(err error) {
	if err != nil {
		l.problems = append(l.problems, err)
	}
}

func (l *loader) unknown(n *yml.Node, where string, known ...string) {
	for _, f := range n.Fields {
		if !slices.Contains(known, f.Name) {
			l.bad(&Problem{File: n.File, Line: f.Line, Message: fmt.Sprintf("unknown field %q%s", f.Name, where)})
		}
	}
}

// single makes a suite of a task file.
func (l *loader) single(name string) {
	t, err := task.Parse(l.rec, name)
	if err != nil {
		l.bad(err)
		return
	}
	if _, err := probes.Lookup("benchmark"); err != nil {
		l.bad(l.root.Problem("a task file needs the probe benchmark: %v", err))
		return
	}
	level := probes.Standard
	*l.suite = Suite{Name: t.Name, Description: "the task " + t.Name, Level: level, Budget: Budgets[level], Entries: []Entry{{
		ID: t.Name, Probe: "benchmark", Required: true, Budget: Budgets[level],
		Data: maps.Clone(l.rec.kept), File: name, Line: l.root.Line,
	}}}
}

func (l *loader) read() {
	root, s := l.root, l.suite
	if root.Kind != yml.Map {
		l.bad(root.Problem("a suite is a mapping of fields, with the field suite"))
		return
	}
	l.unknown(root, "", "suite", "version", "description", "level", "budget", "probes")
	text := func(name string, into *string) *yml.Node {
		n := root.Get(name)
		if n != nil {
			v, err := n.Text()
			l.bad(err)
			*into = v
		}
		return n
	}
	if n := text("suite", &s.Name); n == nil {
		l.bad(root.Problem("the field suite, the suite's name, is missing (or task, for a task file)"))
	} else if !task.Name.MatchString(s.Name) {
		l.bad(n.Problem("the suite name %q must be letters, digits, '.', '_' and '-', at most 64 of them", s.Name))
	}
	text("version", &s.Version)
	text("description", &s.Description)
	level := string(probes.Standard)
	n := text("level", &level)
	s.Level = probes.Level(level)
	if Budgets[s.Level] == 0 {
		l.bad(n.Problem("the level %q is none of quick, standard, deep", level))
	}
	s.Budget = Budgets[s.Level]
	if n := root.Get("budget"); n != nil {
		v, err := n.Int(1, math.MaxInt32)
		l.bad(err)
		s.Budget = v
	}
	list := root.Get("probes")
	if list == nil || list.Kind != yml.List || len(list.Items) == 0 || len(list.Items) > maxEntries {
		at := root
		if list != nil {
			at = list
		}
		l.bad(at.Problem("the field probes must be a list of 1 to %d entries", maxEntries))
		return
	}
	l.entries(list)
}

func (l *loader) entries(list *yml.Node) {
	s := l.suite
	shares := make([]float64, len(list.Items)) // −1: not given
	first := map[string]int{}
	for i, n := range list.Items {
		e, share := l.entry(n)
		shares[i] = share
		if line, dup := first[e.ID]; dup && e.ID != "" {
			l.bad(n.Problem("the id %q is also that of line %d; give one of them another id", e.ID, line))
		}
		first[e.ID] = n.Line
		s.Entries = append(s.Entries, e)
	}
	given, open := 0.0, 0
	for _, v := range shares {
		if v < 0 {
			open++
		} else {
			given += v
		}
	}
	if given > 1+1e-9 {
		l.bad(list.Problem("the shares of the budget add up to %g, more than 1", given))
		return
	}
	for i, v := range shares {
		if v < 0 {
			v = max(0, 1-given) / float64(open)
		}
		s.Entries[i].Budget = int(v*float64(s.Budget) + 1e-6) // 0.07·100 stays 7
	}
}

func (l *loader) entry(n *yml.Node) (e Entry, share float64) {
	share = -1
	e = Entry{File: n.File, Line: n.Line, Data: snapshot{}}
	if n.Kind != yml.Map {
		l.bad(n.Problem("an entry of probes is a mapping with the field probe"))
		return e, share
	}
	l.unknown(n, " of an entry of probes", "probe", "id", "required", "budget", "rest", "files", "params")
	var about probes.About
	if id := n.Get("probe"); id == nil {
		l.bad(n.Problem("the field probe is missing"))
	} else if v, err := id.Text(); err != nil {
		l.bad(err)
	} else if p, err := probes.Lookup(v); err != nil {
		l.bad(id.Problem("%v", err))
	} else {
		e.Probe, e.ID, about = v, v, p.About()
	}
	if id := n.Get("id"); id != nil {
		v, err := id.Text()
		l.bad(err)
		if err == nil && !task.Name.MatchString(v) {
			l.bad(id.Problem("the id %q must be letters, digits, '.', '_' and '-', at most 64 of them", v))
		}
		e.ID = v
	}
	if b := n.Get("required"); b != nil {
		v, err := b.Bool()
		l.bad(err)
		e.Required = v
	}
	if b := n.Get("budget"); b != nil {
		v, err := b.Number(0, 1)
		if err != nil {
			l.bad(b.Problem("budget is the entry's share of the suite's tokens, from 0 to 1"))
		} else {
			share = v
		}
	}
	if b := n.Get("rest"); b != nil {
		v, err := b.Bool()
		l.bad(err)
		e.Rest = v
	}
	if p := n.Get("params"); p != nil {
		e.Params = l.params(p, about)
	}
	if f := n.Get("files"); f != nil {
		e.Data = l.files(f)
	}
	return e, share
}

// params checks the names against what the probe documents.
func (l *loader) params(n *yml.Node, about probes.About) probes.Params {
	if n.Kind != yml.Map {
		l.bad(n.Problem("params is a mapping of names and values"))
		return nil
	}
	var known []string
	for _, p := range about.Params {
		known = append(known, p.Name)
	}
	if about.ID != "" {
		l.unknown(n, fmt.Sprintf(" of params: the probe %s has %v", about.ID, known), known...)
	}
	if len(n.Fields) == 0 {
		return nil
	}
	b, err := n.JSON()
	l.bad(err)
	return probes.Params(b)
}

// files reads an entry's files. A task file is read through, with its data.
func (l *loader) files(n *yml.Node) snapshot {
	names, err := n.Texts()
	if err != nil || len(names) > maxFiles {
		l.bad(n.Problem("files is a list of at most %d names", maxFiles))
		return nil
	}
	mine := &recorder{under: l.rec, limit: task.MaxData, kept: snapshot{}}
	for i, name := range names {
		at := n
		if n.Kind == yml.List {
			at = n.Items[i]
		}
		if !fs.ValidPath(name) {
			l.bad(at.Problem("the file %q must lie beside or below the suite; its name is relative and without '..'", name))
			continue
		}
		if ext := path.Ext(name); ext == ".yaml" || ext == ".yml" {
			if _, err := task.Parse(mine, name); err != nil {
				var p *Problem
				if !errors.As(err, &p) {
					err = at.Problem("%v", err)
				}
				l.bad(err)
			}
			continue
		}
		if _, err := fs.ReadFile(mine, name); err != nil {
			l.bad(at.Problem("the file %q cannot be read: %v", name, err))
		}
	}
	return mine.kept
}
