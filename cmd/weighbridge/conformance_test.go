package main

import (
	"crypto/elliptic"
	"crypto/x509"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/weighbridge/weighbridge/supply/bundle"
	"github.com/weighbridge/weighbridge/supply/bundle/bundletest"
	"github.com/weighbridge/weighbridge/supply/signing"
)

// conformance is a model signed through the suite's own verbs.
type conformance struct {
	t                    *testing.T
	dir, sig             string
	key                  bundletest.Key
	ca                   *bundletest.Authority
	cert                 string
	signMethod, verifyBy string
}

func newConformance(t *testing.T, method string) *conformance {
	t.Helper()
	c := &conformance{t: t, signMethod: method, verifyBy: method}
	c.dir = bundletest.Folder(t, map[string]string{"a/b": "1", "a-b": "2", "config.json": "{}", "weights.safetensors": strings.Repeat("w", 5000), "empty": ""})
	c.sig = filepath.Join(c.dir, "model.sig")
	c.key = bundletest.NewKey(t, elliptic.P256())
	c.ca = bundletest.NewAuthority(t, time.Now())
	c.cert = c.ca.Issue(t, &c.key.Private.PublicKey, time.Now(), nil)
	return c
}

func (c *conformance) sign(more ...string) int {
	c.t.Helper()
	args := []string{"sign-model", "--method", c.signMethod, "--model-path", c.dir, "--output-bundle", c.sig, "--private-key", c.key.File}
	if c.signMethod == "certificate" {
		args = append(args, "--signing-cert", c.cert, "--cert-chain", c.ca.IntermediateFile, c.ca.RootFile)
	}
	return weighbridge(c.t, append(args, more...)...).code
}

func (c *conformance) check(more ...string) cli {
	c.t.Helper()
	args := []string{"verify-model", "--method", c.verifyBy, "--model-path", c.dir, "--bundle", c.sig}
	if c.verifyBy == "certificate" {
		args = append(args, "--cert-chain", c.ca.RootFile)
	} else {
		args = append(args, "--public-key", c.key.Public)
	}
	return weighbridge(c.t, append(args, more...)...)
}

func (c *conformance) put(name, content string) {
	c.t.Helper()
	path := filepath.Join(c.dir, name)
	c.must(os.MkdirAll(filepath.Dir(path), 0o755))
	c.must(os.WriteFile(path, []byte(content), 0o644))
}

