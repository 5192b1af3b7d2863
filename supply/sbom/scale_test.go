package sbom

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weighbridge/weighbridge/record"
	"github.com/weighbridge/weighbridge/supply/manifest"
)

func put(t testing.TB, dir, name, content string) {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

// large is a BOM of n files in one chain of dependencies, and its manifest.
func large(n int) (string, *manifest.Manifest) {
	m := &manifest.Manifest{Method: manifest.Files, Hash: manifest.SHA256}
	var files, graph strings.Builder
	for i := range n {
		name := fmt.Sprintf("f%06d", i)
		d := make([]byte, 32)
		copy(d, name)
		m.Resources = append(m.Resources, manifest.Resource{Name: name, Digest: d})
		fmt.Fprintf(&files, `,{"type":"file","bom-ref":"%s","name":"%s","hashes":[{"alg":"SHA-256","content":"%x"}]}`, name, name, d)
		if i+1 < n {
			fmt.Fprintf(&graph, `,{"ref":"%s","dependsOn":["f%06d"]}`, name, i+1)
		} else {
			fmt.Fprintf(&graph, `,{"ref":"%s"}`, name)
		}
	}
	return fmt.Sprintf(`{"bomFormat":"CycloneDX","specVersion":"1.6","metadata":{"component":{"type":"machine-learning-model","bom-ref":"m","name":"m","licenses":[{"license":{"id":"MIT"}}],
		"hashes":[{"alg":"SHA-256","content":"%s"}]}},"components":[%s],"dependencies":[{"ref":"m","dependsOn":["f000000"]}%s]}`,
		m.Root(), files.String()[1:], graph.String()), m
}

// 100,000 components: good ones pass, and as many bad ones give a bounded list.
func TestManyComponents(t *testing.T) {
	bom, m := large(100_000)
	facts, problems, err := Check([]byte(bom), m)
	if err != nil || len(problems) != 0 || facts.Checked != 100_001 {
		t.Fatalf("%+v %+v %v", facts, problems[:min(len(problems), 3)], err)
	}
	bom, m = large(20_000)
	none := &manifest.Manifest{Method: m.Method, Hash: m.Hash, Resources: m.Resources[:1]}
	_, problems, err = Check([]byte(bom), none)
	if err != nil || State(problems) != record.Bad || len(problems) > 2*(maxPerRule+1) {
		t.Fatalf("%d problems, %v", len(problems), err)
	}
	if !strings.Contains(fmt.Sprint(problems), "and 19949 more of this kind") {
		t.Errorf("what was left out is not said: %+v", problems[len(problems)-3:])
	}
}

func BenchmarkCheck(b *testing.B) {
	for _, n := range []int{100, 10_000} {
		bom, m := large(n)
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.SetBytes(int64(len(bom)))
			b.ReportAllocs()
			for b.Loop() {
				if _, p, err := Check([]byte(bom), m); err != nil || len(p) > 0 {
					b.Fatal(p, err)
				}
			}
		})
	}
}

func BenchmarkCompile(b *testing.B) {
	for b.Loop() {
		compile(Version)
	}
}
