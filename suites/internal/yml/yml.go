// Package yml reads the small part of YAML that suites and tasks are written
// in: one document of mappings, sequences and scalars. Every value knows its
// line, so that a mistake is reported with file and line.
//
// It refuses what could make a small file large or run code: anchors, aliases,
// merge keys and tags, among them !function of lm-eval. It will not decode
// into structs: the readers say themselves which fields they know.
package yml

import (
	"errors"
	"fmt"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// Limits of a file. They are small because the YAML parser takes time that
// grows with the square of some inputs; data belongs into files of its own.
const (
	MaxBytes    = 64 << 10
	maxDepth    = 32
	maxValues   = 10_000
	maxBrackets = 10_000 // bounds the recursion of the YAML parser
)

// Problem is a mistake in a suite, a task or its data.
type Problem struct {
	File    string
	Line    int // from 1; 0 when it is about the whole file
	Message string
}

func (p *Problem) Error() string {
	if p.Line == 0 {
		return p.File + ": " + p.Message
	}
	return fmt.Sprintf("%s:%d: %s", p.File, p.Line, p.Message)
}

// Node is a value of a file. Exactly one of Fields, Items and Scalar is in use.
type Node struct {
	File   string
	Line   int
	Kind   Kind
	Fields []Field // in the file's order
	Items  []*Node
	Scalar any // string, int64, float64, bool or nil
}

// Field is one entry of a mapping.
type Field struct {
	Name  string
	Line  int
	Value *Node
}

// Kind says what a Node holds.
type Kind string

// The kinds, as they are called in messages.
const (
	Map  Kind = "a mapping"
	List Kind = "a list"
	One  Kind = "a single value"
)

// Problem is a Problem at the node's line.
func (n *Node) Problem(format string, args ...any) *Problem {
	return &Problem{n.File, n.Line, fmt.Sprintf(format, args...)}
}

// Parse reads the one document of a file. Any error is a *Problem.
func Parse(file string, data []byte) (n *Node, err error) {
	whole := func(format string, args ...any) error {
		return &Problem{File: file, Message: fmt.Sprintf(format, args...)}
	}
	if len(data) > MaxBytes {
		return nil, whole("the file has %d bytes, more than %d", len(data), MaxBytes)
	}
	text := string(data)
	if c := strings.Count(text, "[") + strings.Count(text, "{"); c > maxBrackets {
		return nil, whole("%d brackets, more than %d", c, maxBrackets)
	}
	for i, line := range strings.Split(text, "\n") {
		if strings.Count(line, "- ")+strings.Count(line, "? ") > 1000 {
			return nil, &Problem{file, i + 1, "more than 1000 list marks on one line"}
		}
	}
	defer func() { // the parser is not ours and the file is anyone's
		if r := recover(); r != nil {
			n, err = nil, whole("not readable as YAML: %v", r)
		}
	}()
	f, err := parser.ParseBytes(data, 0, parser.AllowDuplicateMapKey()) // convert reports them
	if err != nil {
		p := &Problem{File: file, Message: "not YAML: " + err.Error()}
		var syntax yaml.Error
		if errors.As(err, &syntax) {
			p.Message = "not YAML: " + syntax.GetMessage()
			if t := syntax.GetToken(); t != nil && t.Position != nil {
				p.Line = t.Position.Line
			}
		}
		return nil, p
	}
	var body ast.Node
	for _, d := range f.Docs {
		if d.Body == nil {
			continue
		}
		if body != nil {
			return nil, whole("more than one YAML document; put each into a file of its own")
		}
		body = d.Body
	}
	if body == nil {
		return nil, whole("the file is empty")
	}
	c := converter{file: file}
	return c.convert(body, 0)
}

type converter struct {
	file   string
	values int
}

func (c *converter) convert(a ast.Node, depth int) (*Node, error) {
	n := &Node{File: c.file, Line: lineOf(a), Kind: One}
	if c.values++; c.values > maxValues {
		return nil, n.Problem("more than %d values in one file", maxValues)
	}
	if depth > maxDepth {
		return nil, n.Problem("nested more than %d deep", maxDepth)
	}
	switch a := a.(type) {
	case *ast.MappingNode:
		return c.mapping(n, a.Values, depth)
	case *ast.MappingValueNode:
		return c.mapping(n, []*ast.MappingValueNode{a}, depth)
	case *ast.SequenceNode:
		n.Kind = List
		for _, v := range a.Values {
			item, err := c.convert(v, depth+1)
			if err != nil {
				return nil, err
			}
			n.Items = append(n.Items, item)
		}
	case *ast.StringNode:
		n.Scalar = a.Value
	case *ast.LiteralNode:
		n.Scalar = a.Value.Value
	case *ast.IntegerNode:
		switch v := a.Value.(type) {
		case int64:
			n.Scalar = v
		case uint64:
			if v > 1<<63-1 {
				return nil, n.Problem("the number %d is too large", v)
			}
			n.Scalar = int64(v)
		default:
			return nil, n.Problem("unreadable number %s", a)
		}
	case *ast.FloatNode:
		n.Scalar = a.Value
	case *ast.BoolNode:
		n.Scalar = a.Value
	case *ast.NullNode:
		n.Scalar = nil
	case *ast.TagNode:
		tag := ""
		if a.Start != nil {
			tag = a.Start.Value
		}
		if strings.HasPrefix(tag, "!function") {
			return nil, n.Problem("%s is Python, which is not run here; write its result into the data as a field of its own", tag)
		}
		return nil, n.Problem("the YAML tag %q is not supported", tag)
	case *ast.AnchorNode, *ast.AliasNode, *ast.MergeKeyNode:
		return nil, n.Problem("YAML anchors, aliases and merge keys are not supported; write the value out")
	default:
		return nil, n.Problem("the YAML value %s is not supported", a.Type())
	}
	return n, nil
}

func (c *converter) mapping(n *Node, values []*ast.MappingValueNode, depth int) (*Node, error) {
	n.Kind = Map
	seen := make(map[string]int, len(values))
	for _, v := range values {
		key, err := c.convert(v.Key, depth+1)
		if err != nil {
			return nil, err
		}
		name, ok := key.Scalar.(string)
		if !ok || key.Kind != One {
			return nil, key.Problem("the name of a field must be text")
		}
		if first, dup := seen[name]; dup {
			return nil, key.Problem("the field %q is given twice; the first is on line %d", name, first)
		}
		seen[name] = key.Line
		value, err := c.convert(v.Value, depth+1)
		if err != nil {
			return nil, err
		}
		n.Fields = append(n.Fields, Field{name, key.Line, value})
	}
	return n, nil
}

func lineOf(a ast.Node) int {
	if a == nil {
		return 0
	}
	if t := a.GetToken(); t != nil && t.Position != nil {
		return t.Position.Line
	}
	return 0
}
