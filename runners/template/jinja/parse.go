package jinja

import (
	"fmt"
	"slices"
	"strconv"
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

func (p *parser) op(val string) bool   { return p.accept(tOp, val) }
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

func (p *parser) statement() stmt {
	line := p.cur().line
	switch name := p.name(); name {
	case "if":
		return p.ifStmt()
	case "for":
		return p.forStmt(line)
	case "set":
		return p.setStmt(line)
	case "macro":
		m := p.signature(p.name())
		m.body = p.body("endmacro")
		return &macroStmt{m}
	case "call":
		m := &macro{name: "caller"}
		if p.is(tOp, "(") {
			m = p.signature("caller")
		}
		c, ok := p.unary(true).(*callExpr)
		if !ok {
			p.fail("call needs a call")
		}
		m.body = p.body("endcall")
		return &callStmt{c, m, line}
	case "filter":
		f := p.filters(&bodyExpr{}, true)
		return &filterStmt{f, p.body("endfilter"), line}
	case "with":
		w := &withStmt{line: line}
		for !p.is(tEnd, "%}") {
			w.names = append(w.names, p.target())
			p.expect(tOp, "=")
			w.values = append(w.values, p.expression())
			if !p.op(",") {
				break
			}
		}
		w.body = p.body("endwith")
		return w
	case "generation":
		return &withStmt{body: p.body("endgeneration"), line: line}
	case "do":
		s := &printStmt{p.expression(), line}
		p.expect(tEnd, "%}")
		return &doStmt{s}
	case "break", "continue":
		if p.loops == 0 {
			p.fail("%s outside a loop", name)
		}
		p.expect(tEnd, "%}")
		return &jumpStmt{name == "break"}
	case "include", "import", "from", "extends", "block":
		p.fail("%s is not available to chat templates", name)
	default:
		p.fail("unknown tag %q", name)
	}
	return nil
}

func (p *parser) ifStmt() stmt {
	s := &ifStmt{}
	for {
		c := p.expression()
		p.expect(tEnd, "%}")
		s.conds = append(s.conds, c)
		s.bodies = append(s.bodies, p.block("elif", "else", "endif"))
		switch p.next().val {
		case "elif":
			continue
		case "else":
			s.other = p.body("endif")
		default:
			p.expect(tEnd, "%}")
		}
		return s
	}
}

func (p *parser) forStmt(line int) stmt {
	s := &forStmt{target: p.target(), line: line}
	p.expect(tName, "in")
	// Without a conditional: "if" begins the filter of the loop.
	s.iter = p.tuple(p.or)
	if p.word("if") {
		s.cond = p.expression()
	}
	s.recursive = p.word("recursive")
	p.expect(tEnd, "%}")
	p.loops++
	s.body = p.block("else", "endfor")
	p.loops--
	if p.next().val == "else" {
		s.other = p.body("endfor")
	} else {
		p.expect(tEnd, "%}")
	}
	return s
}

func (p *parser) setStmt(line int) stmt {
	t := p.target()
	if p.op("=") {
		s := &setStmt{target: t, value: p.tuple(p.expression), line: line}
		p.expect(tEnd, "%}")
		return s
	}
	s := &setStmt{target: t, line: line}
	if p.is(tOp, "|") {
		s.value = p.filters(&bodyExpr{}, false)
	} else {
		s.value = &bodyExpr{}
	}
	s.body = p.body("endset")
	if s.body == nil {
		s.body = []stmt{}
	}
	return s
}

// target is what is assigned to: names, name.attribute, or a tuple of names.
func (p *parser) target() []*nameRef {
	paren := p.op("(")
	var out []*nameRef
	for {
		r := &nameRef{name: p.name()}
		if p.op(".") {
			r.attr = p.name()
		}
		out = append(out, r)
		if !p.op(",") {
			break
		}
	}
	if paren {
		p.expect(tOp, ")")
	}
	return out
}

func (p *parser) signature(name string) *macro {
	m := &macro{name: name}
	p.expect(tOp, "(")
	for !p.op(")") {
		m.params = append(m.params, p.name())
		var d expr
		if p.op("=") {
			d = p.expression()
		} else if len(m.defaults) > 0 && m.defaults[len(m.defaults)-1] != nil {
			p.fail("a parameter without a default follows one with")
		}
		m.defaults = append(m.defaults, d)
		if !p.op(",") {
			p.expect(tOp, ")")
			break
		}
	}
	return m
}

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

func (p *parser) sum() expr     { return p.left(p.concat, "+", "-") }
func (p *parser) concat() expr  { return p.left(p.product, "~") }
func (p *parser) product() expr { return p.left(p.power, "*", "/", "//", "%") }
func (p *parser) power() expr   { return p.left(func() expr { return p.unary(true) }, "**") }

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
	c.args, c.names, c.values = p.args()
	return c
}

func (p *parser) args() (args []expr, names []string, values []expr) {
	p.expect(tOp, "(")
	for !p.op(")") {
		if p.cur().kind == tName && p.toks[p.i+1].kind == tOp && p.toks[p.i+1].val == "=" {
			names = append(names, p.name())
			p.next()
			values = append(values, p.expression())
		} else {
			if len(names) > 0 {
				p.fail("a positional argument follows a named one")
			}
			args = append(args, p.expression())
		}
		if !p.op(",") {
			p.expect(tOp, ")")
			break
		}
	}
	return args, names, values
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
				f.args, f.names, f.values = p.args()
			}
			e = f
		case p.word("is"):
			not := p.word("not")
			t := &testExpr{in: e, name: p.name(), line: line}
			if _, ok := tests[t.name]; !ok {
				p.fail("no test named %q", t.name)
			}
			if p.is(tOp, "(") {
				t.args, _, _ = p.args()
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
