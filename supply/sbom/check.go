package sbom

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/weighbridge/weighbridge/record"
	"github.com/weighbridge/weighbridge/supply/manifest"
)

// The rules of Check.
const (
	RuleSchema          = "bom-schema"               // unreadable, or breaks the official schema
	RuleText            = "bom-text"                 // a name holds control or format characters
	RuleHash            = "bom-hash-mismatch"        // a file's digest is not that of the file
	RuleFileMissing     = "bom-file-missing"         // the model has weights that the BOM does not list
	RuleFileExtra       = "bom-file-extra"           // the BOM lists a file that the model does not have
	RuleFileTwice       = "bom-file-twice"           // one file, several components
	RuleNoModel         = "bom-no-model"             // no component, or several, for the model itself
	RuleRoot            = "bom-root"                 // the model's digest is another one
	RuleIdentity        = "bom-identity"             // the weighbridge identity is another one
	RuleDatasetDangling = "bom-dataset-dangling"     // a dataset reference leads nowhere
	RuleGraph           = "bom-graph"                // dangling or doubled references, cycles
	RuleRefTwice        = "bom-ref-twice"            // one bom-ref, several owners
	RuleRootAbsent      = "bom-root-absent"          // nothing ties the model component to bytes
	RuleFileNoHash      = "bom-file-no-hash"         // listed without a digest that can be compared
	RuleGraphIncomplete = "bom-graph-incomplete"     // components that the dependency graph leaves out
	RuleDatasetNoHash   = "bom-dataset-no-hash"      // a dataset without a digest
	RuleBaseNoDigest    = "bom-base-model-no-digest" // an ancestor without a digest
	RuleLicence         = "bom-licence-unknown"      // no licence, or none that says anything
	RuleLoader          = "bom-loader-unlisted"      // code in the folder that the BOM does not list
	RuleRemoteCode      = "bom-loader-remote-code"   // code named that is not in the folder
)

// weak are the rules that say "proves less than it has to". All others say
// that the BOM is wrong.
var weak = map[string]bool{
	RuleRootAbsent: true, RuleFileNoHash: true, RuleGraphIncomplete: true, RuleDatasetNoHash: true,
	RuleBaseNoDigest: true, RuleLicence: true, RuleLoader: true, RuleRemoteCode: true,
}

// Rules lists the rules and the state that each leads to.
func Rules() map[string]record.EvidenceState {
	out := map[string]record.EvidenceState{}
	for _, r := range []string{
		RuleSchema, RuleText, RuleHash, RuleFileMissing, RuleFileExtra, RuleFileTwice, RuleNoModel, RuleRoot, RuleIdentity, RuleDatasetDangling, RuleGraph, RuleRefTwice,
	} {
		out[r] = record.Bad
	}
	for r := range weak {
		out[r] = record.Ambiguous
	}
	return out
}

// State is what the problems of Check come to: bad where one of them says that
// the BOM is wrong, ambiguous where the BOM only proves too little, else valid.
// A valid BOM is still to be signed by somebody trusted.
func State(problems []record.Problem) record.EvidenceState {
	state := record.Valid
	for _, p := range problems {
		if !weak[p.Rule] {
			return record.Bad
		}
		state = record.Ambiguous
	}
	return state
}

// maxPerRule bounds how many problems of one rule are listed; one more says how
// many were left out.
const maxPerRule = 50

// Facts are what a BOM says and how much of it was compared. All lists are
// sorted and without duplicates; their texts are the author's, cut and made
// printable.
type Facts struct {
	Spec       string   // version of CycloneDX
	Licences   []string // of the model: SPDX identifiers, expressions, or names
	BaseModels []string // digests of ancestors as algorithm:hex
	Datasets   int      // training data named with a digest
	Loaders    []string // libraries and custom code that the model needs to be loaded
	Checked    int      // claimed digests that were compared with the files
	Unchecked  int      // claimed digests with nothing at hand to compare
	Gaps       []string // what the BOM leaves open, in words
}

// ErrManifest is a manifest that a BOM cannot be compared with: of shards.
var ErrManifest = errors.New("a BOM is compared with a manifest of whole files")

