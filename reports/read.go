package reports

import (
	"errors"
	"iter"

	"github.com/weighbridge/weighbridge/record"
)

// ErrNotReport is a file that is not a report of ours: another kind of file,
// another schema, a newer format, or one that was cut or changed.
var ErrNotReport = errors.New("not a weighbridge report")

// Report is an open report file. It is safe for use by one goroutine at a time.
type Report struct {
	run   *record.Run
	items int64
}

// Open opens the report at path and reads everything but its items. A file
// that is not a report gives an error that is [ErrNotReport].
func Open(path string) (*Report, error) { return nil, errors.ErrUnsupported }

// Run is everything in the report but its items.
func (r *Report) Run() *record.Run { return r.run }

// NumItems is the number of items in the report.
func (r *Report) NumItems() int64 { return r.items }

// Items reads the items in the order in which they were written. It may be
// called again for another pass. An error ends the sequence.
func (r *Report) Items() iter.Seq2[record.Item, error] { return Items(nil) }

// Close releases the file.
func (r *Report) Close() error { return nil }
