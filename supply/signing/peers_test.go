package signing

import (
	"crypto/elliptic"
	"crypto/x509"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weighbridge/weighbridge/internal/testreq"
	"github.com/weighbridge/weighbridge/supply/bundle"
	"github.com/weighbridge/weighbridge/supply/bundle/bundletest"
	"github.com/weighbridge/weighbridge/supply/manifest"
)

// tool is a real program for the same format: made by `make peers`.
func tool(t *testing.T, path string) string {
	t.Helper()
	abs, err := filepath.Abs(filepath.Join("..", "..", path))
	check(t, err)
	return testreq.File(t, abs, "make peers")
}

// attempt runs it and gives what it printed.
func attempt(bin string, args ...string) (string, error) {
	out, err := exec.Command(bin, args...).CombinedOutput()
	return string(out), err
}

func must(t *testing.T, bin string, args ...string) {
	t.Helper()
	if out, err := attempt(bin, args...); err != nil {
		t.Fatalf("%s %s: %v\n%s", filepath.Base(bin), strings.Join(args, " "), err, out)
	}
}

// modelSigning is the Python reference implementation, release 1.1.1.
func modelSigning(t *testing.T, args ...string) (string, error) {
	t.Helper()
	return attempt(tool(t, "build/venv/bin/python"), append([]string{"-m", "model_signing"}, args...)...)
}

func pythonOK(t *testing.T, args ...string) {
	t.Helper()
	if out, err := modelSigning(t, args...); err != nil {
		t.Fatalf("model_signing %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

var curves = map[string]elliptic.Curve{"P-256": elliptic.P256(), "P-384": elliptic.P384(), "P-521": elliptic.P521()}

func TestPythonVerifiesOurs(t *testing.T) {
	for name, curve := range curves {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			key := bundletest.NewKey(t, curve)
			s, err := bundle.LoadSigner(bundle.SignerConfig{Key: key.File})
			check(t, err)
			dir := bundletest.Folder(t, files())
			put(t, dir, "scratch/notes", "x")
			put(t, dir, ".git/config", "x")
			signed, err := Sign(t.Context(), dir, s, Options{Ignore: []string{"scratch"}})
			check(t, err)
			check(t, signed.Write(t.Context()))
			put(t, dir, "claims.jsonl", "") // evidence that comes later
			put(t, dir, "bom.json", "{}")
			verify := []string{"verify", "key", dir, "--signature", signed.Path(), "--public_key", key.Public}
			pythonOK(t, verify...)
			if curve != elliptic.P256() {
				return
			}
			put(t, dir, "extra", "x")
			if out, err := modelSigning(t, verify...); err == nil || !strings.Contains(out, "extra") {
				t.Errorf("an extra file: %v\n%s", err, out)
			}
			pythonOK(t, append(verify, "--ignore_unsigned_files")...)
			put(t, dir, "a-b", "tampered")
			if out, err := modelSigning(t, verify...); err == nil || !strings.Contains(out, "a-b") {
				t.Errorf("a changed file: %v\n%s", err, out)
			}
		})
	}
}

func TestWeVerifyPythons(t *testing.T) {
	for name, curve := range curves {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			key := bundletest.NewKey(t, curve)
			dir := bundletest.Folder(t, files())
			put(t, dir, "scratch/notes", "x")
			sig := filepath.Join(dir, "model.sig")
			pythonOK(t, "sign", "key", dir, "--private_key", key.File, "--signature", sig, "--ignore-paths", filepath.Join(dir, "scratch"))
			s := openFile(t, sig)
			pub, err := bundle.LoadPublicKey(key.Public)
			check(t, err)
			check(t, s.Bundle.VerifyKey(pub))
			m, problems, err := Compare(t.Context(), dir, s, Options{})
			if err != nil || problems != nil {
				t.Fatalf("%v, %v", err, problems)
			}
			// "a/b" comes before "a-b" there, and so the roots differ.
			if s.Root != m.PythonRoot() || s.Root == m.Root() {
				t.Errorf("root %s; ours are %s and %s", s.Root, m.PythonRoot(), m.Root())
			}
			if d := cmp.Diff([]string{"scratch"}, s.Hidden("")); d != "" {
				t.Error(d)
			}
			put(t, dir, "a-b", "tampered")
			compare(t, dir, s, Options{}, "a-b: file-changed")
		})
	}
	t.Run("single file", func(t *testing.T) {
		key := bundletest.NewKey(t, elliptic.P256())
		dir := bundletest.Folder(t, map[string]string{"model.gguf": "GGUF"})
		file, sig := filepath.Join(dir, "model.gguf"), filepath.Join(dir, "model.sig")
		pythonOK(t, "sign", "key", file, "--private_key", key.File, "--signature", sig)
		s := openFile(t, sig)
		check(t, s.Bundle.VerifyKey(&key.Private.PublicKey))
		compare(t, file, s, Options{})
		compare(t, dir, s, Options{})
		put(t, dir, "model.gguf", "GGUG")
		compare(t, dir, s, Options{}, "model.gguf: file-changed")
	})
	// The command line of the reference hashes by file with SHA-256 only; its
	// library can do the rest.
	for _, c := range []struct{ name, config string }{
		{"shards", `use_shard_serialization(shard_size=1000)`},
		{"shards of blake2", `use_shard_serialization(hashing_algorithm="blake2", shard_size=700)`},
		{"files by blake2", `use_file_serialization(hashing_algorithm="blake2")`},
		{"files by blake3", `use_file_serialization(hashing_algorithm="blake3")`},
		{"no git paths ignored", `set_ignored_paths(paths=[], ignore_git_paths=False)`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			key := bundletest.NewKey(t, elliptic.P256())
			dir := bundletest.Folder(t, files())
			put(t, dir, ".gitattributes", "*.safetensors filter=lfs")
			sig := filepath.Join(t.TempDir(), "model.sig")
			must(t, tool(t, "build/venv/bin/python"), "-c", `
import sys, model_signing
hashing = model_signing.hashing.Config().`+c.config+`
model_signing.signing.Config().use_elliptic_key_signer(private_key=sys.argv[1]).set_hashing_config(hashing).sign(sys.argv[2], sys.argv[3])
`, key.File, dir, sig)
			s := openFile(t, sig)
			check(t, s.Bundle.VerifyKey(&key.Private.PublicKey))
			compare(t, dir, s, Options{SignatureFile: sig})
			put(t, dir, "a-b", "tampered")
			_, problems, err := Compare(t.Context(), dir, s, Options{SignatureFile: sig})
			check(t, err)
			if len(problems) == 0 || !strings.HasPrefix(problems[0].Subject, "a-b") {
				t.Errorf("tampering gave %v", problems)
			}
		})
	}
}

