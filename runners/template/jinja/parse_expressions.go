package jinja

import (
	"slices"
	"strconv"
)

// tuple reads one expression, or several with commas between.
func (p *parser) tuple(one func() expr) expr {
	first := one()
	if !p.is(tOp, ",") {
		return first
	}
	t := &listExpr{items: []expr{first}, tuple: true}
	for p.op(",") && !p.is(tEnd, "%}") && !p.is(tOp, ")") {
		t.items = append(t.items, one())
	}
	return t
}

func (p *parser) expression() expr {
	defer p.enter()()
	e := p.or()
	for p.word("if") {
		c := &condExpr{yes: e, cond: p.or()}
		if p.word("else") {
			c.no = p.expression()
		}
		e = c
	}
	return e
}

func (p *parser) or() expr {
	e := p.and()
	for p.word("or") {
		e = &logicExpr{e, p.and(), true}
	}
	return e
}

func (p *parser) and() expr {
	e := p.not()
	for p.word("and") {
		e = &logicExpr{e, p.not(), false}
	}
	return e
}

func (p *parser) not() expr {
	defer p.enter()()
	if p.word("not") {
		return &notExpr{p.not()}
	}
	return p.compare()
}

func (p *parser) compare() expr {
	line := p.cur().line
	e := p.sum()
	c := &compareExpr{first: e, line: line}
	for {
		t := p.cur()
		switch {
		case t.kind == tOp && slices.Contains([]string{"==", "!=", "<", "<=", ">", ">="}, t.val):
			p.next()
			c.ops = append(c.ops, t.val)
		case p.word("in"):
			c.ops = append(c.ops, "in")
		case p.is(tName, "not") && p.toks[p.i+1].kind == tName && p.toks[p.i+1].val == "in":
			p.i += 2
			c.ops = append(c.ops, "not in")
		default:
			if len(c.ops) == 0 {
				return e
			}
			return c
		}
		c.rest = append(c.rest, p.sum())
	}
}

// left reads a chain of operators that group to the left.
func (p *parser) left(one func() expr, ops ...string) expr {
	e := one()
	for p.cur().kind == tOp && slices.Contains(ops, p.cur().val) {
		t := p.next()
		e = &binExpr{t.val, e, one(), t.line}
	}
	return e
}

func (p *parser) sum() expr { return p.left(p.concat, "+", "-") }

func (p *parser) concat() expr { return p.left(p.product, "~") }

func (p *parser) product() expr { return p.left(p.power, "*", "/", "//", "%") }

func (p *parser) power() expr { return p.left(func() expr { return p.unary(true) }, "**") }

func (p *parser) unary(filters bool) expr {
	defer p.enter()()
	var e expr
	switch t := p.cur(); {
	case p.op("-"):
		e = &negExpr{p.unary(false), true, t.line}
	case p.op("+"):
		e = &negExpr{p.unary(false), false, t.line}
	default:
		e = p.postfix(p.primary())
	}
	if filters {
		e = p.filters(e, false)
	}
	return e
}

func (p *parser) primary() expr {
	switch t := p.next(); t.kind {
	case tName:
		switch t.val {
		case "true", "True":
			return &constExpr{true}
		case "false", "False":
			return &constExpr{false}
		case "none", "None":
			return &constExpr{nil}
		}
		return &nameExpr{t.val}
	case tString:
		s := t.val
		for p.cur().kind == tString {
			s += p.next().val
		}
		return &constExpr{s}
	case tInt:
		n, err := strconv.Atoi(t.val)
		if err != nil {
			p.fail("the integer %s is too large", t.val)
		}
		return &constExpr{n}
	case tFloat:
		f, err := strconv.ParseFloat(t.val, 64)
		if err != nil {
			p.fail("the number %s is too large", t.val)
		}
		return &constExpr{f}
	case tOp:
		switch t.val {
		case "(":
			if p.op(")") {
				return &listExpr{tuple: true}
			}
			e := p.tuple(p.expression)
			p.expect(tOp, ")")
			return e
		case "[":
			l := &listExpr{}
			for !p.op("]") {
				l.items = append(l.items, p.expression())
				if !p.op(",") {
					p.expect(tOp, "]")
					break
				}
			}
			return l
		case "{":
			d := &dictExpr{}
			for !p.op("}") {
				d.keys = append(d.keys, p.expression())
				p.expect(tOp, ":")
				d.values = append(d.values, p.expression())
				if !p.op(",") {
					p.expect(tOp, "}")
					break
				}
			}
			return d
		}
	}
	p.i = max(0, p.i-1)
	p.fail("unexpected %s", p.cur())
	return nil
}

