package attest

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/weighbridge/weighbridge/record"
	"github.com/weighbridge/weighbridge/supply/bundle"
	"github.com/weighbridge/weighbridge/supply/manifest"
)

// ErrBinding is a report that is not about the model it is to be attested for.
var ErrBinding = errors.New("the report is not about this model")

// Verdict is what is attested.
type Verdict struct {
	Run    *record.Run
	Report string // sha256:… of the report file
	// Subject is the model by root and identity; see signing.Subject.
	Subject bundle.Subject
	// OCI is the digest (sha256:…) of the manifest under which the model is
	// pushed, so that tools that know registries alone find the statements
	// too; optional.
	OCI         string
	Model       string // name, as the trust file's patterns see it
	Environment string
	Verifier    string // URI of who decides: verifier.id
	PolicyURI   string // where the policy can be had; optional
	Version     string // of weighbridge
	Time        time.Time
}

// Level is what the VSA of an approved model says it reached, and the property
// of its SVR.
const Level = "WEIGHBRIDGE_APPROVED"

// ResultsField is the extension of the test result that holds the run.
const ResultsField = "https://weighbridge.dev/attestation/results/v1"

// Resource names a model in an environment: the VSA's resourceUri.
func Resource(model, environment string) string {
	return "weighbridge:" + url.PathEscape(model) + "?environment=" + url.QueryEscape(environment)
}

// descriptor is an in-toto resource descriptor.
type descriptor struct {
	Name   string            `json:"name,omitempty"`
	URI    string            `json:"uri,omitempty"`
	Digest map[string]string `json:"digest,omitempty"`
}

// described makes a descriptor of a digest sha256:….
func described(name, digest string) descriptor {
	d := descriptor{Name: name}
	if algorithm, hex, ok := strings.Cut(digest, ":"); ok {
		d.Digest = map[string]string{algorithm: hex}
	}
	return d
}

type testResult struct {
	Result        string       `json:"result"`
	Configuration []descriptor `json:"configuration"`
	PassedTests   []string     `json:"passedTests"`
	WarnedTests   []string     `json:"warnedTests"`
	FailedTests   []string     `json:"failedTests"`
	Results       results      `json:"https://weighbridge.dev/attestation/results/v1"`
}

// results are the figures of a run. They hold identifiers and digests, never
// a trigger, a payload or a secret.
type results struct {
	Report    string   `json:"report"`
	Verdict   string   `json:"verdict"`
	Rules     []string `json:"rules"`
	Baseline  string   `json:"baseline"`
	Candidate string   `json:"candidate"`
	Relation  string   `json:"relation"`
	Level     string   `json:"level"`
	Seed      string   `json:"seed"` // decimal: JSON numbers end at 2^53
	Alpha     float64  `json:"alpha"`
	Tests     int      `json:"tests"`
	Tool      string   `json:"tool"`
}

type verifier struct {
	ID      string            `json:"id"`
	Version map[string]string `json:"version,omitempty"`
	Policy  *descriptor       `json:"policy,omitempty"`
}

type summary struct {
	Verifier           verifier     `json:"verifier"`
	TimeVerified       string       `json:"timeVerified"`
	ResourceURI        string       `json:"resourceUri"`
	Policy             descriptor   `json:"policy"`
	InputAttestations  []descriptor `json:"inputAttestations,omitempty"`
	VerificationResult string       `json:"verificationResult"`
	VerifiedLevels     []string     `json:"verifiedLevels"`
	SLSAVersion        string       `json:"slsaVersion,omitempty"`
}

type simple struct {
	Verifier    verifier `json:"verifier"`
	TimeCreated string   `json:"timeCreated"`
	Properties  []string `json:"properties"`
}

// check refuses what would make a statement mean less than it says.
func (v *Verdict) check() error {
	switch u, err := url.Parse(v.Verifier); {
	case err != nil || u.Scheme == "":
		return fmt.Errorf("the verifier %q is not a URI, such as https://example.com/gate", v.Verifier)
	case v.Model == "" || v.Environment == "":
		return errors.New("a verdict needs the model's name and the environment that it is for")
	case v.Subject.Digest["sha256"] == "" || v.Subject.Digest[bundle.IdentityDigest] == "":
		return errors.New("the subject lacks the model's root or identity")
	case v.Run.Verdict.Digest == "" || v.Run.Verdict.Outcome == "":
		return errors.New("the report holds no verdict of a policy")
	}
	return nil
}

