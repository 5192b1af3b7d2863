package metadata

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxTemplate bounds the text that is looked into; longer templates are still
// rendered. The longest published one known to us has 30 kB.
const maxTemplate = 1 << 20

// Bounds of what is taken from one template; a published template has some
// dozens of each.
const (
	maxConditions = 1024
	maxBranches   = 256
	maxLiterals   = 4096
	maxNumbers    = 64
)

// lexeme is a token of Jinja code, or a piece of text between blocks.
type lexeme struct {
	kind byte // 'd' data, 's' string, 'n' number, 'i' identifier, 'o' operator, '{' and '}' block marks
	text string
}

// branch is a part of a template that is emitted under a condition.
type branch struct {
	condition string
	marker    string // text that nothing else in the template emits, or ""
}

// source is what the text of a template tells without running it.
type source struct {
	lexemes    []lexeme
	conditions []string   // in order, normalised, each once
	together   [][]string // string literals that one condition mentions
	literals   []string   // all string literals of the code, those of conditions first, each once
	numbers    []int
	names      map[string]bool // identifiers, attributes, filters, functions
	branches   []branch
}

var errTemplate = errors.New("template text")

// readTemplate splits a template into lexemes in one pass, without recursion
// and without giving any of it a meaning.
func readTemplate(text string) (*source, error) {
	if len(text) > maxTemplate {
		return nil, fmt.Errorf("%w: has %d bytes, looked into are %d at most", errTemplate, len(text), maxTemplate)
	}
	s := &source{names: map[string]bool{}}
	for pos := 0; pos < len(text); {
		open := nextBlock(text[pos:])
		if open < 0 {
			s.put('d', text[pos:])
			break
		}
		if open > 0 {
			s.put('d', text[pos:pos+open])
		}
		pos += open
		if text[pos+1] == '#' {
			end := strings.Index(text[pos+2:], "#}")
			if end < 0 {
				return nil, fmt.Errorf("%w: byte %d: comment does not end", errTemplate, pos)
			}
			pos += 2 + end + 2
			continue
		}
		n, err := s.code(text[pos:])
		if err != nil {
			return nil, fmt.Errorf("%w: byte %d: %w", errTemplate, pos, err)
		}
		pos += n
		if s.endsWith("raw") {
			end := strings.Index(text[pos:], "endraw")
			if end < 0 {
				return nil, fmt.Errorf("%w: byte %d: raw block does not end", errTemplate, pos)
			}
			if mark := strings.LastIndex(text[pos:pos+end], "{%"); mark >= 0 {
				s.put('d', text[pos:pos+mark])
				pos += mark
			}
		}
	}
	s.study()
	return s, nil
}

// nextBlock is the offset of the next "{{", "{%" or "{#", or -1.
func nextBlock(text string) int {
	for i := 0; i+1 < len(text); i++ {
		j := strings.IndexByte(text[i:], '{')
		if j < 0 || i+j+1 >= len(text) {
			return -1
		}
		i += j
		if c := text[i+1]; c == '{' || c == '%' || c == '#' {
			return i
		}
	}
	return -1
}

func (s *source) put(kind byte, text string) { s.lexemes = append(s.lexemes, lexeme{kind, text}) }

// endsWith reports that the last block is the statement word.
func (s *source) endsWith(word string) bool {
	n := len(s.lexemes)
	return n >= 3 && s.lexemes[n-1].kind == '}' && s.lexemes[n-2] == lexeme{'i', word} && s.lexemes[n-3].kind == '{' && strings.HasPrefix(s.lexemes[n-3].text, "{%")
}

