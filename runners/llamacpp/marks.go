package llamacpp

import (
	"encoding/json"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/weighbridge/weighbridge/runners"
)

// hide breaks up every special token that is spelt in a message: a mark, which
// is a character of the private planes that occurs nowhere else, goes behind
// its first character. So it comes out of the template as text, and where the
// template's own special tokens are stays known. mark is empty when nothing
// had to be hidden.
func hide(cs []runners.Conversation, template string, names []string) (_ []runners.Conversation, mark string, err error) {
	if !slices.ContainsFunc(cs, func(c runners.Conversation) bool { return spells(c, names) }) {
		return cs, "", nil
	}
	for r := rune(0x10fffd); r >= 0xf0000 && mark == ""; r-- {
		if utf8.ValidRune(r) && !strings.ContainsRune(template, r) &&
			!slices.ContainsFunc(cs, func(c runners.Conversation) bool { return spells(c, []string{string(r)}) }) {
			mark = string(r)
		}
	}
	if mark == "" {
		return nil, "", runners.Refused(runners.CodeInvalid, -1, "the messages use every private character")
	}
	out := make([]runners.Conversation, len(cs))
	for i, c := range cs {
		c.Messages = slices.Clone(c.Messages)
		for j := range c.Messages {
			msg := &c.Messages[j]
			msg.Role, msg.Content = breakUp(msg.Role, mark, names), breakUp(msg.Content, mark, names)
			if msg.ToolCalls, err = breakUpJSON(msg.ToolCalls, mark, names); err != nil {
				return nil, "", runners.Refused(runners.CodeInvalid, i, "message %d: tool_calls: %v", j, err)
			}
		}
		if c.Tools, err = breakUpJSON(c.Tools, mark, names); err != nil {
			return nil, "", runners.Refused(runners.CodeInvalid, i, "tools: %v", err)
		}
		out[i] = c
	}
	return out, mark, nil
}

// spells says whether any name occurs in what a template is given. JSON is
// searched unescaped.
func spells(c runners.Conversation, names []string) bool {
	texts := []string{unescape(c.Tools)}
	for _, m := range c.Messages {
		texts = append(texts, m.Role, m.Content, unescape(m.ToolCalls))
	}
	for _, t := range texts {
		for _, n := range names {
			if t != "" && strings.Contains(t, n) {
				return true
			}
		}
	}
	return false
}

// unescape joins the strings of a JSON value.
func unescape(raw json.RawMessage) string {
	var b strings.Builder
	d := json.NewDecoder(strings.NewReader(string(raw)))
	for {
		t, err := d.Token()
		if err != nil {
			return b.String()
		}
		if s, ok := t.(string); ok {
			b.WriteString(s)
			b.WriteByte(0)
		}
	}
}

// breakUp puts mark behind the first character of every occurrence of a name,
// overlapping ones too.
func breakUp(s, mark string, names []string) string {
	present := slices.DeleteFunc(slices.Clone(names), func(name string) bool { return !strings.Contains(s, name) })
	if len(present) == 0 {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		_, n := utf8.DecodeRuneInString(s[i:])
		b.WriteString(s[i : i+n])
		if slices.ContainsFunc(present, func(name string) bool { return strings.HasPrefix(s[i:], name) }) {
			b.WriteString(mark)
		}
		i += n
	}
	return b.String()
}

// breakUpJSON is breakUp on every string of a JSON value, whose other bytes
// (order of keys, numbers) stay.
func breakUpJSON(raw json.RawMessage, mark string, names []string) (json.RawMessage, error) {
	if len(raw) == 0 || !json.Valid(raw) {
		return raw, nil // what is not JSON is refused by the renderer, with a better message
	}
	var b strings.Builder
	for i := 0; i < len(raw); {
		if raw[i] != '"' {
			b.WriteByte(raw[i])
			i++
			continue
		}
		j := i + 1
		for raw[j] != '"' {
			if raw[j] == '\\' {
				j++
			}
			j++
		}
		var s string
		if err := json.Unmarshal(raw[i:j+1], &s); err != nil {
			return nil, err
		}
		if t := breakUp(s, mark, names); t == s {
			b.Write(raw[i : j+1])
		} else {
			q, err := json.Marshal(t)
			if err != nil {
				return nil, err
			}
			b.Write(q)
		}
		i = j + 1
	}
	return json.RawMessage(b.String()), nil
}

// special is a control token as the tokenizer would find it in text.
type special struct {
	id             runners.Token
	text           string
	lstrip, rstrip bool // it swallows the white space before, after it
}

// fragment is a special token, or text when token is None.
type fragment struct {
	text  string
	token runners.Token
}

// partition splits text at special tokens the way llama.cpp does: one token
// after the other, longest first.
func partition(text string, specials []special) []fragment {
	const space = " \t\n\v\f\r"
	frags := []fragment{{text, runners.None}}
	for _, s := range specials {
		if !strings.Contains(text, s.text) {
			continue
		}
		var next []fragment
		for _, f := range frags {
			if f.token != runners.None {
				next = append(next, f)
				continue
			}
			rest := f.text
			for {
				i := strings.Index(rest, s.text)
				if i < 0 {
					break
				}
				left := rest[:i]
				rest = rest[i+len(s.text):]
				if s.lstrip {
					left = strings.TrimRight(left, space)
				}
				if s.rstrip {
					rest = strings.TrimLeft(rest, space)
				}
				if left != "" {
					next = append(next, fragment{left, runners.None})
				}
				next = append(next, fragment{"", s.id})
			}
			if rest != "" {
				next = append(next, fragment{rest, runners.None})
			}
		}
		frags = next
	}
	return frags
}
