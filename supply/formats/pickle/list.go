package pickle

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

// Bounds of one listing. They hold the unpickler's state of every honest
// checkpoint known to us; what exceeds them is listed without names.
const (
	MaxOps     = 1000     // that are kept; Listing.More counts the rest
	maxSteps   = 20 << 20 // opcodes that are followed
	maxStack   = 1 << 18
	maxMemo    = 1 << 18
	maxText    = 512 // bytes of a string that are kept
	maxStreams = 16
)

// ErrMalformed is a stream that is not a whole pickle; the message has the
// offset.
var ErrMalformed = errors.New("malformed pickle")

// Op is one opcode by which a pickle acts on the interpreter.
type Op struct {
	Code   string // GLOBAL, STACK_GLOBAL, INST, OBJ, NEWOBJ, NEWOBJ_EX, REDUCE, BUILD, EXT1, EXT2, EXT4, PERSID, BINPERSID
	Offset int64  // of the opcode, from the start of the reader
	// Name is module.attribute of what is imported or called, with "?" for a
	// part that the bytes alone do not say.
	Name string
}

func (o Op) String() string {
	if o.Name == "" {
		return fmt.Sprintf("%s @%d", o.Code, o.Offset)
	}
	return fmt.Sprintf("%s %s @%d", o.Code, o.Name, o.Offset)
}

// Listing is what was found in one pickle.
type Listing struct {
	Protocol int // 0 where the pickle does not say
	Ops      []Op
	More     int   // acting opcodes beyond MaxOps
	End      int64 // offset after STOP, or where reading ended
	Streams  int   // pickles, one behind the other; see All
}

