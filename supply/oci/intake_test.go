package oci

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"

	"github.com/weighbridge/weighbridge/supply/intake"
	"github.com/weighbridge/weighbridge/supply/manifest"
	"github.com/weighbridge/weighbridge/supply/store"
)

// ingest brings a reference into a store whose checks find nothing, and gives
// what the check saw.
func ingest(t *testing.T, s *store.Store, r Reference, l Limits) (*intake.Outcome, map[string]string, error) {
	t.Helper()
	src, err := Open(t.Context(), r, Client{Limits: l})
	if err != nil {
		return nil, nil, err
	}
	defer src.Close()
	var seen map[string]string
	out, err := intake.Ingest(t.Context(), intake.Config{Store: s, Source: src, Check: func(ctx context.Context, dir string) (*intake.Assessment, error) {
		seen = contentOf(t, dir)
		m, err := manifest.Dir(ctx, dir, manifest.Options{})
		return &intake.Assessment{Manifest: m}, err
	}})
	return out, seen, err
}

func newStore(t *testing.T) *store.Store {
	t.Helper()
	s, err := store.Create(filepath.Join(t.TempDir(), "store"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func TestIngest(t *testing.T) {
	signer, _, _ := key(t)
	dir := signedModel(t, signer)
	layout := Reference{Transport: Layout, Path: filepath.Join(t.TempDir(), "l")}
	pushed, err := Push(t.Context(), dir, layout, PushOptions{})
	if err != nil {
		t.Fatal(err)
	}
	s := newStore(t)
	out, seen, err := ingest(t, s, layout, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if !out.Admitted || out.Origin.Kind != "oci" || !strings.HasSuffix(out.Origin.Location, pushed.Digest.String()) {
		t.Errorf("outcome %+v", out)
	}
	if diff := cmp.Diff(contentOf(t, dir), seen); diff != "" {
		t.Errorf("the check saw (-want +got):\n%s", diff)
	}
}

// Archives are unpacked on their way in.
func TestIngestArchives(t *testing.T) {
	a := newArtifact("", "application/vnd.kitops.modelkit.config.v1+json").
		layer("application/vnd.kitops.modelkit.model.v1.tar+gzip", "", archive(t, gzipped, file("m/w.gguf", "w"), file("m/c.json", "c"))).
		layer("application/vnd.kitops.modelkit.code.v1.tar", "", archive(t, tarred, file("run.py", "p")))
	s := newStore(t)
	for range 2 {
		out, seen, err := ingest(t, s, Reference{Transport: Layout, Path: layoutOf(t, a)}, Limits{})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(map[string]string{"m/w.gguf": "w", "m/c.json": "c", "run.py": "p"}, seen); diff != "" || !out.Admitted {
			t.Errorf("admitted %v, the check saw (-want +got):\n%s", out.Admitted, diff)
		}
	}
}

// An intake that broke off goes on from the byte that it had.
func TestIngestResumes(t *testing.T) {
	f := newFake(t, false, oneFile())
	f.answer = on("/blobs/", func(w http.ResponseWriter, _ *http.Request) { cut(w, weights[:2<<20], len(weights)) })
	l := tight()
	l.Tries = 1
	s := newStore(t)
	if _, _, err := ingest(t, s, f.ref(t), l); !errors.Is(err, ErrTruncated) {
		t.Fatalf("ended with %v", err)
	}
	var ranges []string
	f.answer = func(_ http.ResponseWriter, r *http.Request) bool {
		if strings.Contains(r.URL.Path, "/blobs/") {
			ranges = append(ranges, r.Header.Get("Range"))
		}
		return false
	}
	out, seen, err := ingest(t, s, f.ref(t), l)
	if err != nil {
		t.Fatal(err)
	}
	if !out.Admitted || !out.Resumed || seen["model.gguf"] != string(weights) {
		t.Errorf("admitted %v, resumed %v, %d bytes", out.Admitted, out.Resumed, len(seen["model.gguf"]))
	}
	wantTail(t, ranges)
}

// refusals is part of TestNegativeMatrix: what an artifact gets wrong refuses
// it, with a rule; what a registry does decides nothing.
func refusals(t *testing.T) {
	const plainTar = "application/vnd.cncf.model.weight.v1.tar"
	layer := func(mediaType string, content []byte) *artifact {
		return newArtifact(modelPackArtifact, modelPackConfig).layer(mediaType, "", content)
	}
	cases := map[string]struct {
		artifact *artifact
		answer   func(http.ResponseWriter, *http.Request) bool
		rule     string // of the refusal
		fault    error  // instead of one
	}{
		"other bytes": {artifact: oneFile(), rule: store.RuleDigest, answer: on("/blobs/", func(w http.ResponseWriter, _ *http.Request) {
			w.Write(make([]byte, len(weights)))
		})},
		"bytes without end": {artifact: oneFile(), rule: store.RuleSize, answer: on("/blobs/", func(w http.ResponseWriter, _ *http.Request) { endless(w, weights) })},
		"link":              {artifact: layer(plainTar, archive(t, tarred, entryOf{Header: link2("x", "/etc/passwd")})), rule: RuleArchive},
		"one name twice":    {artifact: layer(plainTar, archive(t, tarred, file("x", "1"), file("x", "2"))), rule: store.RuleDuplicate},
		"bomb":              {artifact: layer(plainTar+"+gzip", archive(t, gzipped, file("x", strings.Repeat("\x00", 16<<20)))), rule: RuleCompression},
		"500":               {artifact: oneFile(), fault: ErrServer, answer: on("/blobs/", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) })},
		"stall":             {artifact: oneFile(), fault: ErrStalled, answer: on("/blobs/", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })},
	}
	for _, name := range slices.Sorted(maps.Keys(cases)) {
		tc := cases[name]
		t.Run(name, func(t *testing.T) {
			f := newFake(t, false, tc.artifact)
			f.answer = tc.answer
			s := newStore(t)
			l := tight()
			if tc.fault == ErrStalled {
				impatient(&l)
			}
			out, _, err := ingest(t, s, f.ref(t), l)
			switch {
			case tc.fault != nil:
				if !errors.Is(err, tc.fault) {
					t.Errorf("ended with %v, want %v", err, tc.fault)
				}
			case err != nil:
				t.Fatal(err)
			case out.Admitted || len(out.Problems) != 1 || out.Problems[0].Rule != tc.rule:
				t.Errorf("outcome %+v, want the rule %s", out, tc.rule)
			}
			if found, err := filepath.Glob(filepath.Join(s.Dir(), "models", "*")); err != nil || len(found) > 0 {
				t.Errorf("admitted: %v, %v", found, err)
			}
			if tc.fault == nil {
				tc.fault = errors.New("refused, " + tc.rule)
			}
			outcome(t, "ingest", name, tc.fault)
		})
	}
}

// A tag that moves between two attempts begins another intake, and does not mix
// the bytes of two models.
func TestIngestOfMovedTag(t *testing.T) {
	f := newFake(t, false, oneFile())
	f.answer = on("/blobs/", func(w http.ResponseWriter, _ *http.Request) { cut(w, weights[:2<<20], len(weights)) })
	l := tight()
	l.Tries = 1
	s := newStore(t)
	if _, _, err := ingest(t, s, f.ref(t), l); !errors.Is(err, ErrTruncated) {
		t.Fatalf("ended with %v", err)
	}
	other := newArtifact(modelPackArtifact, modelPackConfig).layer("application/vnd.cncf.model.weight.v1.raw", "model.gguf", []byte("other"))
	f.answer, f.blobs = nil, other.blobs
	f.manifests["v1"] = other.bytes(t)
	f.manifests[digest.FromBytes(other.bytes(t)).String()] = other.bytes(t)
	out, seen, err := ingest(t, s, f.ref(t), l)
	if err != nil || !out.Admitted || out.Resumed || seen["model.gguf"] != "other" {
		t.Errorf("outcome %+v of %q, %v", out, seen, err)
	}
}
