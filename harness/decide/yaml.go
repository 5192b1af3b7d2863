package decide

import (
	"errors"
	"fmt"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

// scalar is a text of a YAML file and where it stands.
type scalar struct {
	text         string
	set          bool
	line, column int // of its first character, from 1
	// block is whether it begins on the line after, with its lines kept.
	block, folded bool
}

// UnmarshalYAML implements yaml.NodeUnmarshaler.
func (s *scalar) UnmarshalYAML(n ast.Node) error {
	at := n.GetToken().Position
	*s = scalar{set: true, line: at.Line, column: at.Column}
	switch n := n.(type) {
	case *ast.StringNode:
		s.text = n.Value
		s.folded = n.Token.Type == token.StringType && strings.Contains(strings.TrimSpace(n.Token.Origin), "\n")
		if n.Token.Type == token.SingleQuoteType || n.Token.Type == token.DoubleQuoteType {
			s.column++
		}
	case *ast.LiteralNode:
		s.text = n.Value.Value
		s.block = strings.HasPrefix(n.Start.Value, "|")
		s.folded = !s.block
	case *ast.NullNode:
	case *ast.BoolNode, *ast.IntegerNode, *ast.FloatNode:
		s.text = n.GetToken().Value
	default:
		return fmt.Errorf("line %d: a text is wanted here, not a %s", at.Line, n.Type())
	}
	return nil
}

// place turns a place in the text, from 1, into one in the file. Where the file
// folds lines the place of the whole text is given.
func (s *scalar) place(lines []string, line, column int) (int, int) {
	switch {
	case line < 1 || s.folded:
		return s.line, s.column
	case s.block:
		first := s.line // counted from 0: the line after the mark
		indent := 0
		if first < len(lines) {
			indent = len(lines[first]) - len(strings.TrimLeft(lines[first], " "))
		}
		return first + line, indent + column
	case line > 1: // a quoted text over several lines
		return s.line, s.column
	}
	return s.line, s.column + column - 1
}

// yamlFault is what the YAML reader found, without its picture of the file.
func yamlFault(err error) (line, column int, message string) {
	var e yaml.Error
	if !errors.As(err, &e) {
		return 0, 0, err.Error()
	}
	if t := e.GetToken(); t != nil && t.Position != nil {
		line, column = t.Position.Line, t.Position.Column
	}
	return line, column, e.GetMessage()
}