// code reads one block and returns its length in bytes.
func (s *source) code(text string) (int, error) {
	end := "}}"
	if text[1] == '%' {
		end = "%}"
	}
	open, i := text[:2], 2
	if i < len(text) && (text[i] == '-' || text[i] == '+') {
		open, i = text[:3], 3
	}
	s.put('{', open)
	depth := 0 // of { inside an expression, so that {{ {'a': {}} }} ends where it should
	for i < len(text) {
		c := text[i]
		switch {
		case depth == 0 && strings.HasPrefix(text[i:], end):
			s.put('}', end)
			return i + 2, nil
		case depth == 0 && (c == '-' || c == '+') && strings.HasPrefix(text[i+1:], end):
			s.put('}', text[i:i+3])
			return i + 3, nil
		case c == ' ' || c == '\t' || c == '\n' || c == '\r':
			i++
		case c == '\'' || c == '"':
			lit, n, err := stringLiteral(text[i:])
			if err != nil {
				return 0, err
			}
			s.put('s', lit)
			i += n
		case c >= '0' && c <= '9':
			n := strings.IndexFunc(text[i:], func(r rune) bool { return !(r >= '0' && r <= '9' || r == '_' || r == '.') })
			if n < 0 {
				n = len(text) - i
			}
			s.put('n', text[i:i+n])
			i += n
		case c == '_' || unicode.IsLetter(rune(c)) || c >= utf8.RuneSelf:
			n := strings.IndexFunc(text[i:], func(r rune) bool { return r != '_' && !unicode.IsLetter(r) && !unicode.IsDigit(r) })
			if n <= 0 {
				_, n = utf8.DecodeRuneInString(text[i:])
			}
			s.put('i', text[i:i+n])
			i += n
		default:
			switch c {
			case '{':
				depth++
			case '}':
				depth = max(0, depth-1)
			}
			s.put('o', text[i:i+1])
			i++
		}
	}
	return 0, fmt.Errorf("block %s does not end", open)
}

// stringLiteral decodes a quoted string with the escapes of Jinja.
func stringLiteral(text string) (string, int, error) {
	var b strings.Builder
	for i := 1; i < len(text); i++ {
		switch c := text[i]; c {
		case text[0]:
			return b.String(), i + 1, nil
		case '\\':
			i++
			if i >= len(text) {
				break
			}
			switch e := text[i]; e {
			case 'n':
				b.WriteByte('\n')
			case 't':
				b.WriteByte('\t')
			case 'r':
				b.WriteByte('\r')
			case 'x', 'u', 'U':
				n := map[byte]int{'x': 2, 'u': 4, 'U': 8}[e]
				if i+n < len(text) {
					if r, err := strconv.ParseUint(text[i+1:i+1+n], 16, 32); err == nil {
						b.WriteRune(rune(r))
						i += n
						continue
					}
				}
				b.WriteByte(e)
			default:
				b.WriteByte(e)
			}
		default:
			b.WriteByte(c)
		}
	}
	return "", 0, errors.New("string does not end")
}

// normal is the template without comments and without spaces that Jinja does
// not see; equal forms are the same program.
func (s *source) normal() string {
	var b strings.Builder
	for _, l := range s.lexemes {
		b.WriteByte(l.kind)
		b.WriteString(strconv.Quote(l.text))
	}
	return b.String()
}

// block is one code block or one piece of data.
type block struct {
	mark string // "{{", "{%" or "" for data
	word string // first identifier of a statement
	code []lexeme
}

func (s *source) blocks() []block {
	var out []block
	for i := 0; i < len(s.lexemes); i++ {
		l := s.lexemes[i]
		if l.kind != '{' {
			out = append(out, block{code: s.lexemes[i : i+1]})
			continue
		}
		j := i + 1
		for s.lexemes[j].kind != '}' {
			j++
		}
		b := block{mark: l.text[:2], code: s.lexemes[i+1 : j]}
		if b.mark == "{%" && len(b.code) > 0 && b.code[0].kind == 'i' {
			b.word, b.code = b.code[0].text, b.code[1:]
		}
		out = append(out, b)
		i = j
	}
	return out
}