// Imports names what is imported, each once, sorted.
func (l *Listing) Imports() []string {
	var out []string
	for _, o := range l.Ops {
		switch o.Code {
		case "GLOBAL", "STACK_GLOBAL", "INST", "EXT1", "EXT2", "EXT4":
			out = append(out, o.Name)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// List follows one pickle from offset start of a reader of size bytes. The
// listing is never nil; the error wraps ErrMalformed or is the reader's own.
func List(r io.ReaderAt, start, size int64) (*Listing, error) {
	m := &machine{in: cursor{r: r, at: start, size: size}, memo: map[uint64]value{}}
	err := m.run()
	m.out.End = m.in.at
	m.out.Streams = 1
	return &m.out, err
}

// All follows pickles that lie one behind the other, as torch's files before
// 1.6 have them, to the first byte that starts none. The error is that of the
// first pickle only: behind it anything may lie.
func All(r io.ReaderAt, start, size int64) (*Listing, error) {
	all, err := List(r, start, size)
	for err == nil && all.Streams < maxStreams && all.End < size {
		next, failed := List(r, all.End, size)
		if next.Protocol == 0 && (failed != nil || len(next.Ops) == 0) {
			break // chance bytes, such as those of tensors
		}
		room := MaxOps - len(all.Ops)
		kept := next.Ops[:min(room, len(next.Ops))]
		all.Ops = append(all.Ops, kept...)
		all.More += next.More + len(next.Ops) - len(kept)
		all.Protocol = max(all.Protocol, next.Protocol)
		all.End, all.Streams = next.End, all.Streams+1
		if failed != nil {
			break
		}
	}
	return all, err
}

type kind int8

const (
	unknown kind = iota
	mark
	text
	global
)

// value is as much of an object as names need.
type value struct {
	kind kind
	s    string // of text: the string; of global: module.attribute
}

type machine struct {
	in    cursor
	out   Listing
	stack []value
	memo  map[uint64]value
	// memoized counts MEMOIZE, whose index is the number of memo entries.
	memoized uint64
	lost     int // values above the bound of the stack
}

func (m *machine) bad(at int64, format string, args ...any) error {
	return fmt.Errorf("%w at offset %d: %s", ErrMalformed, at, fmt.Sprintf(format, args...))
}

func (m *machine) run() error {
	for range maxSteps {
		at := m.in.at
		b, err := m.in.byte()
		if err != nil {
			return m.ended(at, err)
		}
		op := opcodes[b]
		if op.name == "" {
			return m.bad(at, "0x%02x is no opcode", b)
		}
		a, err := m.argument(op.arg)
		if err != nil {
			return m.ended(at, err)
		}
		if b == '.' {
			return nil
		}
		if b == 0x80 {
			if m.out.Protocol = int(a.n); a.n > 5 {
				return m.bad(at, "protocol %d is not known", a.n)
			}
			continue
		}
		m.step(b, op, a, at)
	}
	return m.bad(m.in.at, "more than %d opcodes", maxSteps)
}

func (m *machine) ended(at int64, err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return m.bad(at, "the file ends before STOP")
	}
	return err
}

// width is the size in bytes of the number that an argument begins with.
var width = [...]int{fix1: 1, fix2: 2, fix4: 4, fix8: 8, len1: 1, len4: 4, len8: 8, frame: 8}

// argument is what follows an opcode: a number, or text cut to maxText.
type argument struct {
	n      uint64
	s, s2  string
	cut    bool // s or s2 is not whole
	length uint64
}

func (m *machine) argument(a arg) (out argument, err error) {
	switch a {
	case fix1, fix2, fix4, fix8, frame:
		out.n, err = m.in.uint(width[a])
	case line:
		out.s, out.cut, err = m.in.line()
	case lines:
		var cut bool
		if out.s, out.cut, err = m.in.line(); err == nil {
			out.s2, cut, err = m.in.line()
			out.cut = out.cut || cut
		}
	case len1, len4, len8:
		if out.length, err = m.in.uint(width[a]); err == nil {
			out.s, out.cut, err = m.in.block(out.length)
		}
	}
	return out, err
}

// step does to stack and memo what the opcode does.
func (m *machine) step(b byte, op opcode, a argument, at int64) {
	switch b {
	case '(':
		m.push(value{kind: mark})
	case '0':
		m.pop()
	case '1', 'd', 'l', 't', 0x91:
		m.popMark()
		if b != '1' {
			m.push(value{})
		}
	case '2':
		m.push(m.top())
	case 'S', 'V', 'T', 'U', 'X', 0x8c, 0x8d:
		m.push(textOf(b, a))
	case 'c':
		m.push(m.imports(op, at, dotted(a.s, a.s2, a.cut)))
	case 0x93:
		name, module := m.pop(), m.pop()
		m.push(m.imports(op, at, part(module)+"."+part(name)))
	case 'i':
		m.popMark()
		m.imports(op, at, dotted(a.s, a.s2, a.cut))
		m.push(value{})
	case 0x82, 0x83, 0x84:
		m.push(m.imports(op, at, "copyreg extension "+strconv.FormatUint(a.n, 10)))
	case 'o':
		m.acts(op, at, m.popMark())
		m.push(value{})
	case 'R', 0x81:
		m.pop()
		m.acts(op, at, m.pop())
		m.push(value{})
	case 0x92:
		m.pop()
		m.pop()
		m.acts(op, at, m.pop())
		m.push(value{})
	case 'b':
		m.pop()
		m.acts(op, at, m.top())
	case 'P':
		m.acts(op, at, value{})
		m.push(value{})
	case 'Q':
		m.pop()
		m.acts(op, at, value{})
		m.push(value{})
	case 'a':
		m.pop()
	case 's':
		m.pop()
		m.pop()
	case 'e', 'u', 0x90:
		m.popMark()
	case 0x85, 0x86, 0x87:
		for range int(b) - 0x84 {
			m.pop()
		}
		m.push(value{})
	case 'g':
		n, err := strconv.ParseUint(strings.TrimSpace(a.s), 10, 64)
		m.get(n, err == nil)
	case 'h', 'j':
		m.get(a.n, true)
	case 'p':
		if n, err := strconv.ParseUint(strings.TrimSpace(a.s), 10, 64); err == nil {
			m.put(n)
		}
	case 'q', 'r':
		m.put(a.n)
	case 0x94:
		m.put(m.memoized)
	case 0x95, 0x98: // FRAME, READONLY_BUFFER
	default:
		m.push(value{})
	}
}

func (m *machine) push(v value) {
	if len(m.stack) >= maxStack {
		m.lost++
		return
	}
	m.stack = append(m.stack, v)
}

// pop gives an unknown value where the stack is empty, so that a faulty pickle
// is listed to its end.
func (m *machine) pop() value {
	if m.lost > 0 {
		m.lost--
		return value{}
	}
	if len(m.stack) == 0 {
		return value{}
	}
	v := m.stack[len(m.stack)-1]
	m.stack = m.stack[:len(m.stack)-1]
	return v
}

func (m *machine) top() value {
	if m.lost > 0 || len(m.stack) == 0 {
		return value{}
	}
	return m.stack[len(m.stack)-1]
}

// popMark takes everything down to the last mark and gives what lay right above
// it: the class, for OBJ.
func (m *machine) popMark() (first value) {
	m.lost = 0 // a mark among the lost is forgotten with them
	for len(m.stack) > 0 {
		v := m.pop()
		if v.kind == mark {
			return first
		}
		first = v
	}
	return first
}

func (m *machine) put(n uint64) {
	if _, old := m.memo[n]; !old {
		m.memoized++
		if len(m.memo) >= maxMemo {
			return
		}
	}
	m.memo[n] = m.top()
}

func (m *machine) get(n uint64, ok bool) {
	if !ok {
		m.push(value{})
		return
	}
	m.push(m.memo[n])
}

// imports records an import and gives the value it leaves.
func (m *machine) imports(op opcode, at int64, name string) value {
	m.record(Op{op.name, at, name})
	return value{global, name}
}

func (m *machine) acts(op opcode, at int64, on value) {
	name := ""
	if on.kind == global {
		name = on.s
	}
	m.record(Op{op.name, at, name})
}

func (m *machine) record(o Op) {
	if len(m.out.Ops) >= MaxOps {
		m.out.More++
		return
	}
	m.out.Ops = append(m.out.Ops, o)
}

func textOf(b byte, a argument) value {
	if a.cut {
		return value{}
	}
	s := a.s
	if b == 'S' {
		s = strings.TrimSpace(s)
		if len(s) >= 2 && (s[0] == '\'' || s[0] == '"') && s[len(s)-1] == s[0] {
			s = s[1 : len(s)-1]
		}
	}
	return value{text, strings.Clone(s)}
}

// dotted joins the two lines of GLOBAL and INST.
func dotted(module, name string, cut bool) string {
	if cut {
		return "?.?"
	}
	return readable(module) + "." + readable(name)
}

func part(v value) string {
	if v.kind != text {
		return "?"
	}
	return readable(v.s)
}

// readable quotes a name that could not stand in a line as it is.
func readable(s string) string {
	if s == "" || strings.ContainsFunc(s, func(r rune) bool { return r == 0xFFFD || r > 126 || r < 33 }) {
		return strconv.QuoteToASCII(s)
	}
	return s
}

// cursor reads forward and skips without reading.
type cursor struct {
	r    io.ReaderAt
	at   int64 // of the next byte
	size int64
	buf  []byte // holds [from, from+len(buf))
	from int64
}

// Reading begins small: most files are no pickles, which shows in a few bytes.
const (
	window      = 64 << 10
	firstWindow = 512
)

// fill makes at least one byte at c.at available.
func (c *cursor) fill() error {
	if c.at >= c.from && c.at < c.from+int64(len(c.buf)) {
		return nil
	}
	n := min(max(firstWindow, min(8*int64(cap(c.buf)), window)), c.size-c.at)
	if n <= 0 {
		return io.EOF
	}
	if int64(cap(c.buf)) < n {
		c.buf = make([]byte, n)
	}
	c.buf = c.buf[:n]
	got, err := c.r.ReadAt(c.buf, c.at)
	c.buf, c.from = c.buf[:got], c.at
	if got == 0 {
		if err == nil || errors.Is(err, io.EOF) {
			return io.ErrUnexpectedEOF
		}
		return err
	}
	return nil
}

func (c *cursor) byte() (byte, error) {
	if err := c.fill(); err != nil {
		return 0, err
	}
	b := c.buf[c.at-c.from]
	c.at++
	return b, nil
}

func (c *cursor) uint(n int) (uint64, error) {
	var b [8]byte
	for i := range n {
		var err error
		if b[i], err = c.byte(); err != nil {
			return 0, err
		}
	}
	return binary.LittleEndian.Uint64(b[:]), nil
}

// line reads to the next line feed and keeps the first maxText bytes.
func (c *cursor) line() (s string, cut bool, err error) {
	var kept []byte
	for {
		if err := c.fill(); err != nil {
			return "", false, err
		}
		rest := c.buf[c.at-c.from:]
		i := bytes.IndexByte(rest, '\n')
		chunk := rest
		if i >= 0 {
			chunk = rest[:i]
		}
		take := min(len(chunk), maxText-len(kept))
		kept = append(kept, chunk[:take]...)
		cut = cut || take < len(chunk)
		c.at += int64(len(chunk))
		if i >= 0 {
			c.at++
			return string(kept), cut, nil
		}
	}
}

// block skips n bytes and keeps them where they are few.
func (c *cursor) block(n uint64) (s string, cut bool, err error) {
	if n > uint64(c.size-c.at) {
		return "", false, io.ErrUnexpectedEOF
	}
	if n > maxText {
		c.at += int64(n)
		return "", true, nil
	}
	b := make([]byte, n)
	for i := range b {
		if b[i], err = c.byte(); err != nil {
			return "", false, err
		}
	}
	return string(b), false, nil
}
