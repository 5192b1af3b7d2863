package reports

import (
	"errors"
	"io"
	"iter"

	"github.com/weighbridge/weighbridge/record"
)

// Create writes the report of a run to path. items may be nil and is read
// once, in order; an error that it yields ends the writing.
//
// The file appears at path when it is complete and on disk. After an error
// path is as it was before.
func Create(path string, run *record.Run, items iter.Seq2[record.Item, error]) error {
	return writeFile(path, func(w io.Writer) error { return Write(w, run, items) })
}

// Write is [Create] to a writer.
func Write(w io.Writer, run *record.Run, items iter.Seq2[record.Item, error]) error {
	return errors.ErrUnsupported
}

// Items turns a slice into the stream that [Create] takes.
func Items(items []record.Item) iter.Seq2[record.Item, error] {
	return func(yield func(record.Item, error) bool) {
		for i := range items {
			if !yield(items[i], nil) {
				return
			}
		}
	}
}