func (p *parser) postfix(e expr) expr {
	for {
		line := p.cur().line
		switch {
		case p.op("."):
			if t := p.next(); t.kind == tInt {
				n, _ := strconv.Atoi(t.val)
				e = &itemExpr{e, &constExpr{n}, line}
			} else if t.kind == tName {
				e = &attrExpr{e, t.val, line}
			} else {
				p.fail("%s where a name is expected", t)
			}
		case p.op("["):
			e = p.subscript(e, line)
		case p.is(tOp, "("):
			e = p.call(e)
		default:
			return e
		}
	}
}

func (p *parser) subscript(e expr, line int) expr {
	var parts [3]expr
	n, slice := 0, false
	for !p.op("]") {
		if p.op(":") {
			slice = true
			if n++; n > 2 {
				p.fail("too many colons")
			}
			continue
		}
		if parts[n] != nil {
			p.fail("unexpected %s", p.cur())
		}
		parts[n] = p.expression()
	}
	switch {
	case slice:
		return &sliceExpr{e, parts, line}
	case parts[0] == nil:
		p.fail("an empty subscript")
	}
	return &itemExpr{e, parts[0], line}
}

func (p *parser) call(f expr) *callExpr {
	c := &callExpr{f: f, line: p.cur().line}
	c.args = p.args()
	return c
}

func (p *parser) args() (a arguments) {
	p.expect(tOp, "(")
	for !p.op(")") {
		if p.cur().kind == tName && p.toks[p.i+1].kind == tOp && p.toks[p.i+1].val == "=" {
			a.names = append(a.names, p.name())
			p.next()
			a.named = append(a.named, p.expression())
		} else {
			if len(a.names) > 0 {
				p.fail("a positional argument follows a named one")
			}
			a.placed = append(a.placed, p.expression())
		}
		if !p.op(",") {
			p.expect(tOp, ")")
			break
		}
	}
	return a
}

// filters reads filters, tests and calls behind an expression; with inline the
// first filter has no bar.
func (p *parser) filters(e expr, inline bool) expr {
	for {
		line := p.cur().line
		switch {
		case inline || p.op("|"):
			inline = false
			f := &filterExpr{in: e, name: p.name(), line: line}
			if _, ok := filters[f.name]; !ok {
				p.fail("no filter named %q", f.name)
			}
			if p.is(tOp, "(") {
				f.args = p.args()
			}
			e = f
		case p.word("is"):
			not := p.word("not")
			t := &testExpr{in: e, name: p.name(), line: line}
			if _, ok := tests[t.name]; !ok {
				p.fail("no test named %q", t.name)
			}
			if p.is(tOp, "(") {
				t.args = p.args().placed
			} else if c := p.cur(); c.kind == tName && !slices.Contains([]string{"else", "or", "and", "is", "if", "in", "not", "recursive"}, c.val) ||
				c.kind == tString || c.kind == tInt || c.kind == tFloat || c.kind == tOp && slices.Contains([]string{"[", "{"}, c.val) {
				t.args = []expr{p.postfix(p.primary())}
			}
			if p.is(tName, "is") {
				p.fail("tests with \"is\" cannot be chained")
			}
			e = t
			if not {
				e = &notExpr{t}
			}
		case p.is(tOp, "("):
			e = p.call(e)
		default:
			return e
		}
	}
}
