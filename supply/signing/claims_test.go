package signing

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weighbridge/weighbridge/supply/bundle"
	"github.com/weighbridge/weighbridge/supply/bundle/bundletest"
	"github.com/weighbridge/weighbridge/supply/manifest"
)

const bom = `{ "bomFormat": "CycloneDX", "metadata": {"note": "<&> ü"} }`

func provenance(subject string) string {
	return `{"_type":"` + bundle.StatementType + `","subject":[` + subject + `],"predicateType":"` + bundle.PredicateProvenance + `","predicate":{"buildDefinition":{"N":1,"n":2}}}`
}

func signDir(t *testing.T, dir string, s *bundle.Signer) (*Signed, []string) {
	t.Helper()
	signed, err := Sign(t.Context(), dir, s, Options{})
	check(t, err)
	drafts, err := Drafts(dir, "model", signed.Manifest)
	check(t, err)
	made, err := signed.SignDrafts(drafts)
	check(t, err)
	check(t, signed.Write(t.Context()))
	return signed, made
}

func TestDraftsBecomeClaims(t *testing.T) {
	dir := bundletest.Folder(t, files())
	key, _ := signer(t)
	signed, made := signDir(t, dir, key)
	if made != nil {
		t.Errorf("claims about nothing: %q", made)
	}
	put(t, dir, "bom.json", bom)
	put(t, dir, "provenance.json", provenance(`{"name":"draft","digest":{"sha256":"`+signed.Manifest.Root()+`"}}`))
	_, made = signDir(t, dir, key)
	if d := cmp.Diff([]string{"bom.json", "provenance.json"}, made); d != "" {
		t.Error(d)
	}
	claims, err := bundle.ReadClaims(filepath.Join(dir, manifest.ClaimsFile))
	check(t, err)
	id, _ := signed.Manifest.Identity()
	want := []bundle.Statement{
		{PredicateType: bundle.PredicateCycloneDX, Predicate: json.RawMessage(`{"bomFormat":"CycloneDX","metadata":{"note":"<&> ü"}}`)},
		{PredicateType: bundle.PredicateProvenance, Predicate: json.RawMessage(`{"buildDefinition":{"N":1,"n":2}}`)},
	}
	for i := range want {
		want[i].Type = bundle.StatementType
		want[i].Subject = []bundle.Subject{{Name: "model", Digest: map[string]string{
			"sha256": signed.Manifest.Root(), "weighbridgeIdentity": strings.TrimPrefix(string(id), "sha256:"),
		}}}
	}
	for i, c := range claims {
		check(t, c.VerifyKey(key.Public()))
		if d := cmp.Diff(want[i], c.Statement); d != "" {
			t.Errorf("claim %d (-want +got):\n%s", i, d)
		}
	}

	// Once more: nothing new. Another signer, or another text: something new.
	if _, made = signDir(t, dir, key); made != nil {
		t.Errorf("signed again: %q", made)
	}
	other, _ := signer(t)
	if _, made = signDir(t, dir, other); len(made) != 2 {
		t.Errorf("another signer made %q", made)
	}
	put(t, dir, "bom.json", `{"bomFormat":"CycloneDX"}`)
	if _, made = signDir(t, dir, other); !cmp.Equal(made, []string{"bom.json"}) {
		t.Errorf("a changed draft made %q", made)
	}
}

func TestDraftsThatAreNotSigned(t *testing.T) {
	for name, c := range map[string]struct {
		file, content, want string
	}{
		"about other weights":  {"provenance.json", provenance(`{"digest":{"sha256":"` + strings.Repeat("0", 64) + `"}}`), "the files changed"},
		"other identity":       {"provenance.json", provenance(`{"digest":{"weighbridgeIdentity":"00"}}`), "the files changed"},
		"another predicate":    {"provenance.json", strings.Replace(provenance(`{"digest":{"a":"b"}}`), bundle.PredicateProvenance, "x", 1), "predicateType"},
		"provenance no JSON":   {"provenance.json", "x", "invalid character"},
		"no predicate":         {"provenance.json", `{"_type":"` + bundle.StatementType + `","subject":[{"digest":{"a":"b"}}],"predicateType":"` + bundle.PredicateProvenance + `"}`, "no JSON object"},
		"BOM no JSON":          {"bom.json", "x", "invalid character"},
		"BOM with a key twice": {"bom.json", `{"a":1,"a":2}`, "twice"},
		"BOM a list":           {"bom.json", `[]`, "no JSON object"},
		"BOM huge":             {"bom.json", strings.Repeat(" ", MaxDraft+1), "more than"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := bundletest.Folder(t, files())
			put(t, dir, c.file, c.content)
			m, err := manifest.Dir(t.Context(), dir, manifest.Options{})
			check(t, err)
			if _, err := Drafts(dir, "model", m); err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), c.file) && !errors.Is(err, ErrDraft) {
				t.Fatalf("got %v, want %q", err, c.want)
			}
		})
	}
	dir := bundletest.Folder(t, files())
	check(t, os.Symlink("/etc/passwd", filepath.Join(dir, "bom.json")))
	m, err := manifest.Dir(t.Context(), dir, manifest.Options{})
	check(t, err)
	if _, err := Drafts(dir, "model", m); !errors.Is(err, ErrDraft) {
		t.Errorf("a link as draft: %v", err)
	}
}
