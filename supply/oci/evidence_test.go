package oci

import (
	"bytes"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"

	"github.com/weighbridge/weighbridge/supply/bundle"
	"github.com/weighbridge/weighbridge/supply/manifest"
)

// What refers to a model is sorted into files by what it says, whatever the
// order in which the registry lists it.
func TestEvidence(t *testing.T) {
	signer, _, _ := key(t)
	a := oneFile()
	m := manifest.Manifest{Resources: []manifest.Resource{{Name: "model.gguf", Digest: mustHex(t, digest.FromBytes(weights).Encoded())}}}
	sign := func(st bundle.Statement) []byte {
		src, err := signer.Sign(st)
		if err != nil {
			t.Fatal(err)
		}
		return src
	}
	mine := sign(statement(bundle.PredicateOMS, m.Root()))
	foreign := sign(statement(bundle.PredicateOMS, strings.Repeat("0", 64)))
	claim := sign(statement(bundle.PredicateProvenance, m.Root()))
	var spread bytes.Buffer
	if err := json.Indent(&spread, claim, "", "  "); err != nil {
		t.Fatal(err)
	}
	type doc struct {
		kind    string
		content []byte
	}
	for name, tc := range map[string]struct {
		docs    []doc
		want    map[string]string
		skipped int
	}{
		"nothing":                       {},
		"the signature of these bytes":  {docs: []doc{{typeBundle, foreign}, {typeBundle, mine}}, want: map[string]string{"model.sig": string(mine), "claims.jsonl": string(foreign) + "\n"}},
		"only one of other bytes shows": {docs: []doc{{typeBundle, foreign}}, want: map[string]string{"model.sig": string(foreign)}},
		"a claim once, on one line":     {docs: []doc{{typeBundle, claim}, {typeBundle, spread.Bytes()}}, want: map[string]string{"claims.jsonl": string(claim) + "\n"}},
		"a draft":                       {docs: []doc{{typeBOM, []byte("{}")}}, want: map[string]string{"bom.json": "{}"}},
		"two drafts are none":           {docs: []doc{{typeBOM, []byte("{}")}, {typeBOM, []byte("[]")}}, skipped: 2},
		"no bundle":                     {docs: []doc{{typeBundle, []byte("{}")}}, skipped: 1},
		"something else":                {docs: []doc{{"image/png", []byte("x")}}, skipped: 1},
	} {
		t.Run(name, func(t *testing.T) {
			for _, reverse := range []bool{false, true} {
				f := newFake(t, false, a)
				subject := digest.FromBytes(f.manifests["v1"])
				for _, d := range tc.docs {
					f.attach(t, subject, d.kind, d.content)
				}
				if reverse {
					for i, j := 0, len(f.referrers)-1; i < j; i, j = i+1, j-1 {
						f.referrers[i], f.referrers[j] = f.referrers[j], f.referrers[i]
					}
				}
				dir := filepath.Join(t.TempDir(), "x")
				got, err := Pull(t.Context(), f.ref(t), dir, Client{})
				if err != nil {
					t.Fatal(err)
				}
				if len(got.Skipped) != tc.skipped {
					t.Errorf("left out %v, want %d", got.Skipped, tc.skipped)
				}
				files := contentOf(t, dir)
				delete(files, "model.gguf")
				if tc.want == nil {
					tc.want = map[string]string{}
				}
				if diff := cmp.Diff(tc.want, files); diff != "" {
					t.Errorf("files (-want +got):\n%s", diff)
				}
			}
		})
	}

	t.Run("the model as its own referrer, and one of another model", func(t *testing.T) {
		f := newFake(t, false, a)
		self := described(f.manifests["v1"])
		f.attach(t, digest.FromString("another"), typeBundle, claim)
		f.referrers = append(f.referrers, self)
		got, err := Pull(t.Context(), f.ref(t), filepath.Join(t.TempDir(), "x"), Client{})
		if err != nil {
			t.Fatal(err)
		}
		if len(got.Skipped) != 2 || len(got.Evidence) != 0 {
			t.Errorf("left out %v, took %v", got.Skipped, got.Evidence)
		}
	})
	t.Run("evidence as layers comes first, and bad evidence stays to be seen", func(t *testing.T) {
		b := oneFile().layer("application/vnd.cncf.model.doc.v1.raw", "model.sig", []byte("broken")).
			layer("application/vnd.cncf.model.doc.v1.tar", "", archive(t, tarred, file("claims.jsonl", "{}\n"+string(claim)+"\n")))
		f := newFake(t, false, b)
		dir := filepath.Join(t.TempDir(), "x")
		if _, err := Pull(t.Context(), f.ref(t), dir, Client{}); err != nil {
			t.Fatal(err)
		}
		got := contentOf(t, dir)
		delete(got, "model.gguf")
		if diff := cmp.Diff(map[string]string{"model.sig": "broken", "claims.jsonl": "{}\n" + string(claim) + "\n"}, got); diff != "" {
			t.Errorf("files (-want +got):\n%s", diff)
		}
	})
}

func mustHex(t *testing.T, s string) []byte {
	t.Helper()
	raw := make([]byte, 32)
	for i := range raw {
		var b int
		for _, c := range s[2*i : 2*i+2] {
			b = b*16 + strings.IndexRune("0123456789abcdef", c)
		}
		raw[i] = byte(b)
	}
	return raw
}
