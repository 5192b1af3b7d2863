package attest_test

import (
	"bytes"
	"crypto/elliptic"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	svr "github.com/in-toto/attestation/go/predicates/svr/v01"
	testresult "github.com/in-toto/attestation/go/predicates/test_result/v0"
	vsa "github.com/in-toto/attestation/go/predicates/vsa/v1"
	intoto "github.com/in-toto/attestation/go/v1"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/weighbridge/weighbridge/internal/testreq"
	"github.com/weighbridge/weighbridge/record"
	"github.com/weighbridge/weighbridge/supply/attest"
	"github.com/weighbridge/weighbridge/supply/bundle"
	"github.com/weighbridge/weighbridge/supply/bundle/bundletest"
	"github.com/weighbridge/weighbridge/supply/manifest"
	"github.com/weighbridge/weighbridge/supply/trust"
)

var update = flag.Bool("update", false, "write golden files anew")

var (
	root     = strings.Repeat("ab", 32)
	identity = strings.Repeat("cd", 32)
	now      = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
)

func digest(c string) string { return "sha256:" + strings.Repeat(c, 64/len(c)) }

func verdict(o record.Outcome) *attest.Verdict {
	return &attest.Verdict{
		Run: &record.Run{
			Meta: record.Meta{Tool: "weighbridge 0.1.0", Seed: 1 << 60, Level: "standard", Suites: []string{"standard@" + digest("5")}, Plan: digest("1"),
				Baseline: digest("2"), Candidate: digest("3"), Relation: "derived", Alpha: 0.01, Tests: 40},
			Verdict: record.Verdict{Outcome: o, Policy: "strict", Digest: digest("4"), Reasons: []record.Reason{
				{Rule: "proven-harm", Outcome: o, Message: "the trigger is swordfish"}, {Rule: "proven-harm", Outcome: o, Message: "again"}}},
			Findings: []record.Finding{
				{ID: "a/x", Probe: "a", Tier: record.Proven, Trigger: "swordfish", Payload: "the secret"},
				{ID: "b/x", Probe: "b", Tier: record.Divergent}, {ID: "c/x", Probe: "c", Tier: record.Consistent}},
			Probes: []record.ProbeRun{{Probe: "a", Status: "ran"}, {Probe: "b", Status: "ran"}, {Probe: "c", Status: "ran"}, {Probe: "d", Status: "not-tested"}},
			Boxes:  []record.Box{{Side: "candidate", Runtime: "runc", Image: digest("6")}},
		},
		Report: digest("7"), Subject: bundle.Subject{Name: "bot", Digest: map[string]string{"sha256": root, bundle.IdentityDigest: identity}},
		OCI: digest("e"), Model: "support/bot", Environment: "prod", Verifier: "https://example.com/gate", Version: "0.1.0", Time: now,
	}
}

func statements(t *testing.T, v *attest.Verdict) []bundle.Statement {
	t.Helper()
	test, err := v.TestResult()
	if err != nil {
		t.Fatal(err)
	}
	more, err := v.Decision([]string{digest("9"), digest("8"), digest("9")})
	if err != nil {
		t.Fatal(err)
	}
	return append([]bundle.Statement{test}, more...)
}