// Release 0.2.0 signed a mistaken encoding of the payload. The reference still
// has it, to verify such signatures, and makes the bytes here.
func TestWeVerifyRelease020(t *testing.T) {
	now := time.Now()
	key := bundletest.NewKey(t, elliptic.P384())
	ca := bundletest.NewAuthority(t, now)
	cert := ca.Issue(t, &key.Private.PublicKey, now, nil)
	for _, method := range []string{"key", "certificate"} {
		dir := bundletest.Folder(t, map[string]string{"w": "1", "it's": "2"})
		sig := filepath.Join(t.TempDir(), "model.sig")
		must(t, tool(t, "build/venv/bin/python"), "-c", `
import sys, json, base64, hashlib, pathlib
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from model_signing._signing.sign_sigstore_pb import pae_compat
method, key, cert, folder, out = sys.argv[1:]
files = sorted(p for p in pathlib.Path(folder).rglob("*") if p.is_file())
payload = json.dumps({"_type": "https://in-toto.io/Statement/v1", "predicateType": "https://model_signing/Digests/v0.1",
    "subject": [{"name": p.name, "digest": {"sha256": hashlib.sha256(p.read_bytes()).hexdigest()}} for p in files],
    "predicate": {"unused": "Unüsed, just passed due to API requirements"}}, indent=2, ensure_ascii=False).encode()
key = serialization.load_pem_private_key(open(key, "rb").read(), None)
signature = key.sign(pae_compat(payload), ec.ECDSA(hashes.SHA256() if method == "certificate" else hashes.SHA384()))
b64 = lambda b: base64.b64encode(b).decode()
der = x509.load_pem_x509_certificate(open(cert, "rb").read()).public_bytes(serialization.Encoding.DER)
material = {"x509CertificateChain": {"certificates": [{"rawBytes": b64(der)}]}} if method == "certificate" else {"publicKey": {"rawBytes": "eA==", "keyDetails": "PKIX_ECDSA_P384_SHA_384"}}
json.dump({"mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json", "verificationMaterial": material,
    "dsseEnvelope": {"payload": b64(payload), "payloadType": "application/vnd.in-toto+json", "signatures": [{"sig": b64(signature), "keyid": ""}]}}, open(out, "w"))
`, method, key.File, cert, dir, sig)
		s := openFile(t, sig)
		if method == "key" {
			check(t, s.Bundle.VerifyKey(&key.Private.PublicKey))
		} else {
			roots := ca.Roots.Clone()
			between, err := bundle.LoadCertificates(ca.IntermediateFile)
			check(t, err)
			roots.AddCert(between[0])
			_, err = s.Bundle.VerifyCertificate(roots, now)
			check(t, err)
		}
		compare(t, dir, s, Options{})
		put(t, dir, "w", "9")
		put(t, dir, "x", "9")
		compare(t, dir, s, Options{}, "w: file-changed", "x: file-unsigned")
	}
	// The mistaken encoding counts for that predicate only.
	s := openFile(t, func() string {
		signer, _ := signer(t)
		dir := bundletest.Folder(t, files())
		signed, err := Sign(t.Context(), dir, signer, Options{})
		check(t, err)
		check(t, signed.Write(t.Context()))
		return signed.Path()
	}())
	if err := s.Bundle.VerifyKey(&key.Private.PublicKey); bundle.Rule(err) != bundle.RuleKey {
		t.Errorf("got %v", err)
	}
}

