// Package safetext makes hostile text harmless and visible.
//
// Whatever comes from weights (answers, names, metadata, templates) may carry
// terminal escapes, characters that turn the direction of writing, characters
// without ink, a megabyte of anything, or the start of a command for the CI
// system that shows the log. This package turns each of these into something a
// reader sees. It escapes for no markup language: HTML, Markdown and XML do
// that after it.
//
// A control character becomes its name (⟦ESC⟧; a line break is ⏎, a tab ⇥), and
// every other character that cannot be seen or trusted its number (⟦U+202E⟧). A token is
// for reading, not for copying: text that contains ⟦U+202E⟧ literally looks the
// same, except in HTML, where marks are set apart. For copying there is
// [ASCIIJSON], which is exact.
package safetext

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Run is a stretch of text. Marked text stands for characters that cannot be
// shown.
type Run struct {
	Text   string
	Marked bool
}

// maxMarks is how many combining marks in a row a letter may carry. Vietnamese
// and Hebrew get by with three.
const maxMarks = 4

// Split turns s into runs of visible text of at most limit characters in all,
// not counting the last token; limit 0 means no limit. With lines, newlines and
// tabs stay as they are; without, they are marked. more is the number of bytes
// of s that were left out.
func Split(s string, limit int, lines bool) (runs []Run, more int) {
	var b strings.Builder
	end := func() {
		if b.Len() > 0 {
			runs = append(runs, Run{Text: b.String()})
			b.Reset()
		}
	}
	shown, marks := 0, 0
	for i, r := range s {
		if limit > 0 && shown >= limit {
			end()
			return runs, len(s) - i
		}
		if unicode.Is(unicode.M, r) {
			marks++
		} else {
			marks = 0
		}
		if ok := visible(r) && marks <= maxMarks || lines && (r == '\n' || r == '\t'); ok {
			b.WriteRune(r)
			shown++
			continue
		}
		end()
		t := token(s[i:], r)
		runs = append(runs, Run{t, true})
		shown += utf8.RuneCountInString(t)
	}
	end()
	return runs, 0
}

// visible reports whether r leaves ink of its own and keeps the direction of
// writing as the reader expects it.
func visible(r rune) bool {
	switch {
	case r == utf8.RuneError:
		return false // a bad byte; U+FFFD itself is marked as well
	case r >= ' ' && r <= '~':
		return true
	case r < 0xA0:
		return false
	case inkless(r):
		return false
	}
	return unicode.IsGraphic(r) && !unicode.Is(unicode.Zs, r)
}

// inkless are graphic characters that show nothing: fillers, the blank braille
// cell, and variation selectors, which can carry hidden bytes (UTS #39, UTR #36).
func inkless(r rune) bool {
	switch {
	case r == 0x034F, r == 0x115F, r == 0x1160, r == 0x17B4, r == 0x17B5, r == 0x2800, r == 0x3164, r == 0xFFA0,
		r >= 0x180B && r <= 0x180F, r >= 0xFE00 && r <= 0xFE0F, r >= 0xE0100 && r <= 0xE01EF:
		return true
	}
	return false
}

// token is what stands for r, the first character of s.
func token(s string, r rune) string {
	switch {
	case r == '\n':
		return "⏎"
	case r == '\t':
		return "⇥"
	case r < ' ':
		return "⟦" + controls[r] + "⟧"
	case r == 0x7F:
		return "⟦DEL⟧"
	case r == utf8.RuneError && !strings.HasPrefix(s, "\uFFFD"):
		return fmt.Sprintf("⟦0x%02X⟧", s[0])
	}
	return fmt.Sprintf("⟦U+%04X⟧", r)
}

// controls are the names of ISO/IEC 6429. Their pictures in Unicode (␀ ␛) are
// missing from the fonts of many terminals.
var controls = strings.Fields("NUL SOH STX ETX EOT ENQ ACK BEL BS HT LF VT FF CR SO SI DLE DC1 DC2 DC3 DC4 NAK SYN ETB CAN EM SUB ESC FS GS RS US")

// Line is s on one line, of at most limit characters (0: all of them). What is
// left out is counted at the end.
func Line(s string, limit int) string { return join(s, limit, false) }

// Block is [Line] with the line breaks and tabs of s left in place.
func Block(s string, limit int) string { return join(s, limit, true) }

func join(s string, limit int, lines bool) string {
	runs, more := Split(s, limit, lines)
	var b strings.Builder
	for _, r := range runs {
		b.WriteString(r.Text)
	}
	if more > 0 {
		b.WriteString(More(more))
	}
	return b.String()
}

// More says how many bytes were left out.
func More(n int) string {
	if n == 1 {
		return "… (1 byte more)"
	}
	return fmt.Sprintf("… (%d bytes more)", n)
}

// Log is [Line] for output that a CI system may read: a line that starts a
// command of GitHub Actions or Azure Pipelines ("::error::", "##[group]",
// "##vso[…]") no longer does. GitHub finds "##[" anywhere in a line.
func Log(s string, limit int) string {
	s = Line(s, limit)
	if strings.HasPrefix(strings.TrimLeft(s, " "), "::") {
		s = strings.Replace(s, "::", ":⟦:⟧", 1)
	}
	return commands.Replace(s)
}

var commands = strings.NewReplacer("##[", "##⟦[⟧", "##vso[", "##⟦vso[⟧")

// ASCIIJSON is a JSON text with every character outside printable ASCII
// escaped. Its meaning is unchanged, so that it can be copied and sent again;
// nothing in it can hide. Text that is not JSON is escaped in the same way.
func ASCIIJSON(s string) string {
	var b strings.Builder
	for _, r := range s {
		switch {
		case r >= ' ' && r <= '~' || r == '\n':
			b.WriteRune(r)
		case r > 0xFFFF:
			r -= 0x10000
			fmt.Fprintf(&b, `\u%04x\u%04x`, 0xD800+r>>10, 0xDC00+r&0x3FF)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}

// Shell quotes s as one word of a POSIX or bash command line. Words with
// characters that cannot be shown use bash's $'…', which keeps them exact. A
// word of more than 4,096 bytes is cut, and then names nothing.
func Shell(s string) string {
	const most = 4096
	if len(s) > most {
		s = s[:most] + "…"
	}
	plain, quotable := s != "" && s[0] != '-', true
	for _, r := range s {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', strings.ContainsRune("._/:@+,=-%", r):
		case visible(r) || r == ' ':
			plain = false
		default:
			plain, quotable = false, false
		}
	}
	switch {
	case plain:
		return s
	case quotable && utf8.ValidString(s):
		return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
	}
	var b strings.Builder
	b.WriteString("$'")
	for i := range len(s) {
		switch c := s[i]; {
		case c == '\'' || c == '\\':
			b.WriteByte('\\')
			b.WriteByte(c)
		case c >= ' ' && c <= '~':
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, `\x%02x`, c)
		}
	}
	b.WriteByte('\'')
	return b.String()
}