func (c *conformance) must(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

// edit changes the signature's file; the payload is signed again by the same
// key where resign says so, so that only the structure is at fault.
func (c *conformance) edit(resign bool, change func(b, st bundletest.Object)) {
	c.t.Helper()
	raw, err := os.ReadFile(c.sig)
	c.must(err)
	raw = bundletest.Edit(c.t, raw, change)
	if resign {
		b, st := bundletest.Decode(c.t, raw)
		payload, err := json.Marshal(st)
		c.must(err)
		s, err := bundle.LoadSigner(bundle.SignerConfig{Key: c.key.File})
		c.must(err)
		b["dsseEnvelope"].(bundletest.Object)["signatures"] = signaturesOf(c.t, s, payload)
		raw, err = json.Marshal(b)
		c.must(err)
	}
	c.must(os.WriteFile(c.sig, raw, 0o644))
}

func signaturesOf(t *testing.T, s *bundle.Signer, payload []byte) any {
	t.Helper()
	raw, err := s.SignPayload(payload)
	if err != nil {
		t.Fatal(err)
	}
	b, _ := bundletest.Decode(t, raw)
	return b["dsseEnvelope"].(bundletest.Object)["signatures"]
}

// The cases of the OMS conformance suite, through the adapter that it calls:
// it reads the exit code only.
func TestConformance(t *testing.T) {
	type object = bundletest.Object
	serialization := func(st object) object { return st["predicate"].(object)["serialization"].(object) }
	for _, c := range []struct {
		name   string
		do     func(c *conformance) []string // after signing; further arguments of verify-model
		ok     bool
		reason string // in standard error
		only   string // method
	}{
		{name: "untouched", ok: true},
		{name: "claims and drafts come later", ok: true, do: func(c *conformance) []string {
			c.put("claims.jsonl", "")
			c.put("bom.json", "{}")
			return nil
		}},
		{name: "git's files come later", ok: true, do: func(c *conformance) []string {
			c.put(".git/HEAD", "")
			c.put(".gitignore", "")
			c.put(".gitattributes", "")
			c.put(".github/x", "")
			return nil
		}},
		{name: "folder renamed", ok: true, do: func(c *conformance) []string {
			to := filepath.Join(c.t.TempDir(), "other")
			c.must(os.Rename(c.dir, to))
			c.dir, c.sig = to, filepath.Join(to, "model.sig")
			return nil
		}},
		{name: "nested .git", reason: "file-unsigned a/.git/HEAD", do: func(c *conformance) []string { c.put("a/.git/HEAD", ""); return nil }},
		{name: "tampered file", reason: "file-changed a-b", do: func(c *conformance) []string { c.put("a-b", "9"); return nil }},
		{name: "tampered file, unsigned ignored", reason: "file-changed a-b", do: func(c *conformance) []string { c.put("a-b", "9"); return []string{"--ignore-unsigned-files"} }},
		{name: "missing file", reason: "file-missing a-b", do: func(c *conformance) []string { c.must(os.Remove(filepath.Join(c.dir, "a-b"))); return nil }},
		{name: "missing file, unsigned ignored", reason: "file-missing a-b", do: func(c *conformance) []string {
			c.must(os.Remove(filepath.Join(c.dir, "a-b")))
			return []string{"--ignore-unsigned-files"}
		}},
		{name: "extra file", reason: "file-unsigned extra", do: func(c *conformance) []string { c.put("extra", ""); return nil }},
		{name: "extra file, unsigned ignored", ok: true, do: func(c *conformance) []string { c.put("extra", ""); return []string{"--ignore-unsigned-files"} }},
		{name: "extra file, its path ignored", ok: true, do: func(c *conformance) []string { c.put("extra/x", ""); return []string{"--ignore-paths", "extra"} }},
		{name: "extra files, their absolute paths ignored", ok: true, do: func(c *conformance) []string {
			c.put("extra/x", "")
			c.put("more", "")
			return []string{"--ignore-paths", filepath.Join(c.dir, "extra"), filepath.Join(c.dir, "more")}
		}},
		{name: "two files swapped", reason: "file-changed", do: func(c *conformance) []string { c.put("a-b", "1"); c.put("a/b", "2"); return nil }},
		{name: "no files left", reason: "folder-empty", do: func(c *conformance) []string {
			raw, err := os.ReadFile(c.sig)
			c.must(err)
			c.must(os.RemoveAll(c.dir))
			c.must(os.MkdirAll(c.dir, 0o755))
			c.must(os.WriteFile(c.sig, raw, 0o644))
			return nil
		}},
		{name: "symlink", reason: "folder-symlink l", do: func(c *conformance) []string {
			c.must(os.Symlink("a-b", filepath.Join(c.dir, "l")))
			return nil
		}},
		{name: "symlink cycle", reason: "folder-symlink a/l", do: func(c *conformance) []string {
			c.must(os.Symlink("../a", filepath.Join(c.dir, "a", "l")))
			return nil
		}},
		{name: "symlink out of the folder", reason: "folder-symlink l", do: func(c *conformance) []string {
			c.must(os.Symlink("/etc/passwd", filepath.Join(c.dir, "l")))
			return nil
		}},
		{name: "signer allowed symlinks, one leads out", only: "key", reason: "folder-escape l", do: func(c *conformance) []string {
			c.must(os.Symlink("/etc/passwd", filepath.Join(c.dir, "l")))
			c.edit(true, func(_, st object) { serialization(st)["allow_symlinks"] = true })
			return nil
		}},
		{name: "signer allowed symlinks, cycle", only: "key", reason: "folder-cycle a/l", do: func(c *conformance) []string {
			c.must(os.Symlink("../a", filepath.Join(c.dir, "a", "l")))
			c.edit(true, func(_, st object) { serialization(st)["allow_symlinks"] = true })
			return nil
		}},
		{name: "fifo", reason: "folder-special", do: func(c *conformance) []string {
			c.must(syscall.Mkfifo(filepath.Join(c.dir, "p"), 0o644))
			return nil
		}},
		{name: "wrong mediaType", reason: "mediaType", do: func(c *conformance) []string {
			c.edit(false, func(b, _ object) { b["mediaType"] = "application/vnd.dev.sigstore.bundle+json;version=0.2" })
			return nil
		}},
		{name: "wrong payloadType", reason: "payloadType", do: func(c *conformance) []string {
			c.edit(false, func(b, _ object) { b["dsseEnvelope"].(object)["payloadType"] = "text/plain" })
			return nil
		}},
		{name: "wrong _type", reason: "_type", do: func(c *conformance) []string {
			c.edit(false, func(_, st object) { st["_type"] = "https://in-toto.io/Statement/v0.1" })
			return nil
		}},
		{name: "wrong predicateType", only: "key", reason: "predicateType", do: func(c *conformance) []string {
			c.edit(true, func(_, st object) { st["predicateType"] = "https://slsa.dev/provenance/v1" })
			return nil
		}},
		{name: "empty resources", only: "key", reason: "no resources", do: func(c *conformance) []string {
			c.edit(true, func(_, st object) { st["predicate"].(object)["resources"] = []any{} })
			return nil
		}},
		{name: "missing serialization", only: "key", reason: "serialization is missing", do: func(c *conformance) []string {
			c.edit(true, func(_, st object) { delete(st["predicate"].(object), "serialization") })
			return nil
		}},
		{name: "root of other resources", only: "key", reason: "have the root", do: func(c *conformance) []string {
			c.edit(true, func(_, st object) {
				st["subject"].([]any)[0].(object)["digest"] = object{"sha256": strings.Repeat("0", 64)}
			})
			return nil
		}},
		{name: "truncated bundle", reason: "unexpected end", do: func(c *conformance) []string {
			raw, err := os.ReadFile(c.sig)
			c.must(err)
			c.must(os.WriteFile(c.sig, raw[:len(raw)/2], 0o644))
			return nil
		}},
		{name: "payload changed, not signed again", reason: "the signature does not hold", do: func(c *conformance) []string {
			c.edit(false, func(_, st object) { st["subject"].([]any)[0].(object)["name"] = "other" })
			return nil
		}},
		{name: "another key", only: "key", reason: "names key", do: func(c *conformance) []string {
			c.key = bundletest.NewKey(c.t, elliptic.P256())
			return nil
		}},
		{name: "key bundle as certificate", only: "key", reason: "signed by key", do: func(c *conformance) []string { c.verifyBy = "certificate"; return nil }},
		{name: "certificate bundle as key", only: "certificate", reason: "signed by certificate", do: func(c *conformance) []string { c.verifyBy = "key"; return nil }},
		{name: "another root certificate", only: "certificate", reason: "unknown authority", do: func(c *conformance) []string {
			c.ca = bundletest.NewAuthority(c.t, time.Now())
			return nil
		}},
		{name: "bundle that is not there", reason: "no such file", do: func(c *conformance) []string { c.must(os.Remove(c.sig)); return nil }},
		{name: "signature in a subfolder", ok: true, do: func(c *conformance) []string {
			c.sig = filepath.Join(c.dir, "a", "other.sig")
			c.must(os.Remove(filepath.Join(c.dir, "model.sig")))
			if code := c.sign(); code != 0 {
				c.t.Fatalf("sign-model ended with %d", code)
			}
			return nil
		}},
	} {
		for _, method := range []string{"key", "certificate"} {
			if c.only != "" && c.only != method {
				continue
			}
			t.Run(method+" "+c.name, func(t *testing.T) {
				m := newConformance(t, method)
				if code := m.sign(); code != 0 {
					t.Fatalf("sign-model ended with %d", code)
				}
				var more []string
				if c.do != nil {
					more = c.do(m)
				}
				got := m.check(more...)
				if (got.code == 0) != c.ok || !strings.Contains(got.stderr, c.reason) {
					t.Fatalf("exit code %d, want success %v and %q:\n%s", got.code, c.ok, c.reason, got.stderr)
				}
			})
		}
	}
}

// Certificates that nobody may sign with: signing is possible, verifying not.
func TestConformanceCertificates(t *testing.T) {
	now := time.Now()
	for name, c := range map[string]struct {
		issue  func(*x509.Certificate)
		reason string
	}{
		"expired":       {func(c *x509.Certificate) { c.NotAfter = now.AddDate(0, 0, -1) }, "was valid until"},
		"not yet valid": {func(c *x509.Certificate) { c.NotBefore = now.AddDate(0, 0, 1) }, "is valid from"},
		"wrong usage":   {func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageKeyAgreement }, "neither for digitalSignature nor for codeSigning"},
	} {
		t.Run(name, func(t *testing.T) {
			m := newConformance(t, "certificate")
			m.cert = m.ca.Issue(t, &m.key.Private.PublicKey, now, c.issue)
			if code := m.sign(); code != 0 {
				t.Fatalf("sign-model ended with %d", code)
			}
			if got := m.check(); got.code == 0 || !strings.Contains(got.stderr, c.reason) {
				t.Fatalf("exit code %d\n%s", got.code, got.stderr)
			}
		})
	}
}

