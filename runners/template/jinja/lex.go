package jinja

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

type kind int

const (
	tData  kind = iota // text between tags
	tBegin             // {% or {{; val says which
	tEnd               // %} or }}
	tName
	tInt
	tFloat
	tString
	tOp
	tEOF
)

type tok struct {
	kind kind
	val  string
	line int
}

func (t tok) String() string {
	if t.kind == tEOF {
		return "end of template"
	}
	return strconv.Quote(t.val)
}

// SyntaxError is a template that does not parse.
type SyntaxError struct {
	Line int
	Msg  string
}

func (e *SyntaxError) Error() string { return fmt.Sprintf("line %d: %s", e.Line, e.Msg) }

type lexer struct {
	src  string
	pos  int
	line int
	out  []tok
}

var (
	rawBegin = regexp.MustCompile(`^\{%[-+]?\s*raw\s*(-%\}\s*|%\})`)
	rawEnd   = regexp.MustCompile(`\{%([-+]?)\s*endraw\s*(\+%\}|-%\}\s*|%\}\n?)`)
	numeral  = regexp.MustCompile(`^[0-9](_?[0-9])*((\.[0-9](_?[0-9])*)?[eE][+-]?[0-9](_?[0-9])*|\.[0-9](_?[0-9])*)?`)
)

var operators = []string{"//", "**", "==", "!=", ">=", "<=", "+", "-", "/", "*", "%", "~", "[", "]", "(", ")", "{", "}", "=", ">", "<", "|", ",", ":", ";", "."}

// lex splits a source into tokens, with Jinja2's rules for white space under
// trim_blocks and lstrip_blocks.
func lex(src string) ([]tok, error) {
	src = strings.ReplaceAll(strings.ReplaceAll(src, "\r\n", "\n"), "\r", "\n")
	src = strings.TrimSuffix(src, "\n")
	l := &lexer{src: src, line: 1}
	starting := true // the next text begins a line
	for {
		i := strings.IndexByte(l.src[l.pos:], '{')
		for i >= 0 && (l.pos+i+1 >= len(l.src) || !strings.ContainsRune("{%#", rune(l.src[l.pos+i+1]))) {
			j := strings.IndexByte(l.src[l.pos+i+1:], '{')
			if j < 0 {
				i = -1
				break
			}
			i += j + 1
		}
		if i < 0 {
			l.emit(tData, l.src[l.pos:])
			l.out = append(l.out, tok{tEOF, "", l.line})
			return l.out, nil
		}
		data, open := l.src[l.pos:l.pos+i], l.src[l.pos+i:l.pos+i+2]
		data = before(data, l.src[l.pos+i+2:], open != "{{", starting)
		l.emit(tData, data)
		l.line += strings.Count(l.src[l.pos:l.pos+i], "\n") - strings.Count(data, "\n")
		l.pos += i
		end, err := l.tag(open)
		if err != nil {
			return nil, err
		}
		starting = strings.HasSuffix(end, "\n")
	}
}

// before cuts the text before a tag: all white space for a minus, that of the
// line for a block or comment without a plus.
func before(data, tag string, block, starting bool) string {
	switch {
	case strings.HasPrefix(tag, "-"):
		return strings.TrimRightFunc(data, unicode.IsSpace)
	case strings.HasPrefix(tag, "+") || !block:
		return data
	}
	at := strings.LastIndexByte(data, '\n') + 1
	if (at > 0 || starting) && strings.TrimSpace(data[at:]) == "" {
		return data[:at]
	}
	return data
}

func (l *lexer) emit(k kind, val string) {
	if k != tData || val != "" {
		l.out = append(l.out, tok{k, val, l.line})
	}
	l.line += strings.Count(val, "\n")
}

func (l *lexer) fail(format string, args ...any) error {
	return &SyntaxError{l.line, fmt.Sprintf(format, args...)}
}

// skip moves on by n bytes that make no token.
func (l *lexer) skip(n int) {
	l.line += strings.Count(l.src[l.pos:l.pos+n], "\n")
	l.pos += n
}

