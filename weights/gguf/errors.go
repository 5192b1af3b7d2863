package gguf

import (
	"errors"
	"fmt"
)

// ErrFormat is matched by every error about bytes that are not a valid GGUF
// file within Limits.
var ErrFormat = errors.New("malformed GGUF")

// FormatError says where and why a file was refused. errors.Is(err, ErrFormat)
// holds.
type FormatError struct {
	File   string // as given to Open
	Offset int64  // bytes from the start of the file
	Item   string // what was being read, such as `metadata key "a"`
	Reason string
	Err    error // cause, such as an I/O error, or nil
}

func (e *FormatError) Error() string {
	s := fmt.Sprintf("%s: byte %d: %s: %s", e.File, e.Offset, e.Item, e.Reason)
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Is makes every FormatError match ErrFormat.
func (e *FormatError) Is(target error) bool { return target == ErrFormat }

func (e *FormatError) Unwrap() error { return e.Err }
