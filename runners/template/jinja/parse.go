package jinja

import (
	"fmt"
	"slices"
)

// Template is a parsed template. It is safe for concurrent use.
type Template struct{ body []stmt }

type parser struct {
	toks  []tok
	i     int
	depth int
	loops int
}

const maxNesting = 100

// Parse gives a template or a *SyntaxError.
func Parse(src string) (*Template, error) {
	toks, err := lex(src)
	if err != nil {
		return nil, err
	}
	p := &parser{toks: toks}
	var body []stmt
	err = p.try(func() { body = p.block() })
	if err != nil {
		return nil, err
	}
	return &Template{body}, nil
}

// try turns the parser's panics, all of type *SyntaxError, into errors.
func (p *parser) try(f func()) (err error) {
	defer func() {
		switch r := recover().(type) {
		case nil:
		case *SyntaxError:
			err = r
		default:
			panic(r)
		}
	}()
	f()
	return nil
}

func (p *parser) cur() tok { return p.toks[p.i] }

func (p *parser) next() tok {
	t := p.toks[p.i]
	if t.kind != tEOF {
		p.i++
	}
	return t
}

func (p *parser) fail(format string, args ...any) {
	panic(&SyntaxError{p.cur().line, fmt.Sprintf(format, args...)})
}

func (p *parser) is(k kind, val string) bool { return p.cur().kind == k && p.cur().val == val }

func (p *parser) accept(k kind, val string) bool {
	if p.is(k, val) {
		p.next()
		return true
	}
	return false
}

func (p *parser) op(val string) bool { return p.accept(tOp, val) }

func (p *parser) word(val string) bool { return p.accept(tName, val) }

func (p *parser) expect(k kind, val string) {
	if !p.accept(k, val) {
		p.fail("%s where %q is expected", p.cur(), val)
	}
}

func (p *parser) name() string {
	if p.cur().kind != tName {
		p.fail("%s where a name is expected", p.cur())
	}
	return p.next().val
}

func (p *parser) enter() func() {
	if p.depth++; p.depth > maxNesting {
		p.fail("nested deeper than %d", maxNesting)
	}
	return func() { p.depth-- }
}

// block reads statements up to one of the tags, whose name it leaves as the
// current token, or to the end of the template.
func (p *parser) block(ends ...string) []stmt {
	defer p.enter()()
	var out []stmt
	for {
		switch t := p.next(); {
		case t.kind == tEOF:
			if len(ends) > 0 {
				p.fail("the template ends where %q is expected", ends[len(ends)-1])
			}
			return out
		case t.kind == tData:
			out = append(out, &dataStmt{t.val})
		case t.val == "{{":
			out = append(out, &printStmt{p.expression(), t.line})
			p.expect(tEnd, "}}")
		default:
			if p.cur().kind == tName && slices.Contains(ends, p.cur().val) {
				return out
			}
			out = append(out, p.statement())
		}
	}
}

// body reads statements up to an end tag and its close.
func (p *parser) body(end string) []stmt {
	p.expect(tEnd, "%}")
	b := p.block(end)
	p.next()
	p.expect(tEnd, "%}")
	return b
}
