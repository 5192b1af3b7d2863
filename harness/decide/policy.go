package decide

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"regexp"

	"cel.dev/cel-go/cel"
	"github.com/goccy/go-yaml"

	"github.com/weighbridge/weighbridge/record"
)

// ErrPolicy is a policy file that cannot be used. The message names the file
// and the rule.
var ErrPolicy = errors.New("unusable policy")

//go:embed default.yaml
var defaultYAML []byte

// costLimit bounds the evaluation of one expression, in CEL's cost units. A
// scan of 1,000 findings stays far below it.
const costLimit = 1_000_000

// maxPolicy bounds a policy file, in bytes.
const maxPolicy = 1 << 20

// Policy is a loaded policy.
type Policy struct {
	Name   string
	Digest string // sha256 of the file
	// Alpha is the family-wise error rate that the run's hypotheses share.
	Alpha float64
	rules []rule
}

type rule struct {
	Name    string         `yaml:"name"`
	Verdict record.Outcome `yaml:"verdict"`
	Each    string         `yaml:"each"`
	When    string         `yaml:"when"`
	Message string         `yaml:"message"`

	program cel.Program
}

type policyFile struct {
	Policy  string  `yaml:"policy"`
	Version int     `yaml:"version"`
	Alpha   float64 `yaml:"alpha"`
	Rules   []rule  `yaml:"rules"`
}

// Default is the built-in policy.
func Default() *Policy {
	p, err := Parse("default.yaml", defaultYAML)
	if err != nil {
		panic(err) // a test loads it
	}
	return p
}

// Parse loads a policy. name appears in errors, which wrap ErrPolicy.
func Parse(name string, src []byte) (*Policy, error) {
	bad := func(format string, args ...any) error {
		return fmt.Errorf("%w: %s: %w", ErrPolicy, name, fmt.Errorf(format, args...))
	}
	if len(src) > maxPolicy {
		return nil, bad("%d bytes, at most %d are read", len(src), maxPolicy)
	}
	var f policyFile
	if err := yaml.NewDecoder(bytes.NewReader(src), yaml.Strict()).Decode(&f); err != nil {
		return nil, bad("%w", err)
	}
	switch {
	case f.Policy == "":
		return nil, bad("`policy:` gives it no name")
	case f.Version != 1:
		return nil, bad("`version: %d` is not known; this weighbridge reads version 1", f.Version)
	case !(f.Alpha > 0 && f.Alpha <= 0.2) || math.IsNaN(f.Alpha):
		return nil, bad("`alpha: %v` is not an error rate between 0 and 0.2", f.Alpha)
	case len(f.Rules) == 0:
		return nil, bad("it has no rules")
	}
	env, err := environment()
	if err != nil {
		return nil, err
	}
	seen := map[string]bool{}
	for i := range f.Rules {
		r := &f.Rules[i]
		if r.Name == "" || seen[r.Name] {
			return nil, bad("rule %d: the name %q is empty or taken", i+1, r.Name)
		}
		seen[r.Name] = true
		if r.Verdict != record.Reject && r.Verdict != record.Escalate && r.Verdict != record.Approve {
			return nil, bad("rule %s: verdict %q is none of approve, reject, escalate", r.Name, r.Verdict)
		}
		if r.Each != "" && r.Each != "finding" && r.Each != "probe" {
			return nil, bad("rule %s: each: %q is neither finding nor probe", r.Name, r.Each)
		}
		if r.program, err = compile(env, r.When); err != nil {
			return nil, bad("rule %s: when: %w", r.Name, err)
		}
		for _, m := range placeholder.FindAllStringSubmatch(r.Message, -1) {
			if !fields[r.Each][m[1]] {
				return nil, bad("rule %s: message: {{%s}} is not a field of each: %q", r.Name, m[1], r.Each)
			}
		}
	}
	sum := sha256.Sum256(src)
	return &Policy{f.Policy, "sha256:" + hex.EncodeToString(sum[:]), f.Alpha, f.Rules}, nil
}

// placeholder is a field of the finding or probe in a message.
var placeholder = regexp.MustCompile(`\{\{(\w+)\}\}`)

func environment() (*cel.Env, error) {
	object := cel.MapType(cel.StringType, cel.DynType)
	list := cel.ListType(object)
	return cel.NewEnv(
		cel.Variable("finding", object), cel.Variable("probe", object), cel.Variable("run", object),
		cel.Variable("findings", list), cel.Variable("probes", list), cel.Variable("evidence", list),
	)
}

func compile(env *cel.Env, src string) (cel.Program, error) {
	ast, issues := env.Compile(src)
	if err := issues.Err(); err != nil {
		return nil, err
	}
	if !ast.OutputType().IsExactType(cel.BoolType) {
		return nil, fmt.Errorf("the expression gives %s, not a truth value", ast.OutputType())
	}
	return env.Program(ast, cel.CostLimit(costLimit), cel.EvalOptions(cel.OptOptimize))
}
