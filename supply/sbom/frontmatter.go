package sbom

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// Limits of a README's front matter. The YAML parser takes time that grows with
// the square of some inputs.
const (
	maxFrontMatter = 64 << 10
	maxTokens      = 20_000
	maxNesting     = 64
)

var errFrontMatter = errors.New("unreadable front matter")

// frontMatter reads the YAML block at the start of a model card: its top-level
// keys that hold a scalar or a list of scalars, as texts. A README without such
// a block gives none.
func frontMatter(src []byte) (out map[string][]string, err error) {
	defer func() {
		if p := recover(); p != nil { // of the YAML parser
			out, err = nil, fmt.Errorf("%w: %s", errFrontMatter, plain(fmt.Sprint(p), maxShown))
		}
	}()
	src = bytes.ReplaceAll(src, []byte("\r\n"), []byte("\n"))
	rest, ok := bytes.CutPrefix(src, []byte("---\n"))
	if !ok {
		return nil, nil
	}
	block, _, ok := bytes.Cut(rest, []byte("\n---\n"))
	if !ok {
		if block, ok = bytes.CutSuffix(rest, []byte("\n---")); !ok {
			return nil, nil
		}
	}
	if len(block) > maxFrontMatter {
		return nil, fmt.Errorf("%w: %d bytes; %d are read at most", errFrontMatter, len(block), maxFrontMatter)
	}
	tokens := lexer.Tokenize(string(block))
	if err := tame(tokens); err != nil {
		return nil, err
	}
	file, err := parser.Parse(tokens, 0)
	if err != nil {
		return nil, fmt.Errorf("%w: %s", errFrontMatter, plain(err.Error(), maxShown))
	}
	out = map[string][]string{}
	if len(file.Docs) == 0 {
		return out, nil
	}
	var entries []*ast.MappingValueNode
	switch body := file.Docs[0].Body.(type) {
	case *ast.MappingNode:
		entries = body.Values
	case *ast.MappingValueNode:
		entries = []*ast.MappingValueNode{body}
	}
	for _, e := range entries {
		key := e.Key.GetToken().Value
		if list, ok := e.Value.(*ast.SequenceNode); ok {
			for _, v := range list.Values {
				if s, ok := scalar(v); ok {
					out[key] = append(out[key], s)
				}
			}
		} else if s, ok := scalar(e.Value); ok {
			out[key] = append(out[key], s)
		}
	}
	return out, nil
}

// tame refuses what could make a small block large or its parser recurse
// deeply.
func tame(tokens token.Tokens) error {
	if len(tokens) > maxTokens {
		return fmt.Errorf("%w: more than %d tokens", errFrontMatter, maxTokens)
	}
	open, run := 0, 0
	for _, t := range tokens {
		run++
		switch t.Type {
		case token.AnchorType, token.AliasType, token.MergeKeyType:
			return fmt.Errorf("%w: line %d: anchors and aliases are not read", errFrontMatter, t.Position.Line)
		case token.SequenceStartType, token.MappingStartType:
			open++
		case token.SequenceEndType, token.MappingEndType:
			open--
		case token.SequenceEntryType, token.MappingValueType, token.MappingKeyType, token.TagType:
		default:
			run = 0
		}
		if open > maxNesting || run > maxNesting || t.Position.IndentNum > 2*maxNesting {
			return fmt.Errorf("%w: line %d: nested too deeply", errFrontMatter, t.Position.Line)
		}
	}
	return nil
}

func scalar(n ast.Node) (string, bool) {
	switch n := n.(type) {
	case *ast.StringNode:
		return n.Value, n.Value != ""
	case *ast.LiteralNode:
		return n.Value.Value, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
		return n.GetToken().Value, true
	}
	return "", false
}
