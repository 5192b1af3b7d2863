package trust

import (
	"bytes"
	"errors"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// at is a value that knows its line, for messages.
type at[T any] struct {
	Value T
	Line  int
}

// UnmarshalYAML implements yaml.NodeUnmarshaler.
func (a *at[T]) UnmarshalYAML(n ast.Node) error {
	if t := n.GetToken(); t != nil && t.Position != nil {
		a.Line = t.Position.Line
	}
	if m, ok := n.(*ast.MappingNode); ok && len(m.Values) > 0 { // its token is a colon, or a brace
		if t := m.Values[0].Key.GetToken(); t != nil && t.Position != nil {
			a.Line = t.Position.Line
		}
	}
	return yaml.NodeToValue(n, &a.Value, yaml.Strict())
}

// or gives a, with line where it has none of its own.
func (a at[T]) or(line int) at[T] {
	if a.Line == 0 {
		a.Line = line
	}
	return a
}

type wireFile struct {
	Version      at[int]                        `yaml:"version"`
	Signers      []at[wireSigner]               `yaml:"signers"`
	Revocations  []at[wireRevocation]           `yaml:"revocations"`
	Environments map[string]at[wireEnvironment] `yaml:"environments"`
	Ledger       *at[wireLedger]                `yaml:"ledger"`
	Timestamping *at[wireTimestamping]          `yaml:"timestamping"`
}

type wireSigner struct {
	Name         at[string]           `yaml:"name"`
	Key          *at[string]          `yaml:"key"`
	Certificate  *at[wireCertificate] `yaml:"certificate"`
	Keyless      *at[wireKeyless]     `yaml:"keyless"`
	May          []at[What]           `yaml:"may"`
	Models       []at[string]         `yaml:"models"`
	Environments []at[string]         `yaml:"environments"`
	Valid        *at[wireValid]       `yaml:"valid"`
	Person       string               `yaml:"person"`
	Verifier     at[string]           `yaml:"verifier"`
}

type wireCertificate struct {
	Roots   []at[string] `yaml:"roots"`
	Subject string       `yaml:"subject"`
	Email   string       `yaml:"email"`
	DNS     string       `yaml:"dns"`
	URI     string       `yaml:"uri"`
}

type wireKeyless struct {
	Identity       string     `yaml:"identity"`
	IdentityRegexp string     `yaml:"identity_regexp"`
	Issuer         string     `yaml:"issuer"`
	TrustedRoot    at[string] `yaml:"trusted_root"`
}

type wireValid struct {
	From  at[string] `yaml:"from"`
	Until at[string] `yaml:"until"`
}

type wireRevocation struct {
	Key    at[string] `yaml:"key"`
	Signer at[string] `yaml:"signer"`
	Model  at[string] `yaml:"model"`
	From   at[string] `yaml:"from"`
	Reason string     `yaml:"reason"`
}

type wireEnvironment struct {
	MaxVerdictAge at[string]   `yaml:"max_verdict_age"`
	Policies      []at[string] `yaml:"policies"`
}

type wireLedger struct {
	Origin        string     `yaml:"origin"`
	PublicKey     at[string] `yaml:"public_key"`
	WitnessPolicy at[string] `yaml:"witness_policy"`
}

type wireTimestamping struct {
	Roots []at[string] `yaml:"roots"`
}

// decode reads the one document of a trust file.
func (l *loader) decode(src []byte) (w *wireFile, err error) {
	if len(src) > maxFile {
		return nil, l.bad(0, "%d bytes, at most %d are read", len(src), maxFile)
	}
	if bytes.Count(src, []byte("["))+bytes.Count(src, []byte("{")) > 4096 {
		return nil, l.bad(0, "more than 4096 brackets")
	}
	for i, line := range bytes.Split(src, []byte("\n")) {
		if bytes.Count(line, []byte("- "))+bytes.Count(line, []byte("? ")) > 100 {
			return nil, l.bad(i+1, "more than 100 list marks on one line")
		}
	}
	defer func() { // the parser is not ours
		if r := recover(); r != nil {
			w, err = nil, l.bad(0, "not readable as YAML: %v", r)
		}
	}()
	f, err := parser.ParseBytes(src, 0)
	if err != nil {
		return nil, l.syntax(err)
	}
	var body ast.Node
	for _, d := range f.Docs {
		if d.Body == nil {
			continue
		}
		if body != nil {
			return nil, l.bad(lineOf(d.Body), "a second YAML document; a trust file is one")
		}
		body = d.Body
	}
	if body == nil {
		return nil, l.bad(0, "the file is empty")
	}
	v := &refuser{}
	ast.Walk(v, body)
	if v.found != nil {
		return nil, l.bad(lineOf(v.found), "YAML anchors, aliases, merge keys and tags are not supported; write the value out")
	}
	w = &wireFile{}
	if err := yaml.NodeToValue(body, w, yaml.Strict()); err != nil {
		return nil, l.syntax(err)
	}
	return w, nil
}

// syntax gives the library's error our shape: one line, the place first.
func (l *loader) syntax(err error) error {
	var y yaml.Error
	if !errors.As(err, &y) {
		return l.bad(0, "%w", err)
	}
	line := 0
	if t := y.GetToken(); t != nil && t.Position != nil {
		line = t.Position.Line
	}
	return l.bad(line, "%s", y.GetMessage())
}

// refuser finds what makes a small file large, or a name mean something else.
type refuser struct{ found ast.Node }

// Visit implements ast.Visitor.
func (v *refuser) Visit(n ast.Node) ast.Visitor {
	switch n.(type) {
	case *ast.AnchorNode, *ast.AliasNode, *ast.MergeKeyNode, *ast.TagNode:
		if v.found == nil {
			v.found = n
		}
	}
	return v
}

func lineOf(n ast.Node) int {
	if t := n.GetToken(); t != nil && t.Position != nil {
		return t.Position.Line
	}
	return 0
}