// Check holds a BOM against its schema and against the files of m. What is
// wrong with the BOM comes back as problems, ordered by rule and subject; Facts
// is nil where it cannot be read at all. The error is about m only.
func Check(src []byte, m *manifest.Manifest) (*Facts, []record.Problem, error) {
	if m == nil || m.Method != manifest.Files || hashNames[m.Hash] == "" {
		return nil, nil, ErrManifest
	}
	b, refs, err := read(src)
	if invalid := (*Invalid)(nil); errors.As(err, &invalid) {
		return nil, []record.Problem{{Rule: RuleSchema, Subject: invalid.Pointer, Detail: invalid.Want}}, nil
	}
	if err != nil {
		return nil, nil, err
	}
	c := &checker{m: m, bom: b, refs: refs, self: sha256.Sum256(src), alg: hashNames[m.Hash], count: map[string]int{}, byName: map[string]manifest.Resource{}}
	for _, r := range m.Resources {
		c.byName[r.Name] = r
	}
	c.facts.Spec = b.SpecVersion
	c.run()
	return c.result()
}

type checker struct {
	m     *manifest.Manifest
	bom   *bomDoc
	refs  map[string]int
	self  [sha256.Size]byte // of the BOM itself
	alg   string            // CycloneDX's name of the manifest's hash
	model *component

	byName map[string]manifest.Resource

	facts    Facts
	count    map[string]int // problems by rule
	problems []record.Problem
}

func (c *checker) problem(rule, subject, format string, args ...any) {
	c.count[rule]++
	if c.count[rule] <= maxPerRule {
		c.problems = append(c.problems, record.Problem{Rule: rule, Subject: plain(subject, maxShown), Detail: fmt.Sprintf(format, args...)})
	}
}

// gap is a problem of a weak rule that also goes into the facts.
func (c *checker) gap(rule, subject, format string, args ...any) {
	c.problem(rule, subject, format, args...)
	if c.count[rule] <= maxPerRule {
		c.facts.Gaps = append(c.facts.Gaps, plain(subject, maxShown)+": "+fmt.Sprintf(format, args...))
	}
}

func (c *checker) run() {
	c.texts()
	c.files()
	c.findModel()
	if c.model != nil {
		c.root()
		c.licences()
		c.ancestors()
		c.datasets()
	}
	c.loaders()
	c.graph()
}

func (c *checker) result() (*Facts, []record.Problem, error) {
	for _, rule := range slices.Sorted(maps.Keys(c.count)) {
		if n := c.count[rule] - maxPerRule; n > 0 {
			c.problems = append(c.problems, record.Problem{Rule: rule, Subject: "…", Detail: fmt.Sprintf("and %d more of this kind", n)})
		}
	}
	slices.SortStableFunc(c.problems, func(a, b record.Problem) int { return compareStrings(a.Rule, b.Rule) })
	f := &c.facts
	for _, list := range []*[]string{&f.Licences, &f.BaseModels, &f.Loaders, &f.Gaps} {
		slices.Sort(*list)
		*list = slices.Compact(*list)
	}
	return f, c.problems, nil
}

// each visits the component of the model, all listed ones and what is nested
// in them, with the type of the component around it. Ancestors are not
// visited: they are other models.
func (c *checker) each(visit func(x *component, around string)) {
	var walk func(list []component, around string)
	walk = func(list []component, around string) {
		for i := range list {
			visit(&list[i], around)
			walk(list[i].Components, list[i].Type)
		}
	}
	if m := c.bom.Metadata.Component; m != nil {
		visit(m, "")
		walk(m.Components, m.Type)
	}
	walk(c.bom.Components, "")
}

// texts looks for names that do not look like what they are.
func (c *checker) texts() {
	c.each(func(x *component, _ string) {
		for _, s := range []string{x.Name, x.Group, x.Version, x.Ref} {
			if plain(s, len(s)) != s {
				c.problem(RuleText, s, "the text %q of a component holds control or format characters, which can make it look like another", cut(s))
			}
		}
	})
}

func cut(s string) string {
	if len(s) > maxShown {
		return s[:maxShown] + "…"
	}
	return s
}