// study collects what conditions, literals and branches there are.
func (s *source) study() {
	type frame struct {
		word, condition string
		pieces          []string
	}
	var (
		stack   = []frame{{}}
		pieces  []string // everything that is emitted literally
		open    []frame  // finished branches, markers still to be chosen
		others  []string
		inTests []string
		known   = map[string]bool{}
	)
	top := func() *frame { return &stack[len(stack)-1] }
	leave := func() {
		if f := *top(); f.condition != "" {
			open = append(open, f)
		}
	}
	for _, b := range s.blocks() {
		emit := func(t string) {
			if t = strings.TrimSpace(t); len(t) >= 3 {
				top().pieces = append(top().pieces, t)
				pieces = append(pieces, t)
			}
		}
		tests := conditions(b)
		for _, t := range tests {
			if text := spell(t); !known[text] && len(s.conditions) < maxConditions {
				known[text] = true
				s.conditions = append(s.conditions, text)
			}
			var lits []string
			for _, l := range t {
				if l.kind == 's' && l.text != "" {
					lits = append(lits, l.text)
				}
			}
			inTests = append(inTests, lits...)
			if len(lits) > 1 && len(s.together) < maxConditions {
				s.together = append(s.together, lits)
			}
		}
		for _, l := range b.code {
			switch l.kind {
			case 's':
				others = append(others, l.text)
			case 'i':
				s.names[l.text] = true
			case 'n':
				if n, err := strconv.Atoi(l.text); err == nil && len(s.numbers) < maxNumbers && !slices.Contains(s.numbers, n) {
					s.numbers = append(s.numbers, n)
				}
			}
		}
		switch {
		case b.mark == "": // data
			emit(b.code[0].text)
		case b.mark == "{{" && len(tests) == 0:
			for _, l := range b.code {
				if l.kind == 's' {
					emit(l.text)
				}
			}
		case b.word == "if":
			stack = append(stack, frame{word: "if", condition: spell(b.code)})
		case b.word == "for":
			stack = append(stack, frame{word: "for"})
		case (b.word == "elif" || b.word == "else") && len(stack) > 1:
			before := top().condition
			leave()
			if b.word == "elif" {
				before = spell(b.code)
			} else if before != "" {
				before = "else of " + before
			}
			*top() = frame{word: top().word, condition: before}
		case (b.word == "endif" || b.word == "endfor") && len(stack) > 1:
			leave()
			stack = stack[:len(stack)-1]
		}
	}
	all := strings.Join(pieces, "\x00")
	for _, f := range open[:min(len(open), maxBranches)] {
		s.branches = append(s.branches, branch{f.condition, marker(f.pieces, all)})
	}
	seen := map[string]bool{"": true}
	for _, l := range slices.Concat(inTests, others) {
		if !seen[l] && len(s.literals) < maxLiterals {
			seen[l] = true
			s.literals = append(s.literals, l)
		}
	}
}

// conditions are the tests of a block: of if and elif, of a loop's filter and
// of inline ifs.
func conditions(b block) [][]lexeme {
	if b.word == "if" || b.word == "elif" {
		return [][]lexeme{b.code}
	}
	var out [][]lexeme
	for i := 0; i < len(b.code); i++ {
		if b.code[i] != (lexeme{'i', "if"}) {
			continue
		}
		j := i + 1
		for j < len(b.code) && b.code[j] != (lexeme{'i', "else"}) && b.code[j] != (lexeme{'i', "if"}) {
			j++
		}
		out = append(out, b.code[i+1:j])
		i = j - 1
	}
	return out
}

// marker is the longest piece of a branch that occurs once in all pieces.
func marker(own []string, all string) string {
	own = slices.Clone(own)
	slices.SortStableFunc(own, func(a, b string) int { return len(b) - len(a) })
	for _, p := range own[:min(len(own), 4)] {
		if strings.Count(all, p) == 1 {
			return p
		}
	}
	return ""
}

func spell(code []lexeme) string {
	var b strings.Builder
	for i, l := range code {
		if i > 0 && (l.kind != 'o' && code[i-1].kind != 'o') {
			b.WriteByte(' ')
		}
		if l.kind == 's' {
			b.WriteString(strconv.Quote(l.text))
		} else {
			b.WriteString(l.text)
		}
	}
	return b.String()
}