func TestCertificatesWithPython(t *testing.T) {
	now := time.Now()
	ca := bundletest.NewAuthority(t, now)
	for name, curve := range curves {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			key := bundletest.NewKey(t, curve)
			cert := ca.Issue(t, &key.Private.PublicKey, now, nil)

			dir := bundletest.Folder(t, files())
			s, err := bundle.LoadSigner(bundle.SignerConfig{Key: key.File, Certificate: cert, Chain: []string{ca.IntermediateFile}})
			check(t, err)
			signed, err := Sign(t.Context(), dir, s, Options{})
			check(t, err)
			check(t, signed.Write(t.Context()))
			pythonOK(t, "verify", "certificate", dir, "--signature", signed.Path(), "--certificate_chain", ca.RootFile)
			if curve == elliptic.P256() {
				if out, err := modelSigning(t, "verify", "certificate", dir, "--signature", signed.Path(), "--certificate_chain", bundletest.NewAuthority(t, now).RootFile); err == nil {
					t.Errorf("another root: %s", out)
				}
			}

			theirs := bundletest.Folder(t, files())
			sig := filepath.Join(theirs, "model.sig")
			pythonOK(t, "sign", "certificate", theirs, "--signature", sig, "--private_key", key.File, "--signing_certificate", cert, "--certificate_chain", ca.IntermediateFile)
			got := openFile(t, sig)
			leaf, err := got.Bundle.VerifyCertificate(ca.Roots, now)
			check(t, err)
			if leaf.Subject.CommonName != "test signer" {
				t.Errorf("leaf %s", leaf.Subject)
			}
			compare(t, theirs, got, Options{})
		})
	}
	// The reference judges a certificate at the start of its own validity, so
	// that expired ones pass there. They do not pass here.
	t.Run("expired", func(t *testing.T) {
		key := bundletest.NewKey(t, elliptic.P256())
		cert := ca.Issue(t, &key.Private.PublicKey, now, func(c *x509.Certificate) { c.NotAfter = now.AddDate(0, 0, -1) })
		dir := bundletest.Folder(t, files())
		sig := filepath.Join(dir, "model.sig")
		pythonOK(t, "sign", "certificate", dir, "--signature", sig, "--private_key", key.File, "--signing_certificate", cert, "--certificate_chain", ca.IntermediateFile)
		pythonOK(t, "verify", "certificate", dir, "--signature", sig, "--certificate_chain", ca.RootFile)
		if _, err := openFile(t, sig).Bundle.VerifyCertificate(ca.Roots, now); bundle.Rule(err) != bundle.RuleExpired {
			t.Errorf("got %v", err)
		}
	})
}

// cosign, which knows nothing of OMS, verifies our bundles as attestations;
// what it attests, we read.
func TestCosign(t *testing.T) {
	cosign := tool(t, "bin/peers/cosign")
	t.Setenv("HOME", t.TempDir()) // it keeps a cache there
	key := bundletest.NewKey(t, elliptic.P256())
	s, err := bundle.LoadSigner(bundle.SignerConfig{Key: key.File})
	check(t, err)
	dir := bundletest.Folder(t, files())
	signed, err := Sign(t.Context(), dir, s, Options{})
	check(t, err)
	check(t, signed.Write(t.Context()))
	verify := func(bundleFile, predicateType, root string) (string, error) {
		return attempt(cosign, "verify-blob-attestation", "--bundle", bundleFile, "--key", key.Public, "--type", predicateType,
			"--insecure-ignore-tlog", "--digest", root, "--digestAlg", "sha256")
	}
	if out, err := verify(signed.Path(), bundle.PredicateOMS, signed.Manifest.Root()); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if out, err := verify(signed.Path(), bundle.PredicateOMS, strings.Repeat("0", 64)); err == nil {
		t.Errorf("another root was accepted:\n%s", out)
	}
	put(t, dir, "bom.json", `{"bomFormat":"CycloneDX","specVersion":"1.6","version":1}`)
	drafts, err := Drafts(dir, "model", signed.Manifest)
	check(t, err)
	_, err = signed.SignDrafts(drafts)
	check(t, err)
	claims, err := bundle.ReadClaims(filepath.Join(dir, manifest.ClaimsFile))
	check(t, err)
	one := filepath.Join(t.TempDir(), "claim.sigstore.json")
	check(t, os.WriteFile(one, claims[0].Raw, 0o644))
	if out, err := verify(one, bundle.PredicateCycloneDX, signed.Manifest.Root()); err != nil {
		t.Errorf("claim: %v\n%s", err, out)
	}
}

func openFile(t *testing.T, path string) *Signature {
	t.Helper()
	raw, err := os.ReadFile(path)
	check(t, err)
	return open(t, raw)
}
