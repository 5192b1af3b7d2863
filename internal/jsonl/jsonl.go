// Package jsonl reads JSON lines strictly: one value a line, in UTF-8, with no
// field that the type does not have, so that a misspelt one is never ignored.
// Empty lines are passed over.
//
// It will not judge values: that is for whoever reads them.
package jsonl

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"
)

// Error is a line that is no value of the type.
type Error struct {
	Line int // from 1
	Err  error
}

func (e *Error) Error() string { return fmt.Sprintf("line %d: %v", e.Line, e.Err) }
func (e *Error) Unwrap() error { return e.Err }

// Each calls do with the value of every line, and its number from 1. A line may
// have limit bytes. Errors of lines are *Error; one of do ends the reading and
// comes back as it is.
func Each[T any](r io.Reader, limit int, do func(line int, row *T) error) error {
	in := bufio.NewScanner(r)
	in.Buffer(nil, limit)
	line := 0
	for in.Scan() {
		line++
		b := in.Bytes()
		if len(bytes.TrimSpace(b)) == 0 {
			continue
		}
		if !utf8.Valid(b) {
			return &Error{line, errors.New("it is not UTF-8")}
		}
		row := new(T)
		d := json.NewDecoder(bytes.NewReader(b))
		d.DisallowUnknownFields()
		if err := d.Decode(row); err != nil {
			return &Error{line, err}
		}
		if _, err := d.Token(); err != io.EOF {
			return &Error{line, errors.New("more than one JSON value on the line")}
		}
		if err := do(line, row); err != nil {
			return err
		}
	}
	if err := in.Err(); err != nil {
		return &Error{line + 1, err}
	}
	return nil
}