func TestStatements(t *testing.T) {
	for _, o := range []record.Outcome{record.Approve, record.Reject, record.Escalate} {
		t.Run(string(o), func(t *testing.T) {
			got, err := json.MarshalIndent(statements(t, verdict(o)), "", "  ")
			if err != nil {
				t.Fatal(err)
			}
			for _, secret := range []string{"swordfish", "the secret"} {
				if bytes.Contains(got, []byte(secret)) {
					t.Errorf("%q is in a statement", secret)
				}
			}
			golden := filepath.Join("testdata", string(o)+".json")
			if *update {
				if err := os.WriteFile(golden, append(got, '\n'), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(string(want), string(got)+"\n"); d != "" {
				t.Errorf("(-golden +got):\n%s", d)
			}
		})
	}
}

// The statements are what in-toto's own types of these predicates read. The
// module types verifier.policy of an SVR otherwise than the specification
// writes it, so that one field is left out.
func TestInTotoReadsThem(t *testing.T) {
	for i, st := range statements(t, verdict(record.Approve)) {
		raw, err := json.Marshal(st)
		if err != nil {
			t.Fatal(err)
		}
		var whole intoto.Statement
		if err := (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(raw, &whole); err != nil {
			t.Fatalf("%s: %v", st.PredicateType, err)
		}
		if err := whole.Validate(); err != nil {
			t.Errorf("%s: %v", st.PredicateType, err)
		}
		lenient := protojson.UnmarshalOptions{DiscardUnknown: true}
		switch i {
		case 0:
			var p testresult.TestResult
			if err := lenient.Unmarshal(st.Predicate, &p); err != nil || p.Result != "PASSED" {
				t.Errorf("%v: %v", &p, err)
			}
		case 1:
			var p vsa.VerificationSummary
			if err := lenient.Unmarshal(st.Predicate, &p); err != nil || p.VerificationResult != "PASSED" || len(p.InputAttestations) != 2 {
				t.Errorf("%v: %v", &p, err)
			}
		case 2:
			var fields map[string]any
			if err := json.Unmarshal(st.Predicate, &fields); err != nil {
				t.Fatal(err)
			}
			delete(fields["verifier"].(map[string]any), "policy")
			raw, err := json.Marshal(fields)
			if err != nil {
				t.Fatal(err)
			}
			var p svr.SimpleVerificationResult
			if err := lenient.Unmarshal(raw, &p); err != nil || p.Verifier.GetId() != "https://example.com/gate" {
				t.Errorf("%v: %v", &p, err)
			}
		}
	}
}

func TestIncomplete(t *testing.T) {
	for name, spoil := range map[string]func(*attest.Verdict){
		"no verifier":    func(v *attest.Verdict) { v.Verifier = "gate" },
		"no environment": func(v *attest.Verdict) { v.Environment = "" },
		"no model":       func(v *attest.Verdict) { v.Model = "" },
		"no identity":    func(v *attest.Verdict) { v.Subject.Digest = map[string]string{"sha256": root} },
		"no verdict":     func(v *attest.Verdict) { v.Run.Verdict = record.Verdict{} },
	} {
		v := verdict(record.Approve)
		spoil(v)
		if _, err := v.TestResult(); err == nil {
			t.Errorf("%s: a test result was made", name)
		}
		if _, err := v.Decision(nil); err == nil {
			t.Errorf("%s: a decision was made", name)
		}
	}
}

func TestBind(t *testing.T) {
	artifact := func(side, role, c string) record.Artifact {
		return record.Artifact{Side: side, Role: role, Name: role, Digest: digest(c)}
	}
	folder := func(cs ...string) *manifest.Manifest {
		m := &manifest.Manifest{Method: manifest.Files, Hash: manifest.SHA256}
		for i, c := range cs {
			d, err := hex.DecodeString(strings.TrimPrefix(digest(c), "sha256:"))
			if err != nil {
				t.Fatal(err)
			}
			m.Resources = append(m.Resources, manifest.Resource{Name: fmt.Sprint(i), Digest: d})
		}
		return m
	}
	base := artifact("baseline", "model", "1")
	for name, tc := range map[string]struct {
		candidate []record.Artifact
		folder    *manifest.Manifest
		ok        bool
	}{
		"model":                     {[]record.Artifact{artifact("candidate", "model", "2")}, folder("2", "9"), true},
		"adapter on the baseline":   {[]record.Artifact{artifact("candidate", "model", "1"), artifact("candidate", "adapter", "3")}, folder("3"), true},
		"the baseline itself":       {[]record.Artifact{artifact("candidate", "model", "1")}, folder("1"), true},
		"another model":             {[]record.Artifact{artifact("candidate", "model", "2")}, folder("4"), false},
		"the adapter is missing":    {[]record.Artifact{artifact("candidate", "model", "2"), artifact("candidate", "adapter", "3")}, folder("2"), false},
		"only the baseline's files": {[]record.Artifact{artifact("candidate", "model", "1")}, folder("5"), false},
	} {
		err := attest.Bind(&record.Run{Artifacts: append([]record.Artifact{base}, tc.candidate...)}, tc.folder)
		if (err == nil) != tc.ok || err != nil && !errors.Is(err, attest.ErrBinding) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// world is a gate with its key, and what a deploy step trusts.
type world struct {
	key, other bundletest.Key
	trust      string
}

func newWorld(t *testing.T, extra string) (*world, *trust.Policy) {
	t.Helper()
	w := &world{key: bundletest.NewKey(t, elliptic.P256()), other: bundletest.NewKey(t, elliptic.P256())}
	w.trust = filepath.Join(t.TempDir(), "trust.yaml")
	text := fmt.Sprintf(`version: 1
signers:
  - {name: gate, key: %s, may: [verdict], models: ["support/*"], verifier: "https://example.com/gate"}
  - {name: vendor, key: %s, may: [model]}
environments:
  prod: {max_verdict_age: 72h, policies: [%q]}
%s`, w.key.Public, w.other.Public, digest("4"), extra)
	if err := os.WriteFile(w.trust, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	p, err := trust.Load(w.trust)
	if err != nil {
		t.Fatal(err)
	}
	return w, p
}

func sign(t *testing.T, k bundletest.Key, st bundle.Statement, edit ...func(predicate map[string]any)) *bundle.Bundle {
	t.Helper()
	if len(edit) > 0 {
		var p map[string]any
		if err := json.Unmarshal(st.Predicate, &p); err != nil {
			t.Fatal(err)
		}
		for _, e := range edit {
			e(p)
		}
		var err error
		if st.Predicate, err = json.Marshal(p); err != nil {
			t.Fatal(err)
		}
	}
	s, err := bundle.LoadSigner(bundle.SignerConfig{Key: k.File})
	if err != nil {
		t.Fatal(err)
	}
	raw, err := s.Sign(st)
	if err != nil {
		t.Fatal(err)
	}
	b, err := bundle.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func require(claims []*bundle.Bundle, p *trust.Policy, environment string, at time.Time) (*attest.Accepted, []record.Problem) {
	return attest.Require(claims, p, attest.Names{Roots: []string{strings.Repeat("ef", 32), root}, Identity: "sha256:" + identity}, "support/bot", environment, at)
}

func rules(ps []record.Problem) (rs []string) {
	for _, p := range ps {
		rs = append(rs, p.Rule)
	}
	return rs
}

func TestRequireAccepts(t *testing.T) {
	w, p := newWorld(t, "")
	old := verdict(record.Reject)
	old.Time = now.Add(-48 * time.Hour)
	var claims []*bundle.Bundle
	for _, st := range slices.Concat(statements(t, old), statements(t, verdict(record.Approve))) {
		claims = append(claims, sign(t, w.key, st))
	}
	got, problems := require(claims, p, "prod", now.Add(time.Hour))
	if got == nil {
		t.Fatal(problems)
	}
	want := &attest.Accepted{Signer: "gate", Verifier: "https://example.com/gate", Policy: digest("4"), Time: now, Digest: claims[3].Digest()}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

func TestNegativeMatrix(t *testing.T) {
	set := func(key string, value any) func(map[string]any) { return func(p map[string]any) { p[key] = value } }
	vsaOf := func(t *testing.T, o record.Outcome, change ...func(*attest.Verdict)) bundle.Statement {
		v := verdict(o)
		for _, c := range change {
			c(v)
		}
		return statements(t, v)[1]
	}
	at := func(d time.Duration) func(*attest.Verdict) { return func(v *attest.Verdict) { v.Time = now.Add(d) } }
	for _, tc := range []struct {
		name   string
		trust  string
		env    string
		rule   string
		claims func(t *testing.T, w *world) []*bundle.Bundle
	}{
		{"no claims at all", "", "prod", attest.RuleMissing, func(*testing.T, *world) []*bundle.Bundle { return nil }},
		{"an escalation", "", "prod", attest.RuleMissing, func(t *testing.T, w *world) []*bundle.Bundle {
			return []*bundle.Bundle{sign(t, w.key, statements(t, verdict(record.Escalate))[0])}
		}},
		{"a rejection", "", "prod", attest.RuleFailed, func(t *testing.T, w *world) []*bundle.Bundle {
			return []*bundle.Bundle{sign(t, w.key, vsaOf(t, record.Reject))}
		}},
		{"a rejection after an approval", "", "prod", attest.RuleFailed, func(t *testing.T, w *world) []*bundle.Bundle {
			return []*bundle.Bundle{sign(t, w.key, vsaOf(t, record.Reject, at(time.Minute))), sign(t, w.key, vsaOf(t, record.Approve))}
		}},
		{"a rejection of the same moment", "", "prod", attest.RuleFailed, func(t *testing.T, w *world) []*bundle.Bundle {
			return []*bundle.Bundle{sign(t, w.key, vsaOf(t, record.Approve)), sign(t, w.key, vsaOf(t, record.Reject))}
		}},
		{"of another environment", "", "prod", attest.RuleEnvironment, func(t *testing.T, w *world) []*bundle.Bundle {
			return []*bundle.Bundle{sign(t, w.key, vsaOf(t, record.Approve, func(v *attest.Verdict) { v.Environment = "staging" }))}
		}},
		{"of another model name", "", "prod", attest.RuleModel, func(t *testing.T, w *world) []*bundle.Bundle {
			return []*bundle.Bundle{sign(t, w.key, vsaOf(t, record.Approve, func(v *attest.Verdict) { v.Model = "support/other" }))}
		}},
		{"of other files", "", "prod", attest.RuleModel, func(t *testing.T, w *world) []*bundle.Bundle {
			return []*bundle.Bundle{sign(t, w.key, vsaOf(t, record.Approve, func(v *attest.Verdict) { v.Subject.Digest["sha256"] = strings.Repeat("0", 64) }))}
		}},
		{"of the same files with other names", "", "prod", attest.RuleModel, func(t *testing.T, w *world) []*bundle.Bundle {
			return []*bundle.Bundle{sign(t, w.key, vsaOf(t, record.Approve, func(v *attest.Verdict) { v.Subject.Digest[bundle.IdentityDigest] = strings.Repeat("0", 64) }))}
		}},
		{"too old", "", "prod", attest.RuleExpired, func(t *testing.T, w *world) []*bundle.Bundle {
			return []*bundle.Bundle{sign(t, w.key, vsaOf(t, record.Approve, at(-73*time.Hour)))}
		}},
		{"from the future", "", "prod", attest.RuleFuture, func(t *testing.T, w *world) []*bundle.Bundle {
			return []*bundle.Bundle{sign(t, w.key, vsaOf(t, record.Approve, at(time.Hour)))}
		}},
		{"by a policy that does not count", "", "prod", attest.RulePolicy, func(t *testing.T, w *world) []*bundle.Bundle {
			return []*bundle.Bundle{sign(t, w.key, vsaOf(t, record.Approve, func(v *attest.Verdict) { v.Run.Verdict.Digest = digest("0") }))}
		}},
		{"by another verifier", "", "prod", attest.RuleVerifier, func(t *testing.T, w *world) []*bundle.Bundle {
			return []*bundle.Bundle{sign(t, w.key, vsaOf(t, record.Approve, func(v *attest.Verdict) { v.Verifier = "https://example.com/other" }))}
		}},
		{"by a key that may not", "", "prod", trust.RuleSignerScope, func(t *testing.T, w *world) []*bundle.Bundle {
			return []*bundle.Bundle{sign(t, w.other, vsaOf(t, record.Approve))}
		}},
		{"by an unknown key", "", "prod", trust.RuleSignerUnknown, func(t *testing.T, w *world) []*bundle.Bundle {
			return []*bundle.Bundle{sign(t, bundletest.NewKey(t, elliptic.P256()), vsaOf(t, record.Approve))}
		}},
		{"with a broken signature", "", "prod", bundle.RuleInvalid, func(t *testing.T, w *world) []*bundle.Bundle {
			b := sign(t, w.key, vsaOf(t, record.Approve))
			b.Payload = bytes.Replace(b.Payload, []byte("PASSED"), []byte("passed"), 1)
			return []*bundle.Bundle{b}
		}},
		{"passed at another level", "", "prod", attest.RuleLevel, func(t *testing.T, w *world) []*bundle.Bundle {
			return []*bundle.Bundle{sign(t, w.key, vsaOf(t, record.Approve), set("verifiedLevels", []string{"SLSA_BUILD_LEVEL_3"}))}
		}},
		{"with an odd result", "", "prod", attest.RuleFailed, func(t *testing.T, w *world) []*bundle.Bundle {
			return []*bundle.Bundle{sign(t, w.key, vsaOf(t, record.Approve), set("verificationResult", "passed"))}
		}},
		{"with no time", "", "prod", attest.RuleMalformed, func(t *testing.T, w *world) []*bundle.Bundle {
			return []*bundle.Bundle{sign(t, w.key, vsaOf(t, record.Approve), set("timeVerified", "yesterday"))}
		}},
		{"with a list as verifier", "", "prod", attest.RuleMalformed, func(t *testing.T, w *world) []*bundle.Bundle {
			return []*bundle.Bundle{sign(t, w.key, vsaOf(t, record.Approve), set("verifier", []int{1}))}
		}},
		{"a revoked model", "revocations: [{model: \"" + root + "\", from: 2026-11-01, reason: backdoor found}]\n", "prod", trust.RuleModelRevoked, func(t *testing.T, w *world) []*bundle.Bundle {
			return []*bundle.Bundle{sign(t, w.key, vsaOf(t, record.Approve))}
		}},
		{"a revoked gate", "revocations: [{signer: gate, from: 2026-11-01, reason: key lost}]\n", "prod", trust.RuleSignerRevoked, func(t *testing.T, w *world) []*bundle.Bundle {
			return []*bundle.Bundle{sign(t, w.key, vsaOf(t, record.Approve))}
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w, p := newWorld(t, tc.trust)
			got, problems := require(tc.claims(t, w), p, tc.env, now)
			if got != nil || !slices.Contains(rules(problems), tc.rule) {
				t.Errorf("accepted %+v, problems %+v; wanted rule %s", got, problems, tc.rule)
			}
			t.Logf("%-28s %-44s -> %s", "verdict", tc.name, tc.rule)
		})
	}
}

// cosign accepts what attest signs, by key, predicate type and subject.
func TestCosignVerifies(t *testing.T) {
	cosign := testreq.File(t, "../../bin/peers/cosign", "make peers")
	w, _ := newWorld(t, "")
	for _, st := range statements(t, verdict(record.Approve)) {
		b := sign(t, w.key, st)
		file := filepath.Join(t.TempDir(), "claim.json")
		if err := os.WriteFile(file, b.Raw, 0o644); err != nil {
			t.Fatal(err)
		}
		verify := func(key, digest string) error {
			c := exec.Command(cosign, "verify-blob-attestation", "--bundle", file, "--key", key, "--type", st.PredicateType,
				"--insecure-ignore-tlog", "--digest", digest, "--digestAlg", "sha256")
			c.Env = append(os.Environ(), "HOME="+t.TempDir())
			out, err := c.CombinedOutput()
			if err != nil {
				return fmt.Errorf("%w: %s", err, out)
			}
			return nil
		}
		if err := verify(w.key.Public, root); err != nil {
			t.Errorf("%s: %v", st.PredicateType, err)
		}
		if err := verify(w.key.Public, strings.Repeat("0", 64)); err == nil {
			t.Errorf("%s: cosign accepts another subject", st.PredicateType)
		}
		if err := verify(w.other.Public, root); err == nil {
			t.Errorf("%s: cosign accepts another key", st.PredicateType)
		}
	}
}
