package reports

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/weighbridge/weighbridge/internal/durable"
	"github.com/weighbridge/weighbridge/reports/html"
	"github.com/weighbridge/weighbridge/reports/json"
	"github.com/weighbridge/weighbridge/reports/junit"
	"github.com/weighbridge/weighbridge/reports/markdown"
	"github.com/weighbridge/weighbridge/reports/text"
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

// formats is the one list of them.
var formats = map[string]func(io.Writer, *Report, Options) error{
	"html": func(w io.Writer, r *Report, _ Options) error { return html.Render(w, r.Run(), r.Items()) },
	"json": func(w io.Writer, r *Report, _ Options) error { return json.Render(w, r.Run(), r.Items()) },
	// The XML has no items.
	"junit": func(w io.Writer, r *Report, _ Options) error { return junit.Render(w, r.Run()) },
	"md": func(w io.Writer, r *Report, o Options) error {
		return markdown.Render(w, r.Run(), r.Items(), o.Page)
	},
	"text": func(w io.Writer, r *Report, o Options) error {
		return text.Render(w, r.Run(), r.Items(), text.Options(o))
	},
}

// UnknownFormatError is a format that Render does not know.
type UnknownFormatError struct{ Name string }

func (e *UnknownFormatError) Error() string {
	return fmt.Sprintf("no report format is called %q; there are %s", e.Name, strings.Join(Formats(), ", "))
}

// Formats lists the names that [Render] takes.
func Formats() []string { return slices.Sorted(maps.Keys(formats)) }

// Render writes the report in the named format, or gives an
// *[UnknownFormatError]. The bytes depend on the report and the options only.
func Render(w io.Writer, format string, r *Report, o Options) error {
	render, ok := formats[format]
	if !ok {
		return &UnknownFormatError{format}
	}
	if err := render(w, r, o); err != nil {
		return fmt.Errorf("rendering as %s: %w", format, err)
	}
	return nil
}

// RenderFile is [Render] to a file that appears at path complete or not at all.
func RenderFile(path, format string, r *Report, o Options) error {
	if _, ok := formats[format]; !ok {
		return &UnknownFormatError{format}
	}
	return durable.Write(path, 0o644, func(w io.Writer) error { return Render(w, format, r, o) })
}
