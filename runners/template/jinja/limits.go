package jinja

import (
	"fmt"
	"math"
	"strings"
)

// Limits of one Render. Zero values are those of DefaultLimits.
type Limits struct {
	Steps  int // evaluations of expressions and statements
	Depth  int // nested calls of macros and loops
	Output int // bytes of the text
	Memory int // bytes of all strings and lists made on the way
}

// DefaultLimits are far above what a chat template needs.
var DefaultLimits = Limits{Steps: 1_000_000, Depth: 100, Output: 1 << 20, Memory: 128 << 20}

// LimitError ends a template that goes beyond a limit.
type LimitError struct{ Msg string }

func (e *LimitError) Error() string { return e.Msg }

// run is one Render under way.
type run struct {
	limits              Limits
	steps, depth, bytes int
}

func (r *run) step() error {
	if r.steps++; r.steps > r.limits.Steps {
		return &LimitError{fmt.Sprintf("the template took more than %d steps", r.limits.Steps)}
	}
	return nil
}

// alloc counts bytes before they are made.
func (r *run) alloc(n int) error {
	if n < 0 || n > r.limits.Memory-r.bytes {
		return &LimitError{fmt.Sprintf("the template made more than %d bytes of values", r.limits.Memory)}
	}
	r.bytes += n
	return nil
}

// copies counts n copies of size bytes, whose product may overflow.
func (r *run) copies(n, size int) error {
	if n > 0 && size > r.limits.Memory/n {
		return r.alloc(math.MaxInt)
	}
	return r.alloc(size * max(0, n))
}

// made counts what a function, filter or method has given.
func (r *run) made(v any) error {
	switch v := v.(type) {
	case string:
		return r.alloc(len(v))
	case []any:
		return r.alloc(16 * len(v))
	}
	return nil
}

func (r *run) down() error {
	if r.depth++; r.depth > r.limits.Depth {
		return &LimitError{fmt.Sprintf("the template recursed deeper than %d", r.limits.Depth)}
	}
	return nil
}

func (r *run) write(out *strings.Builder, s string) error {
	if err := r.alloc(len(s)); err != nil {
		return err
	}
	if out.Len()+len(s) > r.limits.Output {
		return &LimitError{fmt.Sprintf("the template wrote more than %d bytes", r.limits.Output)}
	}
	out.WriteString(s)
	return nil
}
