package sbom

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weighbridge/weighbridge/internal/testreq"
	"github.com/weighbridge/weighbridge/supply/bundle"
)

// repository is the root of the checkout.
func repository(t testing.TB) string {
	t.Helper()
	dir, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// The other validator of the CycloneDX project agrees about every document of
// these tests: ours are valid, and what our schema check refuses it refuses.
func TestOtherValidatorAgrees(t *testing.T) {
	modules := testreq.File(t, filepath.Join(repository(t), "build/node/node_modules"), "make peers")
	node, err := exec.LookPath("node")
	testreq.Need(t, err == nil, "node (make peers)")
	dir := t.TempDir()
	if err := os.Symlink(modules, filepath.Join(dir, "node_modules")); err != nil {
		t.Fatal(err)
	}
	script, err := os.ReadFile("testdata/validate.mjs")
	if err != nil {
		t.Fatal(err)
	}
	put(t, dir, "validate.mjs", string(script))

	want := map[string]bool{}
	goldens, err := filepath.Glob("testdata/*.cdx.json")
	if err != nil || len(goldens) < 4 {
		t.Fatal(goldens, err)
	}
	for _, g := range goldens {
		src, err := os.ReadFile(g)
		if err != nil {
			t.Fatal(err)
		}
		put(t, dir, filepath.Base(g), string(src))
		want[filepath.Base(g)] = true
	}
	good, _ := mustMake(t, complete(t))
	for i, tc := range negatives {
		// What JSON.parse lets pass, or takes apart otherwise, is not a matter
		// of the schema; neither are the versions that one of the two lacks.
		if tc.change == nil || strings.Contains(tc.name, "nested") || strings.HasPrefix(tc.name, "version") {
			continue
		}
		bom := tree(t, good)
		tc.change(bom)
		name := strings.ReplaceAll(strings.ReplaceAll(tc.name, " ", "-"), ",", "") + ".json"
		put(t, dir, name, string(encode(t, bom)))
		want[name] = negatives[i].rule != RuleSchema
	}

	cmd := exec.Command(node, "validate.mjs")
	cmd.Dir = dir
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, stderr.Bytes())
	}
	var got map[string]bool
	if err := json.Unmarshal(out, &got); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func run(t *testing.T, dir string, name string, args ...string) {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "COSIGN_PASSWORD=", "SIGSTORE_NO_CACHE=true", "HOME="+dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
}

// A BOM goes through cosign and back: cosign attests it over a weight file, and
// what comes out of its bundle is checked; our bundle is verified by cosign.
func TestCosign(t *testing.T) {
	cosign := testreq.File(t, filepath.Join(repository(t), "bin/peers/cosign"), "make peers")
	openssl, err := exec.LookPath("openssl")
	testreq.Need(t, err == nil, "openssl (make peers)")
	dir := t.TempDir()
	run(t, dir, openssl, "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", "key.pem")
	run(t, dir, openssl, "pkcs8", "-topk8", "-nocrypt", "-in", "key.pem", "-out", "key8.pem")
	run(t, dir, cosign, "import-key-pair", "--key", "key8.pem", "-o", "cosign")

	src, m := mustMake(t, complete(t))
	put(t, dir, "bom.json", string(src))
	weights, err := filepath.Abs("testdata/tiny-helper/" + strings.TrimPrefix(shard, "file:"))
	if err != nil {
		t.Fatal(err)
	}
	run(t, dir, cosign, "attest-blob", "--predicate", "bom.json", "--type", "cyclonedx", "--key", "cosign.key", "--bundle", "theirs.json",
		"--tlog-upload=false", "--use-signing-config=false", "-y", weights)
	verify := func(b string) {
		t.Helper()
		run(t, dir, cosign, "verify-blob-attestation", "--key", "cosign.pub", "--bundle", b, "--type", "cyclonedx", "--insecure-ignore-tlog", weights)
	}
	verify("theirs.json")

	raw, err := os.ReadFile(filepath.Join(dir, "theirs.json"))
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := bundle.Parse(raw, bundle.StatementTypeV01)
	if err != nil {
		t.Fatal(err)
	}
	if theirs.Statement.PredicateType != bundle.PredicateCycloneDX {
		t.Errorf("cosign writes the predicate type %s", theirs.Statement.PredicateType)
	}
	want, _, err := Check(src, m)
	if err != nil {
		t.Fatal(err)
	}
	got, problems, err := Check(theirs.Statement.Predicate, m)
	if err != nil || len(problems) != 1 || problems[0].Rule != RuleRemoteCode {
		t.Errorf("the BOM out of cosign's bundle: %+v, %v", problems, err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}

	signer, err := bundle.LoadSigner(bundle.SignerConfig{Key: filepath.Join(dir, "key8.pem")})
	if err != nil {
		t.Fatal(err)
	}
	ours, err := signer.Sign(bundle.Statement{
		Type: bundle.StatementType, PredicateType: bundle.PredicateCycloneDX, Predicate: src, Subject: theirs.Statement.Subject,
	})
	if err != nil {
		t.Fatal(err)
	}
	put(t, dir, "ours.json", string(ours))
	verify("ours.json")
}

// The documents that the CycloneDX project tests its own Go library with: every
// one of a version that is read is valid, and is checked without a fault.
func TestUpstreamCorpus(t *testing.T) {
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/CycloneDX/cyclonedx-go").Output()
	testreq.Need(t, err == nil && len(bytes.TrimSpace(dir)) > 0, "the module github.com/CycloneDX/cyclonedx-go in the module cache (go mod download)")
	_, m := mustMake(t, complete(t))
	var files []string
	for _, pattern := range []string{"testdata/*.json", "testdata/snapshots/*.json"} {
		some, err := filepath.Glob(filepath.Join(string(bytes.TrimSpace(dir)), pattern))
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, some...)
	}
	valid := 0
	for _, f := range files {
		src, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		facts, problems, err := Check(src, m)
		if err != nil {
			t.Fatalf("%s: %v", f, err)
		}
		switch err := Validate(src); {
		case err == nil && facts != nil:
			valid++
		case err == nil || !strings.Contains(err.Error(), "/specVersion"):
			t.Errorf("%s: %v, %+v", filepath.Base(f), err, problems)
		}
	}
	if valid < 80 {
		t.Errorf("%d valid documents of %d, want 80 and more", valid, len(files))
	}
}
