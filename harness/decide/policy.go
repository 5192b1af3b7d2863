package decide

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"cel.dev/cel-go/cel"
	"github.com/goccy/go-yaml"

	"github.com/weighbridge/weighbridge/policies"
	"github.com/weighbridge/weighbridge/record"
)

// ErrPolicy is a policy file that cannot be used. The message names the file,
// the place in it and the rule.
var ErrPolicy = errors.New("unusable policy")

// maxPolicy bounds a policy file, in bytes, and maxRules its rules: the YAML
// parser takes time that grows with the square of some inputs.
const (
	maxPolicy = 256 << 10
	maxRules  = 1000
)

// Policy is a loaded policy. It may be used by several goroutines.
type Policy struct {
	Name   string
	Digest string // sha256 of the file
	// Alpha is the family-wise error rate that the run's hypotheses share.
	Alpha float64
	// Warnings are what is allowed and most likely not meant.
	Warnings []Problem

	rules []rule
	sized map[*objectType][]int
	group map[string][]groupField
	slots map[*objectType]*slots
}

// rule is one rule or one requirement, compiled.
type rule struct {
	name    string
	verdict record.Outcome
	each    string
	// want is the value of the condition that makes the rule fire: a rule fires
	// when it is true, a requirement when it is not.
	want    bool
	onError record.Outcome
	when    *program
	message *message
	grouped bool // see groups
}

// Problem is something wrong with a policy file, at a line and a column from
// 1; both are 0 where the whole file is meant.
type Problem struct {
	File         string
	Line, Column int
	Message      string
}

func (p Problem) String() string {
	if p.Line == 0 {
		return p.File + ": " + p.Message
	}
	return fmt.Sprintf("%s:%d:%d: %s", p.File, p.Line, p.Column, p.Message)
}

// ProblemsError is a policy that cannot be used, with all that is wrong with
// it. It is an ErrPolicy.
type ProblemsError struct{ Problems []Problem }

func (e *ProblemsError) Error() string {
	var b strings.Builder
	b.WriteString(ErrPolicy.Error() + ": ")
	for i, p := range e.Problems {
		if i == 10 {
			fmt.Fprintf(&b, "; and %d more", len(e.Problems)-i)
			break
		}
		if i > 0 {
			b.WriteString("; ")
		}
		b.WriteString(p.String())
	}
	return b.String()
}

func (e *ProblemsError) Unwrap() error { return ErrPolicy }

type policyFile struct {
	Policy  string     `yaml:"policy"`
	Version int        `yaml:"version"`
	Alpha   float64    `yaml:"alpha"`
	Rules   []ruleYAML `yaml:"rules"`
	Require []ruleYAML `yaml:"require"`
}

// ruleYAML is a rule, or a requirement, which has `that` instead of `when` and
// `verdict`.
type ruleYAML struct {
	Name    scalar         `yaml:"name"`
	Verdict record.Outcome `yaml:"verdict"`
	Each    string         `yaml:"each"`
	When    scalar         `yaml:"when"`
	That    scalar         `yaml:"that"`
	OnError record.Outcome `yaml:"on_error"`
	Message scalar         `yaml:"message"`
}

// Default is the policy for behaviour alone.
func Default() *Policy {
	p, err := Load(policies.Default)
	if err != nil {
		panic(err) // a test loads it
	}
	return p
}

// Load loads a policy that is shipped, by its name, or a file, by its path. A
// path has a dot or a separator in it.
func Load(name string) (*Policy, error) {
	src, err := Source(name)
	if err != nil {
		return nil, err
	}
	return Parse(name, src)
}

