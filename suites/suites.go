package suites

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/weighbridge/weighbridge/probes"
	"github.com/weighbridge/weighbridge/suites/internal/yml"
	"github.com/weighbridge/weighbridge/suites/task"
)

// Problem is a mistake in a suite, a task or its data: what the user has to
// correct, and where.
type Problem = task.Problem

// Suite is what to run.
type Suite struct {
	Name        string
	Version     string
	Description string
	Level       probes.Level
	Budget      int // tokens each model may be asked to decode
	Entries     []Entry
	// Sources are the suites it was made of, in the order given.
	Sources []Source
	// Digest is over the sources' digests: "sha256:" and hex digits.
	Digest string
}

// Source is one suite or task file.
type Source struct {
	Ref    string // as the user named it
	Name   string
	Digest string // over the file and everything it refers to
}

// Entry is one probe to run.
type Entry struct {
	ID       string // unique in the Suite
	Probe    string // ID of a registered probe
	Required bool
	Budget   int           // tokens, this entry's part of the suite's
	Rest     bool          // it may also spend what entries before it left over
	Params   probes.Params // canonical JSON, or empty
	Data     fs.FS         // the entry's files, in memory
	File     string        // where the entry stands
	Line     int
}

// Budgets are the tokens of the levels.
var Budgets = map[probes.Level]int{probes.Quick: 30_000, probes.Standard: 250_000, probes.Deep: 3_000_000}

//go:embed builtin
var builtin embed.FS

// Builtin lists the names of the built-in suites, the cheapest first.
func Builtin() []string {
	return []string{string(probes.Quick), string(probes.Standard), string(probes.Deep)}
}

// Load reads built-in suites by name and files by path and puts them into one:
// entries in order, tokens added up, the highest level. Mistakes are *Problem,
// several of them joined.
func Load(refs ...string) (*Suite, error) {
	if len(refs) == 0 {
		return nil, &Problem{File: "suite", Message: "no suite is named; there are " + strings.Join(Builtin(), ", ") + ", or the path of a YAML file"}
	}
	var all *Suite
	for _, ref := range refs {
		s, err := loadOne(ref)
		if err != nil {
			return nil, err
		}
		if all == nil {
			all = s
			continue
		}
		if err := all.add(s); err != nil {
			return nil, err
		}
	}
	h := sha256.New()
	for _, s := range all.Sources {
		fmt.Fprintf(h, "%s\n", s.Digest)
	}
	all.Digest = "sha256:" + hex.EncodeToString(h.Sum(nil))
	return all, nil
}

func (s *Suite) add(more *Suite) error {
	for _, e := range more.Entries {
		for _, have := range s.Entries {
			if have.ID == e.ID {
				return &Problem{File: e.File, Line: e.Line, Message: fmt.Sprintf("the id %q is also that of %s:%d; give one of them another id", e.ID, have.File, have.Line)}
			}
		}
	}
	s.Entries = append(s.Entries, more.Entries...)
	s.Sources = append(s.Sources, more.Sources...)
	s.Name += "+" + more.Name
	s.Budget += more.Budget
	if Budgets[more.Level] > Budgets[s.Level] {
		s.Level = more.Level
	}
	return nil
}

// Lint is every mistake of a file, by line; none when it can be used.
func Lint(path string) []Problem {
	_, err := loadOne(path)
	var all []Problem
	for _, e := range flatten(err) {
		var p *Problem
		if !errors.As(e, &p) {
			p = &Problem{File: path, Message: e.Error()}
		}
		all = append(all, *p)
	}
	slices.SortStableFunc(all, func(a, b Problem) int {
		if c := strings.Compare(a.File, b.File); c != 0 {
			return c
		}
		return a.Line - b.Line
	})
	return all
}

func flatten(err error) []error {
	if err == nil {
		return nil
	}
	if j, ok := err.(interface{ Unwrap() []error }); ok {
		var all []error
		for _, e := range j.Unwrap() {
			all = append(all, flatten(e)...)
		}
		return all
	}
	return []error{err}
}

func loadOne(ref string) (*Suite, error) {
	if slices.Contains(Builtin(), ref) {
		sub, err := fs.Sub(builtin, "builtin")
		if err != nil {
			return nil, err
		}
		return load(sub, ref+".yaml", ref)
	}
	dir, base := filepath.Split(ref)
	if ext := filepath.Ext(base); ext != ".yaml" && ext != ".yml" {
		return nil, &Problem{File: ref, Message: "neither a built-in suite (" + strings.Join(Builtin(), ", ") + ") nor the path of a .yaml file"}
	}
	if dir == "" {
		dir = "."
	}
	root, err := os.OpenRoot(dir) // symbolic links cannot lead out of it
	if err != nil {
		return nil, &Problem{File: ref, Message: fmt.Sprintf("cannot be opened: %v", err)}
	}
	defer root.Close()
	s, err := load(root.FS(), base, ref)
	return s, within(dir, err)
}

// within puts the folder in front of the files that problems name.
func within(dir string, err error) error {
	var all []error
	for _, e := range flatten(err) {
		if p, ok := e.(*Problem); ok {
			q := *p
			q.File = filepath.Join(dir, filepath.FromSlash(p.File))
			e = &q
		}
		all = append(all, e)
	}
	if len(all) == 1 {
		return all[0]
	}
	return errors.Join(all...)
}

func load(fsys fs.FS, name, ref string) (*Suite, error) {
	rec := &recorder{under: fsys, limit: task.MaxData, kept: snapshot{}}
	b, err := fs.ReadFile(rec, name)
	if err != nil {
		return nil, &Problem{File: name, Message: err.Error()}
	}
	root, err := yml.Parse(name, b)
	if err != nil {
		return nil, err
	}
	l := &loader{rec: rec, root: root, suite: &Suite{}}
	if root.Kind == yml.Map && root.Get("suite") == nil && task.IsTask(root) {
		l.single(name)
	} else {
		l.read()
	}
	if err := errors.Join(l.problems...); err != nil {
		return nil, err
	}
	l.suite.Sources = []Source{{Ref: ref, Name: l.suite.Name, Digest: digest(rec.kept, name)}}
	return l.suite, nil
}

// digest is over the names and bytes of the files that were read; the main
// file counts without its name.
func digest(files snapshot, main string) string {
	h := sha256.New()
	line := func(name string, b []byte) { fmt.Fprintf(h, "%x %s\n", sha256.Sum256(b), name) }
	line("", files[main])
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if name != main {
			line(name, files[name])
		}
	}
	return "sha256:" + hex.EncodeToString(h.Sum(nil))
}
