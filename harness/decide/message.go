package decide

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
)

// message is what a rule says: a text with {{…}} in it, where … is the name of
// a field of the rule's subject, or an expression.
type message struct{ parts []part }

// part is a text, or a field, or an expression.
type part struct {
	text  string
	field *field
	expr  *program
}

var (
	placeholder = regexp.MustCompile(`\{\{(.*?)\}\}`)
	word        = regexp.MustCompile(`^\w+$`)
)

func parseMessage(each, src string) (*message, error) {
	m := &message{}
	last := 0
	for _, at := range placeholder.FindAllStringSubmatchIndex(src, -1) {
		m.parts = append(m.parts, part{text: src[last:at[0]]})
		last = at[1]
		p, err := parsePart(each, strings.TrimSpace(src[at[2]:at[3]]))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", src[at[0]:at[1]], err)
		}
		m.parts = append(m.parts, p)
	}
	m.parts = append(m.parts, part{text: src[last:]})
	return m, nil
}

func parsePart(each, src string) (part, error) {
	if t := subjects[each]; t != nil && t.fields[src] != nil {
		f := t.fields[src]
		if !sayable(f.cel) {
			return part{}, fmt.Errorf("a field of type %s cannot be put into words", f.cel)
		}
		return part{field: f}, nil
	}
	if word.MatchString(src) && each == "" {
		return part{}, errors.New("a rule without each: has no fields; write an expression, as in {{run.relation}}")
	}
	p, faults := compile(each, src, nil)
	if len(faults) > 0 {
		return part{}, errors.New(faults[0].message)
	}
	if t := p.ast.GetType(p.ast.Expr().ID()); !sayable(t) {
		return part{}, fmt.Errorf("an expression of type %s cannot be put into words", t)
	}
	return part{expr: p}, nil
}

// sayable are the types that a message can hold.
func sayable(t *cel.Type) bool {
	switch t.Kind() {
	case types.StringKind, types.BoolKind, types.IntKind, types.UintKind, types.DoubleKind, types.TimestampKind, types.DurationKind:
		return true
	case types.ListKind:
		p := t.Parameters()[0]
		return p == problemType.cel || p.Kind() != types.ListKind && sayable(p)
	}
	return false
}

// say puts the message into words. A field that is absent leaves nothing; an
// expression that fails is an error, and its place says so.
func (m *message) say(in *input) (string, error) {
	var b strings.Builder
	var first error
	for _, p := range m.parts {
		switch {
		case p.field != nil:
			if v, ok := p.field.read(in.subject.(*object).v); ok {
				b.WriteString(inWords(v))
			}
		case p.expr != nil:
			v, err := in.eval(p.expr)
			if err != nil {
				if first == nil {
					first = err
				}
				b.WriteString("(unknown)")
				continue
			}
			b.WriteString(inWords(v))
		default:
			b.WriteString(p.text)
		}
	}
	return b.String(), first
}

// inWords writes a value as a person would.
func inWords(v ref.Val) string {
	switch v := v.(type) {
	case *object: // a problem: the only kind of object that sayable lets pass
		p := v.of.fields
		word := func(name string) string {
			s, _ := p[name].read(v.v)
			return fmt.Sprint(s.Value())
		}
		return fmt.Sprintf("%s (%s): %s", word("rule"), word("subject"), word("detail"))
	case traits.Lister:
		var parts []string
		for it := v.Iterator(); it.HasNext() == types.True; {
			parts = append(parts, inWords(it.Next()))
		}
		return strings.Join(parts, ", ")
	}
	return fmt.Sprint(v.Value())
}
