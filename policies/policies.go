// Package policies holds the policies that weighbridge ships, each with the
// cases that it is tested by: NAME.yaml and NAME.cases.yaml.
//
// It is text only; package harness/decide gives it meaning.
package policies

import (
	"embed"
	"io/fs"
	"strings"
)

//go:embed *.yaml
var files embed.FS

// Default is the policy that applies when nothing else is asked for: behaviour
// alone. Strict is the one that applies when evidence is given.
const (
	Default = "default"
	Strict  = "strict"
)

const casesSuffix = ".cases.yaml"

// Names lists the policies.
func Names() []string {
	entries, err := fs.ReadDir(files, ".")
	if err != nil {
		panic(err) // the folder is part of the program
	}
	var names []string
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), casesSuffix) {
			names = append(names, strings.TrimSuffix(e.Name(), ".yaml"))
		}
	}
	return names
}

// Source is the text of a policy. The error is fs.ErrNotExist where no policy
// has that name.
func Source(name string) ([]byte, error) { return files.ReadFile(name + ".yaml") }

// Cases is the text of a policy's cases.
func Cases(name string) ([]byte, error) { return files.ReadFile(name + casesSuffix) }