func TestConformanceSigning(t *testing.T) {
	m := newConformance(t, "key")
	m.put("scratch/x", "1")
	if code := m.sign("--ignore-paths", "scratch", "config.json"); code != 0 {
		t.Fatalf("sign-model ended with %d", code)
	}
	raw, err := os.ReadFile(m.sig)
	m.must(err)
	s, err := signing.Open(raw)
	m.must(err)
	if h := s.Hidden(""); strings.Join(h, " ") != "config.json scratch" {
		t.Errorf("hidden %q", h)
	}
	m.put("config.json", "changed") // it was never signed, and everyone can see that
	if got := m.check(); got.code != 0 {
		t.Errorf("verify-model: %s", got.stderr)
	}
	for name, do := range map[string]func(m *conformance) int{
		"empty folder":      func(m *conformance) int { m.must(os.RemoveAll(m.dir)); m.must(os.Mkdir(m.dir, 0o755)); return m.sign() },
		"symlink":           func(m *conformance) int { m.must(os.Symlink("a-b", filepath.Join(m.dir, "l"))); return m.sign() },
		"ignore everything": func(m *conformance) int { return m.sign("--ignore-paths", m.dir) },
		"ignore above":      func(m *conformance) int { return m.sign("--ignore-paths", "../x") },
		"no key":            func(m *conformance) int { m.key.File = filepath.Join(m.dir, "none"); return m.sign() },
		"sigstore":          func(m *conformance) int { m.signMethod = "sigstore"; return m.sign() },
		"no such method":    func(m *conformance) int { m.signMethod = "rsa"; return m.sign() },
	} {
		t.Run(name, func(t *testing.T) {
			m := newConformance(t, "key")
			if code := do(m); code == 0 {
				t.Error("it was signed")
			}
			if _, err := os.Stat(m.sig); err == nil {
				t.Error("a signature was written")
			}
		})
	}
}
