package provenance

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/weighbridge/weighbridge/record"
	"github.com/weighbridge/weighbridge/supply/bundle"
	"github.com/weighbridge/weighbridge/supply/manifest"
)

// ErrUsage is a request that makes no sense: a path that is not there, a
// digest that is none.
var ErrUsage = errors.New("unusable provenance request")

// Query is one dependency with a claimed digest. Name, URI and Digest come from
// the statement and are hostile.
type Query struct {
	From      string // name of what was made from it; Candidate for the model that is checked
	Role      Role
	Name, URI string
	Digest    map[string]string // algorithm to hex
}

// Lookup says where the bytes of a dependency are, if they are at hand. It may
// go by name or by digest: what lies at the path is hashed either way.
type Lookup func(context.Context, Query) (path string, ok bool, err error)

// Options are what Check needs besides the document.
type Options struct {
	Lookup Lookup    // nil: nothing is at hand
	Now    time.Time // for times that cannot be; zero: they are not looked at
}

// Facts are what a statement says and how much of it was checked.
type Facts struct {
	State      record.EvidenceState // Valid, Ambiguous or Bad, by the problems
	BuildType  string
	Kind       Kind // "" for a build type of others
	Builder    string
	BaseModels []string // digests of all ancestors as algorithm:hex, sorted
	Datasets   int      // training data with a digest, the candidate's own
	Checked    int      // claimed digests that were compared with bytes at hand, in the whole lineage
	Unchecked  int      // claimed digests with nothing at hand
	Gaps       []string // links of the candidate that are missing or ambiguous
	Document   *Document
}

// contradictions are the rules that no missing information excuses. All others
// are gaps.
var contradictions = []string{
	RuleStatementType, RulePredicateType, RulePredicateInvalid, RuleSubjectMismatch,
	RuleLinkMismatch, RuleLoop, RuleTime,
}

// The rules of Check.
const (
	RuleStatementType    = "statement-type"
	RulePredicateType    = "predicate-type"
	RulePredicateInvalid = "predicate-invalid"
	RuleSubjectMismatch  = "subject-mismatch"
	RuleSubjectPartial   = "subject-partial"
	RuleBuildType        = "build-type-unknown"
	RuleBuilder          = "builder-missing"
	RuleTime             = "time-absurd"
	RuleLinkMissing      = "link-missing"
	RuleLinkUndigested   = "link-undigested"
	RuleLinkAmbiguous    = "link-ambiguous"
	RuleLinkMismatch     = "link-mismatch"
	RuleLoop             = "lineage-loop"
	RuleDeep             = "lineage-deep"
	RuleDirty            = "code-dirty"
)

// StateOf is the state that problems of this package put evidence in.
func StateOf(problems []record.Problem) record.EvidenceState {
	for _, p := range problems {
		if slices.Contains(contradictions, p.Rule) {
			return record.Bad
		}
	}
	if len(problems) > 0 {
		return record.Ambiguous
	}
	return record.Valid
}

// Bounds on a lineage.
const (
	maxGenerations = 16
	maxLinks       = 4096
	shownFiles     = 5
)

// Check holds a statement against the model m and everything at hand. Links
// are the edges of the lineage, the candidate's own first.
//
// Errors: those of Lookup, of reading what it found, and ctx's. What is wrong
// with the statement is a problem.
func Check(ctx context.Context, st bundle.Statement, m *manifest.Manifest, o Options) (*Facts, []record.Link, []record.Problem, error) {
	c := &checker{o: o, facts: &Facts{}, names: map[string]string{Candidate: ""}, read: map[string]*Content{}, walked: map[string]bool{}}
	if c.statement(st, m) {
		if err := c.follow(ctx, c.facts.Document, origin{name: Candidate, chain: []map[string]bool{keysOf(digestsOf(m))}}); err != nil {
			return nil, nil, nil, err
		}
	}
	f := c.facts
	slices.Sort(f.BaseModels)
	f.BaseModels = slices.Compact(f.BaseModels)
	f.State = StateOf(c.problems)
	return f, c.links, c.problems, nil
}

// Candidate is the name, in links, of the model that is checked.
const Candidate = "model"

type checker struct {
	o        Options
	facts    *Facts
	links    []record.Link
	problems []record.Problem
	names    map[string]string   // name of a node to its key
	read     map[string]*Content // by path
	walked   map[string]bool     // paths whose own lineage is in links already
}

func (c *checker) problem(rule, subject, format string, args ...any) {
	c.problems = append(c.problems, record.Problem{Rule: rule, Subject: clip(subject), Detail: fmt.Sprintf(format, args...)})
}

// gap is a problem of the candidate's own links.
func (c *checker) gap(rule, subject, format string, args ...any) {
	c.problem(rule, subject, format, args...)
	c.facts.Gaps = append(c.facts.Gaps, clip(subject)+": "+rule)
}

// clip bounds a name from a statement; who shows it escapes it.
func clip(s string) string {
	if len(s) > 200 {
		s = strings.ToValidUTF8(s[:200], "") + "…"
	}
	return s
}