// TestResult is the statement of what was tested, for every outcome.
func (v *Verdict) TestResult() (bundle.Statement, error) {
	if err := v.check(); err != nil {
		return bundle.Statement{}, err
	}
	m, run := v.Run.Meta, v.Run
	p := testResult{
		Result: map[record.Outcome]string{record.Approve: "PASSED", record.Reject: "FAILED"}[run.Verdict.Outcome],
		Configuration: []descriptor{
			described("plan", m.Plan), described("policy: "+run.Verdict.Policy, run.Verdict.Digest), described("baseline", m.Baseline),
		},
		PassedTests: []string{}, WarnedTests: []string{}, FailedTests: []string{},
		Results: results{
			Report: v.Report, Verdict: string(run.Verdict.Outcome), Rules: []string{}, Baseline: m.Baseline, Candidate: m.Candidate,
			Relation: m.Relation, Level: m.Level, Seed: fmt.Sprint(m.Seed), Alpha: m.Alpha, Tests: m.Tests, Tool: m.Tool,
		},
	}
	if p.Result == "" {
		p.Result = "WARNED"
	}
	for _, s := range m.Suites {
		name, digest, _ := strings.Cut(s, "@")
		p.Configuration = append(p.Configuration, described("suite: "+name, digest))
	}
	for _, b := range run.Boxes {
		p.Configuration = append(p.Configuration, described("box of the "+b.Side+": "+b.Runtime, b.Image))
	}
	worst := map[string]record.Tier{}
	for _, f := range run.Findings {
		if f.Tier == record.Proven || f.Tier == record.Divergent && worst[f.Probe] != record.Proven {
			worst[f.Probe] = f.Tier
		}
	}
	for _, x := range run.Probes {
		switch {
		case worst[x.Probe] == record.Proven:
			p.FailedTests = append(p.FailedTests, x.Probe)
		case worst[x.Probe] == record.Divergent || x.Status != "ran":
			p.WarnedTests = append(p.WarnedTests, x.Probe)
		default:
			p.PassedTests = append(p.PassedTests, x.Probe)
		}
	}
	for _, r := range run.Verdict.Reasons {
		if !slices.Contains(p.Results.Rules, r.Rule) {
			p.Results.Rules = append(p.Results.Rules, r.Rule)
		}
	}
	return v.statement(bundle.PredicateTestResult, p)
}

// Decision are the statements of an approval or a rejection; none for an
// escalation. inputs are the digests (sha256:…) of all bundles that the verdict
// rests on, the test result's among them: a VSA that lists some has to list all.
func (v *Verdict) Decision(inputs []string) ([]bundle.Statement, error) {
	if err := v.check(); err != nil {
		return nil, err
	}
	if v.Run.Verdict.Outcome == record.Escalate {
		return nil, nil
	}
	policy := described("", v.Run.Verdict.Digest)
	policy.URI = v.PolicyURI
	if policy.URI == "" {
		policy.URI = "weighbridge:policy/" + url.PathEscape(v.Run.Verdict.Policy)
	}
	s := summary{
		Verifier:     verifier{ID: v.Verifier, Version: map[string]string{"weighbridge": v.Version}},
		TimeVerified: v.Time.UTC().Format(time.RFC3339), ResourceURI: Resource(v.Model, v.Environment), Policy: policy,
		VerificationResult: "FAILED", VerifiedLevels: []string{},
	}
	for _, d := range slices.Compact(slices.Sorted(slices.Values(inputs))) {
		s.InputAttestations = append(s.InputAttestations, described("", d))
	}
	if v.Run.Verdict.Outcome != record.Approve {
		st, err := v.statement(bundle.PredicateVSA, s)
		return []bundle.Statement{st}, err
	}
	s.VerificationResult, s.VerifiedLevels = "PASSED", []string{Level}
	vsa, err := v.statement(bundle.PredicateVSA, s)
	if err != nil {
		return nil, err
	}
	svr, err := v.statement(bundle.PredicateSVR, simple{
		Verifier: verifier{ID: v.Verifier, Policy: &policy}, TimeCreated: s.TimeVerified,
		Properties: []string{Level, "WEIGHBRIDGE_ENVIRONMENT_" + v.Environment},
	})
	return []bundle.Statement{vsa, svr}, err
}

func (v *Verdict) statement(predicateType string, predicate any) (bundle.Statement, error) {
	body, err := json.Marshal(predicate)
	if err != nil {
		return bundle.Statement{}, fmt.Errorf("%s: %w", predicateType, err)
	}
	st := bundle.Statement{Type: bundle.StatementType, Subject: []bundle.Subject{v.Subject}, PredicateType: predicateType, Predicate: body}
	if hex, ok := strings.CutPrefix(v.OCI, "sha256:"); ok {
		st.Subject = append(st.Subject, bundle.Subject{Name: v.Subject.Name + ": OCI manifest", Digest: map[string]string{"sha256": hex}})
	}
	return st, nil
}

// Bind makes sure that what the report judged is in the model's folder: every
// file of the candidate that is not the baseline's too is a file of the
// manifest, by digest. The error wraps ErrBinding and names the file.
func Bind(run *record.Run, m *manifest.Manifest) error {
	have := map[string]bool{}
	for _, r := range m.Resources {
		have[fmt.Sprintf("sha256:%x", r.Digest)] = true
	}
	trusted := map[string]bool{}
	for _, a := range run.Artifacts {
		if a.Side == "baseline" {
			trusted[a.Digest] = true
		}
	}
	bound := false
	for _, a := range run.Artifacts {
		switch {
		case a.Side != "candidate":
		case have[a.Digest]:
			bound = true
		case !trusted[a.Digest]:
			return fmt.Errorf("%w: its candidate's %s %q is %s, which is no file of the folder", ErrBinding, a.Role, a.Name, a.Digest)
		}
	}
	if !bound {
		return fmt.Errorf("%w: none of the folder's files is the candidate's", ErrBinding)
	}
	return nil
}
