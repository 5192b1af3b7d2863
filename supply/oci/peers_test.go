package oci

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"

	"github.com/weighbridge/weighbridge/internal/testreq"
	"github.com/weighbridge/weighbridge/supply/bundle"
	"github.com/weighbridge/weighbridge/supply/manifest"
	"github.com/weighbridge/weighbridge/supply/oci/ocitest"
)

var noTime time.Time

// peer is the path of another project's tool.
func peer(t *testing.T, name string) string {
	t.Helper()
	path, err := filepath.Abs("../../bin/peers/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return testreq.File(t, path, "make peers")
}

// call runs a tool with a home of its own and gives its standard output.
func call(t *testing.T, dir, tool string, args ...string) string {
	t.Helper()
	c := exec.CommandContext(t.Context(), tool, args...)
	c.Dir = dir
	c.Env = []string{"HOME=" + t.TempDir(), "PATH=" + os.Getenv("PATH"), "COSIGN_PASSWORD=", "TUF_ROOT=" + t.TempDir()}
	var stdout, stderr bytes.Buffer
	c.Stdout, c.Stderr = &stdout, &stderr
	if err := c.Run(); err != nil {
		t.Fatalf("%s %s: %v\n%s%s", filepath.Base(tool), strings.Join(args, " "), err, stdout.String(), stderr.String())
	}
	return stdout.String()
}

// distribution is the reference registry. It answers 404 where the referrers API
// would be.
func distribution(t *testing.T) string {
	t.Helper()
	return ocitest.Registry(t, peer(t, "registry"))
}

// What is pushed to a real registry comes back byte for byte, twice changes
// nothing, and every further tool reads it.
func TestPeersRegistry(t *testing.T) {
	oras, cosign, host := peer(t, "oras"), peer(t, "cosign"), distribution(t)
	signer, _, public := key(t)
	dir := signedModel(t, signer)
	ref := reference(t, host+"/models/small:v1")
	pushed, err := Push(t.Context(), dir, ref, PushOptions{Signer: signer, Tags: []string{"stable"}})
	if err != nil {
		t.Fatal(err)
	}
	again, err := Push(t.Context(), dir, ref, PushOptions{Signer: signer, Tags: []string{"stable"}})
	if err != nil {
		t.Fatal(err)
	}
	if again.Written != 0 || again.Digest != pushed.Digest {
		t.Errorf("the second push wrote %d documents and gave %s after %s", again.Written, again.Digest, pushed.Digest)
	}
	want := contentOf(t, dir)

	t.Run("pull", func(t *testing.T) {
		for _, r := range []string{":v1", ":stable", "@" + pushed.Digest.String()} {
			back := filepath.Join(t.TempDir(), "back")
			got, err := Pull(t.Context(), reference(t, host+"/models/small"+r), back, Client{})
			if err != nil {
				t.Fatal(err)
			}
			if got.Digest != pushed.Digest || len(got.Skipped) > 0 {
				t.Errorf("%s: pulled %s, left out %v", r, got.Digest, got.Skipped)
			}
			if diff := cmp.Diff(want, contentOf(t, back)); diff != "" {
				t.Errorf("%s: pulled (-want +got):\n%s", r, diff)
			}
		}
	})
	t.Run("oras discover and pull", func(t *testing.T) {
		seen := call(t, "", oras, "discover", "--plain-http", "--format", "json", host+"/models/small:v1")
		if n := strings.Count(seen, `"artifactType": "`+bundle.MediaType+`"`); n != 4 {
			t.Errorf("oras sees %d bundles, want model.sig, two claims and the signature for cosign:\n%s", n, seen)
		}
		out := t.TempDir()
		call(t, out, oras, "pull", "--plain-http", host+"/models/small:v1")
		if diff := cmp.Diff(model, contentOf(t, out)); diff != "" {
			t.Errorf("oras pulled (-want +got):\n%s", diff)
		}
	})
	image := host + "/models/small@" + pushed.Digest.String()
	offline := []string{"--key", public, "--insecure-ignore-tlog", "--allow-insecure-registry"}
	t.Run("cosign verify", func(t *testing.T) {
		out := call(t, "", cosign, append(append([]string{"verify"}, offline...), image)...)
		if !strings.Contains(out, pushed.Digest.String()) {
			t.Errorf("cosign says %s", out)
		}
	})
	t.Run("cosign verify-attestation", func(t *testing.T) {
		out := call(t, "", cosign, append(append([]string{"verify-attestation", "--type", bundle.PredicateCycloneDX}, offline...), image)...)
		if !strings.Contains(out, bundle.PayloadType) {
			t.Errorf("cosign says %s", out)
		}
	})
	t.Run("cosign with another key", func(t *testing.T) {
		_, _, other := key(t)
		c := exec.Command(cosign, "verify", "--key", other, "--insecure-ignore-tlog", "--allow-insecure-registry", image)
		c.Env = []string{"HOME=" + t.TempDir()}
		if out, err := c.CombinedOutput(); err == nil {
			t.Errorf("cosign accepts the wrong key:\n%s", out)
		}
	})
	t.Run("cosign attest", func(t *testing.T) {
		work := t.TempDir()
		call(t, work, cosign, "generate-key-pair")
		if err := os.WriteFile(filepath.Join(work, "p.json"), []byte(`{"score":1}`), 0o600); err != nil {
			t.Fatal(err)
		}
		call(t, work, cosign, "attest", "--yes", "--key", "cosign.key", "--predicate", "p.json", "--type", "https://example.com/eval/v1",
			"--use-signing-config=false", "--tlog-upload=false", "--allow-insecure-registry", image)
		back := filepath.Join(t.TempDir(), "back")
		if _, err := Pull(t.Context(), reference(t, image), back, Client{}); err != nil {
			t.Fatal(err)
		}
		claims, err := bundle.ReadClaims(filepath.Join(back, manifest.ClaimsFile), bundle.StatementTypeV01)
		if err != nil {
			t.Fatal(err)
		}
		last := claims[len(claims)-1]
		pub, err := bundle.LoadPublicKey(filepath.Join(work, "cosign.pub"))
		if err != nil {
			t.Fatal(err)
		}
		if len(claims) != 4 || last.Statement.PredicateType != "https://example.com/eval/v1" || last.Statement.Subject[0].Digest["sha256"] != pushed.Digest.Encoded() {
			t.Errorf("%d claims, the last one %+v", len(claims), last.Statement)
		}
		// cosign's hint is the base64 of another digest than OMS's.
		last.Hint = ""
		if err := last.VerifyKey(pub); err != nil {
			t.Errorf("cosign's attestation: %v", err)
		}
	})
}

// Two pushes of one model at once both end well. The registry keeps the list of
// referrers under a tag that each of them rewrites, so that the later may drop
// an entry of the earlier after that had looked; pushing again puts it back.
func TestPeersRegistryAtOnce(t *testing.T) {
	host := distribution(t)
	a, _, _ := key(t)
	b, _, _ := key(t)
	ref := reference(t, host+"/models/small:v1")
	var g errgroup.Group
	dirs := []string{signedModel(t, a), signedModel(t, b)}
	for _, dir := range dirs {
		g.Go(func() error {
			_, err := Push(t.Context(), dir, ref, PushOptions{Client: Client{Limits: Limits{Tries: 10}}})
			return err
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	for _, dir := range dirs {
		if _, err := Push(t.Context(), dir, ref, PushOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	got, err := Pull(t.Context(), ref, filepath.Join(t.TempDir(), "back"), Client{})
	if err != nil {
		t.Fatal(err)
	}
	if got.Claims != 5 { // two of each, and the signature that is not model.sig
		t.Errorf("%d claims came back, want 5; left out %v", got.Claims, got.Skipped)
	}
}

// What oras pushes and attaches is pulled by us.
func TestPeersOras(t *testing.T) {
	oras, host := peer(t, "oras"), distribution(t)
	signer, _, _ := key(t)
	dir := signedModel(t, signer)
	name := host + "/by/oras:v1"
	work := t.TempDir()
	if err := os.WriteFile(filepath.Join(work, "config.json"), []byte(`{"descriptor":{},"config":{},"modelfs":{"type":"layers","diffIds":[]}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	args := []string{"push", "--plain-http", name, "--artifact-type", modelPackArtifact, "--config", filepath.Join(work, "config.json") + ":" + modelPackConfig, "--disable-path-validation"}
	for file := range model {
		args = append(args, file+":"+layerType(file))
	}
	call(t, dir, oras, args...)
	call(t, dir, oras, "attach", "--plain-http", name, "--artifact-type", bundle.MediaType, manifest.SignatureFile+":"+bundle.MediaType)
	call(t, dir, oras, "attach", "--plain-http", name, "--artifact-type", "application/vnd.example.photo", "README.md:text/plain")

	for _, from := range []string{name, "oci:" + filepath.Join(work, "layout") + ":v1", "oci-archive:" + filepath.Join(work, "a.tar") + ":v1"} {
		switch {
		case strings.HasPrefix(from, "oci:"):
			call(t, work, oras, "copy", "-r", "--from-plain-http", "--to-oci-layout", name, "layout:v1")
		case strings.HasPrefix(from, "oci-archive:"):
			call(t, work, "tar", "-cf", "a.tar", "-C", "layout", ".")
		}
		back := filepath.Join(t.TempDir(), "back")
		got, err := Pull(t.Context(), reference(t, from), back, Client{})
		if err != nil {
			t.Fatalf("%s: %v", from, err)
		}
		want := contentOf(t, dir)
		delete(want, manifest.ClaimsFile)
		delete(want, manifest.BOMFile)
		if diff := cmp.Diff(want, contentOf(t, back)); diff != "" {
			t.Errorf("%s: pulled (-want +got):\n%s", from, diff)
		}
		if len(got.Skipped) != 1 || !strings.Contains(got.Skipped[0].Why, "photo") {
			t.Errorf("%s: left out %v, want the photo", from, got.Skipped)
		}
	}
}

// A layout that we write is one that oras reads.
func TestPeersLayout(t *testing.T) {
	oras := peer(t, "oras")
	signer, _, _ := key(t)
	dir := signedModel(t, signer)
	work := t.TempDir()
	pushed, err := Push(t.Context(), dir, reference(t, "oci:"+filepath.Join(work, "layout")+":v1"), PushOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.TrimSpace(call(t, work, oras, "resolve", "--oci-layout", "layout:v1")); got != pushed.Digest.String() {
		t.Errorf("oras resolves %s, pushed was %s", got, pushed.Digest)
	}
	seen := call(t, work, oras, "discover", "--oci-layout", "--format", "json", "layout:v1")
	if n := strings.Count(seen, `"referrers": []`); n != 4 {
		t.Errorf("oras sees %d referrers, want 4:\n%s", n, seen)
	}
	out := t.TempDir()
	call(t, out, oras, "pull", "--oci-layout", filepath.Join(work, "layout")+":v1")
	if diff := cmp.Diff(model, contentOf(t, out)); diff != "" {
		t.Errorf("oras pulled (-want +got):\n%s", diff)
	}
}