// statement checks all but the dependencies, and reports whether there is a
// document to go on with.
func (c *checker) statement(st bundle.Statement, m *manifest.Manifest) bool {
	if st.Type != bundle.StatementType && st.Type != bundle.StatementTypeV01 {
		c.problem(RuleStatementType, "_type", "it is %.100q; a statement of in-toto has %q", st.Type, bundle.StatementType)
		return false
	}
	if st.PredicateType != bundle.PredicateProvenance && st.PredicateType != PredicateV02 {
		c.problem(RulePredicateType, "predicateType", "it is %.100q; SLSA provenance has %q", st.PredicateType, bundle.PredicateProvenance)
		return false
	}
	c.subject(st.Subject, m)
	d, err := Parse(st.PredicateType, st.Predicate)
	if err != nil {
		c.problem(RulePredicateInvalid, "predicate", "%v", err)
		return false
	}
	f := c.facts
	f.Document, f.BuildType, f.Builder = d, d.BuildType, d.Builder
	var known bool
	if f.Kind, known = KindOf(d.BuildType); !known {
		f.Kind = ""
		c.gap(RuleBuildType, "buildType", "%.200q is no build type that weighbridge knows, so it cannot tell whether links are missing; see docs/provenance.md", d.BuildType)
	}
	if d.Builder == "" {
		c.gap(RuleBuilder, "builder", "builder.id is missing: nobody says who made the weights")
	} else {
		c.link(record.Link{From: Candidate, Role: string(builderRole), Name: c.name(d.Builder, "builder\x00"+d.Builder), State: record.Ambiguous, Detail: "who signs vouches for it"})
	}
	c.times(d)
	return true
}

// subject accepts the model's digests, or one subject for each of its files.
func (c *checker) subject(subjects []bundle.Subject, m *manifest.Manifest) {
	if len(subjects) > maxSubjects {
		c.problem(RuleSubjectMismatch, "subject", "%d subjects, more than %d", len(subjects), maxSubjects)
		return
	}
	ours := digestsOf(m)
	claimed := map[string]bool{}
	for _, s := range subjects {
		if len(s.Digest) > maxDigests {
			continue
		}
		claimed[s.Digest["sha256"]] = true
		if id := s.Digest[IdentityKey]; id != "" && !slices.Contains(ours[IdentityKey], id) {
			continue // the same bytes under other names are another model
		}
		if slices.Contains(ours["sha256"], s.Digest["sha256"]) {
			return
		}
	}
	var left []string
	for _, r := range m.Resources {
		if !claimed[fmt.Sprintf("%x", r.Digest)] {
			left = append(left, r.Name)
		}
	}
	switch {
	case len(left) == 0 && m.Method == manifest.Files:
	case len(left) < len(m.Resources):
		c.gap(RuleSubjectPartial, "subject", "it speaks of some files of this model only; not of %s", someOf(left))
	default:
		c.problem(RuleSubjectMismatch, "subject", "it speaks of another model: none of its digests is this one's root sha256:%s, identity or file", m.Root())
	}
}

func someOf(list []string) string {
	shown := make([]string, 0, shownFiles+1)
	for _, s := range list[:min(len(list), shownFiles)] {
		shown = append(shown, fmt.Sprintf("%q", clip(s)))
	}
	if n := len(list) - len(shown); n > 0 {
		shown = append(shown, fmt.Sprintf("%d more", n))
	}
	return strings.Join(shown, ", ")
}

// clockSkew is how far ahead of ours a builder's clock may be.
const clockSkew = 24 * time.Hour

// firstYear is before any weights that are still of use.
const firstYear = 2000

func (c *checker) times(d *Document) {
	if !d.Started.IsZero() && !d.Finished.IsZero() && d.Finished.Before(d.Started) {
		c.problem(RuleTime, "metadata", "finished %s, before it started %s", stamp(d.Finished), stamp(d.Started))
	}
	for _, t := range []struct {
		name string
		time time.Time
	}{{"startedOn", d.Started}, {"finishedOn", d.Finished}} {
		switch {
		case t.time.IsZero():
		case !c.o.Now.IsZero() && t.time.After(c.o.Now.Add(clockSkew)):
			c.problem(RuleTime, t.name, "%s is in the future", stamp(t.time))
		case t.time.UTC().Year() < firstYear:
			c.problem(RuleTime, t.name, "%s is before %d", stamp(t.time), firstYear)
		}
	}
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

func (c *checker) link(l record.Link) { c.links = append(c.links, l) }

// name gives a node a name that no other has.
func (c *checker) name(label, key string) string {
	if label == "" {
		label = "(no name)"
	}
	label = clip(label)
	name := label
	for i := 2; ; i++ {
		if old, taken := c.names[name]; !taken || old == key {
			c.names[name] = key
			return name
		}
		name = fmt.Sprintf("%s (%d)", label, i)
	}
}

func keysOf(digests map[string][]string) map[string]bool {
	keys := map[string]bool{}
	for _, alg := range []string{"sha256", IdentityKey} {
		for _, h := range digests[alg] {
			keys[h] = true
		}
	}
	return keys
}

// absent turns a missing path into the caller's mistake.
func absent(err error, what, path string) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: %s: %s: %w", ErrUsage, what, path, err)
	}
	return fmt.Errorf("reading %s at %s: %w", what, path, err)
}

// Evidence is the record's piece of evidence of kind provenance. Who verified a
// signature adds Digest, Signer and Time.
func (f *Facts) Evidence(problems []record.Problem) record.Evidence {
	checked, unchecked, datasets := f.Checked, f.Unchecked, f.Datasets
	e := record.Evidence{Kind: record.Provenance, State: f.State, Problems: problems, BaseModels: f.BaseModels,
		Datasets: &datasets, Checked: &checked, Unchecked: &unchecked, Gaps: f.Gaps, Builder: f.Builder}
	switch {
	case f.State == record.Bad:
		for _, p := range problems {
			if slices.Contains(contradictions, p.Rule) {
				e.Detail = clip(p.Subject) + ": " + p.Detail
				break
			}
		}
	case f.State == record.Ambiguous:
		e.Detail = fmt.Sprintf("missing or ambiguous: %d; of the claimed digests %d match what is at hand and %d are not at hand", len(problems), checked, unchecked)
	default:
		e.Detail = fmt.Sprintf("complete; of the claimed digests %d match what is at hand and %d are not at hand", checked, unchecked)
	}
	return e
}