// tag reads one tag and gives its closing delimiter with the white space that
// it swallowed.
func (l *lexer) tag(open string) (string, error) {
	if open == "{#" {
		i := strings.Index(l.src[l.pos+2:], "#}")
		if i < 0 {
			return "", l.fail("a comment does not end")
		}
		sign := l.src[l.pos+2+i-1]
		l.skip(i + 2)
		return l.close("#}", sign, true), nil
	}
	if m := rawBegin.FindString(l.src[l.pos:]); m != "" {
		l.skip(len(m))
		at := rawEnd.FindStringSubmatchIndex(l.src[l.pos:])
		if at == nil {
			return "", l.fail("raw does not end")
		}
		rest := l.src[l.pos:]
		data := before(rest[:at[0]], rest[at[2]:at[3]], true, strings.HasSuffix(m, "\n"))
		l.emit(tData, data)
		l.line += strings.Count(rest[:at[1]], "\n") - strings.Count(data, "\n")
		l.pos += at[1]
		return rest[at[4]:at[5]], nil
	}
	end := map[string]string{"{{": "}}", "{%": "%}"}[open]
	l.emit(tBegin, open)
	l.skip(2)
	if l.pos < len(l.src) && strings.ContainsRune("-+", rune(l.src[l.pos])) {
		l.skip(1)
	}
	var stack []byte
	for {
		for l.pos < len(l.src) && strings.ContainsRune(" \t\n\r\f\v", rune(l.src[l.pos])) {
			l.skip(1)
		}
		rest := l.src[l.pos:]
		if rest == "" {
			return "", l.fail("a tag does not end")
		}
		if len(stack) == 0 {
			for _, sign := range []string{"-", "+", ""} {
				if strings.HasPrefix(rest, sign+end) && !(sign == "+" && end == "}}") {
					l.emit(tEnd, end)
					l.skip(len(sign))
					c := byte(0)
					if sign != "" {
						c = sign[0]
					}
					return l.close(end, c, end == "%}"), nil
				}
			}
		}
		if err := l.token(rest, &stack); err != nil {
			return "", err
		}
	}
}

// close swallows a closing delimiter and the white space that goes with it.
func (l *lexer) close(end string, sign byte, trim bool) string {
	rest := l.src[l.pos:]
	n := len(end)
	switch {
	case sign == '-':
		n += len(rest[n:]) - len(strings.TrimLeftFunc(rest[n:], unicode.IsSpace))
	case trim && sign != '+' && strings.HasPrefix(rest[n:], "\n"):
		n++
	}
	l.skip(n)
	return rest[:n]
}

func (l *lexer) token(rest string, stack *[]byte) error {
	r, _ := utf8.DecodeRuneInString(rest)
	switch {
	case r == '_' || unicode.IsLetter(r):
		n := strings.IndexFunc(rest, func(r rune) bool { return r != '_' && !unicode.IsLetter(r) && !unicode.IsDigit(r) })
		if n < 0 {
			n = len(rest)
		}
		l.emit(tName, rest[:n])
		l.pos += n
		return nil
	case r >= '0' && r <= '9':
		m := numeral.FindString(rest)
		k := tInt
		if strings.ContainsAny(m, ".eE") {
			k = tFloat
		}
		l.emit(k, strings.ReplaceAll(m, "_", ""))
		l.pos += len(m)
		return nil
	case r == '"' || r == '\'':
		return l.str(rest, byte(r))
	}
	for _, op := range operators {
		if !strings.HasPrefix(rest, op) {
			continue
		}
		switch op {
		case "(", "[", "{":
			*stack = append(*stack, op[0])
		case ")", "]", "}":
			n := len(*stack)
			if n == 0 || (*stack)[n-1] != map[string]byte{")": '(', "]": '[', "}": '{'}[op] {
				return l.fail("unexpected %q", op)
			}
			*stack = (*stack)[:n-1]
		}
		l.emit(tOp, op)
		l.pos += len(op)
		return nil
	}
	return l.fail("unexpected character %q", r)
}

// str reads a string with Python's escapes.
func (l *lexer) str(rest string, quote byte) error {
	var b strings.Builder
	for i := 1; i < len(rest); i++ {
		switch c := rest[i]; {
		case c == quote:
			l.out = append(l.out, tok{tString, b.String(), l.line})
			l.skip(i + 1)
			return nil
		case c != '\\' || i+1 == len(rest):
			b.WriteByte(c)
		default:
			i++
			digits := map[byte]int{'x': 2, 'u': 4, 'U': 8}[rest[i]]
			if s, ok := escapes[rest[i]]; ok {
				b.WriteString(s)
			} else if digits > 0 {
				if i+digits >= len(rest) {
					return l.fail("a short escape")
				}
				n, err := strconv.ParseUint(rest[i+1:i+1+digits], 16, 32)
				if err != nil {
					return l.fail("a bad escape \\%s", rest[i:i+1+digits])
				}
				b.WriteRune(rune(n))
				i += digits
			} else {
				b.WriteByte('\\')
				b.WriteByte(rest[i])
			}
		}
	}
	return l.fail("a string does not end")
}

var escapes = map[byte]string{'n': "\n", 't': "\t", 'r': "\r", '\\': "\\", '\'': "'", '"': "\"", 'a': "\a", 'b': "\b", 'f': "\f", 'v': "\v", '0': "\x00", '\n': ""}
