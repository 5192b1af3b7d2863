package provenance

import (
	"context"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/weighbridge/weighbridge/record"
	"github.com/weighbridge/weighbridge/supply/bundle"
	"github.com/weighbridge/weighbridge/supply/manifest"
)

var now = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)

// folder writes files into a folder called name and gives its path.
func folder(t testing.TB, name string, files map[string]string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), name)
	for path, text := range files {
		path = filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func read(t testing.TB, dir string) *manifest.Manifest {
	t.Helper()
	m, err := manifest.Dir(context.Background(), dir, manifest.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// o is a JSON object.
type o = map[string]any

// dep is a dependency as weighbridge writes it.
func dep(role Role, name string, digest o) o {
	return o{"name": name, "digest": digest, "annotations": o{AnnotationRole: string(role)}}
}

var (
	hexA = strings.Repeat("ab", 32)
	hexC = strings.Repeat("cd", 20)
)

// complete are the dependencies of a fine-tune that lacks nothing.
func complete() []any {
	return []any{
		dep(BaseModel, "base", o{"sha256": hexA}), dep(Dataset, "corpus", o{"sha256": strings.Repeat("12", 32)}),
		dep(Code, "trainer", o{"gitCommit": hexC}), dep(Environment, "image", o{"sha256": strings.Repeat("34", 32)}),
	}
}

// statement is the document of m with these parts; edit may change it.
func statement(t testing.TB, m *manifest.Manifest, kind Kind, deps []any, edit ...func(st o)) bundle.Statement {
	t.Helper()
	st := o{
		"_type": bundle.StatementType, "predicateType": bundle.PredicateProvenance,
		"subject": []any{o{"name": "m", "digest": o{"sha256": m.Root()}}},
		"predicate": o{
			"buildDefinition": o{"buildType": kind.BuildType(), "externalParameters": o{"seed": 42}, "resolvedDependencies": deps},
			"runDetails":      o{"builder": o{"id": "https://ci.example.org"}},
		},
	}
	for _, e := range edit {
		e(st)
	}
	raw, err := json.Marshal(st)
	if err != nil {
		t.Fatal(err)
	}
	var out bundle.Statement
	if err := json.Unmarshal(raw, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

func definition(st o) o { return st["predicate"].(o)["buildDefinition"].(o) }
func runDetails(st o) o { return st["predicate"].(o)["runDetails"].(o) }

func rules(ps []record.Problem) []string {
	var out []string
	for _, p := range ps {
		out = append(out, p.Rule)
	}
	return out
}

func check(t testing.TB, st bundle.Statement, m *manifest.Manifest, at map[string]string) (*Facts, []record.Link, []record.Problem) {
	t.Helper()
	f, links, problems, err := Check(context.Background(), st, m, Options{Lookup: At(at), Now: now})
	if err != nil {
		t.Fatal(err)
	}
	return f, links, problems
}

// put writes a statement as the draft of a folder.
func put(t testing.TB, dir string, st bundle.Statement) {
	t.Helper()
	raw, err := json.Marshal(st)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, manifest.ProvenanceFile), raw, 0o644); err != nil {
		t.Fatal(err)
	}
}

// byDigest finds folders by their roots and identities, as a store does.
func byDigest(t testing.TB, dirs ...string) Lookup {
	found := map[string]string{}
	for _, dir := range dirs {
		for _, list := range digestsOf(read(t, dir)) {
			for _, h := range list {
				found[h] = dir
			}
		}
	}
	found = maps.Clone(found)
	return func(_ context.Context, q Query) (string, bool, error) {
		for _, h := range q.Digest {
			if path, ok := found[h]; ok {
				return path, true, nil
			}
		}
		return "", false, nil
	}
}
