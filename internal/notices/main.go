// Command notices prints the licences of everything that is linked into the
// programs, as Markdown: a table of modules, then each text once.
//
// Usage: go run ./internal/notices ./cmd/weighbridge engine:./cmd/modelserver
//
// A prefix before the colon is a build tag.
package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

func main() {
	if err := notices(os.Stdout, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "notices:", err)
		os.Exit(1)
	}
}

type module struct {
	Path, Version, Dir string
	folders            map[string]bool // of its linked packages, and those above
}

// licence matches the files that hold terms or required notices.
var licence = regexp.MustCompile(`(?i)^(licen[cs]e|copying|notice|unlicense)([.-].*)?$`)

func notices(w io.Writer, programs []string) error {
	modules := map[string]module{}
	for _, p := range programs {
		tag, pkg, ok := strings.Cut(p, ":")
		if !ok {
			tag, pkg = "", p
		}
		if err := linked(pkg, tag, modules); err != nil {
			return err
		}
	}
	fmt.Fprintln(w, "# Third-party notices\n\nweighbridge links the modules below; each keeps its own licence. Made by `make notices`.\n\n| module | version | texts |\n|---|---|---|")
	texts := map[[32]byte]int{}
	var bodies [][]byte
	for _, path := range slices.Sorted(keys(modules)) {
		m := modules[path]
		files, err := m.licences()
		if err != nil {
			return err
		}
		var refs []string
		for _, f := range files {
			b, err := os.ReadFile(f)
			if err != nil {
				return err
			}
			b = bytes.TrimSpace(bytes.ReplaceAll(b, []byte("\r\n"), []byte("\n")))
			h := sha256.Sum256(bytes.Join(bytes.Fields(b), []byte(" ")))
			if texts[h] == 0 {
				bodies = append(bodies, b)
				texts[h] = len(bodies)
			}
			if ref := fmt.Sprintf("[%d](#text-%d)", texts[h], texts[h]); !slices.Contains(refs, ref) {
				refs = append(refs, ref)
			}
		}
		if len(refs) == 0 {
			return fmt.Errorf("module %s has no licence file in %s", m.Path, m.Dir)
		}
		fmt.Fprintf(w, "| %s | %s | %s |\n", m.Path, m.Version, strings.Join(refs, " "))
	}
	for i, b := range bodies {
		fmt.Fprintf(w, "\n## Text %d\n\n```\n%s\n```\n", i+1, b)
	}
	return nil
}

// licences lists the licence files of the folders, sorted.
func (m module) licences() ([]string, error) {
	var found []string
	for dir := range m.folders {
		files, err := os.ReadDir(dir)
		if err != nil {
			return nil, err
		}
		for _, f := range files {
			if !f.IsDir() && licence.MatchString(f.Name()) {
				found = append(found, filepath.Join(dir, f.Name()))
			}
		}
	}
	slices.Sort(found)
	return found, nil
}

func keys(m map[string]module) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

// linked adds the modules of pkg's dependencies, but for our own.
func linked(pkg, tag string, into map[string]module) error {
	cmd := exec.Command("go", "list", "-deps", "-tags", tag, "-json=Module,Dir", pkg)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("listing %s: %w", pkg, err)
	}
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p struct {
			Dir    string
			Module *struct {
				module
				Main bool
			}
		}
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if p.Module == nil || p.Module.Main {
			continue
		}
		m, ok := into[p.Module.Path]
		if !ok {
			m = p.Module.module
			m.folders = map[string]bool{}
			into[m.Path] = m
		}
		for dir := p.Dir; strings.HasPrefix(dir, m.Dir); dir = filepath.Dir(dir) {
			m.folders[dir] = true
		}
	}
}
