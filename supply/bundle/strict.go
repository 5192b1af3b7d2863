package bundle

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxNesting bounds the depth of JSON, as encoding/json itself recurses.
const maxNesting = 128

// Strict checks what encoding/json lets pass and what two readers of the same
// bytes could therefore understand differently: a key twice in one object,
// text after the value, text that is not UTF-8, unpaired surrogates. Keys that
// differ in case only count as the same key where encoding/json would match
// them to one field: everywhere but below a key named "predicate", whose keys
// may be anybody's.
func Strict(src []byte) error {
	if !utf8.Valid(src) {
		return errors.New("the text is not UTF-8")
	}
	if !json.Valid(src) {
		var v json.RawMessage
		if err := json.Unmarshal(src, &v); err != nil {
			var syntax *json.SyntaxError
			if errors.As(err, &syntax) {
				return fmt.Errorf("at byte %d: %w", syntax.Offset, err)
			}
			return err
		}
		return errors.New("not JSON")
	}
	if err := surrogates(src); err != nil {
		return err
	}
	return keys(src)
}

// level is one object or list around the place where keys is.
type level struct {
	object bool
	fold   bool // whether case counts for nothing in its keys
	few    []string
	many   map[string]bool // instead of few, from the 17th key on
}

// add reports whether the key is there already.
func (l *level) add(key string) (twice bool) {
	if l.many != nil {
		twice = l.many[key]
		l.many[key] = true
		return twice
	}
	if slices.Contains(l.few, key) {
		return true
	}
	if l.few = append(l.few, key); len(l.few) > 16 {
		l.many = make(map[string]bool, 64)
		for _, k := range l.few {
			l.many[k] = true
		}
	}
	return false
}

// keys looks for a key that is twice in an object, in valid JSON. It is written
// out because the signature of 10,000 files is 2 MB of JSON on the way to a
// verdict, and json.Decoder.Token takes ten times as long.
func keys(src []byte) error {
	stack := make([]level, 0, 8)
	expectKey, fold := false, true
	for i := 0; i < len(src); i++ {
		switch src[i] {
		case '{', '[':
			if len(stack) == maxNesting {
				return fmt.Errorf("at byte %d: nested deeper than %d", i, maxNesting)
			}
			expectKey = src[i] == '{'
			if len(stack) < cap(stack) { // take the list of keys of the last level that was here
				stack = stack[:len(stack)+1]
				l := &stack[len(stack)-1]
				*l = level{object: expectKey, fold: fold, few: l.few[:0]}
			} else {
				stack = append(stack, level{object: expectKey, fold: fold})
			}
		case '}', ']':
			stack = stack[:len(stack)-1]
			if len(stack) > 0 {
				fold = stack[len(stack)-1].fold
			}
			expectKey = false
		case ',':
			l := stack[len(stack)-1]
			expectKey, fold = l.object, l.fold
		case '"':
			end := i + 1
			for ; src[end] != '"'; end++ {
				if src[end] == '\\' {
					end++
				}
			}
			if expectKey {
				key := string(src[i+1 : end])
				if strings.Contains(key, `\`) {
					if err := json.Unmarshal(src[i:end+1], &key); err != nil {
						return fmt.Errorf("at byte %d: %w", i, err)
					}
				}
				l := &stack[len(stack)-1]
				same := key
				if l.fold {
					same = folded(key)
				}
				if l.add(same) {
					return fmt.Errorf("at byte %d: the key %.100q is there twice", i, key)
				}
				expectKey, fold = false, l.fold && key != "predicate"
			}
			i = end
		}
	}
	return nil
}

// folded is the same for all strings that are equal under Unicode's simple
// case folding, which is how encoding/json matches keys to fields.
func folded(s string) string {
	if ascii := strings.IndexFunc(s, func(r rune) bool { return r >= utf8.RuneSelf }) < 0; ascii && !strings.ContainsAny(s, "kKsS") {
		return strings.ToLower(s) // k and s fold with letters beyond ASCII
	}
	return strings.Map(func(r rune) rune {
		least := r
		for next := unicode.SimpleFold(r); next != r; next = unicode.SimpleFold(next) {
			least = min(least, next)
		}
		return least
	}, s)
}

// surrogates refuses \ud800 and its like without their other half: Go reads
// them as U+FFFD, others as something that equals nothing.
func surrogates(src []byte) error {
	if bytes.IndexByte(src, '\\') < 0 {
		return nil
	}
	for i := 0; i+1 < len(src); i++ {
		if src[i] != '\\' {
			continue
		}
		r, ok := escape(src[i:])
		if i++; !ok || r < 0xd800 || r > 0xdfff {
			continue
		}
		low, ok := escape(src[min(i+5, len(src)):])
		if r >= 0xdc00 || !ok || low < 0xdc00 || low > 0xdfff {
			return fmt.Errorf("at byte %d: half of a surrogate pair", i-1)
		}
		i += 10
	}
	return nil
}

func escape(src []byte) (r rune, ok bool) {
	if len(src) < 6 || src[0] != '\\' || src[1] != 'u' {
		return 0, false
	}
	for _, c := range src[2:6] {
		v := bytes.IndexByte([]byte("0123456789abcdef"), c|0x20)
		if c >= '0' && c <= '9' {
			v = int(c - '0')
		}
		if v < 0 {
			return 0, false
		}
		r = r<<4 | rune(v)
	}
	return r, true
}
