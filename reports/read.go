package reports

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/parquet-go/parquet-go"

	"github.com/weighbridge/weighbridge/record"
)

// ErrNotReport is a file that is not a report of ours: another kind of file,
// another schema, a newer format, or one that was cut or changed.
var ErrNotReport = errors.New("not a weighbridge report")

// Report is an open report file. It is safe for use by one goroutine at a time.
type Report struct {
	name  string
	src   io.ReaderAt
	close io.Closer
	file  *parquet.File
	run   *record.Run
	// first is the first row group that holds items.
	first int
	items int64
}

// Open opens the report at path and reads everything but its items. A file
// that is not a report gives an error that is [ErrNotReport].
//
// The file is not trusted: sizes that it states are checked before memory is
// set aside for them.
func Open(path string) (*Report, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("opening the report: %w", err)
	}
	st, err := f.Stat()
	if err == nil && !st.Mode().IsRegular() {
		err = fmt.Errorf("%s: %w: not a regular file", path, ErrNotReport)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	r, err := Read(f, st.Size())
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", path, err), f.Close())
	}
	r.name, r.close = path, f
	return r, nil
}

// Read is [Open] on size bytes that are already open. The caller closes src
// when the report is no longer used.
func Read(src io.ReaderAt, size int64) (r *Report, err error) {
	defer notReport(&err)
	if err := checkFooter(src, size); err != nil {
		return nil, err
	}
	// The page index and bloom filters are copies of what pages say; leaving
	// them unread leaves less to distrust.
	f, err := parquet.OpenFile(src, size, parquet.SkipPageIndex(true), parquet.SkipBloomFilters(true))
	if err != nil {
		return nil, err
	}
	if err := checkFile(f, size); err != nil {
		return nil, err
	}
	r = &Report{file: f, src: src}
	if err := r.readRun(); err != nil {
		return nil, err
	}
	return r, nil
}

// Run is everything in the report but its items.
func (r *Report) Run() *record.Run { return r.run }

// NumItems is the number of items in the report.
func (r *Report) NumItems() int64 { return r.items }

// Close releases the file.
func (r *Report) Close() error {
	if r.close == nil {
		return nil
	}
	return r.close.Close()
}

// notReport turns whatever went wrong while reading into an ErrNotReport, and
// a panic of the Parquet library into an error: it indexes with what the file
// says in places that the checks before it do not cover.
func notReport(err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("%w: %v", ErrNotReport, p)
	} else if *err != nil && !errors.Is(*err, ErrNotReport) {
		*err = fmt.Errorf("%w: %w", ErrNotReport, *err)
	}
}

// readRun reads the row groups before the first item.
func (r *Report) readRun() error {
	b := runBuilder{run: &record.Run{}}
	groups := r.file.RowGroups()
	rows := make([]row, 64)
	for ; r.first < len(groups); r.first++ {
		if err := checkGroup(r.src, r.file, r.first, nil); err != nil {
			return err
		}
		first := true
		err := readGroup(groups[r.first], rows, func(rw *row) error {
			if first && rw.Kind == kindItem {
				return errItems
			}
			first = false
			return b.add(rw)
		})
		if err == errItems {
			break
		}
		if err != nil {
			return fmt.Errorf("row group %d: %w", r.first, err)
		}
	}
	for _, g := range groups[r.first:] {
		r.items += g.NumRows()
	}
	run, err := b.done()
	if err != nil {
		return err
	}
	r.run = run
	return checkMetadata(r.file, run)
}

var errItems = errors.New("items begin")

// checkMetadata holds the footer's key-value pairs, which other tools show
// without looking at rows, against the rows.
func checkMetadata(f *parquet.File, run *record.Run) error {
	format, _ := f.Lookup(formatKey)
	kvs, err := metadata(run, format)
	if err != nil {
		return err
	}
	for _, kv := range kvs {
		if got, ok := f.Lookup(kv[0]); !ok || got != kv[1] {
			return fmt.Errorf("metadata %q does not agree with the verdict row", kv[0])
		}
	}
	return nil
}

// readGroup reads the rows of a group through rows, which sets the batch size.
func readGroup[T any](g parquet.RowGroup, rows []T, use func(*T) error) error {
	pr := parquet.NewGenericRowGroupReader[T](g)
	defer pr.Close()
	left := g.NumRows()
	for left > 0 {
		clear(rows)
		n, err := pr.Read(rows[:min(int64(len(rows)), left)])
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		if n == 0 {
			return fmt.Errorf("%d rows are missing", left)
		}
		for i := range rows[:n] {
			if err := use(&rows[i]); err != nil {
				return err
			}
		}
		left -= int64(n)
	}
	return nil
}
