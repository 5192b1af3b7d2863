package main

import (
	"crypto/elliptic"
	"crypto/x509"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/weighbridge/weighbridge/supply/bundle"
	"github.com/weighbridge/weighbridge/supply/bundle/bundletest"
	"github.com/weighbridge/weighbridge/supply/manifest"
)

func TestSign(t *testing.T) {
	key := bundletest.NewKey(t, elliptic.P256())
	dir := bundletest.Folder(t, map[string]string{"a/b": "1", "a-b": "2"})
	if got := weighbridge(t, "sbom", dir); got.code != 0 {
		t.Fatal(got.stderr)
	}
	if err := os.Mkdir(filepath.Join(dir, "skip"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "skip/x"), []byte("1"), 0o644); err != nil {
		t.Fatal(err)
	}
	got := weighbridge(t, "sign", dir, "--key", key.File, "--ignore", "skip", "--json")
	if got.code != 0 {
		t.Fatal(got.stderr)
	}
	var r signResult
	if err := json.Unmarshal([]byte(got.stdout), &r); err != nil {
		t.Fatal(err)
	}
	m, err := manifest.Dir(t.Context(), dir, manifest.Options{Ignore: []string{"skip"}})
	if err != nil {
		t.Fatal(err)
	}
	id, _ := m.Identity()
	if r.Root != m.Root() || r.PythonRoot != m.PythonRoot() || r.Root == r.PythonRoot || r.Identity != string(id) || r.Files != 2 || r.Name != "model" || strings.Join(r.Claims, " ") != "bom.json" {
		t.Errorf("printed %+v", r)
	}
	claims, err := bundle.ReadClaims(filepath.Join(dir, manifest.ClaimsFile))
	if err != nil || len(claims) != 1 || claims[0].VerifyKey(&key.Private.PublicKey) != nil {
		t.Errorf("claims %v, %v", claims, err)
	}
	again := weighbridge(t, "sign", dir, "--key", key.File, "--ignore", "skip")
	for _, want := range []string{"model.sig, 2 files", "ignored", "root", "in the order of the Python implementation", "identity"} {
		if !strings.Contains(again.stdout, want) {
			t.Errorf("%q is not in:\n%s", want, again.stdout)
		}
	}
	if got := weighbridge(t, "sign", dir, "--key", key.File, "--dataset", "--signature", filepath.Join(t.TempDir(), "data.sig")); got.code != 0 {
		t.Error(got.stderr)
	}
}

func TestSignRefuses(t *testing.T) {
	key := bundletest.NewKey(t, elliptic.P256())
	ca := bundletest.NewAuthority(t, time.Now())
	expired := ca.Issue(t, &key.Private.PublicKey, time.Now(), func(c *x509.Certificate) { c.NotAfter = time.Now().AddDate(0, 0, -1) })
	dir := bundletest.Folder(t, map[string]string{"w": "1"})
	lying := bundletest.Folder(t, map[string]string{"w": "1", "bom.json": `{"bomFormat":"CycloneDX"}`})
	stale := bundletest.Folder(t, map[string]string{"w": "1", "provenance.json": `{"_type":"https://in-toto.io/Statement/v1","subject":[{"digest":{"sha256":"00"}}],"predicateType":"https://slsa.dev/provenance/v1","predicate":{}}`})
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"no key":           {[]string{dir}, "openssl ecparam -name prime256v1 -genkey"},
		"key not there":    {[]string{dir, "--key", "none.pem"}, "none.pem"},
		"public key":       {[]string{dir, "--key", key.Public}, "PUBLIC KEY"},
		"no such folder":   {[]string{dir + "x", "--key", key.File}, "no such file"},
		"a file":           {[]string{filepath.Join(dir, "w"), "--key", key.File}, "not a directory"},
		"ignored ..":       {[]string{dir, "--key", key.File, "--ignore", "../x"}, "../x"},
		"expired":          {[]string{dir, "--key", key.File, "--certificate", expired}, "nobody would accept"},
		"chain alone":      {[]string{dir, "--key", key.File, "--chain", ca.RootFile}, "without a certificate"},
		"no password file": {[]string{dir, "--key", key.File, "--password-file", "none"}, "none"},
		"a BOM that lies":  {[]string{lying, "--key", key.File}, "bom.json contradicts the files"},
		"stale provenance": {[]string{stale, "--key", key.File}, "the files changed"},
	} {
		t.Run(name, func(t *testing.T) {
			got := weighbridge(t, append([]string{"sign"}, c.args...)...)
			if got.code != exitUsage || !strings.Contains(got.stderr, c.want) {
				t.Fatalf("exit code %d, %s", got.code, got.stderr)
			}
		})
	}
	for _, d := range []string{dir, stale} {
		if _, err := os.Stat(filepath.Join(d, "model.sig")); err == nil {
			t.Errorf("%s was signed", d)
		}
	}
}
