package jinja

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
		return p.withStmt(line)
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

func (p *parser) withStmt(line int) stmt {
	s := &withStmt{line: line}
	for !p.is(tEnd, "%}") {
		s.names = append(s.names, p.target())
		p.expect(tOp, "=")
		s.values = append(s.values, p.expression())
		if !p.op(",") {
			break
		}
	}
	s.body = p.body("endwith")
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
