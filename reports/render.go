package reports

import (
	"fmt"
	"io"
	"strings"
)

// Options are the wishes of whoever asked for a rendering. The zero value is
// right for a file.
type Options struct {
	// Width is the number of columns of the terminal; 0 means 80. Only text uses it.
	Width int
	// Colour allows ANSI colours. Only text uses it.
	Colour bool
	// Page is where the HTML page lies, to be named at the end; empty leaves the
	// line out. Text and md use it.
	Page string
}

// UnknownFormatError is a format that Render does not know.
type UnknownFormatError struct{ Name string }

func (e *UnknownFormatError) Error() string {
	return fmt.Sprintf("no report format is called %q; there are %s", e.Name, strings.Join(Formats(), ", "))
}

// Formats lists the names that [Render] takes.
func Formats() []string { return []string{"html", "json", "junit", "md", "text"} }

// Render writes the report in the named format, or gives an
// *[UnknownFormatError].
func Render(w io.Writer, format string, r *Report, o Options) error {
	return &UnknownFormatError{format}
}

// RenderFile is [Render] to a file that appears at path complete or not at all.
func RenderFile(path, format string, r *Report, o Options) error {
	return writeFile(path, func(w io.Writer) error { return Render(w, format, r, o) })
}
