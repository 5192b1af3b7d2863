package bundle

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
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
	if err := surrogates(src); err != nil {
		return err
	}
	d := json.NewDecoder(bytes.NewReader(src))
	d.UseNumber()
	if err := strictValue(d, "", true, 0); err != nil {
		return err
	}
	if _, err := d.Token(); err != io.EOF {
		return fmt.Errorf("at byte %d: something follows the value", d.InputOffset())
	}
	return nil
}

func strictValue(d *json.Decoder, path string, fold bool, depth int) error {
	t, err := d.Token()
	if err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return fmt.Errorf("at byte %d: %w", d.InputOffset(), err)
	}
	delim, ok := t.(json.Delim)
	if !ok {
		return nil
	}
	if depth == maxNesting {
		return fmt.Errorf("at byte %d: nested deeper than %d", d.InputOffset(), maxNesting)
	}
	seen := map[string]bool{}
	for i := 0; d.More(); i++ {
		at, below := fmt.Sprintf("%s[%d]", path, i), fold
		if delim == '{' {
			t, err := d.Token()
			if err != nil {
				return fmt.Errorf("at byte %d: %w", d.InputOffset(), err)
			}
			key := t.(string)
			at = strings.TrimPrefix(path+"."+key, ".")
			same := key
			if fold {
				same = folded(key)
			}
			if seen[same] {
				return fmt.Errorf("the key %q is there twice", at)
			}
			seen[same] = true
			below = fold && key != "predicate"
		}
		if err := strictValue(d, at, below, depth+1); err != nil {
			return err
		}
	}
	if _, err := d.Token(); err != nil { // the closing bracket
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return fmt.Errorf("at byte %d: %w", d.InputOffset(), err)
	}
	return nil
}

// folded is the same for all strings that are equal under Unicode's simple
// case folding, which is how encoding/json matches keys to fields.
func folded(s string) string {
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