// Source is the text of what Load loads.
func Source(name string) ([]byte, error) {
	if strings.ContainsAny(name, `./\`) {
		return readBounded(name)
	}
	src, err := policies.Source(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: no policy is called %q; there are %s, or give a file as ./%s.yaml",
			ErrPolicy, name, strings.Join(policies.Names(), ", "), name)
	}
	return src, err
}

func readBounded(path string) ([]byte, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("policy: %w", err)
	}
	if !st.Mode().IsRegular() || st.Size() > maxPolicy {
		return nil, fmt.Errorf("%w: %s: not a regular file of at most %d bytes", ErrPolicy, path, maxPolicy)
	}
	return os.ReadFile(filepath.Clean(path))
}

// Parse loads a policy. name appears in errors, which wrap ErrPolicy.
func Parse(name string, src []byte) (*Policy, error) {
	c := &compiler{file: name, lines: strings.Split(string(src), "\n"), names: map[string]bool{}}
	p := c.policy(src)
	if len(c.problems) > 0 {
		slices.SortStableFunc(c.problems, func(a, b Problem) int {
			if a.Line != b.Line {
				return a.Line - b.Line
			}
			return a.Column - b.Column
		})
		return nil, &ProblemsError{c.problems}
	}
	sum := sha256.Sum256(src)
	p.Digest = "sha256:" + hex.EncodeToString(sum[:])
	p.Warnings = c.warn(p.rules)
	p.slots = slotsOf(p.Reads())
	p.sized, p.group = sizes(p.rules), groupFields(p.rules)
	return p, nil
}

// compiler turns one file into a policy and gathers what is wrong with it.
type compiler struct {
	file     string
	lines    []string
	names    map[string]bool
	places   []scalar // of the conditions of the rules
	problems []Problem
}

func (c *compiler) bad(line, column int, format string, args ...any) {
	c.problems = append(c.problems, Problem{c.file, line, column, fmt.Sprintf(format, args...)})
}

func (c *compiler) policy(src []byte) *Policy {
	if len(src) > maxPolicy {
		c.bad(0, 0, "%d bytes, at most %d are read", len(src), maxPolicy)
		return nil
	}
	var f policyFile
	if err := yaml.NewDecoder(bytes.NewReader(src), yaml.Strict()).Decode(&f); err != nil {
		line, column, message := yamlFault(err)
		c.bad(line, column, "%s", message)
		return nil
	}
	switch {
	case f.Policy == "":
		c.bad(0, 0, "`policy:` gives it no name")
	case f.Version != 1:
		c.bad(0, 0, "`version: %d` is not known; this weighbridge reads version 1", f.Version)
	case !(f.Alpha > 0 && f.Alpha <= 0.2) || math.IsNaN(f.Alpha):
		c.bad(0, 0, "`alpha: %v` is not an error rate between 0 and 0.2", f.Alpha)
	case len(f.Rules) == 0:
		c.bad(0, 0, "it has no rules")
	case len(f.Rules)+len(f.Require) > maxRules:
		c.bad(0, 0, "%d rules, at most %d are read", len(f.Rules)+len(f.Require), maxRules)
	}
	if len(c.problems) > 0 {
		return nil
	}
	p := &Policy{Name: f.Policy, Alpha: f.Alpha}
	for i := range f.Rules {
		p.rules = append(p.rules, c.rule(i, &f.Rules[i], false))
	}
	for i := range f.Require {
		p.rules = append(p.rules, c.rule(i, &f.Require[i], true))
	}
	return p
}

// rule compiles a rule. A requirement is a rule that escalates when it is not
// true.
func (c *compiler) rule(i int, y *ruleYAML, require bool) rule {
	what := "rule"
	r := rule{name: y.Name.text, verdict: y.Verdict, each: y.Each, want: true, onError: y.OnError}
	condition, key := y.When, "when"
	at := y.Name
	if require {
		what, r.verdict, r.want = "requirement", record.Escalate, false
		condition, key = y.That, "that"
		if y.When.set || y.Verdict != "" || y.Each != "" {
			c.bad(at.line, at.column, "requirement %s: it has `that:` and no `when:`, `verdict:` or `each:`", r.name)
		}
	} else if y.That.set {
		c.bad(y.That.line, y.That.column, "rule %s: `that:` is for requirements; a rule has `when:`", r.name)
	}
	if r.name == "" || c.names[r.name] {
		c.bad(at.line, at.column, "%s %d: the name %q is empty or taken", what, i+1, r.name)
	}
	c.names[r.name] = true
	if r.verdict != record.Reject && r.verdict != record.Escalate && r.verdict != record.Approve {
		c.bad(at.line, at.column, "rule %s: verdict %q is none of approve, reject, escalate", r.name, r.verdict)
	}
	switch r.onError {
	case "":
		r.onError = record.Escalate
	case record.Escalate, record.Reject:
	default:
		c.bad(at.line, at.column, "%s %s: on_error: %q is neither escalate nor reject", what, r.name, r.onError)
	}
	if r.each != "" && subjects[r.each] == nil {
		c.bad(at.line, at.column, "rule %s: each: %q is none of finding, probe, evidence, link", r.name, r.each)
		return r
	}
	var faults []fault
	if r.when, faults = compile(r.each, condition.text, cel.BoolType); len(faults) > 0 {
		for _, f := range faults {
			line, column := condition.place(c.lines, f.line, f.column)
			c.bad(line, column, "%s %s: %s: %s", what, r.name, key, f.message)
		}
	}
	if require && y.Message.text == "" {
		y.Message.text = "required and not shown: " + strings.Join(strings.Fields(strings.NewReplacer("{{", "{ {").Replace(condition.text)), " ")
	}
	var err error
	if r.message, err = parseMessage(r.each, y.Message.text); err != nil {
		c.bad(y.Message.line, y.Message.column, "%s %s: message: %v", what, r.name, err)
	}
	c.places = append(c.places, condition)
	return r
}

// warn finds rules that cannot do anything. Only what holds for every run is
// said.
func (c *compiler) warn(rules []rule) []Problem {
	var ws []Problem
	warn := func(at scalar, format string, args ...any) {
		ws = append(ws, Problem{c.file, at.line, at.column, fmt.Sprintf(format, args...)})
	}
	approves := false
	strength := map[record.Outcome]int{record.Approve: 0, record.Escalate: 1, record.Reject: 2}
	for i, r := range rules {
		approves = approves || r.verdict == record.Approve
		if r.when.constant() {
			warn(c.places[i], "%s reads nothing of the run: it is the same for every one", r.name)
		}
		for j, s := range rules {
			same := r.want && s.want && r.each == s.each && r.when.text == s.when.text
			if j != i && same && (strength[s.verdict] > strength[r.verdict] || j < i && s.verdict == r.verdict) {
				warn(c.places[i], "%s never counts: %s has the same condition and says %s", r.name, s.name, s.verdict)
				break
			}
		}
	}
	if !approves {
		ws = append(ws, Problem{File: c.file, Message: "no rule approves, so nothing passes"})
	}
	return ws
}

// constant reports whether an expression uses no variable.
func (p *program) constant() bool {
	for _, ref := range p.ast.ReferenceMap() {
		if ref.Name != "" && ref.Value == nil {
			return false
		}
	}
	return true
}
