package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var block = regexp.MustCompile("(?s)```(yaml|json)\n(.*?)```")

// The files of docs/write-a-suite.md pass the linter as they stand there.
func TestWriteASuite(t *testing.T) {
	doc, err := os.ReadFile("../../docs/write-a-suite.md")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	names := []string{"my-suite.yaml", "sums.yaml", "sums.jsonl"}
	blocks := block.FindAllSubmatch(doc, -1)
	if len(blocks) != len(names) {
		t.Fatalf("%d listings, want %d", len(blocks), len(names))
	}
	for i, b := range blocks {
		if err := os.WriteFile(filepath.Join(dir, names[i]), b[2], 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range names[:2] {
		got := weighbridge(t, "suites", "lint", filepath.Join(dir, name))
		if got.code != 0 || !strings.Contains(got.stdout, "fine") {
			t.Errorf("%s: exit code %d\n%s%s", name, got.code, got.stdout, got.stderr)
		}
	}
}

var shownCommand = regexp.MustCompile(`(?m)^\$ bin/weighbridge (.*)$`)

// Every command of the README runs and ends with the verdict it is shown for.
func TestReadme(t *testing.T) {
	needBoxes(t)
	doc, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	commands := shownCommand.FindAllSubmatch(doc, -1)
	if len(commands) == 0 {
		t.Fatal("the README shows no command")
	}
	out := t.TempDir()
	for _, c := range commands {
		line := strings.ReplaceAll(string(c[1]), "testdata/models/", models)
		line = strings.ReplaceAll(line, "build/first", out)
		args := append(strings.Fields(line), "--containerd", "private", "--state", state(t))
		got := weighbridge(t, args...)
		if got.code != exitReject {
			t.Errorf("%s: exit code %d\n%s%s", c[0], got.code, got.stdout, got.stderr)
		}
	}
}

var link = regexp.MustCompile(`\]\(([^)#]+)(#[^)]*)?\)`)

// Links between documents lead somewhere.
func TestLinks(t *testing.T) {
	docs, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, doc := range append(docs, "../../README.md") {
		text, err := os.ReadFile(doc)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range link.FindAllSubmatch(text, -1) {
			target := string(m[1])
			if strings.Contains(target, "://") {
				continue
			}
			if _, err := os.Stat(filepath.Join(filepath.Dir(doc), target)); err != nil {
				t.Errorf("%s links to %s: %v", doc, target, err)
			}
		}
	}
}
